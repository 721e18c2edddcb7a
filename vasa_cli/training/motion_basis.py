"""Fitting the basis of facial dynamics: symmetric mean face, per-clip neutrals, blocks, principal components, identity
directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import (
    EYE_RADIUS,
    IRIS_LEFT,
    IRIS_RIGHT,
    LID_PAIRS_LEFT,
    LID_PAIRS_RIGHT,
    DynamicsBasis,
    lid_opening,
    procrustes,
    stable_weights,
)

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
UPPER_LID_SHARE = 0.85  # of a blink's way; about what the data's blinks show at the middle of the eye


@dataclass(frozen=True)
class BasisConfig:
    """Numbers of principal components beside the physical directions (gaze 2, closure 2), and fit weights of the regions."""

    lids: int = 10
    brows: int = 8
    mouth: int = 40
    identity: int = 10
    weight_lips: float = 6.0
    weight_lids: float = 6.0
    weight_irises: float = 4.0
    weight_brows: float = 3.0
    weight_contour: float = 0.4
    softness: float = 0.07


def symmetric_frame(shape: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(478, 3) -> the symmetric shape in canonical axes: x across the eyes, forehead 10 above chin 152, IOD 1, origin at the
    stable centroid.
    """
    s = shape.astype(np.float64)
    pairs = s - s[mirror]
    pairs *= np.sign(pairs[:, :1])
    x = pairs.sum(0) / np.linalg.norm(pairs.sum(0))
    down = s[152] - s[10]
    down -= (down @ x) * x
    y = down / np.linalg.norm(down)
    s = (s - s.mean(0)) @ np.stack([x, y, np.cross(x, y)], 1)
    s[:, 0] -= 0.5 * (s + s[mirror])[:, 0].mean()
    s = 0.5 * (s + s[mirror] * [-1, 1, 1])
    s /= np.linalg.norm(s[33] - s[263])
    return s - stable_weights() @ s


def mirror_map(shape: np.ndarray) -> np.ndarray:
    """(478, 3) roughly symmetric, x across -> (478,) index of each landmark's mirror image; an involution."""
    from scipy.optimize import linear_sum_assignment

    centred = shape - 0.5 * (shape[33] + shape[263])
    cost = ((centred[:, None] * [-1, 1, 1] - centred[None]) ** 2).sum(-1)
    _, match = linear_sum_assignment(cost + cost.T)
    if not (match[match] == np.arange(478)).all():
        raise ValueError("the mirror map is not an involution: the shape is too asymmetric")
    return match


