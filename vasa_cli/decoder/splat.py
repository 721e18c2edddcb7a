"""Forward splatting of a flow with visibility: nearer surface hides farther one, gaps are filled from around.

Niklaus & Liu, "Softmax Splatting for Video Frame Interpolation", 2020, eq. 13; applied to coordinates instead of colours, so
that the photo is
sampled only once and stays sharp.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

FILL_LEVELS = 6


def splat(target: torch.Tensor, value: torch.Tensor, nearness: torch.Tensor, cells: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Spread values over a grid by softmax of nearness.

    target (B, N, 2) in cells (centres at .5), value (B, N, C), nearness (B, N): e^nearness weighs.
    Returns the weighted mean (B, C, cells, cells), 0 where nothing fell, and coverage (B, 1, cells, cells)
    >= 0: bilinear weight without nearness.
    """
    b, _, c = value.shape
    side = cells + 2  # one cell of margin swallows what falls outside
    at = (target + 0.5).clamp(0, cells + 0.999)
    corner = at.floor().clamp(0, cells)
    fx, fy = (at - corner).unbind(-1)
    weight = torch.exp(nearness)
    payload = torch.cat(
        [value.transpose(1, 2) * weight[:, None], weight[:, None], torch.ones_like(weight)[:, None]], 1
    )  # (B, C + 2, N)
    out = payload.new_zeros(b, c + 2, side * side)
    index = (corner[..., 1] * side + corner[..., 0]).long()
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            place = (index + dy * side + dx)[:, None].expand(-1, c + 2, -1)
            out.scatter_add_(2, place, payload * (wx * wy)[:, None])
    out = out.view(b, c + 2, side, side)[:, :, 1:-1, 1:-1]
    total = out[:, c : c + 1]
    return out[:, :c] / total.clamp_min(1e-12) * (total > 1e-12), out[:, c + 1 :]


def fill(value: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
    """Fill uncovered cells from a pyramid of covered ones (push-pull). value (B, C, G, G), coverage (B, 1, G, G) -> (B, C, G,
    G)."""
    solid = coverage.clamp(0, 1)
    levels = [(value * solid, solid)]
    for _ in range(FILL_LEVELS):
        v, w = levels[-1]
        levels.append((F.avg_pool2d(v, 2), F.avg_pool2d(w, 2)))
    v, w = levels[-1]
    below = v / w.clamp_min(1e-6)
    for v, w in reversed(levels[:-1]):
        up = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        known = (w * 4).clamp(0, 1)  # a quarter covered is enough to trust the cell's own mean
        below = v / w.clamp_min(1e-6) * known + up * (1 - known)
    return below
