"""The hash that reproducibility is promised by: of the decoded frames, not of the file, whose bytes depend on the encoder."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.errors import EncoderError
from vasa_cli.video.ffmpeg import explain, file_url, find_ffmpeg
from vasa_cli.video.formats import Format, format_of


@dataclass(frozen=True)
class FrameHash:
    """sha256 over all decoded frames in order, as bytes of the pixel format they are stored in, and how many there are."""

    sha256: str
    frames: int


def bytes_per_frame(size: tuple[int, int], pixels: str) -> int:
    """Of a frame of `size` (width, height) in ffmpeg's pixel format `pixels`."""
    width, height = size
    full, quarter = width * height, ((width + 1) // 2) * ((height + 1) // 2)
    return {
        "yuv420p": full + 2 * quarter,
        "yuva420p": 2 * full + 2 * quarter,
        "yuva444p12le": 8 * full,
        "rgb24": 3 * full,
        "rgba": 4 * full,
    }[pixels]


def frame_hash(path: Path, size: tuple[int, int], form: Format | None = None) -> FrameHash:
    """Decode the video of `path`, whose frames are `size` (width, height), and hash it, transparency too. `form`: how it was
    stored, by default as its name says without transparency. Raises EncoderError."""
    form = form or format_of(path)
    pixels = "yuva444p12le" if form.codec == "prores_ks" else form.pixels  # the decoder's own: nothing is converted
    per_frame = bytes_per_frame(size, pixels)
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin"]
    if form.alpha and form.codec == "libvpx-vp9":
        command += ["-c:v", "libvpx-vp9"]  # ffmpeg's own decoder passes over the transparency
    source = path.name if form.sequence else file_url(path)
    command += ["-i", source, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "pipe:1"]
    place = path.parent if form.sequence else None  # only the picture's name may hold a %
    digest, total = hashlib.sha256(), 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=place
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            while block := process.stdout.read(1 << 20):
                digest.update(block)
                total += len(block)
            stderr = process.stderr.read().decode(errors="replace")
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or total % per_frame:
        raise EncoderError(explain(path, process.returncode, stderr))
    return FrameHash(digest.hexdigest(), total // per_frame)
