"""Breath: the head rises and comes forward a little as the chest fills.

At rest 12 to 18 breaths a minute, about 0.25 Hz. In speech the breath is taken in the pauses, quickly, and let out slowly over
the phrase (Winkworth et al. 1995). Sizes are chosen: a millimetre of a head 140 mm wide, a third of a degree.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, Leaky, chance

BREATH = 0xB2EA
RESTING = 3.9  # seconds a breath
QUICK, SLOW = 0.55, 1.5  # seconds to breathe in: between phrases, at rest
SPOKEN = 6.0  # seconds of speech that one breath lasts
LIFT, FORWARD, BACK = 0.009, 0.005, 0.45  # face widths up; log distance nearer; degrees that the face lifts


class Breath:
    """How full the chest is, about -0.5 .. 0.5, frame by frame."""

    def __init__(self, seed: int) -> None:
        self._seed, self._frame = seed, 0
        self._full, self._inhaling = float(chance(seed, BREATH, 0).uniform(0.2, 0.8)), False
        self._rate, self._until, self._period = 0.0, 1.0, RESTING
        self._rounded = (Leaky(0.14), Leaky(0.14))

    def step(self, pause: int) -> float:
        """The next frame, `pause` frames after the last speech (0: somebody speaks)."""
        self._frame += 1
        if self._inhaling:
            self._full += self._rate
            self._inhaling = self._full < self._until
        else:
            self._full -= 1.0 / (FPS * (SPOKEN if pause == 0 else self._period - SLOW))
            # a pause is long enough when it has lasted 80 ms and cannot be one within a word
            if (2 <= pause <= 12 and self._full < 0.62) or (pause > 12 and self._full < 0.05) or self._full < -0.25:
                self._begin(QUICK if pause <= 12 else SLOW)
        first, second = self._rounded
        return second(first(self._full - 0.5))

    def _begin(self, seconds: float) -> None:
        dice = chance(self._seed, BREATH, self._frame)
        self._inhaling, self._period = True, RESTING * float(np.exp(dice.normal(0, 0.16)))
        self._until = float(dice.uniform(0.85, 1.05))
        self._rate = (self._until - self._full) / (FPS * seconds * float(np.exp(dice.normal(0, 0.12))))


def breathing(breath: np.ndarray, style: MotionStyle) -> np.ndarray:
    """breath (T,) as of `Breath` -> (T, 6) offset of the head, as in MotionTrack."""
    full = breath * style.sway
    out = np.zeros((len(full), 6))
    out[:, 1] = -np.radians(BACK) * full
    out[:, 4] = -LIFT * full
    out[:, 5] = -FORWARD * full
    return out
