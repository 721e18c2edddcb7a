"""`vasa stream` as a process: signals, kills, readers that leave, terminals, bad options; the true engine with smoke weights."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ROOT, Vasa, assert_fails_well

RATE = 16000
RAW = ("--format", "s16le")
FAKE = [sys.executable, str(ROOT / "tests" / "fake_stream.py"), "stream", "portrait.png", "--encoder", "x264"]
TRUE = [sys.executable, "-m", "vasa_cli", "stream"]
_BUSY = 30  # seconds that a busy machine may take for what is done at once


@pytest.fixture(autouse=True)
def _portrait(tmp_path: Path) -> None:
    (tmp_path / "portrait.png").write_bytes(b"never looked at by the fake engine")


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    """Start a command with pipes; whatever is left of it is ended."""
    begun: list[subprocess.Popen[bytes]] = []

    def run(call: list[Any], **more: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        begun.append(subprocess.Popen([str(c) for c in call], cwd=tmp_path, env=environment, **{**pipes, **more}))
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def frames_of(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def part_of(folder: Path) -> Path | None:
    return next((p for p in folder.iterdir() if ".part-" in p.name and p.stat().st_size > 4000), None)


def wait_for(condition: Any, what: str) -> Any:
    end = time.monotonic() + _BUSY
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def speak(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Give a second of sound, and wait until some of the stream is on the disk."""
    assert process.stdin is not None
    process.stdin.write(bytes(RATE * 2))
    wait_for(lambda: part_of(folder), "nothing was written")


