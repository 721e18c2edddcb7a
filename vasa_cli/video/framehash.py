"""The hash that reproducibility is promised by: of the decoded frames, not of the file, whose bytes depend on the encoder."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.errors import EncoderError
from vasa_cli.video.ffmpeg import explain, file_url, find_ffmpeg


@dataclass(frozen=True)
class FrameHash:
    """sha256 over all decoded frames as yuv420p bytes in order, and how many there are."""

    sha256: str
    frames: int


def frame_hash(path: Path, size: tuple[int, int]) -> FrameHash:
    """Decode the first video stream of `path`, whose frames are `size` (width, height), and hash it. Raises EncoderError."""
    width, height = size
    per_frame = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", "-i", file_url(path), "-map", "0:v:0"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    digest, total = hashlib.sha256(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
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
