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

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.behaviour.timing import FPS, chance

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


class BlinkStream:
    """Blinks, decided frame by frame. `events`: those whose course has not been dropped."""

    def __init__(self, seed: int, fps: float = FPS) -> None:
        self.events: list[Blink] = []
        self._seed, self._fps = seed, fps
        self._lived = 0.0  # seconds since the last blink, as the blinking process feels them
        self._gap = float(chance(seed, BLINK, -1 & 0xFFFF).uniform(0.4, 1.0)) * MEDIAN_SECONDS

    def step(self, frame: int, rate: float, liked: bool) -> None:
        """The next frame. rate >= 0 scales how often blinks come, 1 = as people do, 0 = never; liked: a blink likes it."""
        self._lived += rate / self._fps
        ready = liked and self._lived >= READY * self._gap and rate > 0
        drawn = ready and chance(self._seed, BLINK + 1, frame).random() < DRAWN
        if not drawn and self._lived < LATE * self._gap:
            return
        dice, per = chance(self._seed, BLINK, frame), self._fps / 25.0
        start = frame + (float(dice.uniform(0, 5)) if drawn else 0.0)
        stretch = float(np.clip(np.exp(dice.normal(0, DURATION)), 0.75, 1.6)) * per
        self.events.append(Blink(start, stretch, float(dice.uniform(0.93, 1.0))))
        if dice.random() < DOUBLE:
            start += float(dice.uniform(*DOUBLE_FRAMES)) * per
            self.events.append(Blink(start, 0.9 * stretch, float(dice.uniform(0.75, 1.0))))
        self._gap = float(np.clip(np.exp(dice.normal(np.log(MEDIAN_SECONDS), SPREAD)), SHORTEST / READY, LONGEST / LATE))
        self._lived = 0.0

    def drop(self, before: int) -> None:
        """Forget blinks that are over at frame `before`."""
        if self.events:
            self.events = [blink for blink in self.events if _frames(blink)[1] > before]


def blinks(rate: np.ndarray, fps: float, seed: int, boundaries: Sequence[int] = ()) -> list[Blink]:
    """All blinks of T frames. rate (T,) as in `BlinkStream.step`; boundaries: frames that a blink likes."""
    stream, liked = BlinkStream(seed, fps), set(boundaries)
    for frame, speed in enumerate(rate.tolist()):
        stream.step(frame, speed, frame in liked)
    return stream.events


def closure(events: Sequence[Blink], stop: int, first: int = 0, end: int | None = None) -> np.ndarray:
    """(stop - first,) closure 0..1 of the frames from `first` to before `stop`: 1 = lids shut. end: frame after the last of the
    recording, at which blinks break off (default: `stop`)."""
    out = np.zeros(stop - first, np.float32)
    for blink in events:
        begins, ends = _frames(blink)
        ends = min(ends, stop if end is None else end)
        low, high = max(begins, first), min(ends, stop)
        if low >= high:
            continue
        at = (np.arange(begins, ends) - blink.start) / blink.stretch
        course = np.interp(at, np.arange(-1, len(SHAPE) + 1), np.r_[0, SHAPE, 0])
        course *= blink.depth / max(course.max(), 0.8)
        out[low - first : high - first] = np.maximum(out[low - first : high - first], course[low - begins : high - begins])
    return out


def _frames(blink: Blink) -> tuple[int, int]:
    """First frame, and frame after the last, in which the lids move."""
    return max(math.ceil(blink.start - 1), 0), int(blink.start + len(SHAPE) * blink.stretch) + 1
