#!/usr/bin/env python
"""The same jobs run in every way must give the same frames: one process, two, shuffled rows, shards, a dask cluster, one of its
workers killed.

    python scripts/batch_equal.py                        40 jobs, every way
    python scripts/batch_equal.py --pace                 how much faster --jobs 2 is than --jobs 1, full weights (idle machine!)

Exit code 0: hashes are identical (and with --pace: two processes are at least --at-least times as fast).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import batch_tools as tools

WAYS = ("one", "two", "shuffled", "shards", "dask", "killed")


@contextlib.contextmanager
def dask_cluster(folder: Path, env: dict[str, str]) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, as on two machines: the address, and the workers' processes."""
    place = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env, "cwd": folder}
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    words = [*module, "--port", "0", "--no-dashboard", "--scheduler-file", str(place)]
    scheduler = subprocess.Popen(words, **quiet)  # type: ignore[call-overload]
    workers = []
    try:
        while not place.exists() or not place.read_text().strip():
            if scheduler.poll() is not None:
                raise RuntimeError("the dask scheduler did not start")
            time.sleep(0.2)
        address = json.loads(place.read_text())["address"]
        module = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
        for i in range(2):
            words = [*module, "--local-directory", str(folder / f"worker{i}")]
            workers.append(subprocess.Popen(words, **quiet))  # type: ignore[call-overload]
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def with_one_killed(words: list[str], env: dict[str, str], out: Path, folder: Path, count: int) -> None:
    """Through a scheduler and two workers; one of them is killed while it works, when a third of the jobs has ended."""
    with dask_cluster(folder, env) as (address, workers):
        batch = subprocess.Popen(
            [*words, "--scheduler", address, "--quiet"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        victim = None
        while batch.poll() is None and victim is None:
            claims = [_signed(p) for p in out.glob("*.claim")] if out.is_dir() else []
            at_work = [w for w in workers if w.pid in claims]
            if len(list(out.glob("*.mp4"))) >= count // 3 and at_work:
                victim = at_work[0]
                os.kill(victim.pid, signal.SIGKILL)
            time.sleep(0.02)
        _, said = batch.communicate()
        if batch.returncode != 0 or victim is None:
            raise RuntimeError(f"exit {batch.returncode}, killed: {victim is not None}: {said[-2000:]}")


def _signed(claim: Path) -> int | None:
    try:
        return int(json.loads(claim.read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return None


def go(way: str, folder: Path, jobs: list[dict[str, object]], env: dict[str, str]) -> dict[str, str]:
    """Run all jobs this way; their hashes."""
    work, out = folder / way, folder / way / "out"
    work.mkdir()
    order = random.Random(1).sample(jobs, len(jobs)) if way == "shuffled" else jobs
    manifest = tools.write_manifest(folder / f"{way}.jsonl", order)
    words = tools.command(manifest, out, "--weights", "smoke")
    if way == "killed":
        with_one_killed(words, env, out, work, len(jobs))
    else:
        more = {"two": ["--jobs", 2], "dask": ["--cluster", "local:2"]}.get(way, [])
        parts = [["--shard", "1/2"], ["--shard", "2/2"]] if way == "shards" else [more]
        for part in parts:
            tools.run([*words, *map(str, part)], env)
    stray = tools.stray_files(out, [str(job["id"]) for job in jobs])
    if stray:
        raise RuntimeError(f"{way}: stray files {stray}")
    return tools.hashes_of(out)


def equal(args: argparse.Namespace, folder: Path) -> bool:
    tools.make_inputs(folder, args.portrait, args.seconds, args.photos)
    jobs = tools.rows(folder, args.count, args.size, 1 if args.portrait else args.photos)
    env, first, same = tools.environment(folder / "cache"), None, True
    for way in args.ways.split(","):
        start = time.perf_counter()
        found = go(way, folder, jobs, env)
        first = first if first is not None else found
        good = found == first and len(found) == len(jobs)
        same &= good
        line = f"{way:9} {len(found)} outputs, {len(set(found.values()))} different, {time.perf_counter() - start:.0f} s: "
        print(line + ("equal" if good else "NOT EQUAL"), flush=True)
    return same


PACES = {"--jobs 1": ("--jobs", 1), "--jobs 1 --threads 1": ("--jobs", 1, "--threads", 1), "--jobs 2": ("--jobs", 2)}


def pace(args: argparse.Namespace, folder: Path) -> bool:
    """Frames a second of `--count` jobs with full weights, turn by turn; photos are encoded before. One process keeps more than
    one core busy by itself (motion, drawing and ffmpeg run side by side), so it is also measured with one thread."""
    tools.make_inputs(folder, args.portrait, args.seconds, args.photos)
    jobs = tools.rows(folder, args.count, args.size, args.photos)
    manifest, env = tools.write_manifest(folder / "jobs.jsonl", jobs), tools.environment(folder / "cache")
    env.pop("OMP_NUM_THREADS", None)  # each process shall use what it may
    tools.run(tools.command(manifest, folder / "warm", "--weights", "smoke"), env)
    best = dict.fromkeys(PACES, 0.0)
    for turn in range(args.turns):
        for number, (name, flags) in enumerate(PACES.items()):
            place = folder / f"pace{turn}-{number}"
            before = os.times()
            summary = tools.run(tools.command(manifest, place, "--journal", f"{place}.journal", *flags), env)
            used = sum(os.times()[2:4]) - sum(before[2:4])  # of all its processes
            frames, seconds = int(summary["frames"]), float(summary["seconds"])  # type: ignore[call-overload, arg-type]
            best[name] = max(best[name], frames / seconds)
            print(f"{name}: {frames} frames in {seconds:.1f} s, {used:.1f} s of processor time", flush=True)
    for name, value in best.items():
        print(f"{name}: {value:.1f} frames/s; --jobs 2 has {best['--jobs 2'] / value:.2f} times the throughput")
    return best["--jobs 2"] >= args.at_least * best["--jobs 1"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="jobs; default 40, with --pace 12")
    parser.add_argument("--ways", default=",".join(WAYS), help="some of: %(default)s")
    parser.add_argument("--pace", action="store_true", help="measure --jobs 1 against --jobs 2 instead")
    parser.add_argument("--at-least", type=float, default=1.5)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--size", type=int, help="default 256, with --pace 512")
    parser.add_argument("--seconds", type=float, help="of speech a job; default 0.12, with --pace 4")
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--portrait", type=Path, help="photo or face file; default: scikit-image's astronaut")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    args = parser.parse_args()
    usual = (12, 512, 4.0) if args.pace else (40, 256, 0.12)
    args.count, args.size, args.seconds = (a or b for a, b in zip((args.count, args.size, args.seconds), usual, strict=True))
    args.photos = 1 if args.portrait else args.photos
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        return 0 if (pace if args.pace else equal)(args, folder) else 1


if __name__ == "__main__":
    sys.exit(main())
