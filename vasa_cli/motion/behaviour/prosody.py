"""What the speech stresses, and where it pauses: from loudness, pitch and voicing of the features and the voice activity.

Frame by frame, averages look back only. That somebody speaks at frame t is certain at frame t + 6 at the latest (a stop within a
word, or a pause?), mostly at once; that t carries an accent when speech is certain up to t + 4. When the sound is not known so
far, speech or silence goes on as it was; what is found later is told with the frame at which it was.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from vasa_cli.motion.behaviour.timing import LOOK_AHEAD, Leaky

SHORTEST_PAUSE = LOOK_AHEAD + 1  # frames, 240 ms: stops within words are shorter
LOUDNESS_DB = (-27.2, 21.5)  # mean and deviation behind the standardised columns (speech weights)
PITCH_OCTAVES, VOICED = 0.46, 0.5  # deviation of the pitch column; standardised voicing above which the pitch counts
USUAL_PITCH = 62.5  # voiced frames, of the speaker's running mean
ACCENT_BEFORE, ACCENT_AFTER = 4, 2  # frames around an accent that are less stressed than it
ACCENT_GAP = 5  # frames between accents: syllables
SMOOTH = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)  # triangular average over five frames
CERTAIN = SHORTEST_PAUSE + ACCENT_AFTER + 2  # frames after an accent by which it is found, at the latest


@dataclass(frozen=True)
class Accent:
    """A stressed syllable: its frame, and its size relative to the speaker's usual accent (1)."""

    frame: int
    size: float


@dataclass(frozen=True)
class Prosody:
    """What was heard in T frames. speaking (T,) bool, pauses under 240 ms bridged; silent_for (T,) int frames since the last
    speech, 0 while speaking; accents and ended phrases, as (first, after the last) frame, that were found in this time (frames
    counted from the beginning of the sound).
    """

    speaking: np.ndarray
    silent_for: np.ndarray
    accents: tuple[Accent, ...]
    phrases: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.speaking)


class Heard(NamedTuple):
    """One frame: whether somebody speaks, for how many frames nobody has; and what was found just now: first frame of a phrase,
    a phrase that has ended, an accent."""

    frame: int
    speaking: bool
    silent: int
    begun: int | None
    ended: tuple[int, int] | None
    accent: Accent | None


class ProsodyStream:
    """Features and voice activity in, one `Heard` a frame out, as soon as it is certain (or sooner, if asked to decide)."""

    def __init__(self) -> None:
        self.frame = 0  # the next to be heard
        self._voice, self._emphasis, self._accents = Voice(), Emphasis(), Accents()
        self._sound: deque[list[float]] = deque()
        self._start: int | None = None
        self._silent = 0

    def push(self, features: np.ndarray, active: np.ndarray) -> None:
        """n further frames. features (n, F): the last three columns are loudness, pitch, voicing (standardised); active (n,)
        bool: voice heard."""
        self._sound.extend(features[:, -3:].astype(np.float64).tolist())
        self._voice.push(active)

    def finish(self) -> None:
        """No more will come."""
        self._voice.finish()

    def hear(self, decide: bool = False) -> Heard | None:
        """The next frame; None when there is none, or it is not certain yet (decide: then what was goes on)."""
        speaking = self._voice.hear(decide)
        if speaking is None:
            return None
        frame, start, begun, ended = self.frame, self._start, None, None
        self.frame += 1
        if speaking and start is None:
            self._start = begun = frame - self._voice.late
        elif not speaking and start is not None:
            self._start, ended = None, (start, frame - self._voice.late)
            self._silent = self._voice.late
        self._silent = 0 if speaking else self._silent + 1
        stress = self._emphasis.push(speaking, *self._sound.popleft())
        accent = None if stress is None else self._accents.push(*stress)
        return Heard(frame, speaking, self._silent, begun, ended, accent)

    def rest(self) -> tuple[list[Accent], list[tuple[int, int]]]:
        """After the last frame: the accents and the phrase that end with the sound."""
        found = [self._accents.push(*stress) for stress in self._emphasis.rest()] + self._accents.rest()
        return [accent for accent in found if accent], [] if self._start is None else [(self._start, self.frame)]


class Voice:
    """Voice activity without pauses that are shorter than SHORTEST_PAUSE, and without clicks (single frames between pauses).

    `late`: when speech or silence has begun with the frame last heard, the frames before it that were part of it already.
    """

    def __init__(self) -> None:
        self.late = 0
        self._ahead: deque[bool] = deque()  # from the next frame on
        self._said, self._over = False, False
        self._bridged = 0  # frames of the present pause that were called speech
        self._still = SHORTEST_PAUSE  # frames since a voice was heard last, and no more than that

    def push(self, active: np.ndarray) -> None:
        self._ahead.extend(active.tolist())

    def finish(self) -> None:
        self._over = True

    def hear(self, decide: bool) -> bool | None:
        """Whether somebody speaks in the next frame; None: not certain, or no frame is left. decide: as it was, if uncertain."""
        if not self._ahead:
            return None
        said = self._certain()
        if said is None:
            if not decide:
                return None
            said = self._said
        on = self._ahead.popleft()
        if said != self._said:
            doubted = self._still + 1 if self._still < SHORTEST_PAUSE else 0  # a voice that seemed a click, and what followed it
            self.late = self._bridged if self._said else doubted
        self._bridged = self._bridged + 1 if said and not on else 0
        self._still = 0 if on else min(self._still + 1, SHORTEST_PAUSE)
        self._said = said
        return said

    def _certain(self) -> bool | None:
        on = self._ahead[0]
        if on == self._said:
            return on
        if on and self._still < SHORTEST_PAUSE:
            return True  # with a voice shortly before, that seemed a click
        stop = SHORTEST_PAUSE + 1 if on else SHORTEST_PAUSE - self._bridged  # by which a voice must be heard again
        if any(islice(self._ahead, 1, stop)):
            return True
        if len(self._ahead) >= stop:
            return False
        return (on and len(self._ahead) == 1) if self._over else None


