"""`vasa render` end to end, through the real command with the smoke weights: what must work, and the same again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import SPEECH, Vasa, assert_fails_well

SMOKE = ("--weights", "smoke")
FRAMES = 6  # of the fixture `speech`


def facts(path: Path) -> dict[str, Any]:
    """What an independent reader finds in the file."""
    with av.open(str(path)) as video:
        picture = video.streams.video[0]
        frames = sum(1 for _ in video.decode(video=0))
        sound = video.streams.audio[0] if video.streams.audio else None
        return {
            "size": (picture.codec_context.width, picture.codec_context.height),
            "codecs": (picture.codec_context.name, sound.codec_context.name if sound else None),
            "fps": picture.average_rate,
            "frames": frames,
            "rate": sound.rate if sound else None,
            "channels": sound.channels if sound else None,
        }


def render(vasa: Vasa, *arguments: object, **more: Any) -> dict[str, Any]:
    done = vasa("render", *arguments, *SMOKE, "--json", **more)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def first(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One render that several tests look at."""
    folder = tmp_path_factory.mktemp("first")
    return render(vasa, astronaut, speech, "-o", folder / "out.mp4", "--seed", 0)


def test_the_main_job(first: dict[str, Any]) -> None:
    out = Path(first["output"])
    assert facts(out) == {
        "size": (512, 512),
        "codecs": ("h264", "aac"),
        "fps": 25,
        "frames": FRAMES,
        "rate": 22050,
        "channels": 1,
    }
    assert first["frames"] == FRAMES
    assert first["cache_hit"] is True
    assert sorted(p.name for p in out.parent.iterdir()) == ["out.mp4", "out.mp4.json"]


def test_the_receipt_tells_all(first: dict[str, Any], astronaut: Path, speech: Path) -> None:
    import hashlib

    receipt = json.loads(Path(first["receipt"]).read_text(encoding="utf-8"))
    assert receipt["frame_hash"] == first["frame_hash"]
    assert (receipt["fps"], receipt["frames"], receipt["seed"], receipt["device"], receipt["dtype"]) == (
        "25/1",
        FRAMES,
        0,
        "cpu",
        "float32",
    )
    for name, path in (("portrait", astronaut), ("audio", speech)):
        assert receipt["inputs"][name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"name", "basis", "speech", "motion", "encoder"} <= set(receipt["weights"])
    assert {"encode", "speech", "generate", "decoder", "encoder", "mux", "total"} <= set(receipt["stages"])
    assert receipt["controls"]["gaze"] == [[0.0, 0.0, 0.0]]
    from vasa_cli.video.framehash import frame_hash

    assert f"sha256:{frame_hash(Path(first['output']), (512, 512)).sha256}" == first["frame_hash"]


def test_seed_and_controls_reach_the_picture(
    vasa: Vasa, first: dict[str, Any], astronaut: Path, speech: Path, tmp_path: Path
) -> None:
    """The same seed gives the same frames, whatever ran before; another seed or any control gives others."""
    changes: dict[str, dict[str, Any]] = {
        "gaze": {"gaze": "-15,8"}, "same": {}, "distance": {"distance": 0.8}, "emotion": {"emotion": "happy=0.8"},
        "head": {"head": 0}, "mouth": {"mouth": 0}, "preset": {"preset": "sad"}, "seed": {"seed": 1},
    }  # fmt: skip
    common = {"portrait": str(astronaut), "audio": str(speech), "seed": 0}
    rows = [json.dumps({"id": name, **common, **change}) for name, change in changes.items()]
    done = vasa("batch", "-", *SMOKE, "--json", "--output-dir", tmp_path, stdin="\n".join(rows))
    assert done.returncode == 0, done.stderr
    hashes = {job["id"]: job["frame_hash"] for job in json.loads(done.stdout)["jobs"]}
    assert hashes.pop("same") == first["frame_hash"]
    assert len({first["frame_hash"], *hashes.values()}) == len(changes)


