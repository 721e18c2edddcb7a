"""Openings in the skin (mouth, eyes) as two smooth curves, and small patches of the picture around them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SAMPLES = 48  # places along an opening at which its curves are tabulated


def spline_matrix(knots: int, samples: int) -> torch.Tensor:
    """(samples, knots): natural cubic spline through equally spaced knots, evaluated at equally spaced places."""
    second = torch.eye(knots, dtype=torch.float64)
    rhs = torch.zeros(knots, knots, dtype=torch.float64)
    for i in range(1, knots - 1):
        second[i, i - 1], second[i, i], second[i, i + 1] = 1, 4, 1
        rhs[i, i - 1], rhs[i, i], rhs[i, i + 1] = 6, -12, 6
    moments = torch.linalg.solve(second, rhs)  # second derivatives at the knots, per knot value
    t = torch.linspace(0, knots - 1, samples, dtype=torch.float64)
    left = t.floor().clamp(max=knots - 2).long()
    b = (t - left)[:, None]
    a = 1 - b
    eye = torch.eye(knots, dtype=torch.float64)
    return (a * eye[left] + b * eye[left + 1] + ((a**3 - a) * moments[left] + (b**3 - b) * moments[left + 1]) / 6).float()


@dataclass(frozen=True)
class Opening:
    """Frames of openings along their own axis. origin (B, 2) first corner; along (B, 2) unit vector to the last corner; length
    (B,);
    upper, lower (B, SAMPLES): distance of the edges from the axis, downwards, at equal steps of `along`; all in crop pixels."""

    origin: torch.Tensor
    along: torch.Tensor
    length: torch.Tensor
    upper: torch.Tensor
    lower: torch.Tensor

    def centre(self) -> torch.Tensor:
        """(B, 2)."""
        return self.origin + self.along * (self.length / 2)[:, None]


def _tabulate(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """v at equal steps of u in [0, 1]. u, v (B, S), u first made increasing. -> (B, SAMPLES)."""
    u = torch.cummax(u, -1).values + torch.arange(u.shape[1], device=u.device) * 1e-5
    want = torch.linspace(0, 1, SAMPLES, device=u.device).expand(len(u), -1).contiguous()
    hi = torch.searchsorted(u.contiguous(), want).clamp(1, u.shape[1] - 1)
    u0, u1 = u.gather(1, hi - 1), u.gather(1, hi)
    t = ((want - u0) / (u1 - u0)).clamp(0, 1)
    return v.gather(1, hi - 1) * (1 - t) + v.gather(1, hi) * t


def opening_from(upper: torch.Tensor, lower: torch.Tensor, spline: torch.Tensor) -> Opening:
    """upper, lower (B, N, 2) points corner to corner (shared ends) -> Opening."""
    origin, end = upper[:, 0], upper[:, -1]
    length = torch.linalg.norm(end - origin, dim=-1).clamp_min(1e-3)
    along = (end - origin) / length[:, None]
    down = torch.stack([-along[:, 1], along[:, 0]], -1) * torch.where(along[:, :1] < 0, -1.0, 1.0)  # downwards for either eye

    def curve(points: torch.Tensor) -> torch.Tensor:
        p = torch.einsum("sn,bnc->bsc", spline, points) - origin[:, None]
        return _tabulate((p * along[:, None]).sum(-1) / length[:, None], (p * down[:, None]).sum(-1))

    return Opening(origin, along, length, curve(upper), curve(lower))


def outline_from(upper: torch.Tensor, lower: torch.Tensor, spline: torch.Tensor) -> Opening:
    """Like `opening_from`, for openings that bulge beyond their corners (round mouths): the axis runs from the outline's
    leftmost to its rightmost place, and the edges are the outline's highest and lowest places there."""
    start, end = upper[:, 0], upper[:, -1]
    along = (end - start) / torch.linalg.norm(end - start, dim=-1).clamp_min(1e-3)[:, None]
    down = torch.stack([-along[:, 1], along[:, 0]], -1)
    curves = [torch.einsum("sn,bnc->bsc", spline, points) - start[:, None] for points in (upper, lower)]
    us = [(p * along[:, None]).sum(-1) for p in curves]  # (B, S) each
    vs = [(p * down[:, None]).sum(-1) for p in curves]
    ring = torch.cat(us, 1)
    first, last = ring.amin(1), ring.amax(1)
    want = first[:, None] + (last - first).clamp_min(1e-3)[:, None] * torch.linspace(0, 1, SAMPLES, device=ring.device)
    u0, u1 = (torch.cat([u[:, i : u.shape[1] - 1 + i] for u in us], 1) for i in (0, 1))  # (B, 2 S - 2) ends of the segments
    v0, v1 = (torch.cat([v[:, i : v.shape[1] - 1 + i] for v in vs], 1) for i in (0, 1))
    run = torch.where((u1 - u0).abs() < 1e-4, 1e-4, u1 - u0)
    t = (want[:, :, None] - u0[:, None]) / run[:, None]  # (B, SAMPLES, segments)
    v = v0[:, None] + t.clamp(0, 1) * (v1 - v0)[:, None]
    crossed = (t > -0.01) & (t < 1.01)
    highest, lowest = v.masked_fill(~crossed, torch.inf).amin(-1), v.masked_fill(~crossed, -torch.inf).amax(-1)
    met = crossed.any(-1)
    zero = torch.zeros_like(highest)
    return Opening(
        start + along * first[:, None],
        along,
        (last - first).clamp_min(1e-3),
        torch.where(met, highest, zero),
        torch.where(met, lowest, zero),
    )


