"""Controls that training varies itself: random gaze, distance and emotion curves, added to the targets as exact offsets.

The clips hold little of these (DESIGN, section 3), so every window gets some of them together with their condition values. What
a control does to a face is defined in one place, `motion.apply.add_controls`.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.apply import control_offsets
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import DISTANCE_RANGE, EMOTIONS, GAZE_PITCH_LIMIT, GAZE_YAW_LIMIT, ControlCurves

SHORTEST_CHANGE, LONGEST_CHANGE = 8, 40  # frames that a change of a control takes


def eased(first: np.ndarray, second: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """(length, n) from `first` (n,) to `second`, by a smoothstep at a random place (as `Curve.sample` eases), or constant."""
    if rng.random() < 0.6:
        return np.repeat(first[None], length, 0)
    span = rng.integers(SHORTEST_CHANGE, LONGEST_CHANGE)
    x = ((np.arange(length) - rng.uniform(-span / 2, length)) / span).clip(0, 1)
    ease = (x * x * (3 - 2 * x))[:, None]
    return (1 - ease) * first + ease * second


def random_emotion(rng: np.random.Generator) -> np.ndarray:
    """(7,) weights: none, one or two emotions, summing to at most 1."""
    out = np.zeros(len(EMOTIONS))
    for i in rng.choice(len(EMOTIONS), rng.integers(0, 3), replace=False):
        out[i] = rng.uniform(0, 1)
    return out / max(out.sum(), 1.0)


def random_curves(length: int, shares: tuple[float, float, float], rng: np.random.Generator) -> ControlCurves:
    """Random controls of `length` frames; `shares`: chance that gaze, distance, emotion are asked for at all."""
    limit = np.array([GAZE_YAW_LIMIT, GAZE_PITCH_LIMIT])
    low, high = np.log(DISTANCE_RANGE)
    asked = rng.random(3) < np.array(shares)
    gaze = eased(limit * rng.uniform(-1, 1, 2), limit * rng.uniform(-1, 1, 2), length, rng) * asked[0]
    distance = eased(rng.uniform(low, high, 1), rng.uniform(low, high, 1), length, rng) * asked[1]
    emotion = eased(random_emotion(rng), random_emotion(rng), length, rng) * asked[2]
    one = np.ones(length, np.float32)
    return ControlCurves(
        gaze.astype(np.float32), np.exp(distance[:, 0]).astype(np.float32), emotion.astype(np.float32), one, one, one, one
    )


def plain_curves(length: int) -> ControlCurves:
    """Nothing asked."""
    one = np.ones(length, np.float32)
    return ControlCurves(
        np.zeros((length, 2), np.float32), one, np.zeros((length, len(EMOTIONS)), np.float32), one, one, one, one
    )


def control_responses(basis: DynamicsBasis, lids_per_gaze: np.ndarray) -> list[np.ndarray]:
    """Linear response (D, n) of the motion to gaze (radians), distance (log) and emotion: where the network's own begins."""
    out = []
    for width, part in ((2, "gaze"), (1, "distance"), (len(EMOTIONS), "emotion")):
        rows = []
        for k in range(width):
            curves = plain_curves(1)
            values = {"gaze": curves.gaze, "distance": np.zeros((1, 1), np.float32), "emotion": curves.emotion}
            step = 1.0 if part == "emotion" else 0.1
            values[part][0, k] = step
            asked = ControlCurves(
                np.degrees(values["gaze"]), np.exp(values["distance"][:, 0]), values["emotion"], *[np.ones(1, np.float32)] * 4
            )
            rows.append(control_offsets(asked, basis, lids_per_gaze)[0] / step)
        out.append(np.stack(rows, 1))
    return out
