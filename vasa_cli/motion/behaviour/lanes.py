"""Where behaviours write what they do in frames to come, until these frames are taken.

What has been taken stays as it was: a stroke that should have begun before the first frame not yet taken, because the sound was
not known in time, begins there.
"""

from __future__ import annotations

import math

import numpy as np

from vasa_cli.motion.behaviour.timing import Knots, course

# strokes: turns of the head in degrees, raised and lowered brows of a full action
YAW, PITCH, ROLL, RAISE, FROWN = range(5)
# one value a frame: degrees; -0.5 .. 0.5; factor; of a full smile; frames since the last speech
EYE_YAW, EYE_PITCH, BREATH, CALM, SMILE, SILENT = range(5, 11)
# the user's sizes of a frame
HEAD_SIZE, BROW_SIZE, MOUTH_SIZE = range(11, 14)
COLUMNS = 14
ROOM = 1024  # frames at first; grows to the longest stroke or block


class Lanes:
    """(frames, COLUMNS) sums, zero where nothing was written. `front`: the first frame not yet taken."""

    def __init__(self) -> None:
        self.front = 0
        self._base = 0  # frame of row 0
        self._rows = np.zeros((ROOM, COLUMNS))

    def stroke(self, column: int, start: float, knots: Knots, size: float = 1.0) -> None:
        """Add an eased course of `size`: knots are (frames since start, value), beginning and ending with value 0."""
        start += self.late(start)
        first, stop = max(math.ceil(start), self.front), math.floor(start + knots[-1][0]) + 1
        if stop > first:
            self._reserve(stop)
            rows = slice(first - self._base, stop - self._base)
            self._rows[rows, column] += size * course(np.arange(first, stop) - start, knots)

    def late(self, start: float) -> float:
        """Frames by which a stroke that should begin at `start` will begin late: it is at rest in the last frame taken. Nothing
        is late before the first frame: a recording may begin in the midst of a stroke."""
        return max(self.front - 1 - start, 0.0) if self.front else 0.0

    def put(self, frame: int, column: int, value: float) -> None:
        """Set one value of a frame that has been written or pushed before."""
        self._rows[frame - self._base, column] = value

    def write(self, first: int, column: int, values: np.ndarray) -> None:
        """Set one column of the frames from `first` on to values (n,)."""
        self._reserve(first + len(values))
        self._rows[first - self._base : first - self._base + len(values), column] = values

    def take(self, n: int) -> np.ndarray:
        """(n, COLUMNS) the next n frames."""
        self._reserve(self.front + n)
        at = self.front - self._base
        self.front += n
        return self._rows[at : at + n].copy()

    def _reserve(self, stop: int) -> None:
        """Make room for the frames before `stop`: taken ones are dropped; what does not fit then makes the rows grow."""
        if stop - self._base <= len(self._rows):
            return
        kept = self._rows[self.front - self._base :]
        room = len(self._rows)
        while room < stop - self.front:
            room *= 2
        rows = np.zeros((room, COLUMNS))
        rows[: len(kept)] = kept
        self._rows, self._base = rows, self.front
