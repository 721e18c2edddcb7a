"""Frames in, a finished video file out: one ffmpeg process, fed through a pipe, that also muxes the user's own audio once.

The file (or the folder of a PNG sequence) grows under a .part name and is renamed when it is whole. Two things keep the decoded
frames equal from run to run and from machine to machine: a fixed number of encoder threads and a bit-exact colour conversion.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vasa_cli.errors import EncoderError
from vasa_cli.files import explain_write, part_path, replace_folder, sync
from vasa_cli.video import DEFAULT_CRF, provenance
from vasa_cli.video.ffmpeg import explain, file_url, find_ffmpeg, safe_input
from vasa_cli.video.formats import Format, even_size, format_of
from vasa_cli.video.framehash import FrameHash, bytes_per_frame, frame_hash
from vasa_cli.video.nvenc import NVENC, nvenc_options

if TYPE_CHECKING:
    import numpy as np

X264_PRESET = "faster"  # a fifth less work than "fast" (6 ms of a core a 512x512 frame), a tenth smaller, 0.05 levels further off
THREADS = 4  # whatever the machine has: x264's pictures are the same for 1, 2 and 4, others for 8 (shorter motion vectors)
PIPE = 1 << 20  # bytes between us and ffmpeg, where the system lets us ask: as many as it allows without special rights
_BIRTH = 5.0  # seconds, at most, until a started process is known
AUDIO_BITRATE = "256k"  # ffmpeg takes less by itself where the rate and channels allow no more


def codec_options(form: Format, crf: int) -> dict[str, Any]:
    """ffmpeg's options of the picture encoder. crf: x264's scale."""
    if form.codec == NVENC:
        return nvenc_options(crf)
    if form.codec == "libx264":
        return {"preset": X264_PRESET, "crf": crf, "x264-params": f"threads={THREADS}:lookahead-threads=1"}
    if form.codec == "libvpx-vp9":  # a third of the time of "good", a third larger; 0.85: as good as x264 to 0.4 dB
        speed = {"deadline": "realtime", "cpu-used": 6, "row-mt": 1, "tile-columns": 2, "threads": THREADS}
        clear = {"auto-alt-ref": 0} if form.alpha else {}  # invisible frames in one of the two streams would part them
        return {"crf": round(crf * 0.85), "video_bitrate": 0, **speed, **clear}
    if form.codec == "prores_ks":
        return {"profile:v": "4444", "alpha_bits": 16, "qscale:v": 5, "vendor": "apl0", "threads": THREADS}
    return {"compression_level": 1, "pred": "mixed", "threads": THREADS, "start_number": 0}


def raw_pixels(form: Format) -> tuple[str, ...]:
    """What `write` may be given for this form, by ffmpeg's names; yuv420p is what is stored, so nothing is left to convert."""
    return ("rgba",) if form.alpha else ("rgb24", "yuv420p") if form.pixels == "yuv420p" else ("rgb24",)


def encode_command(
    part: Path, form: Format, size: tuple[int, int], fps: Fraction, frames: int, audio: Path | None, crf: int, mark: bool,
    pixels: str = "rgb24",
) -> list[str]:  # fmt: skip
    """The ffmpeg call: raw pictures (`pixels`) on stdin and the audio file become `form`, exactly frames/fps seconds."""
    import ffmpeg

    rate = f"{fps.numerator}/{fps.denominator}"
    picture = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt=pixels, s=f"{size[0]}x{size[1]}", framerate=rate)
    if not form.sequence:
        if pixels != "yuv420p":
            exact = "bicubic+accurate_rnd+full_chroma_int+bitexact"
            picture = picture.filter("scale", out_color_matrix="bt709", out_range="tv", flags=exact).filter("format", form.pixels)
        picture = picture.filter("setparams", range="tv", colorspace="bt709", color_primaries="bt709", color_trc="bt709")
    options: dict[str, Any] = {
        "format": form.container, "vcodec": form.codec, **codec_options(form, crf),
        "map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "flags:v": "+bitexact",
    }  # fmt: skip
    if form.container in ("mp4", "mov"):
        options["movflags"] = "+faststart"
    streams = [picture]
    if audio is not None and form.audio is not None:
        streams.append(_sound(audio, float(frames / fps)))
        options |= {"acodec": form.audio, "flags:a": "+bitexact"}
        options |= {} if form.audio.startswith("pcm") else {"audio_bitrate": AUDIO_BITRATE}
    if mark and not form.sequence:
        options |= {f"metadata:g:{i}": f"{key}={value}" for i, (key, value) in enumerate(provenance.tags().items())}
    target = f"file:{part.name}" if form.sequence else f"file:{part.absolute()}"  # or a name such as tcp:... would be an address
    return _flatten(ffmpeg.output(*streams, target, **options).compile(cmd=str(find_ffmpeg())))


