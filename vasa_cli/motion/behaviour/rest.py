"""Rest: the head comes back to it, in pauses soon, over minutes surely."""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.apply import smooth_track
from vasa_cli.motion.behaviour.prosody import Prosody
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import FPS, slew

SETTLED = 0.5  # of the network's movement, that remains in a long pause
SETTLE_AFTER = 0.5  # seconds
DRIFT_SECONDS = 12.0  # what lasts longer than this fades
SPEAKING = 0.85  # of the network's head, to which nods and breath are added


def calm(prosody: Prosody) -> np.ndarray:
    """(T,) factor of the network's head, brows and wandering eyes: less in pauses."""
    still = prosody.silent_for() > SETTLE_AFTER * FPS
    return slew(np.where(still, SETTLED, 1.0), 0.05, 0.02) if len(prosody) else np.zeros(0)


def settled(pose: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """The network's pose (T, 6) without drift, nearer to rest where quiet (T,) says so."""
    if len(pose) < 2:
        return pose * SPEAKING
    lasting = _lasting(pose)
    return np.asarray((pose - lasting) * (SPEAKING * quiet)[:, None], np.float32)


def _lasting(pose: np.ndarray) -> np.ndarray:
    """(T, 6) where the head has been lately: a causal mean of what is past, then an exponential average. The first frame is its
    own, so that every motion begins at rest, as the photo has it."""
    out = np.empty_like(pose, dtype=np.float64)
    held = pose[0].astype(np.float64)
    for i, value in enumerate(pose):
        held = held + (value - held) / min(i + FPS, FPS * DRIFT_SECONDS)
        out[i] = held
    return out


def in_manner(pose: np.ndarray, style: MotionStyle) -> np.ndarray:
    """Size of each turn and shift, and pace: slower heads are smoothed, faster ones move more than their slow course."""
    size = np.array([style.head_yaw, style.head_pitch, style.head_roll, style.sway, style.sway, style.sway], np.float32)
    out = pose * size
    if style.pace < 1:
        return smooth_track(out, round(14 * (1 / style.pace - 1)))
    if style.pace > 1:
        return np.asarray(out + (style.pace - 1) * (out - smooth_track(out, 14)), np.float32)
    return np.asarray(out, np.float32)
