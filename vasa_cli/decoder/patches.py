"""Small pictures of parts of the face, looked up at places of a frame."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

KNOT_SAMPLES = 41  # of the splines through the landmarks of an edge


def planes(a: np.ndarray) -> torch.Tensor:
    """(h, w, C) uint8 -> (1, C, h, w) 0..1."""
    return torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1))).float()[None] / 255


def look_up(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """texture (1, C, h, w), uv (B, P, 2) in -1..1 -> (B, C, P)."""
    b = len(uv)
    return F.grid_sample(texture.expand(b, -1, -1, -1), uv[:, :, None], padding_mode="border", align_corners=False)[..., 0]


def over(below: torch.Tensor, layer: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """A small RGBA layer (B, 4, h, w), looked up at (B, 2, P) in -1..1, over colours (B, 3, P)."""
    seen = look_up(layer, at.transpose(1, 2))
    return torch.lerp(below, seen[:, :3], seen[:, 3:] * (at.abs().amax(1, keepdim=True) < 1))


def ramp(x: torch.Tensor, lo: float, hi: float) -> torch.Tensor:
    """0 up to lo, 1 from hi on, a smooth step between."""
    t = (x - lo).mul_(1 / (hi - lo)).clamp_(0, 1)
    return t * t * torch.rsub(t, 3, alpha=2)
