"""The mouth's interior behind the lips, drawn into a small patch of each frame."""

from __future__ import annotations

import numpy as np
import torch

from vasa_cli.decoder.aperture import Opening, Patch, inside, opening_from, spline_matrix
from vasa_cli.decoder.patches import KNOT_SAMPLES, look_up, planes
from vasa_cli.portrait import mouth
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent


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
        self.register_buffer("upper", planes(face.mouth_upper))
        self.register_buffer("lower", planes(face.mouth_lower))
        self.register_buffer("colours", torch.from_numpy(face.mouth_colours))
        seam = (face.neutral[13] + face.neutral[14]) / 2
        self.register_buffer("seam", torch.from_numpy(seam + np.array([0, 0, 0.05])).float())  # the teeth stand behind the lips
        self.register_buffer("spline", spline_matrix(len(top.MOUTH_UPPER), KNOT_SAMPLES))

    def _teeth(self, texture: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
        """(B, 4, P): row of teeth at local (B, P, 2) IOD; nothing outside the drawn patch."""
        uv = local / torch.tensor(mouth.SPAN, device=local.device)
        rgba = look_up(texture, uv)
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
