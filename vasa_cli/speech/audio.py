"""Any recording to 16 kHz mono samples, with the exact length of the original kept for the frame count."""

from __future__ import annotations

import hashlib
import subprocess
import warnings
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vasa_cli.errors import InputError

RATE = 16000
MAX_CHANNELS = 64


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
    digest = _digest(path)
    decoded = _read_soundfile(path) or _read_ffmpeg(path)
    samples, rate = decoded
    if len(samples) == 0:
        raise InputError(f"{path.name} holds no sound; give a recording with at least one sample")
    if not np.isfinite(samples).all():
        raise InputError(f"{path.name} holds values that are not numbers; export it again as WAV or FLAC")
    return Speech(resample(samples, rate), rate, len(samples), digest)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """(N,) at `rate` to ceil(N * 16000 / rate) samples at 16 kHz, float32 clipped to [-1, 1]. The same on every run."""
    mono = np.asarray(samples, dtype=np.float32)
    if rate != RATE:
        import soxr

        mono = np.asarray(soxr.resample(mono, rate, RATE, quality="HQ"), dtype=np.float32)
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


def _digest(path: Path) -> str:
    """sha256 of an existing, non-empty file."""
    if not path.exists():
        raise InputError(f"no such file: {path}; check the name of the recording")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the recording in it")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as f:
            while chunk := f.read(1 << 20):
                digest.update(chunk)
        size = path.stat().st_size
    except OSError as e:
        raise InputError(f"{path.name} cannot be read ({e.strerror}); check its permissions") from e
    if size == 0:
        raise InputError(f"{path.name} is empty (0 bytes); give a recording")
    return digest.hexdigest()


def _read_soundfile(path: Path) -> tuple[np.ndarray, int] | None:
    """Mono samples and rate, or None when libsndfile does not know the format (or finds it broken: ffmpeg may still read it)."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as f:
            if f.channels > MAX_CHANNELS:
                return None
            parts = [block.mean(axis=1) for block in f.blocks(blocksize=1 << 18, dtype="float32", always_2d=True)]
            rate = int(f.samplerate)
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        return None
    return (np.concatenate(parts) if parts else np.zeros(0, np.float32)), rate


def _read_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    """Mono samples and rate of the first sound stream, through ffmpeg. Raises InputError in one line."""
    import ffmpeg

    from vasa_cli.video.ffmpeg import find_ffmpeg

    graph = (
        ffmpeg.input(str(path.resolve()))["a:0"]
        .output("pipe:", format="wav", acodec="pcm_s16le", ac=1)
        .global_args("-v", "error", "-nostdin")
    )
    command = ffmpeg.compile(graph, cmd=str(find_ffmpeg()))
    try:
        result = subprocess.run(command, capture_output=True, check=False, timeout=600)
    except subprocess.TimeoutExpired as e:
        raise InputError(f"{path.name} could not be decoded within 10 minutes; convert it to WAV or FLAC") from e
    if result.returncode != 0 or len(result.stdout) <= 44:
        raise InputError(_why(path, result.stderr.decode("utf-8", "replace")))
    return _parse_wav(path, result.stdout)


def _parse_wav(path: Path, data: bytes) -> tuple[np.ndarray, int]:
    """16-bit mono WAV written to a pipe: its header cannot know the length, so the rest of the stream is the sound."""
    at = data.find(b"data", 12)
    if data[:4] != b"RIFF" or at < 0:
        raise InputError(f"{path.name} gave no readable sound; convert it to WAV or FLAC")
    rate = int.from_bytes(data[24:28], "little")
    body = data[at + 8 :]
    return np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(np.float32) / 32768.0, rate


def _why(path: Path, errors: str) -> str:
    """One line from ffmpeg's complaints."""
    if "matches no streams" in errors or "does not contain any stream" in errors:
        return f"{path.name} has no sound track; give a recording or a video with sound"
    return f"{path.name} is not a recording that can be decoded; give WAV, FLAC, MP3, OGG, M4A or a video with sound"


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """(N,) float in [-1, 1] to a 16-bit mono WAV file (for tests and demonstrations)."""
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
