"""A sheet of places of the photo and where they go: lifted to 3D, carried by the head and by the vertices around them."""

from __future__ import annotations

import torch

from vasa_cli.decoder.geometry import HeadModel, HeadPose
from vasa_cli.decoder.skin import SkinField
from vasa_cli.portrait.latent import FaceLatent

SHARPNESS = 10.0  # of visibility: a surface 0.1 IOD nearer hides the one behind by e^1


class Sheet(torch.nn.Module):
    """Places of the photo: points (N, 2) crop pixels; the last ones, as many as `field` has, are skin that moves with the
    vertices."""

    planar: torch.Tensor
    canonical: torch.Tensor
    follow: torch.Tensor

    def __init__(
        self, face: FaceLatent, points: torch.Tensor, depth: torch.Tensor, follow: torch.Tensor, field: SkinField
    ) -> None:
        """depth (N,) crop pixels, follow (N,) 0..1: how far each place goes along with the head."""
        super().__init__()
        self.field = field
        posed = torch.cat([points, depth[:, None]], 1)
        canonical = (posed - torch.from_numpy(face.translation)) @ torch.from_numpy(face.rotation) / float(face.scale)
        self.register_buffer("planar", points.T.contiguous())  # (2, N): coordinates apart, as all large arrays of a frame
        self.register_buffer("canonical", canonical.T.contiguous())  # (3, N)
        self.register_buffer("follow", follow[:, None].clone())

    @property
    def points(self) -> torch.Tensor:
        """(N, 2) crop pixels."""
        return self.planar.T

    def place(self, displacement: torch.Tensor, head: HeadModel, pose: HeadPose) -> tuple[torch.Tensor, torch.Tensor]:
        """displacement (B, 468, 3) of the vertices against the photo, canonical -> where each place goes, (B, N, 2) crop
        pixels, and how near it is there (B, N)."""
        moved = self.canonical.expand(len(displacement), -1, -1).clone()  # (B, 3, N)
        moved[..., moved.shape[2] - self.field.count :] += self.field(displacement)
        placed = torch.matmul(head.scale * pose.lay, moved)
        nearness = placed[:, 2] * (-SHARPNESS / head.scale)
        placed = placed[:, :2] + pose.translation[:, :2, None]
        return head.carry(self.points, placed.transpose(1, 2), self.follow, pose), nearness.clamp_(-20, 20)
