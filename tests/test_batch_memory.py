"""A graphics card that runs out of memory, as workers of a real batch meet it; the card itself is made up, on the processor."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import ROOT, Vasa

CARD = """
import vasa_cli.device
import vasa_cli.draw as draw
import vasa_cli.motions as motions

FITS = {256: 2, 260: 0}  # frames at once, by size of the picture
batches, picture, generated = draw.batches, draw.Picture, motions._generated

def on_card(face, options, form, models, device, dtype):
    made = picture(face, options, form, models, "cpu", dtype)
    made.batch = 8
    fits = FITS[options.size] if device != "cpu" else 8
    draw.batches = lambda blocks, size: full(blocks, size, fits)
    return made

def full(blocks, size, fits):
    if size > fits:
        raise RuntimeError(f"CUDA out of memory with {size} frames")
    return batches(blocks, size)

draw.Picture = on_card
motions._generated = lambda rows, frames, options, device: generated(rows, frames, options, "cpu")
vasa_cli.device.resolve_device = lambda name: "cuda" if name == "auto" else name
vasa_cli.device.device_name = lambda device: device
vasa_cli.device.drawing = lambda device: 1
"""
WANTED: dict[str, tuple[dict[str, Any], str, str | None, int]] = {  # row, status, how it was done in the end, further tries
    "some": ({"size": 256}, "done", "with 1/4 of the frames at once", 2),
    "none": ({"size": 260}, "done", "on the processor", 4),
    "fixed": ({"size": 260, "device": "cuda"}, "failed", None, 3),
    "other": ({"size": 256, "device": "cpu"}, "done", None, 0),
}


def test_less_at_once_then_the_processor_then_this_job_fails(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CARD)
    rows = [{"id": name, "portrait": str(face), "audio": str(speech), **row} for name, (row, *_) in WANTED.items()]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("--weights", "smoke", "--jobs", 2, "--retries", 0, "--json", "--progress", "json", "--output-dir", tmp_path / "out")
    done = vasa("batch", tmp_path / "jobs.jsonl", *words, env={"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))})
    assert done.returncode == 8, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    again = Counter(line["id"] for line in said if line["event"] == "note" and "trying again" in line["text"])
    for job in json.loads(done.stdout)["jobs"]:
        _, status, how, tries = WANTED[job["id"]]
        assert (job["status"], again[job["id"]]) == (status, tries), done.stderr
        assert job.get("note") == (f"out of memory at first; done {how}" if how else None)
        assert (job["exit_code"], "out of memory" in job.get("error", "")) == ((6, True) if status == "failed" else (0, False))
    videos = [f"{name}.mp4" for name, (_, status, *_) in WANTED.items() if status == "done"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*videos, *(f"{video}.json" for video in videos)])
