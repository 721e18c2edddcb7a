"""Rows of features that are not final yet, told from the sound that was heard.

Row t is final when 177.5 ms after its start have been heard. By then the network's first layer knows 3 frames more, as do
loudness and pitch, and 1 to 4 rows of mel are known of the frame after those. The rest of what the network would see is filled
with the last row of mel, held; then a small net of our own (weights `ahead`, `vasa_cli/training/speech_ahead.py`), which learned
how such rows differ from what came, mends them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import gelu, linear

from vasa_cli.errors import WeightsError
from vasa_cli.speech.mel import HOP, LEFT_PAD, MELS_PER_FRAME, WINDOW, follow_level, mel_power_db, normalise
from vasa_cli.speech.pitch import FRAME
from vasa_cli.speech.stream_student import ConvState, StudentStream
from vasa_cli.speech.student import SpeechStudent

if TYPE_CHECKING:
    from vasa_cli.speech.features import SpeechEncoder

AHEAD = 5  # frames that are anticipated
KNOWN = 3  # of them, those whose loudness and pitch are known
BATCH = 250  # frames that a simulation works on at once
FORMAT = "vasa-ahead/1"


@dataclass(frozen=True)
class Clues:
    """What B moments know of the next rows: `hidden` (B, AHEAD, W) of the network with the last row of mel held; `mel` (B, 4, 80)
    of the fourth frame, of which `heard` rows are real; `prosody` (B, KNOWN, 3); `last` (B, F), the last final row."""

    hidden: torch.Tensor
    mel: torch.Tensor
    prosody: torch.Tensor
    last: torch.Tensor
    heard: int

    def plain(self, encoder: SpeechEncoder) -> torch.Tensor:
        """The rows without anything learned, (B, AHEAD, F): loudness and pitch are held after those that are known."""
        held = torch.cat([self.prosody, self.prosody[:, -1:].expand(-1, AHEAD - KNOWN, -1)], dim=1)
        return torch.cat([encoder.phonetic(self.hidden), held], dim=-1)

    def inputs(self) -> torch.Tensor:
        """(B, I) what the small net sees."""
        which = torch.zeros(len(self.last), MELS_PER_FRAME)
        which[:, self.heard - 1] = 1.0
        parts = (self.hidden.flatten(1), self.mel.flatten(1), self.prosody.flatten(1), self.last, which)
        return torch.cat(parts, dim=1)


@dataclass(frozen=True)
class Mender:
    """What the plain rows lack: `first` (H, I) with bias, a layer whose first `straight` units are linear and the others GELU,
    `second` (AHEAD F, H) with bias. Inputs are standardised by mean and scale (I,)."""

    mean: torch.Tensor
    scale: torch.Tensor
    first: torch.Tensor
    first_bias: torch.Tensor
    second: torch.Tensor
    second_bias: torch.Tensor
    straight: int

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, I) to (B, AHEAD F)."""
        x = linear((inputs - self.mean) / self.scale, self.first, self.first_bias)
        return linear(torch.cat([x[:, : self.straight], gelu(x[:, self.straight :])], dim=1), self.second, self.second_bias)


@lru_cache(maxsize=2)
def mender(weights: str) -> Mender | None:
    """The net that belongs to the speech weights of this name; None for those that have none. Raises WeightsError."""
    if weights != "default":
        return None
    from vasa_cli.weights.registry import load_tensors, sha256_of

    tensors, meta = load_tensors("ahead", weights)
    if meta.get("format") != FORMAT or meta.get("speech") != sha256_of("speech", weights):
        raise WeightsError("weights ahead.safetensors belong to other speech weights; reinstall, or run scripts/train_ahead.py")
    try:
        whole = {k: torch.from_numpy(np.asarray(v, dtype=np.float32)) for k, v in tensors.items()}
        return Mender(**whole, straight=int(meta["straight"]))
    except (TypeError, KeyError, ValueError) as e:
        raise WeightsError("weights ahead.safetensors do not fit this version; reinstall the package") from e


def held(mel: torch.Tensor) -> torch.Tensor:
    """mel (B, p, 80): the normalised rows that are known of the fourth frame after the last final one, 1 <= p <= 4. Returns the
    rows that the network is given after them, (B, j, 80), for it to tell `AHEAD` rows."""
    return mel[:, -1:].expand(-1, MELS_PER_FRAME * AHEAD + 1 - mel.shape[1], -1)


def clues(hidden: torch.Tensor, mel: torch.Tensor, prosody: torch.Tensor, last: torch.Tensor) -> Clues:
    """mel as in `held`; for the rest see there."""
    known = mel.shape[1]
    return Clues(hidden, torch.cat([mel, mel[:, -1:].expand(-1, MELS_PER_FRAME - known, -1)], dim=1), prosody, last, known)


