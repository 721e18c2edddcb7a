#!/usr/bin/env python
"""SIGKILL a batch at random moments, resume it each time, and compare with one that nobody disturbed.

    python scripts/batch_survival.py                          200 jobs, ten kills
    python scripts/batch_survival.py --count 12 --kills 3     the test's version

Exit code 0: every output is there once, frame hashes are equal, no stray files, the journal is consistent.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import batch_tools as tools
import results

from vasa_cli.batch.journal import read_journal


def ended(journal: Path) -> int:
    return sum(line.get("event") == "end" for line in read_journal(journal))


def kill_at(process: subprocess.Popen[str], journal: Path, goal: int, more: float) -> bool:
    """Kill it `more` seconds after `goal` jobs have ended. False: it ended before that."""
    while ended(journal) < goal:
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    time.sleep(more)
    if process.poll() is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)  # only the batch itself: its workers have to notice
    process.wait()
    return True


def disturbed(words: list[str], env: dict[str, str], journal: Path, args: argparse.Namespace) -> int:
    """Run to the end with `args.kills` kills in between; how many there were."""
    dice, killed = random.Random(args.seed), 0
    marks = sorted(dice.uniform(0, args.count * 0.8) for _ in range(args.kills))
    for mark in marks:
        process = subprocess.Popen([*words, "--quiet"], env=env, stdout=subprocess.DEVNULL, text=True)
        # a moment anywhere: while it starts, reads the manifest, sweeps, encodes the photo, draws, writes
        killed += kill_at(process, journal, max(int(mark), 0), dice.uniform(0.0, args.spread))
    final = tools.run(words, env)
    if final["counts"]["failed"]:  # type: ignore[index]
        raise SystemExit(f"jobs failed: {final['counts']}")
    return killed


def check_journal(journal: Path, ids: list[str], in_flight: int, kills: int) -> list[str]:
    """What is wrong with the journal. in_flight: jobs that may have been lost."""
    lines = read_journal(journal)
    whole = sum(1 for text in journal.read_bytes().split(b"\n") if text.strip())
    ends = collections.Counter(line["id"] for line in lines if line.get("event") == "end")
    starts = collections.Counter(line["id"] for line in lines if line.get("event") == "start")
    wrong = [f"{name}: {ends[name]} ends" for name in ids if ends[name] != 1]
    lost = sum(starts.values()) - len(ids)
    if lost > in_flight:
        wrong.append(f"{lost} jobs were begun again after {kills} kills")
    if whole - len(lines) > kills:
        wrong.append(f"{whole - len(lines)} torn lines after {kills} kills")
    return wrong


def survive(args: argparse.Namespace, folder: Path) -> tuple[list[str], list[list[object]], int]:
    """(what is wrong, rows that tell of both runs, kills)."""
    tools.make_inputs(folder, args.portrait, args.seconds)
    jobs = tools.rows(folder, args.count, args.size)
    manifest, ids = tools.write_manifest(folder / "jobs.jsonl", jobs), [str(job["id"]) for job in jobs]
    plain = ("--weights", "smoke", "--jobs", args.workers)
    start = time.perf_counter()
    quiet_run = tools.command(manifest, folder / "quiet", "--journal", folder / "quiet.journal", *plain)
    tools.run(quiet_run, tools.environment(folder / "cache1"))
    undisturbed, start = time.perf_counter() - start, time.perf_counter()
    if args.spread is None:
        args.spread = min(2.0, undisturbed / (2 * args.kills + 2))
    words = tools.command(manifest, folder / "killed", "--journal", folder / "killed.journal", "--resume", *plain)
    kills = disturbed(words, tools.environment(folder / "cache2"), folder / "killed.journal", args)
    seconds = time.perf_counter() - start
    wanted, found = tools.hashes_of(folder / "quiet"), tools.hashes_of(folder / "killed")
    wrong = [f"{name}: hash differs" for name in ids if wanted.get(name) != found.get(name)]
    wrong += [f"{name}: missing" for name in ids if name not in found]
    wrong += [f"stray: {name}" for name in tools.stray_files(folder / "killed", ids)]
    cached = (folder / "cache2").glob("*")  # none, where the portrait is a face file
    wrong += [f"stray in the cache: {p.name}" for p in cached if not p.name.endswith(".face.safetensors")]
    wrong += check_journal(folder / "killed.journal", ids, kills * args.workers, kills)
    rows: list[list[object]] = [
        ["undisturbed", 0, len(wanted), len(set(wanted.values())), f"{undisturbed:.0f}"],
        ["killed and resumed", kills, len(found), len(set(found.values())), f"{seconds:.0f}"],
    ]
    return wrong, rows, kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="jobs")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="--jobs of the batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spread", type=float, help="seconds, at most, between a job's end and the kill")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=0.12, help="of speech a job")
    parser.add_argument("--portrait", type=Path, help="photo or face file; default: scikit-image's astronaut")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        wrong, rows, kills = survive(args, args.folder or Path(temporary))
    verdict = "; ".join(wrong) if wrong else "all there once, hashes equal, no stray files, journal consistent"
    table = results.table(["run", "SIGKILLs", "videos", "different from each other", "seconds"], rows)
    print(f"{table}\n\n{verdict}")
    if args.write:
        head = f"{results.machine()}. `scripts/batch_survival.py`: {args.count} jobs, `--jobs {args.workers}`, smoke weights."
        results.write_section("batch-survival", f"## Batch: killed at any moment\n\n{head}\n\n{table}\n\nFound: {verdict}.")
    return 1 if wrong or kills == 0 < args.kills else 0


if __name__ == "__main__":
    sys.exit(main())
