"""Nods on stressed syllables, tilts and lowered heads at phrase ends, lifted heads at phrase starts.

Measured on tracked clips (400 accents of AniTalker's, 43 of the strangers): the head lifts before an accent, and goes down
through it by 0.6 (AniTalker) to 1.5 degrees (strangers), fastest 80 ms after the peak of the emphasis, lowest 0.3 s after it.
That is the mean over all accents; here about two of five accents get a nod, of more than that. Head movement at stress and at
boundaries: Hadar et al. 1983; Graf, Cosatto, Strom and Huang, "Visual prosody", 2002.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.behaviour.prosody import ACCENT_AFTER, Prosody
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import LOOK_AHEAD, chance, stroke

NOD, END, START = 0x40D, 0x40E, 0x40F
EARLY = LOOK_AHEAD - ACCENT_AFTER  # frames before an accent that its nod may begin (the smoothing's two frames included)
SHARE = 0.42  # of ordinary accents, that get a nod
SIZE, END_SIZE, TILT, LIFT = 1.5, 1.7, 1.9, 1.0  # degrees
YAW, PITCH, ROLL = 0, 1, 2


def nods(prosody: Prosody, style: MotionStyle, seed: int) -> np.ndarray:
    """(T, 3) yaw, pitch, roll in degrees."""
    out = np.zeros((len(prosody), 3))
    busy = -100.0
    for accent in prosody.accents:
        dice = chance(seed, NOD, accent.frame)
        if accent.frame < busy or dice.random() > SHARE * accent.size:
            continue
        size = SIZE * accent.size**0.7 * float(np.exp(dice.normal(0, 0.35))) * style.nods
        _beat(out, accent.frame, size, style.pace, dice)
        busy = accent.frame + dice.uniform(9, 26) / style.pace
    for start, stop in prosody.phrases:
        _begin(out, start, style, chance(seed, START, start))
        if stop < len(prosody):
            _end(out, stop, style, chance(seed, END, stop))
    return out


def _beat(out: np.ndarray, frame: int, size: float, pace: float, dice: np.random.Generator) -> None:
    """Up a little, down through the accent, slowly back; now and then sideways instead."""
    slow = float(np.exp(dice.normal(0, 0.12))) / pace
    up, rest = dice.uniform(0.2, 0.4), dice.uniform(16, 24)
    course = [(0.0, 0.0), (3.4 * slow, -up), (10.5 * slow, 1 - up), ((10.5 + rest) * slow, 0.0)]
    sideways = dice.random() < 0.14
    shares = (
        (dice.choice((-0.8, 0.8)), 0.25, dice.normal(0, 0.25)) if sideways else (dice.normal(0, 0.3), 1, dice.normal(0, 0.22))
    )
    for axis, share in enumerate(shares):
        stroke(out[:, axis], frame - EARLY, course, size * float(share))


def _end(out: np.ndarray, stop: int, style: MotionStyle, dice: np.random.Generator) -> None:
    """The last word: the head sinks, or tilts and stays so for a moment, or neither."""
    slow = float(np.exp(dice.normal(0, 0.2))) / style.pace
    kind = dice.random()
    if kind < 0.4:
        size = END_SIZE * float(np.exp(dice.normal(0, 0.3))) * style.nods
        stroke(out[:, PITCH], stop - 2, [(0, 0), (10 * slow, 1), (14 * slow, 0.95), (40 * slow, 0)], size)
    elif kind < 0.65:
        size = TILT * float(np.exp(dice.normal(0, 0.3))) * style.nods * style.head_roll * float(dice.choice((-1, 1)))
        hold = dice.uniform(14, 50)
        course = [(0, 0), (15 * slow, 1), (15 * slow + hold, 0.9), (40 * slow + hold, 0)]
        stroke(out[:, ROLL], stop - 1, course, size)
        stroke(out[:, YAW], stop - 1, course, size * dice.normal(0, 0.4))


def _begin(out: np.ndarray, start: int, style: MotionStyle, dice: np.random.Generator) -> None:
    """The first word: the head comes up."""
    if dice.random() < 0.5:
        slow = float(np.exp(dice.normal(0, 0.2))) / style.pace
        size = -LIFT * float(np.exp(dice.normal(0, 0.35))) * style.nods
        stroke(out[:, PITCH], start - LOOK_AHEAD + 1, [(0, 0), (9 * slow, 1), (36 * slow, 0)], size)
