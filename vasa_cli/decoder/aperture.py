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
    start = upper[:, 0]
    along = upper[:, -1] - start
    along = along / torch.linalg.norm(along, dim=-1, keepdim=True).clamp_min(1e-3)
    axes = torch.stack([along, _down(along)], 1)  # (B, 2, 2)
    curves = spline @ torch.stack([upper, lower], 1) - start[:, None, None]  # (B, 2, S, 2)
    u, v = (curves @ axes[:, None].transpose(2, 3)).unbind(-1)  # (B, 2, S) each
    first, last = u.amin((1, 2)), u.amax((1, 2))
    length = (last - first).clamp_min_(1e-3)
    want = first[:, None] + length[:, None] * torch.linspace(0, 1, SAMPLES, device=u.device)
    u0, v0 = u[..., :-1].flatten(1), v[..., :-1].flatten(1)  # (B, 2 S - 2): where the segments begin, and how far they go
    du, dv = u.diff(dim=-1).flatten(1), v.diff(dim=-1).flatten(1)
    run = torch.where(du.abs() < 1e-4, 1e-4, du)
    t = (want[:, :, None] - u0[:, None]) / run[:, None]  # (B, SAMPLES, segments)
    missed = (t - 0.5).abs() >= 0.51
    v = torch.addcmul(v0[:, None], t.clamp_(0, 1), dv[:, None])
    edges = torch.stack([v.masked_fill(missed, torch.inf).amin(-1), v.masked_fill(missed, -torch.inf).amax(-1)], 1)
    edges = torch.where(edges.isfinite(), edges, 0.0)
    return Opening(start + along * first[:, None], along, length, edges[:, 0], edges[:, 1])


def _down(along: torch.Tensor) -> torch.Tensor:
    """(B, 2) -> (B, 2), a quarter turn on."""
    return torch.stack([-along[:, 1], along[:, 0]], -1)


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
    along = opening.along
    down = _down(along) * torch.where(along[:, :1] < 0, -1.0, 1.0)
    axes = torch.stack([along / opening.length[:, None], down], 1)
    u, v = (axes @ (points - opening.origin[:, None]).transpose(1, 2)).unbind(1)  # (B, P) each
    at = u.clamp(0, 1) * (SAMPLES - 1)
    lo = at.floor().clamp_(max=SAMPLES - 2)
    t = (at - lo)[:, None]
    edges = torch.stack([opening.upper, opening.lower], 1)  # (B, 2, SAMPLES)
    rise = edges.diff(dim=-1)
    steep = (1 + (rise * ((SAMPLES - 1) / opening.length[:, None, None])) ** 2).rsqrt_()
    place = lo.long()[:, None].expand(-1, 2, -1)
    # distance to a steep edge is less than the way straight up or down
    depths = (v[:, None] - edges.gather(2, place) - t * rise.gather(2, place)) * steep.gather(2, place)
    below, above = depths[:, 0], -depths[:, 1]
    covered = (below / soft + 0.5).clamp_(0, 1) * (above / soft + 0.5).clamp_(0, 1)
    return covered * ((u > 0) & (u < 1)), below, above
