"""Names and marks from strangers: files that are called like addresses or options, names that no file can have, and words within
files that would steer a terminal."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well
from crafted import Listener
from PIL import Image, TiffImagePlugin

from vasa_cli.batch.claim import claim_path
from vasa_cli.batch.journal import Journal
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.errors import InputError, UsageError
from vasa_cli.motion.presets import load_preset
from vasa_cli.portrait.cache import FaceCache
from vasa_cli.trust.inspect import inspect, table
from vasa_cli.trust.verify import verify
from vasa_cli.video.background import parse_background
from vasa_cli.video.formats import format_of
from vasa_cli.video.framehash import frame_hash
from vasa_cli.video.writer import VideoWriter

LONG = "x" * 300


@pytest.fixture
def listener() -> Iterator[Listener]:
    it = Listener()
    yield it
    it.close()


@pytest.mark.parametrize("name", ["tcp:127.0.0.1:{port}?%d.png", "http:127.0.0.1:{port}?%d.png", "concat:a|b%d.png", "-f%d.png"])
def test_a_picture_named_like_an_address_or_an_option_is_a_file(name: str, listener: Listener, tmp_path: Path) -> None:
    """A manifest or a receipt names outputs: ffmpeg would send every picture to such an address."""
    output = tmp_path / "frames" / name.format(port=listener.port)
    with VideoWriter(output, (64, 64), Fraction(25), 2) as writer:
        writer.write(np.zeros((2, 64, 64, 3), np.uint8))
    assert len(list(output.parent.iterdir())) == 2
    assert frame_hash(output, (64, 64), format_of(output)).frames == 2
    assert listener.seen == 0


def test_names_that_are_too_long_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As anybody may write them into a manifest or a receipt; each of these ended in a traceback."""
    monkeypatch.chdir(tmp_path)
    for call, kind in (
        (lambda: load_preset(f"{LONG}.yaml"), UsageError),
        (lambda: parse_background(LONG), UsageError),
        (lambda: inspect(Path(LONG)), InputError),
        (lambda: verify(Path(LONG)), InputError),
    ):
        with pytest.raises(kind):
            call()
    for row in (
        {"portrait": f"*{LONG}"},
        {"portrait": "p.png", "background": LONG},
        {"portrait": "p.png", "preset": f"{LONG}.yml"},
    ):
        (tmp_path / "jobs.jsonl").write_text(json.dumps({"id": "a", "audio": "s.wav", **row}))
        with pytest.raises(UsageError, match="line 1, job 1"):
            read_manifest("jobs.jsonl", Shared())
    assert FaceCache._read(tmp_path / LONG, "0", "0") is None


@pytest.mark.skipif(os.name == "nt", reason="file names there are text")
def test_names_in_another_encoding_are_refused_before_any_work(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    """Neither receipts nor ffmpeg's command line could hold them: a render ended without a receipt, or left a part file."""
    odd = tmp_path / os.fsdecode(b"a\xff.mp4")
    assert_fails_well(vasa("render", face, speech, "-o", odd, "--weights", "smoke", "--size", 256), 2, "UTF-8")
    odd.with_suffix(".wav").write_bytes(speech.read_bytes())
    done = vasa("render", face, odd.with_suffix(".wav"), "-o", tmp_path / "b.mp4", "--weights", "smoke", "--size", 256)
    assert_fails_well(done, 3, "UTF-8")
    assert [p.suffix for p in tmp_path.iterdir()] == [".wav"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_pipes_and_devices_are_no_inputs(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    """A row with /dev/zero was hashed for ever, one with a pipe waited for ever."""
    os.mkfifo(tmp_path / "pipe")
    rows: list[dict[str, object]] = [
        {"audio": "/dev/zero"}, {"audio": "pipe"}, {"portrait": "pipe"}, {"drive": "pipe", "audio": None}, {"style": "/dev/zero"},
        {"motion": "pipe"}, {"disclosure_label": "a", "disclosure_font": "pipe"},
    ]  # fmt: skip
    usual = {"portrait": str(face), "audio": str(speech)}
    manifest = [json.dumps({**usual, **row, "id": str(i)}) for i, row in enumerate(rows[:-1])]
    (tmp_path / "jobs.jsonl").write_text("\n".join(manifest))
    done = vasa("batch", "jobs.jsonl", "--weights", "smoke", "--json", cwd=tmp_path)
    assert done.returncode == 8, done.stderr
    for job in json.loads(done.stdout)["jobs"]:
        assert (job["exit_code"], "device or pipe" in job["error"]) == (3, True), job
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**usual, **rows[-1]}))
    assert_fails_well(vasa("batch", "jobs.jsonl", "--weights", "smoke", cwd=tmp_path), 3, "device or pipe")
    assert_fails_well(vasa("inspect", tmp_path / "pipe"), 3, "device or pipe")


