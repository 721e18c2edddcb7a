"""Measuring generated motion against tracked clips: lip opening and mouth width, one lag per source."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.model import MotionModel
from vasa_cli.motion.windows import ControlConditions, SamplerConfig, generate_windows
from vasa_cli.training.motion_data import Sequence, lip_curves

REACH = 3


@dataclass(frozen=True)
class LipScore:
    """Mean per-clip Pearson r at one lag per source, of opening and width; lags: source -> frames (positive: the generated
    motion comes early).
    """

    opening: float
    width: float
    lags: dict[str, int]
    opening_zero: float
    per_clip: tuple[float, ...]


def pearson(a: np.ndarray, b: np.ndarray, lag: int) -> float:
    """r of a[t] with b[t + lag]; 0 where either does not move."""
    n = min(len(a), len(b))
    x, y = (a[: n - lag], b[lag:n]) if lag >= 0 else (a[-lag:n], b[: n + lag])
    if len(x) < 10 or x.std() < 1e-6 or y.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def score(made: Many[np.ndarray], real: Many[np.ndarray], groups: Many[str]) -> LipScore:
    """made and real: curves (T, 2) of opening and width per clip. The lag of a source is the one with the best mean r of the
    opening.
    """
    lags, opening, width = {}, np.zeros(len(made)), np.zeros(len(made))
    for group in dict.fromkeys(groups):
        members = [i for i, g in enumerate(groups) if g == group]
        table = {k: np.mean([pearson(made[i][:, 0], real[i][:, 0], k) for i in members]) for k in range(-REACH, REACH + 1)}
        lags[group] = max(table, key=lambda k: table[k])
        for i in members:
            opening[i], width[i] = (pearson(made[i][:, c], real[i][:, c], lags[group]) for c in (0, 1))
    zero = float(np.mean([pearson(m[:, 0], r[:, 0], 0) for m, r in zip(made, real, strict=True)]))
    return LipScore(float(opening.mean()), float(width.mean()), lags, zero, tuple(opening))


def curves_of(dynamics: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T, K) -> (T, 2) lip opening and mouth width of the mean face, as the tracker would measure them. Lips that are asked to
    press into each other are drawn closed, so their opening is 0.
    """
    shapes = basis.mean_shape + basis.decode(dynamics)
    curves = lip_curves(shapes)
    curves[shapes[:, 14, 1] < shapes[:, 13, 1], 0] = 0.0
    return curves


def speak(
    model: MotionModel, clips: Many[Sequence], basis: DynamicsBasis, config: SamplerConfig, seed: int, shuffle: bool = False
) -> list[np.ndarray]:
    """Network output only (no gate, no controls): lip curves for every clip's features; shuffled: with the next clip's."""
    out = []
    for i, clip in enumerate(clips):
        features = clips[(i + 1) % len(clips)].features if shuffle else clip.features
        if features is None:
            raise ValueError(f"{clip.name} has no features")
        index = np.arange(len(clip.pose)) % len(features)
        n = len(index)
        none = ControlConditions(np.zeros((n, 2), np.float32), np.zeros(n, np.float32), np.zeros((n, 7), np.float32))
        z = generate_windows(model, features[index], none, seed=seed, config=config)[:, 6:]
        out.append(curves_of(z, basis))
    return out
