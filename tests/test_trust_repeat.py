"""The promise of docs/trust.md: the same inputs, options, versions and device type give the same decoded frames and sound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import SPEECH, Vasa

ROWS = [
    {"id": "a", "portrait": "p.png", "audio": "s.wav", "size": 256, "preset": "friendly"},
    {"id": "b", "portrait": "p.png", "audio": "s.wav", "size": 256, "seed": 7, "gaze": "10,-5"},
    {"id": "c", "portrait": "p.png", "audio": "s.wav", "size": 256, "background": "white"},
]


@pytest.fixture(scope="module")
def inputs(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo and 28 frames of speech: more blocks than threads."""
    import soundfile

    folder = tmp_path_factory.mktemp("repeat")
    shutil.copy(astronaut, folder / "p.png")
    samples, rate = soundfile.read(SPEECH)
    soundfile.write(folder / "s.wav", samples[: round(1.1 * rate)], rate)
    return folder


def receipts(vasa: Vasa, folder: Path, name: str, rows: list[dict[str, Any]], *options: object) -> dict[str, dict[str, Any]]:
    lines = "\n".join(json.dumps(row) for row in rows)
    done = vasa("batch", "-", "--weights", "smoke", "--output-dir", name, *options, stdin=lines, cwd=folder)
    assert done.returncode == 0, done.stderr
    return {row["id"]: json.loads((folder / name / f"{row['id']}.mp4.json").read_text(encoding="utf-8")) for row in rows}


def test_row_order_cache_and_threads_change_nothing(vasa: Vasa, inputs: Path) -> None:
    """Cold cache, one thread; then warm, the rows backwards, two threads; then alone, encoded afresh; then from the receipt."""
    first = receipts(vasa, inputs, "one", ROWS, "--threads", 1, "--cache-dir", inputs / "cache")
    second = receipts(vasa, inputs, "two", ROWS[::-1], "--threads", 2, "--cache-dir", inputs / "cache")
    assert [first[i]["cache_hit"] for i in "abc"] == [False, True, True] and all(r["cache_hit"] for r in second.values())
    same = ("frame_hash", "sound_hash", "file_hash", "controls", "seed", "weights")
    for row in "abc":
        assert [first[row][key] for key in same] == [second[row][key] for key in same], row
    assert len({r["frame_hash"] for r in first.values()}) == 3
    b = first["b"]
    alone = ("render", "p.png", "s.wav", "-o", "b.mp4", "--size", 256, "--seed", 7, "--gaze", "10,-5", "--weights", "smoke")
    done = vasa(*alone, "--no-cache", "--threads", 2, "--json", cwd=inputs)
    assert json.loads(done.stdout)["frame_hash"] == b["frame_hash"], done.stderr
    again = vasa("render", "--from", "one/b.mp4.json", "-o", "again.mp4", "--threads", 2, "--json", cwd=inputs)
    assert json.loads(again.stdout)["reproduced"] is True, again.stderr
    assert (inputs / "again.mp4").read_bytes() == (inputs / "one" / "b.mp4").read_bytes()
    verified = vasa("verify", "one/a.mp4", "two/b.mp4", "again.mp4", "b.mp4", "-q", cwd=inputs)
    assert verified.returncode == 0 and verified.stdout.count("as in its receipt") == 4, verified.stdout
