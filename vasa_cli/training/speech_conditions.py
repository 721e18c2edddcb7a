"""Hard listening for tests of the speech features: recordings spoilt as the world spoils them, timing untouched.

All take and give (N,) float32 at 16 kHz of the same length. Made on the waveform, unlike the training's changes in the mel
domain, so that the tests do not repeat what was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from vasa_cli.speech.audio import RATE
from vasa_cli.training.speech_data import FRAME_SAMPLES, LipClip

WINDOW, HOP = 512, 128
LIFTER = 40  # cepstral coefficients kept: formants without harmonics below 400 Hz


def _mix(sound: np.ndarray, other: np.ndarray, snr_db: float) -> np.ndarray:
    """Sound with another one behind it, repeated to its length; the ratio counts the sound's loud half."""
    behind = np.resize(other, len(sound))
    power = np.mean(np.sort(sound**2)[len(sound) // 2 :])
    gain = np.sqrt(power / 10 ** (snr_db / 10) / max(float(np.mean(behind**2)), 1e-12))
    return np.asarray(sound + gain * behind, dtype=np.float32)


def babble(sound: np.ndarray, others: Sequence[np.ndarray], snr_db: float = 10.0) -> np.ndarray:
    """Four or so voices behind the speaker."""
    voices = [np.resize(o / max(float(np.sqrt(np.mean(o**2))), 1e-6), len(sound)) for o in others]
    return _mix(sound, np.sum(voices, axis=0), snr_db)


def with_music(sound: np.ndarray, snr_db: float = 10.0, seed: int = 0) -> np.ndarray:
    """Plucked chords behind the speaker, two a second."""
    rng = np.random.default_rng(seed)
    tune = np.zeros(len(sound) + RATE)
    t = np.arange(RATE) / RATE
    for start in range(0, len(sound), RATE // 2):
        root = 110 * 2 ** (rng.integers(0, 12) / 12)
        for note in (0, 4, 7, 12):
            for k in range(1, 7):
                tune[start : start + RATE] += np.sin(6.2832 * root * 2 ** (note / 12) * k * t) * np.exp(-3 * t) / k
    return _mix(sound, tune[: len(sound)], snr_db)


def _spectrum(sound: np.ndarray) -> torch.Tensor:
    """(257, K) complex."""
    return torch.stft(torch.from_numpy(sound), WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)


def _back(spectrum: torch.Tensor, length: int) -> np.ndarray:
    sound = torch.istft(spectrum, WINDOW, HOP, window=torch.hann_window(WINDOW), length=length)
    return np.asarray(sound.numpy(), dtype=np.float32)


def whisper(sound: np.ndarray, seed: int = 0) -> np.ndarray:
    """The spectrum's smooth envelope (cepstral lifter) on white noise, 15 dB less below 500 Hz: speech without a voice."""
    spectrum = _spectrum(sound)
    log = torch.log(spectrum.abs() + 1e-5)
    cepstrum = torch.fft.irfft(log, n=WINDOW, dim=0)
    cepstrum[LIFTER : WINDOW - LIFTER + 1] = 0.0
    envelope = torch.exp(torch.fft.rfft(cepstrum, n=WINDOW, dim=0).real)
    hz = torch.linspace(0, RATE / 2, len(envelope))[:, None]
    cut = 10 ** (-15.0 * (1 - (hz / 1000).clamp(max=1.0)) / 20)
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(sound)).astype(np.float32))
    return _back(_spectrum(noise.numpy()) * envelope * cut / WINDOW**0.5, len(sound))


def child(sound: np.ndarray, factor: float = 1.25) -> np.ndarray:
    """Pitch and formants up by a factor, tempo kept: played faster, then drawn out again by a phase vocoder."""
    import soxr

    fast = np.asarray(soxr.resample(sound, RATE * factor, RATE), dtype=np.float32)
    spectrum = _spectrum(fast)
    at = torch.arange(0, spectrum.shape[1] - 1, 1 / factor)
    left = at.long()
    part = at - left
    size = spectrum.abs()
    size = size[:, left] * (1 - part) + size[:, left + 1] * part
    expected = 2 * torch.pi * HOP * torch.arange(spectrum.shape[0])[:, None] / WINDOW
    turn = spectrum[:, left + 1].angle() - spectrum[:, left].angle() - expected
    turn = turn - 2 * torch.pi * torch.round(turn / (2 * torch.pi)) + expected
    phase = torch.cumsum(turn, dim=1) + spectrum[:, :1].angle()
    return _back(torch.polar(size, phase), len(sound))


def telephone(sound: np.ndarray) -> np.ndarray:
    """300-3400 Hz, eight bits on the mu-law scale (ITU-T G.711)."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    band = np.fft.irfft(spectrum, len(sound))
    coded = np.round(np.sign(band) * np.log1p(255 * np.abs(band).clip(max=1)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(coded) * (256 ** np.abs(coded) - 1) / 255, dtype=np.float32)


def with_pause(sound: np.ndarray, frame: int, seconds: int = 1) -> np.ndarray:
    """Longer by `seconds`: digital silence before the given video frame."""
    gap = np.zeros(seconds * RATE, dtype=np.float32)
    return np.concatenate([sound[: frame * FRAME_SAMPLES], gap, sound[frame * FRAME_SAMPLES :]])


def conditions(clips: Sequence[LipClip]) -> dict[str, list[LipClip]]:
    """The clips as they are heard under each condition."""
    sounds = [c.samples for c in clips]

    def heard(change: Callable[[int, np.ndarray], np.ndarray]) -> list[LipClip]:
        return [replace(c, samples=change(i, c.samples)) for i, c in enumerate(clips)]

    def others(i: int) -> list[np.ndarray]:
        return [sounds[(i + k) % len(sounds)] for k in range(1, 5)]

    return {
        "babble, 10 dB": heard(lambda i, s: babble(s, others(i))),
        "music, 10 dB": heard(lambda i, s: with_music(s, seed=i)),
        "whispered": heard(lambda i, s: whisper(s, i)),
        "pitch and formants up 25 %": heard(lambda _, s: child(s)),
        "telephone": heard(lambda _, s: telephone(s)),
    }
