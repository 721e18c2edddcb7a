"""The eye's own frame: u along the line of corners, v down, both in eye widths from the middle between the corners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.portrait import topology as top

COLUMNS = 61  # places along the eye at which its edges are tabulated
REACH_U, REACH_V = 0.75, 0.6  # half extents of the frame
UNIT = 128  # pixels an eye width while looking for edges


@dataclass(frozen=True)
class EyeFrame:
    """centre (2,), along (2,) unit vector to the right of the picture, width: of the line of corners, in crop pixels."""

    centre: np.ndarray
    along: np.ndarray
    width: float

    @classmethod
    def of(cls, landmarks: np.ndarray, eye: int) -> EyeFrame:
        """Of a face's landmarks (478, 2 or 3)."""
        a, b = landmarks[top.LID_UPPER[eye][0], :2], landmarks[top.LID_UPPER[eye][-1], :2]
        axis = (b - a).astype(np.float64) * (1 if eye == 0 else -1)
        width = max(float(np.linalg.norm(axis)), 1e-3)
        return cls(((a + b) / 2).astype(np.float64), axis / width, width)

    @property
    def down(self) -> np.ndarray:
        return np.array([-self.along[1], self.along[0]])

    def local(self, points: np.ndarray) -> np.ndarray:
        """Crop pixels (..., 2) -> (u, v)."""
        rel = np.asarray(points)[..., :2] - self.centre
        return np.stack([rel @ self.along, rel @ self.down], -1) / self.width

    def place(self, uv: np.ndarray) -> np.ndarray:
        """(u, v) (..., 2) -> crop pixels."""
        return np.asarray(self.centre + self.width * (uv[..., :1] * self.along + uv[..., 1:] * self.down))


def columns() -> np.ndarray:
    """(COLUMNS,) u."""
    return np.linspace(-REACH_U, REACH_U, COLUMNS)


def grid(unit: int = UNIT) -> np.ndarray:
    """(H, W, 2) u, v of the frame's pixels, `unit` pixels an eye width."""
    u = (np.arange(round(2 * REACH_U * unit)) + 0.5) / unit - REACH_U
    v = (np.arange(round(2 * REACH_V * unit)) + 0.5) / unit - REACH_V
    return np.stack(np.meshgrid(u, v), -1)


def sample(square: np.ndarray, frame: EyeFrame, uv: np.ndarray) -> np.ndarray:
    """The texture (T, T, C) at (u, v) (h, w, 2) -> (h, w, C) float32; averaged where the texture is finer."""
    import cv2

    k = square.shape[0] / 512
    at = frame.place(uv) * k - 0.5
    step = float(np.linalg.norm(at[0, 1] - at[0, 0]))
    x0, y0 = np.floor(at.reshape(-1, 2).min(0)).astype(int) - 8
    x1, y1 = np.ceil(at.reshape(-1, 2).max(0)).astype(int) + 9
    x0, y0 = max(x0, 0), max(y0, 0)
    part = square[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].astype(np.float32)
    if step > 1.5:
        part = cv2.GaussianBlur(part, (0, 0), step / 3)
    mx, my = (at[..., 0] - x0).astype(np.float32), (at[..., 1] - y0).astype(np.float32)
    out = cv2.remap(part, mx, my, cv2.INTER_CUBIC if step < 1 else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out.reshape(*uv.shape[:2], -1))
