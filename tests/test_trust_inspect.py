"""Every container that we write says that AI made it, by IPTC's full URI and with the tool's version; `vasa inspect` reads it."""

from __future__ import annotations

import contextlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well

from vasa_cli import __version__
from vasa_cli.errors import InputError
from vasa_cli.picture import PictureOptions
from vasa_cli.requests import RenderRequest
from vasa_cli.stream.encode import Coding
from vasa_cli.stream.pipes import Target
from vasa_cli.stream.sink import open_sink
from vasa_cli.trust.inspect import inspect, table
from vasa_cli.trust.sign import ingredients_of
from vasa_cli.video.background import Background
from vasa_cli.video.writer import VideoWriter

URI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TOOL = f"vasa_cli {__version__}"
SIDE = 64


def written(path: Path, *, mark: bool, alpha: bool = False) -> Path:
    frames = np.zeros((4, SIDE, SIDE, 4 if alpha else 3), np.uint8)
    with VideoWriter(path, (SIDE, SIDE), Fraction(25), 4, mark=mark, alpha=alpha) as writer:
        writer.write(frames)
    return path


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["a.mp4", "a.m4v", "a.mov", "a.mkv", "a.webm", "frames/shot_%04d.png"])
def test_files_say_it_and_are_read_back(tmp_path: Path, name: str, alpha: bool) -> None:
    if alpha and name in ("a.mp4", "a.m4v", "a.mkv"):
        pytest.skip("holds no transparency")
    seen = inspect(written(tmp_path / name, mark=True, alpha=alpha))
    assert (seen.mark.source, seen.mark.tool, seen.mark.says_ai) == (URI, TOOL, True)
    plain = inspect(written(tmp_path / "plain" / name, mark=False, alpha=alpha))
    assert plain.mark.source is None and not plain.mark.says_ai
    for path in (tmp_path / "plain").rglob("*"):
        assert path.is_dir() or b"AI-generated" not in path.read_bytes()
    if name.startswith("frames"):
        assert (seen.kind, seen.facts["pictures"], seen.facts["marked"]) == ("pictures", 4, 4)
        assert inspect(tmp_path / "frames").to_json() == seen.to_json()
    else:
        assert (seen.kind, seen.facts["frames"], seen.facts["size"], seen.facts["sound"]) == ("video", 4, [SIDE, SIDE], False)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "y4m"])