def test_the_receipt_repeats_it(vasa: Vasa, first: dict[str, Any], tmp_path: Path) -> None:
    done = vasa("render", "--from", first["receipt"], "-o", tmp_path / "again.mp4", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["reproduced"] is True
    assert again["frame_hash"] == first["frame_hash"]


def test_a_receipt_whose_input_changed_is_refused(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    sound = tmp_path / "in.wav"
    shutil.copy(speech, sound)
    out = tmp_path / "out.mp4"
    render(vasa, astronaut, sound, "-o", out)
    shutil.copy(SPEECH, sound)
    receipt = f"{out}.json"
    assert_fails_well(vasa("render", "--from", receipt, "-o", tmp_path / "b.mp4"), 3, "in.wav", "changed")
    assert_fails_well(vasa("render", "--from", receipt, "-o", tmp_path / "b.mp4", "--seed", 3), 2, "--seed")
    assert_fails_well(vasa("render", "--from", tmp_path / "none.json"), 3, "no such receipt")
    sound.unlink()
    moved = vasa("render", "--from", receipt, astronaut, speech, "-o", tmp_path / "b.mp4", "--json")  # where it is now
    assert json.loads(moved.stdout)["reproduced"] is True
    data = json.loads(Path(receipt).read_text(encoding="utf-8"))
    data["weights"]["motion"] = "0" * 64
    Path(receipt).write_text(json.dumps(data), encoding="utf-8")
    assert_fails_well(vasa("render", "--from", receipt, astronaut, speech, "-o", tmp_path / "c.mp4"), 5, "motion weights")


def test_generate_then_replay(
    vasa: Vasa, first: dict[str, Any], face: Path, astronaut: Path, speech: Path, tmp_path: Path
) -> None:
    motion = tmp_path / "bewegung.safetensors"
    done = vasa("generate", astronaut, speech, "-o", motion, *SMOKE, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == FRAMES
    replay = render(vasa, face, speech, "--motion", motion, "-o", tmp_path / "replay.mp4")  # a face file, no photo
    assert replay["frame_hash"] == first["frame_hash"]
    silent = render(vasa, face, "--motion", motion, "-o", tmp_path / "silent.mp4")
    assert facts(Path(silent["output"]))["codecs"] == ("h264", None)
    assert silent["frame_hash"] == first["frame_hash"]
    wrong = vasa("render", astronaut, speech, "--motion", motion, "--preset", "sad", "-o", tmp_path / "x.mp4")
    assert_fails_well(wrong, 2, "--motion", "generate")


def test_generate_is_bytewise_repeatable(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = vasa("generate", astronaut, speech, "-o", tmp_path / f"{name}.safetensors", *SMOKE, "--preset", "look-away")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_generate_and_render_never_import_mediapipe(
    face: Path, speech: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    import os
    import sys

    broken = tmp_path / "broken" / "mediapipe"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('mediapipe was imported')")
    (tmp_path / "broken" / "cv2.py").write_text("raise ImportError('there is no OpenCV here')")  # used where there is one
    env = {**environment, "PYTHONPATH": os.pathsep.join([str(broken.parent), environment["PYTHONPATH"]])}
    command = [sys.executable, "-m", "vasa_cli", "render", str(face), str(speech), "-o", str(tmp_path / "a.mp4"), *SMOKE]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_two_faces_the_largest_is_taken_and_named(vasa: Vasa, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    from PIL import Image

    one = Image.open(astronaut).convert("RGB")
    wide = Image.new("RGB", (1024, 512), (90, 110, 130))
    wide.paste(one.crop((0, 0, 512, 512)), (512, 0))
    small = one.crop((100, 0, 356, 256))  # the same face and its surroundings, not enlarged
    wide.paste(small.resize((200, 200)), (60, 60))
    wide.save(tmp_path / "two.png")
    done = vasa("render", tmp_path / "two.png", speech, "-o", tmp_path / "a.mp4", *SMOKE)
    assert done.returncode == 0, done.stderr
    assert "2 faces" in done.stderr
    assert "largest" in done.stderr
    left = vasa("encode", tmp_path / "two.png", "--face", "left")
    assert left.returncode == 0, left.stderr
    assert_fails_well(vasa("encode", tmp_path / "two.png", "--face", "7"), 4, "--face 7")
    assert_fails_well(vasa("encode", tmp_path / "two.png", "--face", "prettiest"), 2, "prettiest")


def test_a_48_megapixel_photo(vasa: Vasa, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    from PIL import Image

    big = Image.new("RGB", (8000, 6000), (120, 120, 120))
    big.paste(Image.open(astronaut).convert("RGB").resize((5200, 5200)), (1400, 600))
    big.save(tmp_path / "big.jpg", quality=80)
    out = render(vasa, tmp_path / "big.jpg", speech, "-o", tmp_path / "a.mp4")
    assert facts(Path(out["output"]))["size"] == (512, 512)


def test_unusual_recordings(vasa: Vasa, face: Path, tone: Callable[..., Path], tmp_path: Path) -> None:
    cases: dict[str, tuple[dict[str, Any], int]] = {
        "kurz.wav": ({"seconds": 0.1}, 3),
        "one sample.wav": ({"seconds": 1 / 16000}, 1),
        "still.wav": ({"seconds": 0.2, "volume": 0.0}, 5),
        "studio.wav": ({"seconds": 0.2, "rate": 96000, "channels": 2}, 5),
        "phone.wav": ({"seconds": 0.2, "rate": 8000}, 5),
    }
    lines = ["portrait,audio,output", *(f"{face},{tone(name, **options)},{name}.mp4" for name, (options, _) in cases.items())]
    done = vasa("batch", "-", *SMOKE, "--output-dir", tmp_path / "out", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    for name, (options, frames) in cases.items():
        seen = facts(tmp_path / "out" / f"{name}.mp4")
        expected = (frames, options.get("rate", 16000), options.get("channels", 1))
        assert (seen["frames"], seen["rate"], seen["channels"]) == expected, name


def test_a_video_as_the_recording(vasa: Vasa, first: dict[str, Any], face: Path, tmp_path: Path) -> None:
    out = render(vasa, face, first["output"], "-o", tmp_path / "a.mp4")
    assert facts(Path(out["output"]))["codecs"] == ("h264", "aac")
    assert abs(out["frames"] - FRAMES) <= 1
    silent = tmp_path / "silent.mp4"
    from vasa_cli.video.writer import VideoWriter

    with VideoWriter(silent, (64, 64), Fraction(25), 2) as writer:
        writer.write(np.zeros((2, 64, 64, 3), np.uint8))
    assert_fails_well(vasa("render", face, silent, "-o", tmp_path / "b.mp4", *SMOKE), 3, "silent.mp4", "sound")


def test_two_sound_tracks(vasa: Vasa, face: Path, tone: Callable[..., Path], tmp_path: Path) -> None:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    both = tmp_path / "two tracks.mkv"
    sounds = ["-i", tone("a.wav", seconds=0.2), "-i", tone("b.wav", seconds=0.4)]
    subprocess.run([find_ffmpeg(), "-v", "error", *sounds, "-map", "0:a", "-map", "1:a", both], check=True)
    assert render(vasa, face, both, "-o", tmp_path / "a.mp4")["frames"] in (5, 6)  # the first track, as in the video


def test_names_of_the_world(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    folder = tmp_path / "мои файлы %d: 'ä'"
    folder.mkdir()
    photo, sound = folder / "写真 (1).png", folder / "-голос & речь.wav"
    shutil.copy(astronaut, photo)
    shutil.copy(speech, sound)
    out = render(vasa, photo, sound, "-o", folder / "विडियो ü.mp4")
    assert Path(out["output"]).is_file()
    receipt = json.loads(Path(out["receipt"]).read_text(encoding="utf-8"))
    assert receipt["inputs"]["portrait"]["path"] == "写真 (1).png"


def test_output_places_and_streams(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    """An output without a folder, one in a folder that is not there yet; stdout holds the result alone."""
    done = vasa("render", face, speech, "-o", "out.mp4", *SMOKE, cwd=tmp_path)
    assert done.stdout == "out.mp4\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "out.mp4.json"]
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"generate: {FRAMES} frames") for line in lines), done.stderr
    assert any(line.startswith(f"render: {FRAMES} frames") for line in lines), done.stderr
    assert "\x1b" not in done.stderr
    deep = tmp_path / "a" / "b c" / "out.mkv"
    quiet = vasa("render", face, speech, "-o", deep, *SMOKE, "--quiet")
    assert (quiet.stdout, quiet.stderr) == (f"{deep}\n", "")
    assert facts(deep)["frames"] == FRAMES
    plan = json.loads(vasa("render", face, speech, *SMOKE, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert plan["output"] == f"{face.stem}-speech.mp4"


def test_bars_with_the_time_left_on_a_terminal(face: Path, speech: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    import os
    import pty
    import sys

    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip("this machine has no pseudo-terminals")
    env = {**environment, "TERM": "xterm"}
    command = [
        sys.executable,
        "-m",
        "vasa_cli",
        "generate",
        str(face),
        str(speech),
        "-o",
        str(tmp_path / "m.safetensors"),
        *SMOKE,
    ]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the other side has closed
            break
        if not block:
            break
        shown += block
    stdout, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert stdout.decode() == f"{tmp_path / 'm.safetensors'}\n"
    assert b"left" in shown
    assert f"generate: {FRAMES} frames in".encode() in shown
    assert b"\x1b[3" not in shown  # NO_COLOR is set: bars, but no colours


def test_dry_run_checks_and_writes_nothing(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.mp4"
    done = vasa("render", astronaut, speech, "-o", out, *SMOKE, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["frames"], plan["seconds"], plan["face_cached"], plan["output"]) == (FRAMES, 0.24, True, str(out))
    assert "libx264" in plan["encoder"]
    assert list(tmp_path.iterdir()) == []
    assert_fails_well(vasa("render", tmp_path / "no.png", speech, "-o", out, *SMOKE, "--dry-run"), 3, "no.png")
    generate = vasa("generate", astronaut, speech, "-o", tmp_path / "m.safetensors", *SMOKE, "--dry-run", "--json")
    assert json.loads(generate.stdout)["frames"] == FRAMES


def test_a_cache_that_cannot_be_written_only_slows(vasa: Vasa, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = vasa("render", astronaut, speech, "-o", tmp_path / "a.mp4", *SMOKE, "--cache-dir", tmp_path / "file" / "cache")
    assert done.returncode == 0, done.stderr


def test_the_library_does_the_same(first: dict[str, Any], face: Path, speech: Path, tmp_path: Path) -> None:
    from vasa_cli import pipeline
    from vasa_cli.video.provenance import read_xmp

    models = pipeline.Models()
    options = pipeline.MotionOptions(weights="smoke")
    request = pipeline.RenderRequest(face, speech, tmp_path / "a.mp4", options, provenance=False)
    result = pipeline.render(request, models=models)
    assert result.frame_hash == first["frame_hash"]
    assert read_xmp(Path(first["output"])) is not None
    assert read_xmp(result.output) is None
    assert json.loads(result.receipt.read_text(encoding="utf-8"))["options"]["provenance"] is False
    motion = pipeline.generate(pipeline.GenerateRequest(speech, motion=options), models=models)
    assert len(motion.track) == FRAMES


def test_batch_end_to_end(vasa: Vasa, first: dict[str, Any], face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    shutil.copy(astronaut, tmp_path / "p.png")
    shutil.copy(speech, tmp_path / "s.wav")
    rows = "id,portrait,audio,seed,preset\none,p.png,s.wav,0,\ntwo,p.png,missing.wav,0,\nthree,p.png,s.wav,,friendly\n"
    (tmp_path / "jobs.csv").write_text(rows)
    done = vasa("batch", tmp_path / "jobs.csv", *SMOKE, "--json")
    assert done.returncode == 8, done.stderr
    jobs = {j["id"]: j for j in json.loads(done.stdout)["jobs"]}
    assert [jobs[i]["status"] for i in ("one", "two", "three")] == ["done", "failed", "done"]
    assert jobs["one"]["frame_hash"] == first["frame_hash"]
    assert jobs["two"]["exit_code"] == 3
    assert "missing.wav" in jobs["two"]["error"]
    shutil.copy(speech, tmp_path / "missing.wav")
    resumed = vasa("batch", tmp_path / "jobs.csv", *SMOKE, "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert [j["status"] for j in json.loads(resumed.stdout)["jobs"]] == ["skipped", "done", "skipped"]
    assert_fails_well(vasa("batch", tmp_path / "jobs.csv", *SMOKE), 2, "exists already")
    # From stdin, in another order, under other neighbours: the same frames.
    line = json.dumps(
        {"id": "three", "portrait": str(tmp_path / "p.png"), "audio": str(tmp_path / "s.wav"), "preset": "friendly"}
    )
    piped = vasa("batch", "-", *SMOKE, "--json", "--output-dir", tmp_path / "other", stdin=line + "\n")
    assert json.loads(piped.stdout)["jobs"][0]["frame_hash"] == jobs["three"]["frame_hash"]
    plan = vasa("batch", tmp_path / "jobs.csv", *SMOKE, "--dry-run", "--overwrite")
    assert plan.returncode == 0
    assert "one: 6 frames, 0.24 s" in plan.stdout
