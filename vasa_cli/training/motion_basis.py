"""Fitting the basis of facial dynamics: symmetric mean face, blocks, principal components, identity
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
    procrustes,
    stable_weights,
)
from vasa_cli.motion.rest import BROWS, EYE_RINGS, LIPS, region_masks

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


def importance(shape: np.ndarray, config: BasisConfig) -> np.ndarray:
    """(478,) fit weights: lips, lids, irises and brows count more, the face's contour less."""
    w = np.ones(478, np.float32)
    w[list(BROWS)], w[list(EYE_RINGS)], w[list(LIPS)] = config.weight_brows, config.weight_lids, config.weight_lips
    w[468:] = config.weight_irises
    outer = (np.abs(shape[:, 0]) > 0.66) | (shape[:, 1] < np.quantile(shape[:, 1], 0.05))
    w[outer] = config.weight_contour
    return w


def opening_field(displacements: np.ndarray, mask: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Displacements (N, 478, 3) from neutrals -> (478, 3) mean motion per IOD of lip opening (regression through the origin,
    symmetric).
    """
    opening = displacements[:, 14, 1] - displacements[:, 13, 1]
    field = np.einsum("n,nij->ij", opening, displacements) / (opening**2).sum()
    return 0.5 * (field + mirrored(field, mirror)) * mask[:, None]


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
