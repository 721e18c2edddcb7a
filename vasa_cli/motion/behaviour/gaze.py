"""Where the eyes go: on the viewer, with small shifts; aside for a moment, more so while thinking; and back.

A dart is a saccade on the main sequence, 21 ms + 2.2 ms a degree (Bahill, Clark and Stark 1975): one frame or two. How long
the eyes stay and which way they go follow "Eyes Alive" (Lee, Badler and Badler 2002): talkers look at the other for 3 s and
aside for 0.9 s on average, listeners for 8 s and 0.4 s; aside is mostly level, up or down, seldom slanting. Small shifts on
the viewer are chosen: under a degree mostly, for whoever looks into a lens has only that to look at.

Heads move and eyes stay: on the strangers' tracked clips gaze and head turn against each other with a slope of 0.85 (median
of seven; the liveliest 0.87) sideways and 0.60 up and down. See `hold`.
"""

from __future__ import annotations

import math

import numpy as np

from vasa_cli.motion.behaviour.lanes import EYE_PITCH, EYE_YAW, PITCH, YAW, Lanes
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, LOOK_AHEAD, chance

FIX, ASIDE, LENGTH = 0x6A2E, 0x6A2F, 0x6A30
TALK_SECONDS, LISTEN_SECONDS = 3.0, 7.5  # on the viewer, mean
AWAY_SECONDS, AWAY_LISTENING = 0.85, 0.45  # aside, median
LONGEST_AWAY = 2.4
FIXATION = (0.3, 3.0)  # seconds between small shifts
SMALL, SMALL_PITCH = 0.55, 0.4  # degrees, deviation of small shifts
AWAY_DEGREES, AWAY_LIMIT = 6.0, 12.0  # median and limit of darts aside
# directions (degrees counter-clockwise from the right of the picture) and their shares
DIRECTIONS = (0, 45, 90, 135, 180, 225, 270, 315)
SHARES = np.array([15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.79]) / 99.99
HEAD_JOINS, HEAD_PART = 6.0, 0.18  # degrees from which the head turns along, and by how much of the dart
STAY = np.array([0.9, 0.7])  # of the head's turns that the eyes undo, yaw and pitch
KEPT = 0.45  # of the network's own wandering of the eyes


