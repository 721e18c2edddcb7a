"""Frames and sound in, a stream out: coded by one ffmpeg, or raw. Nothing here waits for more than it needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from vasa_cli.errors import EncoderError
from vasa_cli.files import explain_write
from vasa_cli.stream.encode import RAW, Coding, command
from vasa_cli.stream.flv import FlvReader, Packet, Shape
from vasa_cli.stream.fmp4 import Mp4Muxer
from vasa_cli.stream.matroska import MkvMuxer
from vasa_cli.stream.pipes import QUEUE_FRAMES, ConsumerGone, PipeWriter, Target, is_broken_pipe, widen, write_all
from vasa_cli.video import provenance
from vasa_cli.video.ffmpeg import explain

_READ_BYTES = 1 << 16
_PATIENCE = 30  # seconds that ffmpeg may take to end when it has everything

Given = Callable[[], None]


class Sink(Protocol):
    """`sound` and `picture` raise ConsumerGone when nobody reads any more, EncoderError when coding failed."""

    def sound(self, samples: np.ndarray) -> None:
        """(n, C) float32, at the input's rate."""

    def picture(self, frame: np.ndarray, given: Given | None = None) -> None:
        """(H * 3 / 2, W) I420 or (H, W, 3) RGB, uint8; waits while QUEUE_FRAMES wait. given: called when it went on."""

    def check(self) -> None:
        """Raise what has happened since."""

    def finish(self) -> None:
        """All was given: a clean end, and the file gets its name."""

    def abort(self) -> None:
        """Leave at once. Safe to call at any time, and twice."""


def open_sink(coding: Coding, target: Target) -> Sink:
    """Raises EncoderError when the place cannot be written or ffmpeg not be started."""
    return RawSink(coding, target) if coding.container in RAW else CodedSink(coding, target)


class RawSink:
    """yuv4mpeg or bare RGB: pictures as they are, without sound."""

    def __init__(self, coding: Coding, target: Target) -> None:
        self._target = target
        self._writer = PipeWriter(target.open(), QUEUE_FRAMES, "pictures out")
        self._before = b""
        if coding.container == "y4m":
            self._before = b"FRAME\n"
            self._put(_y4m_header(coding))

    def sound(self, samples: np.ndarray) -> None:
        pass

    def picture(self, frame: np.ndarray, given: Given | None = None) -> None:
        self._put(self._before + frame.tobytes() if self._before else np.ascontiguousarray(frame).data.cast("B"), given)

    def _put(self, data: bytes | memoryview, given: Given | None = None) -> None:
        try:
            self._writer.put(data, given)
        except OSError as e:
            raise _failure(self._target, e) from e

    def check(self) -> None:
        if self._target.gone():
            raise ConsumerGone
        if self._writer.error is not None:
            raise _failure(self._target, self._writer.error)

    def finish(self) -> None:
        try:
            self._writer.finish()
        except OSError as e:
            raise _failure(self._target, e) from e
        self._target.whole()

    def abort(self) -> None:
        self._writer.abort()


def _y4m_header(coding: Coding) -> bytes:
    """Chroma sits between the two lines and columns it is the mean of (C420jpeg). The mark is short: ffmpeg reads 127 bytes."""
    width, height = coding.size
    mark = f" XAI_GENERATED=vasa_cli XDST={provenance.SOURCE_TYPE.rpartition('/')[2]}" if coding.mark else ""
    rate = f"F{coding.fps.numerator}:{coding.fps.denominator}"
    return f"YUV4MPEG2 W{width} H{height} {rate} Ip A1:1 C420jpeg XCOLORRANGE=LIMITED{mark}\n".encode()


def _failure(target: Target, error: OSError) -> Exception:
    if target.part is None and is_broken_pipe(error):
        return ConsumerGone()
    if target.path is None:
        return EncoderError(f"stdout: cannot be written ({error.strerror or error})")
    return EncoderError(explain_write(target.path, error))


