"""Pasting back: all motion dies out towards the edge of the crop, so that the picture around it goes on without a seam."""

from __future__ import annotations

import torch

from vasa_cli.portrait.latent import SIZE, FaceLatent

CALM = 0.03 * SIZE  # crop pixels along the edge in which nothing moves: there the crop fades into the photo
RAMP = 0.08 * SIZE  # and over which motion then grows to its full size
STEEPEST = 0.55  # of the way to the calm edge: nothing moves farther, so that nothing folds
CLOTHES = 0.5  # at the sides and below, motion dies out over twice the way: shoulders give in softly, hair above has no room


def free_sides(face: FaceLatent) -> tuple[bool, bool, bool, bool]:
    """Left, upper, right, lower: where the crop ends with the photo itself, heads may leave the picture."""
    x, y, scale = (float(v) for v in face.crop)
    side, (width, height) = scale * SIZE, face.photo_size
    return x <= 1, y <= 1, x + side >= width - 1, y + side >= height - 1


class StillBorder(torch.nn.Module):
    """Holds what lies at the edges of the crop where it was in the photo."""

    held: torch.Tensor

    def __init__(self, face: FaceLatent) -> None:
        super().__init__()
        self.register_buffer("held", ~torch.tensor(free_sides(face)))

    def room(self, points: torch.Tensor) -> torch.Tensor:
        """(..., 2) crop pixels -> (...) distance to the calm edge; far where the photo ends."""
        x, y = points.unbind(-1)
        sides = torch.stack([x, y, SIZE - x, SIZE - y], -1) - CALM
        sides = sides * torch.tensor([CLOTHES, 1.0, CLOTHES, CLOTHES], device=points.device)
        return torch.where(self.held, sides, float(SIZE)).amin(-1).clamp_min(0)

    def settle(self, rest: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """rest (N, 2) in the photo, moved (B, N, 2) -> (B, N, 2), nothing farther than the edge allows."""
        way = moved - rest
        room = self.room(rest)[:, None]
        share = (torch.linalg.norm(way, dim=-1, keepdim=True) / (STEEPEST * room).clamp_min(1e-3)) ** 4
        x = (room / RAMP).clamp(0, 1)
        return rest + way * (x * x * (3 - 2 * x) / (1 + share) ** 0.25)
