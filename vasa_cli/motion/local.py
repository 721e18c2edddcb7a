"""What a frame's finish needs of its neighbours alone: smoothing, the silence gate, lips that meet, the tongue.

Given a stretch of frames, its inner frames come out as they would for the whole recording: nothing here looks farther than
`stream.BEFORE` and `BEYOND`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.apply import Parts, control_offsets, scale_parts, smooth_track
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.closures import ClosureProbe
from vasa_cli.motion.controls import ControlCurves
from vasa_cli.motion.model import MotionModel
from vasa_cli.motion.silence import GateConfig, gate
from vasa_cli.motion.tongue import TongueProbe

POSE = 6
# no generated head goes farther: 20, 15, 12 degrees, a quarter of the face's width, 15 % nearer or farther
HEAD_LIMIT = np.array([0.35, 0.26, 0.21, 0.25, 0.25, 0.15], np.float32)
DART_LIMIT = 0.21  # radians, 12 degrees: generated eyes wander, they do not stare aside
HEAD_SMOOTH, GAZE_SMOOTH, FACE_SMOOTH = 6, 1, 2  # half widths in frames: heads are heavy, eyes dart


@dataclass(frozen=True)
class Stretch:
    """Some frames: parts (T frames) scaled and gated, opened (T,) 0..1 the silence gate, closed (T,) 0..1 how shut the lips must
    be (or None), tongue (T,) or None."""

    parts: Parts
    opened: np.ndarray
    closed: np.ndarray | None
    tongue: np.ndarray | None

    def cut(self, start: int, stop: int) -> Stretch:
        """Frames start .. stop - 1 of them."""
        part = slice(start, stop)
        closed, tongue = (None if rows is None else rows[part] for rows in (self.closed, self.tongue))
        return Stretch(Parts(self.parts.pose[part], self.parts.dynamics[part]), self.opened[part], closed, tongue)


def tidy(motion: np.ndarray, curves: ControlCurves, basis: DynamicsBasis, lids_per_gaze: np.ndarray) -> Parts:
    """The network's motion (T, D), natural units, less what the controls ask (they are added again, exactly, at the end),
    smoothed and within limits.

    What is left is how the face moves about what was asked, so that sizes and the silence gate can scale it without touching
    gaze, distance and emotion.
    """
    motion = motion - control_offsets(curves, basis, lids_per_gaze)
    z = motion[:, POSE:].copy()
    pose = smooth_track(motion[:, :POSE], HEAD_SMOOTH)
    gaze = basis.blocks["gaze"]
    for block, half in (("gaze", GAZE_SMOOTH), ("lids", FACE_SMOOTH), ("brows", FACE_SMOOTH)):
        z[:, basis.blocks[block]] = smooth_track(z[:, basis.blocks[block]], half)
    z[:, gaze] = DART_LIMIT * np.tanh(z[:, gaze] / DART_LIMIT)
    return Parts(HEAD_LIMIT * np.tanh(pose / HEAD_LIMIT), z)


class Neighbours:
    """Makes stretches. Holds the probes of one model and nothing else."""

    def __init__(self, model: MotionModel, basis: DynamicsBasis) -> None:
        self.model, self.basis = model, basis
        self.closure, self.tongue = ClosureProbe.load(), TongueProbe.load()
        self.config = GateConfig(**model.settings.get("gate", {}))

    def voice(self, features: np.ndarray) -> np.ndarray:
        """(T, F) -> (T,) logit, > 0 where somebody speaks."""
        return self.model.voice(self.model.normalise_features(features).numpy())

    def stretch(
        self,
        motion: np.ndarray,
        features: np.ndarray,
        curves: ControlCurves,
        held: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Stretch:
        """motion (T, D) in natural units, features (T, F), curves of T frames; held: what live generation makes of the gate."""
        opened = gate(self.voice(features), self.config)
        if held is not None:
            opened = held(opened)
        parts = tidy(motion, curves, self.basis, self.model.stats.lids_per_gaze)
        parts = scale_parts(parts, curves, self.basis, opened)
        tongue = self.tongue(features)
        if tongue is not None:
            tongue = tongue * np.clip(curves.mouth, 0, 1).astype(np.float32)
        return Stretch(parts, opened, self.closure(features), tongue)
