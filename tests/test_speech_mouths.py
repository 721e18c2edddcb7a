"""The lip teacher's lessons: sound and lips of the same moment, at any speed and lag, and never the held-out clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vasa_cli.training import speech_mouths
from vasa_cli.training.speech_corpus import Projection
from vasa_cli.training.speech_data import LipClip
from vasa_cli.training.speech_mouths import CROP, REPEAT, STEP, grid_pairs, lip_axes, lip_targets, other_pairs
from vasa_cli.training.speech_probe import ProbeConfig, fit_probe

FRAMES = 200


class Plain(Projection):
    """What was heard, as it is."""

    def __init__(self) -> None:
        self.tensors = {}

    def __call__(self, teacher: str, raw: np.ndarray, frames: int) -> np.ndarray:
        return raw[: 2 * frames : 2].astype(np.float32)


def clip(name: str, source: str) -> LipClip:
    """Lips that open steadily: the time can be read from them."""
    t = np.linspace(0, 1, FRAMES)
    lips = np.stack([t * (k + 1) for k in range(15)], axis=1) + 0.01 * np.random.default_rng(0).standard_normal((FRAMES, 15))
    return LipClip(name, source, np.zeros(FRAMES * 640, np.float32), t, 1 - t, lips)


def save(path: Path, pieces: dict[int, np.ndarray], **more: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    lens = np.array([len(p) for p in pieces.values()])
    np.savez(path, data=np.concatenate(list(pieces.values())), lens=lens, idx=np.array(list(pieces)), **more)  # type: ignore[arg-type]


def heard(frames: int) -> np.ndarray:
    """A teacher that only tells the time, twice a frame."""
    return np.repeat(np.linspace(0, 1, frames), 2)[:, None].astype(np.float16)


def test_grid_is_paired_at_every_speed_without_the_held_out(tmp_path: Path) -> None:
    clips = [clip(str(i), "grid_s1") for i in range(10)]
    save(tmp_path / "teach_whisper" / "grid.npz", {i: heard(FRAMES) for i in range(10)})
    save(tmp_path / "changed_whisper.npz", {0: heard(160), 1: heard(250)}, speed=np.array([1.25, 0.8]))
    pairs = grid_pairs(tmp_path, clips, lip_axes(clips), Plain())
    assert len(pairs) == 9 + 2
    assert [len(y) for _, y in pairs[9:]] == [160, 250]
    for x, y in pairs:
        assert y.shape[1] == 14
        assert np.abs(x[:, 0] - y[:, 0]).max() < 0.02


def test_others_are_paired_at_their_lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lags = {"late": 3, "early": -2, "unknown": None}
    monkeypatch.setattr(speech_mouths, "lag_of", lambda source, name: lags[name])
    monkeypatch.setattr(speech_mouths, "read_lip_clips", lambda data, source: [clip(n, source) for n in lags])
    (tmp_path / "anitalker").mkdir()
    for name in lags:
        save(tmp_path / "teach_whisper" / f"anitalker_{name}.npz", {0: heard(FRAMES)})
    pairs = other_pairs(tmp_path, tmp_path, lip_axes([clip("a", "b")]), Plain())
    crops = (FRAMES - 3 - CROP) // STEP + 1
    assert len(pairs) == 2 * crops * REPEAT
    late, early = pairs[0], pairs[crops * REPEAT]
    assert np.allclose(late[1][:, 0] - late[0][:, 0], 3 / (FRAMES - 1), atol=2e-3)
    assert np.allclose(early[1][:, 0] - early[0][:, 0], -2 / (FRAMES - 1), atol=2e-3)


def test_lips_count_from_their_own_median() -> None:
    one = clip("a", "b")
    axes = lip_axes([one])
    moved = LipClip("a", "b", one.samples, one.opening, one.width, one.lips + 5.0)
    assert np.allclose(lip_targets(one, axes), lip_targets(moved, axes))


def test_squared_errors_find_the_mean() -> None:
    rng = np.random.default_rng(0)
    pairs = [(np.ones((40, 2)), np.where(rng.random((40, 1)) < 0.25, 4.0, 0.0)) for _ in range(40)]
    mean = {
        loss: fit_probe(pairs, ProbeConfig(epochs=12, width=8, dropout=0.0, loss=loss)).predict(pairs[0][0]).mean()
        for loss in ("l1", "l2")
    }
    assert mean["l2"] == pytest.approx(1.0, abs=0.3)
    assert mean["l1"] < 0.6
