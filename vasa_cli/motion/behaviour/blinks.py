"""Blinks as events: when they come and how the lids move.

The motion model's lids carry squints and the following of the gaze. Blinks are removed from its training data and drawn here:
few and short events are what a small diffusion model does worst (a choice made beforehand, not a measured comparison), and
blinks must close fully.

When: a log-normal renewal process, drawn to phrase ends and large shifts of the gaze (blinks fall on breakpoints of speech:
Nakano and Kitazawa 2010; gaze-evoked blinks: Evinger et al. 1994). More often while talking than at rest (26 and 17 a minute:
Bentivoglio et al. 1997). The tracked real clips blink 15 times a minute (median). How: SHAPE is the median course of 1,077
blinks of GRID's speaker, each scaled to its own peak (28 of LivePortrait's people agree within 0.1); their duration at half
height is 2 to 5 frames (12, 54, 21, 8 of 100), which DURATION spreads. A quarter of GRID's blinks have another within 0.4 s
of them; he blinks 41 times a minute, more than twice of what people do, so here one in nine is double.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.behaviour.timing import chance

BLINK = 0xB117C
MEDIAN_SECONDS = 3.7
SPREAD = 0.42  # of the logarithm
SHORTEST, LONGEST = 1.6, 9.0  # seconds between blinks that are not double
READY, LATE = 0.5, 1.3  # shares of the drawn gap: from the first on a boundary brings the blink, at the second it comes anyway
DRAWN = 0.85  # of the boundaries that find the blink ready bring it
DOUBLE, DOUBLE_FRAMES = 0.11, (7, 11)
DURATION = 0.18  # spread of the logarithm
TALKING, RESTING = 1.12, 0.88  # of the rate
# closure per 25th of a second, from the first frame that moves
SHAPE = np.array([0.31, 0.77, 1.0, 0.73, 0.37, 0.16, 0.11, 0.05], np.float32)


@dataclass(frozen=True)
class Blink:
    """start: frame (may lie between frames); stretch: of SHAPE in time; depth: closure at the peak."""

    start: float
    stretch: float = 1.0
    depth: float = 1.0


def blinks(rate: np.ndarray, fps: float, seed: int, boundaries: Sequence[int] = ()) -> list[Blink]:
    """rate (T,) >= 0 scales how often they come, 1 = as people do, 0 = never. boundaries: frames that a blink likes."""
    likes = np.zeros(len(rate), bool)
    likes[[b for b in boundaries if 0 <= b < len(rate)]] = True
    out: list[Blink] = []
    lived, event = 0.0, 0
    gap = float(chance(seed, BLINK, -1 & 0xFFFF).uniform(0.4, 1.0)) * MEDIAN_SECONDS
    for i, speed in enumerate(rate):
        lived += float(speed) / fps  # seconds, as the blinking process feels them
        drawn = likes[i] and lived >= READY * gap and speed > 0 and chance(seed, BLINK + 1, i).random() < DRAWN
        if not drawn and lived < LATE * gap:
            continue
        event += 1
        dice = chance(seed, BLINK, i)
        start = i + (float(dice.uniform(0, 5)) if drawn else 0.0)
        stretch = float(np.clip(np.exp(dice.normal(0, DURATION)), 0.75, 1.6)) * fps / 25.0
        out.append(Blink(start, stretch, float(dice.uniform(0.93, 1.0))))
        if dice.random() < DOUBLE:
            out.append(
                Blink(start + float(dice.uniform(*DOUBLE_FRAMES)) * fps / 25.0, 0.9 * stretch, float(dice.uniform(0.75, 1.0)))
            )
        gap = float(np.clip(np.exp(dice.normal(np.log(MEDIAN_SECONDS), SPREAD)), SHORTEST / READY, LONGEST / LATE))
        lived = 0.0
    return out


def closure(events: Sequence[Blink], frames: int) -> np.ndarray:
    """(T,) closure 0..1: 1 = lids shut."""
    out = np.zeros(frames, np.float32)
    for blink in events:
        first, last = max(int(np.ceil(blink.start - 1)), 0), min(int(blink.start + len(SHAPE) * blink.stretch) + 1, frames)
        at = (np.arange(first, last) - blink.start) / blink.stretch
        course = np.interp(at, np.arange(-1, len(SHAPE) + 1), np.r_[0, SHAPE, 0])
        out[first:last] = np.maximum(out[first:last], blink.depth * course / max(course.max(), 0.8) if len(course) else 0)
    return out
