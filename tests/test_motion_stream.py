"""Motion block by block: a recording does not notice, live speech is answered at once and never revised, nothing grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.controls import ControlCurves, Controls, Curve
from vasa_cli.motion.diffusion import NoiseProcess
from vasa_cli.motion.emotion import lip_gap
from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.model import MotionModel, load_model
from vasa_cli.motion.rolling import Rolling
from vasa_cli.motion.stream import MotionStream
from vasa_cli.motion.track import MotionTrack, joined
from vasa_cli.motion.windows import Online
from vasa_cli.speech.audio import load_speech
from vasa_cli.speech.features import SpeechEncoder

SPEECH = Path(__file__).resolve().parents[1] / "vasa_cli" / "assets" / "demo_speech.flac"
F = 143


@pytest.fixture(scope="module")
def model() -> MotionModel:
    return load_model("default")


@pytest.fixture(scope="module")
def heard() -> np.ndarray:
    """Features of the demonstration's speech with a pause of 2 s in it."""
    samples = load_speech(SPEECH).samples
    middle = len(samples) // 2
    return SpeechEncoder.from_weights("default").features(np.concatenate([samples[:middle], np.zeros(32000), samples[middle:]]))


def live_controls(start: int, stop: int) -> ControlCurves:
    asked = Controls.default().with_curves(gaze=Curve((0.0, 4.0), ((0.0, 0.0), (12.0, -5.0))), distance=Curve.constant(1.1))
    return asked.curves(stop - start, 25, start)


def in_pieces(stream: MotionStream, features: np.ndarray, size: int) -> MotionTrack:
    blocks = []
    for start in range(0, len(features), size):
        stream.push(features[start : start + size])
        blocks += stream.take(live_controls)
    return joined([*blocks, *stream.finish(live_controls)])


def difference(a: MotionTrack, b: MotionTrack) -> float:
    assert a.tongue is not None and b.tongue is not None
    return max(float(np.abs(x - y).max()) for x, y in ((a.pose, b.pose), (a.dynamics, b.dynamics), (a.tongue, b.tongue)))


@pytest.mark.parametrize("style", [MotionStyle(), MotionStyle(pace=0.6, darts=1.5), MotionStyle(pace=1.4)])
def test_pieces_make_the_whole(model: MotionModel, heard: np.ndarray, style: MotionStyle) -> None:
    """However a recording's features come, the motion is the same."""
    whole = generate_motion(heard, live_controls(0, len(heard)), seed=5, model=model, style=style)
    for size in (1, 37, len(heard)):
        pieces = in_pieces(MotionStream(seed=5, model=model, style=style), heard, size)
        assert len(pieces) == len(heard)
        assert difference(whole, pieces) < 1e-5


@pytest.mark.parametrize("frames", [1, 2, 3, 49, 50, 51, 95, 96])
def test_every_length(frames: int) -> None:
    features = np.random.default_rng(frames).normal(size=(frames, F)).astype(np.float32)
    smoke = load_model("smoke")
    curves = Controls.default().curves(frames, 25)
    for online in (None, Online()):
        track = generate_motion(features, curves, seed=1, model=smoke, online=online)
        assert len(track) == frames
        assert np.isfinite(track.dynamics).all()


def test_live_frames_leave_at_once(model: MotionModel, heard: np.ndarray) -> None:
    """After n frames of speech all but the last few of the motion are there."""
    stream, online = MotionStream(seed=0, model=model, online=Online(hop=3)), Online(hop=3)
    for n in range(1, 100):
        stream.push(heard[n - 1 : n])
        list(stream.take(live_controls))
        assert n - stream.done < online.hop


def test_what_comes_later_changes_nothing_that_left(model: MotionModel, heard: np.ndarray) -> None:
    n = 90
    other = heard.copy()
    other[n:] = np.random.default_rng(0).normal(size=other[n:].shape)
    curves = live_controls(0, len(heard))
    a, b = (generate_motion(x, curves, seed=2, model=model, online=Online(hop=3, look=0)) for x in (heard, other))
    assert np.array_equal(a.pose[: n - 2], b.pose[: n - 2])
    assert np.array_equal(a.dynamics[: n - 2], b.dynamics[: n - 2])
    assert np.abs(a.dynamics[n + 3 :] - b.dynamics[n + 3 :]).max() > 0.1


def test_live_looks_like_the_recording(model: MotionModel, heard: np.ndarray) -> None:
    """The lips say the same, joins between live blocks are no rougher than what is between them, silence is closed."""
    curves, basis = Controls.default().curves(len(heard), 25), DynamicsBasis.load()
    online = Online(hop=3, look=2)
    whole = generate_motion(heard, curves, seed=0, model=model)
    live = generate_motion(heard, curves, seed=0, model=model, online=online)
    a, b = (lip_gap(t.dynamics, basis) for t in (whole, live))
    assert pearsonr(a, b).statistic > 0.88
    middle = len(heard) // 2
    assert b[middle - 5 : middle + 15].max() < 0.15 * np.quantile(b, 0.95) + 0.004
    bends = np.abs(np.diff(live.pose[:, :3], 2, axis=0)).sum(1)
    joints = bends[online.hop - 2 :: online.hop].mean(), bends[online.hop - 1 :: online.hop].mean(), bends.mean()
    assert max(joints[:2]) < 1.5 * joints[2]
    assert 0.5 < live.pose[:, :3].std() / whole.pose[:, :3].std() < 2


def test_nothing_grows(model: MotionModel) -> None:
    """Two minutes of live speech keep no more than one."""
    smoke = load_model("smoke")
    stream, kept = MotionStream(seed=0, model=smoke, online=Online()), []
    noise = np.random.default_rng(1).normal(size=(3000, F)).astype(np.float32)
    for i, row in enumerate(noise):
        stream.push(row[None])
        list(stream.take(live_controls))
        if i in (1499, 2999):
            rollings = (stream.features, stream.curves, stream.late, stream.windows.speech, stream.windows.motion)
            kept.append(sum(r.end - r.first for r in rollings))
    assert kept[1] <= kept[0] + 5


def test_remembering_noise_is_stationary() -> None:
    process = NoiseProcess(3, (20.0, 3.0, 0.0))
    x = np.concatenate([process.next_block() for _ in range(2000)])
    assert np.allclose(x.std(0), 1, atol=0.05)
    for column, length in enumerate((20.0, 3.0)):
        rate = np.sqrt(3.0) / length
        for lag in (1, 4):
            assert np.corrcoef(x[lag:, column], x[:-lag, column])[0, 1] == pytest.approx(
                (1 + rate * lag) * np.exp(-rate * lag), abs=0.05
            )
    again = NoiseProcess(3, (20.0, 3.0, 0.0)).next_block()
    assert np.array_equal(again, x[: len(again)])
    assert not np.array_equal(NoiseProcess(4, (20.0, 3.0, 0.0)).next_block(), again)


def test_rolling_rows() -> None:
    rows = Rolling(1)
    rows.append(np.arange(10)[:, None])
    rows.forget(4)
    assert (rows.first, rows.end) == (4, 10)
    assert rows.rows(2, 12)[:, 0].tolist() == [4, 4, 4, 5, 6, 7, 8, 9, 9, 9]
    rows.put(8, np.array([[80.0], [90.0], [100.0]]))
    assert rows.rows(7, 11)[:, 0].tolist() == [7, 80, 90, 100]
    with pytest.raises(ValueError, match="outside"):
        rows.put(20, np.zeros((1, 1)))
