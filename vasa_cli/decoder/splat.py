"""Forward splatting of a flow with visibility: nearer surface hides farther one, gaps are filled from around.

Niklaus & Liu, "Softmax Splatting for Video Frame Interpolation", 2020, eq. 13; applied to coordinates instead of colours, so
that the photo is sampled only once and stays sharp.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

FILL_LEVELS = 6


def splat(
    target: torch.Tensor, value: torch.Tensor, nearness: torch.Tensor, cells: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spread values over a grid of `cells` (rows, columns) by softmax of nearness.

    target (B, N, 2) in cells (centres at .5), value (B, N, C), nearness (B, N): e^nearness weighs.
    Returns the weighted mean (B, C, rows, columns), 0 where nothing fell, and coverage (B, 1, rows, columns)
    >= 0: bilinear weight without nearness.
    """
    b, n, c = value.shape
    rows, columns = cells
    side = columns + 2  # one cell of margin swallows what falls outside
    x, y = ((target[..., i] + 0.5).clamp_(0, end + 0.999) for i, end in ((0, columns), (1, rows)))
    left, upper = x.floor(), y.floor()
    index = (upper * side + left).long()  # exact: a grid has far fewer than 2^24 cells
    fx, fy = x.sub_(left), y.sub_(upper)
    ex, ey = 1 - fx, 1 - fy
    shares = torch.stack([ex * ey, fx * ey, ex * fy, fx * fy], 1)  # (B, 4, N) of the four cells around
    place = torch.stack([index, index + 1, index + side, index + side + 1], 1)
    weight = torch.exp(nearness)[:, None]
    payload = torch.cat([value.transpose(1, 2) * weight, weight, torch.ones_like(weight)], 1)  # (B, C + 2, N)
    parts = (payload[:, :, None] * shares[:, None]).view(b, c + 2, 4 * n)
    out = payload.new_zeros(b, c + 2, (rows + 2) * side)
    out.scatter_add_(2, place.view(b, 1, 4 * n).expand(-1, c + 2, -1), parts)
    out = out.view(b, c + 2, rows + 2, side)[:, :, 1:-1, 1:-1]
    total = out[:, c : c + 1]
    return out[:, :c] / total.clamp_min(1e-12) * (total > 1e-12), out[:, c + 1 :].contiguous()


def fill(value: torch.Tensor, coverage: torch.Tensor, steps: int = FILL_LEVELS) -> torch.Tensor:
    """Fill uncovered cells from a pyramid of covered ones (push-pull). value (B, C, H, W), coverage (B, 1, H, W) -> (B, C, H, W);
    H and W are multiples of 2^steps."""
    solid = coverage.clamp(0, 1)
    levels = [torch.cat([value * solid, solid], 1)]
    for _ in range(steps):
        levels.append(halved(levels[-1]))
    for level in levels[1:]:
        level[:, :-1] /= level[:, -1:].clamp_min(1e-6)  # means instead of sums; the weight stays as it is
    below = levels[-1]
    for level in reversed(levels[1:-1]):
        # a quarter covered is enough to trust the cell's own mean,
        below = doubled(below).lerp_(level, (level[:, -1:] * 4).clamp_(0, 1))
    up = doubled(below)
    # unless the surface is stretched there: single hits would show as stripes
    known = (solid * 4).clamp_(0, 1) * ((up[:, -1:] - 0.35) * 3).clamp_(0, 1)
    return up[:, :-1].lerp_(value, known)


def halved(planes: torch.Tensor) -> torch.Tensor:
    """Means of 2 x 2: (B, C, H, W) -> (B, C, H/2, W/2). Several times as fast as pooling on the CPU."""
    rows = planes[:, :, ::2] + planes[:, :, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def doubled(planes: torch.Tensor) -> torch.Tensor:
    """Bilinear: (B, C, H, W) -> (B, C, 2 H, 2 W)."""
    return F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)