def encoders_in(folder: Path) -> list[int]:
    """Process ids of every ffmpeg that works for this folder's stream, by its parent or its open file (Linux)."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(folder) in os.readlink(link):
                found.append(int(link.parts[2]))
        except OSError:
            continue
    return found


# ---------------------------------------------------------------------------------------------------- ends


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_stream_properly(start: Any, tmp_path: Path, number: int, code: int) -> None:
    process = start([*FAKE, *RAW, "-o", "out.mp4", "--json", "--report", "report.json"])
    speak(process, tmp_path)
    process.send_signal(number)
    assert process.wait(_BUSY) == code
    err = process.stderr.read().decode()
    assert "Traceback" not in err
    summary = json.loads(err.splitlines()[-1])
    assert summary == json.loads((tmp_path / "report.json").read_text())
    assert frames_of(tmp_path / "out.mp4") == summary["frames"] >= 20
    assert part_of(tmp_path) is None


def test_a_second_ctrl_c_ends_at_once_and_tells_where_the_part_is(start: Any, tmp_path: Path) -> None:
    """The engine is so slow that finishing would take minutes."""
    process = start(["env", "FAKE_COST=2", *FAKE, *RAW, "-o", "out.ts"])
    process.stdin.write(bytes(RATE * 2 * 9))
    part = wait_for(lambda: next((p for p in tmp_path.iterdir() if ".part-" in p.name and p.stat().st_size > 0), None), "no part")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(_BUSY) == 130
    err = process.stderr.read().decode()
    assert "interrupted" in err and part.name in err and "Traceback" not in err
    assert not (tmp_path / "out.ts").exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to find ffmpeg")
@pytest.mark.parametrize("name", ["out.mp4", "out.ts"])
def test_killed_it_leaves_a_part_that_plays_and_no_ffmpeg(start: Any, tmp_path: Path, name: str) -> None:
    process = start([*FAKE, *RAW, "-o", name])
    speak(process, tmp_path)
    process.kill()
    process.wait()
    part = part_of(tmp_path)
    assert part is not None
    wait_for(lambda: not encoders_in(tmp_path), "ffmpeg lives on")
    assert frames_of(part) >= 5


@pytest.mark.parametrize("container", ["mp4", "ts", "y4m"])
def test_a_reader_that_leaves_is_a_quiet_end(start: Any, tmp_path: Path, container: str) -> None:
    process = start([*FAKE, *RAW, "--container", container])
    process.stdin.write(bytes(RATE * 2))
    assert process.stdout.read(2000)
    process.stdout.close()
    assert process.wait(_BUSY) == 0  # with its input still open
    err = process.stderr.read().decode()
    assert "Traceback" not in err and "error" not in err and "Broken" not in err
    process.stdout = None


def test_wav_of_unknown_length_through_the_shell(start: Any, tmp_path: Path) -> None:
    """The usual call: a recorder that cannot know the length, a player that reads to the end."""
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes.fromhex("10000000 0100 0200 80bb0000 00ee0200 0400 1000".replace(" ", ""))
    process = start([*FAKE])
    out, err = process.communicate(head + b"data\xff\xff\xff\xff" + bytes(48000 * 4), timeout=_BUSY)
    assert process.returncode == 0, err
    (tmp_path / "x.mp4").write_bytes(out)
    with av.open(str(tmp_path / "x.mp4")) as file:
        assert (file.streams.audio[0].rate, file.streams.audio[0].codec_context.channels) == (48000, 2)
    assert frames_of(tmp_path / "x.mp4") == 25


def test_a_terminal_gets_no_video(start: Any, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = start([*FAKE, *RAW], stdout=slave)
    assert process.wait(_BUSY) == 2
    assert b"terminal" in process.stderr.read()
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--format", "mp3"), "s16le"),
        (("--rate", "8000"), "--format"),
        (("--realtime",), "--input"),
        (("--patience", "-1"), "0 to 60"),
        (("--on-gap", "stall"), "idle, wait"),
        (("--on-slow", "drop"), "wait, repeat"),
        (("-o", "x.avi"), ".mp4"),
        (("--container", "webm"), "mkv"),
        (("--encoder", "h265"), "nvenc"),
        (("--background", "transparent", "-o", "x.mp4"), "transparency"),
        (("--speech", "phonetics", "-o", "x.mp4"), "whole recordings"),
        (("--control", "0", "-o", "x.mp4"), "standard input"),
        (("--gaze", "99,0"), "-30 to 30"),
    ],
)
def test_options_that_cannot_be_right(tmp_path: Path, flags: tuple[str, ...], word: str) -> None:
    from typer.testing import CliRunner

    from vasa_cli.cli import app

    done = CliRunner().invoke(app, ["stream", str(tmp_path / "portrait.png"), "-o", str(tmp_path / "y.mp4"), *flags])
    assert done.exit_code == 2 and word in done.output and len(done.output.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["portrait.png"]


# ---------------------------------------------------------------------------------------------------- the true engine


def speech_of(seconds: float) -> np.ndarray:
    import soundfile
    from conftest import SPEECH

    samples, rate = soundfile.read(SPEECH, dtype="float32")
    return np.asarray(samples[: int(seconds * rate)])  # 22050 Hz


def test_the_true_engine_through_pipes(start: Any, face: Path, astronaut: Path, tmp_path: Path) -> None:
    """Smoke weights, raw sound of another rate in bursts, a control on an inherited descriptor, Matroska on standard output: as
    many frames as sound, of the right size, and the control was obeyed."""
    samples = speech_of(1.5)
    read, write = os.pipe()
    call = [*TRUE, astronaut, "--weights", "smoke", "--size", 256, "--container", "mkv", "--encoder", "x264", "--control", read]
    process = start([*call, "--format", "f32le", "--rate", 22050, "--on-gap", "wait", "--json"], pass_fds=(read,))
    os.write(write, b'{"distance": 1.5}\n{"disdance": 1}\n')
    os.close(write)
    out, err = process.communicate(samples.astype("<f4").tobytes(), timeout=2 * _BUSY)
    os.close(read)
    assert process.returncode == 0, err
    summary = json.loads(err.splitlines()[-1])
    assert (summary["frames"], summary["idle"], summary["controls"]) == (38, 0, 1)
    assert b"did you mean distance" in err
    (tmp_path / "x.mkv").write_bytes(out)
    with av.open(str(tmp_path / "x.mkv")) as file:
        pictures = [p.to_ndarray(format="gray").astype(float) for p in file.decode(video=0)]
    assert len(pictures) == 38 and pictures[0].shape == (256, 256)
    assert max(np.abs(b - a).mean() for a, b in itertools.pairwise(pictures)) > 0.1  # it moves


def test_the_true_engine_plays_a_recording_like_a_microphone(start: Any, face: Path, astronaut: Path, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "in.flac", speech_of(1.0), 22050)
    call = [*TRUE, astronaut, "--input", "in.flac", "--realtime", "--weights", "smoke", "--size", 256, "-o", "out.mp4"]
    process = start([*call, "--encoder", "x264", "--report", "r.json", "--on-slow", "repeat"])
    _, err = process.communicate(timeout=2 * _BUSY)
    assert process.returncode == 0, err
    assert frames_of(tmp_path / "out.mp4") == json.loads((tmp_path / "r.json").read_text())["frames"] == 25
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.audio[0].rate == 22050


def test_a_dry_run_says_what_would_happen(vasa: Vasa, face: Path, astronaut: Path, tmp_path: Path) -> None:
    done = vasa(
        "stream",
        astronaut,
        "-o",
        tmp_path / "x.ts",
        "--format",
        "s16le",
        "--rate",
        8000,
        "--dry-run",
        "--json",
        "--encoder",
        "x264",
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["dry_run"], plan["container"], plan["face_cached"], plan["sound"]) == (
        True,
        "ts",
        True,
        "s16le 8000 Hz, 1 channels",
    )
    assert not (tmp_path / "x.ts").exists()
    assert_fails_well(vasa("stream", tmp_path / "absent.png", "--dry-run"), 3, "no such portrait")
