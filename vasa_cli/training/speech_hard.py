"""Hard listening made in the mel domain: whispering, children's pitch, background music.

All mels are power in dB, (B, K, 80), 10 ms frames; see `vasa_cli/speech/mel.py`. Harmonics show as ripples along the mel axis,
and formants as the smooth curve beneath: a smoothing over some six mels parts them, as a cepstral lifter does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from vasa_cli.speech.mel import F_MAX, F_MIN, FLOOR_DB, N_MELS, hz_to_mel, mel_to_hz

SMOOTH = 3.0  # mels, standard deviation
BANK, BANK_STEPS = 48, 400


@lru_cache(maxsize=1)
def _smoother() -> torch.Tensor:
    """(80, 80) rows that sum to 1: a Gaussian along the mel axis."""
    at = torch.arange(N_MELS).float()
    weights = torch.exp(-0.5 * ((at[:, None] - at[None]) / SMOOTH).square())
    return weights / weights.sum(1, keepdim=True)


def split_pitch(mel_db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, K, 80) to envelope (formants) and detail (harmonics), which add up to it."""
    envelope = mel_db @ _smoother().T
    return envelope, mel_db - envelope


def whispered(mel_db: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """The same articulation without a voice: harmonics replaced by noise, 8-20 dB less below 1 kHz, vowels hardly louder than
    consonants (whispered vowels lack the voice's power; Jovicic and Saric 2008)."""
    batch, steps, _ = mel_db.shape
    envelope, _ = split_pitch(mel_db)
    hz = torch.from_numpy(mel_to_hz(np.linspace(hz_to_mel(np.array(F_MIN)), hz_to_mel(np.array(F_MAX)), N_MELS))).float()
    slope = torch.log2((1000.0 / hz).clamp(min=1.0)).clamp(max=3.0) / 3.0  # 0 above 1 kHz, 1 at 125 Hz
    cut = (8 + 12 * torch.rand(batch, 1, 1, generator=rng)) * slope
    level = envelope.logsumexp(-1, keepdim=True)
    top = level.amax(1, keepdim=True)
    even = (0.3 + 0.3 * torch.rand(batch, 1, 1, generator=rng)) * (top - level).clamp(0.0, 25.0)
    shape = -torch.log(torch.rand(batch, steps, N_MELS, 2, generator=rng).clamp(min=1e-3)).mean(-1)
    return (envelope - cut + even + 10 * torch.log10(shape)).clamp(min=FLOOR_DB)


def _place(hz: float) -> tuple[int, float]:
    """Mel below a frequency, and how far on the way to the next."""
    low, high = float(hz_to_mel(np.array(F_MIN))), float(hz_to_mel(np.array(F_MAX)))
    at = (float(hz_to_mel(np.array(hz))) - low) / (high - low) * (N_MELS + 1) - 1
    at = min(max(at, 0.0), N_MELS - 1.001)
    return int(at), at - int(at)


def _tune(rng: np.random.Generator) -> np.ndarray:
    """(BANK_STEPS, 80) power of a made-up accompaniment: chords that change and fade, and at times a beat."""
    out = np.zeros((BANK_STEPS, N_MELS))
    length, fade = int(rng.integers(25, 120)), rng.uniform(0.1, 1.5)
    for start in range(0, BANK_STEPS, length):
        stop = min(start + length, BANK_STEPS)
        decay = np.exp(-np.arange(stop - start) * 0.01 / fade)
        root = 80.0 * 2 ** rng.uniform(0, 2.5)
        for note in rng.choice([0, 3, 4, 7, 10, 12, 16, 19], int(rng.integers(1, 5)), replace=False):
            for k in range(1, 9):
                hz = root * 2 ** (note / 12) * k
                if hz > F_MAX:
                    break
                at, part = _place(hz)
                out[start:stop, at : at + 2] += decay[:, None] * k**-2.0 * np.array([1 - part, part])
    if rng.random() < 0.5:
        beat, shape = int(rng.integers(20, 60)), np.exp(-np.arange(12) / 4.0)[:, None] * np.linspace(0.5, 1, N_MELS) / N_MELS
        for start in range(0, BANK_STEPS - 12, beat):
            out[start : start + 12] += rng.uniform(0.5, 3) * shape
    return out / np.quantile(out.sum(1), 0.95).clip(min=1e-9)


@lru_cache(maxsize=1)
def _bank() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([_tune(rng) for _ in range(BANK)])).float()


def music(batch: int, steps: int, rng: torch.Generator) -> torch.Tensor:
    """(batch, steps, 80) power of background music whose loud frames have power 1."""
    chosen = torch.randint(BANK, (batch,), generator=rng)
    begin = torch.randint(BANK_STEPS, (batch, 1), generator=rng)
    at = (begin + torch.arange(steps)[None]) % BANK_STEPS
    return _bank()[chosen[:, None], at]
