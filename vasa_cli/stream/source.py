"""Where the sound comes from: standard input, a FIFO, or a file; read by a thread of its own into a bounded buffer."""

from __future__ import annotations

import os
import select
import stat
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from vasa_cli.errors import InputError, VasaError
from vasa_cli.files import check_input
from vasa_cli.stream.pcm import PcmDecoder, PcmFormat, WavReader

BUFFER_SECONDS = 10.0  # sound that may wait to be heard; then its producer has to
PACE_SECONDS = 0.02  # pieces in which a file is paced, as microphones deliver
_READ_BYTES = 1 << 16
_LOOK_SECONDS = 0.2  # how often a thread that waits looks whether it should end


@dataclass(frozen=True)
class SoundInput:
    """path: a file or FIFO, None for standard input. form: raw PCM; None where a WAV header (or, in a file, whatever ffmpeg
    reads) tells. realtime: pace the sound like a microphone."""

    path: Path | None = None
    form: PcmFormat | None = None
    realtime: bool = False

    @property
    def name(self) -> str:
        return "stdin" if self.path is None else self.path.name

    @property
    def decoded(self) -> bool:
        """Whether ffmpeg decodes it: a regular file whose samples were not described."""
        return self.path is not None and self.form is None and self.path.is_file()


@dataclass(frozen=True)
class Piece:
    """samples (n, C) float32; arrival: when the last of them came, seconds of time.monotonic."""

    samples: np.ndarray
    arrival: float


class SoundBuffer:
    """A bounded queue of sound between the reader and the engine."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._held = 0
        self._limit = 0  # samples; 0: unbounded until the rate is known
        self._changed = threading.Condition()
        self._ended = self._closed = self._woken = False
        self._error: VasaError | None = None

    def bound(self, samples: int) -> None:
        with self._changed:
            self._limit = samples

    def put(self, samples: np.ndarray) -> bool:
        """Wait for room and add; False when nobody listens any more."""
        if len(samples) == 0:
            return not self._closed
        with self._changed:
            self._pieces.append(Piece(samples, time.monotonic()))
            self._held += len(samples)
            self._changed.notify_all()
            while self._limit and self._held > self._limit and not self._closed:
                self._changed.wait(_LOOK_SECONDS)
            return not self._closed

    def end(self, error: VasaError | None = None) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody listens any more."""
        with self._changed:
            self._closed = True
            self._pieces.clear()
            self._changed.notify_all()

    def get(self, most: int, timeout: float) -> Piece | None:
        """At most so many samples; None when none came within `timeout` seconds, at the end, or after `wake`. Raises what the
        reader met."""
        with self._changed:
            if not self._pieces and not self._ended and not self._woken and timeout > 0:
                self._changed.wait(timeout)
            self._woken = False
            if not self._pieces:
                if self._ended and self._error is not None:
                    raise self._error
                return None
            piece = self._pieces.popleft()
            if len(piece.samples) > most:
                self._pieces.appendleft(Piece(piece.samples[most:], piece.arrival))
                piece = Piece(piece.samples[:most], piece.arrival)
            self._held -= len(piece.samples)
            self._changed.notify_all()
            return piece

    def wake(self) -> None:
        """Let `get` return: there is something else to do."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Nothing is left and nothing will come."""
        with self._changed:
            return self._ended and not self._pieces

    @property
    def empty(self) -> bool:
        """Nothing is there, but something may come."""
        with self._changed:
            return not self._ended and not self._pieces


