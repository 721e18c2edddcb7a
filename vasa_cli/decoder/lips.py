"""What lips do that the linear dynamics cannot say: a wide mouth is round at its corners, and the chin makes way for the lip."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vasa_cli.decoder.patches import ramp
from vasa_cli.portrait import topology as top

ROUND = 0.8  # how far the edges of a wide-open mouth go from a lozenge to an oval
_ROWS = (0.55, 0.7, 0.85, 1.0)  # how far the rows of the lips, outer to inner, go along
_UNDER = ((17, 18), (84, 83), (314, 313), (181, 182), (405, 406), (91, 106), (321, 335))  # lower lip's edge and the skin below it
_OVER = (186, 92, 165, 167, 164, 393, 391, 322, 410)  # the skin above each column of the upper lip
KEPT = 0.5  # of the resting distance between lip and skin; linear dynamics fold the skin before a lip that goes far


class Lips(torch.nn.Module):
    """Rounds wide mouths and unfolds the skin under them, for one face."""

    rest: torch.Tensor
    rest_above: torch.Tensor
    chin: torch.Tensor

    def __init__(self, neutral: torch.Tensor) -> None:
        super().__init__()
        lip, skin = (torch.tensor(p) for p in zip(*_UNDER, strict=True))
        self.register_buffer("rest", neutral[skin, 1] - neutral[lip, 1])  # (7,)
        self.register_buffer("rest_above", neutral[list(top.LIPS_UPPER[0][1:-1]), 1] - neutral[list(_OVER), 1])  # (9,)
        x, y = neutral[:, 0] - neutral[top.CHIN, 0], neutral[:, 1]
        corner = (neutral[78, 1] + neutral[308, 1]) / 2
        chin = ramp(y, float(corner), float(neutral[18, 1])) * ramp(-x.abs(), -0.8, -0.25)
        chin[[i for rows in (top.LIPS_UPPER, top.LIPS_LOWER) for row in rows for i in row]] = 0
        self.register_buffer("chin", chin)  # (478,) how far each vertex goes down with the chin

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """(B, 478, 3) canonical, in place."""
        self._round(v)
        over = list(_OVER)
        short = KEPT * self.rest_above - (v[:, list(top.LIPS_UPPER[0][1:-1]), 1] - v[:, over, 1])  # (B, 9)
        fold = F.softplus(short * 80) / 80
        v[:, over, 1] -= 0.35 * fold
        for row in (*top.LIPS_UPPER, *top.LIPS_LOWER):  # both lips: the opening stays as asked
            v[:, list(row[1:-1]), 1] += 0.65 * fold
        lip, skin = (list(p) for p in zip(*_UNDER, strict=True))
        short = KEPT * self.rest - (v[:, skin, 1] - v[:, lip, 1])  # (B, 7)
        fold = F.softplus(short.amax(-1) * 80) / 80
        v[..., 1] += fold[:, None] * self.chin
        return v

    @staticmethod
    def _round(v: torch.Tensor) -> None:
        left, right = v[:, top.MOUTH_UPPER[0]], v[:, top.MOUTH_UPPER[-1]]
        middle, half = (left + right) / 2, ((right - left)[:, 0] / 2).clamp_min(1e-3)
        heights = []
        for row, sign in ((top.MOUTH_UPPER, -1.0), (top.MOUTH_LOWER, 1.0)):
            inner = v[:, list(row[1:-1])]
            t = ((inner[..., 0] - middle[:, None, 0]) / half[:, None]).clamp(-1, 1)  # (B, 9)
            base = middle[:, None, 1] + t * ((right - left)[:, None, 1] / 2)
            height = sign * (inner[..., 1] - base)
            heights.append((height, height[:, 4:5].clamp_min(0) * (1 - t * t).clamp_min(0) ** 0.4))
        gap = heights[0][0][:, 4] + heights[1][0][:, 4]
        share = ROUND * ramp(gap / (2 * half), 0.3, 0.8)[:, None]
        for (height, oval), rows, sign in zip(heights, (top.LIPS_UPPER, top.LIPS_LOWER), (-1.0, 1.0), strict=True):
            out = sign * share * (oval - height).clamp_min(0)
            for row, along in zip(rows, _ROWS, strict=True):
                v[:, list(row[1:-1]), 1] += along * out
