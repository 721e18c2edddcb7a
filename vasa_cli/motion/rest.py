"""A person's rest: the neutral face of a tracked clip, each region from the frames in which it rests."""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.basis import IRIS_LEFT, IRIS_RIGHT, lid_opening

LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
EYE_RINGS = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
REGIONS = {"lips": LIPS, "lids": EYE_RINGS, "irises": IRIS_LEFT + IRIS_RIGHT, "brows": BROWS, "all": tuple(range(478))}


def region_masks(shape: np.ndarray, softness: float) -> dict[str, np.ndarray]:
    """Partition of unity (478,) over gaze, lids, brows, mouth: hard labels by place, blurred over the surface (irises stay
    hard).
    """
    skin = np.arange(468)
    eye_distance = np.linalg.norm(shape[:, None, :2] - shape[None, list(EYE_RINGS), :2], axis=-1).min(1)
    brow_line = shape[list(BROWS), 1].max() + 0.02
    hard = np.zeros((478, 3))
    is_brow = (shape[:, 1] < brow_line) & (eye_distance > 0.075)
    is_brow[list(BROWS)] = True
    is_lid = (eye_distance < 0.09) & ~is_brow
    hard[is_lid, 0], hard[is_brow, 1] = 1, 1
    hard[:, 2] = 1 - hard[:, :2].sum(1)
    d2 = ((shape[skin, None] - shape[None, skin]) ** 2).sum(-1)
    kernel = np.exp(-d2 / (2 * softness**2))
    soft = kernel @ hard[skin] / kernel.sum(1, keepdims=True)
    keep = list(EYE_RINGS) + list(LIPS) + list(BROWS)
    soft[keep] = hard[keep]  # the contours themselves belong to one block
    out = {name: np.zeros(478, np.float32) for name in ("gaze", "lids", "brows", "mouth")}
    out["gaze"][468:] = 1
    for i, name in enumerate(("lids", "brows", "mouth")):
        out[name][:468] = soft[:, i]
    return out


def neutral_of(canonical: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    """(T, 478, 3) canonical clip -> (478, 3) neutral: each region from the frames in which it rests.

    Mouth: frames with the lips nearest to closed and a usual width. Lids: the upper middle of the eye openings. Brows: median.
    Irises: median, moved so that both eyes look straight ahead across (up and down, the median is taken for straight).
    """
    opening = np.linalg.norm(canonical[:, 13, :2] - canonical[:, 14, :2], axis=-1)
    width = np.linalg.norm(canonical[:, 61, :2] - canonical[:, 291, :2], axis=-1)
    usually = np.quantile(opening, 0.12)
    limit = usually + 0.004 if usually < 0.015 else np.quantile(opening, 0.02)  # lips that seldom close: only the best frames
    closed = np.flatnonzero(opening <= limit)
    usual = np.abs(width[closed] - np.median(width))
    closed = closed[usual <= np.quantile(usual, 0.6)]
    eyes = lid_opening(canonical).mean(-1)
    resting = (eyes >= np.quantile(eyes, 0.45)) & (eyes <= np.quantile(eyes, 0.8))
    parts = {
        "mouth": np.median(canonical[closed], 0),
        "lids": np.median(canonical[resting], 0),
        "brows": np.median(canonical, 0),
        "gaze": np.median(canonical[resting], 0),
    }
    neutral = np.sum([masks[name][:, None] * part for name, part in parts.items()], axis=0)
    across = 0.5 * sum(iris_offset(neutral, side)[0] for side in (0, 1))
    neutral[468:, 0] -= across
    return neutral.astype(np.float32)


def close_lips(neutral: np.ndarray, opening_field: np.ndarray) -> np.ndarray:
    """Neutral (478, 3) whose lips did not quite meet -> closed along the mean opening motion (478, 3) per IOD of lip opening."""
    gap = float(neutral[14, 1] - neutral[13, 1])
    return (neutral - max(gap, 0.0) * opening_field).astype(np.float32)


def iris_offset(shape: np.ndarray, side: int) -> np.ndarray:
    """(3,) iris centre minus the midpoint of the eye's corners; side 0 is the left of the picture."""
    iris, corners = ((468, (33, 133)), (473, (362, 263)))[side]
    return shape[iris] - 0.5 * (shape[corners[0]] + shape[corners[1]])
