"""Nods on stressed syllables, tilts and lowered heads at phrase ends, lifted heads at phrase starts.

Measured on tracked clips (400 accents of AniTalker's, 43 of the strangers): the head lifts before an accent, and goes down
through it by 0.6 (AniTalker) to 1.5 degrees (strangers), fastest 80 ms after the peak of the emphasis, lowest 0.3 s after it.
That is the mean over all accents; here about two of five accents get a nod, of more than that. Head movement at stress and at
boundaries: Hadar et al. 1983; Graf, Cosatto, Strom and Huang, "Visual prosody", 2002.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.behaviour.lanes import PITCH, ROLL, YAW, Lanes
from vasa_cli.motion.behaviour.prosody import ACCENT_AFTER, Accent
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import LOOK_AHEAD, chance

NOD, END, START = 0x40D, 0x40E, 0x40F
EARLY = LOOK_AHEAD - ACCENT_AFTER  # frames before an accent that its nod may begin (the smoothing's two frames included)
SHARE = 0.42  # of ordinary accents, that get a nod
SIZE, END_SIZE, TILT, LIFT = 1.5, 1.7, 1.9, 1.0  # degrees


class Nods:
    """Turns of the head with the speech, in degrees, as strokes in the lanes."""

    def __init__(self, style: MotionStyle, seed: int, lanes: Lanes) -> None:
        self._style, self._seed, self._lanes = style, seed, lanes
        self._busy = -100.0

    def accent(self, accent: Accent) -> None:
        """Up a little, down through the accent, slowly back; now and then sideways instead. A late nod goes less up, or not at
        all, so as to come down in time."""
        dice, pace = chance(self._seed, NOD, accent.frame), self._style.pace
        if accent.frame < self._busy or dice.random() > SHARE * accent.size:
            return
        size = SIZE * accent.size**0.7 * float(np.exp(dice.normal(0, 0.35))) * self._style.nods
        slow = float(np.exp(dice.normal(0, 0.12))) / pace
        up, rest = dice.uniform(0.2, 0.4), dice.uniform(16, 24)
        lift = 3.4 * slow
        part = max(1 - self._lanes.late(accent.frame - EARLY) / lift, 0.0)
        raised, shift = [(part * lift, -(part**2) * up)] if part else [], (part - 1) * lift
        knots = [(0.0, 0.0), *raised, (10.5 * slow + shift, 1 - up), ((10.5 + rest) * slow + shift, 0.0)]
        if dice.random() < 0.14:
            shares = (float(dice.choice((-0.8, 0.8))), 0.25, dice.normal(0, 0.25))
        else:
            shares = (dice.normal(0, 0.3), 1.0, dice.normal(0, 0.22))
        for axis, share in zip((YAW, PITCH, ROLL), shares, strict=True):
            self._lanes.stroke(axis, accent.frame - EARLY, knots, size * share)
        self._busy = accent.frame + dice.uniform(9, 26) / pace

    def begin(self, start: int) -> None:
        """The first word of a phrase, at frame `start`: the head comes up."""
        dice = chance(self._seed, START, start)
        if dice.random() < 0.5:
            slow = float(np.exp(dice.normal(0, 0.2))) / self._style.pace
            size = -LIFT * float(np.exp(dice.normal(0, 0.35))) * self._style.nods
            self._lanes.stroke(PITCH, start - LOOK_AHEAD + 1, [(0, 0), (9 * slow, 1), (36 * slow, 0)], size)

    def end(self, stop: int) -> None:
        """The last word, before frame `stop`: the head sinks, or tilts and stays so for a moment, or neither."""
        dice, style = chance(self._seed, END, stop), self._style
        slow = float(np.exp(dice.normal(0, 0.2))) / style.pace
        kind = dice.random()
        if kind < 0.4:
            size = END_SIZE * float(np.exp(dice.normal(0, 0.3))) * style.nods
            self._lanes.stroke(PITCH, stop - 2, [(0, 0), (10 * slow, 1), (14 * slow, 0.95), (40 * slow, 0)], size)
        elif kind < 0.65:
            size = TILT * float(np.exp(dice.normal(0, 0.3))) * style.nods * style.head_roll * float(dice.choice((-1, 1)))
            hold = dice.uniform(14, 50)
            knots = [(0, 0), (15 * slow, 1), (15 * slow + hold, 0.9), (40 * slow + hold, 0)]
            self._lanes.stroke(ROLL, stop - 1, knots, size)
            self._lanes.stroke(YAW, stop - 1, knots, size * dice.normal(0, 0.4))
