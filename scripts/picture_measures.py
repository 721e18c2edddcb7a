"""Measures on pictures of faces for the evaluation scripts; nothing here comes from the product."""

from __future__ import annotations

import os
from types import TracebackType

import cv2
import numpy as np

LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
LIDS = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
IRISES = tuple(range(468, 478))
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327, 129, 358, 48, 278, 64, 294, 49, 279, 115, 344, 220, 440)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
GROUPS = {"lips": LIPS, "eyes": LIDS + IRISES, "all": tuple(range(468))}
PARTS = {"lips": LIPS, "lids": LIDS, "irises": IRISES, "brows": BROWS, "nose": NOSE, "outline": OVAL}


class Detector:
    """478 landmarks of single pictures, each for itself: no tracking, so no lag and no smoothing. A context manager."""

    def __enter__(self) -> Detector:
        os.environ.setdefault("GLOG_minloglevel", "3")
        import mediapipe

        options = {"static_image_mode": True, "max_num_faces": 1, "refine_landmarks": True, "min_detection_confidence": 0.3}
        self._mesh = mediapipe.solutions.face_mesh.FaceMesh(**options)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._mesh.close()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (478, 3) float32 pixels, NaN where no face is found."""
        height, width = picture.shape[:2]
        found = self._mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks
        if not found:
            return np.full((478, 3), np.nan, np.float32)
        return np.array([[p.x * width, p.y * height, p.z * width] for p in found[0].landmark], np.float32)


def inter_ocular(points: np.ndarray) -> float:
    """Pixels between the outer eye corners, in 3D, so that a turned head is not small."""
    return float(np.linalg.norm(points[33] - points[263]))


def hull_mask(points: np.ndarray, size: int, grow: float) -> np.ndarray:
    """(size, size) bool: convex hull of the landmarks, `grow` pixels larger."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points[:468, :2]).astype(np.int32)), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(grow) + 1,) * 2)
    return np.asarray(cv2.dilate(mask, disc)) > 0


def luma(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) float32 0..255, BT.601."""
    return np.asarray(picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """dB of RGB inside the mask."""
    error = (a[mask].astype(np.float32) - b[mask].astype(np.float32)) ** 2
    return float(10 * np.log10(255**2 / max(float(error.mean()), 1e-6)))


def ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Mean inside the mask of the SSIM map of the luma, Gaussian window of 1.5 px (Wang et al. 2004)."""
    x, y = luma(a), luma(b)

    def mean(v: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(v, (11, 11), 1.5))

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    full = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(full[mask].mean())


def point_errors(found: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(478, 3) twice -> (478,) distance in the picture, in IOD of the real frame."""
    return np.asarray(np.linalg.norm(found[:, :2] - real[:, :2], axis=-1) / inter_ocular(real))


def thin_plate_warp(photo: np.ndarray, at_rest: np.ndarray, now: np.ndarray, step: int = 4) -> np.ndarray:
    """The whole photo (S, S, 3) warped so that landmarks `at_rest` (N, 2) come to lie at `now` (N, 2); the border stays.

    Thin-plate spline through all points (Bookstein 1989), evaluated every `step` pixels.
    """
    size = photo.shape[0]
    edge = np.linspace(0, size, 9)
    border = np.array([(x, y) for x in edge for y in edge if x in (0, size) or y in (0, size)])
    knots = np.concatenate([now[:, :2], border]).astype(np.float64) / size
    values = np.concatenate([at_rest[:, :2], border]).astype(np.float64)
    n = len(knots)

    def kernel(p: np.ndarray) -> np.ndarray:
        d2 = ((p[:, None] - knots[None]) ** 2).sum(-1)
        return np.asarray(d2 * np.log(d2 + 1e-12))

    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = kernel(knots) + 1e-9 * np.eye(n)
    system[:n, n], system[:n, n + 1 :] = 1, knots
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, 2))]))
    places = np.arange(0, size + step, step)
    grid = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2) / size
    field = kernel(grid) @ weights[:n] + weights[n] + grid @ weights[n + 1 :]
    coarse = field.reshape(len(places), len(places), 2).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    source = cv2.remap(coarse, x / step, y / step, cv2.INTER_LINEAR) - 0.5
    return np.asarray(cv2.remap(photo, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
