"""Lips and lids: gaps between the vertices that face each other, so that nothing crosses and closed means closed."""

from __future__ import annotations

import torch

from vasa_cli.decoder.lips import Lips
from vasa_cli.portrait import topology as top

SMILE_SLACK = 0.25  # IOD of gap that trackers see between the closed lips of a smile, per IOD of width beyond SMILE_FROM
SMILE_FROM = 0.03  # (clip d19: a gap of .039 at .15 more width, lips closed)
LID_SLACK = 0.10  # of the resting opening: a lid this close to the other one is closed (trackers never report a full touch)


def _pairs(upper: tuple[int, ...], lower: tuple[int, ...]) -> tuple[list[int], list[int]]:
    return list(upper[1:-1]), list(lower[1:-1])


class Apertures(torch.nn.Module):
    """Lips and lids never cross, lips are closed at rest, lids close fully: exact gaps for the vertices that face each other."""

    lip_rest: torch.Tensor
    lid_rest: torch.Tensor

    def __init__(self, neutral: torch.Tensor) -> None:
        super().__init__()
        self.lips = Lips(neutral)
        gap = neutral[list(top.MOUTH_LOWER[1:-1]), 1] - neutral[list(top.MOUTH_UPPER[1:-1]), 1]
        self.register_buffer("lip_rest", gap)  # (9,) what the tracker sees between closed lips
        self.rest_width = float(torch.linalg.norm(neutral[top.MOUTH_UPPER[0]] - neutral[top.MOUTH_UPPER[-1]]))
        lids = [
            neutral[_pairs(u, v)[1], 1] - neutral[_pairs(u, v)[0], 1] for u, v in zip(top.LID_UPPER, top.LID_LOWER, strict=True)
        ]
        self.register_buffer("lid_rest", torch.stack(lids))  # (2, 7)

    def forward(self, vertices: torch.Tensor) -> torch.Tensor:
        """(B, 478, 3) canonical -> the same with clean gaps."""
        out = vertices.clone()
        upper, lower = _pairs(top.MOUTH_UPPER, top.MOUTH_LOWER)
        gap = out[:, lower, 1] - out[:, upper, 1] - self.lip_rest
        self._set_gap(out, upper, lower, gap * (1 - self._smiling_shut(vertices, gap)), 0.5)
        self.lips(out)
        for eye in (0, 1):
            upper, lower = _pairs(top.LID_UPPER[eye], top.LID_LOWER[eye])
            gap = out[:, lower, 1] - out[:, upper, 1]
            slack = LID_SLACK * self.lid_rest[eye]
            self._set_gap(out, upper, lower, torch.where(gap < 3 * slack, (gap - slack) * 1.5, gap), 0.8)
        return out

    def _smiling_shut(self, vertices: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
        """gap (B, 9) -> (B, 1): 1 where the gap is what a smile's closed lips seem to have, 0 from three times that."""
        width = torch.linalg.norm(vertices[:, top.MOUTH_UPPER[0]] - vertices[:, top.MOUTH_UPPER[-1]], dim=-1)
        slack = SMILE_SLACK * (width - self.rest_width - SMILE_FROM).clamp(1e-6, 0.2)
        return ((3 * slack - gap.amax(1)) / (2 * slack)).clamp(0, 1)[:, None]

    @staticmethod
    def _set_gap(v: torch.Tensor, upper: list[int], lower: list[int], gap: torch.Tensor, share: float) -> None:
        """Give the pairs this gap (at least 0) along y; `share` of the change is the upper vertex's."""
        excess = v[:, lower, 1] - v[:, upper, 1] - gap.clamp_min(0)
        v[:, upper, 1] += share * excess
        v[:, lower, 1] -= (1 - share) * excess
