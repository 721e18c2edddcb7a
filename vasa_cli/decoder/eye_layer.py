"""Eyeballs behind the lids, drawn into small patches of each frame."""

from __future__ import annotations

import torch

from vasa_cli.decoder.aperture import Patch, inside, opening_from, spline_matrix
from vasa_cli.decoder.patches import KNOT_SAMPLES, look_up, planes
from vasa_cli.portrait import eyes
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent


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
        self.register_buffer("white", planes(face.eye_white[eye]))
        self.register_buffer("iris", planes(face.eye_iris[eye]))
        self.register_buffer("spline", spline_matrix(len(top.LID_UPPER[eye]), KNOT_SAMPLES))

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
        colour = look_up(self.white, local / span)
        at = (local - (self.iris_at + iris)[:, None]) / (eyes.IRIS_SPAN * self.radius)
        ring = look_up(self.iris, at)
        seen = ring[:, 3:] * (at.abs().amax(-1) < 1)[:, None]
        colour = colour * (1 - seen) + ring[:, :3] * seen
        unit = opening.length[:, None] / 4
        shade = 1 - 0.38 * torch.exp(-below.clamp_min(0) / (0.30 * unit)) - 0.10 * torch.exp(-above.clamp_min(0) / (0.25 * unit))
        cover = cover[:, None]
        patch.write(picture, patch.read(picture) * (1 - cover) + colour * shade[:, None] * cover)
