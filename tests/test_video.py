"""The writer, on frames made here: exact lengths, whole files or none, the mark, the hash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vasa_cli.errors import EncoderError, InputError, UsageError
from vasa_cli.video import ffmpeg as ff
from vasa_cli.video.formats import format_of
from vasa_cli.video.framehash import frame_hash
from vasa_cli.video.provenance import SOURCE_TYPE, read_xmp
from vasa_cli.video.receipt import checked_input, read_receipt, receipt_path, stored_path, write_receipt
from vasa_cli.video.writer import VideoWriter

SIZE = (64, 48)
FPS = Fraction(25)


def frames(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 1).repeat(8, 2)  # (B, 48, 64, 3)


def write(path: Path, count: int = 10, audio: Path | None = None, **options: object) -> VideoWriter:
    with VideoWriter(path, SIZE, FPS, count, audio, **options) as writer:  # type: ignore[arg-type]
        for start in range(0, count, 4):
            writer.write(frames(count)[start : start + 4])
    return writer


def fake_ffmpeg(folder: Path, body: str) -> Path:
    """An ffmpeg of our own making; REAL is the true one."""
    path = folder / "ffmpeg-fake"
    path.write_text(f"#!/bin/sh\nREAL='{ff.find_ffmpeg()}'\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".MP4"])
def test_formats_lengths_and_colours(tmp_path: Path, tone: Callable[..., Path], suffix: str) -> None:
    path = tmp_path / "new folder" / f"aus gabe ü{suffix}"
    writer = write(path, 10, tone("a.wav", seconds=0.39, rate=44100, channels=2))
    assert writer.result is not None
    assert writer.result.frames == 10
    with av.open(str(path)) as video:
        picture, sound = video.streams.video[0], video.streams.audio[0]
        assert (picture.codec_context.name, picture.average_rate) == ("h264", 25)
        assert (picture.codec_context.width, picture.codec_context.height) == SIZE
        assert picture.codec_context.pix_fmt == "yuv420p"
        assert picture.codec_context.colorspace == 1  # bt709
        assert (sound.codec_context.name, sound.rate, sound.channels) == ("aac", 44100, 2)
        assert sum(1 for _ in video.decode(video=0)) == 10
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_pixels_survive_with_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    flat = np.empty((4, SIZE[1], SIZE[0], 3), np.uint8)
    flat[:] = (200, 120, 60)
    with VideoWriter(path, SIZE, FPS, 4, crf=8) as writer:
        writer.write(flat)
    with av.open(str(path)) as video:
        frame = next(video.decode(video=0))
        rgb = frame.reformat(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709").to_ndarray()
    assert np.abs(rgb.astype(int) - flat[0]).max() <= 4


def test_planes_are_stored_as_they_are(tmp_path: Path) -> None:
    """yuv420p in: the decoded planes are those that were written, but for x264's own loss; no colour conversion in between."""
    planes = np.empty((4, SIZE[1] * 3 // 2, SIZE[0]), np.uint8)
    planes[:, : SIZE[1]], planes[:, SIZE[1] : SIZE[1] * 5 // 4], planes[:, SIZE[1] * 5 // 4 :] = 180, 90, 160
    planes[:, : SIZE[1] // 2, : SIZE[0] // 2] = 60
    path = tmp_path / "a.mp4"
    with VideoWriter(path, SIZE, FPS, 4, crf=4, pixels="yuv420p") as writer:
        assert writer.first_at is None
        writer.write(planes)
        assert writer.first_at is not None
    with av.open(str(path)) as video:
        frame = next(video.decode(video=0))
        assert (frame.format.name, video.streams.video[0].codec_context.colorspace) == ("yuv420p", 1)
        assert np.abs(frame.to_ndarray().astype(int) - planes[0]).max() <= 3


def test_frames_of_another_form_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"\(B, 72, 64\)"),
        VideoWriter(tmp_path / "a.mp4", SIZE, FPS, 1, pixels="yuv420p") as writer,
    ):
        writer.write(frames(1))
    with pytest.raises(ValueError, match=r"\(B, 48, 64, 3\)"), VideoWriter(tmp_path / "a.mp4", SIZE, FPS, 1) as writer:
        writer.write(np.zeros((1, 72, 64), np.uint8))
    with pytest.raises(ValueError, match="not yuv420p"):
        VideoWriter(tmp_path / "a.mov", SIZE, FPS, 1, alpha=True, pixels="yuv420p")


@pytest.mark.parametrize(("seconds", "count"), [(0.02, 1), (0.1, 3), (0.4, 10), (0.401, 11), (3.0, 10)])
def test_audio_is_padded_or_cut_to_the_frames(tmp_path: Path, tone: Callable[..., Path], seconds: float, count: int) -> None:
    path = tmp_path / "a.mp4"
    write(path, count, tone("a.wav", seconds=seconds, rate=48000))
    with av.open(str(path)) as video:
        sound, picture = video.streams.audio[0], video.streams.video[0]
        assert float(picture.duration * picture.time_base) == pytest.approx(count / 25, abs=1e-6)
        assert float(sound.duration * sound.time_base) == pytest.approx(count / 25, abs=0.025)
        assert video.duration is not None
        assert video.duration / 1e6 == pytest.approx(count / 25, abs=0.025)


def test_sound_stays_where_it_was(tmp_path: Path) -> None:
    """A click at 0.2 s is at 0.2 s in the video, within 2 ms."""
    import soundfile

    samples = np.zeros(48000 // 2)
    samples[9600:9620] = 0.9
    soundfile.write(tmp_path / "click.wav", samples, 48000)
    write(tmp_path / "a.mp4", 13, tmp_path / "click.wav")
    out = tmp_path / "back.wav"
    subprocess.run([ff.find_ffmpeg(), "-v", "error", "-i", tmp_path / "a.mp4", "-vn", out], check=True)
    decoded, rate = soundfile.read(out)
    assert abs(np.abs(decoded).argmax() / rate - 0.2) < 0.002


def test_full_rate_is_kept(tmp_path: Path, tone: Callable[..., Path]) -> None:
    path = tmp_path / "a.mp4"
    write(path, 10, tone("a.wav", rate=96000, channels=2))
    with av.open(str(path)) as video:
        assert (video.streams.audio[0].rate, video.streams.audio[0].channels) == (96000, 2)


def test_the_hash_is_of_the_decoded_frames(tmp_path: Path) -> None:
    first, again, other = tmp_path / "1.mp4", tmp_path / "2.mkv", tmp_path / "3.mp4"
    a, b = write(first), write(again)
    assert a.result == b.result == frame_hash(first, SIZE)
    with VideoWriter(other, SIZE, FPS, 10) as writer:
        writer.write(frames(10, seed=1))
    assert writer.result is not None
    assert writer.result.sha256 != a.result.sha256
    with av.open(str(first)) as video:
        import hashlib

        planes = b"".join(f.reformat(format="yuv420p").to_ndarray().tobytes() for f in video.decode(video=0))
    assert hashlib.sha256(planes).hexdigest() == a.result.sha256  # an independent decoder agrees


def test_ai_mark_is_in_the_file_unless_left_out(tmp_path: Path) -> None:
    marked, plain, matroska = tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mkv"
    write(marked)
    write(plain, mark=False)
    write(matroska)
    packet = read_xmp(marked)
    assert packet is not None
    assert SOURCE_TYPE.encode() in packet
    import xml.etree.ElementTree as ET

    ET.fromstring(packet.split(b"?>", 1)[1].rsplit(b"<?xpacket", 1)[0])
    with av.open(str(marked)) as video:
        assert "AI-generated" in video.metadata["comment"]
    assert read_xmp(plain) is None
    with av.open(str(plain)) as video:
        assert "comment" not in {k.lower() for k in video.metadata}
    with av.open(str(matroska)) as video:
        assert video.metadata["DIGITAL_SOURCE_TYPE"] == SOURCE_TYPE


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "a.mp4", SIZE, FPS, 50) as writer:
            seen.append(writer)
            writer.write(frames(4))
            raise KeyboardInterrupt

    seen: list[VideoWriter] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    assert seen[0]._process is not None
    assert seen[0]._process.poll() is not None


def test_an_older_video_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="announced"), VideoWriter(path, SIZE, FPS, 50) as writer:
        writer.write(frames(4))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_midway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASA_FFMPEG", str(fake_ffmpeg(tmp_path, "head -c 30000 >/dev/null; kill -9 $$")))
    out = tmp_path / "out"
    with pytest.raises(EncoderError, match=r"killed \(signal 9\)"):
        write(out / "a.mp4", 400)
    assert list(out.iterdir()) == []


def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "head -c 30000 >/dev/null; echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 228"
    monkeypatch.setenv("VASA_FFMPEG", str(fake_ffmpeg(tmp_path, body)))
    with pytest.raises(EncoderError, match="no space left on the disk"):
        write(tmp_path / "a.mp4", 400)


def test_a_really_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        noise = np.random.default_rng(0).integers(0, 256, (60, SIZE[1], SIZE[0], 3), dtype=np.uint8)
        with (
            pytest.raises(EncoderError, match="no space left on the disk"),
            VideoWriter(disk / "a.mp4", SIZE, FPS, 60, crf=0) as writer,
        ):
            writer.write(noise)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EncoderError, match="not a folder"):
        write(tmp_path / "file" / "a.mp4")
    if sys.platform == "linux":
        with pytest.raises(EncoderError, match=r"/proc/.*"):
            write(Path("/proc/a.mp4"))


