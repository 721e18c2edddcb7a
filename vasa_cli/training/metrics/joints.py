"""Can one see where the generator's windows meet?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class JointTest:
    """Accelerations in the units of the values: mean at joints, mean elsewhere, 95th percentile elsewhere; share of the joints'
    frames above that percentile (0.05 where joints are like any other frame)."""

    at_joints: float
    elsewhere: float
    limit: float
    above: float

    @property
    def passed(self) -> bool:
        """Acceleration at joints is, on the average, not above its 95th percentile elsewhere."""
        return self.at_joints <= self.limit


def joint_frames(frames: int, starts: list[int], overlap: int) -> np.ndarray:
    """(T - 2,) bool for the frames in the middle of a second difference: from the frame before a window starts to the one after
    its overlap with the window before ends."""
    out = np.zeros(frames, bool)
    for start in starts[1:]:
        out[max(start - 1, 0) : start + overlap + 1] = True
    return out[1:-1]


def joint_test(values: np.ndarray, starts: list[int], overlap: int) -> JointTest:
    """values (T, C), for instance head angles in degrees."""
    size = np.linalg.norm(np.diff(values, 2, axis=0), axis=1)
    at = joint_frames(len(values), starts, overlap)
    if not at.any() or at.all():
        return JointTest(*[float("nan")] * 4)
    limit = float(np.quantile(size[~at], 0.95))
    return JointTest(float(size[at].mean()), float(size[~at].mean()), limit, float((size[at] > limit).mean()))
