"""How moving vertices carry the skin around them: thin-plate weights, kept as small blocks of low rank."""

from __future__ import annotations

import numpy as np
import torch

from vasa_cli.decoder import regions
from vasa_cli.decoder.field import thin_plate_weights
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import FaceLatent

REACH = 1.75  # facial displacement dies out at this multiple of the face outline
_STILL_RINGS = (1.42, 1.75, 2.3)  # multiples of the outline where the skin stands still relative to the head
_BLOCK = 128  # neighbouring places whose weights are kept together
_SPARE = 8  # more random directions than the rank, to find the block's own ones
_RIDGE = 0.003  # share of a vertex' movement that follows no pattern


def skin_weights(face: FaceLatent, points: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """(S, 468) thin-plate weights of places (S, 2) in crop pixels; skin above a slit ignores what is below it and vice versa
    (below (S,) bool: `regions.seam_side`)."""
    still = np.concatenate([regions.scaled_outline(face.landmarks, r)[::2] for r in _STILL_RINGS])
    unit = float(face.scale) * 2
    weights = torch.zeros(len(points), top.N_SKIN)
    for side, ignored in ((False, top.BELOW_SLITS), (True, top.ABOVE_SLITS)):
        used = [i for i in range(top.N_SKIN) if i not in ignored]
        nodes = torch.from_numpy(np.concatenate([face.landmarks[used, :2], still]).astype(np.float32))
        rows = torch.nonzero(below == side)[:, 0]
        w = thin_plate_weights(nodes / unit, points[rows] / unit, 1e-4)
        full = torch.zeros(len(rows), top.N_SKIN)
        full[:, used] = w[:, : len(used)]
        weights[rows] = full
    return weights


def neighbours_first(points: torch.Tensor, below: torch.Tensor, cell: float) -> torch.Tensor:
    """An order of places (S, 2) in which neighbours on one side of the slits follow each other: Morton's curve over cells of
    `cell` crop pixels."""
    x, y = (points / cell).long().clamp_min(0).unbind(-1)
    key = below.long() << 20
    for bit in range(9):
        key |= ((x >> bit) & 1) << (2 * bit) | ((y >> bit) & 1) << (2 * bit + 1)
    return torch.argsort(key, stable=True)


def patterns(samples: torch.Tensor) -> torch.Tensor:
    """How vertices move together: displacements (M, 468, 3) -> (468, 468), whose columns span them by their size."""
    moves = samples.permute(1, 0, 2).flatten(1).double()  # (468, 3 M)
    own = _RIDGE * torch.linalg.norm(moves, dim=1).clamp_min(1e-6)
    return torch.linalg.cholesky(moves @ moves.T + torch.diag(own**2)).float()


class SkinField(torch.nn.Module):
    """Displacements of vertices -> displacements of places, W @ d, in a tenth of the products.

    Rows of W that belong to neighbouring places are nearly dependent on the movements that faces make. So each block of W is
    kept as the product of two thin ones, up to rank `rank`, chosen by those movements. Halko, Martinsson & Tropp, "Finding
    structure with randomness", 2011.
    """

    spread: torch.Tensor
    gather: torch.Tensor

    def __init__(self, weights: torch.Tensor, moves: torch.Tensor, rank: int) -> None:
        """weights (S, 468) of places ordered so that neighbours follow each other, moves: of `patterns`."""
        super().__init__()
        self.count, self.rank = len(weights), rank
        blocks = -(-self.count // _BLOCK)
        w = torch.zeros(blocks * _BLOCK, top.N_SKIN)
        w[: self.count] = weights
        w = w.view(blocks, _BLOCK, -1)
        random = torch.randn(top.N_SKIN, rank + _SPARE, generator=torch.Generator().manual_seed(0))
        basis = torch.linalg.qr(w @ (moves @ random))[0]  # (blocks, _BLOCK, rank + spare)
        inner = basis.transpose(1, 2) @ w
        seen = inner @ moves
        axes = torch.linalg.eigh((seen @ seen.transpose(1, 2)).double())[1][..., -rank:].float()
        self.register_buffer("spread", (basis @ axes).transpose(1, 2).contiguous())  # (blocks, rank, _BLOCK)
        self.register_buffer("gather", (axes.transpose(1, 2) @ inner).flatten(0, 1).T.contiguous())  # (468, blocks * rank)

    def forward(self, displacement: torch.Tensor) -> torch.Tensor:
        """(B, 468, 3) -> (B, 3, S)."""
        b, blocks = len(displacement), len(self.spread)
        few = displacement.to(self.gather.dtype).transpose(1, 2).reshape(b * 3, -1) @ self.gather
        out = torch.bmm(few.view(b * 3, blocks, self.rank).transpose(0, 1), self.spread)  # (blocks, 3 B, _BLOCK)
        return out.transpose(0, 1).reshape(b, 3, -1)[..., : self.count].float()
