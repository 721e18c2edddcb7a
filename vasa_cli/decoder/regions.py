"""Which cells of the photo are what: face, openings, above and below a slit. Masks over the GRID x GRID cells of the crop."""

from __future__ import annotations

import numpy as np

from vasa_cli.decoder.field import grid_points
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import GRID, SIZE

_RIM = (0.945, 0.96, 0.975, 0.99, 1.005)  # multiples of the face outline over which the front sheet fades out

_RIM_WIDTH, _RIM_STEP = 64, 4  # crop pixels
_DOME = 0.14  # height of the hair that an upper border cut off, of its width there


def mask_inside(ring: np.ndarray) -> np.ndarray:
    """(GRID, GRID) bool: cells whose centre lies inside a closed ring (N, 2) in crop pixels (even-odd rule)."""
    p = grid_points(GRID, SIZE).numpy()
    x, y = p[:, 0], p[:, 1]
    odd = np.zeros(len(p), bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd.reshape(GRID, GRID)


def scaled_outline(landmarks: np.ndarray, factor: float) -> np.ndarray:
    oval = landmarks[list(top.OVAL), :2]
    middle = oval.mean(0)
    return np.asarray(middle + (oval - middle) * factor)


def seam_side(landmarks: np.ndarray) -> np.ndarray:
    """(GRID * GRID,) bool: True where a cell lies below its slit (mouth or eye) and must follow the lower lip or lid."""
    p = grid_points(GRID, SIZE).numpy()
    below = np.zeros(len(p), bool)
    for upper, lower in top.SLITS:
        middle = (landmarks[list(upper), :2] + landmarks[list(lower), :2]) / 2
        axis = middle[-1] - middle[0]
        width = float(np.linalg.norm(axis))
        axis = axis / width * (1 if axis[0] > 0 else -1)
        start = middle[0] if middle[0] @ axis < middle[-1] @ axis else middle[-1]
        down = np.array([-axis[1], axis[0]])
        order = np.argsort((middle - start) @ axis)
        u, v = (p - start) @ axis, (p - start) @ down
        seam = np.interp(u, ((middle - start) @ axis)[order], ((middle - start) @ down)[order])
        near = (u > -0.15 * width) & (u < 1.15 * width) & (v - seam < 0.9 * width)
        below |= near & (v > seam)
    return below


def apertures(landmarks: np.ndarray) -> np.ndarray:
    """(GRID, GRID) bool: cells that show eyeball or mouth interior, not skin."""
    hole = np.zeros((GRID, GRID), bool)
    for slit in top.SLITS:
        hole |= mask_inside(landmarks[top.ring(slit), :2])
    return hole


def face_ramp(landmarks: np.ndarray) -> np.ndarray:
    """(GRID, GRID) float32: 1 inside the face outline, falling to 0 over a few cells across it."""
    return np.mean([mask_inside(scaled_outline(landmarks, f)) for f in _RIM], axis=0).astype(np.float32)


def beyond_border(person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (R, 2) crop pixels around the crop, next to which the matte `person` (GRID, GRID) 0..1 is cut off, and the cell
    (R,) at the border that each of them continues: a head that rises or tilts shows more than the photo has."""
    import torch.nn.functional as F
    from torch import from_numpy

    solid = from_numpy((person > 0.5).astype(np.float32))[None, None]
    near = F.max_pool2d(solid, 13, 1, 6)[0, 0].numpy() > 0  # a few cells more, so that the flow goes on beside the edge
    c = np.arange(-_RIM_WIDTH, SIZE + _RIM_WIDTH, _RIM_STEP) + _RIM_STEP / 2
    places = np.stack(np.meshgrid(c, c), -1).reshape(-1, 2)
    places = places[((places < 0) | (places > SIZE)).any(1)]
    x, y = (places * (GRID / SIZE)).astype(int).clip(0, GRID - 1).T
    kept = near[y, x]
    hair = np.flatnonzero(person[0] > 0.5)
    if len(hair):  # hair ends round, not as a column
        middle, half = (hair[0] + hair[-1]) / 2 + 0.5, (hair[-1] - hair[0] + 1) / 2
        across, up = (places[:, 0] * (GRID / SIZE) - middle) / half, -places[:, 1] * (GRID / SIZE) / (2 * _DOME * half)
        kept &= (up <= 0) | (across**2 + up**2 < 1)
    return places[kept].astype(np.float32), (y * GRID + x)[kept]
