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
    b, _, c = value.shape
    rows, columns = cells
    side = columns + 2  # one cell of margin swallows what falls outside
    end = torch.tensor([columns, rows], dtype=target.dtype, device=target.device)
    at = (target + 0.5).clamp_min(0).minimum(end + 0.999)
    corner = at.floor().minimum(end)
    fx, fy = (at - corner).unbind(-1)
    weight = torch.exp(nearness)
    payload = torch.cat(
        [value.transpose(1, 2) * weight[:, None], weight[:, None], torch.ones_like(weight)[:, None]], 1
    )  # (B, C + 2, N)
    out = payload.new_zeros(b, c + 2, (rows + 2) * side)
    index = (corner[..., 1] * side + corner[..., 0]).long()
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            place = (index + dy * side + dx)[:, None].expand(-1, c + 2, -1)
            out.scatter_add_(2, place, payload * (wx * wy)[:, None])
    out = out.view(b, c + 2, rows + 2, side)[:, :, 1:-1, 1:-1]
    total = out[:, c : c + 1]
    mean = out[:, :c] / total.clamp_min(1e-12) * (total > 1e-12)
    return mean.contiguous(), out[:, c + 1 :].contiguous()


def fill(value: torch.Tensor, coverage: torch.Tensor, steps: int = FILL_LEVELS) -> torch.Tensor:
    """Fill uncovered cells from a pyramid of covered ones (push-pull). value (B, C, H, W), coverage (B, 1, H, W) -> (B, C, H, W);
    H and W are multiples of 2^steps."""
    solid = coverage.clamp(0, 1)
    levels = [torch.cat([value * solid, solid], 1)]
    for _ in range(steps):
        levels.append(F.avg_pool2d(levels[-1], 2))
    below = _normal(levels[-1])
    for level in reversed(levels[:-1]):
        up = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        known = (level[:, -1:] * 4).clamp(0, 1)  # a quarter covered is enough to trust the cell's own mean,
        if level is levels[0]:  # unless the surface is stretched there: single hits would show as stripes
            known = known * ((up[:, -1:] - 0.35) * 3).clamp(0, 1)
        below = torch.lerp(up, _normal(level), known)
    return below[:, :-1]


def _normal(level: torch.Tensor) -> torch.Tensor:
    """Means instead of sums; the weight stays as it is."""
    return torch.cat([level[:, :-1] / level[:, -1:].clamp_min(1e-6), level[:, -1:]], 1)
