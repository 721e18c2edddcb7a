"""Hard listening: whispers lose harmonics, not timing; pauses are silent; wider networks start where narrow ones ended."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.speech.mel import mel_power_db, pad_whole
from vasa_cli.speech.student import SpeechStudent, StudentConfig
from vasa_cli.training.speech_augment import AugmentConfig, augment
from vasa_cli.training.speech_conditions import babble, child, conditions, telephone, whisper, with_music, with_pause
from vasa_cli.training.speech_corpus import Crops, Piece
from vasa_cli.training.speech_data import LipClip
from vasa_cli.training.speech_distill import warm_start
from vasa_cli.training.speech_export import build, keep_meaning
from vasa_cli.training.speech_hard import music, split_pitch, whispered

RATE = 16000


def buzz(seconds: float = 2.0, hz: float = 220.0) -> np.ndarray:
    """A voice-like tone with all harmonics, on and off four times a second."""
    t = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 25))
    return (0.1 * tone * (np.sin(2 * np.pi * 4 * t) > 0)).astype(np.float32)


def mel_of_sound(sound: np.ndarray) -> torch.Tensor:
    return mel_power_db(pad_whole(torch.from_numpy(sound), len(sound) // 160))


def ripples(mel: torch.Tensor) -> float:
    """How strongly the low third of the spectrum is marked by the same harmonics all the time."""
    loud = mel[mel.sum(-1) > mel.sum(-1).median()]
    return float(split_pitch(loud)[1][:, 5:30].mean(0).std())


def test_envelope_and_detail_add_up() -> None:
    mel = mel_of_sound(buzz())[None]
    envelope, detail = split_pitch(mel)
    assert torch.allclose(envelope + detail, mel, atol=1e-4)
    assert detail[0, :, 5:20].std() > 1.0


def test_whispering_has_no_harmonics_but_the_same_syllables() -> None:
    mel = mel_of_sound(buzz())
    out = whispered(mel[None], torch.Generator().manual_seed(0))[0]
    assert ripples(out) < 0.5 * ripples(mel)
    assert np.corrcoef(mel[:, 40].numpy(), out[:, 40].numpy())[0, 1] > 0.8


def test_music_is_loud_as_promised_and_never_the_same() -> None:
    rng = torch.Generator().manual_seed(0)
    a = music(6, 250, rng)
    assert a.shape == (6, 250, 80)
    assert torch.isfinite(a).all() and (a >= 0).all()
    assert 0.05 < float(a.sum(-1).mean()) < 2.0
    assert float((a[0] - a[1]).abs().max()) > 0.01


@pytest.mark.parametrize("kind", ["child", "whisper", "music", "babble"])
def test_every_change_changes_something_and_nothing_breaks(kind: str) -> None:
    off = {"child": 0.0, "whisper": 0.0, "music": 0.0, "babble": 0.0, "noise": 0.0, "reverb": 0.0}
    mel = torch.stack([mel_of_sound(buzz(hz=h)) for h in (120.0, 150.0, 180.0, 240.0)])
    plain = augment(mel, AugmentConfig(**off), torch.Generator().manual_seed(3))
    out = augment(mel, AugmentConfig(**(off | {kind: 1.0})), torch.Generator().manual_seed(3))
    assert torch.isfinite(out).all()
    assert float((out - plain).abs().mean()) > 0.5


def test_conditions_keep_length_and_do_what_they_say() -> None:
    sound = buzz()
    for changed in (babble(sound, [sound[::-1].copy()]), with_music(sound), whisper(sound), child(sound), telephone(sound)):
        assert changed.shape == sound.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
    spectrum = np.abs(np.fft.rfft(child(sound)))
    assert np.argmax(spectrum) / 2.0 == pytest.approx(275, abs=8)  # 220 Hz up a quarter
    assert np.abs(np.fft.rfft(telephone(sound))[:400]).max() < 0.02 * np.abs(np.fft.rfft(sound))[:800].max()
    assert ripples(mel_of_sound(whisper(sound))) < 0.5 * ripples(mel_of_sound(sound))
    noise = babble(sound, [np.random.default_rng(0).standard_normal(len(sound))], 10.0) - sound
    assert 10 * np.log10(np.mean(sound**2) * 2 / np.mean(noise**2)) == pytest.approx(10, abs=1.0)


def test_a_pause_is_silent_and_the_rest_stays() -> None:
    sound = buzz()
    out = with_pause(sound, 20)
    assert len(out) == len(sound) + RATE
    assert not out[20 * 640 : 20 * 640 + RATE].any()
    assert np.array_equal(np.concatenate([out[: 20 * 640], out[20 * 640 + RATE :]]), sound)
    clip = LipClip("a", "b", sound, np.zeros(50), np.zeros(50), np.zeros((50, 3)))
    assert all(len(v) == 1 and len(v[0].samples) == len(sound) for v in conditions([clip]).values())


def test_a_wider_network_begins_where_the_narrow_one_ended() -> None:
    narrow = SpeechStudent(StudentConfig(width=8, hidden=8, stem=8, dilations=(1, 2), lookahead=1, out=5))
    wide = SpeechStudent(StudentConfig(width=8, hidden=24, stem=8, dilations=(1, 2), lookahead=1, out=5))
    x = torch.randn(2, 80, 80)
    warm_start(wide, narrow.state_dict())
    assert torch.allclose(narrow(x), wide(x), atol=1e-5)
    assert wide.blocks[0].conv.weight.shape[0] == 24


def test_slow_crops_carry_the_targets_of_their_own_time() -> None:
    from tests.test_speech_training import Sizes

    ramp = torch.arange(150).float()
    piece = Piece("a", (ramp.repeat_interleave(4)[:, None].expand(-1, 80) / 10).half(), {"lips": (ramp[:, None] / 10).half()})
    crops = Crops([piece], Sizes(), seed=0)
    batch = crops.batch(8, stretch=0.1, slow=1.0)
    lips = batch.target[..., crops.slices["lips"]][..., 0]
    assert torch.allclose(batch.mel[:, ::4, 0], lips, atol=0.12)
    assert float(lips.diff(dim=1).mean()) < 0.075  # 0.1 a frame at full speed


def test_new_weights_keep_the_meaning_of_features() -> None:
    old = SpeechEncoder.from_weights("smoke")
    torch.manual_seed(1)
    again = build(SpeechStudent(old.student.config), [buzz(3.0), buzz(3.0, 130.0)])
    kept = keep_meaning(again, old)
    assert torch.equal(kept.axes, old.axes)
    assert torch.equal(kept.mean[:128], old.mean[:128]) and torch.equal(kept.std[140:], old.std[140:])
    assert torch.equal(kept.std[128:140], again.std[128:140])
