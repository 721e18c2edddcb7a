"""Recordings read block by block: the length is known at once, memory never grows with it."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.limits import check_duration, check_sound, max_duration
from vasa_cli.speech.audio_resample import Resampler

BLOCK = 1 << 16  # samples of the source
TIMEOUT = 600.0  # seconds that ffmpeg may take to decode everything
COUNTED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF")  # with plain PCM, libsndfile counts by the size of the file

T = TypeVar("T")


class SpeechReader:
    """A recording, or a video's sound: .source_rate, .source_samples and .sha256 at once, the sound in blocks.

    libsndfile first, then ffmpeg for all else; stereo is averaged. Plain PCM is counted by its size, everything else by decoding
    it once (an hour of FLAC at 48 kHz takes two seconds). Raises InputError (exit 3) as `audio.load_speech` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.sha256 = digest(self.path)
        self._decoder, self.source_samples = first_that_can(self.path, lambda d: (d, d.count()))
        self.source_rate = self._decoder.rate
        if self.source_samples == 0:
            raise no_sound(self.path)

    @property
    def seconds(self) -> float:
        """Length of the original."""
        return self.source_samples / self.source_rate

    def blocks(self) -> Iterator[np.ndarray]:
        """(n,) float32 mono 16 kHz blocks, the samples of `audio.load_speech`; ceil(source_samples * 16000 / source_rate) in
        all. Can be asked for again."""
        resampler = Resampler(self.source_rate, exact=True)
        left = self.source_samples
        for block in self._decoder.blocks():
            yield resampler.push(block[:left])
            left -= min(left, len(block))
        if left:
            raise InputError(f"{self.path.name} became shorter while it was read; leave it alone until the end")
        yield resampler.finish()


class SoundFile:
    """What libsndfile reads. Its errors (LibsndfileError is a RuntimeError) mean that ffmpeg should try."""

    def __init__(self, path: Path) -> None:
        import soundfile

        self.path = path
        with soundfile.SoundFile(str(path)) as f:
            check_sound(path.name, f.samplerate, f.channels)
            self.rate = int(f.samplerate)
            plain = f.format in COUNTED and f.subtype.startswith("PCM_")
            self.known = int(f.frames) if plain else None
            if plain:
                check_duration(path.name, f.frames / self.rate)

    def blocks(self) -> Iterator[np.ndarray]:
        """Mono blocks at the source's rate."""
        import soundfile

        with soundfile.SoundFile(str(self.path)) as f:
            for block in f.blocks(blocksize=BLOCK, dtype="float32", always_2d=True):
                yield block.mean(axis=1)

    def count(self) -> int:
        """Samples that `blocks` will give. Raises InputError for values that are not numbers."""
        if self.known is not None:
            return self.known
        return sum(len(checked(self.path, b)) for b in within(self.path, self.rate, self.blocks()))


class Ffmpeg:
    """What ffmpeg reads: the first sound stream as 16-bit mono through a pipe. Raises InputError in one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rate = 0
        next(self.blocks(), None)  # the rate stands in the header of what comes

    def count(self) -> int:
        """Samples that `blocks` will give."""
        return sum(len(b) for b in within(self.path, self.rate, self.blocks(TIMEOUT)))

    def blocks(self, timeout: float | None = None) -> Iterator[np.ndarray]:
        """Mono blocks at the source's rate. timeout: seconds for the whole, where the reader does not wait in between."""
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(self._command(), stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            late = threading.Event()

            def stop() -> None:
                late.set()
                process.kill()

            clock = threading.Timer(timeout or TIMEOUT, stop)
            if timeout is not None:
                clock.start()
            try:
                yield from self._parse(process)
                ended = process.wait()
                if late.is_set():
                    raise InputError(f"{self.path.name} could not be decoded within 10 minutes; convert it to WAV or FLAC")
                if ended != 0 or self.rate == 0:
                    errors.seek(0)
                    raise InputError(_why(self.path, errors.read(1 << 16).decode("utf-8", "replace")))
            finally:
                clock.cancel()
                process.kill()

    def _command(self) -> list[str]:
        import ffmpeg

        from vasa_cli.video.ffmpeg import file_url, find_ffmpeg, safe_input

        graph = ffmpeg.input(file_url(self.path), **safe_input())["a:0"].output("pipe:", format="wav", acodec="pcm_s16le", ac=1)
        return list(ffmpeg.compile(graph.global_args("-v", "error", "-nostdin"), cmd=str(find_ffmpeg())))

    def _parse(self, process: subprocess.Popen[bytes]) -> Iterator[np.ndarray]:
        """WAV written to a pipe: its header cannot know the length, so the rest of the stream is the sound."""
        assert process.stdout is not None
        data = process.stdout.read(1 << 12)  # fewer bytes only where there are no more
        at = data.find(b"data", 12)
        if len(data) <= 44:
            return
        if data[:4] != b"RIFF" or at < 0:
            raise InputError(f"{self.path.name} gave no readable sound; convert it to WAV or FLAC")
        self.rate = int.from_bytes(data[24:28], "little")
        check_sound(self.path.name, self.rate)
        data = data[at + 8 :]
        while data:
            whole = len(data) // 2 * 2
            yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768.0
            more = process.stdout.read(2 * BLOCK)
            data = data[whole:] + more if more else b""


def first_that_can(path: Path, work: Callable[[SoundFile | Ffmpeg], T]) -> T:
    """What `work` makes with libsndfile or, where that fails anywhere on the way, with ffmpeg. Raises InputError."""
    try:
        return work(SoundFile(path))
    except (RuntimeError, OSError):
        return work(Ffmpeg(path))


def within(path: Path, rate: int, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, as long as their sum lasts no longer than is allowed: a few kilobytes can hold days. Raises InputError."""
    left = int(max_duration() * rate)
    for block in blocks:
        left -= len(block)
        if left < 0:
            raise InputError(
                f"{path.name}: lasts longer than the {max_duration():g} s that are allowed; cut it, or raise --max-duration"
            )
        yield block


def checked(path: Path, samples: np.ndarray) -> np.ndarray:
    """The samples, if all are numbers. Raises InputError."""
    if not np.isfinite(samples).all():
        raise InputError(f"{path.name} holds values that are not numbers; export it again as WAV or FLAC")
    return samples


def no_sound(path: Path) -> InputError:
    """For a recording of no length."""
    return InputError(f"{path.name} holds no sound; give a recording with at least one sample")


def digest(path: Path) -> str:
    """Hex sha256 of an existing, non-empty file. Raises InputError."""
    if not path.exists():
        raise InputError(f"no such file: {path}; check the name of the recording")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the recording in it")
    found = hashlib.sha256()
    try:
        with path.open("rb") as f:
            while chunk := f.read(1 << 20):
                found.update(chunk)
        size = path.stat().st_size
    except OSError as e:
        raise InputError(f"{path.name} cannot be read ({e.strerror}); check its permissions") from e
    if size == 0:
        raise InputError(f"{path.name} is empty (0 bytes); give a recording")
    return found.hexdigest()


def _why(path: Path, errors: str) -> str:
    """One line from ffmpeg's complaints."""
    if "matches no streams" in errors or "does not contain any stream" in errors:
        return f"{path.name} has no sound track; give a recording or a video with sound"
    return f"{path.name} is not a recording that can be decoded; give WAV, FLAC, MP3, OGG, M4A or a video with sound"
