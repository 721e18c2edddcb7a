"""The whole command: how fast `vasa render` is, cold start to finished file, by threads and size; and where the time goes."""

from __future__ import annotations

import time
from typing import Any

from bench_common import FPS, Bench, Run, busy, median_of, speed, timed, vasa
from benchmark_decoder import decoder_parts
from results import table

HEAD = ["`vasa render`, cached face", "threads", "seconds", "frames/s", "× real time", "once it runs, frames/s", "first frame s",
        "CPU s", "peak MB", "all processes MB"]  # fmt: skip


def warm_up(bench: Bench) -> None:
    """The face is encoded for every size, files are in the system's memory."""
    for size in (512, 1024):
        vasa(bench, "render", bench.photo, bench.speech(0.2), "-o", bench.folder / "w.mp4", "--size", size, "--overwrite", "-q")


def render(bench: Bench, seconds: float, *more: object, **env: str) -> Run:
    out = bench.folder / "out.mp4"
    options = ["--weights", bench.weights, "--device", bench.device, "--overwrite", "-q", "--json"]
    return vasa(bench, "render", bench.photo, bench.speech(seconds), "-o", out, *options, *more, **env)


def row(label: str, threads: int, runs: list[Run]) -> list[object]:
    """The run of median length."""
    run = sorted(runs, key=lambda r: r.seconds)[len(runs) // 2]
    frames, stages = run.result["frames"], run.result["stages"]
    # the work's own clock starts a moment after the process: its end is what both have in common
    late = run.seconds - stages["first_frame"]
    fps, real = speed(frames, run.seconds)
    numbers = [f"{run.seconds:.1f}", fps, real, f"{frames / late:.0f}", f"{stages['first_frame']:.2f}", f"{run.cpu:.0f}",
               f"{run.peak:.0f}", f"{run.whole:.0f}"]  # fmt: skip
    return [label, threads, *numbers]


def commands(bench: Bench) -> str:
    """Program start, encode, and the whole render."""
    warm_up(bench)
    face = bench.folder / "face.safetensors"
    few = 1 if bench.quick else bench.repeats
    starts = [["`vasa --help`", f"{median_of(few, timed(lambda: vasa(bench, '--help'))):.2f}"]]
    if not bench.quick:
        new = timed(lambda: vasa(bench, "encode", bench.photo, "--no-cache", "-o", face, "--overwrite", "-q"))
        starts.append(["`vasa encode`, new photo", f"{median_of(few, new):.2f}"])
        starts.append(["`vasa encode`, cached", f"{median_of(few, timed(lambda: vasa(bench, 'encode', bench.photo, '-q'))):.2f}"])
    long, short = (1.0, 1.0) if bench.quick else (bench.seconds, 10.0)
    rows = [row(f"{long:g} s, 512×512", 2, [render(bench, long, "--threads", 2) for _ in range(few)])]
    if not bench.quick:
        rows.append(row(f"{short:g} s, 512×512", 1, [render(bench, short, "--threads", 1) for _ in range(few)]))
        for size in (256, 512, 1024):
            runs = [render(bench, short, "--threads", 2, "--size", size) for _ in range(few)]
            rows.append(row(f"{short:g} s, {size}×{size}", 2, runs))
    return f"{table(['command', 'seconds'], starts)}\n\n{table(HEAD, rows)}"


def stages(bench: Bench) -> str:
    """Each stage alone, models loaded, on one thread: seconds of a core, and its share of all."""
    from vasa_cli.device import one_thread_each, reuse_memory

    reuse_memory()
    seconds = 1.0 if bench.quick else 10.0
    with one_thread_each():
        parts, detail = _stages(bench, seconds)
    frames = round(seconds * FPS)
    total = sum(cpu for _, cpu in parts)
    rows: list[list[object]] = []

    def add(name: str, taken: float) -> None:
        rows.append([name, f"{1e3 * taken / frames:.2f}", f"{100 * taken / total:.0f} %", *speed(frames, taken)])

    for name, cpu in parts:
        add(name, cpu)
        for part, taken in detail if name == "decoder" else []:
            add(f"– {part}", taken)
    head = ["stage", "ms of a core a frame", "share", "frames/s", "× real time"]
    first, second = sorted(parts, key=lambda p: -p[1])[:2]
    inside = max(detail, key=lambda p: p[1], default=("", 0.0))
    of = f", in it “{inside[0]}” ({100 * inside[1] / total:.0f} %)" if inside[1] and first[0] == "decoder" else ""
    shares = [f"{name} ({100 * taken / total:.0f} %)" for name, taken in (first, second)]
    more = "" if bench.quick else f" The learned refiner, where it is asked for, adds {refined(bench):.1f} ms."
    return f"{table(head, rows)}\n\nNext to speed up: {shares[0]}{of}; then {shares[1]}.{more}"


def _stages(bench: Bench, seconds: float) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """(stage, CPU seconds), and the same within the decoder."""
    from vasa_cli import pipeline
    from vasa_cli.device import resolve_device
    from vasa_cli.motions import batches, spoken
    from vasa_cli.picture import Picture, PictureOptions
    from vasa_cli.progress import Reporter
    from vasa_cli.runtime import Clock, Models
    from vasa_cli.video.formats import format_of
    from vasa_cli.video.framehash import frame_hash
    from vasa_cli.video.writer import VideoWriter

    models, sound, few = Models(), bench.speech(seconds), 1 if bench.quick else bench.repeats
    face = pipeline.encode(pipeline.EncodeRequest(bench.photo, cache_dir=bench.cache)).face
    device, options = resolve_device(bench.device), pipeline.MotionOptions(weights=bench.weights, device=bench.device)
    reader, out = pipeline.open_speech(sound), bench.folder / "stage.mp4"
    picture = Picture(face, PictureOptions(), format_of(out), models, device, "float32")

    def generate() -> float:
        clock = Clock()
        made.append(spoken(reader, options, Reporter(), models, clock).whole())
        book.append((clock.seconds["speech"], clock.seconds["generate"] - clock.seconds["speech"]))
        return sum(book[-1])

    made: list[Any] = []
    book: list[tuple[float, float]] = []
    generate()  # warm
    book.clear()
    median_of(few, generate)
    track = made[-1]
    blocks = [picture.draw(picture.decoder, part) for part in batches([track], picture.batch)]

    def write() -> None:
        with VideoWriter(out, picture.size, track.fps, len(track), sound, pixels=picture.pixels) as writer:
            for block in blocks:
                writer.write(block)

    def draw() -> float:
        wall, cpu = busy(lambda: [picture.draw(picture.decoder, part) for part in batches([track], picture.batch)])
        return cpu if device == "cpu" else wall

    drawn, written = median_of(few, draw), median_of(few, lambda: busy(write)[1])
    hashed = median_of(few, lambda: busy(lambda: frame_hash(out, picture.size))[1])
    found = [("speech features", median_of(1, lambda: sorted(b[0] for b in book)[len(book) // 2])),
             ("motion", median_of(1, lambda: sorted(b[1] for b in book)[len(book) // 2])), ("decoder", drawn),
             ("H.264, AAC, mux", written - hashed), ("hash of the decoded frames", hashed)]  # fmt: skip
    detail = decoder_parts(picture.decoder, track, picture.batch, picture.pixels) if device == "cpu" else []
    scale = drawn / max(sum(t for _, t in detail), 1e-9)
    return found, [(name, t * scale) for name, t in detail]


def refined(bench: Bench) -> float:
    """Milliseconds of a core a frame that the learned refiner adds; its weights decide nothing about its speed."""
    from vasa_cli import pipeline
    from vasa_cli.decoder.refiner import Refiner
    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.device import one_thread_each

    face = pipeline.encode(pipeline.EncodeRequest(bench.photo, cache_dir=bench.cache)).face
    track = pipeline.generate(pipeline.GenerateRequest(bench.speech(1.0))).track
    with one_thread_each():
        taken = []
        for refiner in (False, Refiner()):
            decoder = FaceDecoder(face, refine=refiner)
            start = time.process_time()
            for _ in decoder.frames(track, 8):
                pass
            taken.append(time.process_time() - start)
    return 1e3 * (taken[1] - taken[0]) / len(track)
