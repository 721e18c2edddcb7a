"""Blinks as events: when they come and how the lids move.

The motion model's lids carry squints and the following of the gaze; blinks are removed from its training data, because a
diffusion model trained on minutes of lively data blinks by halves and at the wrong times. They are drawn here instead, from a
log-normal renewal process. Spontaneous blinks of the tracked real clips come 13-20 times a minute, each about 6 frames at half
height; the shape below is the mean of those blinks, made to close fully.
"""

from __future__ import annotations

import numpy as np

MEDIAN_SECONDS = 3.4
SPREAD = 0.45  # of the logarithm
SHORTEST, LONGEST = 2.0, 9.5
# closure per 25th of a second: fast down, shut for two frames, slower up
SHAPE = np.array([0.15, 0.6, 1.0, 1.0, 0.72, 0.4, 0.18, 0.06], np.float32)


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