def test_streams_say_it_and_are_read_back(tmp_path: Path, container: str) -> None:
    for mark in (True, False):
        path = tmp_path / f"{mark}.{container}"
        coding = Coding(container, (SIDE, SIDE), Fraction(25), 16000, 1, mark=mark)
        sink = open_sink(coding, Target(path))
        for number in range(5):
            sink.picture(np.full((SIDE * 3 // 2, SIDE), 40 * number, np.uint8))
            sink.sound(np.zeros((640, 1), np.float32))
        sink.finish()
        seen = inspect(path)
        assert seen.kind == "video"
        assert seen.mark.says_ai is mark, container
        if mark and container != "y4m":
            assert (seen.mark.source, seen.mark.tool) == (URI, TOOL)


def test_photos_with_and_without_a_mark(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (32, 32))
    attribute = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description Iptc4xmpExt:DigitalSourceType="{URI}"/></x:xmpmeta>'
    camera = attribute.replace("trainedAlgorithmicMedia", "digitalCapture")
    for name in ("a.jpg", "a.webp", "a.png"):
        picture.save(tmp_path / name)
        assert inspect(tmp_path / name).mark.source is None
        if name == "a.png":
            continue
        picture.save(tmp_path / name, xmp=attribute.encode())
        assert inspect(tmp_path / name).mark.source == URI
        picture.save(tmp_path / name, xmp=camera.encode())
        seen = inspect(tmp_path / name)
        assert seen.mark.source is not None and not seen.mark.says_ai
        assert "AI-generated" not in table(seen)


def test_one_picture_without_a_mark_is_seen(tmp_path: Path) -> None:
    from PIL import Image

    written(tmp_path / "frames" / "frame_%05d.png", mark=True)
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "frames" / "frame_00002.png")
    seen = inspect(tmp_path / "frames")
    assert (seen.facts["pictures"], seen.facts["marked"], seen.mark.says_ai) == (4, 3, False)


def test_a_folder_of_pictures_from_inside_and_with_other_files_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "frames" / "frame_%05d.png", mark=True)
    (tmp_path / "frames" / "0.txt").write_text("sorts before the pictures")
    outside = inspect(tmp_path / "frames")
    monkeypatch.chdir(tmp_path / "frames")
    inside = inspect(Path())
    assert outside.mark.says_ai
    assert (inside.mark, inside.facts["pictures"]) == (outside.mark, outside.facts["pictures"])


def test_what_is_seen_and_heard_is_an_ingredient() -> None:
    picture = PictureOptions(background=Background("picture", path=Path("wall.jpg")))
    request = RenderRequest(Path("p.png"), Path("s.wav"), Path("o.mp4"), track=Path("m.safetensors"), picture=picture)
    assert [path.name for path in ingredients_of(request)] == ["p.png", "s.wav", "m.safetensors", "wall.jpg"]


def test_the_command(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    """All kinds of files of one job, for people and for machines; --no-provenance is honoured and recorded."""
    small = ("--weights", "smoke", "--size", 256, "-q")
    done = vasa("render", face, speech, "-o", "a.mp4", *small, "--no-provenance", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert vasa("generate", face, speech, "-o", "m.safetensors", "--weights", "smoke", "-q", cwd=tmp_path).returncode == 0
    shown = {}
    for name in ("a.mp4", "a.mp4.json", "m.safetensors", str(face)):
        done = vasa("inspect", name, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        shown[name] = json.loads(done.stdout)
    assert [s["kind"] for s in shown.values()] == ["video", "receipt", "motion file", "face file"]
    assert shown["a.mp4"]["ai_generated"] is False and shown["a.mp4"]["receipt"] == "a.mp4.json"
    assert shown["a.mp4.json"]["marked_as_ai"] is False and shown["a.mp4.json"]["tool"] == TOOL
    assert (shown["m.safetensors"]["frames"], shown["m.safetensors"]["made"]) == (6, "generated")
    assert shown[str(face)]["photo_size"] == [512, 512]
    plain = vasa("inspect", "a.mp4", cwd=tmp_path).stdout.splitlines()
    assert ["mark", "none"] in [line.split() for line in plain] and any(line.startswith("receipt") for line in plain)


def test_what_is_none_of_ours(vasa: Vasa, tmp_path: Path) -> None:
    cases = {
        "a.txt": b"hello", "empty.mp4": b"", "broken.mp4": b"\0\0\0\x18ftypisom" + bytes(100), "a.json": b"{}", "b.json": b"{",
        "a.safetensors": b"\x02" + bytes(7) + b"{}", "deep.safetensors": (10000).to_bytes(8, "little") + b'{"a":' + b"[" * 9995,
        "a.png": b"\x89PNG\r\n\x1a\nxx", "a.jpg": b"\xff\xd8\xff\xe0" + bytes(50), "a.ts": (b"G" + bytes(187)) * 4,
        "r.json": b'{"format": "vasa-receipt/1", "options": 3, "weights": []}', "a.mkv": b"\x1a\x45\xdf\xa3" + bytes(60),
    }  # fmt: skip
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError) as caught:
            inspect(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    assert_fails_well(vasa("inspect", tmp_path / "folder"), 3, "no PNG pictures")
    assert_fails_well(vasa("inspect", tmp_path / "none.mp4"), 3, "none.mp4")


def test_damage_is_told(tmp_path: Path) -> None:
    """Bytes changed, cut and repeated at random: an answer or an InputError, never anything else."""
    import random

    from vasa_cli.trust.marks import container_of, mark_of
    from vasa_cli.trust.sign import signature_of

    dice = random.Random(0)
    written(tmp_path / "f" / "frame_%05d.png", mark=True)
    sources = [written(tmp_path / "a.mp4", mark=True), tmp_path / "f" / "frame_00000.png"]
    for source in sources:
        data = source.read_bytes()
        for _ in range(150):
            spoiled = bytearray(data)
            for _ in range(dice.choice((1, 3, 30))):
                at = dice.randrange(min(len(spoiled) - 8, dice.choice((64, len(spoiled)))))
                kind = dice.randrange(4)
                if kind == 0:
                    spoiled[at] = dice.randrange(256)
                elif kind == 1:
                    spoiled[at : at + 4] = b"\xff\xff\xff\xff"
                elif kind == 2 and len(spoiled) > 200:
                    del spoiled[at : at + dice.randrange(1, 20)]
                else:
                    spoiled[at:at] = spoiled[at : at + dice.randrange(1, 200)]
            path = tmp_path / f"x{source.suffix}"
            path.write_bytes(spoiled)
            container = container_of(path)
            if container in ("mp4", "picture"):
                mark_of(path, container)
                signature_of(path)
            if source.suffix == ".png":
                with contextlib.suppress(InputError):
                    inspect(path)
