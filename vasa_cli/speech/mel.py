"""Mel power spectrum and a causal level follower: the only view of the sound that the speech network gets.

Frames are 10 ms apart; mel frame k is centred on sample 160 k + 80, so that four of them tile one 40 ms video frame exactly.
Everything is causal but for half a window (12.5 ms), hence streamable.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

RATE = 16000
HOP = 160
WINDOW = 400
N_FFT = 512
N_MELS = 80
MELS_PER_FRAME = 4
F_MIN = 40.0
F_MAX = 7600.0
FLOOR_DB = -135.0  # absolute floor of the power, relative to a full-scale sine: always below the range under any level
RELEASE_DB = 0.02  # the level falls by 2 dB a second
LEVEL_MIN_DB = -55.0  # what is quieter than this is silence, and stays quiet
LEVEL_START_DB = -40.0  # expected before anything was heard: hiss before the first word is not taken for a voice
RANGE_DB = 60.0  # what lies further below the level is cut off
LEFT_PAD = WINDOW // 2 - HOP // 2


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """O'Shaughnessy's mel scale."""
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `hz_to_mel`."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@lru_cache(maxsize=1)
def mel_filters() -> torch.Tensor:
    """(N_FFT/2+1, 80) triangles with peak 1: summed over mels they keep the total power."""
    edges = mel_to_hz(np.linspace(hz_to_mel(np.array(F_MIN)), hz_to_mel(np.array(F_MAX)), N_MELS + 2))
    bins = np.linspace(0.0, RATE / 2, N_FFT // 2 + 1)
    up = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(up, down))
    empty = weights.sum(axis=0) < 0.2  # the lowest triangles are narrower than a bin: take the nearest bin
    for m in np.flatnonzero(empty):
        weights[np.argmin(np.abs(bins - edges[m + 1])), m] = 0.5
    return torch.from_numpy(weights.astype(np.float32))


@lru_cache(maxsize=1)
def _window() -> torch.Tensor:
    window = torch.hann_window(WINDOW, periodic=True)
    return window / window.sum() * 2.0  # a full-scale sine has power about 1 (0 dB)


def mel_power_db(padded: torch.Tensor) -> torch.Tensor:
    """Mel power in dB of samples that already carry `LEFT_PAD` samples of history.

    padded: (N,) float32 with N >= 400. Returns (K, 80) float32, K = (N - 400) // 160 + 1, clipped below at `FLOOR_DB`.
    """
    frames = padded.unfold(0, WINDOW, HOP) * _window()  # (K, 400)
    power = torch.fft.rfft(frames, n=N_FFT).abs().square()  # (K, 257)
    return 10.0 * torch.log10(power @ mel_filters() + 10.0 ** (FLOOR_DB / 10.0))  # (K, 80)


def pad_whole(samples: torch.Tensor, n_mel: int) -> torch.Tensor:
    """Zeros before and after a whole recording (N,), so that `mel_power_db` yields exactly n_mel frames."""
    need = (n_mel - 1) * HOP + WINDOW
    return torch.nn.functional.pad(samples, (LEFT_PAD, max(0, need - LEFT_PAD - samples.shape[0])))[:need]


def follow_level(mel_db: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
    """Causal loudness of the speaker: a running maximum of the frame power that falls by 2 dB a second.

    mel_db: (..., K, 80). start: (...,) level in dB before the first frame (None: `LEVEL_START_DB`). Returns (..., K) dB.
    L[k] = max(L[k-1] - r, p[k]) is computed as cummax(p[k] + r k) - r k.
    """
    power = 10.0 * torch.log10(torch.pow(10.0, mel_db / 10.0).sum(-1) + 1e-12).clamp(min=LEVEL_MIN_DB)  # (..., K)
    ramp = RELEASE_DB * torch.arange(1, power.shape[-1] + 1, dtype=power.dtype)
    lifted = power + ramp
    before = torch.full((1,), LEVEL_START_DB) if start is None else start.unsqueeze(-1)
    lifted = torch.maximum(lifted, before)
    return (torch.cummax(lifted, dim=-1).values - ramp).clamp(min=LEVEL_MIN_DB)


def normalise(mel_db: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Mel dB (..., K, 80) relative to the level (..., K), clipped to the 60 dB below it, scaled to about unit size."""
    relative = (mel_db - level.unsqueeze(-1)).clamp(min=-RANGE_DB, max=5.0)
    return (relative + 35.0) / 15.0


def loudness(mel: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(..., 4 T, 80) mel dB and (..., 4 T) level to (..., T): dB below the speaker's level, floored at -60, mean of a frame's
    four."""
    power = 10.0 * torch.log10(torch.pow(10.0, mel / 10.0).sum(-1) + 1e-12)
    relative = (power - level).clamp(min=-60.0)
    return relative.unflatten(-1, (-1, MELS_PER_FRAME)).mean(-1)
