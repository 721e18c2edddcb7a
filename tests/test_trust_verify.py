"""`vasa verify` on real renders: what is untouched passes, and whatever changed is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Vasa, assert_fails_well

SMALL = ("--weights", "smoke", "--size", 256)
PRESET = "name: mine\nemotion: {happy: 0.3}\n"


@pytest.fixture(scope="module")
def made(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo, a recording, a preset and videos made of them."""
    folder = tmp_path_factory.mktemp("verify")
    shutil.copy(astronaut, folder / "p.png")
    shutil.copy(speech, folder / "s.wav")
    (folder / "mine.yaml").write_text(PRESET, encoding="utf-8")
    done = vasa("render", "p.png", "s.wav", "-o", "a.mp4", "--preset", "mine.yaml", *SMALL, "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = vasa("render", "p.png", "s.wav", "-o", "frames/shot_%03d.png", *SMALL, "-q", "--no-provenance", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "moved"))


def verified(vasa: Vasa, folder: Path, code: int, *arguments: object, **more: Any) -> dict[str, Any]:
    done = vasa("verify", *(arguments or ("a.mp4",)), "--json", cwd=folder, **more)
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout)["videos"][0])


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_untouched_outputs_pass_wherever_they_lie(vasa: Vasa, copy: Path) -> None:
    seen = verified(vasa, copy, 0)
    assert seen["same"] is True and seen["differs"] == seen["missing"] == []
    names = {c["name"] for c in seen["checks"]}
    assert {
        "receipt",
        "frames",
        "sound",
        "mark",
        "file",
        "portrait",
        "recording",
        "preset",
        "motion weights",
        "face encoder",
    } <= names
    for target in ("frames", "frames/shot_%03d.png", "frames.json", "a.mp4.json"):  # all ways to name them
        assert verified(vasa, copy, 0, target)["same"] is True, target
    plain = vasa("verify", "a.mp4", "frames", "-q", cwd=copy)
    assert (plain.returncode, plain.stdout) == (0, "a.mp4: as in its receipt\nframes/shot_%03d.png: as in its receipt\n")


@pytest.mark.parametrize(
    ("name", "differs"), [("p.png", "portrait"), ("s.wav", "recording"), ("mine.yaml", "preset")]
)  # fmt: skip
def test_one_changed_byte_of_an_input_is_named(vasa: Vasa, copy: Path, name: str, differs: str) -> None:
    flip(copy / name, -1)
    seen = verified(vasa, copy, 9)
    assert seen["differs"] == [differs]
    (copy / name).unlink()
    gone = verified(vasa, copy, 0)
    assert (gone["same"], gone["missing"], gone["differs"]) == (True, [differs], [])
    verified(vasa, copy, 9, "a.mp4", "--strict")


def box(data: bytes, kind: bytes) -> int:
    """Where the content of a top-level box begins."""
    at = 0
    while data[at + 4 : at + 8] != kind:
        at += int.from_bytes(data[at : at + 4], "big")
    return at + 8


def test_one_changed_byte_of_the_video_is_named(vasa: Vasa, copy: Path) -> None:
    video = copy / "a.mp4"
    whole = video.read_bytes()
    middle = (box(whole, b"mdat") + len(whole)) // 2
    seen_parts: set[str] = set()
    for at in (box(whole, b"mdat") + 2000, middle, len(whole) - 300):
        flip(video, at)
        seen = verified(vasa, copy, 9)
        assert "file" in seen["differs"], at
        seen_parts |= set(seen["differs"])
        video.write_bytes(whole)
    assert "frames" in seen_parts
    video.write_bytes(whole.replace(b"trainedAlgorithmicMedia", b"digitalCapture_________"))
    seen = verified(vasa, copy, 9)
    assert seen["differs"] == ["mark", "file"]
    flip(copy / "frames" / "shot_002.png", -20)
    assert "file" in verified(vasa, copy, 9, "frames")["differs"]
    (copy / "frames" / "shot_005.png").unlink()
    assert "frames" in verified(vasa, copy, 9, "frames")["differs"]


def test_another_container_keeps_frames_and_sound(vasa: Vasa, copy: Path) -> None:
    import subprocess

    from vasa_cli.video.ffmpeg import find_ffmpeg

    subprocess.run([find_ffmpeg(), "-v", "error", "-i", "a.mp4", "-c", "copy", "b.mkv"], check=True, cwd=copy)
    seen = verified(vasa, copy, 9, "b.mkv", "--receipt", "a.mp4.json")
    assert seen["differs"] == ["file"], seen  # the mark goes along in the comment
    assert next(c for c in seen["checks"] if c["name"] == "file")["detail"] == "other bytes, but the same frames, sound and mark"
    subprocess.run(
        [find_ffmpeg(), "-v", "error", "-i", "a.mp4", "-c:v", "copy", "-af", "volume=0.5", "-c:a", "aac", "c.mkv"],
        check=True, cwd=copy,
    )  # fmt: skip
    assert verified(vasa, copy, 9, "c.mkv", "--receipt", "a.mp4.json")["differs"] == ["sound", "file"]


