"""Listening: who has been silent for a while looks at the other, nods now and then, tilts the head, smiles a little.

Backchannel nods come as two or three strokes of 2 to 3 Hz that die away (Hadar et al. 1985; Poggi et al. 2010); how often is
chosen. The smile keeps the lips closed: its share of the lips' opening is taken out.
"""

from __future__ import annotations

import math

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.lanes import PITCH, ROLL, YAW, Lanes
from vasa_cli.motion.behaviour.lanes import RAISE as RAISED
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, Slew, chance
from vasa_cli.motion.emotion import without_opening

NOD, SMILE = 0x115, 0x116
AFTER = 1.5  # seconds of silence until somebody listens
SMILE_AFTER = 2.7
GAP = 3.4  # seconds between answers, median
NOD_DEGREES, TILT_DEGREES, RAISE = 2.0, 2.6, 0.25
SMILE_SIZE = 0.3  # of a full AU12


class Listening:
    """Answers to whoever talks in the silences: strokes of head and brows in the lanes, and a smile."""

    def __init__(self, style: MotionStyle, seed: int, lanes: Lanes) -> None:
        self._style, self._seed, self._lanes = style, seed, lanes
        self._keen = min(style.listening, 1.6)
        self._due, self._wanted = 0.0, 0.0
        self._smile = Slew(0.012, 0.012)

    def step(self, frame: int, silent: int) -> float:
        """The next frame, `silent` frames after the last speech -> smile, of a full one."""
        if silent == 0:
            self._wanted = 0.0
        elif silent >= AFTER * FPS:
            self._listen(frame, silent)
        return self._smile(self._wanted)

    def _listen(self, frame: int, silent: int) -> None:
        if silent == round(AFTER * FPS):
            self._due = frame + float(chance(self._seed, NOD, frame).uniform(0.1, 1.6)) * FPS
        if frame >= self._due and self._style.listening > 0:
            dice = chance(self._seed, NOD, frame)
            self._answer(frame, dice)
            wait = float(np.clip(np.exp(dice.normal(np.log(GAP), 0.45)), 1.6, 9.0))
            self._due = frame + wait * FPS / self._keen
        if silent == math.ceil(SMILE_AFTER * FPS):
            dice = chance(self._seed, SMILE, max(frame - silent, 0))
            if dice.random() < 0.75:
                self._wanted = SMILE_SIZE * self._style.listening * dice.uniform(0.5, 1.0)

    def _answer(self, frame: int, dice: np.random.Generator) -> None:
        style, stroke = self._style, self._lanes.stroke
        kind, size = dice.random(), self._keen * float(np.exp(dice.normal(0, 0.25)))
        if kind < 0.62:
            count, beat = int(dice.integers(1, 4)), FPS / dice.uniform(1.9, 2.7)
            course, t = [(0.0, 0.0)], 0.0
            for k in range(count):
                course += [(t + beat * 0.55, 0.62**k), (t + beat * 1.1, 0.12 * 0.62**k)]
                t += beat * 1.1
            stroke(PITCH, frame, [*course, (t + 14, 0.0)], NOD_DEGREES * size * style.nods)
        elif kind < 0.88:
            hold, side = dice.uniform(25, 70), float(dice.choice((-1, 1)))
            course = [(0, 0), (17, 1), (17 + hold, 0.9), (45 + hold, 0)]
            stroke(ROLL, frame, course, side * TILT_DEGREES * size * style.head_roll)
            stroke(YAW, frame, course, side * dice.normal(0, 0.8))
            stroke(PITCH, frame, course, dice.normal(0.4, 0.5))
        else:
            stroke(RAISED, frame, [(0, 0), (6, 1), (14 + dice.uniform(0, 10), 0.8), (40, 0)], RAISE * size * style.brows)
            stroke(PITCH, frame, [(0, 0), (8, 1), (36, 0)], -0.9 * size)


def smile_direction(basis: DynamicsBasis) -> np.ndarray:
    """(K,) a full smile with closed lips."""
    out = np.zeros(basis.size, np.float32)
    for name, share in (("AU12", 1.0), ("AU6", 0.6)):
        out += share * basis.au_directions.get(name, np.zeros(basis.size, np.float32))
    out[basis.blocks["brows"]] = 0
    return without_opening(out, basis)
