"""Bombs: small files that ask for gigabytes, hours or endless nesting are refused from their headers, in one line."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import time
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well
from PIL import Image

from vasa_cli import limits, parsing
from vasa_cli.errors import InputError, VasaError, WeightsError
from vasa_cli.motion.track import MotionTrack, parse_rate
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.portrait.pixels import read_photo
from vasa_cli.speech.audio import SpeechReader, load_speech
from vasa_cli.video.clip import probe
from vasa_cli.video.ffmpeg import find_ffmpeg
from vasa_cli.weights.registry import load_tensors


def png_of(width: int, height: int) -> bytes:
    """A PNG that announces this size and holds almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")


MEASURE = (  # a small process in between: Linux counts what its parent had before it became another program
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10); sys.exit(code)"
)


def peak(*command: object, cwd: Path, env: dict[str, str]) -> tuple[int, str, int]:
    """Exit code, stderr, and the most memory of the command or of one that it started, in MB."""
    call = [sys.executable, "-c", MEASURE, *map(str, command)]
    done = subprocess.run(call, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr, int(done.stdout)


# ---------------------------------------------------------------------------------------------------- pictures and clips


def solid(path: Path, width: int, height: int) -> Path:
    """A true picture of one colour, in a few hundred kilobytes at most."""
    Image.new("RGB", (width, height), (9, 9, 9)).save(path, compress_level=1)
    return path


def test_a_large_photo_takes_few_bytes_a_pixel(tmp_path: Path, environment: dict[str, str]) -> None:
    """Copies took 13 bytes: 1.6 GB for the 120 megapixels that a file of 350 KB can show."""
    path = solid(tmp_path / "a.png", 8000, 5000)
    code = "import sys; from vasa_cli.portrait.pixels import read_photo; from pathlib import Path; read_photo(Path(sys.argv[1]))"
    done, errors, megabytes = peak(sys.executable, "-c", code, path, cwd=tmp_path, env=environment)
    assert done == 0, errors
    assert megabytes < 100 + 9 * 40, f"{megabytes} MB for 40 megapixels"


def test_bombs_in_the_rows_of_a_batch(tmp_path: Path, face: Path, speech: Path, environment: dict[str, str]) -> None:
    """Each fails with one line or is read for what it truly holds; the next row is done as if nothing had been."""
    wide = png_of(100_000_000, 1)
    whole = speech.read_bytes()
    at = whole.index(b"data")
    clip = subprocess.run(
        [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64:d=0.2:r=25", "-f", "mp4", "-movflags",
         "frag_keyframe+empty_moov+default_base_moof", "pipe:1"], capture_output=True, check=True,
    ).stdout  # fmt: skip
    mp4 = tmp_path / "clip.mp4"
    mp4.write_bytes(clip)
    subprocess.run([find_ffmpeg(), "-v", "error", "-i", mp4, "-c", "copy", "-y", tmp_path / "long.mp4"], check=True)
    long = bytearray((tmp_path / "long.mp4").read_bytes())
    steps = long.index(b"stts") + 16
    long[steps : steps + 4] = b"\x7f\xff\xff\xff"  # a frame lasts two days
    Image.new("P", (64, 64)).save(tmp_path / "a.gif")
    gif = bytearray((tmp_path / "a.gif").read_bytes())
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    bombs = {"wide.png": wide, "canvas.gif": bytes(gif), "long.mp4": bytes(long)}
    bombs["endless.wav"] = whole[:4] + b"\xff" * 4 + whole[8 : at + 4] + b"\xff\xff\xff\xf0"[::-1] + whole[at + 8 :]
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    rows: list[dict[str, Any]] = [
        {"portrait": "wide.png"}, {"portrait": "canvas.gif"}, {"portrait": str(face), "background": "wide.png"},
        {"portrait": str(face), "audio": None, "drive": "long.mp4"}, {"portrait": str(face), "audio": "endless.wav"},
    ]  # fmt: skip
    manifest = [json.dumps({"id": str(i), "audio": str(speech), "size": 256, **row}) for i, row in enumerate(rows)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(manifest))
    command = (sys.executable, "-m", "vasa_cli", "batch", "jobs.jsonl", "--weights", "smoke", "--progress", "lines")
    code, errors, megabytes = peak(*command, cwd=tmp_path, env=environment)
    assert code == 8, errors
    assert megabytes < 1024 and "Traceback" not in errors
    ends = [json.loads(line) for line in (tmp_path / "jobs.jsonl.journal.jsonl").read_text().splitlines()]
    ended = {line["id"]: line for line in ends if line["event"] == "end"}
    assert [ended[str(i)]["status"] for i in range(5)] == ["failed"] * 4 + ["done"]
    for i, words in enumerate(("100000000x1", "65535x65535", "100000000x1", "--max-duration")):
        assert ended[str(i)]["exit_code"] == 3 and words in ended[str(i)]["error"], ended[str(i)]
    assert ended["4"]["frames"] == 6  # as many as there are sounds


def test_a_picture_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    for size in ((30000, 30000), (2**31 - 1, 2**31 - 1), (120_001, 1000)):
        path.write_bytes(png_of(*size))
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        with pytest.raises(InputError, match="--max-pixels") as failed:
            read_photo(path)
        assert f"{size[0]}x{size[1]}" in str(failed.value)
        assert time.monotonic() - began < 2 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB
    Image.new("RGB", (200, 200)).save(path)
    assert read_photo(path).shape == (200, 200, 3)
    monkeypatch.setenv(limits.PIXELS_ENV, "39999")
    with pytest.raises(InputError, match="200x200"):
        read_photo(path)


def test_more_pixels_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has a limit of its own, 179 megapixels: the flag goes beyond it, and the limit is as before afterwards."""
    path, before = tmp_path / "wide.png", Image.MAX_IMAGE_PIXELS
    Image.new("L", (20000, 9500)).save(path)
    monkeypatch.setenv(limits.PIXELS_ENV, "189999999")
    with pytest.raises(InputError, match="190"):
        read_photo(path)
    monkeypatch.setenv(limits.PIXELS_ENV, "200000000")
    assert read_photo(path).shape == (9500, 20000, 3)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_size_that_the_file_cannot_fill(tmp_path: Path) -> None:
    """Within the limit, but 100 megapixels would be made of a few hundred bytes: found by fuzzing, a gigabyte each."""
    path = tmp_path / "short.png"
    path.write_bytes(png_of(10000, 10000))
    with pytest.raises(InputError, match="cut short, or empty"):
        read_photo(path)


def test_what_pillow_raises_on_damage_is_one_line(tmp_path: Path) -> None:
    """Found by fuzzing: NotImplementedError for a DDS of an unknown kind."""
    path = tmp_path / "odd.jpg"
    path.write_bytes(
        b"DDS |\0\0\0" + struct.pack("<IIIIII", 0, 16, 16, 0, 0, 0) + bytes(44) + struct.pack("<II", 32, 0) + bytes(60)
    )
    with pytest.raises(InputError, match="damaged"):
        read_photo(path)


def test_the_flags_reach_the_readers(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "a.mp4", "--weights", "smoke", "-n")
    assert_fails_well(vasa("render", astronaut, speech, *out, "--max-pixels", 262143), 3, "512x512", "--max-pixels")
    assert vasa("render", astronaut, speech, *out, "--max-pixels", 262144).returncode == 0
    assert_fails_well(vasa("render", face, speech, *out, "--max-duration", 0.2), 3, "speech.wav", "--max-duration")
    assert_fails_well(vasa("render", face, speech, *out, env={limits.DURATION_ENV: "0.2"}), 3, "--max-duration")
    assert_fails_well(vasa("encode", astronaut, "--max-pixels", 1000), 3, "--max-pixels")


def test_no_program_is_started_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow starts Ghostscript for EPS."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 512 512\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as raw:
        assert raw.format == "EPS"  # Pillow alone would take it
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *a, **k: pytest.fail("a program was started"))
    with pytest.raises(InputError, match="not a picture"):
        read_photo(path)


def test_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    source = "testsrc=s=320x240:r=25:d=2"
    subprocess.run([str(find_ffmpeg()), "-v", "error", "-f", "lavfi", "-i", source, str(path)], check=True)
    assert probe(path).size == (320, 240)
    monkeypatch.setenv(limits.PIXELS_ENV, "76799")
    with pytest.raises(InputError, match=r"320x240.*--max-pixels"):
        probe(path)
    monkeypatch.delenv(limits.PIXELS_ENV)
    monkeypatch.setenv(limits.DURATION_ENV, "1.5")
    with pytest.raises(InputError, match="--max-duration"):
        probe(path)


# ---------------------------------------------------------------------------------------------------- sound


def test_recordings_that_last_too_long(tone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tone("a.wav", 3.0), tone("a.flac", 3.0), tone("a.ogg", 3.0)]
    aac = paths[0].with_suffix(".m4a")
    subprocess.run([str(find_ffmpeg()), "-v", "error", "-i", str(paths[0]), str(aac)], check=True)
    monkeypatch.setenv(limits.DURATION_ENV, "2.5")
    for path in (*paths, aac):
        for read in (SpeechReader, load_speech):
            with pytest.raises(InputError, match="--max-duration"):
                read(path)  # type: ignore[operator]
    monkeypatch.setenv(limits.DURATION_ENV, "4")
    assert all(SpeechReader(path).seconds < 3.3 for path in (*paths, aac))


def test_a_day_of_silence_in_a_small_file(tmp_path: Path) -> None:
    """FLAC writes silence in a few bytes a block: refused while it is counted, in constant memory."""
    import soundfile

    path, rate = tmp_path / "day.flac", 8000
    with soundfile.SoundFile(path, "w", rate, 1, format="FLAC") as f:
        for _ in range(7):
            f.write(np.zeros(3600 * rate, np.int16))
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="--max-duration"):
        SpeechReader(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


@pytest.mark.parametrize(("rate", "channels", "words"), [(10, 1, "10 Hz"), (2**31 - 1, 1, "Hz"), (16000, 65, "65 channels")])
def test_rates_and_channels_that_nothing_has(tmp_path: Path, rate: int, channels: int, words: str) -> None:
    path = tmp_path / "odd.wav"
    with wave.open(str(path), "wb") as f:
        f.setnchannels(channels)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(bytes(2 * channels * 4000))
    with pytest.raises(InputError, match=words):
        SpeechReader(path)


# ---------------------------------------------------------------------------------------------------- safetensors


def header_file(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def tensor(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


BAD_HEADERS: dict[str, tuple[Any, bytes, int | None]] = {
    "longer than the file": ({}, b"", 2**60),
    "a terabyte": ({"pose": tensor([2**40], 0, 2**42)}, bytes(64), None),
    "does not fit its shape": ({"pose": tensor([5], 0, 64)}, bytes(64), None),
    "overlapping": ({"pose": tensor([16], 0, 64), "dynamics": tensor([16], 0, 64)}, bytes(64), None),
    "a hole": ({"pose": tensor([4], 0, 16), "dynamics": tensor([4], 32, 48)}, bytes(48), None),
    "more behind": ({"pose": tensor([4], 0, 16)}, bytes(64), None),
    "negative": ({"pose": tensor([-4], 0, 16)}, bytes(16), None),
    "unknown type": ({"pose": tensor([4], 0, 16, "X9")}, bytes(16), None),
    "too many": ({f"t{i}": tensor([0], 0, 0) for i in range(5000)}, b"", None),
    "nested": (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", b"", None),
    "no json": (b"\xff\xfe{}", b"", None),
    "a list": ([], b"", None),
    "numbers for text": ({"__metadata__": {"format": 1}}, b"", None),
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_headers_are_proven_before_anything_is_loaded(kind: str, tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.safetensors", *BAD_HEADERS[kind])
    for load in (MotionTrack.load, FaceLatent.load):
        with pytest.raises(InputError, match=r"a\.safetensors"):
            load(path)
    with pytest.raises(ValueError):  # noqa: PT011  (each has its own words)
        parsing.check_safetensors(path, 1 << 30)
    path.rename(tmp_path / "speech.safetensors")
    with pytest.raises(WeightsError):
        load_tensors("speech", root=tmp_path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = header_file(tmp_path / "a.safetensors", {"pose": tensor([2**30], 0, 2**32)})
    os.truncate(path, path.stat().st_size + 2**32)  # sparse: takes no room
    for load in (MotionTrack.load, FaceLatent.load):
        with pytest.raises(InputError, match="MB"):
            load(path)


def test_rates_of_motion_files(tmp_path: Path) -> None:
    """'1e999999999' is a Fraction that would be written out; 1/0 is none; a frame a year would be padded with silence."""
    track = MotionTrack(np.zeros((4, 6), np.float32), np.zeros((4, 3), np.float32))
    track.save(tmp_path / "a.safetensors")
    raw = (tmp_path / "a.safetensors").read_bytes()
    for text in ("1e999999999", "1/0", "1/99999999", "-25/1", "nan", "0", "1/2/3", "٢٥"):
        with pytest.raises(ValueError, match="rate"):
            parse_rate(text)
    assert parse_rate("30000/1001") == Fraction(30000, 1001)
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    for key, value in (("fps", "1e999999999"), ("seed", "9" * 5000), ("controls", "[" * 100_000), ("hashes", "3")):
        changed = {**header, "__metadata__": {**header["__metadata__"], key: value}}
        with pytest.raises(InputError, match="damaged"):
            MotionTrack.load(header_file(tmp_path / "b.safetensors", changed, raw[8 + size :]))


def test_limits_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("many", "-1", "nan", "inf", "1e99"):
        monkeypatch.setenv(limits.PIXELS_ENV, text)
        with pytest.raises(VasaError, match=limits.PIXELS_ENV):
            limits.max_pixels()
