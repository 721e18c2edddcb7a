"""Where the eyes go: on the viewer, with small shifts; aside for a moment, more so while thinking; and back.

A dart is a saccade on the main sequence, 21 ms + 2.2 ms a degree (Bahill, Clark and Stark 1975): one frame or two. How long
the eyes stay and which way they go follow "Eyes Alive" (Lee, Badler and Badler 2002): talkers look at the other for 3 s and
aside for 0.9 s on average, listeners for 8 s and 0.4 s; aside is mostly level, up or down, seldom slanting. Small shifts on
the viewer are chosen: under a degree mostly, for whoever looks into a lens has only that to look at.

Heads move and eyes stay: on the strangers' tracked clips gaze and head turn against each other with a slope of 0.85 (median
of seven; the liveliest 0.87) sideways and 0.60 up and down. See `hold`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.behaviour.prosody import Prosody
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, LOOK_AHEAD, chance, ease, stroke

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


@dataclass(frozen=True)
class Gaze:
    """eyes (T, 2) degrees, yaw + right and pitch + up; head (T, 3) degrees that go along; shifts: frames of large darts."""

    eyes: np.ndarray
    head: np.ndarray
    shifts: tuple[int, ...]


def darts(prosody: Prosody, style: MotionStyle, seed: int) -> Gaze:
    """Fixations one after another. Aside mostly as a phrase ends or is planned, back at the latest when the next one begins."""
    n = len(prosody)
    eyes, head = np.zeros((n, 2)), np.zeros((n, 3))
    quiet = prosody.silent_for()
    ends = {stop for _, stop in prosody.phrases}
    starts = {max(start - LOOK_AHEAD + 1, 0) for start, _ in prosody.phrases}
    at, aside, since, shifts = np.zeros(2), False, 0, []
    due = small = float(chance(seed, LENGTH, 0xFFFF).uniform(1.0, 3.0)) * FPS
    for i in range(n):
        dice = chance(seed, ASIDE, i) if i in ends else None
        thinking = dice is not None and not aside and dice.random() < min(0.4 * style.darts, 0.9)
        back = aside and i in starts and i - since > 6
        if i >= due or thinking or back:
            aside = not aside and style.darts > 0
            target, due = _next(aside, i, quiet[i] > 1.5 * FPS, style, seed)
            small = i + _fixation(seed, i)
            if aside:
                shifts.append(i)
        elif i >= small:
            dice = chance(seed, FIX, i)
            spread = 2.0 if aside else 1.0
            target = (at if aside else 0) + spread * dice.normal(0, (SMALL, SMALL_PITCH))
            small = i + _fixation(seed, i)
        else:
            continue
        _move(eyes, head, i, target - at, chance(seed, FIX + 1, i), style)
        at, since = target, i
    return Gaze(eyes, head, tuple(shifts))


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


def _move(eyes: np.ndarray, head: np.ndarray, frame: int, by: np.ndarray, dice: np.random.Generator, style: MotionStyle) -> None:
    """One saccade, in place, lasting to the end; of a large one the head does a part, later and slower."""
    far = float(np.hypot(*by))
    took = (0.021 + 0.0022 * far) * FPS
    begin = frame - dice.uniform(0, 1)
    part = HEAD_PART * style.head_yaw * far / (far + HEAD_JOINS) if far > HEAD_JOINS else 0.0
    eyes[frame:] += by * ease((np.arange(frame, len(eyes)) - begin) / took)[:, None]
    if part:
        stay = 30 + dice.uniform(0, 15)
        course = [(0, 0), (10, 1), (stay, 0.8), (stay + 25, 0)]
        stroke(head[:, 0], frame, course, -part * by[0])  # yaw > 0 turns left, gaze > 0 looks right
        stroke(head[:, 1], frame, course, -part * by[1])


def hold(eyes: np.ndarray, pose: np.ndarray, calm: np.ndarray) -> np.ndarray:
    """The network's gaze (T, 2) and the head's pose (T, 6) about rest, radians -> gaze that stays with the viewer as the head
    moves, and of its own wandering does a part (times calm (T,))."""
    stay = pose[:, :2] * STAY
    return np.asarray(stay + KEPT * calm[:, None] * (eyes - stay), np.float32)
