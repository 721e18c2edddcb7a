"""Mouth and eyes cut out of a frame upright, frontal and at one size, whatever the head does, and put back.

A patch lies in the plane of the face: the head's rotation, place and distance are taken out, so that a network sees mouths and
eyes only. The eye on the right of the picture is cut out mirrored: both are the same kind of eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vasa_cli.decoder.aperture import inside, opening_from, outline_from, spline_matrix
from vasa_cli.decoder.geometry import HeadPose
from vasa_cli.decoder.patches import KNOT_SAMPLES
from vasa_cli.portrait import topology as top

READINGS = 8  # numbers a patch


@dataclass(frozen=True)
class Window:
    """Size of a kind of patch: pixels, and pixels an IOD."""

    height: int
    width: int
    fine: float

    def border(self) -> torch.Tensor:
        """(1, 1, H, W): 1 in the middle, smoothly 0 at an ellipse that touches the edges."""
        y, x = torch.meshgrid(self._places(self.height), self._places(self.width), indexing="ij")
        t = ((0.97 - (x * x + y * y).sqrt()) / 0.3).clamp(0, 1)
        return (t * t * (3 - 2 * t))[None, None]

    @staticmethod
    def _places(n: int) -> torch.Tensor:
        return (torch.arange(n) + 0.5) / n * 2 - 1


MOUTH, EYE = Window(96, 128, 135.0), Window(48, 64, 130.0)
SLITS = (MOUTH, EYE, EYE)  # as in topology.SLITS


@dataclass(frozen=True)
class Frame:
    """Where patches lie: centre (B, 2) pixels, matrix (B, 2, 2) from patch pixels off the patch's middle to picture pixels."""

    window: Window
    centre: torch.Tensor
    matrix: torch.Tensor

    def cut(self, picture: torch.Tensor) -> torch.Tensor:
        """picture (B, C, S, S) -> (B, C, H, W)."""
        h, w = self.window.height, self.window.width
        scale = torch.tensor([w / 2, h / 2], device=self.matrix.device)
        theta = torch.cat([self.matrix * scale, self.centre[..., None]], 2) * (2 / picture.shape[-1])
        theta = theta - torch.tensor([[0, 0, 1.0], [0, 0, 1.0]], device=theta.device)
        grid = F.affine_grid(theta, [len(theta), 1, h, w], align_corners=False)
        return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)

    def points(self, points: torch.Tensor) -> torch.Tensor:
        """(B, N, 2) picture pixels -> patch pixels."""
        middle = torch.tensor([self.window.width / 2, self.window.height / 2], device=points.device)
        return torch.einsum("bij,bnj->bni", torch.linalg.inv(self.matrix), points - self.centre[:, None]) + middle

    def add(self, picture: torch.Tensor, values: torch.Tensor) -> None:
        """Add values (B, C, H, W), 0 at the patch's border, to picture (B, C, S, S), which stays within 0..1."""
        size = picture.shape[-1]
        half = torch.tensor([self.window.width / 2, self.window.height / 2], device=picture.device)
        reach = (self.matrix.abs() * half).sum(-1).amax(0).ceil() + 1  # half of the frames' largest outline
        wide, high = (min(2 * int(r), size) for r in reach.tolist())
        span = torch.tensor([wide / 2, high / 2], device=picture.device)
        corner = (self.centre - span).round().clamp_min(0).minimum(size - 2 * span)
        back = torch.linalg.inv(self.matrix) / half[:, None]
        offset = torch.einsum("bij,bj->bi", back, corner + span - self.centre)
        theta = torch.cat([back * span, offset[..., None]], 2)
        grid = F.affine_grid(theta, [len(theta), 1, high, wide], align_corners=False)
        there = F.grid_sample(values, grid, padding_mode="zeros", align_corners=False)
        for one, more, (x, y) in zip(picture, there, corner.int().tolist(), strict=True):
            part = one[:, y : y + high, x : x + wide]
            part.add_(more).clamp_(0, 1)


def frames_of(flat: torch.Tensor, head: HeadPose, unit: float) -> tuple[Frame, Frame, Frame]:
    """Mouth, left and right eye. flat (B, 478, 2) vertices in the picture's pixels, unit: pixels an IOD before the zoom."""
    plane = head.rotation[:, :2, :2] * (head.zoom * unit)[:, None, None]
    mirror = torch.tensor([-1.0, 1.0], device=flat.device)
    lips = flat[:, list(top.ring(top.SLITS[0]))].mean(1)
    out = [Frame(MOUTH, lips, plane / MOUTH.fine)]
    for eye in (0, 1):
        corners = flat[:, [top.LID_UPPER[eye][0], top.LID_UPPER[eye][-1]]].mean(1)
        out.append(Frame(EYE, corners, plane / EYE.fine * (mirror if eye else 1)))
    return out[0], out[1], out[2]


class Covers(torch.nn.Module):
    """Where patches show the opening between lips or lids."""

    lips: torch.Tensor
    lids: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lips", spline_matrix(len(top.MOUTH_UPPER), KNOT_SAMPLES), persistent=False)
        self.register_buffer("lids", spline_matrix(len(top.LID_UPPER[0]), KNOT_SAMPLES), persistent=False)

    def forward(self, slit: int, frame: Frame, flat: torch.Tensor) -> torch.Tensor:
        """(B, 1, H/2, W/2) 0..1, soft over four pixels of the patch."""
        h, w = frame.window.height // 2, frame.window.width // 2
        upper, lower = (frame.points(flat[:, list(edge)]) for edge in top.SLITS[slit])
        opening = opening_from(upper, lower, self.lids) if slit else outline_from(upper, lower, self.lips)
        y, x = torch.meshgrid(torch.arange(h, device=flat.device), torch.arange(w, device=flat.device), indexing="ij")
        pixels = torch.stack([x, y], -1).reshape(1, -1, 2).expand(len(flat), -1, -1) * 2.0 + 1
        return inside(opening, pixels, 4.0)[0].reshape(-1, 1, h, w)


def readings(slit: int, shape: torch.Tensor, head: HeadPose) -> torch.Tensor:
    """(B, 4) numbers about 1: how open and how wide lips or lids are, the head's yaw and pitch as the patch sees them."""
    upper, lower = top.SLITS[slit]
    middle = len(upper) // 2
    gap = shape[:, lower[middle], 1] - shape[:, upper[middle], 1]
    across = (shape[:, upper[-1]] - shape[:, upper[0]]).norm(dim=-1)
    yaw = torch.atan2(head.rotation[:, 0, 2], head.rotation[:, 2, 2]) * (-1 if slit == 2 else 1)
    pitch = torch.asin((-head.rotation[:, 1, 2]).clamp(-1, 1))
    return torch.stack([gap / 0.15, across / 0.5, yaw / 0.4, pitch / 0.4], 1)
