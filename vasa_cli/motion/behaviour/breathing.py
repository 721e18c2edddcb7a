"""Breath: the head rises and comes forward a little as the chest fills.

At rest 12 to 18 breaths a minute, about 0.25 Hz. In speech the breath is taken in the pauses, quickly, and let out slowly over
the phrase (Winkworth et al. 1995). Sizes are chosen: a millimetre of a head 140 mm wide, a third of a degree.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.behaviour.prosody import Prosody
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, chance, leaky

BREATH = 0xB2EA
RESTING = 3.9  # seconds a breath
QUICK, SLOW = 0.55, 1.5  # seconds to breathe in: between phrases, at rest
SPOKEN = 6.0  # seconds of speech that one breath lasts
LIFT, FORWARD, BACK = 0.009, 0.005, 0.45  # face widths up; log distance nearer; degrees that the face lifts


def breath(prosody: Prosody, seed: int) -> np.ndarray:
    """(T,) how full the chest is, about -0.5 .. 0.5."""
    out = np.zeros(len(prosody))
    dice = chance(seed, BREATH, 0)
    full, inhaling, rate, period = float(dice.uniform(0.2, 0.8)), False, 0.0, RESTING
    quiet = prosody.silent_for()
    for i, pause in enumerate(quiet):
        if not inhaling:
            full -= 1.0 / (FPS * (SPOKEN if pause == 0 else period - SLOW))
            # a pause is long enough when it has lasted 80 ms and cannot be one within a word
            wanted = (2 <= pause <= 12 and full < 0.62) or (pause > 12 and full < 0.05) or full < -0.25
            if wanted:
                dice = chance(seed, BREATH, i + 1)
                inhaling, period = True, RESTING * float(np.exp(dice.normal(0, 0.16)))
                top = float(dice.uniform(0.85, 1.05))
                rate = (top - full) / (FPS * (QUICK if pause <= 12 else SLOW) * float(np.exp(dice.normal(0, 0.12))))
                until = top
        else:
            full += rate
            inhaling = full < until
        out[i] = full - 0.5
    return leaky(leaky(out, 0.14, float(out[0]) if len(out) else 0.0), 0.14, float(out[0]) if len(out) else 0.0)


def breathing(prosody: Prosody, style: MotionStyle, seed: int) -> np.ndarray:
    """(T, 6) offset of the head, as in MotionTrack."""
    full = breath(prosody, seed) * style.sway
    out = np.zeros((len(prosody), 6))
    out[:, 1] = -np.radians(BACK) * full
    out[:, 4] = -LIFT * full
    out[:, 5] = -FORWARD * full
    return out
