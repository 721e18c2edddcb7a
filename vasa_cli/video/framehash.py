"""The hash that reproducibility is promised by: of the decoded frames, not of the file, whose bytes depend on the encoder."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.errors import EncoderError
from vasa_cli.files import sha256_file
from vasa_cli.video.ffmpeg import explain, file_url, find_ffmpeg, safe_words
from vasa_cli.video.formats import Format, format_of, is_picture_of, is_sequence


@dataclass(frozen=True)
class FrameHash:
    """sha256 over all decoded frames in order, as bytes of the pixel format they are stored in, and how many there are."""

    sha256: str
    frames: int


def sound_hash(path: Path) -> str | None:
    """Hex sha256 of the coded packets of the first sound track, whatever container holds them; None when there is no sound.

    Raises EncoderError when ffmpeg does not run."""
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", *safe_words(), "-i", file_url(path)]
    command += ["-map", "0:a:0", "-c", "copy"]
    try:
        done = subprocess.run(
            [*command, "-f", "streamhash", "-hash", "sha256", "pipe:1"], capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as e:
        raise EncoderError(f"ffmpeg cannot be started ({e.strerror or e}); `vasa doctor` checks it") from e
    _, found, digest = done.stdout.strip().rpartition("SHA256=")
    return digest.lower() if found and done.returncode == 0 else None


def file_hash(path: Path) -> str:
    """Hex sha256 of a video file's bytes; of a PNG sequence, of all its pictures' bytes in order of their names."""
    if not is_sequence(path):
        return sha256_file(path)
    digest = hashlib.sha256()
    for picture in sorted(path.parent.iterdir()):
        if is_picture_of(path, picture.name):
            digest.update(picture.read_bytes())
    return digest.hexdigest()


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
    source = f"file:{path.name}" if form.sequence else file_url(path)
    command += [*safe_words(",image2" if form.sequence else ""), "-i", source]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "pipe:1"]
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
