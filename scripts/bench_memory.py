"""Does memory grow with the length? Peaks of the whole command for 10 s to 60 minutes of sound.

An hour is 90,000 frames: rows are measured at 256x256, and with frames that are repeated instead of drawn (everything else is
real: reading, features, motion, queues, ffmpeg, the hash), so that they take minutes. The table says so.
"""

from __future__ import annotations

from bench_common import Bench, Run, vasa
from results import table

LENGTHS = (10.0, 60.0, 600.0)
HOUR = 3600.0
SIZE = 256

STUB = """
import sys
from vasa_cli import cli, picture
real, kept = picture.Picture.draw, {}
def draw(self, decoder, part):
    n = len(part)
    if n not in kept:
        kept[n] = real(self, decoder, part)
    return kept[n]
picture.Picture.draw = draw
sys.argv[0] = "vasa"
cli.main()
"""


def measure(bench: Bench, seconds: float, stub: bool) -> Run:
    out = bench.folder / "long.mp4"
    options = ["--size", SIZE, "--weights", bench.weights, "--device", bench.device, "--overwrite", "-q", "--json"]
    module = ("-c", STUB) if stub else ("-m", "vasa_cli")
    run = vasa(bench, "render", bench.photo, bench.speech(seconds), "-o", out, *options, module=module)
    out.unlink()
    return run


def memory(bench: Bench, lengths: tuple[float, ...] = LENGTHS, *, stub: bool = True) -> str:
    """Peaks by length; the last column against the minute's."""
    lengths = (1.0, 2.0) if bench.quick else lengths
    vasa(bench, "render", bench.photo, bench.speech(0.2), "-o", bench.folder / "w.mp4", "--size", SIZE, "--overwrite", "-q")
    base = 1.0 if bench.quick else 60.0
    minute = measure(bench, base, stub)
    rows = []
    for seconds in lengths:
        run = minute if seconds == base else measure(bench, seconds, stub)
        frames = run.result["frames"]
        sizes = [f"{run.peak:.0f}", f"{run.peak / minute.peak:.3f}", f"{run.whole:.0f}", f"{run.whole / minute.whole:.3f}"]
        rows.append([length(seconds), frames, f"{run.seconds:.0f}", *sizes])
    drawn = "a few frames drawn and repeated, all else real" if stub else "every frame drawn"
    of = f"/ {length(base)}"
    head = [f"sound ({SIZE}×{SIZE}, {drawn})", "frames", "seconds", "peak MB", of, "all processes MB", of]
    return table(head, rows)


def length(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"


def hour(bench: Bench) -> str:
    """The row of 60 minutes, beside its minute."""
    return memory(bench, (60.0, HOUR))
