"""Listening: who has been silent for a while looks at the other, nods now and then, tilts the head, smiles a little.

Backchannel nods come as two or three strokes of 2 to 3 Hz that die away (Hadar et al. 1985; Poggi et al. 2010); how often is
chosen. The smile keeps the lips closed: its share of the lips' opening is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.prosody import Prosody
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, chance, slew, stroke
from vasa_cli.motion.emotion import without_opening

NOD, SMILE = 0x115, 0x116
AFTER = 1.5  # seconds of silence until somebody listens
SMILE_AFTER = 2.7
GAP = 3.4  # seconds between answers, median
NOD_DEGREES, TILT_DEGREES, RAISE = 2.0, 2.6, 0.25
SMILE_SIZE = 0.3  # of a full AU12


@dataclass(frozen=True)
class Listening:
    """head (T, 3) degrees; raise of the brows (T,); smile (T,) of a full one."""

    head: np.ndarray
    brows: np.ndarray
    smile: np.ndarray


def listening(prosody: Prosody, style: MotionStyle, seed: int) -> Listening:
    """Answers to whoever talks in the silences."""
    n = len(prosody)
    head, brows, wanted = np.zeros((n, 3)), np.zeros(n), np.zeros(n)
    due = 0.0
    for i, quiet in enumerate(prosody.silent_for()):
        if quiet == 0:
            continue
        if quiet == round(AFTER * FPS):
            due = i + float(chance(seed, NOD, i).uniform(0.1, 1.6)) * FPS
        if quiet >= AFTER * FPS and i >= due and style.listening > 0:
            dice = chance(seed, NOD, i)
            _answer(head, brows, i, dice, style)
            due = i + float(np.clip(np.exp(dice.normal(np.log(GAP), 0.45)), 1.6, 9.0)) * FPS / min(style.listening, 1.6)
        if quiet >= SMILE_AFTER * FPS:
            dice = chance(seed, SMILE, max(i - quiet, 0))
            if dice.random() < 0.75:
                wanted[i] = SMILE_SIZE * style.listening * dice.uniform(0.5, 1.0)
    return Listening(head, brows, slew(wanted, 0.012, 0.012) if n else wanted)


def _answer(head: np.ndarray, brows: np.ndarray, frame: int, dice: np.random.Generator, style: MotionStyle) -> None:
    kind, size = dice.random(), min(style.listening, 1.6) * float(np.exp(dice.normal(0, 0.25)))
    if kind < 0.62:
        count, beat = int(dice.integers(1, 4)), FPS / dice.uniform(1.9, 2.7)
        course, t = [(0.0, 0.0)], 0.0
        for k in range(count):
            course += [(t + beat * 0.55, 0.62**k), (t + beat * 1.1, 0.12 * 0.62**k)]
            t += beat * 1.1
        stroke(head[:, 1], frame, [*course, (t + 14, 0.0)], NOD_DEGREES * size * style.nods)
    elif kind < 0.88:
        hold, side = dice.uniform(25, 70), float(dice.choice((-1, 1)))
        course = [(0, 0), (17, 1), (17 + hold, 0.9), (45 + hold, 0)]
        stroke(head[:, 2], frame, course, side * TILT_DEGREES * size * style.head_roll)
        stroke(head[:, 0], frame, course, side * dice.normal(0, 0.8))
        stroke(head[:, 1], frame, course, dice.normal(0.4, 0.5))
    else:
        stroke(brows, frame, [(0, 0), (6, 1), (14 + dice.uniform(0, 10), 0.8), (40, 0)], RAISE * size * style.brows)
        stroke(head[:, 1], frame, [(0, 0), (8, 1), (36, 0)], -0.9 * size)


def smile_direction(basis: DynamicsBasis) -> np.ndarray:
    """(K,) a full smile with closed lips."""
    out = np.zeros(basis.size, np.float32)
    for name, share in (("AU12", 1.0), ("AU6", 0.6)):
        out += share * basis.au_directions.get(name, np.zeros(basis.size, np.float32))
    out[basis.blocks["brows"]] = 0
    return without_opening(out, basis)
