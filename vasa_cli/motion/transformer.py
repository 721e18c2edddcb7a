"""The motion transformer: noisy motion and conditions in, denoised motion (or flow velocity) out.

After VASA-1 (Xu et al., NeurIPS 2024, section 3.2): a transformer encoder over the tokens

    [ K past frames ; W frames of the window ]

Every condition can be empty (a learned vector), which classifier-free guidance needs. Departures from the paper: gaze, distance
and emotion are given frame by frame (time-coded controls) and added to the frames' tokens, as is the audio, instead of being
tokens of their own; and the audio first passes a trunk of dilated convolutions, which also speaks to the output directly, so that
few layers suffice on a CPU. The paper's size (8 layers, 512 wide, 8 heads) is `paper_size`.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from vasa_cli.motion.diffusion import levels_of, objective


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
    trunk: int = 160  # width of the audio trunk
    trunk_blocks: int = 4  # residual blocks, dilated by 1, 2, 4, 1, 2, 4, ...
    objective: str = "x0"
    pose_memory: float = 20.0  # frames, of the noise (`diffusion.coloured`)
    gaze_memory: float = 3.0
    face_memory: float = 8.0  # lids and brows
    mouth_from: int = 28  # the mouth's numbers are the last ones
    mouth_pace: float = 0.25  # how far the noise of the mouth is taken away before the last step (`diffusion`)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def memory(self) -> tuple[float, ...]:
        """(D,) frames that the noise of each number remembers: pose 6, gaze 2, lids and brows, mouth (white)."""
        face = self.mouth_from - 8
        mouth = self.motion - self.mouth_from
        return (self.pose_memory,) * 6 + (self.gaze_memory,) * 2 + (self.face_memory,) * face + (0.0,) * mouth

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
    gaze (B, K+W, 2) radians, distance (B, K+W, 1) log, emotion (B, K+W, 7) weights; control_given (B, 3) for those three.
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

    def without_control(self, index: int) -> Conditions:
        """The same with gaze (0), distance (1) or emotion (2) left out."""
        given = self.control_given.clone()
        given[:, index] = False
        return replace(self, control_given=given)

    @classmethod
    def stack(cls, branches: list[Conditions]) -> Conditions:
        """Branches of guidance as one batch."""
        return cls(**{k: torch.cat([getattr(b, k) for b in branches]) for k in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Prepared:
    """Conditions as the network takes them, for all steps of a window: tokens (B, K+W, d) of past, sound and controls; asked
    (B, W, D) by the controls; heard (B, W, D): what the sound says to the output directly; bias of the attention."""

    tokens: torch.Tensor
    asked: torch.Tensor
    heard: torch.Tensor
    bias: torch.Tensor


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


class AudioTrunk(nn.Module):
    """Speech features (B, N, F) and which frames are given (B, N) -> (B, N, trunk): what the mouth should do, as far as sound
    tells.
    """

    def __init__(self, c: MotionConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c.features)
        self.into = nn.Linear(c.features, c.trunk)
        self.none = nn.Parameter(torch.randn(c.trunk) * 0.02)
        self.first = nn.ModuleList([nn.Conv1d(c.trunk, c.trunk, 3, padding=d, dilation=d) for d in self._dilations(c)])
        self.second = nn.ModuleList([nn.Conv1d(c.trunk, c.trunk, 1) for _ in self.first])
        self.drop = c.dropout

    @staticmethod
    def _dilations(c: MotionConfig) -> list[int]:
        return [(1, 2, 4)[i % 3] for i in range(c.trunk_blocks)]

    def forward(self, audio: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        y = self.into(self.norm(audio))  # (B, N, trunk)
        y = torch.where(given[..., None], y, self.none.to(y.dtype)).transpose(1, 2)  # (B, trunk, N)
        for first, second in zip(self.first, self.second, strict=True):
            y = y + F.dropout(second(F.gelu(first(F.gelu(y)))), self.drop, self.training)
        return y.transpose(1, 2)  # (B, N, trunk)


class MotionTransformer(nn.Module):
    """forward: x (B, W, D) normalised noisy motion, t (B,) in [0, 1], conditions -> (B, W, D)."""

    CONTROLS = (2, 1, 7)  # numbers of gaze, distance, emotion
    UNITS = (0.1, 0.1, 0.3)  # brings the controls to the size of the other inputs
    pace: torch.Tensor  # (D,) of the noise (`diffusion`)

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = c = config
        self.motion_in = nn.Linear(c.motion, c.width)
        self.past_in = nn.Linear(c.motion, c.width)
        self.trunk = AudioTrunk(c)
        self.audio_out = nn.Linear(c.trunk, c.width)
        self.audio_head = nn.Linear(c.trunk, c.motion, bias=False)
        self.controls_in = nn.ModuleList([nn.Linear(n, c.width) for n in self.CONTROLS])
        self.controls_head = nn.ModuleList([nn.Linear(n, c.motion, bias=False) for n in self.CONTROLS])
        self.step_in = nn.Sequential(nn.Linear(c.width, c.width), nn.SiLU(), nn.Linear(c.width, c.width))
        self.no_past = nn.Parameter(torch.randn(c.width) * 0.02)
        self.no_control = nn.Parameter(torch.randn(3, c.width) * 0.02)
        self.kind = nn.Parameter(torch.randn(2, c.width) * 0.02)  # which token this is: past, window
        reach = c.past + c.window
        slopes = torch.tensor([2.0 ** (-1 - 1.5 * h) for h in range(c.heads)])  # as in ALiBi; learned from there
        distance = torch.arange(-reach + 1, reach).abs()
        self.relative = nn.Parameter(-slopes[:, None] * distance[None] * 0.5)  # (h, 2 reach - 1)
        self.blocks = nn.ModuleList([Block(c) for _ in range(c.layers)])
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, c.motion)
        for layer in (self.head, self.audio_head, *self.controls_head):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.head.bias)
        pace = torch.ones(c.motion)
        pace[c.mouth_from :] = c.mouth_pace
        self.register_buffer("pace", pace, persistent=False)

    def _attention_bias(self, tokens: int) -> torch.Tensor:
        """(1, h, N, N): learned bias by distance in time, for N = K + W' tokens, W' <= W."""
        reach = self.config.past + self.config.window
        index = torch.arange(tokens, device=self.relative.device)
        return self.relative[:, index[:, None] - index[None] + reach - 1][None]

    def _step_embedding(self, t: torch.Tensor) -> torch.Tensor:
        """(B,) in [0, 1] -> (B, d), sinusoidal (Vaswani et al. 2017) through a small MLP."""
        half = self.config.width // 2
        rates = torch.exp(-math.log(1000.0) * torch.arange(half, device=t.device) / half) * 100.0
        angles = t[:, None] * rates[None]
        return self.step_in(torch.cat([angles.sin(), angles.cos()], -1))

    def _controls(self, c: Conditions) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, K+W, d) for the tokens and (B, K+W, D), what the controls ask of the motion."""
        tokens, asked = [], []
        for i, value in enumerate((c.gaze, c.distance, c.emotion)):
            given = c.control_given[:, i, None, None]
            value = value / self.UNITS[i]
            token: torch.Tensor = self.controls_in[i](value)  # (B, K+W, d)
            tokens.append(torch.where(given, token, self.no_control[i].to(token.dtype)))
            asked.append(self.controls_head[i](value) * given)  # (B, K+W, D)
        return torch.stack(tokens).sum(0), torch.stack(asked).sum(0)

    @torch.no_grad()
    def begin_controls(self, responses: list[torch.Tensor]) -> None:
        """Start the controls' direct path from known linear responses, one (D, n) a control, in normalised motion per unit."""
        for layer, response, unit in zip(self.controls_head, responses, self.UNITS, strict=True):
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(response * unit)

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: Conditions) -> torch.Tensor:
        return self.denoise(x, t, self.prepare(c))

    def prepare(self, c: Conditions) -> Prepared:
        """What stays the same over all steps of one window. The window may be shorter than W: live motion plans less far."""
        k = self.config.past
        given = torch.cat([c.past_given[:, None].expand(-1, k), c.audio_given], 1)  # (B, K+W)
        sound = self.trunk(torch.cat([c.past_audio, c.audio], 1), given)  # (B, K+W, trunk)
        tokens, asked = self._controls(c)
        past = self.past_in(c.past_motion - asked[:, :k])  # (B, K, d)
        past = torch.where(c.past_given[:, None, None], past, self.no_past.to(past.dtype)) + self.kind[0]
        tokens = self.audio_out(sound) + tokens + F.pad(past, (0, 0, 0, c.audio.shape[1]))  # (B, K+W, d)
        return Prepared(tokens, asked[:, k:], self.audio_head(sound[:, k:]), self._attention_bias(tokens.shape[1]))

    def denoise(self, x: torch.Tensor, t: torch.Tensor, p: Prepared) -> torch.Tensor:
        """One evaluation: x (B, W, D), t (B,) -> (B, W, D)."""
        k = self.config.past
        step = self._step_embedding(t)  # (B, d)
        # what the controls ask is taken off the noisy motion and added to the clean one: the network works about it
        level = objective(self.config.objective).level(levels_of(t, self.pace))  # (B, 1, D)
        window = self.motion_in(x - level * p.asked) + self.kind[1]  # (B, W, d)
        y = p.tokens + F.pad(window, (0, 0, k, 0))  # (B, K+W, d)
        for block in self.blocks:
            y = block(y, step, p.bias)
        return self.head(self.norm(y[:, k:])) + p.heard + p.asked  # (B, W, D)