def anticipate(encoder: SpeechEncoder, found: Clues) -> torch.Tensor:
    """The next rows, (B, AHEAD, F)."""
    rows = found.plain(encoder)
    net = mender(encoder.weights)
    if net is not None:
        mended = rows + net(found.inputs()).unflatten(1, (AHEAD, -1))
        rows = torch.cat([mended[..., : encoder.phonetic_size], rows[..., encoder.phonetic_size :]], dim=-1)
        rows[:, KNOWN:, encoder.phonetic_size :] = mended[:, KNOWN:, encoder.phonetic_size :]
    return rows


@torch.inference_mode()
def simulate_ahead(encoder: SpeechEncoder, samples: np.ndarray, heard: int = 3) -> np.ndarray:
    """(N,) float mono 16 kHz to (T, AHEAD, F) float32: [t, m - 1] is the row t + m as `FeatureStream.ahead` tells it right after
    row t left the stream. Silence follows the recording.

    heard: the rows of mel (1..4) that are known of frame t + 4 by then: 3 where sound comes in blocks of 40 ms or a multiple.
    """
    rows = [anticipate(encoder, found).numpy() for found, _ in moments(encoder, samples, heard)]
    return np.concatenate([np.zeros((0, AHEAD, encoder.size), np.float32), *rows])


@torch.inference_mode()
def moments(encoder: SpeechEncoder, samples: np.ndarray, heard: int, zeros: bool = False) -> Iterator[tuple[Clues, torch.Tensor]]:
    """For `BATCH` frames of a recording after each other: what was known when they became final, and the rows that came,
    (B, AHEAD, F). zeros: for comparison, the network is given the mean of all sound instead of the last row, held."""
    padded = np.pad(np.asarray(samples, dtype=np.float32), (0, AHEAD * FRAME))
    features = torch.from_numpy(encoder.features(padded))  # (T + AHEAD, F)
    frames = len(features) - AHEAD
    mel = _normalised(padded, len(features))
    context = encoder.student.config.left_context + 2
    for start in range(0, frames, BATCH):
        end, low = min(start + BATCH, frames), max(0, start - context)
        piece = mel[low * MELS_PER_FRAME : (end + KNOWN + 1) * MELS_PER_FRAME]
        student = _states(encoder.student, piece, start - low, end - start, heard)
        partial = _windows(mel, (start + KNOWN + 1) * MELS_PER_FRAME, MELS_PER_FRAME, heard, end - start)
        came = _windows(features, start + 1, 1, AHEAD, end - start)
        guess = torch.zeros_like(held(partial)) if zeros else held(partial)
        hidden = student.push(partial[:, :0], guess)[1]
        yield clues(hidden, partial, came[:, :KNOWN, encoder.phonetic_size :], features[start:end]), came


def _normalised(samples: np.ndarray, frames: int) -> torch.Tensor:
    """(4 T, 80) normalised mel of a whole recording."""
    need = (frames * MELS_PER_FRAME - 1) * HOP + WINDOW
    sound = np.pad(samples, (LEFT_PAD, max(0, need - LEFT_PAD - len(samples))))[:need]
    mel = mel_power_db(torch.from_numpy(sound))
    return normalise(mel, follow_level(mel))


def _states(student: SpeechStudent, mel: torch.Tensor, first: int, count: int, heard: int) -> StudentStream:
    """The stream's memories when the frames first .. first + count - 1 of (4 T, 80) normalised mel became final, side by side."""
    one, many = StudentStream(student), StudentStream(student)
    known = (first + KNOWN + 1) * MELS_PER_FRAME + heard  # rows that were pushed at the first of these moments
    rate = MELS_PER_FRAME  # rows that come between two of them
    x = mel[None]
    for conv, memory in ((one.stem1, many.stem1), (one.stem2, many.stem2)):
        memory.rows, known = _remembered(conv, x[0], known, rate, count)
        x, rate = gelu(conv.push(x)[0]), rate // conv.stride
    for block, copy in zip(one.blocks, many.blocks, strict=True):
        copy.conv.rows, done = _remembered(block.conv, block.block.norm(x)[0], known, 1, count)
        copy.waiting = _windows(x[0], done, 1, known - done, count)
        x, known = block.push(x)[0], done
    return many


def _remembered(conv: ConvState, x: torch.Tensor, known: int, rate: int, count: int) -> tuple[torch.Tensor, int]:
    """What the convolution remembers after `known`, `known` + rate, ... rows of x (N, C), (count, r, C); and how many outputs it
    has given after the first."""
    rows = torch.cat([conv.rows[0], x])
    known += conv.rows.shape[1]
    done = (known - (conv.size - 1) * conv.dilation - 1) // conv.stride + 1
    return _windows(rows, done * conv.stride, rate, known - done * conv.stride, count), done


def _windows(rows: torch.Tensor, first: int, step: int, length: int, count: int) -> torch.Tensor:
    """(count, length, C): rows first .. first + length - 1 of (N, C), then `step` later, and so on."""
    if length == 0:
        return rows.new_zeros(count, 0, rows.shape[1])
    return rows[first:].unfold(0, length, step)[:count].transpose(1, 2)
