"""Measure every stage on this machine: frames a second and multiples of real time, medians of repeats.

    python scripts/benchmark.py [--seconds 10] [--repeats 3] [--weights default] [--device auto] [--write]

With --write the table goes into docs/results.md, between its benchmark markers; other scripts own its other sections.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from benchmark_decoder import decoder_parts
from results import write_section

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT / "vasa_cli" / "assets" / "demo_speech.flac"


@dataclass(frozen=True)
class Row:
    """One measured stage; frames is None for stages that do not depend on the length."""

    stage: str
    seconds: float
    frames: int | None


def median_of(repeats: int, work: Callable[[], Any]) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def vasa(*arguments: object, cache: Path) -> None:
    """The real command, as a user would run it."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "VASA_CACHE_DIR": str(cache), "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-m", "vasa_cli", *map(str, arguments)], env=env, check=True, stdout=subprocess.DEVNULL)


def sample_inputs(folder: Path, seconds: float) -> tuple[Path, Path]:
    """The astronaut, and the demo's sentence over and over for so many seconds."""
    import numpy as np
    import soundfile
    from PIL import Image
    from skimage import data

    photo, sound = folder / "astronaut.png", folder / "speech.wav"
    Image.fromarray(data.astronaut()).save(photo)
    samples, rate = soundfile.read(SPEECH)
    wanted = round(seconds * rate)
    soundfile.write(sound, np.tile(samples, -(-wanted // len(samples)))[:wanted], rate)
    return photo, sound


def measure(folder: Path, seconds: float, repeats: int, weights: str, device: str) -> list[Row]:
    cache = folder / "cache"
    photo, sound = sample_inputs(folder, seconds)
    rows = [Row("`vasa --help` (start of the program)", median_of(repeats, lambda: vasa("--help", cache=cache)), None)]
    face_file = folder / "face.safetensors"
    cold = lambda: vasa("encode", photo, "--no-cache", "-o", face_file, "--overwrite", "-q", cache=cache)  # noqa: E731
    rows.append(Row("`vasa encode`, new photo (whole command)", median_of(repeats, cold), None))
    vasa("encode", photo, "-q", cache=cache)
    rows.append(
        Row("`vasa encode`, cached (whole command)", median_of(repeats, lambda: vasa("encode", photo, "-q", cache=cache)), None)
    )
    rows += in_process(photo, sound, cache, folder, repeats, weights, device)
    out = folder / "out.mp4"
    options = ["--weights", weights, "--device", device, "--overwrite", "-q"]
    whole = median_of(repeats, lambda: vasa("render", photo, sound, "-o", out, *options, cache=cache))
    frames = rows[-1].frames
    return [*rows, Row("**`vasa render`, cached face (whole command)**", whole, frames)]


def in_process(photo: Path, sound: Path, cache: Path, folder: Path, repeats: int, weights: str, device: str) -> list[Row]:
    """Each stage alone, models loaded."""
    import numpy as np

    from vasa_cli import pipeline
    from vasa_cli.decoder.refiner import Refiner
    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.device import resolve_device
    from vasa_cli.video.writer import VideoWriter

    models, request = pipeline.Models(), pipeline.EncodeRequest(photo, cache_dir=cache)
    face = pipeline.encode(request).face
    rows = [Row("encode, cached (in the process)", median_of(repeats, lambda: pipeline.encode(request)), None)]
    speech = pipeline.load_speech(sound)
    options = pipeline.MotionOptions(weights=weights, device=device)
    track = pipeline.generate(pipeline.GenerateRequest(sound, motion=options), models=models).track
    frames = len(track)
    encoder = models.speech(weights)
    rows.append(Row("speech features", median_of(repeats, lambda: encoder.features(speech.samples)), frames))
    generate = lambda: pipeline.generate(pipeline.GenerateRequest(sound, motion=options), models=models)  # noqa: E731
    rows.append(Row("generate (speech features and motion)", median_of(repeats, generate), frames))
    chosen = resolve_device(device)
    decoder = models.decoder(face, chosen, "float32", face.size)
    batch = 8 if chosen == "cpu" else 32
    rows.append(Row("decoder (frames)", median_of(repeats, lambda: [None for _ in decoder.frames(track, batch=batch)]), frames))
    rows += [Row(f"– {part}", taken, frames) for part, taken in decoder_parts(decoder, track, batch)] if chosen == "cpu" else []
    refined = FaceDecoder(face, device=chosen, refine=Refiner())  # its weights decide nothing about its speed
    rows.append(
        Row(
            "decoder with a refiner (untrained)",
            median_of(repeats, lambda: [None for _ in refined.frames(track, batch=batch)]),
            frames,
        )
    )
    pictures = np.concatenate([block for _, block in zip(range(12), decoder.frames(track, batch=8), strict=False)])

    def write() -> None:
        with VideoWriter(folder / "write.mp4", (face.size, face.size), track.fps, frames, sound) as writer:
            for start in range(0, frames, 8):
                writer.write(np.take(pictures, range(start, min(start + 8, frames)), axis=0, mode="wrap"))

    rows.append(Row("H.264, AAC, mux and frame hash", median_of(repeats, write), frames))
    return rows


def table(rows: list[Row], seconds: float, repeats: int, weights: str, device: str, load: str) -> str:
    import torch

    from vasa_cli.device import device_name, resolve_device

    chosen = resolve_device(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [
        "## Speed",
        "",
        f"{date.today()}, {seconds:g} s of speech, medians of {repeats}; {cores} cores ({platform.machine()}), device {chosen} "
        f"({device_name(chosen)}), torch {torch.__version__}, Python {platform.python_version()}, weights {weights}; "
        f"load average of the machine before the run {load}. "
        "`python scripts/benchmark.py --write` makes this table.",
        "",
        "| stage | seconds | frames/s | × real time |",
        "|---|---|---|---|",
    ]
    for row in rows:
        speed = f"{row.frames / row.seconds:.0f} | {row.frames / 25 / row.seconds:.2f}" if row.frames else "– | –"
        lines.append(f"| {row.stage} | {row.seconds:.2f} | {speed} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"  # other work makes every number worse
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.seconds, options.repeats, options.weights, options.device)
    text = table(rows, options.seconds, options.repeats, options.weights, options.device, load)
    print(text)
    if options.write:
        write_section("benchmark", text)


if __name__ == "__main__":
    main()
