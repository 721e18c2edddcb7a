"""Whisper's own view of sound: 80 mel bands, 100 frames a second. For the phonetic teacher and for training."""

from __future__ import annotations

import numpy as np


def slaney_filters() -> np.ndarray:
    """(80, 201) mel filters of whisper (Slaney's scale, area 1) for 400-point spectra at 16 kHz."""

    def to_hz(mel: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(mel >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)), 200 * mel / 3))

    top = 15 + np.log(8000 / 1000) / (np.log(6.4) / 27)
    edges = to_hz(np.linspace(0, top, 82))
    slope = edges[:, None] - np.linspace(0, 8000, 201)
    width = np.diff(edges)[:, None]
    triangles = np.maximum(0, np.minimum(-slope[:-2] / width[:-1], slope[2:] / width[1:]))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float32)


def whisper_mel(sound: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Whisper's input (80, even K) of a piece, unpadded."""
    padded = np.pad(sound, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(sound) // 160 // 2 * 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1].astype(np.float32))) ** 2
    log = np.log10(np.maximum(filters @ power.T, 1e-10))
    return np.ascontiguousarray((np.maximum(log, log.max() - 8) + 4) / 4, dtype=np.float32)
