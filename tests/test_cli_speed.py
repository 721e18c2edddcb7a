"""What speed is asked for with: threads, encoders, and the time to the first frame in the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Vasa, assert_fails_well

from vasa_cli.errors import EncoderError, UsageError
from vasa_cli.video import nvenc
from vasa_cli.video.formats import codec_of, format_of

SMOKE = ("--weights", "smoke")
MP4, WEBM = format_of(Path("a.mp4")), format_of(Path("a.webm"))


def test_any_number_of_threads_gives_the_same_frames(vasa: Vasa, face: Path, tmp_path: Path) -> None:
    import soundfile
    from conftest import SPEECH

    samples, rate = soundfile.read(SPEECH)
    soundfile.write(tmp_path / "a.wav", samples[: round(1.1 * rate)], rate)  # 28 frames: more blocks than threads
    seen = {}
    for threads in (1, 3):
        out = tmp_path / f"{threads}.mp4"
        done = vasa("render", face, tmp_path / "a.wav", "-o", out, *SMOKE, "--size", 256, "--threads", threads, "--json")
        assert done.returncode == 0, done.stderr
        seen[threads] = json.loads(done.stdout)
    assert seen[1]["frame_hash"] == seen[3]["frame_hash"]
    stages = json.loads(Path(seen[3]["receipt"]).read_text(encoding="utf-8"))["stages"]
    assert 0 < stages["first_frame"] < stages["total"] + 5  # since the start of the process; the total since that of the work
    assert stages["first_frame"] == seen[3]["stages"]["first_frame"]


def test_threads_that_are_none(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    for arguments, env in ((("--threads", "0"), {}), ((), {"VASA_THREADS": "none"})):
        done = vasa("render", face, speech, "-o", tmp_path / "a.mp4", *SMOKE, *arguments, env=env)
        assert done.returncode == 2
        assert "threads" in done.stderr.lower()
    assert list(tmp_path.iterdir()) == []


def test_the_encoder_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for works in (True, False):
        monkeypatch.setattr(nvenc, "working_nvenc", lambda ffmpeg, works=works: works)
        assert codec_of(MP4) == codec_of(MP4, "x264") == "libx264"  # reproducible unless asked otherwise
        assert codec_of(MP4, "auto") == (nvenc.NVENC if works else "libx264")
        assert codec_of(WEBM, "auto") == "libvpx-vp9"
        with pytest.raises(UsageError, match=r"nvenc makes H\.264"):
            codec_of(WEBM, "nvenc")
        with pytest.raises(UsageError, match="known are auto, x264, nvenc"):
            codec_of(MP4, "h265")
        if works:
            assert codec_of(MP4, "nvenc") == nvenc.NVENC
        else:
            with pytest.raises(EncoderError, match="no frame comes out"):
                codec_of(MP4, "nvenc")


def test_nvenc_where_there_is_none(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    if nvenc.working_nvenc(find_ffmpeg()):
        pytest.skip("NVENC works here")
    out = tmp_path / "a.mp4"
    assert_fails_well(vasa("render", face, speech, "-o", out, *SMOKE, "--encoder", "nvenc"), 7, "--encoder auto")
    assert list(tmp_path.iterdir()) == []
    plan = vasa("render", face, speech, "-o", out, *SMOKE, "--encoder", "auto", "--dry-run", "--json")
    assert "libx264" in json.loads(plan.stdout)["encoder"]


def test_nvenc_is_asked_for_constant_quality(tmp_path: Path) -> None:
    from dataclasses import replace
    from fractions import Fraction

    from vasa_cli.video.writer import encode_command

    form = replace(MP4, codec=nvenc.NVENC)
    command = encode_command(tmp_path / "a", form, (64, 48), Fraction(25), 5, None, 14, True, "yuv420p")
    assert command[command.index("-vcodec") + 1] == nvenc.NVENC
    assert "-x264-params" not in command
    assert int(command[command.index("-cq") + 1]) > 0
    assert "scale" not in " ".join(command)  # planes need no conversion
