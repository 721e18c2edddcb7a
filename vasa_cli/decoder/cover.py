"""What of a picture a sheet covers: where it really is, and which rectangles of a frame are worth computing."""

from __future__ import annotations

import numpy as np
import torch

from vasa_cli.portrait.latent import GRID

NEAR = 64  # cells a side of the map that says where there is anything
BAND = 4  # of them: the height of the rectangles
_NARROWEST = 6  # cells of a hidden run that is worth a hole

Box = tuple[int, int, int, int]  # y0, y1, x0, x1 in pixels
Runs = tuple[tuple[int, int], ...]  # of cells in a row: first, and one after the last


def _grown(mask: torch.Tensor, reach: int) -> torch.Tensor:
    """(..., H, W) bool: true within `reach` cells, rows and columns."""
    for dim in (-1, -2):
        out, n = mask.clone(), mask.shape[dim]
        for step in range(1, reach + 1):
            out.narrow(dim, step, n - step).logical_or_(mask.narrow(dim, 0, n - step))
            out.narrow(dim, 0, n - step).logical_or_(mask.narrow(dim, step, n - step))
        mask = out
    return mask


def near_cover(coverage: torch.Tensor, reach: int = 3) -> torch.Tensor:
    """Where anything fell, gaps of a mouth's size closed: (B, 1, H, W) -> (B, 1, NEAR, NEAR) bool. Beyond it the filled flow
    would repeat ears and hair."""
    b, k = len(coverage), coverage.shape[-1] // NEAR
    hit = (coverage > 0.15).view(b, 1, NEAR, k, NEAR, k).any(5).any(3)
    return ~_grown(~_grown(hit, reach), reach)


def silhouette(coverage: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) 0..1, smooth over a cell at the outline: where the front sheet is. Openings count as covered: places from
    which no straight way along a row or a column leads out."""
    free = (~_grown(coverage > 0.02, 1)).float()
    outside = torch.zeros_like(free)
    for d in (2, 3):
        outside = torch.maximum(outside, free.cumprod(d))
        outside = torch.maximum(outside, free.flip(d).cumprod(d).flip(d))
    rim = torch.nn.functional.pad(outside > 0, (2,) * 4, value=True)  # the outline itself is drawn by what really fell there
    deep = (~_grown(rim, 2)[..., 2:-2, 2:-2]).float()
    return _smooth(torch.maximum((coverage * 3).clamp_(0, 1), deep))


def _smooth(planes: torch.Tensor) -> torch.Tensor:
    """Means of 3 x 3, nothing beyond the edges."""
    for dim in (2, 3):
        n = planes.shape[dim]
        out = planes.clone()
        out.narrow(dim, 1, n - 1).add_(planes.narrow(dim, 0, n - 1))
        out.narrow(dim, 0, n - 1).add_(planes.narrow(dim, 1, n - 1))
        planes = out
    return planes.mul_(1 / 9)


def boxes(near: torch.Tensor, hidden: torch.Tensor | None, size: int) -> list[Box]:
    """Rectangles of a picture of this size in which something is to be seen, of one frame's near (NEAR, NEAR) bool. hidden
    (NEAR, NEAR) bool: cells in which nothing is, because the face lies before them."""
    seen = _grown(near, 1).view(NEAR // BAND, BAND, NEAR).any(1).cpu().numpy()
    runs: list[Runs] = [(_run(row),) if row.any() else () for row in seen]
    if hidden is not None:
        shut = (~_grown(~hidden, 1)).view(NEAR // BAND, BAND, NEAR).all(1).cpu().numpy()
        runs = [_without(run, row) for run, row in zip(runs, shut, strict=True)]
    edge = [round(i * size / NEAR) for i in range(NEAR + 1)]
    out = []
    for band, spans in enumerate(runs):
        y0, y1 = edge[band * BAND], edge[(band + 1) * BAND]
        out += [(y0, y1, edge[a], edge[b]) for a, b in spans if y1 > y0 and edge[b] > edge[a]]
    return out


def _run(row: np.ndarray) -> tuple[int, int]:
    """First true cell of a row and the one after the last."""
    at = np.flatnonzero(row)
    return int(at[0]), int(at[-1]) + 1


def _without(run: Runs, shut: np.ndarray) -> Runs:
    """The run with the longest hidden piece taken out of its middle."""
    if not run or shut.sum() < _NARROWEST:
        return run
    ends = np.flatnonzero(np.diff(np.concatenate([[False], shut, [False]]).astype(np.int8)))
    a, b = max(zip(ends[::2], ends[1::2], strict=True), key=lambda pair: pair[1] - pair[0])
    if b - a < _NARROWEST:
        return run
    ((first, last),) = run
    return tuple((lo, hi) for lo, hi in ((first, min(int(a), last)), (max(int(b), first), last)) if hi > lo)


def hidden_cells(cover: torch.Tensor, x0: int, y0: int) -> torch.Tensor:
    """Which cells (h, w) bool of the GRID from (x0, y0) the front sheet covers -> (NEAR, NEAR) bool: where it covers all."""
    k = GRID // NEAR
    out = torch.zeros(NEAR, NEAR, dtype=torch.bool, device=cover.device)
    h, w = cover.shape
    out[y0 // k : (y0 + h) // k, x0 // k : (x0 + w) // k] = cover.view(h // k, k, w // k, k).all(3).all(1)
    return out
