"""Small tools of all behaviours: eased strokes, leaky averages, and chance that does not depend on what comes later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FPS = 25.0
LOOK_AHEAD = 5  # frames of features that a frame's behaviour may look at beyond its own: 200 ms


def chance(seed: int, kind: int, frame: int) -> np.random.Generator:
    """The dice of one event: the same for the same seed, kind of event and frame, whatever else happens."""
    return np.random.default_rng([seed & 0xFFFFFFFF, kind, frame])


def ease(x: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 with minimum jerk (Flash and Hogan, 1985): no velocity and no acceleration at either end."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x**3 * (10.0 + x * (6.0 * x - 15.0)))


def stroke(out: np.ndarray, start: float, knots: Sequence[tuple[float, float]], size: float = 1.0) -> None:
    """Add an eased course to out (T,), in place: knots are (frames since start, value), beginning and ending with value 0."""
    first, last = max(int(np.ceil(start)), 0), min(int(np.floor(start + knots[-1][0])) + 1, len(out))
    if last <= first:
        return
    t = np.arange(first, last) - start
    times, values = np.array(knots).T
    right = np.clip(np.searchsorted(times, t, side="right"), 1, len(times) - 1)
    left = right - 1
    x = ease((t - times[left]) / (times[right] - times[left]))
    out[first:last] += size * (values[left] * (1 - x) + values[right] * x)


def leaky(x: np.ndarray, seconds: float, start: float = 0.0) -> np.ndarray:
    """Causal exponential average of x (T,) or (T, C) with this time constant."""
    rate = 1.0 - np.exp(-1.0 / (FPS * seconds))
    out = np.empty_like(x, dtype=np.float64)
    held = np.full(x.shape[1:], start, np.float64)
    for i, value in enumerate(x):
        held = held + rate * (value - held)
        out[i] = held
    return out


def slew(x: np.ndarray, up: float, down: float) -> np.ndarray:
    """x (T,) followed with at most `up` and `down` a frame, then rounded off by a causal average of 0.16 s."""
    out = np.empty(len(x))
    held = float(x[0]) if len(x) else 0.0
    for i, value in enumerate(x):
        held += float(np.clip(value - held, -down, up))
        out[i] = held
    return leaky(out, 0.16, float(out[0]) if len(out) else 0.0)


def runs(on: np.ndarray) -> list[tuple[int, int]]:
    """First frame and frame after the last of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, on, False].astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