class Emphasis:
    """How far loudness and pitch rise above what they have been: about 0.2 for an ordinary accent. Two frames late: smoothed."""

    def __init__(self) -> None:
        self._average, self._usual = Leaky(1.0, 0.65), 0.65  # loudness while somebody speaks
        self._pitch, self._voiced = 0.0, 0  # running mean over voiced frames, and their number
        self._level: deque[float] = deque(maxlen=5)
        self._height: deque[float] = deque(maxlen=5)
        self._frames: deque[tuple[bool, float]] = deque()  # speaking, usual loudness

    def push(self, speaking: bool, loudness: float, pitch: float, voicing: float) -> tuple[bool, float] | None:
        """One frame -> (speaking, emphasis >= 0) of the frame two before, None before there is one."""
        level = min(max(1 + (LOUDNESS_DB[0] + LOUDNESS_DB[1] * loudness) / 40, 0.0), 1.0) if speaking else 0.0
        if speaking:
            self._usual = self._average(level)
        height = 0.0
        if speaking and voicing > VOICED:
            self._voiced += 1
            self._pitch += (pitch - self._pitch) / min(self._voiced, USUAL_PITCH)
            height = min(max(PITCH_OCTAVES * (pitch - self._pitch), -0.5), 0.8)
        self._frames.append((speaking, self._usual))
        if not self._level:
            self._level.extend((level, level))
            self._height.extend((height, height))
        return self._smoothed(level, height)

    def rest(self) -> list[tuple[bool, float]]:
        """The last two frames: the sound is thought to go on as it ended."""
        out = [self._smoothed(self._level[-1], self._height[-1]) for _ in range(2) if self._frames]
        return [frame for frame in out if frame]

    def _smoothed(self, level: float, height: float) -> tuple[bool, float] | None:
        self._level.append(level)
        self._height.append(height)
        if len(self._level) < 5:
            return None
        speaking, usual = self._frames.popleft()
        return speaking, max(_smooth(self._level) - usual, 0.0) + max(_smooth(self._height), 0.0) if speaking else 0.0


def _smooth(x: deque[float]) -> float:
    a, b, c, d, e = x
    return SMOOTH[0] * a + SMOOTH[1] * b + SMOOTH[2] * c + SMOOTH[3] * d + SMOOTH[4] * e


class Accents:
    """Peaks of the emphasis, seen ACCENT_AFTER frames after they are reached."""

    def __init__(self) -> None:
        self._average, self._usual = Leaky(4.0, 0.12), 0.12  # emphasis while somebody speaks
        self._typical, self._last, self._frame = 0.3, -ACCENT_GAP, 0
        self._recent: deque[tuple[bool, float, float]] = deque(maxlen=ACCENT_BEFORE + 1 + ACCENT_AFTER)

    def push(self, speaking: bool, stress: float) -> Accent | None:
        """One frame -> the accent ACCENT_AFTER frames before it, if there is one."""
        if speaking:
            self._usual = self._average(stress)
        self._recent.append((speaking, stress, self._usual))
        return self._judge(-1 - ACCENT_AFTER) if len(self._recent) > ACCENT_AFTER else None

    def rest(self) -> list[Accent | None]:
        """The last frames, which fewer follow."""
        return [self._judge(at) for at in range(-min(ACCENT_AFTER, len(self._recent)), 0)]

    def _judge(self, at: int) -> Accent | None:
        """The frame `at` (from the end) of the recent ones: an accent?"""
        frame, around = self._frame, list(self._recent)
        self._frame += 1
        speaking, stress, usual = around[at]
        if not speaking or stress < 1.15 * usual + 0.04 or frame - self._last < ACCENT_GAP:
            return None
        if stress < max(s for _, s, _ in around[max(len(around) + at - ACCENT_BEFORE, 0) :]):
            return None
        accent = Accent(frame, min(max(stress / self._typical, 0.4), 2.2))
        self._typical += 0.1 * (stress - self._typical)
        self._last = frame
        return accent


def listen(features: np.ndarray, active: np.ndarray) -> Prosody:
    """The whole of a sound: features (T, F) and active (T,) bool as in `ProsodyStream.push`."""
    stream = ProsodyStream()
    stream.push(features, active)
    stream.finish()
    frames = list(iter(stream.hear, None))
    accents, phrases = stream.rest()
    silent = np.array([h.silent for h in frames], int)
    return Prosody(
        silent == 0,
        silent,
        (*(h.accent for h in frames if h.accent), *accents),
        (*(h.ended for h in frames if h.ended), *phrases),
    )
