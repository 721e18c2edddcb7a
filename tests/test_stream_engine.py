"""The true engine in this process, with smoke weights: sound in pieces of any size in, as many frames out, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.motion.controls import Controls
from vasa_cli.picture import PictureOptions
from vasa_cli.pipeline import steady
from vasa_cli.progress import Reporter
from vasa_cli.requests import MotionOptions
from vasa_cli.stream.control import LiveControls
from vasa_cli.stream.engine import FPS, FRAME, Engine
from vasa_cli.stream.run import StreamRequest, open_face_engine

Make = Callable[..., tuple[Engine, LiveControls]]


@pytest.fixture(scope="module")
def make(face: Path) -> Make:
    request = StreamRequest(face, motion=MotionOptions(weights="smoke"), picture=PictureOptions(size=256))

    def build(**more: object) -> tuple[Engine, LiveControls]:
        controls = LiveControls(Controls.default(), FPS)
        with steady():
            return open_face_engine(replace(request, **more), controls, Reporter()), controls  # type: ignore[arg-type]

    return build


def sound(frames: float) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.1, int(frames * FRAME)).astype(np.float32)


def test_pieces_of_any_size_give_every_frame_once(make: Make) -> None:
    engine, _ = make()
    assert (engine.size, engine.pixels) == ((256, 256), "yuv420p")
    samples, rng, blocks, at = sound(30.3), np.random.default_rng(0), [], 0
    late = 0
    while at < len(samples):
        size = int(rng.integers(0, 900))
        engine.hear(samples[at : at + size])
        at += size
        blocks += [*engine.draw(), *engine.flush()]
        heard, done = min(at, len(samples)) / FRAME, sum(map(len, blocks))
        late = max(late, heard - done)
    blocks += list(engine.finish())
    engine.close()
    frames = np.concatenate(blocks)
    assert frames.shape == (31, 384, 256) and frames.dtype == np.uint8
    assert len({frame.tobytes() for frame in frames}) > 25  # they move
    assert late <= 1 + engine.delay * 25 + 900 / FRAME  # and none waits longer than was said
    again, _ = make()
    again.hear(samples)
    at_once = np.concatenate([*again.draw(), *again.finish()])
    again.close()
    assert np.array_equal(frames, at_once)  # how the sound came makes no difference


def test_frames_that_are_passed_over_count(make: Make) -> None:
    """What is skipped is not drawn, and all others come."""
    engine, _ = make()
    engine.hear(sound(24))
    first = [*engine.draw(), *engine.flush()]
    drawn = sum(map(len, first))
    assert drawn > 12
    engine.hear(sound(24))
    skipped = engine.skip(4)
    assert skipped == 4
    rest = sum(map(len, [*engine.draw(), *engine.finish()]))
    engine.close()
    assert drawn + skipped + rest == 48


def test_a_longer_look_ahead_is_later_and_says_so(make: Make) -> None:
    near, far = make()[0], make(look_ahead=0.4)[0]
    assert far.delay - near.delay == pytest.approx(0.4)
    counts = []
    for engine in (near, far):
        engine.hear(sound(40))
        counts.append(sum(map(len, [*engine.draw(), *engine.flush()])))
        engine.close()
    assert 8 <= counts[0] - counts[1] <= 12


def test_colours_can_be_rgb(make: Make) -> None:
    engine, _ = make(container="rgb24")
    engine.hear(sound(3))
    frames = np.concatenate(list(engine.finish()))
    engine.close()
    assert engine.pixels == "rgb24" and frames.shape == (3, 256, 256, 3)
