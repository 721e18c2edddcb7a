"""Rows of features that are not final yet, told from the sound that was heard.

Row t is final when 177.5 ms after its start have been heard. By then the network's first layer knows 3 frames more, as do
loudness and pitch, and 1 to 4 rows of mel are known of the frame after those. The rest of what the network would see is filled
with the last row of mel, held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vasa_cli.speech.mel import HOP, LEFT_PAD, MELS_PER_FRAME, WINDOW, follow_level, mel_power_db, normalise
from vasa_cli.speech.pitch import FRAME
from vasa_cli.speech.stream_student import ConvState, StudentStream
from vasa_cli.speech.student import SpeechStudent

if TYPE_CHECKING:
    from vasa_cli.speech.features import SpeechEncoder

AHEAD = 5  # frames that are anticipated
KNOWN = 3  # of them, those whose loudness and pitch are known
BATCH = 250  # frames that a simulation works on at once


def anticipate(encoder: SpeechEncoder, student: StudentStream, mel: torch.Tensor, prosody: torch.Tensor) -> torch.Tensor:
    """student: its state after the last final row, for B moments; mel (B, p, 80): the normalised rows that are known of the
    fourth frame after it, 1 <= p <= 4; prosody (B, KNOWN, 3): loudness, pitch and voicing of the frames in between, standardised.
    Returns the next rows, (B, AHEAD, F)."""
    guess = mel[:, -1:].expand(-1, MELS_PER_FRAME * AHEAD + 1 - mel.shape[1], -1)
    hidden = student.push(guess, keep=False)  # (B, AHEAD, W)
    held = torch.cat([prosody, prosody[:, -1:].expand(-1, AHEAD - KNOWN, -1)], dim=1)
    return torch.cat([encoder.phonetic(hidden), held], dim=-1)


@torch.inference_mode()
def simulate_ahead(encoder: SpeechEncoder, samples: np.ndarray, heard: int = 3) -> np.ndarray:
    """(N,) float mono 16 kHz to (T, AHEAD, F) float32: [t, m - 1] is the row t + m as `FeatureStream.ahead` tells it right after
    row t left the stream. Silence follows the recording.

    heard: the rows of mel (1..4) that are known of frame t + 4 by then: 3 where sound comes in blocks of 40 ms or a multiple.
    """
    padded = np.pad(np.asarray(samples, dtype=np.float32), (0, (KNOWN + 2) * FRAME))
    features = torch.from_numpy(encoder.features(padded))  # (T + 5, F)
    frames = len(features) - KNOWN - 2
    mel = _normalised(padded, len(features))
    context = encoder.student.config.left_context + 2
    out = np.zeros((frames, AHEAD, encoder.size), np.float32)
    for start in range(0, frames, BATCH):
        end, low = min(start + BATCH, frames), max(0, start - context)
        piece = mel[low * MELS_PER_FRAME : (end + KNOWN + 1) * MELS_PER_FRAME]
        student = _states(encoder.student, piece, start - low, end - start, heard)
        partial = mel[(start + KNOWN + 1) * MELS_PER_FRAME :].unfold(0, heard, MELS_PER_FRAME)[: end - start].transpose(1, 2)
        prosody = features[start + 1 :, encoder.phonetic_size :].unfold(0, KNOWN, 1)[: end - start].transpose(1, 2)
        out[start:end] = anticipate(encoder, student, partial, prosody).numpy()
    return out


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
        x, rate = torch.nn.functional.gelu(conv.push(x)), rate // conv.stride
    for block, copy in zip(one.blocks, many.blocks, strict=True):
        copy.conv.rows, done = _remembered(block.conv, block.block.norm(x)[0], known, 1, count)
        copy.waiting = _windows(x[0], done, 1, known - done, count)
        x, known = block.push(x), done
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
