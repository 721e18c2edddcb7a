"""Eyeballs behind the lids and the mouth's interior behind the lips, drawn into small patches of each frame."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.aperture import Opening, Patch, inside, opening_from, spline_matrix
from vasa_cli.portrait import eyes, mouth
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent

_KNOT_SAMPLES = 41  # of the splines through the landmarks of an edge


def _planes(a: np.ndarray) -> torch.Tensor:
    """(h, w, C) uint8 -> (1, C, h, w) 0..1."""
    return torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1))).float()[None] / 255


def _look_up(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """texture (1, C, h, w), uv (B, P, 2) in -1..1 -> (B, C, P)."""
    b = len(uv)
    return F.grid_sample(texture.expand(b, -1, -1, -1), uv[:, :, None], padding_mode="border", align_corners=False)[..., 0]


class EyeLayer(torch.nn.Module):
    """One eye: white and iris behind the lids."""

    centre: torch.Tensor
    iris_at: torch.Tensor
    white: torch.Tensor
    iris: torch.Tensor
    spline: torch.Tensor

    def __init__(self, face: FaceLatent, eye: int) -> None:
        super().__init__()
        self.eye = eye
        centre, self.width = eyes.eye_frame(face.landmarks, eye)
        iris, self.radius = eyes.iris_frame(face.landmarks, eye)
        self.register_buffer("centre", torch.from_numpy(centre).float())
        self.register_buffer("iris_at", torch.from_numpy(iris - centre).float())
        self.register_buffer("white", _planes(face.eye_white[eye]))
        self.register_buffer("iris", _planes(face.eye_iris[eye]))
        self.register_buffer("spline", spline_matrix(len(top.LID_UPPER[eye]), _KNOT_SAMPLES))

    def draw(self, picture: torch.Tensor, vertices: torch.Tensor, to_rest: torch.Tensor, iris: torch.Tensor) -> None:
        """Into picture (B, 3, S, S). vertices (B, 478, 2) in the picture's pixels, to_rest (B, 2, 2) picture -> photo crop
        pixels,
        iris (B, 2) the iris' shift against the photo in photo crop pixels."""
        size = picture.shape[-1]
        k = size / SIZE
        upper, lower = vertices[:, list(top.LID_UPPER[self.eye])], vertices[:, list(top.LID_LOWER[self.eye])]
        opening = opening_from(upper, lower, self.spline)
        reach = 1.5 * self.width * k * float(1 / torch.linalg.det(to_rest).abs().sqrt().min().clamp_min(0.3)) / k
        patch = Patch.around(opening.centre(), int(0.9 * reach) + 4, int(reach) + 4, size)
        cover, below, above = inside(opening, patch.points, max(1.0, 0.035 * self.width * k))
        open_px = (opening.lower - opening.upper).amax(-1).clamp_min(0)
        cover = cover * (open_px / (0.05 * self.width * k) - 0.4).clamp(0, 1)[:, None]  # closed lids show no eyeball
        local = torch.einsum(
            "bij,bpj->bpi", to_rest, patch.points - opening.centre()[:, None]
        )  # photo crop pixels from the eye's middle
        half = eyes.WHITE_SPAN / 2 * self.width
        span = torch.tensor([half, half * eyes.WHITE_SHAPE[0] / eyes.WHITE_SHAPE[1]], device=local.device)
        colour = _look_up(self.white, local / span)
        at = (local - (self.iris_at + iris)[:, None]) / (eyes.IRIS_SPAN * self.radius)
        ring = _look_up(self.iris, at)
        seen = ring[:, 3:] * (at.abs().amax(-1) < 1)[:, None]
        colour = colour * (1 - seen) + ring[:, :3] * seen
        unit = opening.length[:, None] / 4
        shade = 1 - 0.38 * torch.exp(-below.clamp_min(0) / (0.30 * unit)) - 0.10 * torch.exp(-above.clamp_min(0) / (0.25 * unit))
        cover = cover[:, None]
        patch.write(picture, patch.read(picture) * (1 - cover) + colour * shade[:, None] * cover)


