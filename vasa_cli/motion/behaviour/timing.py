"""Small tools of all behaviours: eased strokes, leaky averages, and chance that does not depend on what comes later.

Averages take one value after another: behaviours run as long as the sound does, and keep only what they still need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FPS = 25.0
LOOK_AHEAD = 5  # frames of sound that behaviours anticipate: 200 ms

Knots = Sequence[tuple[float, float]]


def chance(seed: int, kind: int, frame: int) -> np.random.Generator:
    """The dice of one event: the same for the same seed, kind of event and frame, whatever else happens."""
    return np.random.default_rng([seed & 0xFFFFFFFF, kind, frame])


def ease(x: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 with minimum jerk (Flash and Hogan, 1985): no velocity and no acceleration at either end."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x**3 * (10.0 + x * (6.0 * x - 15.0)))


def course(t: np.ndarray, knots: Knots) -> np.ndarray:
    """Eased values at t (N,) frames after the start: knots are (frames since start, value), beginning and ending with value 0."""
    times, values = np.array(knots).T
    right = np.clip(np.searchsorted(times, t, side="right"), 1, len(times) - 1)
    left = right - 1
    x = ease((t - times[left]) / (times[right] - times[left]))
    return np.asarray(values[left] * (1 - x) + values[right] * x)


class Leaky:
    """Causal exponential average with this time constant, of one value after another. Begins at `start`, or the first value."""

    def __init__(self, seconds: float, start: float | None = None) -> None:
        self._held = start
        self._rate = 1.0 - float(np.exp(-1.0 / (FPS * seconds)))

    def __call__(self, value: float) -> float:
        held = value if self._held is None else self._held
        self._held = held + self._rate * (value - held)
        return self._held


class Slew:
    """Follows one value after another with at most `up` and `down` a frame, rounded off by a causal average of 0.16 s."""

    def __init__(self, up: float, down: float) -> None:
        self._up, self._down = up, down
        self._held: float | None = None
        self._rounded = Leaky(0.16)

    def __call__(self, value: float) -> float:
        held = value if self._held is None else self._held
        self._held = held + min(max(value - held, -self._down), self._up)
        return self._rounded(self._held)
