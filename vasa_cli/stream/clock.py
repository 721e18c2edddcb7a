"""What is due when, and what to do when the sound or the machine is late. Pure: time is an argument, nothing sleeps here.

The time line is counted in samples of the input. Frame k shows the sound between k and k + 1 frames and is due, complete, at
start + (k + 1) / fps. The time line never has a hole and never loses sound:

- Sound that is missing `patience` after it was due is replaced by silence, a frame at a time, until sound comes again. Once in
  such a gap the clock is caught up with, so that the next late sound finds the whole patience again.
- Sound that comes faster than time (a burst, a file) is all used; the time line then runs ahead of the clock.
- A clock that is ahead because we were slow (a busy machine, a consumer that did not read, a suspended process) is set anew while
  we wait for sound: our own delay is no gap in the sound.
- The sample clocks of two machines differ; up to DRIFT the clock gives way instead of counting the difference as lateness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

ON_GAP = ("idle", "wait")
ON_SLOW = ("wait", "repeat")
PATIENCE = 0.3  # seconds, default of --patience
PATIENCE_RANGE = (0.0, 60.0)
REPEAT_LAG = 0.5  # seconds behind the clock at which --on-slow repeat begins to repeat pictures
CAUGHT_UP = 0.12  # seconds behind the clock at which it ends
DRIFT = 1e-3  # seconds a second by which the clock gives way
AWAY = 1.0  # seconds beyond the patience: never the sound's fault, see `StreamClock.waits`


@dataclass(frozen=True)
class Policy:
    """patience: seconds that sound may be late. on_gap: "idle" inserts silence for sound that is later, "wait" stands still.
    on_slow: "wait" lets the input wait for a slow machine or consumer, "repeat" repeats pictures to keep up with the clock."""

    patience: float = PATIENCE
    on_gap: str = ON_GAP[0]
    on_slow: str = ON_SLOW[0]


class StreamClock:
    """rate: samples a second of the input. start: when the first sample is expected, on the clock of all later `now`s (seconds).
    delay: seconds by which pictures follow their sound on purpose."""

    def __init__(self, policy: Policy, rate: int, fps: Fraction, start: float, delay: float = 0.0) -> None:
        self.policy, self.rate, self.fps, self.delay = policy, rate, fps, delay
        self.samples = 0  # on the time line
        self.idle_frames = 0  # frames whose sound is silence that was inserted
        self._start = start
        self._waiting = self._gap = False
        self._repeating = False
        self._last = start

    # ------------------------------------------------------------------------------------------------ the time line

    def boundary(self, frame: int) -> int:
        """The sample at which this frame begins."""
        return math.floor(frame * self.rate / self.fps)

    @property
    def whole_frames(self) -> int:
        """Frames whose sound is complete."""
        frame = math.floor(self.samples * self.fps / self.rate)
        return frame + 1 if self.boundary(frame + 1) <= self.samples else frame

    def to_next_frame(self) -> int:
        """Samples that complete the frame begun: at least 1."""
        return self.boundary(self.whole_frames + 1) - self.samples

    def padding(self) -> int:
        """Samples that complete the last frame when the input ends: 0 when it is complete."""
        begun = self.samples > self.boundary(self.whole_frames)
        return self.to_next_frame() if begun else 0

    def lag(self, now: float) -> float:
        """Seconds by which the time line is behind the clock; < 0 when it is ahead."""
        return now - self._start - self.samples / self.rate

    # ------------------------------------------------------------------------------------------------ sound

    def heard(self, samples: int, now: float) -> None:
        """So many samples of the input, which arrived at `now`, were put on the time line."""
        if samples == 0:
            return
        first = self.samples == 0
        self.samples += samples
        self._gap = self._waiting = False
        late = max(0.0, self.lag(now))
        # the first sound, or a slow producer that is waited for, sets the time
        free = first or self.policy.on_gap == "wait"
        self._start += late if free else min(late, DRIFT * max(0.0, now - self._last))
        self._last = now

    def waits(self, now: float) -> float | None:
        """There is no sound to take. -> seconds until `missing` is to be asked (0: at once), None where only sound helps."""
        late = self.lag(now) - self.policy.patience
        if late > AWAY or (not self._waiting and late > 1 / self.fps):
            self._start = now - self.samples / self.rate
        self._waiting = True
        if self.policy.on_gap == "wait":
            return None
        return max(0.0, self._limit() - now)

    def missing(self, now: float) -> int:
        """Samples of silence to put on the time line now: 0, or what completes a frame. They count as put."""
        if self.waits(now) != 0.0:
            return 0
        count = self.to_next_frame()
        self._gap = True
        self.samples += count
        self.idle_frames += 1
        self._last = now
        return count

    def _limit(self) -> float:
        """When the frame begun is completed with silence."""
        due = self._start + self.boundary(self.whole_frames + 1) / self.rate
        return due if self._gap else due + self.policy.patience

    # ------------------------------------------------------------------------------------------------ pictures

    def repeats(self, drawn: int, now: float) -> int:
        """How many of the frames that could be drawn now should repeat the last picture instead; `drawn`: frames so far."""
        if self.policy.on_slow != "repeat":
            return 0
        behind = now - self._start - self.delay - drawn / float(self.fps)
        self._repeating = behind > (CAUGHT_UP if self._repeating else REPEAT_LAG)
        if not self._repeating:
            return 0
        frames = math.ceil((behind - CAUGHT_UP) * self.fps)
        return max(0, min(frames, self.whole_frames - drawn))
