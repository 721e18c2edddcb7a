"""Tried as a new user would: every failure has its exit code, one clear line, no traceback and no partial file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well

SMOKE = ("--weights", "smoke")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output in a folder of its own, so that anything left behind shows."""
    return tmp_path / "out" / "a.mp4"


def nothing_left(out: Path) -> None:
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_missing_files(vasa: Vasa, astronaut: Path, speech: Path, out: Path) -> None:
    assert_fails_well(vasa("render", "nowhere.jpg", speech, "-o", out, *SMOKE), 3, "nowhere.jpg", "no such portrait")
    assert_fails_well(vasa("render", astronaut, "nowhere.wav", "-o", out, *SMOKE), 3, "nowhere.wav", "no such recording")
    assert_fails_well(vasa("encode", "nowhere.jpg"), 3, "nowhere.jpg")
    assert_fails_well(vasa("generate", astronaut, "nowhere.wav", "-o", out.with_suffix(".safetensors"), *SMOKE), 3, "nowhere.wav")
    assert_fails_well(vasa("render", astronaut, speech, "--motion", "no.safetensors", "-o", out), 3, "no.safetensors")
    assert_fails_well(vasa("batch", "nowhere.yaml"), 3, "nowhere.yaml")
    nothing_left(out)


def test_empty_files(vasa: Vasa, astronaut: Path, speech: Path, out: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.wav"):
        (tmp_path / name).touch()
    assert_fails_well(vasa("render", tmp_path / "a.jpg", speech, "-o", out, *SMOKE), 3, "a.jpg", "empty")
    assert_fails_well(vasa("render", astronaut, tmp_path / "a.wav", "-o", out, *SMOKE), 3, "a.wav", "empty")
    nothing_left(out)


def test_text_under_another_name(vasa: Vasa, astronaut: Path, speech: Path, out: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.wav", "a.safetensors"):
        (tmp_path / name).write_text("Dear diary, this is neither a picture nor a sound.\n" * 50)
    assert_fails_well(vasa("render", tmp_path / "a.jpg", speech, "-o", out, *SMOKE), 3, "a.jpg", "not a picture")
    assert_fails_well(vasa("render", astronaut, tmp_path / "a.wav", "-o", out, *SMOKE), 3, "a.wav", "not a recording")
    assert_fails_well(vasa("render", tmp_path / "a.safetensors", speech, "-o", out, *SMOKE), 3, "a.safetensors")
    assert_fails_well(vasa("render", astronaut, speech, "--motion", tmp_path / "a.safetensors", "-o", out), 3, "a.safetensors")
    nothing_left(out)


def test_folders_in_place_of_files(vasa: Vasa, astronaut: Path, speech: Path, out: Path, tmp_path: Path) -> None:
    assert_fails_well(vasa("render", tmp_path, speech, "-o", out, *SMOKE), 3, "is a folder")
    assert_fails_well(vasa("render", astronaut, tmp_path, "-o", out, *SMOKE), 3, "is a folder")
    (tmp_path / "dir.mp4").mkdir()
    assert_fails_well(vasa("render", astronaut, speech, "-o", tmp_path / "dir.mp4", *SMOKE), 2, "is a folder")


def test_no_face(vasa: Vasa, speech: Path, out: Path, tmp_path: Path) -> None:
    from PIL import Image
    from skimage import data

    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    assert_fails_well(vasa("render", tmp_path / "coffee.png", speech, "-o", out, *SMOKE), 4, "coffee.png", "no face")
    nothing_left(out)


def test_a_tiny_photo(vasa: Vasa, astronaut: Path, speech: Path, out: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.open(astronaut).resize((20, 20)).save(tmp_path / "tiny.png")
    assert_fails_well(vasa("render", tmp_path / "tiny.png", speech, "-o", out, *SMOKE), 3, "tiny.png", "20x20")
    nothing_left(out)


def turned(rgb: np.ndarray, degrees: float, radius: int = 75, centre: int = 222, top: int = 20, bottom: int = 215) -> np.ndarray:
    """Wind the astronaut's face around a cylinder and turn that, which hides the far half as a profile does."""
    out, angle = rgb.copy(), np.radians(degrees)
    x = np.arange(centre - radius + 1, centre + radius)
    phi = np.arcsin((x - centre) / radius) - angle
    source = np.where(np.abs(phi) < np.pi / 2, centre + radius * np.sin(phi), centre - radius)
    out[top:bottom, x] = rgb[top:bottom][:, np.round(source).astype(int)]
    return out


def test_a_face_turned_too_far(vasa: Vasa, speech: Path, out: Path, tmp_path: Path) -> None:
    from PIL import Image
    from skimage import data

    Image.fromarray(turned(data.astronaut(), 62)).save(tmp_path / "profile.png")
    assert_fails_well(vasa("render", tmp_path / "profile.png", speech, "-o", out, *SMOKE), 4, "profile.png", "face")
    nothing_left(out)


def test_corrupt_audio(vasa: Vasa, astronaut: Path, speech: Path, out: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(20000)
    (tmp_path / "a.mp3").write_bytes(noise)
    (tmp_path / "a.wav").write_bytes(speech.read_bytes()[:30] + noise)
    (tmp_path / "head.wav").write_bytes(speech.read_bytes()[:44])
    for name in ("a.mp3", "a.wav", "head.wav"):
        assert_fails_well(vasa("render", astronaut, tmp_path / name, "-o", out, *SMOKE), 3, name)
    nothing_left(out)


def test_unknown_presets_and_values_out_of_range(vasa: Vasa, astronaut: Path, speech: Path, out: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("gazze: {yaw: 3}\n")
    cases = [
        (("--preset", "freindly"), ("unknown preset", "did you mean friendly?")),
        (("--preset", preset), ("mine.yaml", "gazze", "did you mean gaze?")),
        (("--preset", tmp_path / "none.yaml"), ("none.yaml", "no such file")),
        (("--gaze", "60,0"), ("--gaze", "60", "-30 to 30")),
        (("--gaze", "0,-60"), ("--gaze", "-60", "-25 to 25")),
        (("--gaze", "left"), ("--gaze", "YAW,PITCH")),
        (("--emotion", "joy=1"), ("joy", "happy")),
        (("--emotion", "happy=7"), ("happy", "0 to 1")),
        (("--distance", "9"), ("--distance", "0.6 to 1.8")),
        (("--mouth", "-1"), ("--mouth", "0 to 2")),
        (("--weights", "huge"), ("--weights", "default, smoke")),
        (("--dtype", "int3"), ("--dtype", "float16")),
        (("--device", "abacus"), ("--device", "cpu")),
        (("--crop", "1,2,3"), ("--crop", "X,Y,WIDTH,HEIGHT")),
    ]
    for arguments, words in cases:
        assert_fails_well(vasa("render", astronaut, speech, "-o", out, *arguments), 2, *words)
    nothing_left(out)


def test_output_problems_found_before_any_work(vasa: Vasa, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.mp4"
    taken.write_bytes(b"precious")
    assert_fails_well(vasa("render", astronaut, speech, "-o", taken, *SMOKE), 2, "exists already", "--overwrite")
    assert taken.read_bytes() == b"precious"
    assert_fails_well(vasa("render", astronaut, speech, "-o", tmp_path / "a.avi", *SMOKE), 2, ".avi", ".mp4")
    assert_fails_well(vasa("render", astronaut, speech, "-o", tmp_path / "noname", *SMOKE), 2, ".mp4")
    sound = tmp_path / "in.mp4"
    shutil.copy(speech, sound)
    assert_fails_well(vasa("render", astronaut, sound, "-o", sound, "--overwrite", *SMOKE), 2, "also an input")
    assert_fails_well(vasa("render", astronaut, speech, "-o", taken / "a.mp4", *SMOKE), 2, "not a folder")
    assert_fails_well(vasa("render", astronaut, *SMOKE), 2, "AUDIO")


def test_read_only_folder(vasa: Vasa, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert_fails_well(vasa("render", astronaut, speech, "-o", "/proc/a.mp4", *SMOKE), 2, "/proc/a.mp4")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.geteuid() == 0 and not _mount(locked, "ro"):
        pytest.skip("running as root, and no right to mount a read-only folder")
    try:
        done = vasa("render", astronaut, speech, "-o", locked / "a.mp4", *SMOKE)
        assert_fails_well(done, 2, "locked", "another folder")
        assert list(locked.iterdir()) == []
    finally:
        _unmount(locked)


def _mount(folder: Path, options: str) -> bool:
    if not shutil.which("mount"):
        return False
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode == 0


def _unmount(folder: Path) -> None:
    if os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


def test_full_disk(vasa: Vasa, face: Path, tone: Callable[..., Path], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _mount(disk, "size=16k"):
        pytest.skip("needs the right to mount a small disk (tests/test_video.py simulates one)")
    try:
        done = vasa("render", face, tone("a.wav", seconds=0.4), "-o", disk / "a.mp4", *SMOKE)
        assert_fails_well(done, 7, "a.mp4", "no space left")
        assert list(disk.iterdir()) == []
    finally:
        _unmount(disk)


@pytest.fixture
def fake_ffmpeg(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def make(body: str) -> dict[str, str]:
        path = tmp_path / "fake-ffmpeg"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return {"VASA_FFMPEG": str(path)}

    return make


def test_ffmpeg_killed_midway(
    vasa: Vasa, face: Path, speech: Path, out: Path, fake_ffmpeg: Callable[[str], dict[str, str]]
) -> None:
    env = fake_ffmpeg('for last; do :; done; echo half > "${last#file:}"; head -c 1000000 >/dev/null; kill -9 $$')
    assert_fails_well(vasa("render", face, speech, "-o", out, *SMOKE, env=env), 7, "killed", "a.mp4")
    nothing_left(out)


def test_ffmpeg_that_fails_or_is_missing(
    vasa: Vasa, face: Path, speech: Path, out: Path, fake_ffmpeg: Callable[[str], dict[str, str]]
) -> None:
    env = fake_ffmpeg("cat >/dev/null; echo 'Conversion failed for reasons' >&2; exit 1")
    assert_fails_well(vasa("render", face, speech, "-o", out, *SMOKE, env=env), 7, "Conversion failed for reasons")
    assert_fails_well(vasa("render", face, speech, "-o", out, *SMOKE, env={"VASA_FFMPEG": "/nowhere/ffmpeg"}), 7, "VASA_FFMPEG")
    clear = vasa("render", face, speech, "-o", out.with_suffix(".webm"), "--background", "transparent", *SMOKE, env=env)
    assert_fails_well(clear, 7, "lacks libvpx-vp9 and libopus", "VASA_FFMPEG")
    nothing_left(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(
    face: Path, tone: Callable[..., Path], out: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    long = tone("long.wav", seconds=20)
    command = [sys.executable, "-m", "vasa_cli", "render", str(face), str(long), "-o", str(out), *SMOKE]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (out.parent.is_dir() and list(out.parent.glob("*.part-*"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the render never began to write"
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    nothing_left(out)


def test_the_unexpected_is_one_line_and_a_traceback_on_request(vasa: Vasa, astronaut: Path, tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise ZeroDivisionError('planted')")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[1])])}
    done = vasa("encode", astronaut, env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "internal error: ZeroDivisionError: planted; run with --debug" in done.stderr
    assert "Traceback" in vasa("encode", astronaut, "--debug", env=env).stderr


def test_missing_device(vasa: Vasa, face: Path, speech: Path, out: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert_fails_well(vasa("render", face, speech, "-o", out, *SMOKE, "--device", "cuda"), 6, "--device cuda", "cpu")
    nothing_left(out)
