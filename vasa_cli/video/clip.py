"""A video clip as a source: its frames at one exact rate, and its sound on the same clock.

ffmpeg does the decoding (turned phones, odd codecs, colour). There is no ffprobe beside the bundled binary: rate and size come
from ffmpeg's own `framecrc` and `yuv4mpegpipe` outputs, which print them as integers.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.limits import FPS_RANGE, check_duration, check_pixels, max_duration
from vasa_cli.video.ffmpeg import file_url, find_ffmpeg, safe_input, safe_words

_ROUND = (12, 15, 24, 25, 30, 48, 50, 60, 120)
RATES = tuple(Fraction(f * 1000, d) for f in _ROUND for d in (1000, 1001))
SNAP = 2e-4  # relative: a rate this near to a standard one was meant to be it (millisecond time stamps)
MIN_FPS, MAX_FPS = FPS_RANGE


@dataclass(frozen=True)
class ClipInfo:
    """What a clip is: fps exact (the average of a variable rate), (width, height) as shown, and where its sound starts, in
    seconds after the first frame (None: it has no sound). frames: about as many as `read_frames` will give."""

    path: Path
    fps: Fraction
    size: tuple[int, int]
    frames: int
    sound_at: float | None


def probe(path: Path) -> ClipInfo:
    """Look at a clip without decoding it all. Raises InputError when it is missing or holds no moving picture."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a video clip")
    header, times = _framecrc(path, "V:0", copy=True)
    times.sort()
    if len(times) < 2:
        raise InputError(f"{path.name} holds no moving picture that can be decoded; give a video clip, such as MP4 or WebM")
    check_duration(path.name, float((times[-1] - times[0]) * header))
    fps = rate_of(times, header)
    sound_header, sound = _framecrc(path, "a:0", copy=False)
    start = None
    if sound:
        start = float(sound[0] * sound_header - times[0] * header)
    frames = round((times[-1] - times[0]) * header * fps) + 1
    return ClipInfo(path, fps, _shown_size(path), frames, start)


def rate_of(times: list[int], unit: Fraction) -> Fraction:
    """Average frame rate of sorted time stamps in `unit` seconds, as the standard rate it is meant to be where there is one."""
    steps = set(np.diff(times).tolist())
    span = (times[-1] - times[0]) * unit
    if span <= 0:
        return Fraction(25)
    average = (len(times) - 1) / span if len(steps) > 1 else 1 / (steps.pop() * unit)
    for rate in RATES:
        if abs(average / rate - 1) < SNAP:
            return rate
    return max(Fraction(MIN_FPS), min(average.limit_denominator(1001), Fraction(MAX_FPS)))


def read_frames(clip: ClipInfo) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB at clip.fps, one at a time: frame i is shown at i / fps after the first. Raises InputError."""
    import ffmpeg

    width, height = clip.size
    picture = ffmpeg.input(file_url(clip.path), **safe_input())["V:0"].filter("fps", str(clip.fps))
    graph = picture.filter("setpts", "PTS-STARTPTS").output("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}")
    process = subprocess.Popen(_command(graph), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    count, size = 0, width * height * 3
    try:
        while len(data := process.stdout.read(size)) == size:
            count += 1
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
    if count == 0:
        raise InputError(f"{clip.path.name}: its picture cannot be decoded; convert it to MP4 (H.264)")


def write_sound(clip: ClipInfo, path: Path) -> None:
    """The clip's sound as WAV at its own rate, cut or padded to start with the first frame. Raises InputError."""
    import ffmpeg

    assert clip.sound_at is not None
    sound = ffmpeg.input(file_url(clip.path), **safe_input())["a:0"].filter("asetpts", "N/SR/TB")
    if clip.sound_at > 0:
        sound = sound.filter("adelay", f"{clip.sound_at * 1000:.3f}", all=1)
    elif clip.sound_at < 0:
        sound = sound.filter("atrim", start=f"{-clip.sound_at:.6f}").filter("asetpts", "N/SR/TB")
    done = _run(_command(sound.output(str(path), format="wav")))
    if done.returncode != 0:
        raise InputError(f"{clip.path.name}: its sound cannot be decoded; give a recording as AUDIO")


def _command(graph: Any) -> list[str]:
    import ffmpeg

    command: list[str] = ffmpeg.compile(graph, cmd=str(find_ffmpeg()), overwrite_output=True)
    return [command[0], "-v", "error", "-nostdin", *command[1:]]


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)


def _framecrc(path: Path, stream: str, *, copy: bool) -> tuple[Fraction, list[int]]:
    """Time base and time stamps of a stream's packets: all of them copied, or the first one decoded (so that priming is left
    out). Raises InputError when there are more than the longest clip has."""
    how = ["-c", "copy"] if copy else ["-frames:a", "1"]
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", *safe_words(), "-i", file_url(path)]
    command += ["-map", f"0:{stream}", *how, "-copyts", "-f", "framecrc", "pipe:"]
    unit, most = Fraction(1, 1000), max_duration() * MAX_FPS
    times: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(b"#tb 0:"):
                    unit = Fraction(line.split()[2].decode())
                elif line.strip() and not line.startswith(b"#"):
                    times.append(int(line.split(b",")[2]))
                    if len(times) > most:
                        check_duration(path.name, len(times) / MAX_FPS)
        finally:
            process.kill()
    return unit, times


def _shown_size(path: Path) -> tuple[int, int]:
    """Width and height after the turn that the file's metadata ask for."""
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", *safe_words(), "-i", file_url(path)]
    command += ["-map", "0:V:0", "-frames:v", "1", "-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "pipe:"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        head = process.stdout.read(200)  # the header is enough; the picture behind it may be large
        process.kill()
        _, complaints = process.communicate()
    if b"exceeds specified max pixel count" in complaints:
        width, height = (int(n) for n in re.findall(rb"Picture size (\d+)x(\d+) exceeds", complaints)[0])
        check_pixels(path.name, width, height)
    words = head.split(b"\n")[0].split()
    if not words or words[0] != b"YUV4MPEG2":
        raise InputError(f"{path.name}: its picture cannot be decoded; convert it to MP4 (H.264)")
    fields = {word[:1]: int(word[1:]) for word in words[1:3]}
    return fields[b"W"], fields[b"H"]
