"""The command's manners: quick help, results on stdout, everything else on stderr, plans, presets, cache, doctor."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Vasa, assert_fails_well

HEAVY = ("torch", "numpy", "mediapipe", "cv2", "scipy", "pydantic", "PIL", "soundfile")


def test_help_imports_nothing_heavy(environment: dict[str, str]) -> None:
    code = f"""
import sys
sys.argv = ["vasa", "--help"]
from vasa_cli.cli import main
try:
    main()
except SystemExit as e:
    assert not e.code, e.code
found = [m for m in {HEAVY!r} if m in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "render" in done.stdout


def test_help_is_quick(vasa: Vasa) -> None:
    """In processor time, so that a busy machine does not count."""
    took = []
    for _ in range(4):
        start = os.times()
        assert vasa("--help").returncode == 0
        end = os.times()
        took.append(end.children_user + end.children_system - start.children_user - start.children_system)
    assert min(took) < 0.5, took


@pytest.mark.parametrize("command", ["render", "encode", "generate", "batch", "presets", "cache", "doctor"])
def test_every_command_has_help(vasa: Vasa, command: str) -> None:
    done = vasa(command, "--help")
    assert done.returncode == 0
    assert "Usage: vasa " + command in done.stdout


def test_version(vasa: Vasa) -> None:
    from vasa_cli import __version__

    assert vasa("--version").stdout == f"vasa_cli {__version__}\n"


def test_usage_errors_exit_2(vasa: Vasa) -> None:
    for arguments in (["render", "--bogus"], ["nonsense"], ["render", "a", "b", "--seed", "x"], ["encode"]):
        done = vasa(*arguments)
        assert done.returncode == 2, arguments
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_presets(vasa: Vasa, tmp_path: Path) -> None:
    listed = vasa("presets", "list", "--json")
    names = [p["name"] for p in json.loads(listed.stdout)["presets"]]
    assert sorted(names) == sorted(p.stem for p in (ROOT / "presets").glob("*.yaml"))
    shown = vasa("presets", "show", "look-away")
    mine = tmp_path / "mine.yaml"
    mine.write_text(shown.stdout, encoding="utf-8")
    assert vasa("presets", "check", mine).stdout == f"{mine}: ok\n"
    mine.write_text("gaze: {yaw: 44}\n", encoding="utf-8")
    assert_fails_well(vasa("presets", "check", mine), 2, "gaze.yaw", "-30 to 30")
    assert_fails_well(vasa("presets", "show", "freindly"), 2, "did you mean friendly?")


def test_encode_uses_the_cache_and_stays_away_from_mediapipe(
    vasa: Vasa, face: Path, astronaut: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    renamed = tmp_path / "anders genannt.bmp"
    from PIL import Image

    Image.open(astronaut).save(renamed)  # other bytes, same pixels
    again = json.loads(vasa("encode", renamed, "--json").stdout)
    assert again["cache_hit"] is True
    assert Path(again["output"]) == face
    code = f"""
import sys
sys.argv = ["vasa", "encode", {str(astronaut)!r}, "-q"]
from vasa_cli.cli import main
try:
    main()
except SystemExit as e:
    assert not e.code
found = [m for m in ("mediapipe", "cv2", "torch") if m in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_damaged_cache_entries_are_rebuilt(vasa: Vasa, face: Path, astronaut: Path, tmp_path: Path) -> None:
    damaged = tmp_path / face.name
    damaged.write_bytes(face.read_bytes()[:1000])
    done = vasa("encode", astronaut, "--json", "--cache-dir", tmp_path)
    assert json.loads(done.stdout)["cache_hit"] is False
    assert json.loads(vasa("encode", astronaut, "--json", "--cache-dir", tmp_path).stdout)["cache_hit"] is True


def test_encode_to_a_file(vasa: Vasa, face: Path, astronaut: Path, tmp_path: Path) -> None:
    target = tmp_path / "neu" / "gesicht.safetensors"
    done = vasa("encode", astronaut, "-o", target)
    assert done.stdout == f"{target}\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~_umask()
    assert_fails_well(vasa("encode", astronaut, "-o", target), 2, "exists already", "--overwrite")
    assert_fails_well(vasa("encode", astronaut, "-o", tmp_path / "a.png"), 2, ".safetensors")
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_cache_commands(vasa: Vasa, face: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("a", "b"):
        shutil.copy(face, tmp_path / f"{name}.face.safetensors")
    os.utime(tmp_path / "a.face.safetensors", (0, 0))
    listed = json.loads(vasa("cache", "list", "--json", "--cache-dir", tmp_path).stdout)
    assert [f["key"] for f in listed["faces"]] == ["b", "a"]
    assert_fails_well(vasa("cache", "prune", "--cache-dir", tmp_path), 2, "--older-than")
    assert_fails_well(vasa("cache", "prune", "--max-size", "many"), 2, "--max-size", "500M")
    assert json.loads(vasa("cache", "prune", "--older-than", 30, "--json", "--cache-dir", tmp_path).stdout)["removed"] == 1
    assert json.loads(vasa("cache", "clear", "--json", "--cache-dir", tmp_path).stdout)["removed"] == 1
    assert list(tmp_path.iterdir()) == []


def test_doctor(vasa: Vasa) -> None:
    done = vasa("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert report["usable"] is True
    names = {c["name"] for c in report["checks"]}
    assert {"python", "packages", "torch", "mediapipe", "ffmpeg", "weights default", "weights smoke", "presets", "cache"} <= names


def test_doctor_names_what_is_missing_and_the_cure(vasa: Vasa, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for name, line in {
        "torch": "raise ModuleNotFoundError(\"No module named 'torch'\")",
        "cv2": "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
        "soundfile": "raise OSError('sndfile library not found')",
        "numpy": "raise ImportError('numpy.core.multiarray failed to import')",
    }.items():
        (broken / name).mkdir(parents=True)
        (broken / name / "__init__.py").write_text(line)
    (tmp_path / "file").write_text("")
    env = {
        "PYTHONPATH": os.pathsep.join([str(broken), str(ROOT)]),
        "VASA_FFMPEG": str(tmp_path / "no-ffmpeg"),
        "VASA_CACHE_DIR": str(tmp_path / "file" / "cache"),
    }
    done = vasa("doctor", "--json", env=env)
    report = json.loads(done.stdout)
    assert done.returncode == report["exit_code"] == 1
    assert "Traceback" not in done.stderr
    checks = {c["name"]: c for c in report["checks"]}
    assert checks["torch"]["fix"] == "python -m pip install torch"
    assert "headless" in checks["mediapipe"]["fix"]
    assert "soundfile" in checks["soundfile"]["fix"]
    assert (checks["ffmpeg"]["status"], checks["ffmpeg"]["exit_code"]) == ("missing", 7)
    assert checks["cache"]["status"] == "warning"
    only_ffmpeg = vasa("doctor", env={"VASA_FFMPEG": str(tmp_path / "no-ffmpeg")})
    assert only_ffmpeg.returncode == 7
    assert "mend with:" in only_ffmpeg.stdout
