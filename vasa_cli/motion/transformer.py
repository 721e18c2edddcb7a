"""The motion transformer: noisy motion and conditions in, denoised motion (or flow velocity) out.

After VASA-1 (Xu et al., NeurIPS 2024, section 3.2): a transformer encoder over the tokens

    [ step ; gaze ; distance ; emotion ; K past frames ; W frames of the window ]

Every condition can be empty (a learned vector), which classifier-free guidance needs. Two departures from the paper, both for
speed on a CPU: a frame's audio is added to the frame's token instead of being a token of its own (halves the sequence), and the
audio passes two convolutions first, so that few layers suffice. The paper's size (8 layers, 512 wide, 8 heads) is `PAPER`.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class MotionConfig:
    """Sizes: `features` F of the speech features, `motion` D = 6 + K numbers a frame (pose, then dynamics). Saved with the
    weights.
    """

    features: int
    motion: int = 68
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 384
    window: int = 50
    past: int = 10
    dropout: float = 0.1
    objective: str = "x0"
    mouth_pace: float = 0.25  # how far the noise of the mouth is taken away before the last step (`diffusion`)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> MotionConfig:
        return cls(**json.loads(text))


def paper_size(config: MotionConfig) -> MotionConfig:
    """The size published for VASA-1 (about 29 M parameters)."""
    return replace(config, width=512, layers=8, heads=8, hidden=2048)


@dataclass(frozen=True)
class Conditions:
    """What the motion depends on. Masks are bool, True = given; whatever is not given is replaced by a learned empty vector.

    audio (B, W, F), audio_given (B, W); past_audio (B, K, F), past_motion (B, K, D), past_given (B,);
    gaze (B, 2) radians, distance (B, 1) log, emotion (B, 7); control_given (B, 3) for those three.
    """

    audio: torch.Tensor
    audio_given: torch.Tensor
    past_audio: torch.Tensor
    past_motion: torch.Tensor
    past_given: torch.Tensor
    gaze: torch.Tensor
    distance: torch.Tensor
    emotion: torch.Tensor
    control_given: torch.Tensor

    def without_audio(self) -> Conditions:
        """The same with the window's audio left out."""
        return replace(self, audio_given=torch.zeros_like(self.audio_given))

    def without_gaze(self) -> Conditions:
        """The same with the gaze left out."""
        given = self.control_given.clone()
        given[:, 0] = False
        return replace(self, control_given=given)

    @classmethod
    def stack(cls, branches: list[Conditions]) -> Conditions:
        """Branches of guidance as one batch."""
        return cls(**{k: torch.cat([getattr(b, k) for b in branches]) for k in cls.__dataclass_fields__})


class Block(nn.Module):
    """Pre-norm attention and feed-forward; the step's embedding scales and shifts the norms (DiT's adaLN, without its gates)."""

    def __init__(self, c: MotionConfig) -> None:
        super().__init__()
        self.heads, self.drop = c.heads, c.dropout
        self.norm1 = nn.LayerNorm(c.width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(c.width, elementwise_affine=False)
        self.qkv = nn.Linear(c.width, 3 * c.width)
        self.out = nn.Linear(c.width, c.width)
        self.up = nn.Linear(c.width, c.hidden)
        self.down = nn.Linear(c.hidden, c.width)
        self.modulate = nn.Linear(c.width, 4 * c.width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: torch.Tensor, step: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        scale1, shift1, scale2, shift2 = self.modulate(step)[:, None].chunk(4, -1)  # (B, 1, d) each
        y = self.norm1(x) * (1 + scale1) + shift1  # (B, N, d)
        q, k, v = self.qkv(y).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # (B, h, N, d/h) each
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))  # (B, h, N, d/h)
        y = self.out(y.transpose(1, 2).reshape(b, n, d))  # (B, N, d)
        x = x + F.dropout(y, self.drop, self.training)
        y = self.norm2(x) * (1 + scale2) + shift2  # (B, N, d)
        y = self.down(F.gelu(self.up(y)))  # (B, N, d)
        return x + F.dropout(y, self.drop, self.training)


