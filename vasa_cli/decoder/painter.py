"""One frame painted in bytes, on the CPU: the flows of `decoder.person`, sampled and laid over a ground by OpenCV.

The same picture as `PersonLayer.draw`, to a level of rounding, in a third of its time: bytes are a quarter of the memory of
floats, and a photo of bytes stays in the caches.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vasa_cli.decoder.cover import Box, boxes
from vasa_cli.decoder.geometry import HeadPose
from vasa_cli.decoder.person import SEAM, Front, border_strips
from vasa_cli.portrait.latent import GRID, SIZE, FaceLatent


class Painter:
    """Paints one face into pictures of one size, that of its plate (S, S, 3) uint8."""

    def __init__(self, face: FaceLatent, plate: np.ndarray) -> None:
        self.size, self.plate = len(plate), plate
        self.texture, self.surround = np.ascontiguousarray(face.person), np.ascontiguousarray(face.surround)

    def paint(
        self, ground: np.ndarray, front: Front | None, flow: torch.Tensor, near: torch.Tensor, pose: HeadPose, surround: bool
    ) -> np.ndarray:
        """The person over a ground (S, S, 3) uint8 -> (S, S, 3) uint8. Of one frame: front and flow (1, 2, h, w), near
        (1, 1, NEAR, NEAR) as `PersonLayer` computes them; surround: whether to show what lies beyond the crop."""
        size, out = self.size, ground.copy()
        x, y = (cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR) for plane in self._texels(flow[0]))
        matte = cv2.resize(near[0, 0].numpy().view(np.uint8) * np.uint8(255), (size, size), interpolation=cv2.INTER_LINEAR)
        for box in boxes(near[0, 0], None if front is None else front.hidden(0), size):
            _lay(out, ground, box, self._piece(x, y, matte, box))
        if surround and float(pose.zoom) < 0.999:
            for box in border_strips(pose, size):
                _lay(out, ground, box, self._beyond(self._piece(x, y, matte, box), box, pose))
        if front is not None:
            self._face(out, front)
        return out

    def _texels(self, place: torch.Tensor) -> np.ndarray:
        """(2, h, w) -1..1 -> texels, whose middles are whole numbers."""
        half = self.texture.shape[0] / 2
        return np.asarray((place * half).add_(half - 0.5).numpy())

    def _piece(self, x: np.ndarray, y: np.ndarray, matte: np.ndarray, box: Box) -> np.ndarray:
        """(h, w, 4) of the sheet behind the face."""
        at = np.s_[box[0] : box[1], box[2] : box[3]]
        rgba = _sampled(self.texture, x[at], y[at])
        cv2.insertChannel(cv2.multiply(cv2.extractChannel(rgba, 3), matte[at], scale=1 / 255), rgba, 3)
        return rgba

    def _beyond(self, rgba: np.ndarray, box: Box, pose: HeadPose) -> np.ndarray:
        """A piece (h, w, 4) at the crop's border, with what the border cut off of the photo: see `PersonLayer`."""
        k, zoom, anchor = self.size / SIZE, float(pose.zoom), pose.anchor.reshape(-1).tolist()
        ends = (box[2], box[3], anchor[0]), (box[0], box[1], anchor[1])
        x, y = (a + ((np.arange(lo, hi, dtype=np.float32) + 0.5) / k - a) / zoom for lo, hi, a in ends)
        off = np.maximum(np.abs(x - SIZE / 2)[None], np.abs(y - SIZE / 2)[:, None]) - (SIZE / 2 - SEAM)
        share = cv2.merge([(off * (255 / 6)).clip(0, 255).astype(np.uint8)] * 4)
        side = self.surround.shape[0] / (2 * SIZE)
        grid = np.meshgrid(*((v + SIZE / 2) * side - 0.5 for v in (x, y)))
        there = _sampled(self.surround, *(v.astype(np.float32) for v in grid))
        return _mixed(there, rgba, share)

    def _face(self, out: np.ndarray, front: Front) -> None:
        k, (h, w) = self.size / GRID, front.planes.shape[2:]
        left, upper, right, lower = (round(v * k) for v in (front.x0, front.y0, front.x0 + w, front.y0 + h))
        planes = (*self._texels(front.planes[0, :2]), *front.planes[0, 2:].numpy())
        x, y, cover, shade = (cv2.resize(p, (right - left, lower - upper), interpolation=cv2.INTER_LINEAR) for p in planes)
        colour = cv2.cvtColor(_sampled(self.texture, x, y), cv2.COLOR_RGBA2RGB)
        colour = cv2.multiply(colour, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
        share = cv2.addWeighted(cover, 2 * 255, cover, 0, -0.5 * 255, dtype=cv2.CV_8U)  # as in PersonLayer._draw_front
        part = out[upper:lower, left:right]
        part[:] = _mixed(colour, part, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB))


def _sampled(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _mixed(over: np.ndarray, below: np.ndarray, share: np.ndarray) -> np.ndarray:
    """over * share + below * (1 - share), all of one shape, uint8; exact where share is 0 or 255."""
    return cv2.add(cv2.multiply(over, share, scale=1 / 255), cv2.multiply(below, cv2.bitwise_not(share), scale=1 / 255))


def _lay(out: np.ndarray, ground: np.ndarray, box: Box, rgba: np.ndarray) -> None:
    at = np.s_[box[0] : box[1], box[2] : box[3]]
    share = cv2.cvtColor(cv2.extractChannel(rgba, 3), cv2.COLOR_GRAY2RGB)
    out[at] = _mixed(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), ground[at], share)