class CodedSink:
    """H.264 and AAC through ffmpeg. For MP4 and Matroska it gives us packets, which two threads mux to the target."""

    def __init__(self, coding: Coding, target: Target) -> None:
        self._coding, self._target = coding, target
        self._error: BaseException | None = None
        self._aborted = False
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._out = target.open()
        try:
            self._start()
        except OSError as e:
            os.close(self._out)
            target.left()
            raise EncoderError(f"ffmpeg cannot be started ({e.strerror or e}); `vasa doctor` checks it") from e

    def _start(self) -> None:
        video, sound = os.pipe(), os.pipe()
        packets = [os.pipe(), os.pipe()] if self._coding.container != "ts" else []
        call = command(self._coding, video[0], sound[0], tuple(p[1] for p in packets))
        mine = [video[0], sound[0], *(p[1] for p in packets)]  # the ends that are ffmpeg's
        try:
            # a session of its own: Ctrl-C reaches only us, and we end ffmpeg in order
            self._process = subprocess.Popen(
                call, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL if packets else self._out, stderr=self._messages,
                pass_fds=mine, start_new_session=True,
            )  # fmt: skip
        finally:
            for fd in mine:
                os.close(fd)
        widen(video[1])
        self._pictures = PipeWriter(video[1], QUEUE_FRAMES, "pictures out")
        self._sound = PipeWriter(sound[1], 0, "sound out")
        self._muxers: list[threading.Thread] = []
        if packets:
            mux = _Mux(self._coding, self._out)
            self._muxers = [
                threading.Thread(target=self._mux, args=(mux, p[0]), name=f"mux {i}", daemon=True) for i, p in enumerate(packets)
            ]
            for thread in self._muxers:
                thread.start()

    def _mux(self, mux: _Mux, fd: int) -> None:
        """A thread's work: what ffmpeg coded goes to the target as it comes."""
        reader = FlvReader()
        try:
            while data := os.read(fd, _READ_BYTES):
                for packet in reader.push(data):
                    mux.add(packet)
        except OSError as e:
            self._error = self._error or _failure(self._target, e)
        except ValueError as e:
            self._error = self._error or EncoderError(f"{self._target.name}: {e}; `vasa doctor` checks ffmpeg")
        finally:
            os.close(fd)  # with the reader gone ffmpeg ends, and with ffmpeg the writers

    # ------------------------------------------------------------------------------------------------ in

    def sound(self, samples: np.ndarray) -> None:
        self._put(self._sound, np.ascontiguousarray(samples, "<f4").tobytes())

    def picture(self, frame: np.ndarray, given: Given | None = None) -> None:
        self._put(self._pictures, np.ascontiguousarray(frame).data.cast("B"), given)

    def _put(self, writer: PipeWriter, data: bytes | memoryview, given: Given | None = None) -> None:
        try:
            writer.put(data, given)
        except OSError as e:
            raise self._why() from e

    def check(self) -> None:
        if self._target.gone():
            raise ConsumerGone
        if self._error is not None or self._process.poll() is not None:
            raise self._why()

    # ------------------------------------------------------------------------------------------------ the end

    def finish(self) -> None:
        try:
            self._sound.finish()
            self._pictures.finish()
        except OSError as e:
            raise self._why() from e
        if self._wait() != 0 or self._error is not None:
            raise self._why()
        self._close()
        self._target.whole()

    def _wait(self) -> int:
        for thread in self._muxers:
            while thread.is_alive():
                thread.join(0.1)
        return self._process.wait(_PATIENCE)

    def _why(self) -> BaseException:
        """What went wrong, once ffmpeg has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for thread in self._muxers:
            thread.join(2)
        if self._error is not None:
            return self._error
        self._messages.seek(0)
        text = self._messages.read().decode(errors="replace")
        if self._target.gone() or (self._target.part is None and "Broken pipe" in text):
            return ConsumerGone()
        return EncoderError(explain(Path(self._target.name), self._process.returncode, text))

    def abort(self) -> None:
        if self._aborted:
            return
        self._aborted = True
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._pictures.abort()
        self._sound.abort()
        for thread in self._muxers:
            thread.join(1)
        self._close()

    def _close(self) -> None:
        self._aborted = True
        self._messages.close()
        with contextlib.suppress(OSError):
            os.close(self._out)


class _Mux:
    """Packets of both tracks, from two threads, into one stream. Pictures wait only for the first packet of sound, whose
    configuration belongs into the header."""

    def __init__(self, coding: Coding, out: int) -> None:
        shape = Shape(coding.size, coding.fps, min(coding.channels, 2), coding.mark)
        self._muxer: Mp4Muxer | MkvMuxer = Mp4Muxer(shape) if coding.container == "mp4" else MkvMuxer(shape)
        self._out, self._lock = out, threading.Lock()
        self._configs: dict[bool, bytes] = {}
        self._early: list[Packet] = []
        self._counts = {True: 0, False: -1}  # the encoder's first AAC frame lies before the sound: it is left out

    def add(self, packet: Packet) -> None:
        """Raises OSError when the target cannot be written."""
        with self._lock:
            if packet.config:
                self._configs.setdefault(packet.video, packet.data)
                if len(self._configs) == 2 and packet.data is self._configs[packet.video]:
                    write_all(self._out, self._muxer.header(self._configs[True], self._configs[False]))
                    for early in self._early:
                        self._write(early)
                    self._early.clear()
            elif len(self._configs) < 2:
                self._early.append(packet)
            else:
                self._write(packet)

    def _write(self, packet: Packet) -> None:
        index = self._counts[packet.video]
        self._counts[packet.video] += 1
        if packet.video:
            write_all(self._out, self._muxer.picture(index, packet.data, packet.key))
        elif index >= 0:
            write_all(self._out, self._muxer.sound(index, packet.data))
