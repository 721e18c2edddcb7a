"""What of a face follows the head alone: glasses, frames and lenses."""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait.eye_frame import EyeFrame
from vasa_cli.portrait.latent import FaceLatent

_ABOVE, _ASIDE = 0.75, 0.95  # eye widths from the middle of the eye to the rim, where a usual rim is not known better
_MARGIN, _FADE = 0.12, 0.3  # eye widths: beyond the rim that is still rigid, and in which skin begins to move


def glasses_zone(face: FaceLatent, points: np.ndarray) -> np.ndarray:
    """(N,) 0..1 for places (N, 2) in crop pixels: 1 on glasses (both lenses and the bridge), 0 where there are none.

    Lids close within all the same: they are drawn over the skin (`decoder.eye_layer`).
    """
    zone = np.zeros(len(points), np.float32)
    if not (face.glasses > 0).all():
        return zone
    frames = [EyeFrame.of(face.landmarks, eye) for eye in (0, 1)]
    for frame, depth in zip(frames, face.glasses, strict=True):
        uv = frame.local(points)
        below = float(depth) + _MARGIN
        side = max(_ASIDE, 1.05 * float(depth)) + _MARGIN
        reach = np.where(uv[:, 1] > 0, below, max(_ABOVE, 0.7 * float(depth)) + _MARGIN)
        # a rim is rounder than a box and squarer than an ellipse
        radius = (np.abs(uv[:, 0] / side) ** 3 + np.abs(uv[:, 1] / reach) ** 3) ** (1 / 3)
        zone = np.maximum(zone, np.clip(1 - (radius - 1) * side / _FADE, 0, 1))
    left, right = frames
    axis = right.centre - left.centre
    along = (points - left.centre) @ axis / (axis @ axis)
    off = np.abs((points - left.centre) @ np.array([-axis[1], axis[0]]) / (axis @ axis))  # in distances of the eyes
    bridge = (along > 0) & (along < 1)
    return np.maximum(zone, np.where(bridge, np.clip((0.22 - off) / 0.1, 0, 1), 0)).astype(np.float32)
