"""Other voices, rooms and microphones, made in the mel domain: cheap enough for every crop of every step.

Children, whispering and music come from `vasa_cli/training/speech_hard.py`. All functions take and give mel power in dB,
(B, K, 80); see `vasa_cli/speech/mel.py` for the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vasa_cli.speech.mel import F_MAX, F_MIN, FLOOR_DB, N_MELS, hz_to_mel, mel_to_hz
from vasa_cli.training.speech_hard import music, split_pitch, whispered


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes; chances are per crop."""

    warp: float = 0.20  # vocal tract: frequencies scaled by up to 1 +- warp
    eq_db: float = 5.0
    tilt_db: float = 8.0
    telephone: float = 0.08
    reverb: float = 0.35
    noise: float = 0.5
    babble: float = 0.15
    child: float = 0.12  # formants up 12-40 %, pitch up 20-100 %
    whisper: float = 0.06  # noise instead of a voice
    music: float = 0.15
    gain_db: tuple[float, float] = (-30.0, 3.0)
    masks: int = 2
    mask_width: int = 9


def _centres() -> np.ndarray:
    return mel_to_hz(np.linspace(hz_to_mel(np.array(F_MIN)), hz_to_mel(np.array(F_MAX)), N_MELS + 2)[1:-1])


def warp_frequency(mel_db: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Scale the frequency axis: factor (B,) > 1 shortens the vocal tract. Linear interpolation between mels; ends repeat."""
    hz = torch.from_numpy(_centres()).float()
    wanted = torch.from_numpy(hz_to_mel((hz[None] / factor[:, None]).numpy())).float()  # (B, 80) mel value each output reads from
    low, high = float(hz_to_mel(hz[0].numpy())), float(hz_to_mel(hz[-1].numpy()))
    at = ((wanted - low) / (high - low) * (N_MELS - 1)).clamp(0, N_MELS - 1.001)  # (B, 80)
    left = at.floor().long()
    part = (at - left).unsqueeze(1)  # (B, 1, 80)
    index = left.unsqueeze(1).expand(-1, mel_db.shape[1], -1)
    return torch.gather(mel_db, 2, index) * (1 - part) + torch.gather(mel_db, 2, index + 1) * part


def colour(shape: tuple[int, int], config: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Random smooth equaliser and tilt, (B, 1, 80) dB."""
    batch = shape[0]
    axis = torch.linspace(-1, 1, N_MELS)
    curve = (torch.rand(batch, 1, generator=rng) * 2 - 1) * config.tilt_db * axis
    for order in (1, 2, 3, 5):
        size = torch.randn(batch, 1, generator=rng) * config.eq_db / (2 * order**0.5)
        phase = torch.rand(batch, 1, generator=rng) * 6.283
        curve = curve + size * torch.cos(order * 3.1416 * axis + phase)
    phone = (torch.rand(batch, 1, generator=rng) < config.telephone).float()
    hz = torch.from_numpy(_centres()).float()
    cut = ((hz < 300) | (hz > 3400)).float() * -45.0
    return (curve + phone * cut).unsqueeze(1)


def reverberate(power: torch.Tensor, config: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Exponential tails (B, K, 80): T60 of 0.1-0.7 s, late energy 3-20 dB below the direct sound."""
    batch = power.shape[0]
    decay = 0.1 + 0.6 * torch.rand(batch, generator=rng)
    late = 10 ** (-(3 + 17 * torch.rand(batch, generator=rng)) / 10) * (torch.rand(batch, generator=rng) < config.reverb)
    steps = torch.arange(1, 41).float()
    kernel = 10 ** (-6.0 * steps[None] * 0.01 / decay[:, None])  # (B, 40)
    kernel = kernel / kernel.sum(1, keepdim=True) * late[:, None]
    kernel = torch.cat([torch.ones(batch, 1), kernel], dim=1).flip(1).unsqueeze(1)  # (B, 1, 41)
    x = torch.nn.functional.pad(power.permute(2, 0, 1), (40, 0))  # (80, B, K + 40)
    return torch.nn.functional.conv1d(x, kernel, groups=batch).permute(1, 2, 0)


def revoice(mel_db: torch.Tensor, config: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Another vocal tract for most crops; a child's for some (formants and pitch move by factors of their own); whispering for a
    few."""
    batch = mel_db.shape[0]
    factor = 1 + config.warp * (torch.rand(batch, generator=rng) * 2 - 1)
    factor = torch.where(torch.rand(batch, generator=rng) < 0.2, torch.ones(()), factor)
    out = warp_frequency(mel_db, factor)
    child = torch.nonzero(torch.rand(batch, generator=rng) < config.child)[:, 0]
    if len(child):
        envelope, detail = split_pitch(mel_db[child])
        formants = 1.12 + 0.28 * torch.rand(len(child), generator=rng)
        pitch = 1.2 + 0.8 * torch.rand(len(child), generator=rng)
        out[child] = warp_frequency(envelope, formants) + warp_frequency(detail, pitch)
    hushed = torch.nonzero(torch.rand(batch, generator=rng) < config.whisper)[:, 0]
    if len(hushed):
        out[hushed] = whispered(out[hushed], rng)
    return out


def add_noise(power: torch.Tensor, config: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Stationary coloured noise and, at times, another crop of the batch as background voices."""
    batch, steps, _ = power.shape
    loud = torch.quantile(power.sum(-1), 0.95, dim=1)  # (B,)
    snr = 3 + 35 * torch.rand(batch, generator=rng)
    on = (torch.rand(batch, generator=rng) < config.noise).float()
    shape = 10 ** (colour((batch, 1), AugmentConfig(eq_db=8.0, tilt_db=15.0, telephone=0.0), rng) / 10)  # (B, 1, 80)
    shape = shape / shape.sum(-1, keepdim=True)
    jitter = -torch.log(torch.rand(batch, steps, N_MELS, generator=rng).clamp(min=1e-3))
    noise = shape * (0.4 + 0.6 * jitter) * (on * loud * 10 ** (-snr / 10))[:, None, None]
    level = power / loud.clamp(min=1e-12)[:, None, None]
    voices = torch.roll(level, 1, dims=0)
    crowd = (torch.rand(batch, generator=rng) < 0.5).float()[:, None, None]  # half of the time several voices at once
    voices = voices + crowd * (torch.roll(level, 2, dims=0) + torch.roll(level, (3, 131), dims=(0, 1)))
    back = (torch.rand(batch, generator=rng) < config.babble).float() * 10 ** (-(5 + 17 * torch.rand(batch, generator=rng)) / 10)
    played = (torch.rand(batch, generator=rng) < config.music).float() * 10 ** (-(3 + 19 * torch.rand(batch, generator=rng)) / 10)
    behind = voices * back[:, None, None] + music(batch, steps, rng) * played[:, None, None]
    return power + noise + behind * loud[:, None, None]


def augment(mel_db: torch.Tensor, config: AugmentConfig, rng: torch.Generator) -> torch.Tensor:
    """Every change at once, (B, K, 80) to the same. Masks are left to `mask`, which acts on the normalised input."""
    batch = mel_db.shape[0]
    x = revoice(mel_db, config, rng) + colour((batch, 1), config, rng)
    power = torch.pow(10.0, x / 10.0)
    power = add_noise(reverberate(power, config, rng), config, rng)
    low, high = config.gain_db
    gain = low + (high - low) * torch.rand(batch, generator=rng) ** 0.5
    return 10.0 * torch.log10(power * torch.pow(10.0, gain / 10.0)[:, None, None] + 10.0 ** (FLOOR_DB / 10.0))


def mask(x: torch.Tensor, config: AugmentConfig, rng: np.random.Generator) -> torch.Tensor:
    """SpecAugment (Park et al. 2019) on normalised mel (B, K, 80): bands and short spans set to the floor value, in place."""
    for b in range(x.shape[0]):
        for _ in range(int(rng.integers(0, config.masks + 1))):
            start = int(rng.integers(0, N_MELS - config.mask_width))
            x[b, :, start : start + int(rng.integers(1, config.mask_width))] = 0.0
        if rng.random() < 0.5:
            start = int(rng.integers(0, x.shape[1] - 8))
            x[b, start : start + int(rng.integers(1, 8))] = -1.5
    return x
