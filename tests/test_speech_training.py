"""The speech training's parts: crops and their targets stay together, changed voices keep time, the probe finds what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.speech.mel import FLOOR_DB, mel_power_db, pad_whole
from vasa_cli.training.lags import lag_of
from vasa_cli.training.speech_augment import AugmentConfig, augment, warp_frequency
from vasa_cli.training.speech_corpus import Crops, Piece, Projection, load_pieces, phone_activity
from vasa_cli.training.speech_data import is_heldout
from vasa_cli.training.speech_distill import DistillConfig, distill
from vasa_cli.training.speech_listen import build_pool, whisper_mel
from vasa_cli.training.speech_probe import ProbeConfig, fit_probe, lagged_r, score
from vasa_cli.training.speech_teachers import fit_projection


def test_every_tenth_clip_is_held_out() -> None:
    assert [i for i in range(40) if is_heldout(i)] == [9, 19, 29, 39]


def test_a_shorter_vocal_tract_raises_a_resonance() -> None:
    t = torch.arange(16000) / 16000
    mel = mel_power_db(pad_whole(0.3 * torch.sin(2 * torch.pi * 1000 * t), 100))[None]
    peak = int(mel[0].mean(0).argmax())
    assert int(warp_frequency(mel, torch.tensor([1.2]))[0].mean(0).argmax()) > peak
    assert torch.allclose(warp_frequency(mel, torch.tensor([1.0])), mel, atol=1e-2)


def test_changed_voices_stay_finite_and_in_time() -> None:
    rng = torch.Generator().manual_seed(0)
    mel = torch.full((8, 200, 80), FLOOR_DB)
    mel[:, 100:120, 20:40] = -20.0
    config = AugmentConfig(noise=0.0, babble=0.0, reverb=0.0)
    out = augment(mel, config, rng)
    assert torch.isfinite(out).all()
    assert (out.sum(-1).argmax(1) >= 100).all() and (out.sum(-1).argmax(1) < 120).all()


class Sizes(Projection):
    """Two numbers a frame from "whisper", none else."""

    def __init__(self) -> None:
        self.tensors = {"whisper_scale": np.ones(1), "hama_scale": np.ones(1), "lips_scale": np.ones(1)}


def test_crops_carry_the_targets_of_their_own_time() -> None:
    frames = 150
    ramp = torch.arange(frames).float()
    mel = ramp.repeat_interleave(4)[:, None].expand(-1, 80) / 10
    piece = Piece("a", mel.half(), {"lips": (ramp[:, None] / 10).half()})
    crops = Crops([piece], Sizes(), seed=0)
    batch = crops.batch(12, stretch=0.15)
    lips = batch.target[..., crops.slices["lips"]][..., 0]
    assert torch.allclose(batch.mel[:, ::4, 0], lips, atol=0.12)
    assert batch.known[..., crops.slices["lips"]].all()
    assert not batch.known[..., crops.slices["whisper"]].any()


def test_projection_keeps_what_varies() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 6)) * np.array([5, 3, 0.1, 0.1, 0.1, 0.1])
    _, axes, scale, kept = fit_projection(rows, 2)
    assert kept > 0.98
    assert np.abs(axes[:2]).sum() > 1.9
    assert np.mean(((rows @ axes) * scale).var(0)) == pytest.approx(1.0, rel=0.1)


def test_named_phones_become_areas() -> None:
    log = np.log(np.full((40, 3), 1e-6))
    log[:, 2] = 0.0
    log[20] = np.log([0.98, 0.01, 0.01])
    out = phone_activity(log)
    assert out.shape == (40, 2)
    assert out[20, 0] == out[:, 0].max()
    assert (out[17:24, 0] > 0.1).all() and out[5, 0] < 0.01


def test_the_probe_learns_a_delayed_curve_and_the_lag_is_found() -> None:
    rng = np.random.default_rng(1)
    clips = [rng.standard_normal((60, 4)).cumsum(0) * 0.3 for _ in range(40)]
    pairs = [(x, np.roll(x[:, :2], 1, axis=0)) for x in clips]
    probe = fit_probe(pairs[:32], ProbeConfig(epochs=25, width=32, dropout=0.0))
    predicted = [probe.predict(x) for x, _ in pairs[32:]]
    result = score(predicted, [y for _, y in pairs[32:]], ["a"] * 8)
    assert result.open_r0 > 0.8
    a = np.sin(np.arange(80) / 3.0)
    assert lagged_r(a[:-2], a[2:], -2) == pytest.approx(1.0)


def test_lags_name_clips_that_are_out_of_sync() -> None:
    assert lag_of("grid_s1", "bbaf2n") == 0
    assert lag_of("anitalker", "statue-statue") == -1
    assert lag_of("liveportrait", "d14") is None


def test_whisper_input_has_its_shape() -> None:
    from vasa_cli.training.speech_listen import slaney_filters

    mel = whisper_mel(np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1, slaney_filters())
    assert mel.shape == (80, 100)
    assert mel.max() - mel.min() <= 2.0 + 1e-5


def test_a_corpus_is_gathered_and_distilled_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vasa_cli.speech.audio import write_wav
    from vasa_cli.speech.student import StudentConfig
    from vasa_cli.training.speech_corpus import _pieces_of

    rng = np.random.default_rng(0)
    for speaker in ("anna", "liveportrait_x"):
        (tmp_path / "rec" / speaker).mkdir(parents=True)
        for i in range(3):
            write_wav(tmp_path / "rec" / speaker / f"{i}.wav", 0.1 * rng.standard_normal(16000 * 7))
    assert build_pool(tmp_path / "rec", tmp_path) == ["anna", "liveportrait_x"]
    (tmp_path / "teach_whisper").mkdir()
    for path in (tmp_path / "pool").glob("*.npz"):
        pieces = _pieces_of(path)
        data = np.concatenate([rng.standard_normal((len(p) // 320, 4)) for p in pieces.values()])
        np.savez(tmp_path / "teach_whisper" / path.name, data=data, lens=np.array([len(p) // 320 for p in pieces.values()]))
    scales = {
        "whisper_scale": np.ones(4),
        "whisper_axes": np.eye(4),
        "whisper_mean": np.zeros(4),
        "whisper_place": np.zeros((9, 4)),
    }
    np.savez(tmp_path / "teachers.npz", **scales, hama_scale=np.ones(2), lips_scale=np.ones(12))
    projection = Projection(tmp_path)
    assert len(load_pieces(tmp_path, projection)) == 4
    student = StudentConfig(width=8, hidden=8, stem=8, dilations=(1, 1), lookahead=1, out=8 + 4 + 12)
    config = DistillConfig(minutes=0.02, batch=3, student=student)
    distill(tmp_path, tmp_path / "s.pt", config)
    first = torch.load(tmp_path / "s.pt", weights_only=True)
    distill(tmp_path, tmp_path / "s.pt", DistillConfig(minutes=0.04, batch=3, student=student))
    second = torch.load(tmp_path / "s.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    assert "pieces" in capsys.readouterr().out