def test_broken_audio_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "a.wav"
    bad.write_text("not audio")
    with pytest.raises(EncoderError) as caught:
        write(tmp_path / "a.mp4", 400, bad)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.mp4").exists()


def test_unknown_suffix() -> None:
    for name in ("a.avi", "a", "a.mp3"):
        with pytest.raises(UsageError, match=r"\.mp4, \.m4v, \.mov, \.mkv"):
            format_of(Path(name))


def test_ffmpeg_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VASA_FFMPEG", raising=False)
    weak = tmp_path / "bin"
    weak.mkdir()
    (weak / "ffmpeg").write_text("#!/bin/sh\necho ' V..... mpeg4 MPEG-4'\n")
    (weak / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(weak))
    assert ff.find_ffmpeg() == ff.bundled_ffmpeg()  # the system's lacks libx264
    monkeypatch.setattr(ff, "bundled_ffmpeg", lambda: None)
    ff._find.cache_clear()
    with pytest.raises(EncoderError, match=r"lacks libx264 and aac.*pip install"):
        ff.find_ffmpeg()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(EncoderError, match="none is on the PATH"):
        ff.find_ffmpeg()
    monkeypatch.setenv("VASA_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(EncoderError, match="VASA_FFMPEG"):
        ff.find_ffmpeg()
    ff._find.cache_clear()


def test_receipts(tmp_path: Path) -> None:
    photo = tmp_path / "in" / "photo ü.png"
    photo.parent.mkdir()
    photo.write_bytes(b"pixels")
    video = tmp_path / "out" / "a.mp4"
    path = write_receipt(video, {"seed": 0})
    assert path == receipt_path(video)
    assert read_receipt(path)["seed"] == 0
    import hashlib

    entry = {"path": stored_path(photo, path), "sha256": hashlib.sha256(b"pixels").hexdigest()}
    assert entry["path"] == "../in/photo ü.png"
    assert checked_input(entry, path, "portrait") == photo
    photo.write_bytes(b"other pixels")
    with pytest.raises(InputError, match=r"photo ü\.png: the portrait has changed"):
        checked_input(entry, path, "portrait")
    photo.unlink()
    with pytest.raises(InputError, match="is not there"):
        checked_input(entry, path, "portrait")
    for text in ("", "{}", "[1]", "{"):
        path.write_text(text)
        with pytest.raises(InputError, match="not a receipt"):
            read_receipt(path)
