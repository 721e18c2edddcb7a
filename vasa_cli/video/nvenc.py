"""NVENC, the H.264 encoder in NVIDIA's graphics cards: whether it really works here, and how it is asked for.

That ffmpeg lists `h264_nvenc` says nothing: the bundled ffmpeg always does. Only frames that come out prove that driver, card and
build fit together.
"""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from vasa_cli.video.ffmpeg import encoders

NVENC = "h264_nvenc"
_PROBE = ("-f", "lavfi", "-i", "color=gray:s=256x256:r=25", "-frames:v", "3", "-pix_fmt", "yuv420p")
_PATIENCE = 20  # seconds; a card's first context takes one or two


@lru_cache(maxsize=8)
def working_nvenc(ffmpeg: Path) -> bool:
    """Whether this ffmpeg encodes three grey frames with NVENC. Asked once a process; without the encoder nothing is started."""
    if NVENC not in encoders(ffmpeg):
        return False
    command = [str(ffmpeg), "-v", "error", "-nostdin", *_PROBE, "-c:v", NVENC, "-f", "null", "-"]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def nvenc_options(crf: int) -> dict[str, Any]:
    """ffmpeg's options for recordings on disk: constant quality at about the look of x264's `crf`, one picture in, one out."""
    return {"preset": "p5", "tune": "hq", "rc": "vbr", "cq": max(1, crf + 4), "video_bitrate": 0, "bf": 2}
