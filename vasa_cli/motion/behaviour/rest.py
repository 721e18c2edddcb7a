"""Rest: the head comes back to it, in pauses soon, over minutes surely."""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, Slew

SETTLED = 0.5  # of the network's movement, that remains in a long pause
SETTLE_AFTER = 0.5  # seconds
DRIFT_SECONDS = 12.0  # what lasts longer than this fades
SPEAKING = 0.85  # of the network's head, to which nods and breath are added


class Calm:
    """Factor of the network's head, brows and wandering eyes, frame by frame: less in pauses."""

    def __init__(self) -> None:
        self._followed = Slew(0.05, 0.02)

    def step(self, silent: int) -> float:
        """The next frame, `silent` frames after the last speech."""
        return self._followed(SETTLED if silent > SETTLE_AFTER * FPS else 1.0)


class Settling:
    """The network's pose without drift, nearer to rest in pauses.

    Where the head has been lately is taken away: a causal mean of what is past, then an exponential average. The first frame is
    its own, so that every motion begins at rest, as the photo has it.
    """

    def __init__(self) -> None:
        self._lasting: np.ndarray | None = None
        self._frames = FPS  # of the mean

    def push(self, pose: np.ndarray, quiet: np.ndarray) -> np.ndarray:
        """n further frames: pose (n, 6), quiet (n,) as of `Calm` -> (n, 6)."""
        lasting = np.empty(pose.shape)
        if len(pose) and self._lasting is None:
            self._lasting = pose[0].astype(np.float64)
        for i, value in enumerate(pose):
            self._lasting = self._lasting + (value - self._lasting) / self._frames
            self._frames = min(self._frames + 1, FPS * DRIFT_SECONDS)
            lasting[i] = self._lasting
        return np.asarray((pose - lasting) * (SPEAKING * quiet)[:, None], np.float32)


class Manner:
    """Size of each turn and shift, and pace: slower heads are smoothed, faster ones move more than their slow course.

    `look_ahead`: frames beyond those taken that the smoothing looks at. With fewer, it averages over those that there are, from
    then on always over as few: the head would waver if it changed from frame to frame (steps of at most 1.15 of those with all
    look-ahead, at pace 0.7 and more). Behind the last frame of all, the head is thought to stay where it is.
    """

    def __init__(self, style: MotionStyle) -> None:
        self.look_ahead = half_width(style)
        self._size = np.array([style.head_yaw, style.head_pitch, style.head_roll] + [style.sway] * 3, np.float32)
        self._pace, self._over, self._known = style.pace, False, self.look_ahead
        kernel = np.hanning(2 * self.look_ahead + 3)[1:-1]
        self._kernel = kernel / kernel.sum()
        self._rows = np.zeros((0, 6))  # from `look_ahead` frames before the first not yet taken

    def push(self, pose: np.ndarray) -> None:
        """n further frames: pose (n, 6)."""
        rows = pose * self._size
        before = rows[:1].repeat(self.look_ahead, 0) if not len(self._rows) else self._rows
        self._rows = np.concatenate([before, rows]).astype(np.float64)

    def finish(self) -> None:
        """No more will come."""
        self._over = True
        self._rows = np.concatenate([self._rows, self._rows[-1:].repeat(self.look_ahead, 0)])

    def take(self, n: int) -> np.ndarray:
        """(n, 6) the next n frames, of those pushed."""
        half, rows = self.look_ahead, self._rows
        now = rows[half : half + n].astype(np.float32)
        self._rows = rows[n:]
        if half == 0 or n == 0:
            return now
        if not self._over:
            self._known = min(self._known, len(rows) - half - n)
        width = half + 1 + self._known
        kernel = self._kernel[:width] / self._kernel[:width].sum()
        smooth = np.stack([kernel @ rows[i : i + width] for i in range(n)]).astype(np.float32)
        return smooth if self._pace < 1 else np.asarray(now + (self._pace - 1) * (now - smooth), np.float32)


def half_width(style: MotionStyle) -> int:
    """Frames on either side of one that the smoothing of this manner looks at."""
    if style.pace < 1:
        return round(14 * (1 / style.pace - 1))
    return 14 if style.pace > 1 else 0
