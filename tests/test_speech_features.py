"""The speech features: same in pieces as whole, blind to what comes later, indifferent to loudness, finite always."""

from __future__ import annotations

import time

import numpy as np
import pytest

from vasa_cli.speech.features import FEATURES, LOOK_AHEAD, SpeechEncoder

RATE = 16000


def voice(seconds: float, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """A buzzing, chopped noise that is a little like speech."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    buzz = sum(np.sin(2 * np.pi * (120 + 10 * np.sin(t)) * k * t) / k for k in range(1, 20))
    envelope = np.interp(t, np.arange(0, seconds + 0.1, 0.1), rng.random(len(np.arange(0, seconds + 0.1, 0.1))) ** 2)
    sound = (buzz + 0.5 * rng.standard_normal(n)) * envelope
    return (level * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="module", params=["default", "smoke"])
def encoder(request: pytest.FixtureRequest) -> SpeechEncoder:
    return SpeechEncoder.from_weights(request.param)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (640, 1), (641, 2), (1600, 3), (16000, 25), (0, 0)])
def test_one_row_for_every_frame_the_sound_touches(encoder: SpeechEncoder, samples: int, frames: int) -> None:
    out = encoder.features(voice(1.0)[:samples])
    assert out.shape == (frames, FEATURES)
    assert out.dtype == np.float32


def test_chunks_give_what_the_whole_gives(encoder: SpeechEncoder) -> None:
    sound = np.concatenate([voice(7.3, 1, 0.8), voice(6.1, 2, 0.02)])
    whole = encoder.features(sound)
    for chunk in (7, 50, 61):
        assert np.abs(encoder.features(sound, chunk=chunk) - whole).max() < 1e-4


def test_nothing_later_than_the_look_ahead_matters(encoder: SpeechEncoder) -> None:
    sound, other = voice(4.0, 3), voice(4.0, 4, 0.9)
    t = 50
    cut = t * 640 + LOOK_AHEAD
    changed = np.concatenate([sound[:cut], other[cut:]])
    a, b = encoder.features(sound), encoder.features(changed)
    assert np.abs(a[: t + 1] - b[: t + 1]).max() < 1e-5
    assert np.abs(a[t + 8 :] - b[t + 8 :]).max() > 0.1


def test_loudness_of_the_recording_hardly_matters(encoder: SpeechEncoder) -> None:
    sound = voice(4.0, 5, 0.9)
    loud, quiet = encoder.features(sound), encoder.features(sound * 0.1)
    assert np.corrcoef(loud.ravel(), quiet.ravel())[0, 1] > 0.97


def test_silence_is_finite_and_still(encoder: SpeechEncoder) -> None:
    out = encoder.features(np.zeros(3 * RATE, np.float32))
    assert np.isfinite(out).all()
    assert np.abs(np.diff(out[50:-8], axis=0)).max() < 1e-3


def test_voicing_and_pitch_follow_a_tone() -> None:
    encoder = SpeechEncoder.from_weights("default")
    t = np.arange(RATE) / RATE
    low = sum(np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 12)) * 0.1
    high = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 12)) * 0.1
    hiss = np.random.default_rng(0).standard_normal(RATE) * 0.05
    f = [encoder.features(x.astype(np.float32))[5:20] for x in (low, high, hiss)]
    pitch = [x[:, FEATURES - 2] * float(encoder.std[-2]) + float(encoder.mean[-2]) for x in f]
    voicing = [x[:, FEATURES - 1].mean() for x in f]
    assert np.allclose(pitch[1] - pitch[0], 1.0, atol=0.05)  # an octave
    assert min(voicing[:2]) > voicing[2] + 1.0


def test_much_faster_than_speech() -> None:
    encoder = SpeechEncoder.from_weights("default")
    sound = voice(20.0)
    encoder.features(sound[:RATE])
    began = time.perf_counter()
    encoder.features(sound)
    assert time.perf_counter() - began < 4.0  # 5 times real time, on a machine that others may use too
