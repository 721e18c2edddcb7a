"""Blinks as events: when they come and how the lids move.

The motion model's lids carry squints and the following of the gaze. Blinks are removed from its training data and drawn here,
from a log-normal renewal process: few and short events are what a small diffusion model does worst (a choice made beforehand,
not a measured comparison), and blinks must close fully. The tracked real clips blink 15 times a minute (median). SHAPE is the
median course of 1,077 blinks of GRID's speaker, each scaled to its own peak (28 of LivePortrait's people agree within 0.1).
"""

from __future__ import annotations

import numpy as np

MEDIAN_SECONDS = 3.4
SPREAD = 0.45  # of the logarithm
SHORTEST, LONGEST = 2.0, 9.5
# closure per 25th of a second, from the first frame that moves
SHAPE = np.array([0.31, 0.77, 1.0, 0.73, 0.37, 0.16, 0.11, 0.05], np.float32)


def blink_times(rate: np.ndarray, fps: float, seed: int) -> list[int]:
    """Frames at which blinks start. rate (T,) >= 0 scales how often they come, 1 = as people do, 0 = never."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 0xB117C])
    lived = np.cumsum(rate, dtype=np.float64) / fps  # seconds, as the blinking process feels them
    times: list[int] = []
    due = rng.uniform(0.4, 0.9) * MEDIAN_SECONDS
    while len(lived) and due <= lived[-1]:
        times.append(int(np.searchsorted(lived, due)))
        due += float(np.clip(np.exp(rng.normal(np.log(MEDIAN_SECONDS), SPREAD)), SHORTEST, LONGEST))
    return times


def blink_curve(rate: np.ndarray, fps: float, seed: int) -> np.ndarray:
    """(T,) closure 0..1: 1 = lids shut."""
    out = np.zeros(len(rate), np.float32)
    stretch = fps / 25.0
    length = max(round(len(SHAPE) * stretch), 3)
    shape = np.interp(np.linspace(0, len(SHAPE) - 1, length), np.arange(len(SHAPE)), SHAPE)
    for start in blink_times(rate, fps, seed):
        n = min(length, len(out) - start)
        out[start : start + n] = np.maximum(out[start : start + n], shape[:n])
    return out