class MouthLayer(torch.nn.Module):
    """Cavity, tongue, lower and upper teeth behind the lips. Upper teeth are fixed to the skull, the rest to the jaw."""

    upper: torch.Tensor
    lower: torch.Tensor
    colours: torch.Tensor
    seam: torch.Tensor
    spline: torch.Tensor

    def __init__(self, face: FaceLatent) -> None:
        super().__init__()
        self.scale = float(face.scale)
        self.register_buffer("upper", _planes(face.mouth_upper))
        self.register_buffer("lower", _planes(face.mouth_lower))
        self.register_buffer("colours", torch.from_numpy(face.mouth_colours))
        seam = (face.neutral[13] + face.neutral[14]) / 2
        self.register_buffer("seam", torch.from_numpy(seam + np.array([0, 0, 0.05])).float())  # the teeth stand behind the lips
        self.register_buffer("spline", spline_matrix(len(top.MOUTH_UPPER), _KNOT_SAMPLES))

    def _teeth(self, texture: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
        """(B, 4, P): row of teeth at local (B, P, 2) IOD; nothing outside the drawn patch."""
        uv = local / torch.tensor(mouth.SPAN, device=local.device)
        rgba = _look_up(texture, uv)
        rgba[:, 3] *= (uv.abs().amax(-1) < 1).float()
        return rgba

    def draw(
        self, picture: torch.Tensor, vertices: torch.Tensor, to_rest: torch.Tensor, skull: torch.Tensor, jaw: torch.Tensor
    ) -> None:
        """Into picture (B, 3, S, S). vertices (B, 478, 2) pixels, to_rest (B, 2, 2) picture -> photo crop pixels, skull (B, 2)
        where the seam's
        place behind the lips lies in the picture, jaw (B,) how far the jaw is down in IOD."""
        size = picture.shape[-1]
        k = size / SIZE
        opening = opening_from(vertices[:, list(top.MOUTH_UPPER)], vertices[:, list(top.MOUTH_LOWER)], self.spline)
        reach = float(opening.length.max()) * 1.1 + 6
        tall = float((opening.lower - opening.upper).amax().clamp_min(0)) + 0.35 * reach
        patch = Patch.around(
            opening.centre() + (opening.upper + opening.lower).mean(1)[:, None] / 2 * self._down(opening),
            int(tall) + 6,
            int(reach),
            size,
        )
        cover, below, above = inside(opening, patch.points, max(1.0, 0.010 * self.scale * k))
        open_px = (opening.lower - opening.upper).amax(-1).clamp_min(0)
        cover = cover * (open_px / (0.012 * self.scale * k) - 0.5).clamp(0, 1)[:, None]  # closed lips show nothing
        local = torch.einsum("bij,bpj->bpi", to_rest, patch.points - skull[:, None]) / self.scale  # IOD
        colour = self._interior(local, jaw, below, above, k)
        cover = cover[:, None]
        patch.write(picture, patch.read(picture) * (1 - cover) + colour * cover)

    @staticmethod
    def _down(opening: Opening) -> torch.Tensor:
        return torch.stack([-opening.along[:, 1], opening.along[:, 0]], -1)

    def _interior(
        self, local: torch.Tensor, jaw: torch.Tensor, below: torch.Tensor, above: torch.Tensor, k: float
    ) -> torch.Tensor:
        """(B, 3, P) colours of the interior at local (B, P, 2) IOD; below, above (B, P): pixels from the lips' edges."""
        zero = torch.zeros_like(jaw)
        with_jaw = local - torch.stack([zero, jaw], -1)[:, None]
        cavity, tongue, _ = self.colours
        x, y = with_jaw.unbind(-1)
        lump = ((x / 0.23) ** 2 + ((y - 0.12) / 0.13) ** 2).sqrt()
        on_tongue = ((1.1 - lump) / 0.25).clamp(0, 1)
        relief = 0.55 + 0.45 * (1 - lump.clamp(0, 1) ** 2) - 0.12 * torch.exp(-((x / 0.018) ** 2))
        colour = cavity[:, None] * (1 - on_tongue[:, None]) + tongue[:, None] * (relief * on_tongue * 0.8)[:, None]
        for texture, place in ((self.lower, with_jaw), (self.upper, local)):
            row = self._teeth(texture, place)
            colour = colour * (1 - row[:, 3:]) + row[:, :3] * row[:, 3:]
        unit = self.scale * k
        shade = 1 - 0.35 * torch.exp(-below.clamp_min(0) / (0.025 * unit)) - 0.25 * torch.exp(-above.clamp_min(0) / (0.03 * unit))
        return colour * shade[:, None]
