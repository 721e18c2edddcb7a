"""Dense displacement from sparse vertices: thin-plate weights, computed once for a face, applied by one matrix product a
frame."""

from __future__ import annotations

import torch


def _kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """r^2 log r between (N, 2) and (M, 2) -> (N, M)."""
    r2 = (a[:, None, 0] - b[None, :, 0]) ** 2 + (a[:, None, 1] - b[None, :, 1]) ** 2
    return 0.5 * r2 * torch.log(r2.clamp_min(1e-12))


def thin_plate_weights(nodes: torch.Tensor, points: torch.Tensor, smoothing: float = 1e-4) -> torch.Tensor:
    """Weights W with value(points) = W @ value(nodes) for any values at the nodes; constants are reproduced exactly.

    Bookstein, "Principal Warps", 1989, with the ridge of Wahba, "Spline Models for Observational Data", 1990, eq. 2.4.

    nodes (N, 2), points (P, 2) in a unit in which the face is about 1; returns (P, N) float32.
    """
    n = len(nodes)
    nodes64, single = nodes.double(), nodes.float()
    system = torch.zeros(n + 3, n + 3, dtype=torch.float64)
    system[:n, :n] = _kernel(nodes64, nodes64) + smoothing * torch.eye(n, dtype=torch.float64)
    system[:n, n:] = torch.cat([torch.ones(n, 1, dtype=torch.float64), nodes64], 1)
    system[n:, :n] = system[:n, n:].T
    to_coefficients = torch.linalg.inv(system)[:, :n].float()  # (N + 3, N)
    out = torch.empty(len(points), n)
    for i in range(0, len(points), 16384):  # the kernel matrix of all points at once would be hundreds of MB
        part = points[i : i + 16384].float()
        basis = torch.cat([_kernel(part, single), torch.ones(len(part), 1), part], 1)
        out[i : i + 16384] = basis @ to_coefficients
    return out


def grid_points(cells: int, size: float) -> torch.Tensor:
    """Centres of cells x cells over a square of `size` crop pixels: (cells * cells, 2) x, y."""
    c = (torch.arange(cells, dtype=torch.float32) + 0.5) * (size / cells)
    y, x = torch.meshgrid(c, c, indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1)], -1)
