"""Eyeballs off their lids: a white without iris and lashes, and a whole round iris, so that gaze can move and lids can close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.portrait import topology as top
from vasa_cli.portrait.eye_frame import EyeFrame, columns
from vasa_cli.portrait.layers import fill_holes
from vasa_cli.portrait.lids import Lids

WHITE_SHAPE = (96, 128)  # texels of the patch around one eye; more where the photo is finer
WHITE_SPAN = 1.7  # width of the patch in eye widths (corner to corner)
IRIS_SIDE = 64  # texels, likewise
IRIS_SPAN = 1.25  # half side of the iris patch in iris radii


def eye_frame(landmarks: np.ndarray, eye: int) -> tuple[np.ndarray, float]:
    """Centre (2,) between the corners and width of an eye, in the landmarks' unit."""
    outer, inner = landmarks[top.LID_UPPER[eye][0]], landmarks[top.LID_UPPER[eye][-1]]
    return ((outer + inner) / 2)[:2], float(np.linalg.norm(outer - inner))


def iris_frame(landmarks: np.ndarray, eye: int) -> tuple[np.ndarray, float]:
    """Centre (2,) and radius of an iris."""
    ring = landmarks[list(top.IRIS[eye])]
    radius = float(np.mean(np.linalg.norm(ring[1:, :2] - ring[0, :2], axis=-1)))
    return ring[0, :2], max(radius, 1.0)