def mirrored(displacement: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(..., 478, 3) displacement or canonical shape -> its mirror image."""
    return displacement[..., mirror, :] * np.array([-1, 1, 1], displacement.dtype)


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


def importance(shape: np.ndarray, config: BasisConfig) -> np.ndarray:
    """(478,) fit weights: lips, lids, irises and brows count more, the face's contour less."""
    w = np.ones(478, np.float32)
    w[list(BROWS)], w[list(EYE_RINGS)], w[list(LIPS)] = config.weight_brows, config.weight_lids, config.weight_lips
    w[468:] = config.weight_irises
    outer = (np.abs(shape[:, 0]) > 0.66) | (shape[:, 1] < np.quantile(shape[:, 1], 0.05))
    w[outer] = config.weight_contour
    return w


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


def opening_field(displacements: np.ndarray, mask: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Displacements (N, 478, 3) from neutrals -> (478, 3) mean motion per IOD of lip opening (regression through the origin,
    symmetric).
    """
    opening = displacements[:, 14, 1] - displacements[:, 13, 1]
    field = np.einsum("n,nij->ij", opening, displacements) / (opening**2).sum()
    return 0.5 * (field + mirrored(field, mirror)) * mask[:, None]


def iris_offset(shape: np.ndarray, side: int) -> np.ndarray:
    """(3,) iris centre minus the midpoint of the eye's corners; side 0 is the left of the picture."""
    iris, corners = ((468, (33, 133)), (473, (362, 263)))[side]
    return shape[iris] - 0.5 * (shape[corners[0]] + shape[corners[1]])


def gaze_directions(shape: np.ndarray) -> np.ndarray:
    """(2, 478, 3): displacement per radian of yaw (+ right) and pitch (+ up) of eyeballs of radius EYE_RADIUS behind the
    irises, linearised.
    """
    out = np.zeros((2, 478, 3))
    for ring in (IRIS_LEFT, IRIS_RIGHT):
        rel = shape[list(ring)] - shape[ring[0]]
        out[0, list(ring)] = np.stack([np.full(5, EYE_RADIUS), np.zeros(5), rel[:, 0]], -1)
        out[1, list(ring)] = np.stack([np.zeros(5), np.full(5, -EYE_RADIUS), -rel[:, 1]], -1)
    return out


def closure_directions(shape: np.ndarray, blinks: np.ndarray, mask: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(2, 478, 3): closing the left and the right eye of the picture. `blinks` (478, 3) is the mean displacement of a full
    blink in the data.

    The skin around keeps the shape of the data's blinks; the contours are set: corners stay, facing lid landmarks meet exactly,
    on an arc from corner to corner that passes the middle of the eye at UPPER_LID_SHARE of the way down.
    """
    field = 0.5 * (blinks + mirrored(blinks, mirror)) * mask[:, None]
    for pairs, (outer, inner) in ((LID_PAIRS_LEFT, (33, 133)), (LID_PAIRS_RIGHT, (263, 362))):
        upper, lower = np.array(pairs).T
        field[[outer, inner]] = 0
        u = (0.5 * (shape[upper, 0] + shape[lower, 0]) - shape[outer, 0]) / (shape[inner, 0] - shape[outer, 0])
        straight = shape[outer, 1] + u * (shape[inner, 1] - shape[outer, 1])
        arc, middle = 4 * u * (1 - u), 3
        low = UPPER_LID_SHARE * shape[lower[middle], 1] + (1 - UPPER_LID_SHARE) * shape[upper[middle], 1]
        meet = straight + (low - straight[middle]) * arc / arc[middle]
        depth = 0.5 * (shape[lower, 2] + shape[upper, 2])
        for side in (upper, lower):
            field[side] = np.stack([np.zeros(len(u)), meet - shape[side, 1], depth - shape[side, 2]], -1)
    sides = (shape[:, :1] < 0, shape[:, :1] > 0)
    return np.stack([field * side for side in sides])


def components(data: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """(N, 478, 3) -> (count, 478, 3) principal directions about zero, orthonormal under weights (478,): sum w d_i d_j =
    delta_ij.
    """
    root = np.sqrt(np.repeat(weights, 3)).astype(np.float64)
    x = data.reshape(len(data), -1) * root
    _values, vectors = np.linalg.eigh(x.T @ x / len(x))
    top = vectors[:, ::-1][:, :count].T / root
    return top.reshape(count, -1, 3)


def solve_out(data: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What is left of data (N, 478, 3) after the weighted least-squares fit of directions (k, 478, 3)."""
    a = directions.reshape(len(directions), -1)
    aw = a * np.repeat(weights, 3)
    x = data.reshape(len(data), -1)
    return (x - x @ np.linalg.solve(aw @ a.T, aw).T @ a).reshape(data.shape)


def fit_directions(
    data: np.ndarray, shape: np.ndarray, blinks: np.ndarray, mirror: np.ndarray, config: BasisConfig
) -> tuple[np.ndarray, dict[str, slice], np.ndarray]:
    """Displacements (N, 478, 3) -> directions (K, 478, 3), blocks, importance (478,). The data are mirrored here, so the basis
    is symmetric.
    """
    masks, weights = region_masks(shape, config.softness), importance(shape, config)
    data = np.concatenate([data, mirrored(data, mirror)])
    parts, blocks, start = [gaze_directions(shape)], {"gaze": slice(0, 2)}, 2
    for name, count in (("lids", config.lids), ("brows", config.brows), ("mouth", config.mouth)):
        local = data * masks[name][:, None]
        found = []
        if name == "lids":
            found.append(closure_directions(shape, blinks, masks["lids"], mirror))
            local = solve_out(local, found[0], weights)
        found.append(components(local, weights, count))
        found[-1][:, masks[name] < 1e-3] = 0
        part = np.concatenate(found)
        parts.append(part)
        blocks[name] = slice(start, start + len(part))
        start += len(part)
    return np.concatenate(parts), blocks, weights


def fit_identity(neutrals: np.ndarray, shape: np.ndarray, mirror: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Neutrals (P, 478, 3) of distinct people -> identity directions (M, 478, 3) and their standard deviations (M,)."""
    offsets = np.concatenate([neutrals, mirrored(neutrals, mirror)]) - shape
    _u, s, vt = np.linalg.svd(offsets.reshape(len(offsets), -1), full_matrices=False)
    return vt[:count].reshape(count, -1, 3), s[:count] / np.sqrt(len(offsets))


def align_people(shapes: list[np.ndarray], mirror: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Generalised Procrustes: (478, 3) shapes of people -> their symmetric mean (478, 3) in canonical axes."""
    mean = symmetric_frame(shapes[0], mirror)
    for _ in range(rounds):
        stack = np.stack(shapes)
        rot, scale, t = procrustes(stack, mean, stable_weights())
        aligned = np.einsum("tnj,tjk->tnk", stack - t[:, None], rot) / scale[:, None, None]
        mean = symmetric_frame(aligned.mean(0), mirror)
    return mean


def empty_basis(shape: np.ndarray, mirror: np.ndarray) -> DynamicsBasis:
    """A basis that can only align."""
    none = np.zeros((0, 478, 3), np.float32)
    flat = np.zeros(0, np.float32)
    return DynamicsBasis(shape.astype(np.float32), none, flat, np.ones(478, np.float32), mirror, none, flat, {})
