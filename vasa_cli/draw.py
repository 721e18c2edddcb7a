"""Motion to a finished video file, its stages side by side: motion is made, frames are drawn, ffmpeg encodes.

One thread makes motion a few blocks ahead; as many drawers as there are cores draw a block of frames each; this thread gives
them to ffmpeg in order. Everything between them is bounded: memory depends on the size of the frames, not on their number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vasa_cli.forked import ForkedMap, can_fork
from vasa_cli.motions import Motion, batches, from_bytes, to_bytes
from vasa_cli.overlap import OrderedMap, RunAhead
from vasa_cli.picture import Picture
from vasa_cli.progress import Reporter
from vasa_cli.requests import RenderRequest
from vasa_cli.runtime import Clock, Models
from vasa_cli.video.framehash import bytes_per_frame

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.latent import FaceLatent

MOTION_AHEAD = 4  # blocks of `motions.BLOCK` frames
DRAWN_AHEAD = 2  # blocks of frames that wait for ffmpeg


def draw(
    request: RenderRequest, face: FaceLatent, motion: Motion, sound: Path | None, device: str, reporter: Reporter,
    models: Models, clock: Clock, codec: str,
) -> str:  # fmt: skip
    """Frames to file; returns the decoded-frame hash. clock gets the stages' seconds; "first_frame" is a moment, in
    `time.perf_counter`'s terms. Raises VasaError."""
    from vasa_cli.device import drawing, memory_guard
    from vasa_cli.video.writer import VideoWriter

    form, made = request.form, Clock()
    with memory_guard(device):
        with clock("decoder"):
            picture = Picture(face, request.picture, form, models, device, request.dtype)
            picture.batch = max(1, picture.batch >> request.halvings)
        for line in picture.notes:
            reporter.note(line)
        writer = VideoWriter(
            request.output, picture.size, motion.fps, motion.frames, sound, crf=request.crf, mark=request.provenance,
            alpha=form.alpha, pixels=picture.pixels, codec=codec, seal=sealing(request),
        )  # fmt: skip
        count = min(drawing(device), -(-motion.frames // picture.batch))
        with (
            drawers(picture, count) as drawn,  # first of all: where they are processes, they are copies of this one
            reporter.stage("render") as update,
            RunAhead(made.each("motion", motion.blocks), MOTION_AHEAD) as soon,
            writer,
        ):
            update(0, motion.frames)
            for block in drawn(batches(soon, picture.batch)):
                with clock("encoder"):
                    writer.write(block)
                update(writer.written, motion.frames)
            finish = time.perf_counter()
            if "generate" in clock.seconds:
                clock.add("generate", -clock.seconds["speech"])  # it waited for the features
                reporter.done("generate", motion.frames, made.seconds["motion"])
    clock.add("mux", time.perf_counter() - finish)
    clock.add("decoder", drawn.seconds / count)
    assert writer.result is not None
    assert writer.first_at is not None
    clock.seconds["first_frame"] = writer.first_at
    return f"sha256:{writer.result.sha256}"


def drawers(
    picture: Picture, count: int, *, processes: bool | None = None
) -> ForkedMap[MotionTrack] | OrderedMap[FaceDecoder, MotionTrack, np.ndarray]:
    """What draws `count` blocks of motion side by side: processes where there can be any and one is not enough, else threads (as
    in a program that calls this from a thread of its own: who knows what the others hold at that moment)."""
    if processes is None:
        processes = can_fork() and threading.current_thread() is threading.main_thread()
    if processes and count > 1 and picture.device == "cpu":
        import torch

        def one(part: MotionTrack) -> np.ndarray:
            torch.set_num_threads(1)  # a copy of this process has none of its threads: OpenMP would wait for them forever
            return picture.draw(picture.decoder, part)

        size = picture.batch * bytes_per_frame(picture.size, picture.pixels)
        return ForkedMap(one, count, size, to_bytes, from_bytes)
    return OrderedMap(picture.draw, picture.decoders(count), DRAWN_AHEAD)


def sealing(request: RenderRequest) -> Callable[[Path], None] | None:
    """What signs the finished file; None where nobody wants it signed."""
    from vasa_cli.trust.sign import seal

    signing = request.sign
    return None if signing is None else lambda path: seal(signing, request, path)
