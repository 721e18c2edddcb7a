"""A motion as blocks: cut, joined, fitted to the frames, and streamed from a recording in the memory of a few blocks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.track import MotionTrack, joined
from vasa_cli.motions import Motion, batches, fitted, from_bytes, spoken, to_bytes
from vasa_cli.progress import Reporter
from vasa_cli.requests import MotionOptions
from vasa_cli.runtime import Clock, Models
from vasa_cli.speech.audio import SpeechReader, load_speech


def track(frames: int, *, tongue: bool = True) -> MotionTrack:
    rng = np.random.default_rng(frames)
    pose, dynamics = rng.normal(size=(frames, 6)).astype(np.float32), rng.normal(size=(frames, 3)).astype(np.float32)
    return MotionTrack(pose, dynamics, Fraction(25), 7, tongue=rng.random(frames, np.float32) if tongue else None)


def same(a: MotionTrack, b: MotionTrack) -> bool:
    tongues = (a.tongue is None) == (b.tongue is None) and (a.tongue is None or np.array_equal(a.tongue, b.tongue))
    return np.array_equal(a.pose, b.pose) and np.array_equal(a.dynamics, b.dynamics) and tongues


@pytest.mark.parametrize("cuts", [[], [1], [8, 16], [5, 6, 7, 30], [40]])
def test_batches_do_not_depend_on_the_blocks(cuts: list[int]) -> None:
    whole = track(41)
    edges = [0, *cuts, 41]
    blocks = [whole.select(slice(a, b)) for a, b in itertools.pairwise(edges)]
    parts = list(batches(blocks, 8))
    assert [len(p) for p in parts] == [8, 8, 8, 8, 8, 1]
    assert same(joined(parts), whole)
    assert same(joined(list(batches([track(9, tongue=False)], 4))), track(9, tongue=False))


def test_a_finished_track_as_blocks() -> None:
    whole = track(100)
    motion = Motion.of(whole)
    assert (motion.frames, motion.fps, motion.seed) == (100, 25, 7)
    assert same(motion.whole(), whole)


@pytest.mark.parametrize(("sizes", "frames"), [((3, 0, 4), 7), ((3, 5), 7), ((6,), 7), ((2, 2), 7), ((1,), 1)])
def test_one_row_a_frame(sizes: tuple[int, ...], frames: int) -> None:
    rows = np.arange(sum(sizes), dtype=np.float32)[:, None]
    blocks = list(fitted(np.split(rows, np.cumsum(sizes)[:-1]), frames))
    assert all(len(b) for b in blocks)
    expected = rows[np.minimum(np.arange(frames), len(rows) - 1)]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_streamed_motion_is_the_whole_recording_s(tmp_path: Path) -> None:
    """Reader, features and motion in blocks: the numbers of everything at once, to float rounding."""
    import soundfile
    from conftest import SPEECH

    samples, rate = soundfile.read(SPEECH)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(samples, 3)[: round(7.3 * rate)], rate)
    options, models, seen = MotionOptions(device="cpu"), Models(), []
    motion = spoken(SpeechReader(path), options, Reporter(), models, Clock())
    assert motion.frames == 183
    streamed = motion.whole(lambda done, total: seen.append((done, total)))
    features = models.speech("default").features(load_speech(path).samples)
    whole = generate_motion(features, options.controls.curves(183, 25), seed=0)
    assert len(streamed) == 183
    assert np.abs(streamed.pose - whole.pose).max() < 1e-4
    assert np.abs(streamed.dynamics - whole.dynamics).max() < 1e-4
    assert seen[-1] == (183, 183)
    assert len(seen) > 2
    assert streamed.hashes["audio"] == SpeechReader(path).sha256


@pytest.mark.parametrize("tongue", [True, False])
def test_blocks_go_to_other_processes_unchanged(tongue: bool) -> None:
    block = track(5, tongue=tongue)
    again = from_bytes(to_bytes(block))
    assert same(again, block)
    assert again.vergence is None
    with_vergence = from_bytes(to_bytes(replace(block, vergence=np.arange(5, dtype=np.float32))))
    np.testing.assert_array_equal(with_vergence.vergence, np.arange(5))
    assert same(with_vergence, block)
