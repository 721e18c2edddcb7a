"""Are there glasses? Frames stay rigid on the head while the skin behind them moves.

Looks for what only a frame does: under both eyes, equally deep, a long thin line that bows like the lower half of a rim.
Shadows and bags under the eyes are soft and broken.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait.eye_frame import EyeFrame, sample

RIM, BOTH = 4.0, 12.0  # levels of 255 by which the line under one eye, and both together, must stand out
EVEN = 0.3  # eye widths by which the two rims may differ in depth
_LINE = 0.03  # IOD; half width of a line that counts as thin


def _ridge(profile: np.ndarray, step: float) -> np.ndarray:
    """(N, K) brightness along K lines, samples `step` IOD apart -> (N, K) how much a sample stands out from both sides at once:
    > 0 bright, < 0 dark."""
    import cv2

    smooth = cv2.GaussianBlur(profile, (1, 0), sigmaX=1e-6, sigmaY=0.006 / step) if len(profile) > 3 else profile
    k = round(_LINE / step)
    before, after = np.roll(smooth, k, 0), np.roll(smooth, -k, 0)
    bright = smooth - np.maximum(before, after)
    dark = smooth - np.minimum(before, after)
    out = np.where(bright > 0, bright, np.where(dark < 0, dark, 0.0))
    out[:k], out[-k:] = 0, 0
    return out


def _look(square: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Mean brightness of the texture (T, T, 3) at crop pixels (N, K, 2)."""
    frame = EyeFrame(np.zeros(2), np.array([1.0, 0.0]), 1.0)
    return np.asarray(sample(square[..., :3], frame, places).mean(-1), np.float32)


def rim_line(square: np.ndarray, frame: EyeFrame, iod: float) -> tuple[float, float]:
    """The best bowed line under one eye: how much it stands out in levels, and how deep it hangs, in eye widths."""
    u = np.linspace(-0.5, 0.5, 15)
    v = np.arange(0.28, 1.5, 0.006 * iod / frame.width)
    uv = np.stack(np.meshgrid(u, v), -1)  # (N, 15, 2)
    ridge = _ridge(_look(square, frame.place(uv)), 0.006)
    best, depth = 0.0, 0.0
    column, low = np.arange(len(u)), np.arange(8, len(v))
    for sign in (1, -1):
        strong = np.maximum(sign * ridge, 0)
        wide = np.maximum(strong, np.maximum(np.roll(strong, 1, 0), np.roll(strong, -1, 0)))
        for bow in (0.1, 0.25, 0.4, 0.6):
            for tilt in (-0.2, -0.1, 0.0, 0.1, 0.2):
                shape = np.round((tilt * u - bow * (2 * u) ** 2 * 0.5) / (v[1] - v[0])).astype(int)
                rows = low[:, None] + shape  # (L, 15)
                rows = rows[(rows.min(1) >= 0) & (rows.max(1) < len(v))]
                values = np.sort(wide[rows, column], 1)[:, 3]  # a fifth may be hidden by a glare
                k = int(np.argmax(values))
                if values[k] > best:
                    best, depth = float(values[k]), float(v[rows[k, 7] - shape[7]])
    return best, depth


def find_glasses(square: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(2,) float32: how deep the rims hang below the two eyes in eye widths; 0, 0 without glasses."""
    iod = float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2]))
    (left, deep_left), (right, deep_right) = (rim_line(square, EyeFrame.of(landmarks, eye), iod) for eye in (0, 1))
    if min(left, right) < RIM or left + right < BOTH or abs(deep_left - deep_right) > EVEN:
        return np.zeros(2, np.float32)
    return np.array([deep_left, deep_right], np.float32)
