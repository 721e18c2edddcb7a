"""The phonetic network: mel frames in, what-is-being-said out, 25 times a second.

A small convolutional net of our own, distilled from larger speech recognisers (`vasa_cli/training/speech_distill.py`).
Convolutions are causal but for the stem (20 ms) and `lookahead` blocks that see one frame (40 ms) ahead each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vasa_cli.speech.mel import N_MELS


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of the network. `out` = numbers a frame, standardised teacher coordinates."""

    width: int = 256
    hidden: int = 256
    dilations: tuple[int, ...] = (1, 1, 1, 1, 2, 4, 8, 2)
    lookahead: int = 3
    stem: int = 128
    out: int = 268
    dropout: float = 0.0

    @property
    def left_context(self) -> int:
        """Video frames of history that still reach a frame's output (the stem adds less than one)."""
        return sum(2 * d for d in self.dilations) - self.lookahead + 1


class Block(nn.Module):
    """Residual: norm, dilated conv of width 3, GELU, pointwise. `ahead` = 1 sees one frame of the future."""

    def __init__(self, width: int, hidden: int, dilation: int, ahead: int, dropout: float) -> None:
        super().__init__()
        self.pad = (2 * dilation - ahead, ahead)
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, hidden, 3, dilation=dilation)
        self.out = nn.Conv1d(hidden, width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)  # (B, C, T)
        y = self.conv(nn.functional.pad(y, self.pad))  # (B, H, T)
        return x + self.drop(self.out(nn.functional.gelu(y)))  # (B, C, T)


class SpeechStudent(nn.Module):
    """forward: normalised mel (B, 4 T, 80) to outputs (B, T, out)."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.stem1 = nn.Conv1d(N_MELS, config.stem, 5, stride=2)
        self.stem2 = nn.Conv1d(config.stem, config.width, 4, stride=2)
        self.blocks = nn.ModuleList(
            Block(config.width, config.hidden, d, int(i < config.lookahead), config.dropout)
            for i, d in enumerate(config.dilations)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.out)

    def hidden(self, mel: torch.Tensor) -> torch.Tensor:
        """(B, 4 T, 80) to (B, T, width)."""
        x = mel.transpose(1, 2)  # (B, 80, 4T)
        x = nn.functional.gelu(self.stem1(nn.functional.pad(x, (2, 2))))  # (B, S, 2T): output i sees mels 2i-2 .. 2i+2
        x = nn.functional.gelu(self.stem2(nn.functional.pad(x, (2, 0))))  # (B, C, T): output t sees mels 4t-6 .. 4t+4
        for block in self.blocks:
            x = block(x)  # (B, C, T)
        return self.norm(x.transpose(1, 2))  # (B, T, C)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(mel))  # (B, T, out)