def _sound(audio: Path, seconds: float) -> Any:
    """The first sound track, padded or cut to this length. Its sample clock starts at the first sample, whatever time stamps the
    user's file carries, as the model heard it."""
    import ffmpeg

    sound = ffmpeg.input(file_url(audio), **safe_input())["a:0"].filter("asetpts", "N/SR/TB")
    sound = sound.filter("aformat", channel_layouts="mono|stereo")
    return sound.filter("apad", whole_dur=f"{seconds:.6f}").filter("atrim", end=f"{seconds:.6f}")


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
        alpha: bool = False,
        pixels: str | None = None,
        codec: str | None = None,
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        """pixels: what `write` is given, one of `raw_pixels`, RGB by default; codec: instead of the form's own; seal: called with
        the finished file (not for sequences) before it gets its name, to sign it."""
        form = format_of(path, alpha=alpha)
        self.form = form if codec is None else replace(form, codec=codec)
        self.pixels = pixels or raw_pixels(form)[0]
        if self.pixels not in raw_pixels(form):
            raise ValueError(f"{path.suffix} takes frames as {' or '.join(raw_pixels(form))}, not {self.pixels}")
        if size != even_size(*size, self.form):
            raise ValueError(f"width and height must be even for {self.form.pixels}, got {size}")
        self.path, self.size, self.fps, self.frames = path, size, fps, frames
        self.audio, self.crf, self.mark = audio, crf, mark
        self.seal = seal
        self.target = path.parent if self.form.sequence else path  # what appears whole, in the end
        self.part = path
        self.written = 0
        self.first_at: float | None = None  # time.perf_counter() when the first frame was in the encoder's pipe
        self.result: FrameHash | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: deque[str] = deque(maxlen=40)
        self._listener: threading.Thread | None = None

    def __enter__(self) -> VideoWriter:
        try:  # our own words for a place that cannot be written are clearer than ffmpeg's
            self.part = self._open_place()
        except OSError as e:
            raise EncoderError(explain_write(self.path, e)) from e
        try:
            command = encode_command(
                self.part, self.form, self.size, self.fps, self.frames, self.audio, self.crf, self.mark, self.pixels
            )
            self._start(command)
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        except OSError as e:
            self._abort()
            raise EncoderError(f"ffmpeg cannot be started ({e.strerror or e}): {find_ffmpeg()}; `vasa doctor` checks it") from e
        except BaseException:
            self._abort()
            raise
        return self

    def _start(self, command: list[str]) -> None:
        """Start ffmpeg in a thread: an interrupt, which only this one hears, would lose the process between its birth and the
        moment we know it, and that process would make its file after we have removed it. Raises OSError."""
        errors: list[Exception] = []
        known = threading.Event()

        def start() -> None:
            try:  # A session of its own: Ctrl-C reaches only us, and we end ffmpeg in order.
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                    cwd=self.part.parent if self.form.sequence else None,  # a % in a folder's name is no number
                )  # fmt: skip
                _widen(self._process.stdin)
            except Exception as e:  # whatever it is, it is raised where it would be without the thread
                errors.append(e)
            finally:
                known.set()

        try:
            threading.Thread(target=start, daemon=True).start()
            known.wait()
        except BaseException:
            known.wait(_BIRTH)
            raise
        if errors:
            raise errors[0]

    def _open_place(self) -> Path:
        """Where the result grows: a file, or the pattern in a folder. Raises OSError."""
        self.target.absolute().parent.mkdir(parents=True, exist_ok=True)
        part = part_path(self.target)
        if not self.form.sequence:
            part.touch()
            return part
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        return part / self.path.name

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._messages.append(line.decode(errors="replace"))

    def write(self, frames: np.ndarray) -> None:
        """Add frames, uint8: (B, H, W, 3) RGB; with transparency (B, H, W, 4), straight alpha; or, where the writer was made for
        yuv420p, (B, H * 3 / 2, W): BT.709, limited range, rows of Y, then all of U, then all of V."""
        import numpy as np

        width, height = self.size
        shape = {"rgb24": (height, width, 3), "rgba": (height, width, 4), "yuv420p": (height * 3 // 2, width)}[self.pixels]
        if frames.dtype != np.uint8 or frames.ndim != len(shape) + 1 or frames.shape[1:] != shape:
            text = ", ".join(map(str, shape))
            raise ValueError(f"frames must be (B, {text}) uint8, got {frames.shape} {frames.dtype}")
        data = np.ascontiguousarray(frames).data.cast("B")
        start = 0
        if self.first_at is None and len(frames):
            start = bytes_per_frame(self.size, self.pixels)
            self._send(data[:start])
            self.first_at = time.perf_counter()
        self._send(data[start:])
        self.written += len(frames)

    def _send(self, data: memoryview) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as e:  # a broken pipe: ffmpeg has ended; its own words say why
            raise self._failure() from e

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
            self._mark()
            self.result = frame_hash(self.part, self.size, self.form)
            if self.result.frames != self.frames:
                raise EncoderError(
                    f"{self.path.name}: ffmpeg kept {self.result.frames} of {self.frames} frames; `vasa doctor` checks it"
                )
            if self.form.sequence:
                replace_folder(self.part.parent, self.target)
            else:
                os.replace(self.part, self.path)
        except OSError as e:
            raise EncoderError(explain_write(self.path, e)) from e

    def _mark(self) -> None:
        """Say in the files that they are AI-generated, and make sure that they are on the disk. Raises OSError."""
        pictures = sorted(self.part.parent.iterdir()) if self.form.sequence else []
        for picture in pictures:
            if self.mark:
                provenance.mark_png(picture)
            sync(picture)
        if not pictures:
            if self.mark and self.form.container in ("mp4", "mov"):
                provenance.append_xmp(self.part)
            if self.seal is not None:
                self.seal(self.part)
            sync(self.part)

    def _abort(self) -> None:
        """End ffmpeg if it still runs and remove what is not whole. Safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._wait()
        with contextlib.suppress(OSError):
            if self.part == self.path:  # nothing was begun
                return
            if self.form.sequence:
                shutil.rmtree(self.part.parent, ignore_errors=True)
            else:
                self.part.unlink(missing_ok=True)


def _widen(pipe: Any) -> None:
    """Make the pipe hold more than its 64 kB, so that we wait less often for the other side. Linux only."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
