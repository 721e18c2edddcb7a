"""Brows go up on stress, and together for a moment in thought.

About seven of ten rises of the pitch come with raised brows in spontaneous talk (Cave et al. 1996), and raises begin before
the accent (Flecha-Garcia 2010: 60 ms on average). On our tracked clips the brows stand 0.02 to 0.03 of a full raise higher at
an accent's peak than 0.3 s around it, over all accents: one in eight gets a raise of about a quarter.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.lanes import FROWN, Lanes
from vasa_cli.motion.behaviour.lanes import RAISE as RAISED
from vasa_cli.motion.behaviour.nods import EARLY
from vasa_cli.motion.behaviour.prosody import Accent
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import LOOK_AHEAD, chance

RAISE, QUESTION, THOUGHT = 0xB20, 0xB21, 0xB22
SHARE = 0.24  # of ordinary accents while the brows are free
SIZE = 0.3  # of a full AU1 + AU2


class Brows:
    """Raises and frowns, 1 = the full action, as strokes in the lanes."""

    def __init__(self, style: MotionStyle, seed: int, lanes: Lanes) -> None:
        self._size, self._seed, self._lanes = style.brows, seed, lanes
        self._busy = -100.0

    def accent(self, accent: Accent) -> None:
        """Now and then a raise."""
        dice = chance(self._seed, RAISE, accent.frame)
        if accent.frame < self._busy or dice.random() > SHARE * accent.size**1.5:
            return
        hold, fall = dice.uniform(2, 12), dice.uniform(8, 16)
        size = SIZE * accent.size**0.5 * float(np.exp(dice.normal(0, 0.35))) * self._size
        rise = dice.uniform(5, 8)
        knots = [(0, 0), (rise, 1), (rise + hold, 0.85), (rise + hold + fall, 0)]
        self._lanes.stroke(RAISED, accent.frame - EARLY, knots, size)
        self._busy = accent.frame + rise + hold + fall + dice.uniform(5, 60)

    def begin(self, start: int) -> None:
        """A phrase begins at frame `start`: sometimes with raised brows."""
        dice = chance(self._seed, QUESTION, start)
        if dice.random() < 0.3:
            size = 0.7 * SIZE * self._size * dice.uniform(0.6, 1.3)
            self._lanes.stroke(RAISED, start - LOOK_AHEAD + 1, [(0, 0), (7, 1), (14, 0.8), (30, 0)], size)

    def end(self, stop: int) -> None:
        """A phrase has ended before frame `stop`: what comes next may need a thought."""
        dice = chance(self._seed, THOUGHT, stop)
        if dice.random() < 0.15:
            knots = [(0, 0), (9, 1), (9 + dice.uniform(5, 20), 0.9), (50, 0)]
            self._lanes.stroke(FROWN, stop, knots, 0.3 * self._size * dice.uniform(0.6, 1.2))


def brow_motion(up: np.ndarray, down: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T,) raise and frown -> (T, K): units 1 and 2 together, and 4, of the brows alone."""
    out = np.zeros((len(up), basis.size), np.float32)
    block = basis.blocks["brows"]
    for curve, names in ((up, ("AU1", "AU2")), (down, ("AU4",))):
        for name in names:
            if name in basis.au_directions:
                out[:, block] += curve[:, None].astype(np.float32) * basis.au_directions[name][block]
    return out
