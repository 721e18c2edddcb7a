"""The same chain on a graphics card: frames a second without the encoder, the online step, half against single precision.

Run it where a card is: python scripts/benchmark.py --parts cuda --device cuda --write
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_common import FPS, Bench, busy, p95
from results import table


def cuda(bench: Bench) -> str:
    """Decode + generate at 512x512 without the encoder, the encoder apart, the online step; fp16 against fp32. On a processor
    (--device cpu) it runs as well, so that it can be tested."""
    from vasa_cli import pipeline
    from vasa_cli.device import device_name, resolve_device
    from vasa_cli.motions import batches
    from vasa_cli.pipeline import steady
    from vasa_cli.runtime import Models

    device = resolve_device(bench.device)
    seconds = 0.4 if bench.quick else 60.0 if device.startswith("cuda") else 4.0
    options = pipeline.MotionOptions(weights=bench.weights, device=device)
    sound, models = bench.speech(seconds), Models()
    face = pipeline.encode(pipeline.EncodeRequest(bench.photo, cache_dir=bench.cache)).face
    frames = round(seconds * FPS)
    with steady():
        make: Callable[[], Any] = lambda: pipeline.generate(pipeline.GenerateRequest(sound, motion=options), models=models).track  # noqa: E731
        make()
        made, _ = busy(make)
        track = make()
        rows: list[list[object]] = [["generate (features and motion)", f"{frames / made:.0f}", "–"]]
        pictures = {}
        for dtype in ("float32", "float16"):
            picture = _picture(bench, face, models, device, dtype)
            list(map(len, _drawn(picture, batches([track.select(slice(0, 3 * picture.batch))], picture.batch), device)))  # warm
            start = time.perf_counter()
            few = [
                block for block, _ in zip(_drawn(picture, batches([track], picture.batch), device), range(10**9), strict=False)
            ]
            drawn = time.perf_counter() - start
            pictures[dtype] = np.concatenate(few[: max(1, 64 // picture.batch)]).astype(np.int16)
            both = 1 / (1 / (frames / drawn) + 1 / (frames / made))
            rows.append([f"decode, {dtype}, batch {picture.batch}", f"{frames / drawn:.0f}", f"{both:.0f}"])
        apart = float(np.abs(pictures["float16"] - pictures["float32"]).mean())
        rows.append(["H.264 alone, this ffmpeg", f"{_encoder(bench, face, models, device, track):.0f}", "–"])
        steps = _steps(bench, device)
    text = table([f"{device} ({device_name(device)}), 512×512", "frames/s", "with generate, one after the other"], rows)
    return (
        f"{text}\n\nfp16 frames are {apart:.3f} levels from fp32 (mean, bound 1). Online step (40 ms of sound heard, frames "
        f"drawn): median {1e3 * sorted(steps)[len(steps) // 2]:.1f} ms, 95 % {1e3 * p95(steps):.1f} ms (bound 40)."
    )


def _picture(bench: Bench, face: Any, models: Any, device: str, dtype: str) -> Any:
    from vasa_cli.picture import Picture, PictureOptions
    from vasa_cli.video.formats import format_of

    return Picture(face, PictureOptions(), format_of(bench.folder / "x.mp4"), models, device, dtype)


def _drawn(picture: Any, parts: Any, device: str) -> Any:
    """Blocks of frames as `render` draws them."""
    from vasa_cli.device import drawing
    from vasa_cli.overlap import OrderedMap

    with OrderedMap(picture.draw, picture.decoders(drawing(device)), 2) as drawn:
        yield from drawn(parts)


def _encoder(bench: Bench, face: Any, models: Any, device: str, track: Any) -> float:
    """Frames a second of NVENC where it works, else of x264."""
    from vasa_cli.motions import batches
    from vasa_cli.video.formats import codec_of, format_of
    from vasa_cli.video.writer import VideoWriter

    picture, out = _picture(bench, face, models, device, "float32"), bench.folder / "cuda.mp4"
    few = track.select(slice(0, min(len(track), 250)))
    blocks = list(_drawn(picture, batches([few], picture.batch), device))
    start = time.perf_counter()
    codec = codec_of(format_of(out), "auto")
    with VideoWriter(out, picture.size, few.fps, len(few), None, pixels=picture.pixels, codec=codec) as writer:
        for block in blocks:
            writer.write(block)
    return len(few) / (time.perf_counter() - start)


def _steps(bench: Bench, device: str) -> list[float]:
    """Seconds of each online step of a warm engine, the first session left out."""
    from bench_latency import _session, engine_fps

    from vasa_cli.pipeline import MotionOptions
    from vasa_cli.progress import Reporter
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.stream.control import LiveControls
    from vasa_cli.stream.run import StreamRequest, open_face_engine

    request = StreamRequest(bench.photo, motion=MotionOptions(weights=bench.weights, device=device), cache_dir=bench.cache)
    samples, turns = np.tile(load_speech(bench.speech(4.0)).samples, 3), []
    for _ in range(2):
        engine = open_face_engine(request, LiveControls(request.motion.controls, engine_fps()), Reporter())
        _, turns = _session(engine, samples, 30 if bench.quick else 150)
        engine.close()
    return turns
