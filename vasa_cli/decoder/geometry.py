"""Head pose and vertices: from latents to where everything lies in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vasa_cli.decoder.border import StillBorder
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE

NECK = 0.5  # IOD below the chin: the place on the neck about which a head that goes away shrinks

FREE_YAW, MAX_YAW = 0.66, 0.82  # radians, 38 and 47 degrees away from the camera

# The tracker's faces are flat: turned by what was asked, they are seen turned by .8 to .85 of it. Depth grown by this, slopes are
# .9 to .95; on clips of turning heads (self-reenactment, d3 and d12) neither landmarks nor pictures get worse.
RELIEF = 1.12


def rotation_matrix(angles: torch.Tensor) -> torch.Tensor:
    """(B, 3) yaw, pitch, roll in radians -> (B, 3, 3), R = Ry(yaw) Rx(pitch) Rz(roll) (`motion.track`)."""
    (cy, cp, cr), (sy, sp, sr) = torch.cos(angles).unbind(-1), torch.sin(angles).unbind(-1)
    rows = (
        (cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp),
        (cp * sr, cp * cr, -sp),
        (-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp),
    )
    return torch.stack([torch.stack(r, -1) for r in rows], -2)


def _within_sight(angles: torch.Tensor) -> torch.Tensor:
    """(B, 3): a photo shows one side of a head; beyond FREE_YAW the head turns less and less than asked, never past MAX_YAW."""
    yaw, room = angles[:, 0], MAX_YAW - FREE_YAW
    over = (yaw.abs() - FREE_YAW).clamp_min(0)
    held = torch.where(over > 0, FREE_YAW + room * torch.tanh(over / room), yaw.abs())
    return torch.cat([(held * yaw.sign())[:, None], angles[:, 1:]], 1)


@dataclass(frozen=True)
class HeadPose:
    """Pose of a batch of frames. rotation (B, 3, 3) of directions; lay (B, 3, 3) of places: the same with depth grown;
    translation (B, 3) crop pixels; zoom (B,) of the whole person about `anchor` (2,) or (B, 1, 2)."""

    rotation: torch.Tensor
    lay: torch.Tensor
    translation: torch.Tensor
    zoom: torch.Tensor
    anchor: torch.Tensor

    def zoomed(self, points: torch.Tensor) -> torch.Tensor:
        """(B, N, 2) picture points after the person came nearer or went away."""
        return self.anchor + self.zoom[:, None, None] * (points - self.anchor)


class HeadModel(torch.nn.Module):
    """One face's rigid geometry: canonical points to the picture.

    The person as a whole is scaled by head distance about a place on the picture's lower edge, so that no cut-off chest
    floats; where the photo cuts off the hair instead (`cut_above`), about the upper edge. With a `border` (pasting back) only
    the head is scaled: nearer about its own middle, as somebody who leans forward, farther about the neck, which would grow long
    otherwise; and what lies at the crop's edge stays.
    """

    rest_angles: torch.Tensor
    rest_translation: torch.Tensor
    relief: torch.Tensor
    anchor: torch.Tensor
    leans: torch.Tensor

    def __init__(
        self,
        neutral: torch.Tensor,
        pose: torch.Tensor,
        scale: float,
        translation: torch.Tensor,
        cut_above: bool,
        border: StillBorder | None = None,
    ) -> None:
        super().__init__()
        self.border = border
        self.scale = float(scale)
        self.register_buffer("rest_angles", pose[:3].clone())
        self.register_buffer("rest_translation", translation.clone())
        rest = rotation_matrix(pose[None, :3])[0]
        deeper = torch.diag(torch.tensor([1.0, 1.0, RELIEF], dtype=rest.dtype))  # seen by the camera: the photo stays
        self.register_buffer("relief", rest.T @ deeper @ rest)  # (3, 3)
        sides = neutral[list(top.FACE_SIDES)]
        self.face_width = float(torch.linalg.norm(sides[1] - sides[0])) * self.scale  # crop pixels
        self.register_buffer("anchor", torch.tensor([float(translation[0]), 0.0 if cut_above else float(SIZE)]))
        down = rotation_matrix(pose[None, :3])[0, :2, 1] * self.scale  # the head's own "down" in the picture, an IOD long
        neck = translation[:2] + down * (neutral[top.CHIN, 1] + NECK)
        self.register_buffer("leans", torch.stack([self.anchor if cut_above else translation[:2], neck]))

    def pose(self, z_pose: torch.Tensor) -> HeadPose:
        """(B, 6) offsets from the photo's rest pose -> HeadPose."""
        rotation = rotation_matrix(_within_sight(self.rest_angles + z_pose[:, :3]))
        shift = torch.nn.functional.pad(z_pose[:, 3:5] * self.face_width, (0, 1))
        zoom = torch.exp(-z_pose[:, 5])
        anchor = self.anchor if self.border is None else self.leans[(zoom < 1).long()][:, None]
        return HeadPose(rotation, rotation @ self.relief, self.rest_translation + shift, zoom, anchor)

    def place(self, canonical: torch.Tensor, pose: HeadPose) -> torch.Tensor:
        """(B, N, 3) or (N, 3) canonical -> (B, N, 3) crop pixels before the zoom."""
        return self.scale * canonical @ pose.lay.transpose(1, 2) + pose.translation[:, None]

    def carry(self, rest: torch.Tensor, placed: torch.Tensor, follow: torch.Tensor, pose: HeadPose) -> torch.Tensor:
        """Points of the photo, rest (N, 2), that would be at placed (B, N, 2) if they went along with the head fully, and go
        along by follow (N, 1) -> (B, N, 2) in the picture."""
        if self.border is None:
            return pose.zoomed(rest + follow * (placed - rest))
        return self.border.settle(rest, rest + follow * (pose.zoomed(placed) - rest))

    def plane_maps(self, rest: torch.Tensor, pose: HeadPose) -> torch.Tensor:
        """(B, 2, 2): how a small flat piece facing forward in the photo (rotation `rest` (3, 3)) lies in the picture, zoom
        included."""
        now = pose.lay[:, :2, :2] * pose.zoom[:, None, None]
        return now @ torch.linalg.inv(rest[:2, :2])
