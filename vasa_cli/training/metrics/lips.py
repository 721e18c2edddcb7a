"""Lips: do they follow what was said? Correlation with the real ones, closures, rest in silence."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.training.motion_eval import curves_of, pearson

REACH = 3  # frames that a source's picture may be off its sound
SILENCE = 8  # frames (320 ms); shorter pauses are not silences
EDGE = 2  # frames at either end of a silence in which mouths close and get ready
JAW = 0.12  # IOD of opening at full loudness, of the loudness-driven jaw


def lips_of(dynamics: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T, K) -> (T, 2) lip opening and mouth width of the mean face in IOD, as the tracker would measure them."""
    return curves_of(dynamics, basis)


@dataclass(frozen=True)
class LipMatch:
    """Mean over clips of Pearson's r: opening and width, frame-locked (`*_zero`) and at one lag a source (`lags`: > 0 where the
    made motion comes early)."""

    opening_zero: float
    width_zero: float
    opening: float
    width: float
    lags: dict[str, int]


def match(made: Many[np.ndarray], real: Many[np.ndarray], groups: Many[str]) -> LipMatch:
    """made, real: (T, 2) curves a clip; groups: the source of each clip, whose lag is the one with the best mean r of the
    opening."""
    lags: dict[str, int] = {}
    for group in dict.fromkeys(groups):
        mine = [(m, r) for m, r, g in zip(made, real, groups, strict=True) if g == group]
        by_lag = {k: float(np.mean([pearson(m[:, 0], r[:, 0], k) for m, r in mine])) for k in range(-REACH, REACH + 1)}
        lags[group] = max(by_lag, key=lambda k: (by_lag[k], -abs(k)))
    rows = [
        [pearson(m[:, c], r[:, c], k) for c in (0, 1) for k in (0, lags[g])] for m, r, g in zip(made, real, groups, strict=True)
    ]
    zero, best, width_zero, width = np.mean(rows, 0)
    return LipMatch(float(zero), float(width_zero), float(best), float(width), lags)


def silences(speaking: np.ndarray) -> np.ndarray:
    """(T,) bool: inside silences of at least 320 ms, without the first and last 80 ms."""
    edges = np.flatnonzero(np.diff(np.r_[1, speaking.astype(int), 1]))
    out = np.zeros(len(speaking), bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= SILENCE:
            out[start + EDGE : stop - EDGE] = True
    return out


@dataclass(frozen=True)
class Silence:
    """opening: mean lip opening in silence, over the speaking range (5th to 95th percentile in speech); motion: mean absolute
    change of the opening from frame to frame in silence, over that in speech. nan where there is no silence."""

    opening: float
    motion: float


def silence_of(openings: Many[np.ndarray], speaking: Many[np.ndarray]) -> Silence:
    """Pooled over clips. openings (T,) from shut lips."""
    quiet, loud, calm, busy = [], [], [], []
    for curve, on in zip(openings, speaking, strict=True):
        n = min(len(curve), len(on))
        curve, on = curve[:n], on[:n]
        inside = silences(on)
        quiet.append(curve[inside])
        loud.append(curve[on])
        change = np.abs(np.diff(curve))
        calm.append(change[inside[1:] & inside[:-1]])
        busy.append(change[on[1:] & on[:-1]])
    q, s, c, b = (np.concatenate(x) if x else np.zeros(0) for x in (quiet, loud, calm, busy))
    if len(q) < 5 or len(s) < 5:
        return Silence(float("nan"), float("nan"))
    reach = float(np.quantile(s, 0.95) - np.quantile(s, 0.05))
    if reach < 1e-6:
        return Silence(0.0, 0.0)
    return Silence(float(q.mean()) / reach, float(c.mean() / max(b.mean(), 1e-9)) if len(c) else float("nan"))


def loudness_jaw(loudness: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """The baseline to beat: the jaw opens with the loudness of the last 30 dB. (T,) dB below the loudest -> (T, K)."""
    opening = JAW * np.clip((loudness + 30) / 30, 0, 1)
    return np.asarray(opening[:, None] * basis.mouth_open_direction, np.float32)
