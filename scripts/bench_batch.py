"""Batches: what `--jobs 2` gains over `--jobs 1`, by length of the videos; and the smoke render that CI does."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import batch_tools as tools
from bench_common import FPS, Bench, vasa
from results import table

WAYS = {
    "`--jobs 1`": ("--jobs", 1),
    "`--jobs 1 --threads 1`": ("--jobs", 1, "--threads", 1),
    "`--jobs 2`": ("--jobs", 2),
}
SIZES = ((24, 1.0), (12, 4.0), (4, 20.0))  # jobs, seconds of speech in each
PHOTOS = 2


@dataclass(frozen=True)
class Pace:
    """One batch. seconds: of the wall; cores: kept busy on average, by all processes of the machine."""

    frames: int
    seconds: float
    cores: float


def batch(bench: Bench) -> str:
    """Throughput with processes side by side; two photos, encoded before."""
    rows: list[list[object]] = []
    for count, seconds in ((2, 0.2),) if bench.quick else SIZES:
        found = _turns(bench, count, seconds)
        first = _median(found["`--jobs 1`"])
        for name, runs in found.items():
            run = _median(runs)
            times = (run.frames / run.seconds) / (first.frames / first.seconds)
            rows.append(
                [f"{count} × {seconds:g} s", name, f"{run.seconds:.1f}", f"{run.frames / run.seconds:.1f}", f"{run.cores:.2f}",
                 f"{times:.2f}"]
            )  # fmt: skip
    head = ["batch", "way", "seconds", "frames/s", "cores kept busy", "× `--jobs 1`"]
    return table(head, rows) + "\n\n" + _smoke(bench)


def _turns(bench: Bench, count: int, seconds: float) -> dict[str, list[Pace]]:
    """All ways in turn, `repeats` times, so that what else the machine does meets all of them."""
    folder = bench.folder / f"batch{count}"
    tools.make_inputs(folder, None, seconds, PHOTOS)
    jobs = tools.rows(folder, count, 512, PHOTOS)
    manifest, env = tools.write_manifest(folder / "jobs.jsonl", jobs), tools.environment(bench.cache)
    env.pop("OMP_NUM_THREADS", None)  # each process shall use what it may
    tools.run(tools.command(manifest, folder / "warm", "--weights", "smoke"), env)
    found: dict[str, list[Pace]] = {name: [] for name in WAYS}
    for turn in range(1 if bench.quick else bench.repeats):
        for number, (name, flags) in enumerate(WAYS.items()):
            place = folder / f"{turn}-{number}"
            words = tools.command(manifest, place, "--journal", f"{place}.journal", "--weights", bench.weights, *flags)
            before = _machine_busy()
            summary = tools.run(words, env)
            used = _machine_busy() - before
            taken = float(summary["seconds"])  # type: ignore[arg-type]
            found[name].append(Pace(int(summary["frames"]), taken, used / taken))  # type: ignore[call-overload]
    return found


def _median(runs: list[Pace]) -> Pace:
    return sorted(runs, key=lambda r: r.seconds)[len(runs) // 2]


def _machine_busy() -> float:
    """Seconds that all cores together have worked since the machine began; workers are not children of who waits for them."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = map(int, words[:7])
    return (user + nice + system + irq + softirq) / 100


def _smoke(bench: Bench) -> str:
    """Two seconds at 256 × 256 with the smoke weights, as docs/ci.md describes it: a new photo, and one in the cache."""
    seconds, rows = 0.2 if bench.quick else 2.0, []
    for name, cold in (("a new photo", True), ("the photo in the cache", False)):
        taken = []
        for _ in range(1 if bench.quick else bench.repeats):
            options = ["--weights", "smoke", "--size", 256, "--overwrite", "-q", *(["--no-cache"] if cold else [])]
            start = time.perf_counter()
            vasa(bench, "render", bench.photo, bench.speech(seconds), "-o", bench.folder / "smoke.mp4", *options)
            taken.append(time.perf_counter() - start)
        rows.append([name, f"{seconds * FPS:.0f}", f"{statistics.median(taken):.1f}", f"{max(taken):.1f}"])
    return table(["smoke render, 256×256", "frames", "seconds", "most"], rows)
