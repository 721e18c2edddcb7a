"""What tells the next rows ahead: shipped, it is better than holding the last sound; and it can be trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.errors import WeightsError
from vasa_cli.speech import ahead
from vasa_cli.speech.ahead import AHEAD, KNOWN, moments, simulate_ahead
from vasa_cli.speech.audio import RATE, load_speech
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.speech.stream import FeatureStream
from vasa_cli.training import speech_ahead as training
from vasa_cli.weights import registry

DEMO = Path(__file__).resolve().parents[1] / "vasa_cli" / "assets" / "demo_speech.flac"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return load_speech(DEMO).samples


def test_shipped_it_is_better_than_holding_the_last_sound(sound: np.ndarray) -> None:
    worth = training.judge(SpeechEncoder.from_weights("default"), [sound])
    mended, held, zeros = worth["mended"], worth["held"], worth["zeros"]
    phonetic, lips = list(training.GROUPS).index("phonetic"), list(training.GROUPS).index("lips")
    for m in (3, 4):
        assert mended[m, phonetic] > held[m, phonetic] + 0.05
        assert mended[m, lips] > held[m, lips] + 0.03
    assert (mended[:, lips] > zeros[:, lips]).all()
    assert mended[0, lips] > 0.98
    assert (mended[:KNOWN, list(training.GROUPS).index("loudness") :] > 0.9999).all()  # known, not told
    assert (np.diff(mended[:, lips]) < 0).all()


def test_a_burst_after_silence_and_the_very_start_stay_in_range(sound: np.ndarray) -> None:
    encoder = SpeechEncoder.from_weights("default")
    rng = np.random.default_rng(0)
    for x in (
        np.concatenate([np.zeros(2 * RATE, np.float32), np.clip(rng.standard_normal(RATE), -1, 1).astype(np.float32)]),
        sound[RATE : RATE + 6000],
        np.sign(np.sin(np.arange(2 * RATE) / 9)).astype(np.float32),
    ):
        told = simulate_ahead(encoder, x)
        assert np.isfinite(told).all()
        assert np.abs(told).max() < 1.5 * max(6.0, float(np.abs(encoder.features(x)).max()))


def test_in_silence_it_tells_silence(sound: np.ndarray) -> None:
    encoder = SpeechEncoder.from_weights("default")
    stream = FeatureStream(encoder)
    rows = np.concatenate([stream.push(x) for x in (sound[: 2 * RATE], np.zeros(4 * RATE, np.float32))])
    still = rows[-1]
    told = stream.ahead()
    assert np.sqrt(np.mean((told - still) ** 2)) < 0.2
    assert abs(told[-1, training.PHONETIC] - still[training.PHONETIC]) < 0.3


def test_weights_of_another_encoder_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, meta = registry.load_tensors("ahead")
    monkeypatch.setattr(registry, "load_tensors", lambda *_: (tensors, {**meta, "speech": "0" * 64}))
    ahead.mender.cache_clear()
    try:
        with pytest.raises(WeightsError, match="train_ahead"):
            ahead.mender("default")
    finally:
        ahead.mender.cache_clear()


def test_weights_are_small_and_the_others_need_none() -> None:
    assert registry.path_of("ahead").stat().st_size < 1.5e6
    assert registry.read_manifest()["ahead.safetensors"] == registry.sha256_of("ahead")
    assert ahead.mender("smoke") is None and ahead.mender("") is None


def corpus(root: Path, sound: np.ndarray) -> Path:
    """Twelve speakers and one that judges."""
    (root / "pool").mkdir(parents=True)
    for i, name in enumerate([*(f"a{k:02}" for k in range(11)), "grid", "liveportrait_x"]):
        piece = (np.roll(sound, 3000 * i)[: 3 * RATE] * 20000).astype(np.int16)
        np.savez(root / "pool" / f"{name}.npz", data=piece, lens=np.array([len(piece)]))
    return root


def test_speakers_that_judge_are_never_learned_from(tmp_path: Path, sound: np.ndarray) -> None:
    learn, choose = training.speakers(corpus(tmp_path, sound))
    assert [p.stem for p in choose] == ["a09"]
    assert len(learn) == 11
    assert not {p.stem for p in learn} & {"a09", "liveportrait_x"}


def test_training_lowers_the_error_and_exports_what_it_learned(tmp_path: Path, sound: np.ndarray) -> None:
    encoder = SpeechEncoder.from_weights("smoke")
    learn, choose = training.speakers(corpus(tmp_path, sound))
    rng = np.random.default_rng(0)
    examples = training.gather(encoder, training.sounds(learn, 1.0, rng), rng)
    held = training.gather(encoder, training.sounds(choose, 0.1, rng), rng)
    config = training.AheadConfig(straight=8, bent=8, epochs=2, batch=64)
    torch.manual_seed(0)
    net = training.fit(examples, held, config)
    weight = training.importance(config)
    plain = float((held.lacking.float().square() * weight).mean())
    assert training._error(net, held, weight) < 0.95 * plain
    shipped = training.mender_of(net)
    with torch.no_grad():
        assert torch.allclose(shipped(held.inputs.float()), net(held.inputs), atol=2e-2)
    found, came = next(moments(encoder, sound, 3))
    assert shipped(found.inputs()).shape == (len(came), AHEAD * encoder.size)
