"""All behaviours of one recording, to be added to what the network says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.apply import Parts
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.blinks import RESTING, TALKING, blinks, closure
from vasa_cli.motion.behaviour.breathing import breathing
from vasa_cli.motion.behaviour.brows import brow_motion, brows
from vasa_cli.motion.behaviour.gaze import darts, hold
from vasa_cli.motion.behaviour.listening import listening, smile_direction
from vasa_cli.motion.behaviour.nods import nods
from vasa_cli.motion.behaviour.prosody import Prosody, listen
from vasa_cli.motion.behaviour.rest import calm, in_manner, settled
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS
from vasa_cli.motion.controls import ControlCurves


@dataclass(frozen=True)
class Behaviour:
    """pose (T, 6) radians, face widths, log distance; gaze (T, 2) radians; face (T, K) brows and smile; blink (T,) closure
    0..1; calm (T,) factor of the network's own head, brows and eyes; prosody: what the speech was heard to do."""

    pose: np.ndarray
    gaze: np.ndarray
    face: np.ndarray
    blink: np.ndarray
    calm: np.ndarray
    prosody: Prosody


def behave(
    features: np.ndarray,
    curves: ControlCurves,
    style: MotionStyle,
    seed: int,
    basis: DynamicsBasis,
    active: np.ndarray | None = None,
) -> Behaviour:
    """features (T, F) at 25 fps, active (T,) bool where a voice is heard (None: judged by loudness) -> Behaviour of T frames.

    Frame t depends on frames up to t + 5 alone (timing.LOOK_AHEAD); every event has dice of its own, so what comes later
    changes nothing. Sizes are scaled by the style and by the curves (head, brows; blink: how often).
    """
    prosody = listen(features, features[:, -3] > -0.6 if active is None else active)
    gaze = darts(prosody, style, seed)
    ears = listening(prosody, style, seed)
    up, down = brows(prosody, style, seed)
    pose = breathing(prosody, style, seed)
    pose[:, :3] += np.radians(nods(prosody, style, seed) + gaze.head + ears.head)
    face = brow_motion((up + ears.brows) * curves.brows, down * curves.brows, basis)
    face += ears.smile[:, None].astype(np.float32) * smile_direction(basis) * np.minimum(curves.mouth, 1)[:, None]
    boundaries = sorted({*(stop + 1 for _, stop in prosody.phrases), *gaze.shifts})
    return Behaviour(
        (pose * curves.head[:, None]).astype(np.float32),
        np.radians(gaze.eyes).astype(np.float32),
        face.astype(np.float32),
        closure(blinks(blink_rate(prosody, curves, style), FPS, seed, boundaries), len(prosody)),
        calm(prosody),
        prosody,
    )


def blink_rate(prosody: Prosody, curves: ControlCurves, style: MotionStyle) -> np.ndarray:
    """(T,) how often blinks come, 1 = as people do."""
    return curves.blink * style.blinks * np.where(prosody.speaking, TALKING, RESTING)


def enliven(
    parts: Parts, acts: Behaviour, curves: ControlCurves, style: MotionStyle, basis: DynamicsBasis, lids_per_gaze: np.ndarray
) -> Parts:
    """The network's motion (its mouth gated and all parts scaled by the curves already) in this manner, with the behaviours.

    The head loses its drift and settles in pauses; the eyes stay with the viewer as it moves, and dart; the lids follow them.
    """
    z = parts.dynamics.copy()
    gaze, lids, brow = (basis.blocks[name] for name in ("gaze", "lids", "brows"))
    pose = in_manner(settled(parts.pose, acts.calm), style) + acts.pose
    eyes = hold(z[:, gaze], pose, acts.calm) + acts.gaze
    z[:, lids] += (eyes[:, 1:] - z[:, gaze.start + 1 : gaze.stop]) * lids_per_gaze * np.minimum(curves.blink, 1)[:, None]
    z[:, gaze] = eyes
    z[:, brow] *= (style.brows * acts.calm)[:, None]
    z[:, basis.blocks["mouth"]] *= style.mouth
    return Parts(pose.astype(np.float32), (z + acts.face).astype(np.float32))
