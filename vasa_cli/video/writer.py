"""Frames in, a finished video file out: one ffmpeg process, fed through a pipe, that also muxes the user's own audio once.

The file grows under a .part name and is renamed when it is whole. Two things keep the decoded frames equal from run to run and
from machine to machine: a fixed number of x264 threads and a bit-exact colour conversion.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections import deque
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vasa_cli.errors import EncoderError, UsageError
from vasa_cli.files import explain_write, part_path, sync
from vasa_cli.video import DEFAULT_CRF, provenance
from vasa_cli.video.ffmpeg import explain, file_url, find_ffmpeg
from vasa_cli.video.framehash import FrameHash, frame_hash

if TYPE_CHECKING:
    import numpy as np

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
X264_PRESET = "fast"  # about 170 frames a second on two cores, the decoder makes 60
X264_THREADS = 4
AUDIO_BITRATE = "256k"  # ffmpeg takes less by itself where the rate and channels allow no more


def container_of(path: Path) -> str:
    """ffmpeg's name of the format that the suffix asks for. Raises UsageError."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise UsageError(
            f"{path.name}: unknown video format {path.suffix or '(no suffix)'!r}; name the output with one of {known}"
        ) from None


def encode_command(
    part: Path, container: str, size: tuple[int, int], fps: Fraction, frames: int, audio: Path | None, crf: int, mark: bool
) -> list[str]:
    """The ffmpeg call: raw RGB on stdin and the audio file become H.264 (bt709, yuv420p) and AAC, exactly frames/fps seconds."""
    import ffmpeg

    rate = f"{fps.numerator}/{fps.denominator}"
    seconds = f"{float(frames / fps):.6f}"
    picture = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{size[0]}x{size[1]}", framerate=rate)
    exact = "bicubic+accurate_rnd+full_chroma_int+bitexact"
    picture = picture.filter("scale", out_color_matrix="bt709", out_range="tv", flags=exact).filter("format", "yuv420p")
    picture = picture.filter("setparams", range="tv", colorspace="bt709", color_primaries="bt709", color_trc="bt709")
    options: dict[str, Any] = {
        "format": container, "vcodec": "libx264", "preset": X264_PRESET, "crf": crf,
        "x264-params": f"threads={X264_THREADS}:lookahead-threads=1",
        "map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact",
    }  # fmt: skip
    if container in ("mp4", "mov"):
        options["movflags"] = "+faststart"
    streams = [picture]
    if audio is not None:
        # The sample clock starts at the first sample, whatever time stamps the user's file carries, as the model heard it.
        sound = ffmpeg.input(file_url(audio))["a:0"].filter("asetpts", "N/SR/TB").filter("aformat", channel_layouts="mono|stereo")
        streams.append(sound.filter("apad", whole_dur=seconds).filter("atrim", end=seconds))
        options |= {"acodec": "aac", "audio_bitrate": AUDIO_BITRATE}
    if mark:
        options |= {f"metadata:g:{i}": f"{key}={value}" for i, (key, value) in enumerate(provenance.tags().items())}
    return _flatten(ffmpeg.output(*streams, f"file:{part.absolute()}", **options).compile(cmd=str(find_ffmpeg())))


def _flatten(command: list[str]) -> list[str]:
    """ffmpeg-python wants distinct option names; give the repeated one its real name, and keep ffmpeg quiet."""
    real = ["-metadata" if word.startswith("-metadata:g:") else word for word in command]
    return [real[0], "-v", "error", "-hide_banner", "-y", *real[1:]]


class VideoWriter:
    """Context manager: `write` frames, leave the block, and the file is there, whole, with `result` its decoded-frame hash.

    On an exception inside the block, or when ffmpeg fails, nothing is left on the disk. Raises EncoderError (exit 7).
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: Fraction,
        frames: int,
        audio: Path | None = None,
        *,
        crf: int = DEFAULT_CRF,
        mark: bool = True,
    ) -> None:
        if size[0] % 2 or size[1] % 2:
            raise ValueError(f"width and height must be even for yuv420p, got {size}")
        self.path, self.size, self.fps, self.frames = path, size, fps, frames
        self.audio, self.crf, self.mark = audio, crf, mark
        self.container = container_of(path)
        self.part = part_path(path)
        self.written = 0
        self.result: FrameHash | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: deque[str] = deque(maxlen=40)
        self._listener: threading.Thread | None = None

    def __enter__(self) -> VideoWriter:
        command = encode_command(self.part, self.container, self.size, self.fps, self.frames, self.audio, self.crf, self.mark)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.part.touch()  # our own words for a place that cannot be written are clearer than ffmpeg's
        except OSError as e:
            raise EncoderError(explain_write(self.path, e)) from e
        try:
            # A session of its own: Ctrl-C reaches only us, and we end ffmpeg in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as e:
            raise EncoderError(f"ffmpeg cannot be started ({e.strerror or e}): {command[0]}; `vasa doctor` checks it") from e
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._messages.append(line.decode(errors="replace"))

    def write(self, frames: np.ndarray) -> None:
        """Add frames.  (B, H, W, 3) uint8 RGB"""
        import numpy as np

        width, height = self.size
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (height, width, 3):
            raise ValueError(f"frames must be (B, {height}, {width}, 3) uint8, got {frames.shape} {frames.dtype}")
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frames).data.cast("B"))
        except OSError as e:  # a broken pipe: ffmpeg has ended; its own words say why
            raise self._failure() from e
        self.written += len(frames)

    def _wait(self) -> int:
        assert self._process is not None
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        code = self._process.wait()
        if self._listener is not None:
            self._listener.join(timeout=5)
        return code

    def _failure(self) -> EncoderError:
        code = self._wait()
        return EncoderError(explain(self.path, code, "".join(self._messages)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._abort()

    def _finish(self) -> None:
        if self.written != self.frames:
            raise ValueError(f"{self.written} frames were written, {self.frames} were announced")
        if self._wait() != 0:
            raise self._failure()
        try:
            if self.mark and self.container in ("mp4", "mov"):
                provenance.append_xmp(self.part)
            sync(self.part)
            self.result = frame_hash(self.part, self.size)
            if self.result.frames != self.frames:
                raise EncoderError(
                    f"{self.path.name}: ffmpeg kept {self.result.frames} of {self.frames} frames; `vasa doctor` checks it"
                )
            os.replace(self.part, self.path)
        except OSError as e:
            raise EncoderError(explain_write(self.path, e)) from e

    def _abort(self) -> None:
        """End ffmpeg if it still runs and remove what is not whole. Safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._wait()
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)
