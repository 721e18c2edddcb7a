"""Any recording to 16 kHz mono samples, with the exact length of the original kept for the frame count."""

from __future__ import annotations

import warnings
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vasa_cli.speech.audio_reader import SpeechReader, checked, digest, first_that_can, no_sound, within
from vasa_cli.speech.audio_resample import QUALITY, RATE

__all__ = ["RATE", "Speech", "SpeechReader", "load_speech", "n_frames", "resample", "silences", "write_wav"]


@dataclass(frozen=True)
class Speech:
    """What the models hear: samples (N,) float32 mono 16 kHz in [-1, 1]; source_samples counts at source_rate; sha256 is the
    file's."""

    samples: np.ndarray
    source_rate: int
    source_samples: int
    sha256: str

    @property
    def seconds(self) -> float:
        """Length of the original."""
        return self.source_samples / self.source_rate


def n_frames(samples: int, rate: int, fps: Fraction | int) -> int:
    """Video frames that cover the sound: ceil(samples * fps / rate), in integers."""
    fps = Fraction(fps)
    return -(-samples * fps.numerator // (rate * fps.denominator))


def load_speech(path: Path) -> Speech:
    """Read a recording (or a video's sound): libsndfile first, then ffmpeg for all else. Stereo is averaged.

    Raises InputError (exit 3) when the file is missing, empty, holds no sound or cannot be decoded.
    """
    path = Path(path)
    sha256 = digest(path)
    rate, parts = first_that_can(path, lambda d: (d.rate, list(within(path, d.rate, d.blocks()))))
    samples = checked(path, np.concatenate([np.zeros(0, np.float32), *parts]))
    if len(samples) == 0:
        raise no_sound(path)
    return Speech(resample(samples, rate), rate, len(samples), sha256)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """(N,) at `rate` to ceil(N * 16000 / rate) samples at 16 kHz, float32 clipped to [-1, 1]. The same on every run."""
    mono = np.asarray(samples, dtype=np.float32)
    if rate != RATE:
        import soxr

        mono = np.asarray(soxr.resample(mono, rate, RATE, quality=QUALITY), dtype=np.float32)
    wanted = -(-len(samples) * RATE // rate)
    mono = np.pad(mono, (0, max(0, wanted - len(mono))))[:wanted]
    return np.ascontiguousarray(np.clip(mono, -1.0, 1.0))


def silences(speech: Speech, *, shortest_ms: int = 300, below_db: float = 35.0) -> list[tuple[float, float]]:
    """(start, end) in seconds of silences of at least `shortest_ms`, quieter than `below_db` under the recording's own
    loudness (pydub)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pydub misses a system ffmpeg, which it does not need here
        from pydub import AudioSegment
        from pydub.silence import detect_silence

    pcm = (speech.samples * 32767.0).astype("<i2")
    segment = AudioSegment(pcm.tobytes(), frame_rate=RATE, sample_width=2, channels=1)
    if segment.max_dBFS < -60.0:
        return [(0.0, len(speech.samples) / RATE)]
    threshold = max(segment.dBFS - below_db, -60.0)
    return [(a / 1000.0, b / 1000.0) for a, b in detect_silence(segment, shortest_ms, threshold, seek_step=10)]


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """(N,) float in [-1, 1] to a 16-bit mono WAV file (for tests and demonstrations)."""
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