@dataclass(frozen=True)
class Patch:
    """Windows of one size, as many in each picture: index (N, P) into the flattened picture, points (N, P, 2) pixel centres."""

    index: torch.Tensor
    points: torch.Tensor

    @classmethod
    def around(cls, centre: torch.Tensor, height: int, width: int, size: int) -> Patch:
        """centre (N, 2) in pixels; the windows stay inside the size x size picture."""
        height, width = min(height, size), min(width, size)
        x0, y0 = ((centre[:, i] - side / 2).round().clamp_(0, size - side).long() for i, side in ((0, width), (1, height)))
        x = (x0[:, None] + torch.arange(width, device=centre.device))[:, None].expand(-1, height, -1)
        y = (y0[:, None] + torch.arange(height, device=centre.device))[:, :, None]
        points = torch.stack([x, y.expand_as(x)], 1).flatten(2).float().add_(0.5)  # (N, 2, P): coordinates apart
        return cls((y * size + x).flatten(1), points.transpose(1, 2))

    def _places(self, picture: torch.Tensor) -> torch.Tensor:
        """(B, C, N / B * P): where the windows lie in each plane of a picture (B, C, H, W)."""
        return self.index.view(len(picture), 1, -1).expand(-1, picture.shape[1], -1)

    def read(self, picture: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (N, C, P)."""
        b, c = picture.shape[:2]
        values = picture.flatten(2).gather(2, self._places(picture)).view(b, c, len(self.index) // b, -1)
        return values.transpose(1, 2).flatten(0, 1)

    def add(self, picture: torch.Tensor, values: torch.Tensor) -> None:
        """Add (N, C, P) to a contiguous (B, C, H, W); windows of one picture may lie over each other."""
        b, c = picture.shape[:2]
        values = values.view(b, -1, c, values.shape[-1]).transpose(1, 2).flatten(2)
        picture.flatten(2).scatter_add_(2, self._places(picture), values)

    def write(self, picture: torch.Tensor, values: torch.Tensor) -> None:
        """Put (B, C, P), one window a picture, back into a contiguous (B, C, H, W)."""
        picture.flatten(2).scatter_(2, self._places(picture), values)


def inside(opening: Opening, points: torch.Tensor, soft: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coverage (B, P) 0..1 of an opening at points (B, P, 2), edge `soft` pixels wide; depths below the upper and above the
    lower edge (B, P)."""
    rel = points - opening.origin[:, None]
    down = torch.stack([-opening.along[:, 1], opening.along[:, 0]], -1) * torch.where(opening.along[:, :1] < 0, -1.0, 1.0)
    u = (rel * opening.along[:, None]).sum(-1) / opening.length[:, None]
    v = (rel * down[:, None]).sum(-1)
    at = u.clamp(0, 1) * (SAMPLES - 1)
    lo = at.floor().clamp(max=SAMPLES - 2).long()
    t = at - lo
    step = opening.length[:, None] / (SAMPLES - 1)
    depths = []
    for edge, sign in ((opening.upper, 1.0), (opening.lower, -1.0)):
        near, far = edge.gather(1, lo), edge.gather(1, lo + 1)
        steep = (1 + ((far - near) / step) ** 2).sqrt()  # distance to a steep edge is less than the way straight up or down
        depths.append(sign * (v - (near * (1 - t) + far * t)) / steep)
    below, above = depths
    covered = (below / soft + 0.5).clamp(0, 1) * (above / soft + 0.5).clamp(0, 1)
    within = ((u > 0) & (u < 1)).float()
    return covered * within, below, above
