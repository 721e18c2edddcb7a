"""Brows go up on stress, and together for a moment in thought.

About seven of ten rises of the pitch come with raised brows in spontaneous talk (Cave et al. 1996), and raises begin before
the accent (Flecha-Garcia 2010: 60 ms on average). On our tracked clips the brows stand 0.02 to 0.03 of a full raise higher at
an accent's peak than 0.3 s around it, over all accents: one in eight gets a raise of about a quarter.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.nods import EARLY
from vasa_cli.motion.behaviour.prosody import Prosody
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import LOOK_AHEAD, chance, stroke

RAISE, QUESTION, THOUGHT = 0xB20, 0xB21, 0xB22
SHARE = 0.24  # of ordinary accents while the brows are free
SIZE = 0.3  # of a full AU1 + AU2


def brows(prosody: Prosody, style: MotionStyle, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(T,) raise and (T,) frown, 1 = the full action."""
    up, down = np.zeros(len(prosody)), np.zeros(len(prosody))
    busy = -100.0
    for accent in prosody.accents:
        dice = chance(seed, RAISE, accent.frame)
        if accent.frame < busy or dice.random() > SHARE * accent.size**1.5:
            continue
        hold, fall = dice.uniform(2, 12), dice.uniform(8, 16)
        size = SIZE * accent.size**0.5 * float(np.exp(dice.normal(0, 0.35))) * style.brows
        rise = dice.uniform(5, 8)
        stroke(up, accent.frame - EARLY, [(0, 0), (rise, 1), (rise + hold, 0.85), (rise + hold + fall, 0)], size)
        busy = accent.frame + rise + hold + fall + dice.uniform(5, 60)
    for start, stop in prosody.phrases:
        dice = chance(seed, QUESTION, start)
        if dice.random() < 0.3:
            stroke(
                up,
                start - LOOK_AHEAD + 1,
                [(0, 0), (7, 1), (14, 0.8), (30, 0)],
                0.7 * SIZE * style.brows * dice.uniform(0.6, 1.3),
            )
        dice = chance(seed, THOUGHT, stop)
        if stop < len(prosody) and dice.random() < 0.15:
            stroke(
                down, stop, [(0, 0), (9, 1), (9 + dice.uniform(5, 20), 0.9), (50, 0)], 0.3 * style.brows * dice.uniform(0.6, 1.2)
            )
    return up, down


def brow_motion(up: np.ndarray, down: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T,) raise and frown -> (T, K): units 1 and 2 together, and 4, of the brows alone."""
    out = np.zeros((len(up), basis.size), np.float32)
    block = basis.blocks["brows"]
    for curve, names in ((up, ("AU1", "AU2")), (down, ("AU4",))):
        for name in names:
            if name in basis.au_directions:
                out[:, block] += curve[:, None].astype(np.float32) * basis.au_directions[name][block]
    return out
