"""Measure on this machine how fast everything is, and how much memory it takes, beside two floors and what others have published.

    python scripts/benchmark.py [--parts commands,stages,floors,latency,memory] [--repeats 3] [--device auto] [--write] [--quick]

parts: commands (start, encode, whole renders by threads and size), stages (each alone; shares), floors (still photo encoded,
thin-plate warp; published figures), latency (cold, warm, through pipes), memory (10 s to 10 min); and, only when named: hour
(memory at 60 min; about five minutes), stream (ten minutes live, in ten minutes), batch (`--jobs`; ten minutes), cuda (on a
graphics card). With --write each part replaces its own lines under "Speed" in docs/results.md.
Nothing else should run on the machine: the load before the run is written down with the numbers.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench_batch
import bench_cuda
import bench_floors
import bench_latency
import bench_memory
import bench_render
import bench_stream
from bench_common import ROOT, Bench
from results import RESULTS, write_section

PARTS: dict[str, tuple[str, Callable[[Bench], str]]] = {
    "commands": ("The whole command", bench_render.commands),
    "stages": ("Each stage alone: one core, models loaded, 10 s of speech at 512×512", bench_render.stages),
    "floors": ("Floors", bench_floors.floors),
    "latency": ("The first frame, and every frame live", bench_latency.latency),
    "memory": ("Memory by length", bench_memory.memory),
    "hour": ("Memory at 60 minutes", bench_memory.hour),
    "stream": ("Ten minutes live", bench_stream.stream),
    "batch": ("Batches: processes side by side, and the smoke render of CI", bench_batch.batch),
    "cuda": ("On a graphics card", bench_cuda.cuda),
}
STANDARD = ("commands", "stages", "floors", "latency", "memory")


def machine(bench: Bench) -> str:
    """One line on what this is measured with."""
    import torch

    from vasa_cli.device import available_cores, device_name, resolve_device
    from vasa_cli.video.ffmpeg import find_ffmpeg, version

    device = resolve_device(bench.device)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{date.today()}; {available_cores()} cores ({platform.machine()}), device {device} ({device_name(device)}), torch "
        f"{torch.__version__}, Python {platform.python_version()}, ffmpeg {version(find_ffmpeg())}, weights {bench.weights}; "
        f"medians of {bench.repeats}; load average before the run {load}."
    )


def skeleton(page: Path = RESULTS) -> None:
    """The section with a place for every part, when it is not there yet."""
    if page.is_file() and f"<!-- benchmark-{STANDARD[0]}:start -->" in page.read_text(encoding="utf-8"):
        return
    places = [f"<!-- benchmark-{name}:start -->\n<!-- benchmark-{name}:end -->" for name in (*PARTS, "published")]
    head = "## Speed\n\n`python scripts/benchmark.py --write` makes these tables; a line above each says when and where."
    write_section("benchmark", "\n\n".join([head, *places]), page)


def write(name: str, text: str, page: Path = RESULTS) -> None:
    skeleton(page)
    write_section(f"benchmark-{name}", text, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(STANDARD), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech in the whole render")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a few frames: does it work?")
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    parser.add_argument("--page", type=Path, default=RESULTS, help="another page to write to")
    options = parser.parse_args()
    names = options.parts.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"--parts {','.join(unknown)}: known are {', '.join(PARTS)}")
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.repeats, options.weights, options.device, options.quick, options.seconds)
        for name in names:
            title, measure = PARTS[name]
            line = machine(bench)
            text = f"### {title}\n\n{line}\n\n{measure(bench)}"
            print(f"{text}\n", flush=True)
            if options.write:
                write(name, text, options.page)
    if options.write:
        write("published", bench_floors.published(), options.page)


if __name__ == "__main__":
    main()
