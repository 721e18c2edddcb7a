"""Fuzz the readers of strangers' files for a long time, and write the numbers into docs/results.md.

    python scripts/fuzz.py [--runs 120000] [--targets preset,wav] [--write]

Coverage-guided with atheris (libFuzzer; pip install atheris), one process a target, 1 GB of memory and 10 s an input at most;
without atheris, seeded mutations of the corpus. An input that ends neither well nor with a VasaError is kept under out/fuzz.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests" / "fuzz")]
SHARE = {
    "wav": 28,
    "weights": 18,
    "motion": 14,
    "control": 10,
    "receipt": 10,
    "photo": 12,
    "preset": 10,
    "manifest": 8,
    "face": 4,
    "cache": 6,
    "journal": 10,
    "inspected": 14,
}
MEMORY = 1024  # MB
SLOW = 10  # seconds an input
MODULES = ["vasa_cli"]


def one(name: str, runs: int, corpus: Path, found: Path) -> None:
    """In a process of its own: never returns with atheris."""
    if found_engine() != "atheris":
        plain(name, runs, found)
        return
    import atheris

    with atheris.instrument_imports(include=MODULES):
        from targets import TARGETS
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    run = TARGETS[name]
    options = [
        f"-runs={runs}",
        f"-rss_limit_mb={MEMORY}",
        f"-timeout={SLOW}",
        "-max_len=16384",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={found}/{name}-", str(corpus)], lambda data: run(data, folder))
    atheris.Fuzz()


def plain(name: str, runs: int, found: Path) -> None:
    """Without coverage."""
    from mutate import mutations
    from targets import TARGETS, seeds

    with tempfile.TemporaryDirectory() as folder:
        for data in mutations(seeds(name), runs, 1):
            began = time.monotonic()
            try:
                TARGETS[name](data, Path(folder))
                if time.monotonic() - began > SLOW:
                    raise TimeoutError(f"took {time.monotonic() - began:.0f} s")
            except Exception:
                (found / f"{name}-crash").write_bytes(data)
                raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"stat::number_of_executed_units: {runs}\nstat::peak_rss_mb: {peak}", file=sys.stderr)


def found_engine() -> str:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return "seeded mutations"
    return "atheris"


def fuzz(name: str, runs: int, out: Path) -> list[object]:
    """One row of the table. Raises SystemExit with what was found."""
    memory = Path("/dev/shm")  # a file for every input: on a disk that takes most of the time
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        corpus = Path(folder) / "corpus"
        shutil.copytree(ROOT / "tests" / "fuzz" / "corpus" / name, corpus)
        began = time.monotonic()
        call = [sys.executable, __file__, "--one", name, "--runs", str(runs), "--corpus", str(corpus), "--out", str(out)]
        done = subprocess.run(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": folder})
        seconds, grown = time.monotonic() - began, len(list(corpus.iterdir()))
    log = done.stderr.decode(errors="replace")
    (out / f"{name}.log").write_text(log, encoding="utf-8")
    units = _stat(log, "number_of_executed_units")
    peak = max(_stat(log, "peak_rss_mb"), 0)
    if done.returncode != 0 or units < runs:
        print(log[-3000:], file=sys.stderr)
        raise SystemExit(f"{name}: exit {done.returncode} after {units} inputs; see {out}")
    return [name, units, grown, round(seconds), peak]


def _stat(log: str, name: str) -> int:
    found = re.findall(rf"stat::{name}:\s+(\d+)", log)
    return int(found[-1]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=120_000, help="inputs in all")
    parser.add_argument("--targets", default=",".join(SHARE))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz")
    parser.add_argument("--write", action="store_true", help="write docs/results.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.one:
        one(asked.one, asked.runs, asked.corpus, asked.out)
        return
    names = asked.targets.split(",")
    total = sum(SHARE[name] for name in names)
    rows = []
    for name in names:
        rows.append(fuzz(name, -(-asked.runs * SHARE[name] // total), asked.out))
        print(*rows[-1], flush=True)
    if asked.write:
        write(rows)


def write(rows: list[list[object]]) -> None:
    from results import machine, table, write_section

    inputs = sum(int(str(row[1])) for row in rows)
    text = f"""## Fuzzing: the readers of strangers' files

{machine()}. `scripts/fuzz.py`, {found_engine()}: {inputs} inputs from the corpus of `tests/fuzz/corpus`. Every one was read, or
refused with the one line that a user sees; none crashed, took more than {SLOW} s or brought its process above {MEMORY} MB.

{table(["reader", "inputs", "inputs kept for new paths", "seconds", "peak MB"], rows)}
"""
    write_section("fuzz", text)


if __name__ == "__main__":
    main()
