"""The moving head back in the whole photo: one still picture, and in it the decoded crop, faded in at its edge.

Outside the crop no pixel is ever computed: it is the photo's own (or the still person over another background).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.border import CALM, free_sides
from vasa_cli.decoder.colour import to_bytes
from vasa_cli.decoder.patches import planes
from vasa_cli.decoder.render import FaceDecoder, Ground
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import SIZE, TEXTURE, FaceLatent

MAX_DECODED = 2560  # px a side; a larger crop is decoded so and enlarged


def crop_side(face: FaceLatent) -> int:
    """Side of the face's crop in pixels of its photo."""
    return round(float(face.crop[2]) * SIZE)


def decoded_side(face: FaceLatent) -> int:
    """Side at which the crop is decoded for pasting back."""
    return min(crop_side(face), MAX_DECODED)


class Canvas:
    """The still picture of one face's whole photo, `size` (width, height), and where the head goes.

    ground: None keeps the photo; a picture (H, W, 3) uint8 of this size replaces its background; with `clear` there is none:
    frames are (H, W, 4), straight alpha.
    """

    def __init__(
        self,
        face: FaceLatent,
        size: tuple[int, int],
        *,
        ground: np.ndarray | None = None,
        clear: bool = False,
        device: str = "cpu",
    ) -> None:
        self.size, self.clear = size, clear
        width, height = size
        self.x, self.y, self.side = int(face.crop[0]), int(face.crop[1]), crop_side(face)
        self.decoded = decoded_side(face)
        self.seen_w, self.seen_h = min(self.side, width - self.x), min(self.side, height - self.y)
        photo = face.photo[:height, :width]
        if ground is None and not clear:
            self.still = photo
            self.ground: Ground = "plate"
        else:
            rgba = still_person(photo, face.body[:height, :width], self.side / TEXTURE)
            self.still = rgba if ground is None else over(rgba, ground)
            self.ground = None if ground is None else self._square_of(ground, device)
        self.feather = feather(face, self.side)[:, :, : self.seen_h, : self.seen_w].to(device)
        self.below = planes(self._part(self.still)).to(device)

    def _part(self, picture: np.ndarray) -> np.ndarray:
        """The crop's part of a whole picture."""
        return picture[self.y : self.y + self.seen_h, self.x : self.x + self.seen_w]

    def _square_of(self, ground: np.ndarray, device: str) -> torch.Tensor:
        part = self._part(ground)
        fit = ((0, self.side - part.shape[0]), (0, self.side - part.shape[1]), (0, 0))
        return _resized(planes(np.pad(part, fit, "edge")).to(device), self.decoded)

    def frames(self, decoder: FaceDecoder, track: MotionTrack, batch: int = 1) -> Iterator[np.ndarray]:
        """Yield (B, H, W, 3 or 4) uint8. The decoder is one of this face with paste=True and size `decoded`."""
        for block in decoder.finished(track, batch, self.ground, self._part_of):
            part = block.cpu().numpy()
            out = np.repeat(self.still[None], len(part), axis=0)
            out[:, self.y : self.y + self.seen_h, self.x : self.x + self.seen_w] = part
            yield out

    def _part_of(self, pictures: torch.Tensor) -> torch.Tensor:
        """Decoded crops (B, C, decoded, decoded) -> the still picture's part with them in it, (B, h, w, C) uint8."""
        return to_bytes(self._blend(_resized(pictures, self.side)[:, :, : self.seen_h, : self.seen_w]))

    def _blend(self, head: torch.Tensor) -> torch.Tensor:
        """Head (B, C, h, w) into the still picture's part."""
        if not self.clear:
            return torch.lerp(self.below, head, self.feather)
        alpha = torch.lerp(self.below[:, 3:], head[:, 3:], self.feather)
        colour = torch.lerp(self.below[:, :3] * self.below[:, 3:], head[:, :3] * head[:, 3:], self.feather)
        plain = torch.lerp(self.below[:, :3], head[:, :3], self.feather)
        return torch.cat([torch.where(alpha > 1e-3, colour / alpha.clamp_min(1e-3), plain), alpha], 1)


def _resized(planes: torch.Tensor, side: int) -> torch.Tensor:
    if planes.shape[-1] == side:
        return planes
    return F.interpolate(planes, size=(side, side), mode="bilinear", align_corners=False, antialias=planes.shape[-1] > side)


def feather(face: FaceLatent, side: int) -> torch.Tensor:
    """(1, 1, side, side): 1 where the decoded crop is shown, 0 at its edges unless the photo ends there."""
    at = (torch.arange(side) + 0.5) * (SIZE / side)
    left, upper, right, lower = free_sides(face)

    def ramp(free_start: bool, free_end: bool) -> torch.Tensor:
        room = torch.minimum(at + SIZE * free_start, SIZE - at + SIZE * free_end) - SIZE / side / 2
        x = (room / CALM).clamp(0, 1)
        return x * x * (3 - 2 * x)

    return (ramp(upper, lower)[:, None] * ramp(left, right))[None, None]


def over(rgba: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """(H, W, 4) over (H, W, 3), both uint8 -> (H, W, 3)."""
    out = np.empty_like(ground)
    for start in range(0, len(ground), 512):  # in strips: a whole 4K photo as floats would be a quarter of a gigabyte
        part = rgba[start : start + 512].astype(np.float32)
        alpha = part[..., 3:] / 255
        mixed = ground[start : start + 512] * (1 - alpha) + part[..., :3] * alpha
        out[start : start + 512] = (mixed + 0.5).astype(np.uint8)
    return out


def still_person(photo: np.ndarray, body: np.ndarray, k: float) -> np.ndarray:
    """(H, W, 4) uint8: the person off the background, colours unmixed at soft edges as `portrait.layers.clean_foreground` does.

    photo (H, W, 3), body (H, W) uint8; k: texels of 768 a crop that one pixel is worth.
    """
    image, alpha = (
        torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None],
        torch.from_numpy(body.copy())[None, None] / 255,
    )
    fore = back = image
    for radius in (91, 7):
        r = max(1, round(radius * k / 2))
        inside, outside = _box(alpha, r), _box(1 - alpha, r)
        f, b = _box(fore * alpha, r) / (inside + 1e-5), _box(back * (1 - alpha), r) / (outside + 1e-5)
        fore = (f + alpha * (image - alpha * f - (1 - alpha) * b)).clamp(0, 255)
        back = b
    colour = torch.where(alpha > 0.995, image, fore)
    rgba = torch.cat([colour, alpha * 255], 1)[0].permute(1, 2, 0)
    return (rgba + 0.5).to(torch.uint8).contiguous().numpy()


def _box(planes: torch.Tensor, r: int) -> torch.Tensor:
    """Mean over (2 r + 1)^2, edges repeated.  (1, C, H, W)"""
    out = planes
    for dim in (2, 3):
        n = out.shape[dim]
        pad = F.pad(out, (r, r, 0, 0) if dim == 3 else (0, 0, r, r), mode="replicate")
        total = torch.cumsum(pad.double(), dim)
        zero = torch.zeros_like(total.narrow(dim, 0, 1))
        total = torch.cat([zero, total], dim)
        out = ((total.narrow(dim, 2 * r + 1, n) - total.narrow(dim, 0, n)) / (2 * r + 1)).float()
    return out