class MotionTransformer(nn.Module):
    """forward: x (B, W, D) normalised noisy motion, t (B,) in [0, 1], conditions -> (B, W, D)."""

    PREFIX = 4  # step, gaze, distance, emotion

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = c = config
        self.motion_in = nn.Linear(c.motion, c.width)
        self.past_in = nn.Linear(c.motion, c.width)
        self.audio_norm = nn.LayerNorm(c.features)
        self.audio_in = nn.Linear(c.features, c.width)
        self.audio_conv1 = nn.Conv1d(c.width, c.width, 5, padding=2)
        self.audio_conv2 = nn.Conv1d(c.width, c.width, 3, padding=1)
        self.controls_in = nn.ModuleList([nn.Linear(n, c.width) for n in (2, 1, 7)])
        self.step_in = nn.Sequential(nn.Linear(c.width, c.width), nn.SiLU(), nn.Linear(c.width, c.width))
        self.no_audio = nn.Parameter(torch.randn(c.width) * 0.02)
        self.no_past = nn.Parameter(torch.randn(c.width) * 0.02)
        self.no_control = nn.Parameter(torch.randn(3, c.width) * 0.02)
        self.kind = nn.Parameter(torch.randn(self.PREFIX + 2, c.width) * 0.02)  # which token this is: prefix tokens, past, window
        reach = c.past + c.window
        slopes = torch.tensor([2.0 ** (-1 - 1.5 * h) for h in range(c.heads)])  # as in ALiBi; learned from there
        distance = torch.arange(-reach + 1, reach).abs()
        self.relative = nn.Parameter(-slopes[:, None] * distance[None] * 0.5)  # (h, 2 reach - 1)
        self.blocks = nn.ModuleList([Block(c) for _ in range(c.layers)])
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, c.motion)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _attention_bias(self) -> torch.Tensor:
        """(1, h, N, N): learned bias by distance in time among frames, none to and from the prefix."""
        reach = self.config.past + self.config.window
        index = torch.arange(reach, device=self.relative.device)
        frames = self.relative[:, index[:, None] - index[None] + reach - 1]  # (h, K+W, K+W)
        return F.pad(frames, (self.PREFIX, 0, self.PREFIX, 0))[None]

    def _step_embedding(self, t: torch.Tensor) -> torch.Tensor:
        """(B,) in [0, 1] -> (B, d), sinusoidal (Vaswani et al. 2017) through a small MLP."""
        half = self.config.width // 2
        rates = torch.exp(-math.log(1000.0) * torch.arange(half, device=t.device) / half) * 100.0
        angles = t[:, None] * rates[None]
        return self.step_in(torch.cat([angles.sin(), angles.cos()], -1))

    def _audio(self, c: Conditions) -> torch.Tensor:
        """(B, K+W, d) of past and present audio."""
        audio = torch.cat([c.past_audio, c.audio], 1)  # (B, K+W, F)
        given = torch.cat([c.past_given[:, None].expand(-1, self.config.past), c.audio_given], 1)[..., None]  # (B, K+W, 1)
        y = self.audio_in(self.audio_norm(audio))  # (B, K+W, d)
        y = torch.where(given, y, self.no_audio.to(y.dtype))
        y = y.transpose(1, 2)  # (B, d, K+W)
        y = y + self.audio_conv1(F.gelu(y))
        y = y + self.audio_conv2(F.gelu(y))
        return y.transpose(1, 2)  # (B, K+W, d)

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: Conditions) -> torch.Tensor:
        step = self._step_embedding(t)  # (B, d)
        # (B, 3, d)
        controls = torch.stack([f(v) for f, v in zip(self.controls_in, (c.gaze, c.distance, c.emotion), strict=True)], 1)
        controls = torch.where(c.control_given[..., None], controls, self.no_control.to(controls.dtype))
        audio = self._audio(c)
        past = torch.where(c.past_given[:, None, None], self.past_in(c.past_motion), self.no_past.to(audio.dtype))  # (B, K, d)
        k = self.config.past
        past = past + audio[:, :k] + self.kind[4]  # (B, K, d)
        window = self.motion_in(x) + audio[:, k:] + self.kind[5]  # (B, W, d)
        prefix = torch.cat([step[:, None], controls], 1) + self.kind[:4]  # (B, 4, d)
        y = torch.cat([prefix, past, window], 1)  # (B, 4+K+W, d)
        bias = self._attention_bias()
        for block in self.blocks:
            y = block(y, step, bias)
        return self.head(self.norm(y[:, self.PREFIX + k :]))  # (B, W, D)
