"""Find an ffmpeg that can do the job, and read what it complains of."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from vasa_cli.errors import EncoderError

NEEDED = ("libx264", "aac")
OPTIONAL = {"libvpx-vp9": ".webm", "libopus": ".webm", "prores_ks": "transparent .mov", "png": "PNG pictures"}  # what needs it
MEND = "python -m pip install --force-reinstall imageio-ffmpeg"


def find_ffmpeg() -> Path:
    """The ffmpeg to use: $VASA_FFMPEG, else the system's when it has libx264 and aac, else the one in imageio-ffmpeg's wheel.

    Raises EncoderError (exit 7) with the one command that mends it.
    """
    return _find(os.environ.get("VASA_FFMPEG"), os.environ.get("PATH"))


@lru_cache(maxsize=8)
def _find(override: str | None, search_path: str | None) -> Path:
    if override:
        found = shutil.which(override)
        if found is None:
            raise EncoderError(f"VASA_FFMPEG={override}: no such program; correct or unset it")
        return Path(found)
    system = shutil.which("ffmpeg", path=search_path)
    if system is not None and not missing_encoders(Path(system)):
        return Path(system)
    bundled = bundled_ffmpeg()
    if bundled is not None:
        return bundled
    state = f"the one at {system} lacks {' and '.join(missing_encoders(Path(system)))}" if system else "none is on the PATH"
    raise EncoderError(f"no usable ffmpeg: {state}, and imageio-ffmpeg's is missing; run: {MEND}")


def bundled_ffmpeg() -> Path | None:
    """imageio-ffmpeg's binary, when its wheel carries one and it runs here."""
    try:
        import imageio_ffmpeg

        path = Path(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError, OSError):
        return None
    return path if not missing_encoders(path) else None


def missing_encoders(ffmpeg: Path, needed: tuple[str, ...] = NEEDED) -> tuple[str, ...]:
    """Which of the needed encoders this binary lacks; all of them when it does not run."""
    return tuple(name for name in needed if name not in encoders(ffmpeg))


@lru_cache(maxsize=8)
def encoders(ffmpeg: Path) -> frozenset[str]:
    """Names of the encoders that this binary has; none when it does not run."""
    try:
        done = subprocess.run(
            [str(ffmpeg), "-hide_banner", "-encoders"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    return frozenset(words[1] for line in done.stdout.splitlines() if len(words := line.split()) > 1)


@lru_cache(maxsize=8)
def version(ffmpeg: Path) -> str:
    """'7.0.2-static' and the like; 'unknown' when it does not say."""
    try:
        done = subprocess.run(
            [str(ffmpeg), "-version"], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    words = done.stdout.split()
    return words[2] if words[:2] == ["ffmpeg", "version"] else "unknown"


# Containers of sound and moving pictures. Everything else that ffmpeg reads, some of it by opening further addresses (playlists,
# DASH, SDP, concat, image patterns, scripts), is refused whatever the file is called.
READABLE = (
    "aac,ac3,aiff,amr,ape,apng,asf,au,av1,avi,caf,dsf,dts,dv,eac3,flac,flv,gif,gsm,h264,hevc,ivf,m4v,matroska,webm,mjpeg,mov,mp4,"
    "m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,tak,truehd,tta,vc1,voc,w64,wav,webp_anim,wtv,wv,"
    "yuv4mpegpipe,png_pipe,jpeg_pipe,webp_pipe"
)
PROTOCOLS = "file,pipe"


def file_url(path: Path) -> str:
    """A path that ffmpeg takes for a file whatever it holds: colons, a leading dash, percent signs."""
    return f"file:{path.absolute()}"


def safe_input(more: str = "") -> dict[str, str]:
    """Options that stand before every `-i` of a file that the user gave: nothing but that file is opened, and only as sound or
    video of bounded size. more: further formats (ffmpeg's names, with a comma before each)."""
    from vasa_cli.limits import max_pixels

    return {"protocol_whitelist": PROTOCOLS, "format_whitelist": READABLE + more, "max_pixels": str(max_pixels())}


def safe_words(more: str = "") -> list[str]:
    """`safe_input` as words of a command line."""
    return [word for key, value in safe_input(more).items() for word in (f"-{key}", value)]


def explain(path: Path, returncode: int, stderr: str) -> str:
    """One line on why ffmpeg gave up while writing `path`."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    text = " ".join(lines)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return f"{path}: no space left on the disk; free some or choose another folder with -o"
    if "Permission denied" in text or "Read-only file system" in text:
        return f"{path}: no permission to write there; choose another folder with -o"
    if returncode < 0:
        return f"ffmpeg was killed (signal {-returncode}) while writing {path.name}; run the command again"
    last = lines[-1] if lines else "no message"
    return f"ffmpeg failed (exit {returncode}) while writing {path.name}: {last[:300]}; `vasa doctor` checks the installation"
