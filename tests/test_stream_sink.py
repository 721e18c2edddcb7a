"""Frames and sound to a stream: nothing is kept back, sound and pictures agree, whatever ends it is said."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fake_stream import SIDE

from vasa_cli.errors import EncoderError, UsageError
from vasa_cli.stream.encode import Coding, choose_encoder, command, container_of
from vasa_cli.stream.flv import FlvReader, Packet, sound_rate
from vasa_cli.stream.pipes import ConsumerGone, Target
from vasa_cli.stream.sink import CodedSink, Sink, open_sink
from vasa_cli.video import provenance
from vasa_cli.video.ffmpeg import find_ffmpeg

CODED = ("mp4", "mkv", "ts")
FPS = 25


def coding(container: str, rate: int = 48000, channels: int = 1, **more: Any) -> Coding:
    return Coding(container, (SIDE, SIDE), Fraction(FPS), rate, channels, **more)


def frame(bright: float, pixels: str = "yuv420p") -> np.ndarray:
    if pixels == "rgb24":
        return np.full((SIDE, SIDE, 3), round(255 * bright), np.uint8)
    out = np.full((SIDE * 3 // 2, SIDE), 128, np.uint8)
    out[:SIDE] = round(16 + 219 * bright)
    return out


def feed(sink: Sink, form: Coding, frames: range, ahead: float = 0.0, clicks: tuple[int, ...] = ()) -> None:
    """Frames with their sound; at the frames `clicks` a white picture and a loud 40 ms."""
    for k in frames:
        start, stop = (int((k + i) / FPS * form.rate) for i in (0, 1))
        loud = np.zeros((stop - start, form.channels), np.float32)
        loud[:] = 0.8 * np.sign(np.sin(np.arange(len(loud)) / 3))[:, None] if k in clicks else 0
        sink.sound(loud)
        if k == frames[-1] and ahead:
            sink.sound(np.zeros((int(ahead * form.rate), form.channels), np.float32))
        sink.picture(frame(1.0 if k in clicks else 0.0, form.pixels))


def measured(path: Path) -> dict[str, Any]:
    """What an independent reader finds: times of pictures, of white ones, and of the first loud sample of each click."""
    times, white, clicks, loud_until = [], [], [], -1.0
    with av.open(str(path)) as file:
        for picture in file.decode(video=0):
            times.append(float(picture.pts * picture.time_base))
            if picture.to_ndarray(format="gray").mean() > 200:
                white.append(times[-1])
        stream = file.streams.video[0]
        facts = {"range": stream.codec_context.color_range, "comment": file.metadata.get("comment", file.metadata.get("COMMENT"))}
    with av.open(str(path)) as file:
        for block in file.decode(audio=0):
            samples = np.abs(block.to_ndarray()).max(0)
            start = float(block.pts * block.time_base)
            for i in np.flatnonzero(samples > 0.4):
                at = start + i / block.sample_rate
                if at > loud_until:
                    clicks.append(at)
                loud_until = at + 0.1
        end = start + block.samples / block.sample_rate
        facts |= {"channels": file.streams.audio[0].codec_context.channels, "rate": block.sample_rate}
    return {"times": times, "white": white, "clicks": clicks, "sound_end": end, **facts}


# ---------------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize(
    ("container", "rate", "channels"),
    [
        ("mp4", 48000, 2),
        ("mp4", 16000, 1),
        ("mp4", 44101, 1),
        ("mkv", 44100, 2),
        ("mkv", 8000, 1),
        ("ts", 48000, 1),
        ("ts", 22050, 2),
    ],
)
def test_sound_and_pictures_agree(tmp_path: Path, container: str, rate: int, channels: int) -> None:
    """A click track with a white picture at each click, read from the file by another library: 3 ms apart at most, every frame
    there, at its time; the sound as long as the pictures."""
    path, form = tmp_path / f"x.{container}", coding(container, rate, channels)
    sink = open_sink(form, Target(path))
    feed(sink, form, range(80), clicks=(25, 60, 79))
    sink.finish()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    seen = measured(path)
    np.testing.assert_allclose(np.diff(seen["times"]), 1 / FPS, atol=1e-4)
    assert len(seen["times"]) == 80 and seen["channels"] == channels and seen["range"] == 1
    np.testing.assert_allclose(seen["white"], np.array([25, 60, 79]) / FPS + seen["times"][0], atol=1e-3)
    np.testing.assert_allclose(seen["clicks"], seen["white"], atol=3e-3)
    assert seen["times"][0] < 0.07 if container == "ts" else seen["times"][0] == 0
    assert seen["sound_end"] - seen["times"][0] == pytest.approx(80 / FPS, abs=1024 / seen["rate"] + 1e-3)
    assert seen["rate"] == (48000 if container == "ts" and rate < 32000 else 44100 if rate == 44101 else rate)


@pytest.mark.parametrize("container", CODED)
def test_nothing_is_kept_back(tmp_path: Path, container: str) -> None:
    """Every frame that was given can be decoded while the stream goes on, with sound 150 ms ahead; the part can be played."""
    target, form = Target(tmp_path / f"x.{container}"), coding(container)
    sink = open_sink(form, target)
    try:
        feed(sink, form, range(30), ahead=0.15)
        assert target.part is not None
        end, frames = time.monotonic() + 20, 0
        while frames < 30 and time.monotonic() < end:
            time.sleep(0.05)
            frames = sum(1 for p in _packets(target.part) if p)
        assert frames == 30
        assert target.path is not None and not target.path.exists()
    finally:
        sink.abort()


def _packets(path: Path) -> list[int]:
    try:
        with av.open(str(path)) as file:
            return [p.size for p in file.demux(video=0)]
    except av.error.FFmpegError:  # nothing yet
        return []


def test_raw_pictures_are_the_bytes_themselves(tmp_path: Path) -> None:
    form = coding("y4m")
    sink = open_sink(form, Target(tmp_path / "x.y4m"))
    pictures = [np.random.default_rng(k).integers(0, 255, (SIDE * 3 // 2, SIDE)).astype(np.uint8) for k in range(5)]
    sink.sound(np.zeros((100, 1), np.float32))
    for picture in pictures:
        sink.picture(picture)
    sink.finish()
    head, _, rest = (tmp_path / "x.y4m").read_bytes().partition(b"\n")
    assert head.startswith(b"YUV4MPEG2 W64 H64 F25:1 ") and b"AI_GENERATED" in head and b"=trainedAlgorithmicMedia" in head
    assert len(head) < 120  # with four-digit sides too, ffmpeg reads 127 bytes
    assert rest == b"".join(b"FRAME\n" + p.tobytes() for p in pictures)
    with av.open(str(tmp_path / "x.y4m")) as file:
        np.testing.assert_array_equal([f.to_ndarray() for f in file.decode(video=0)], pictures)
    sink = open_sink(coding("rgb24", pixels="rgb24"), Target(tmp_path / "x.rgb"))
    sink.picture(frame(0.5, "rgb24"))
    sink.finish()
    assert (tmp_path / "x.rgb").read_bytes() == frame(0.5, "rgb24").tobytes()


def test_rgb_pictures_become_the_same_colours(tmp_path: Path) -> None:
    """An engine that gives RGB: BT.709, limited range, as the tags say."""
    form = coding("mp4", pixels="rgb24")
    sink = open_sink(form, Target(tmp_path / "x.mp4"))
    feed(sink, form, range(5), clicks=(0, 1, 2, 3, 4))
    sink.finish()
    with av.open(str(tmp_path / "x.mp4")) as file:
        luma = next(file.decode(video=0)).to_ndarray()[:SIDE]
    assert luma.mean() == pytest.approx(235, abs=1)


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("container", CODED)
def test_the_stream_says_that_ai_made_it(tmp_path: Path, container: str, mark: bool) -> None:
    path, form = tmp_path / f"x.{container}", coding(container, mark=mark)
    sink = open_sink(form, Target(path))
    feed(sink, form, range(3))
    sink.finish()
    if container == "ts":
        assert (b"AI-generated" in path.read_bytes()) is mark
        return
    assert (measured(path)["comment"] == provenance.COMMENT) is mark
    if container == "mp4":
        assert provenance.read_xmp(path) == (provenance.xmp_packet() if mark else None)


# ---------------------------------------------------------------------------------------------------- packets


def test_packets_come_whole_from_any_pieces() -> None:
    call = [str(find_ffmpeg()), "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=0.4", "-c:v", "libx264", "-tune"]
    call += ["zerolatency", "-pix_fmt", "yuv420p", "-f", "flv", "-flvflags", "no_duration_filesize", "pipe:1"]
    data = subprocess.run(call, capture_output=True, check=True).stdout
    whole = FlvReader().push(data)
    assert [p.config for p in whole] == [True] + [False] * 10
    assert [p.key for p in whole[1:]] == [True] + [False] * 9
    for step in (1, 3, 1000):
        reader, out = FlvReader(), list[Packet]()
        for start in range(0, len(data), step):
            out += reader.push(data[start : start + step])
        assert out == whole
    with pytest.raises(ValueError, match="no FLV"):
        FlvReader().push(b"RIFF" + bytes(20))


def test_rates_of_aac() -> None:
    assert sound_rate(bytes((0x11, 0x90))) == 48000
    assert sound_rate(bytes((0x14, 0x08))) == 16000
    with pytest.raises(ValueError, match="15"):
        sound_rate(bytes((0x17, 0x80)))


# ---------------------------------------------------------------------------------------------------- ends


def fill(sink: Sink, form: Coding, seconds: float = 20) -> None:
    """Feed until something is said."""
    end, k = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        feed(sink, form, range(k, k + 1))
        sink.check()
        k += 1


@pytest.mark.parametrize("container", CODED)
def test_a_reader_that_leaves_is_no_error(container: str) -> None:
    read, write = os.pipe()
    form = coding(container)
    sink = open_sink(form, Target(None, write))
    feed(sink, form, range(3))
    os.close(read)
    with pytest.raises(ConsumerGone):
        fill(sink, form)
    sink.abort()
    os.close(write)
    assert isinstance(sink, CodedSink) and sink._process.returncode is not None


@pytest.mark.parametrize("container", CODED)
def test_ffmpeg_that_dies_is_one_line(tmp_path: Path, container: str) -> None:
    target, form = Target(tmp_path / f"x.{container}"), coding(container)
    sink = open_sink(form, target)
    assert isinstance(sink, CodedSink)
    feed(sink, form, range(30))
    os.kill(sink._process.pid, signal.SIGKILL)
    with pytest.raises(EncoderError, match="killed") as caught:
        fill(sink, form)
    assert "\n" not in str(caught.value)
    sink.abort()
    assert not (tmp_path / f"x.{container}").exists()
    left = target.left()
    assert left is None or left.stat().st_size > 0


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EncoderError, match="file, not a folder"):
        open_sink(coding("mp4"), Target(tmp_path / "file" / "x.mp4"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    form = coding("mkv")
    full = os.open("/dev/full", os.O_WRONLY)
    sink = open_sink(form, Target(None, full))
    with pytest.raises(EncoderError, match="No space left"):
        fill(sink, form)
    sink.abort()
    os.close(full)


def test_what_names_and_options_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [container_of(Path(n), None) for n in ("a.MP4", "a.ts", "a.mkv", "a.y4m", "a.rgb")] == [
        "mp4",
        "ts",
        "mkv",
        "y4m",
        "rgb24",
    ]
    assert container_of(None, None) == "mp4" and container_of(Path("a.bin"), "ts") == "ts"
    for path, name in ((Path("a.avi"), None), (None, "avi")):
        with pytest.raises(UsageError, match="avi"):
            container_of(path, name)
    monkeypatch.setattr("vasa_cli.stream.encode.working_nvenc", lambda ffmpeg: False)
    assert choose_encoder("auto") == choose_encoder(None) == choose_encoder("x264") == "x264"
    with pytest.raises(EncoderError, match="nvenc"):
        choose_encoder("nvenc")
    with pytest.raises(UsageError, match="known are"):
        choose_encoder("h265")
    monkeypatch.setattr("vasa_cli.stream.encode.working_nvenc", lambda ffmpeg: True)
    monkeypatch.setattr("vasa_cli.stream.encode._codes_live", lambda ffmpeg: False)
    assert choose_encoder("auto") == "x264"  # three frames do not come out with the options of streams
    monkeypatch.setattr("vasa_cli.stream.encode._codes_live", lambda ffmpeg: True)
    assert choose_encoder("auto") == "nvenc"
    call = command(replace(coding("mp4"), encoder="nvenc"), 3, 4, (5, 6))
    assert "h264_nvenc" in call and "libx264" not in call
