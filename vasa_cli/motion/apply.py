"""From what the network says to what the face does: sizes of the parts, blinks, emotion, gaze and distance.

Order: scale each part about its rest; silence closes the mouth; blinks; then the controls as exact latent offsets. Gaze adds to
the two gaze numbers exactly what was asked (eyes in the head). The lids follow its pitch with the slope measured on real clips,
and the head turns a little the same way (HEAD_SHARE), on top of the eyes. Distance adds its logarithm to the log head distance,
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion import emotion
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import ControlCurves

REST_SMOOTH = 8  # half width in frames, of the mouth's set in silence
HEAD_SHARE = 0.15  # of the asked gaze, in radians of head turn
GAZE_LIMIT = np.radians([38.0, 30.0]).astype(np.float32)  # eyes turn no farther: asked gaze plus generated darts


@dataclass(frozen=True)
class Parts:
    """Network output in natural units before controls: pose (T, 6), dynamics (T, K)."""

    pose: np.ndarray
    dynamics: np.ndarray


def scale_parts(parts: Parts, curves: ControlCurves, basis: DynamicsBasis, mouth_gate: np.ndarray) -> Parts:
    """Multiply head (and its distance), brows, lids and mouth about rest; the gate (T,) closes the mouth in silence.

    Closed lips keep the width and the set that they had, calmly: people's do not spring back to neutral between sentences.
    """
    z = parts.dynamics.copy()
    mouth = basis.blocks["mouth"]
    rest = np.zeros_like(z)
    rest[:, mouth] = smooth_track(z[:, mouth], REST_SMOOTH)
    rest = emotion.without_opening(rest, basis)[:, mouth]
    z[:, basis.blocks["brows"]] *= curves.brows[:, None]
    z[:, basis.blocks["lids"]] *= np.minimum(curves.blink, 1.0)[:, None]
    gate = mouth_gate[:, None]
    z[:, mouth] = curves.mouth[:, None] * (gate * z[:, mouth] + (1 - gate) * rest)
    return Parts(parts.pose * curves.head[:, None], z)


def close_lids(z: np.ndarray, closure: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """Move all lids' numbers towards fully closed by closure (T,) 0..1."""
    out = z.copy()
    lids = basis.blocks["lids"]
    shut = basis.blink_direction[lids]
    out[:, lids] = (1 - closure[:, None]) * out[:, lids] + closure[:, None] * shut
    return out


def add_controls(parts: Parts, curves: ControlCurves, basis: DynamicsBasis, lids_per_gaze: np.ndarray) -> Parts:
    """Emotion, gaze and distance as offsets."""
    pose, z = parts.pose.copy(), parts.dynamics.copy()
    gaze = np.radians(curves.gaze).astype(np.float32)  # (T, 2)
    z += emotion.offsets(curves.emotion, basis)
    z[:, :2] = np.clip(z[:, :2] + gaze, -GAZE_LIMIT, GAZE_LIMIT)
    z[:, basis.blocks["lids"]] += gaze[:, 1:] * lids_per_gaze
    pose[:, 0] -= HEAD_SHARE * gaze[:, 0]  # yaw > 0 turns left, gaze > 0 looks right
    pose[:, 1] -= HEAD_SHARE * gaze[:, 1]  # pitch > 0 lowers the face, gaze > 0 looks up
    pose[:, 5] += np.log(curves.distance)
    return Parts(pose, z)


def control_offsets(curves: ControlCurves, basis: DynamicsBasis, lids_per_gaze: np.ndarray) -> np.ndarray:
    """(T, D) what the controls add to a face at rest: pose, then dynamics, in natural units."""
    n = len(curves)
    nothing = Parts(np.zeros((n, 6), np.float32), np.zeros((n, basis.size), np.float32))
    moved = add_controls(nothing, curves, basis, lids_per_gaze)
    return np.concatenate([moved.pose, moved.dynamics], 1).astype(np.float32)


def smooth_track(x: np.ndarray, half: int) -> np.ndarray:
    """Hann-weighted moving average over 2 half + 1 frames along time; the ends are extended. (T, C) -> (T, C)"""
    if half < 1 or len(x) < 2:
        return x
    kernel = np.hanning(2 * half + 3)[1:-1]
    kernel /= kernel.sum()
    padded = np.pad(x, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, i], kernel, mode="valid") for i in range(x.shape[1])], 1).astype(np.float32)