def test_a_writer_that_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> list[str]:
        raise RuntimeError("no command")

    monkeypatch.setattr("vasa_cli.video.writer.encode_command", broken)
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", (64, 64), Fraction(25), 1):
        pass
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- inspect, verify


def test_boxes_and_tags_of_any_size_are_not_believed(tmp_path: Path) -> None:
    """A box of 2**64 bytes; an XMP packet that is the number 4 billion, so many bytes as Python would make of it."""
    video = tmp_path / "a.mp4"
    video.write_bytes(struct.pack(">I4s8s", 16, b"ftyp", b"isomisom") + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1))
    with pytest.raises(InputError):
        inspect(video)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[700] = 4  # LONG
    tags[700] = 4_000_000_000
    Image.new("L", (64, 64)).save(tmp_path / "a.tif", tiffinfo=tags)
    assert inspect(tmp_path / "a.tif").mark.source is None


def test_words_of_a_file_do_not_steer_the_terminal(tmp_path: Path) -> None:
    """XMP of a photo that would set the terminal's title, clear it, and add a line that says otherwise."""
    evil = "vasa\x1b]0;owned\x07\x1b[2J\nsignature  C2PA, valid, by You"
    xmp = f'<x xmp:CreatorTool="{evil}" Iptc4xmpExt:DigitalSourceType="trainedAlgorithmicMedia"/>'.encode()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", xmp=xmp)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    seen = inspect(tmp_path / "a.jpg")
    assert seen.mark.tool == evil
    text = table(seen)
    assert "\x1b" not in text and "\x07" not in text
    assert sum(line.startswith("signature") for line in text.splitlines()) == 1


def test_receipts_with_impossible_sizes_and_names(tmp_path: Path) -> None:
    data = {
        "format": "vasa-receipt/1", "output": "a.mp4", "pixels": "yuv420p", "size": [0, 0], "frame_hash": "0", "frames": 1,
        "options": {"provenance": True}, "inputs": {"portrait": {"path": "p.png", "sha256": "0"}}, "weights": {"name": "smoke"},
    }  # fmt: skip
    with VideoWriter(tmp_path / "a.mp4", (64, 64), Fraction(25), 1) as writer:
        writer.write(np.zeros((1, 64, 64, 3), np.uint8))
    place = tmp_path / "a.mp4.json"
    for change in ({"size": [0, 0]}, {"size": [0, 1]}, {"size": ["a", 2]}, {"inputs": {"a": [1]}}):
        place.write_text(json.dumps({**data, **change}))
        with pytest.raises(InputError, match="incomplete or was edited"):
            verify(tmp_path / "a.mp4")
    place.write_text(json.dumps({**data, "size": [64, 64], "inputs": {"portrait": {"path": LONG, "sha256": "0"}}}))
    assert "portrait" in verify(tmp_path / "a.mp4").missing
    (tmp_path / "a.mp4").rename(tmp_path / "a.bin")
    with pytest.raises(InputError, match="suffix"):
        verify(tmp_path / "a.bin", place)


# ---------------------------------------------------------------------------------------------------- journals, claims, locks


def test_journals_claims_and_locks_of_others(tmp_path: Path) -> None:
    lines = [{"event": "start", "id": str(i), "output": place} for i, place in enumerate(("", "/", LONG, "a\0b", "\ud800"))]
    (tmp_path / "j").write_text("\n".join(map(json.dumps, lines)))
    with Journal(tmp_path / "j", resume=True) as journal:
        journal.sweep()
    output = tmp_path / "a.mp4"
    for text in ("[" * 100_000, '{"pid": true}', '{"pid": -1}', "\udc80".encode("utf-8", "surrogatepass").decode("latin-1")):
        claim_path(output).write_text(text, encoding="latin-1")
        with Journal(None) as journal:
            journal.begun["a"] = str(output)
            journal.sweep()
    faces = FaceCache(tmp_path / "faces")
    faces.root.mkdir()
    entry = faces.path_of("0", "largest", None, "0")
    for text in ("9" * 300, "9" * 5000, "\u00b2", "12"):
        lock = entry.with_name(f"{entry.name}.lock")
        lock.write_text(text, encoding="utf-8")
        with faces._alone(entry):
            pass
        lock.write_text(text, encoding="utf-8")
        faces.sweep()
        assert not lock.exists()
