"""What a stream is stored in, and how ffmpeg is asked to code it without keeping anything back.

MP4 and Matroska: ffmpeg codes, we mux (`fmp4`, `matroska`). Measured with ffmpeg 9 at 25 frames a second, sound 150 ms ahead of
the pictures, from a frame's last byte in to its last byte out (median of 60): ffmpeg's own MP4 with fragments of 40 ms 127 ms,
with frag_every_frame 41 ms but with wrong times and lost pictures, its Matroska 41 ms; with sound of 16 kHz, whose AAC frames are
64 ms, up to 85 ms. Ours at any rate: what coding takes, 6 ms (95 %: 11 ms) at 512 x 512. MPEG-TS by ffmpeg keeps nothing back
either (6 ms; 13 ms), but for slow sound, which is therefore stored at 48 kHz, and for sound that is not ahead (84 ms; 125 ms).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from vasa_cli.errors import EncoderError, UsageError
from vasa_cli.video import provenance
from vasa_cli.video.ffmpeg import find_ffmpeg
from vasa_cli.video.nvenc import NVENC, working_nvenc

CONTAINERS = ("mp4", "ts", "mkv", "y4m", "rgb24")
RAW = ("y4m", "rgb24")  # pictures alone, not coded
SUFFIXES = {
    ".mp4": "mp4", ".m4v": "mp4", ".ts": "ts", ".mts": "ts", ".mkv": "mkv", ".y4m": "y4m", ".rgb": "rgb24", ".rgb24": "rgb24",
}  # fmt: skip
ENCODERS = ("auto", "x264", "nvenc")
X264_PRESET = "veryfast"
GOP_SECONDS = 2  # between pictures at which players can begin
SOUND_BITRATE = 96_000  # a channel
_SLOW_SOUND = 32_000  # Hz


@dataclass(frozen=True)
class Coding:
    """What ffmpeg is given and makes. pixels: "yuv420p" (BT.709, limited) or "rgb24"; rate, channels: of the sound."""

    container: str
    size: tuple[int, int]
    fps: Fraction
    rate: int
    channels: int
    encoder: str = "x264"
    crf: int = 20
    pixels: str = "yuv420p"
    mark: bool = True


def container_of(path: Path | None, name: str | None) -> str:
    """--container, or what the suffix of -o asks for. Raises UsageError."""
    if name is not None:
        if name not in CONTAINERS:
            raise UsageError(f"--container {name!r}: known are {', '.join(CONTAINERS)}")
        return name
    if path is None:
        return CONTAINERS[0]
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"{path.name}: name the stream with one of {', '.join(SUFFIXES)}, or say --container")
    return found


def pixels_of(container: str) -> str:
    """What the engine draws for it."""
    return "rgb24" if container == "rgb24" else "yuv420p"


def choose_encoder(name: str | None) -> str:
    """auto takes NVENC where it truly works. Raises UsageError, EncoderError."""
    if name is not None and name not in ENCODERS:
        raise UsageError(f"--encoder {name!r}: known are {', '.join(ENCODERS)}")
    if name == "x264":
        return name
    works = working_nvenc(find_ffmpeg()) and _codes_live(find_ffmpeg())
    if name == "nvenc" and not works:
        raise EncoderError("--encoder nvenc: this ffmpeg, driver and card do not encode with it; use --encoder x264 or auto")
    return "nvenc" if works else "x264"


@lru_cache(maxsize=8)
def _codes_live(ffmpeg: Path) -> bool:
    """Whether NVENC takes our options here: older builds and cards know less."""
    coding = Coding("mp4", (256, 256), Fraction(25), 16000, 1, "nvenc")
    call = [str(ffmpeg), "-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=gray:s=256x256:r=25", "-frames:v", "3"]
    call += ["-pix_fmt", "yuv420p", *_video_options(coding), "-f", "null", "-"]
    try:
        return subprocess.run(call, capture_output=True, stdin=subprocess.DEVNULL, timeout=20).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def command(coding: Coding, video_in: int, sound_in: int, outputs: tuple[int, ...]) -> list[str]:
    """The ffmpeg call. video_in, sound_in: descriptors of raw pictures and of f32le sound. outputs: of two FLV streams, pictures
    and sound, that we mux; or none, when ffmpeg muxes MPEG-TS to its standard output."""
    rate, width, height = f"{coding.fps.numerator}/{coding.fps.denominator}", *coding.size
    at_once = ["-probesize", "32", "-analyzeduration", "0"]
    call = [str(find_ffmpeg()), "-v", "error", "-hide_banner", "-nostats", "-nostdin"]
    call += ["-f", "rawvideo", "-pixel_format", coding.pixels, "-video_size", f"{width}x{height}", "-framerate", rate, *at_once]
    call += ["-i", f"pipe:{video_in}"]
    call += ["-f", "f32le", "-ar", str(coding.rate), "-ac", str(coding.channels), *at_once, "-i", f"pipe:{sound_in}"]
    video = ["-map", "0:v", "-vf", _filters(coding), *_video_options(coding), "-flags:v", "+bitexact"]
    sound = ["-map", "1:a", "-af", "aformat=channel_layouts=mono|stereo", "-c:a", "aac", "-flags:a", "+bitexact"]
    sound += ["-b:a", str(SOUND_BITRATE * min(coding.channels, 2))]
    if outputs:
        flv = ["-f", "flv", "-flvflags", "no_duration_filesize", "-flush_packets", "1"]
        return [*call, *video, *flv, f"pipe:{outputs[0]}", *sound, *flv, f"pipe:{outputs[1]}"]
    sound += ["-ar", "48000"] if coding.rate < _SLOW_SOUND else []
    tags = [word for key, value in provenance.tags().items() for word in ("-metadata", f"{key}={value}")] if coding.mark else []
    ts = ["-f", "mpegts", "-muxdelay", "0", "-muxpreload", "0", "-flush_packets", "1", "pipe:1"]
    return [*call, *video, *sound, *tags, *_service(coding), *ts]


def _filters(coding: Coding) -> str:
    mark = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    if coding.pixels == "yuv420p":
        return mark
    return f"scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p,{mark}"


def _video_options(coding: Coding) -> list[str]:
    gop = ["-g", str(round(GOP_SECONDS * coding.fps)), "-bf", "0"]
    if coding.encoder == "nvenc":
        look = ["-preset", "p3", "-tune", "ull", "-zerolatency", "1", "-delay", "0", "-rc", "vbr", "-cq", str(coding.crf + 4)]
        return ["-c:v", NVENC, *look, "-b:v", "0", *gop]
    return ["-c:v", "libx264", "-preset", X264_PRESET, "-tune", "zerolatency", "-crf", str(coding.crf), *gop]


def _service(coding: Coding) -> list[str]:
    """MPEG-TS carries no tags but the name and the provider of the service."""
    name, provider = (provenance.SERVICE, provenance.SOURCE_TYPE) if coding.mark else ("vasa_cli", "vasa_cli")
    return ["-metadata", f"service_name={name}", "-metadata", f"service_provider={provider}"]