class SoundSource:
    """Reads a `SoundInput` in the background: `open`, `form` (waits for the header), `go`, then `get` until `ended`; `close`."""

    def __init__(self, sound: SoundInput, note: Callable[[str], None] = lambda text: None) -> None:
        self.sound, self._note = sound, note
        self.buffer = SoundBuffer()
        self._known = threading.Event()
        self._go = threading.Event()
        self._stop = threading.Event()
        self._form: PcmFormat | None = sound.form
        self._began: float | None = None  # when paced sound began to run
        self._paced = 0  # samples of it so far
        self._decoder: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="sound in", daemon=True)
        if sound.form is not None:
            self._learn(sound.form)

    def open(self) -> None:
        """Begin to read. Raises InputError when the file cannot be."""
        if self.sound.path is not None and not is_fifo(self.sound.path):  # to look into a FIFO would take from it
            check_input(self.sound.path, "recording")
        self._thread.start()

    def form(self) -> PcmFormat:
        """The input's rate and channels, as soon as its header is there. Raises InputError when none can be read."""
        while not self._known.wait(_LOOK_SECONDS):  # in pieces, so that Ctrl-C is heard
            pass
        if self._form is None:
            self.buffer.get(1, 0)  # raises what the reader met
            raise InputError(f"{self.sound.name}: no sound came")
        return self._form

    def go(self) -> None:
        """Let paced sound run: there is somebody who hears it."""
        self._go.set()

    def get(self, most: int, timeout: float) -> Piece | None:
        return self.buffer.get(most, timeout)

    def wake(self) -> None:
        """Let `get` return, from any thread."""
        self.buffer.wake()

    @property
    def ended(self) -> bool:
        return self.buffer.ended

    @property
    def empty(self) -> bool:
        """No sound waits, and some may still come."""
        return self.buffer.empty

    def close(self) -> None:
        """Stop reading. Does not wait for a reader that nobody writes to."""
        self._stop.set()
        self._go.set()
        self.buffer.close()
        if self._decoder is not None and self._decoder.poll() is None:
            self._decoder.kill()
            self._decoder.wait()

    # ------------------------------------------------------------------------------------------------ the thread

    def _run(self) -> None:
        error: VasaError | None = None
        try:
            fd = self._open_fd()
            try:
                self._read(fd)
            finally:
                if fd != 0:
                    os.close(fd)
            self._check_decoder()
        except VasaError as e:
            error = e
        except OSError as e:
            error = InputError(f"{self.sound.name}: cannot be read ({e.strerror or e})")
        self.buffer.end(error)
        self._known.set()

    def _open_fd(self) -> int:
        path = self.sound.path
        if path is None:
            return 0
        if not self.sound.decoded:
            return os.open(path, os.O_RDONLY)  # a FIFO: waits for its writer
        from vasa_cli.video.ffmpeg import file_url, find_ffmpeg, safe_words

        command = [
            str(find_ffmpeg()), "-v", "error", "-nostdin", *safe_words(), "-i", file_url(path), "-map", "0:a:0", "-af",
            "aformat=channel_layouts=mono|stereo", "-c:a", "pcm_f32le", "-fflags", "+bitexact", "-f", "wav", "pipe:1",
        ]  # fmt: skip
        self._complaints = tempfile.TemporaryFile()  # a pipe that nobody reads would fill up  # noqa: SIM115
        self._decoder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._complaints, start_new_session=True
        )
        assert self._decoder.stdout is not None
        return os.dup(self._decoder.stdout.fileno())

    def _check_decoder(self) -> None:
        """Raises InputError when ffmpeg decoded nothing at all; a broken end only shortens the sound."""
        if self._decoder is None or self._complaints is None or self._stop.is_set() or self._decoder.wait() == 0:
            return
        self._complaints.seek(0)
        why = self._complaints.read().decode(errors="replace").strip().splitlines()
        if self._form is None:
            raise InputError(f"{self.sound.name}: is not a recording that can be decoded; give WAV, FLAC, MP3, OGG or M4A")
        self._note(f"{self.sound.name}: ended early ({why[-1] if why else 'no message'})")

    def _read(self, fd: int) -> None:
        wav = WavReader(self.sound.name) if self.sound.form is None else None
        decoder = PcmDecoder(self.sound.form) if self.sound.form is not None else None
        while not self._stop.is_set():
            data = self._next(fd)
            if data is None:
                continue
            if not data and self._decoder is not None and self._form is None:
                return  # ffmpeg gave nothing; it says why
            sound = data if wav is None else wav.push(data) if data else wav.finish()
            if decoder is None and wav is not None and wav.form is not None:
                decoder = PcmDecoder(wav.form)
                self._learn(wav.form)
            if decoder is not None and not self._deliver(decoder.push(sound)):
                return
            if not data:
                return

    def _next(self, fd: int) -> bytes | None:
        """What can be read now: b"" at the end, None when nothing came for a while."""
        if not select.select([fd], [], [], _LOOK_SECONDS)[0]:
            return None
        try:
            return os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return None

    def _learn(self, form: PcmFormat) -> None:
        self._form = form
        self.buffer.bound(int(BUFFER_SECONDS * form.rate))
        self._known.set()

    def _deliver(self, samples: np.ndarray) -> bool:
        """Into the buffer, at once or at a microphone's pace; False when nobody listens any more."""
        if not self.sound.realtime:
            return self.buffer.put(samples)
        assert self._form is not None
        self._go.wait()
        step = max(1, round(PACE_SECONDS * self._form.rate))
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            self._began = time.monotonic() if self._began is None else self._began
            self._paced += len(piece)
            early = self._began + self._paced / self._form.rate - time.monotonic()
            if (early > 0 and self._stop.wait(early)) or not self.buffer.put(piece):
                return False
        return True


def is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False
