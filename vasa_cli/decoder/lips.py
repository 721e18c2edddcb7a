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
    inner: torch.Tensor
    sign: torch.Tensor
    rows: torch.Tensor
    along: torch.Tensor
    under: torch.Tensor
    above: torch.Tensor
    pushed: torch.Tensor
    push: torch.Tensor

    def __init__(self, neutral: torch.Tensor) -> None:
        super().__init__()
        lip, skin = (torch.tensor(p) for p in zip(*_UNDER, strict=True))
        edge, over = (torch.tensor(p) for p in (top.LIPS_UPPER[0][1:-1], _OVER))
        self.register_buffer("rest", neutral[skin, 1] - neutral[lip, 1])  # (7,)
        self.register_buffer("rest_above", neutral[edge, 1] - neutral[over, 1])  # (9,)
        x, y = neutral[:, 0] - neutral[top.CHIN, 0], neutral[:, 1]
        corner = (neutral[78, 1] + neutral[308, 1]) / 2
        chin = ramp(y, float(corner), float(neutral[18, 1])) * ramp(-x.abs(), -0.8, -0.25)
        chin[[i for rows in (top.LIPS_UPPER, top.LIPS_LOWER) for row in rows for i in row]] = 0
        self.register_buffer("chin", chin)  # (478,) how far each vertex goes down with the chin
        rows = torch.tensor([[row[1:-1] for row in lip] for lip in (top.LIPS_UPPER, top.LIPS_LOWER)])  # (2, 4, 9)
        ends = torch.tensor([[top.MOUTH_UPPER[0], top.MOUTH_UPPER[-1]]])
        self.register_buffer("inner", torch.cat([ends, rows[:, -1].reshape(1, 18)], 1)[0])  # corners, then both inner edges
        self.register_buffer("rows", rows.flatten())
        self.register_buffer("sign", torch.tensor([-1.0, 1.0])[:, None])
        self.register_buffer("along", torch.tensor(_ROWS)[:, None])
        self.register_buffer("under", torch.cat([skin, lip]))
        self.register_buffer("above", torch.cat([edge, over]))
        # both lips give way: the opening stays as asked
        self.register_buffer("pushed", torch.cat([over, rows.flatten()]))
        self.register_buffer("push", torch.tensor([-0.35] + [0.65] * 8)[:, None])

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """(B, 478, 3) canonical, in place."""
        y = v[..., 1]
        self._round(v, y)
        lip, skin = y.index_select(1, self.above).chunk(2, 1)
        fold = F.softplus((KEPT * self.rest_above - (lip - skin)) * 80) / 80  # (B, 9)
        y.scatter_add_(1, self.pushed.expand(len(y), -1), (fold[:, None] * self.push).flatten(1))
        skin, lip = y.index_select(1, self.under).chunk(2, 1)
        fold = F.softplus((KEPT * self.rest - (skin - lip)).amax(-1, keepdim=True) * 80) / 80
        y += fold * self.chin
        return v

    def _round(self, v: torch.Tensor, y: torch.Tensor) -> None:
        """v (B, 478, 3), y (B, 478) a view of it, changed."""
        marks = v.index_select(1, self.inner)
        left, right = marks[:, :1], marks[:, 1:2]  # (B, 1, 3)
        middle, half = (left + right) / 2, (right - left) / 2
        wide = half[..., :1].clamp_min(1e-3)
        x, height = marks[:, 2:, 0].view(-1, 2, 9), marks[:, 2:, 1].view(-1, 2, 9)
        t = ((x - middle[..., :1]) / wide).clamp_(-1, 1)
        height = self.sign * (height - middle[..., 1:2] - t * half[..., 1:2])  # (B, 2, 9) off the line of corners
        tallest = height[..., 4:5]
        oval = tallest.clamp_min(0) * (1 - t * t).clamp_min(0) ** 0.4
        share = ROUND * ramp(tallest.sum(1, keepdim=True) / (2 * wide), 0.3, 0.8)
        out = self.sign * share * (oval - height).clamp_min(0)
        y.scatter_add_(1, self.rows.expand(len(y), -1), (out[:, :, None] * self.along).flatten(1))