def _sample(texture: np.ndarray, centre: np.ndarray, half: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """Resample a box (centre, half extents x, y in texels) of the texture to shape (h, w)."""
    import cv2

    h, w = shape
    x = centre[0] + ((np.arange(w) + 0.5) / w * 2 - 1) * half[0] - 0.5
    y = centre[1] + ((np.arange(h) + 0.5) / h * 2 - 1) * half[1] - 0.5
    mx, my = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return np.asarray(cv2.remap(texture, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _aperture(lids: Lids, frame: EyeFrame, shape: tuple[int, int], k: float) -> np.ndarray:
    """Mask (H, W) uint8 of the open eye in texels (k texels a crop pixel)."""
    import cv2

    u = columns()
    mask = np.zeros(shape, np.uint8)
    outline = np.concatenate([np.stack([u, lids.edges[0]], -1), np.stack([u, lids.edges[1]], -1)[::-1]])
    cv2.fillPoly(mask, [np.round(frame.place(outline) * k * 8).astype(np.int32)], 255, shift=3)
    return mask


@dataclass(frozen=True)
class Eyeball:
    """white (h, w, 3) without iris and lashes, iris (d, d, 4) whole and without glint, glint (d, d, 4) the light's reflection
    on it; uint8."""

    white: np.ndarray
    iris: np.ndarray
    glint: np.ndarray


def eyeball(square: np.ndarray, landmarks: np.ndarray, eye: int, lids: Lids) -> Eyeball:
    """Off the texture `square` (T, T, 3); landmarks (478, 3) in crop pixels."""
    import cv2

    k = square.shape[0] / 512
    centre, width = eye_frame(landmarks, eye)
    iris, radius = iris_frame(landmarks, eye)
    aperture = _aperture(lids, EyeFrame.of(landmarks, eye), (square.shape[0], square.shape[1]), k)
    margin = max(1, round(0.035 * width * k))  # lashes and the wet rim of the lids do not belong to the eyeball
    inside = cv2.erode(aperture, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1)))
    if inside.max() == 0:  # closed or tiny eyes: better lash colours than nothing
        inside = aperture
    disc = np.zeros_like(aperture)
    cv2.circle(disc, tuple(np.round(iris * k * 8).astype(int)), round(radius * 1.18 * k * 8), 255, -1, shift=3)
    white_known = ((inside > 0) & (disc == 0)).astype(np.float32)
    image = square.astype(np.float32)
    half = (WHITE_SPAN / 2 * width * k, WHITE_SPAN / 2 * width * k * WHITE_SHAPE[0] / WHITE_SHAPE[1])
    finer = _finer(k)
    shape = (WHITE_SHAPE[0] * finer, WHITE_SHAPE[1] * finer)
    known = (_sample(white_known, centre * k, half, shape) > 0.6).astype(np.float32)
    white = _fill_white(_sample(image, centre * k, half, shape), known, image, landmarks, k)
    return Eyeball(white, *_iris_patch(image, (inside > 0).astype(np.float32), iris * k, radius * k, IRIS_SIDE * finer))


def _finer(k: float) -> int:
    """Texels of the patches against their usual number, for a texture of k texels a crop pixel (usually 1.5)."""
    return max(1, round(k / 2.2))


def _fill_white(patch: np.ndarray, known: np.ndarray, image: np.ndarray, landmarks: np.ndarray, k: float) -> np.ndarray:
    """Sclera over the whole patch: what is seen, spread smoothly; where nothing is seen (statues, narrow eyes), a guess from
    the skin."""
    import cv2

    finer = _finer(k)
    if known.sum() < 12 * finer**2:
        cheek = image[tuple(np.clip((landmarks[[50, 280], 1::-1] * k).astype(int), 0, image.shape[0] - 1).T)].mean(0)
        return np.broadcast_to(np.clip(cheek * 0.5 + 95, 0, 235), patch.shape).astype(np.uint8).copy()
    # corners are red and shaded: what continues behind the lids is the middle brightness of the white that is seen
    level = np.median(patch[known > 0], axis=0)
    typical = np.exp(-((np.abs(patch - level).mean(-1) / 30.0) ** 2))
    filled = (
        fill_holes(patch.clip(0, 255), (known * typical > 0.35).astype(np.float32)) if (known * typical > 0.35).any() else patch
    )
    soft = cv2.GaussianBlur(filled, (0, 0), 4 * finer)
    seen = cv2.GaussianBlur(known, (0, 0), 1.5 * finer)[..., None]
    return np.asarray(np.clip(filled * seen + soft * (1 - seen) + 0.5, 0, 255), np.uint8)


def _iris_patch(
    image: np.ndarray, inside: np.ndarray, centre: np.ndarray, radius: float, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """A whole iris (side, side, 4) and its glint (same). What the lids cover, and what the light's reflection hides, is filled
    with the median colour seen at the same radius."""
    half = IRIS_SPAN * radius
    patch = _sample(image, centre, (half, half), (side, side)).clip(0, 255)
    seen = _sample(inside, centre, (half, half), (side, side)) > 0.7
    u = ((np.arange(side) + 0.5) / side * 2 - 1) * IRIS_SPAN
    rho = np.hypot(*np.meshgrid(u, u))  # (D, D) in iris radii
    ring = np.minimum((rho * 12).astype(int), 15)
    radial = np.zeros_like(patch)
    last = np.array([60.0, 45.0, 35.0]) if not seen.any() else np.median(patch[seen], axis=0)
    for r in range(ring.max() + 1):
        of_ring = ring == r
        visible = of_ring & seen
        last = np.median(patch[visible], axis=0) if visible.sum() >= 4 else last
        radial[of_ring] = last
    radial = _blur(radial, 1.2 * side / IRIS_SIDE)
    soft = _blur(seen.astype(np.float32), 1.5 * side / IRIS_SIDE)[..., None] * seen[..., None]
    glint = _glint(patch, radial, rho) * soft[..., 0]
    share = glint[..., None]
    colour = (patch * (1 - share) + radial * share) * soft + radial * (1 - soft)
    alpha = np.clip((1.06 - rho) / 0.16, 0, 1)

    def layer(rgb: np.ndarray, a: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(np.concatenate([rgb, a[..., None] * 255], -1) + 0.5, 0, 255), np.uint8)

    bright = (patch - (1 - share) * radial) / np.maximum(share, 0.2)
    return layer(colour, alpha), layer(np.where(share > 0.02, bright, patch), glint)


def _glint(patch: np.ndarray, radial: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """(D, D) 0..1: small spots in the iris much brighter than what is usual at their distance from the pupil."""
    import cv2

    more = patch.mean(-1) - radial.mean(-1)
    spots = ((more > 40) & (rho < 0.95)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(spots)
    small = [
        i
        for i in range(1, count)  # white of the eye and lids reach in over the rim
        if 3 <= stats[i, cv2.CC_STAT_AREA] < 0.12 * (rho < 1).sum() and rho[labels == i].max() < 0.86
    ]
    wide = 4 * round(len(rho) / IRIS_SIDE) + 1
    near = cv2.dilate(np.isin(labels, small).astype(np.uint8), np.ones((wide, wide), np.uint8))
    soft = np.clip((more - 12) / 50, 0, 1) * _blur(near.astype(np.float32), 1.0)
    return np.asarray(soft * np.clip((1.02 - rho) / 0.1, 0, 1), np.float32)


def _blur(a: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return np.asarray(cv2.GaussianBlur(a, (0, 0), sigma))