class Gaze:
    """Fixations one after another. Aside mostly as a phrase ends or is planned, back at the latest when the next one begins.

    Eyes in degrees, yaw + right and pitch + up, and the head's part are written to the lanes. `frame`: the next one.
    """

    def __init__(self, style: MotionStyle, seed: int, lanes: Lanes) -> None:
        self.frame = 0
        self._style, self._seed, self._lanes = style, seed, lanes
        self._starts: set[int] = set()
        self._ends: dict[int, int] = {}  # frame at which it counts: frame at which it was
        self._at, self._aside, self._since = np.zeros(2), False, 0
        self._due = self._small = float(chance(seed, LENGTH, 0xFFFF).uniform(1.0, 3.0)) * FPS
        self._eyes = (0.0, 0.0)  # where finished saccades have brought them
        self._saccades: list[tuple[float, float, float, float]] = []  # begin, frames, by yaw and pitch

    def begin(self, start: int) -> None:
        """A phrase begins at frame `start`: the eyes come back in time, or as soon as this is known."""
        self._starts.add(max(start - LOOK_AHEAD + 1, self.frame))

    def end(self, stop: int) -> None:
        """A phrase has ended before frame `stop`."""
        self._ends[max(stop, self.frame)] = stop

    def step(self, silent: int) -> bool:
        """The next frame, `silent` frames after the last speech -> whether the eyes leave the viewer now."""
        i, aside = self.frame, self._aside
        self.frame += 1
        end = self._ends.pop(i, None)
        dice = None if end is None else chance(self._seed, ASIDE, end)
        thinking = dice is not None and not aside and dice.random() < min(0.4 * self._style.darts, 0.9)
        back = aside and i in self._starts and i - self._since > 6
        self._starts.discard(i)
        if i >= self._due or thinking or back:
            self._aside = not aside and self._style.darts > 0
            target, self._due = _next(self._aside, i, silent > 1.5 * FPS, self._style, self._seed)
            self._look(i, target)
        elif i >= self._small:
            away = chance(self._seed, FIX, i).normal(0, (SMALL, SMALL_PITCH))
            self._look(i, self._at + 2.0 * away if aside else away)
        self._write(i)
        return self._aside and not aside

    def _look(self, frame: int, target: np.ndarray) -> None:
        """One saccade; of a large one the head does a part, later and slower."""
        dice, (x, y) = chance(self._seed, FIX + 1, frame), (target - self._at).tolist()
        far = math.hypot(x, y)
        self._saccades.append((frame - dice.uniform(0, 1), (0.021 + 0.0022 * far) * FPS, x, y))
        if far > HEAD_JOINS:
            part = HEAD_PART * self._style.head_yaw * far / (far + HEAD_JOINS)
            stay = 30 + dice.uniform(0, 15)
            knots = [(0, 0), (10, 1), (stay, 0.8), (stay + 25, 0)]
            self._lanes.stroke(YAW, frame, knots, -part * x)  # yaw > 0 turns left, gaze > 0 looks right
            self._lanes.stroke(PITCH, frame, knots, -part * y)
        self._at, self._since = target, frame
        self._small = frame + _fixation(self._seed, frame)

    def _write(self, frame: int) -> None:
        x, y = self._eyes
        moving: list[tuple[float, float, float, float]] = []
        for saccade in self._saccades:
            begin, took, dx, dy = saccade
            done = min((frame - begin) / took, 1.0)
            share = done**3 * (10.0 + done * (6.0 * done - 15.0))  # as timing.ease
            x, y = x + dx * share, y + dy * share
            if done < 1.0 or moving:
                moving.append(saccade)
            else:
                self._eyes = (x, y)
        self._saccades = moving
        self._lanes.put(frame, EYE_YAW, x)
        self._lanes.put(frame, EYE_PITCH, y)


def _fixation(seed: int, frame: int) -> float:
    """Frames until the next small shift."""
    dice = chance(seed, LENGTH, frame)
    return float(np.clip(np.exp(dice.normal(np.log(0.9), 0.6)), *FIXATION)) * FPS


def _next(aside: bool, frame: int, listening: bool, style: MotionStyle, seed: int) -> tuple[np.ndarray, float]:
    """Where the eyes go now, and the frame at which they leave again."""
    dice = chance(seed, LENGTH + 1, frame)
    if not aside:
        mean = (LISTEN_SECONDS if listening else TALK_SECONDS) / max(style.darts, 1e-3)
        stay = 0.5 + dice.exponential(max(mean - 0.5, 0.1))
        return dice.normal(0, (SMALL, SMALL_PITCH)), frame + FPS * min(stay, 3 * mean)
    stay = float(np.exp(dice.normal(np.log(AWAY_LISTENING if listening else AWAY_SECONDS), 0.5))) * style.darts**0.5
    angle = np.radians(dice.choice(DIRECTIONS, p=SHARES) + dice.uniform(-20, 20))
    far = min(AWAY_DEGREES * float(np.exp(dice.normal(0, 0.35))) * (0.6 if listening else 1.0) * style.dart_size, AWAY_LIMIT)
    up = 0.7 if np.sin(angle) > 0 else 0.8  # eyes go less far up and down than sideways
    return far * np.array([np.cos(angle), up * np.sin(angle)]), frame + FPS * min(max(stay, FIXATION[0]), LONGEST_AWAY)


def hold(eyes: np.ndarray, pose: np.ndarray, calm: np.ndarray) -> np.ndarray:
    """The network's gaze (T, 2) and the head's pose (T, 6) about rest, radians -> gaze that stays with the viewer as the head
    moves, and of its own wandering does a part (times calm (T,))."""
    stay = pose[:, :2] * STAY
    return np.asarray(stay + KEPT * calm[:, None] * (eyes - stay), np.float32)
