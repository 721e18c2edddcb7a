"""Loudness and voice: two slow curves that drive head and brows, at 25 Hz.

Pitch is the peak of the normalised autocorrelation (Boersma 1993, without the path search): simple, and robust enough for
"voiced, and how high".
"""

from __future__ import annotations

import torch

from vasa_cli.speech.mel import RATE

FRAME = 640
PITCH_WINDOW = 960  # 60 ms, centred on the frame
PITCH_RATE = 8000  # the search runs on every second sample
LOW_HZ, HIGH_HZ = 65.0, 420.0
REFERENCE_HZ = 150.0
LEFT = (PITCH_WINDOW - FRAME) // 2


def pitch_and_voicing(padded: torch.Tensor) -> torch.Tensor:
    """(LEFT + 640 T + LEFT,) samples to (T, 2): log2(pitch / 150 Hz) times voicing, and voicing 0..1.

    The product keeps the meaningless pitch of unvoiced frames at zero.
    """
    frames = padded.unfold(0, PITCH_WINDOW, FRAME)  # (T, 960)
    step = RATE // PITCH_RATE
    x = frames.reshape(frames.shape[0], -1, step).mean(-1)  # (T, 480) at 8 kHz
    x = (x - x.mean(1, keepdim=True)) * torch.hann_window(x.shape[1], periodic=False)
    spectrum = torch.fft.rfft(x, n=1024)
    auto = torch.fft.irfft(spectrum.abs().square(), n=1024)[:, : x.shape[1]]  # (T, 480)
    window = torch.hann_window(x.shape[1], periodic=False)
    shape = torch.fft.irfft(torch.fft.rfft(window, n=1024).abs().square(), n=1024)[: x.shape[1]]
    low, high = int(PITCH_RATE / HIGH_HZ), int(PITCH_RATE / LOW_HZ)
    power = auto[:, :1] + 1e-6 * x.shape[1]  # a floor at about -60 dB: silence has no voice
    curve = (auto / power / (shape / shape[0]).clamp(min=0.05))[:, low : high + 1]
    lags = torch.arange(low, high + 1).float()
    best = (curve - 0.02 * torch.log2(lags / low)).argmax(1)  # a slight preference for the shorter period avoids octave drops
    strength = curve.gather(1, best[:, None])[:, 0]
    voicing = ((strength - 0.35) / 0.45).clamp(0.0, 1.0)
    height = torch.log2(PITCH_RATE / lags[best] / REFERENCE_HZ)
    return torch.stack([height * voicing, voicing], dim=1)
