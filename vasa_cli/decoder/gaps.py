"""Lips and lids: gaps between the vertices that face each other, so that nothing crosses and closed means closed."""

from __future__ import annotations

import torch

from vasa_cli.decoder.lips import Lips
from vasa_cli.portrait import topology as top

SMILE_SLACK = 0.25  # IOD of gap that trackers see between the closed lips of a smile, per IOD of width beyond SMILE_FROM
SMILE_FROM = 0.03  # (clip d19: a gap of .039 at .15 more width, lips closed)
LID_SLACK = 0.10  # of the resting opening: a lid this close to the other one is closed (trackers never report a full touch)


class Apertures(torch.nn.Module):
    """Lips and lids never cross, lips are closed at rest, lids close fully: exact gaps for the vertices that face each other."""

    lip_rest: torch.Tensor
    lid_rest: torch.Tensor
    lip_edges: torch.Tensor
    lid_edges: torch.Tensor

    def __init__(self, neutral: torch.Tensor) -> None:
        super().__init__()
        self.lips = Lips(neutral)
        self.register_buffer("lip_edges", torch.tensor([top.MOUTH_UPPER[1:-1], top.MOUTH_LOWER[1:-1]]).flatten())
        lids = [edge[1:-1] for edges in (top.LID_UPPER, top.LID_LOWER) for edge in edges]
        self.register_buffer("lid_edges", torch.tensor(lids).flatten())  # both upper ones, then both lower ones
        self.register_buffer("lip_rest", _gap(neutral[None, :, 1], self.lip_edges)[0])  # (9,) what the tracker sees when closed
        self.rest_width = float(torch.linalg.norm(neutral[top.MOUTH_UPPER[0]] - neutral[top.MOUTH_UPPER[-1]]))
        self.register_buffer("lid_rest", _gap(neutral[None, :, 1], self.lid_edges)[0])  # (14,)

    def forward(self, vertices: torch.Tensor) -> torch.Tensor:
        """(B, 478, 3) canonical -> the same with clean gaps."""
        out = vertices.clone()
        y = out[..., 1]
        seen = _gap(y, self.lip_edges)
        gap = seen - self.lip_rest
        self._set_gap(y, self.lip_edges, seen, gap * (1 - self._smiling_shut(vertices, gap)), 0.5)
        self.lips(out)
        gap, slack = _gap(y, self.lid_edges), LID_SLACK * self.lid_rest
        self._set_gap(y, self.lid_edges, gap, torch.where(gap < 3 * slack, (gap - slack) * 1.5, gap), 0.8)
        return out

    def _smiling_shut(self, vertices: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
        """gap (B, 9) -> (B, 1): 1 where the gap is what a smile's closed lips seem to have, 0 from three times that."""
        width = torch.linalg.norm(vertices[:, top.MOUTH_UPPER[0]] - vertices[:, top.MOUTH_UPPER[-1]], dim=-1)
        slack = SMILE_SLACK * (width - self.rest_width - SMILE_FROM).clamp(1e-6, 0.2)
        return ((3 * slack - gap.amax(1)) / (2 * slack)).clamp(0, 1)[:, None]

    @staticmethod
    def _set_gap(y: torch.Tensor, edges: torch.Tensor, seen: torch.Tensor, wanted: torch.Tensor, share: float) -> None:
        """Turn the gaps seen (B, n) between vertices y (B, 478) into the wanted ones (at least 0); `share` of the change is the
        upper vertex's."""
        excess = seen - wanted.clamp_min(0)
        y.scatter_add_(1, edges.expand(len(y), -1), torch.cat([share * excess, (share - 1) * excess], 1))


def _gap(y: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """(B, 478), (2 n,) upper and lower vertices -> (B, n)."""
    upper, lower = y.index_select(1, edges).chunk(2, 1)
    return lower - upper
