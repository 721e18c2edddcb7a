"""Followed landmarks, corrected by the picture: where the skin of a reference frame went, by dense optical flow.

The tracker guesses a face from each frame anew: one-sided smiles make it turn and tilt the head by degrees, and the outline
slides over the cheeks. The skin's own texture knows better. Each frame is compared with one reference frame of the same clip,
brought roughly into place by the landmarks, so that the flow left to find is small (Kroeger et al., "Fast Optical Flow using
Dense Inverse Search", 2016). Where forward and backward flow disagree (occlusion, closed eyes, opened mouth) the tracker's word
stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vasa_cli.motion.basis import IRIS_LEFT, IRIS_RIGHT
from vasa_cli.motion.rest import EYE_RINGS, LIPS

SIDE = 320  # px of the square in which faces are compared
REACH = 1.5  # side of that square, in extents of the face
AGREE = 0.02  # IOD: forward and backward flow that differ by this much are half believed
FAR = 0.12  # IOD: corrections of this size are half believed
SPREAD = 0.05  # IOD: neighbours within this distance agree on a correction
DOUBT = 0.3  # belief (in landmarks) that is needed before a correction counts
LIPS_SHARE, LIDS_SHARE, IRISES_SHARE = 0.0, 0.3, 0.0  # of their neighbours' correction: edges the tracker sees well by itself


def refine(
    frames: Iterable[np.ndarray],
    landmarks: np.ndarray,
    reference: np.ndarray,
    at: int,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Correct landmarks (T, 478, 3) in pixels of `frames`; `reference` (H, W, 3) is frame `at`. z stays. -> (T, 478, 3)."""
    out = landmarks.copy()
    eye_to_eye = np.linalg.norm(landmarks[:, 33] - landmarks[:, 263], axis=-1)
    kernel, share = _neighbours(landmarks[at] / eye_to_eye[at]), _shares()
    votes = (share == 1).astype(np.float32)  # lips, lids and irises open, close and turn: their texture is no witness
    before = _cut(reference, landmarks[at])
    for i, frame in enumerate(frames):
        if i >= len(landmarks):
            break
        if i != at:
            shift, belief = _correction(before, _cut(frame, landmarks[i]), float(eye_to_eye[i]))
            belief = belief * votes
            weighted = kernel @ np.concatenate([shift * belief[:, None], belief[:, None]], 1)
            out[i, :, :2] += share[:, None] * weighted[:, :2] / (weighted[:, 2:] + DOUBT)
        progress(i + 1)
    return out


def _neighbours(shape: np.ndarray) -> np.ndarray:
    """(478, 478) how much landmarks listen to each other. shape (478, 3) in IOD."""
    d2 = ((shape[:, None] - shape[None]) ** 2).sum(-1)
    return np.asarray(np.exp(-d2 / (2 * SPREAD**2)), np.float32)


def _shares() -> np.ndarray:
    """(478,) how far each landmark follows a correction."""
    share = np.ones(478, np.float32)
    for points, value in ((LIPS, LIPS_SHARE), (EYE_RINGS, LIDS_SHARE), (IRIS_LEFT + IRIS_RIGHT, IRISES_SHARE)):
        share[list(points)] = value
    return share


def _cut(frame: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Grey square (SIDE, SIDE) around the face, the landmarks (478, 2) in it, and its pixels per frame pixel."""
    import cv2

    flat = points[:, :2].astype(np.float64)
    middle, extent = (flat.max(0) + flat.min(0)) / 2, float(np.ptp(flat, axis=0).max())
    k = SIDE / (REACH * extent)
    offset = SIDE / 2 - k * middle
    place = np.array([[k, 0, offset[0] + (k - 1) / 2], [0, k, offset[1] + (k - 1) / 2]])
    flags = cv2.INTER_AREA if k < 0.7 else cv2.INTER_LINEAR
    grey = cv2.cvtColor(
        cv2.warpAffine(frame, place, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE), cv2.COLOR_RGB2GRAY
    )
    return grey, k * flat + offset, k


def _correction(
    before: tuple[np.ndarray, np.ndarray, float], now: tuple[np.ndarray, np.ndarray, float], eye_to_eye: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far (478, 2), in frame pixels, the skin is from where the tracker put it, and how sure that is (478,) 0..1."""
    import cv2

    (grey0, points0, _), (grey1, points1, k) = before, now
    ones = np.ones((len(points0), 1))
    rough = np.linalg.lstsq(np.concatenate([points0, ones], 1)[:468], points1[:468], rcond=None)[0].T  # (2, 3) affine
    place = rough.copy()
    place[:, 2] += rough[:, :2] @ [0.5, 0.5] - 0.5  # pixel centres against pixel edges
    moved = cv2.warpAffine(grey0, place, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth, back = search.calc(moved, grey1, None), search.calc(grey1, moved, None)
    start = points0 @ rough[:, :2].T + rough[:, 2]
    there = _read(forth, start)
    missed = np.linalg.norm(there + _read(back, start + there), axis=-1) / (k * eye_to_eye)
    shift = (start + there - points1) / k
    size = np.linalg.norm(shift, axis=-1) / eye_to_eye
    return shift, np.exp(-((missed / AGREE) ** 2) - (size / FAR) ** 2)


def _read(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mean flow (N, 2) around points (N, 2)."""
    import cv2

    at = (points - 0.5).astype(np.float32)[None]
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(cv2.blur(flow, (5, 5)), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=border)[0])
