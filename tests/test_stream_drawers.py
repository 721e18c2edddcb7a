"""What draws a stream's frames: copies of the process and threads draw the same, in order, and leave nothing behind."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.forked import can_fork
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.picture import Picture, PictureOptions
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.runtime import Models
from vasa_cli.stream.drawers import Copies, Drawers, Threads, open_drawers
from vasa_cli.video.formats import format_of


@pytest.fixture(scope="module")
def picture(latent: FaceLatent) -> Picture:
    return Picture(latent, PictureOptions(size=256), format_of(Path("x.mp4")), Models(), "cpu", "float32")


@pytest.fixture(scope="module")
def lively(basis: DynamicsBasis) -> MotionTrack:
    rng = np.random.default_rng(0)
    pose = (rng.standard_normal((20, 6)) * 0.03).astype(np.float32)
    return MotionTrack(pose, (rng.standard_normal((20, basis.size)) * basis.std * 0.4).astype(np.float32))


def frames_of(drawers: Drawers, track: MotionTrack) -> np.ndarray:
    out, told = [], threading.Event()
    drawers.changed = told.set
    for i in range(len(track)):
        while drawers.full:
            out.append(drawers.take())
        drawers.begin(track.select(slice(i, i + 1)))
    assert told.wait(30)  # somebody says that there is something to take
    out += [*drawers.done(), *drawers.rest()]
    assert drawers.in_work == 0 and not drawers.ready
    return np.concatenate(out)


@pytest.mark.skipif(not can_fork(), reason="processes are copied on Linux only")
def test_copies_and_threads_draw_the_same(picture: Picture, lively: MotionTrack) -> None:
    copies, threads = open_drawers(picture, 2), Threads(picture, 2)
    assert isinstance(copies, Copies)
    pids = list(copies._forked._pids)
    try:
        a, b = frames_of(copies, lively), frames_of(threads, lively)
    finally:
        copies.close()
        threads.close()
    assert a.shape == (20, 384, 256)
    assert np.array_equal(a, b)
    assert len({frame.tobytes() for frame in a}) == 20
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    deadline = time.monotonic() + 5
    while any(t.name == "drawn" for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(t.name == "drawn" for t in threading.enumerate())


def test_a_thread_of_somebody_else_copies_nothing(picture: Picture) -> None:
    kinds: list[type] = []

    def elsewhere() -> None:
        drawers = open_drawers(picture, 2)
        kinds.append(type(drawers))
        drawers.close()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert kinds == [Threads]
