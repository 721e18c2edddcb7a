"""The phonetic network fed piece by piece: each convolution remembers the rows that its next output still needs.

Gives what `SpeechStudent.hidden` gives for the whole, to float rounding, for pieces of any size. Rows lie as (B, rows, channels)
and convolutions are matrix products over strided views: for the two or three rows of a live call that is several times cheaper
than `Conv1d`, and needs no second copy of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import gelu, linear

from vasa_cli.speech.mel import N_MELS
from vasa_cli.speech.student import Block, SpeechStudent

STEM_PAD = (2, 2)  # zero rows before the first convolution of the stem and the second; as in `SpeechStudent.hidden`


class ConvState:
    """A convolution in time with its memory: `rows` (B, r, C), what was pushed and later outputs still need."""

    def __init__(self, conv: nn.Conv1d, rows: torch.Tensor) -> None:
        self.weight = conv.weight.reshape(conv.weight.shape[0], -1)  # (H, C K), a view
        self.bias = conv.bias
        self.size, self.stride, self.dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
        self.rows = rows

    def push(self, x: torch.Tensor, guessed: int = 0) -> tuple[torch.Tensor, int]:
        """(B, n, C) further rows to the (B, m, H) outputs that they complete. The last `guessed` rows are not remembered; returns
        also how many of the last outputs rest on them."""
        rows = torch.cat([self.rows, x], dim=1)
        sure = rows.shape[1] - guessed
        outputs, certain = self._outputs(rows.shape[1]), self._outputs(sure)
        self.rows = rows[:, certain * self.stride : sure].clone()
        if outputs == 0:
            return x.new_zeros(x.shape[0], 0, self.weight.shape[0]), 0
        batch, channels = rows.shape[0], rows.shape[2]
        strides = (rows.stride(0), self.stride * channels, 1, self.dilation * channels)
        windows = rows.as_strided((batch, outputs, channels, self.size), strides)
        return linear(windows.reshape(batch, outputs, -1), self.weight, self.bias), outputs - certain

    def _outputs(self, rows: int) -> int:
        """Outputs that so many rows give."""
        return max(0, (rows - (self.size - 1) * self.dilation - 1) // self.stride + 1)


class BlockState:
    """A residual block with its memory; `waiting` (B, a, C) are inputs whose outputs still wait for a later row."""

    def __init__(self, block: Block, rows: torch.Tensor, waiting: torch.Tensor) -> None:
        self.block = block
        self.conv = ConvState(block.conv, rows)
        self.out = block.out.weight[:, :, 0]
        self.waiting = waiting

    def push(self, x: torch.Tensor, guessed: int = 0, last: bool = False) -> tuple[torch.Tensor, int]:
        """(B, n, C) further rows to the (B, m, C) outputs that are complete, and how many of these rest on the last `guessed`
        rows; `last`: nothing follows them."""
        y = self.block.norm(x)
        if last:
            y = nn.functional.pad(y, (0, 0, 0, self.block.pad[1]))
        y, doubtful = self.conv.push(y, guessed)
        x = torch.cat([self.waiting, x], dim=1)
        n = y.shape[1]
        self.waiting = x[:, n - doubtful : x.shape[1] - guessed].clone()
        return x[:, :n] + linear(gelu(y), self.out, self.block.out.bias), doubtful


class StudentStream:
    """Rows of normalised mel in, rows of the network's last hidden layer out."""

    def __init__(self, student: SpeechStudent) -> None:
        self.student = student
        stem, width = student.config.stem, student.config.width
        self.stem1 = ConvState(student.stem1, torch.zeros(1, STEM_PAD[0], N_MELS))
        self.stem2 = ConvState(student.stem2, torch.zeros(1, STEM_PAD[1], stem))
        blocks: Sequence[Block] = [b for b in student.blocks if isinstance(b, Block)]
        self.blocks = [BlockState(b, torch.zeros(1, b.pad[0], width), torch.zeros(1, 0, width)) for b in blocks]

    def push(self, mel: torch.Tensor, guess: torch.Tensor | None = None, last: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, k, 80) further mel rows to the (B, n, width) rows that they complete, and to the (B, m, width) rows after these if
        `guess` (B, j, 80) were to follow, which is not remembered. `last`: the recording ends here, its number of mel rows a
        multiple of four."""
        x, guessed = (mel, 0) if guess is None else (torch.cat([mel, guess], dim=1), guess.shape[1])
        if last:
            x = nn.functional.pad(x, (0, 0, 0, 2))  # `hidden` pads both ends of the stem's first convolution
        for conv in (self.stem1, self.stem2):
            x, guessed = conv.push(x, guessed)
            x = gelu(x)
        for block in self.blocks:
            x, guessed = block.push(x, guessed, last)
        x = self.student.norm(x)
        n = x.shape[1] - guessed
        return x[:, :n], x[:, n:]
