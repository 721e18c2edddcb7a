#!/usr/bin/env python
"""The same jobs run in every way must give the same frames: one process, two, shuffled rows, shards, a dask cluster, one of its
workers killed.

    python scripts/batch_equal.py                        40 jobs, every way

Exit code 0: hashes are identical. How fast each way is: `scripts/benchmark.py --parts batch`.
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
import results

WAYS = {
    "one": "`--jobs 1`",
    "two": "`--jobs 2`",
    "shuffled": "rows in another order",
    "shards": "`--shard 1/2`, then `2/2`",
    "dask": "`--cluster local:2`",
    "killed": "`--scheduler`, two workers, one killed at work",
}


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
    """Every way in turn; whether all gave the frames of the first."""
    tools.make_inputs(folder, args.portrait, args.seconds, args.photos)
    jobs = tools.rows(folder, args.count, args.size, args.photos)
    env, first, rows = tools.environment(folder / "cache"), None, []
    for way in args.ways.split(","):
        start = time.perf_counter()
        found = go(way, folder, jobs, env)
        first = first if first is not None else found
        good = found == first and len(found) == len(jobs)
        rows.append(
            [WAYS[way], len(found), len(set(found.values())), f"{time.perf_counter() - start:.0f}", "yes" if good else "NO"]
        )
        print(f"{way:9} {rows[-1][1]} outputs, {rows[-1][2]} different, {rows[-1][3]} s: equal {rows[-1][4]}", flush=True)
    if args.write:
        head = ["way", "videos", "different from each other", "seconds", "frames equal to the first row's"]
        what = f"{args.count} jobs, smoke weights, {args.size}×{args.size}"
        text = f"## Batch: the same jobs in every way\n\n{results.machine()}. `scripts/batch_equal.py`: {what}.\n\n"
        results.write_section("batch-equal", text + results.table(head, rows))
    return all(row[-1] == "yes" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=40, help="jobs")
    parser.add_argument("--ways", default=",".join(WAYS), help="some of: %(default)s")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=0.12, help="of speech a job")
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--portrait", type=Path, help="photo or face file; default: scikit-image's astronaut")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    args = parser.parse_args()
    args.photos = 1 if args.portrait else args.photos
    with tempfile.TemporaryDirectory() as temporary:
        return 0 if equal(args, args.folder or Path(temporary)) else 1


if __name__ == "__main__":
    sys.exit(main())