def test_one_changed_byte_of_weights_is_named(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vasa_cli.trust.verify import verify
    from vasa_cli.weights import registry

    folder = tmp_path / "weights"
    shutil.copytree(registry._HERE, folder)
    monkeypatch.setattr(registry, "_HERE", folder)
    assert verify(made / "a.mp4").differing == ()
    flip(folder / "motion_smoke.safetensors", -1)
    assert verify(made / "a.mp4").differing == ("motion weights",)
    (folder / "shading.safetensors").unlink()
    assert verify(made / "a.mp4").missing == ("shading weights",)
    flip(folder / "basis.safetensors", -1)
    assert verify(made / "a.mp4").differing == ("basis weights", "motion weights")


def test_one_changed_byte_of_the_receipt_is_named(vasa: Vasa, copy: Path) -> None:
    """Also where it says nothing about the video: of the date, of a space; the hash itself too."""
    from vasa_cli.trust.verify import verify

    place = copy / "a.mp4.json"
    whole = place.read_bytes()
    for at in (whole.index(b'"created"') + 15, whole.index(b'"seed"') + 8, whole.index(b'"receipt_hash"') + 20):
        flip(place, at)
        assert verify(copy / "a.mp4").differing[0] == "receipt", whole[at - 9 : at + 9]
        place.write_bytes(whole)
    place.write_bytes(whole[:-1] + b" ")
    seen = verified(vasa, copy, 9)
    assert seen["differs"] == ["receipt"]
    for line in (b'"receipt_hash": "', b"\n"):
        place.write_bytes(whole.replace(line, b"\r" + line))
        assert "receipt" in verify(copy / "a.mp4").differing


def test_videos_without_their_receipts_are_told_so(vasa: Vasa, copy: Path) -> None:
    (copy / "a.mp4").rename(copy / "b.mp4")
    done = vasa("verify", "b.mp4", "a.mp4", ".", "/", "p.png", "b.mp4.json", cwd=copy)
    assert done.returncode == 3 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 6 and all("cannot be verified" in line for line in lines)
    assert "b.mp4: no receipt beside it (b.mp4.json); name the receipt with --receipt" in lines[0]
    assert "a.mp4: no such video" in lines[1]
    assert verified(vasa, copy, 0, "b.mp4", "--receipt", "a.mp4.json")["same"] is True
    (copy / "moved").mkdir()
    for name in ("b.mp4", "a.mp4.json"):
        (copy / name).rename(copy / "moved" / name.replace("b.mp4", "a.mp4"))
    assert verified(vasa, copy, 0, "moved/a.mp4")["missing"] == ["portrait", "recording", "preset"]
    other = vasa("verify", "moved/a.mp4", "--receipt", "frames.json", "-q", cwd=copy)
    assert other.returncode == 9 and other.stdout.startswith("moved/a.mp4: differs: ")


def test_what_cannot_be_read_is_exit_3(vasa: Vasa, copy: Path) -> None:
    for text in ("", "{}", '{"format": "vasa-receipt/1"}', '{"format": "vasa-receipt/1", "output": 7, "pixels": 1}'):
        (copy / "b.mp4.json").write_text(text, encoding="utf-8")
        shutil.copy(copy / "a.mp4", copy / "b.mp4")
        done = vasa("verify", "b.mp4", cwd=copy)
        assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
        assert "receipt" in done.stdout
    (copy / "b.mp4").unlink()
    done = vasa("verify", "a.mp4", "b.mp4", "none.mp4", "--json", cwd=copy)
    assert done.returncode == 3
    assert ["error" in v for v in json.loads(done.stdout)["videos"]] == [False, True, True]  # the others are still looked at
    assert_fails_well(vasa("verify", "a.mp4", "frames", "--receipt", "a.mp4.json", cwd=copy), 2, "--receipt")


def test_a_receipt_from_before_is_still_good(vasa: Vasa, copy: Path) -> None:
    path = copy / "a.mp4.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for key in ("sound_hash", "file_hash", "receipt_hash"):
        del data[key]
    del data["inputs"]["preset"]
    path.write_text(json.dumps(data), encoding="utf-8")
    assert {"receipt", "sound", "file", "preset"}.isdisjoint(c["name"] for c in verified(vasa, copy, 0)["checks"])


def test_a_changed_preset_does_not_keep_from_repeating(vasa: Vasa, copy: Path) -> None:
    """The receipt holds the values themselves; the repetition's own receipt names the preset only while it is that one."""
    arguments = ("render", "--from", "a.mp4.json", "--json", "-o")
    first = json.loads(vasa(*arguments, "again.mp4", cwd=copy).stdout)
    (copy / "mine.yaml").write_text("emotion: {sad: 1}\n", encoding="utf-8")
    second = json.loads(vasa(*arguments, "third.mp4", cwd=copy).stdout)
    assert first["reproduced"] is second["reproduced"] is True
    named = [json.loads((copy / f"{n}.mp4.json").read_text(encoding="utf-8"))["inputs"] for n in ("again", "third")]
    assert ["preset" in inputs for inputs in named] == [True, False]
    assert verified(vasa, copy, 0, "third.mp4")["same"] is True
