"""Does `vasa stream` keep up? Ten minutes of sound at a microphone's pace through the real command, and what came of it."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path

from bench_common import FPS, Bench, vasa
from results import table

MINUTES = 10
LATENCY = ("latency_median", "latency_p95")


def stream(bench: Bench) -> str:
    """Frames, delays, and where sound and pictures end in the produced file."""
    seconds = 2.0 if bench.quick else MINUTES * 60.0
    out, report = bench.folder / "stream.mp4", bench.folder / "stream.json"
    options = ["--input", bench.speech(seconds), "--realtime", "-o", out, "--report", report, "--overwrite", "-q"]
    run = vasa(bench, "stream", bench.photo, *options, "--weights", bench.weights, "--device", bench.device)
    said = json.loads(report.read_text(encoding="utf-8"))
    (frames, shown), (_, heard) = track(out, "v:0"), track(out, "a:0")
    expected = -(-round(seconds * 1000) * FPS // 1000)
    rows: list[list[object]] = [
        ["sound, at a microphone's pace", f"{seconds:g} s"],
        ["frames in the file (wanted)", f"{frames} ({expected})"],
        ["of them repeated, idle", f"{said['repeated']}, {said['idle']}"],
        ["a frame's sound complete to the frame with the encoder: median, 95 %", ", ".join(_ms(said[k]) for k in LATENCY)],
        ["pictures end, sound ends (in whole AAC frames of 46 ms)", f"{float(shown):.3f} s, {float(heard):.3f} s"],
        ["pictures against sound at the end", f"{float((shown - heard) * FPS):+.2f} frames"],
        ["seconds of all cores a second of sound", f"{run.cpu / seconds:.2f}"],
        ["peak MB, all processes MB", f"{run.peak:.0f}, {run.whole:.0f}"],
    ]  # fmt: skip
    return table(["`vasa stream`", "measured"], rows)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1e3 * seconds:.0f} ms"


def track(path: Path, stream: str) -> tuple[int, Fraction]:
    """(packets, end of the last one in seconds) of one stream, by the time stamps in the file."""
    from vasa_cli.video.ffmpeg import file_url, find_ffmpeg

    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", "-i", file_url(path), "-map", f"0:{stream}", "-c", "copy"]
    done = subprocess.run([*command, "-copyts", "-f", "framecrc", "-"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    unit = next(Fraction(line.split()[2]) for line in lines if line.startswith("#tb 0:"))
    fields = [[int(word) for word in line.split(",")[1:4]] for line in lines if line and not line.startswith("#")]
    return len(fields), max(shown + lasts for _, shown, lasts in fields) * unit
