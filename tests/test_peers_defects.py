"""Defects that other talking-head tools had, one named test each: what would catch it here.

Read in their published code: dead seed flags, success reported on failure, frame rates truncated, sound degraded, state that
leaks from job to job, fixed temporary names, crashes without a face, fragile paths, the author's machine in defaults, all frames
in memory. Where other tests look closer, `ALSO` names them, and a test checks that they are there.
"""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Vasa, assert_fails_well

from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.errors import FaceError, VasaError
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.diffusion import window_noise
from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.track import MotionTrack
from vasa_cli.speech.audio import load_speech, n_frames
from vasa_cli.video.clip import probe, read_frames
from vasa_cli.video.ffmpeg import find_ffmpeg
from vasa_cli.video.writer import VideoWriter

PACKAGE = ROOT / "vasa_cli"
SMALL = ("--weights", "smoke", "--size", 256, "--quiet")

ALSO = {
    "1 dead seed flags": (
        "test_motion.py::test_same_seed_same_motion_and_other_seed_other_motion",
        "test_motion.py::test_noise_differs_between_windows_and_seeds_remembers_and_cools",
        "test_cli_render.py::test_seed_and_controls_reach_the_picture",
        "test_cli_render.py::test_generate_is_bytewise_repeatable",
        "test_batch.py::test_seeds_come_from_ids_not_from_order",
    ),
    "2 success on failure": (
        "test_cli_failures.py::test_missing_files",
        "test_cli_failures.py::test_corrupt_audio",
        "test_cli_failures.py::test_ffmpeg_killed_midway",
        "test_cli_failures.py::test_ffmpeg_that_fails_or_is_missing",
        "test_batch.py::test_one_failure_does_not_stop_the_others",
    ),
    "3 frame rate truncated": (
        "test_drive.py::test_rates_of_time_stamps",
        "test_speech_audio.py::test_frames_are_counted_in_integers",
    ),
    "4 sound degraded": (
        "test_video.py::test_full_rate_is_kept",
        "test_video.py::test_sound_stays_where_it_was",
        "test_video.py::test_pixels_survive_with_their_colours",
    ),
    "5 state leaks in batch": (
        "test_batch.py::test_the_key_sees_every_option",
        "test_batch.py::test_existing_outputs_are_refused_at_once",
        "test_batch_run.py::test_every_way_gives_the_same_frames",
    ),
    "6 fixed temporary names": (
        "test_batch_run.py::test_two_batches_over_one_folder_at_once",
        "test_batch_run.py::test_two_processes_that_want_a_face_encode_it_once",
        "test_cli_failures.py::test_interrupted",
    ),
    "7 no face": ("test_cli_failures.py::test_no_face", "test_portrait.py::test_unusable_faces"),
    "8 paths": (
        "test_cli_render.py::test_names_of_the_world",
        "test_cli_render.py::test_output_places_and_streams",
        "test_portrait.py::test_exif_rotation_and_transparency",
    ),
    "9 the author's machine": ("test_cli_wheel.py::test_wheel_carries_presets_weights_and_sample",),
    "10 all frames in memory": (
        "test_motions.py::test_streamed_motion_is_the_whole_recording_s",
        "test_overlap.py::test_it_runs_ahead_and_no_farther",
    ),
}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("defect", ALSO)
def test_the_closer_tests_are_there(defect: str) -> None:
    for name in ALSO[defect]:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


# ---------------------------------------------------------------------------------------------------- 1


def made(seed: int, frames: int = 60) -> MotionTrack:
    from vasa_cli.motion.model import load_model

    width = load_model("smoke").config.features
    features = np.random.default_rng(0).standard_normal((frames, width)).astype(np.float32)
    return generate_motion(features, Controls.default().curves(frames, 25), seed=seed, weights="smoke", steps=2)


def test_1_seeds_are_obeyed_zero_too_whatever_the_global_generators_hold() -> None:
    import torch

    torch.manual_seed(1)
    np.random.seed(1)
    first = made(0)
    torch.manual_seed(2)
    np.random.seed(2)
    again, other = made(0), made(1)
    assert np.array_equal(first.pose, again.pose) and np.array_equal(first.dynamics, again.dynamics)
    assert not np.allclose(first.pose, other.pose)


def test_1_no_window_begins_with_the_noise_of_another() -> None:
    import torch

    noises = [window_noise(3, k, 50, (0.5,) * 8, torch.ones(8)).numpy() for k in range(4)]
    assert not any(np.allclose(a, b) for a, b in itertools.combinations(noises, 2))


def test_1_a_seed_of_a_row_does_not_reach_the_next(tmp_path: Path) -> None:
    text = "- {id: a, portrait: p.png, audio: s.wav, seed: 7}\n- {id: b, portrait: p.png, audio: s.wav}\n"
    both = {j.id: j.request.motion.seed for j in read_manifest("-", Shared(), form="yaml", text=text)}
    alone = read_manifest("-", Shared(), form="yaml", text=text.splitlines()[1])[0]
    assert both["a"] == 7 and both["b"] == alone.request.motion.seed != 7


# ---------------------------------------------------------------------------------------------------- 2


def test_2_every_failure_is_an_exit_code_and_no_result_on_stdout(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert_fails_well(vasa("render", face, tmp_path / "no.wav", "-o", out, *SMALL), 3, "no.wav")
    rows = [{"id": "bad", "portrait": str(face), "audio": str(tmp_path / "no.wav")}, {"id": "good", "portrait": str(face),
            "audio": str(speech), "size": 256}]  # fmt: skip
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = vasa("batch", tmp_path / "jobs.jsonl", "--weights", "smoke", "--quiet")
    assert done.returncode in (3, 8), done.stderr  # never 0: before any job, or at the end
    assert "no.wav" in done.stderr + done.stdout and "Traceback" not in done.stderr


def test_2_no_code_leaves_with_success_and_no_result_of_a_program_is_dropped() -> None:
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert not (name in ("exit", "quit", "sys.exit") and (not node.args or ast.unparse(node.args[0]) == "0")), path
                assert name not in ("os.system", "os.popen", "subprocess.call", "subprocess.getoutput"), path
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}: a bare except"
                quiet = all(isinstance(line, ast.Pass) for line in node.body)
                assert not (quiet and ast.unparse(node.type) in ("Exception", "BaseException")), f"{path}: a failure passed over"


# ---------------------------------------------------------------------------------------------------- 3


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001"])
def test_3_frame_rates_stay_fractions(rate: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    source = f"testsrc=s=64x64:r={rate}:d=2"
    subprocess.run([str(find_ffmpeg()), "-v", "error", "-f", "lavfi", "-i", source, str(path)], check=True)
    clip = probe(path)
    assert clip.fps == Fraction(rate)
    out = tmp_path / "b.mp4"
    frames = list(read_frames(clip))
    with VideoWriter(out, (64, 64), clip.fps, len(frames)) as writer:
        for frame in frames:
            writer.write(frame[None])
    assert probe(out).fps == Fraction(rate) and probe(out).frames == len(frames)
    minute = n_frames(60 * 48000, 48000, Fraction(rate))
    assert abs(float(minute / Fraction(rate)) - 60) < 0.05  # int(29.97) would be two seconds off


# ---------------------------------------------------------------------------------------------------- 4


def test_4_the_users_own_sound_is_muxed_and_nothing_is_encoded_twice(
    tone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    start = subprocess.Popen.__init__

    def spy(self: object, command: list[str], *args: object, **kwargs: object) -> None:
        started.append(list(map(str, command)))
        start(self, command, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess.Popen, "__init__", spy)
    audio, out = tone("a.wav", 0.4, 48000, 2), tmp_path / "a.mkv"
    with VideoWriter(out, (64, 64), Fraction(25), 10, audio) as writer:
        writer.write(np.zeros((10, 64, 64, 3), np.uint8))
    encoders = [c for c in started if "-vcodec" in c or "libx264" in c]
    assert len(encoders) == 1 and any(str(audio) in word for word in encoders[0])
    assert load_speech(out).source_rate == 48000
    said = subprocess.run([str(find_ffmpeg()), "-i", str(out)], capture_output=True, text=True).stderr
    assert "stereo" in said and "48000 Hz" in said


# ---------------------------------------------------------------------------------------------------- 5


def test_5_no_option_of_one_row_stays_for_the_next() -> None:
    rows = [
        {"portrait": "a.v1.png", "audio": "s.wav", "preset": "calm", "gaze": [10, 0], "size": 256, "crf": 30, "background": "red",
         "emotion": {"happy": 1}, "seed": 3, "steps": 2, "face": "left", "output": "named.mkv"},
        {"portrait": "a.v2.png", "audio": "s.wav"},
    ]  # fmt: skip

    def jobs(of: list[dict[str, object]]) -> list[object]:
        return [j.request for j in read_manifest("-", Shared(), form="jsonl", text="\n".join(map(json.dumps, of)))]

    assert jobs(rows)[1] == jobs(rows[1:])[0]


def test_5_names_with_several_dots_do_not_collide() -> None:
    text = "\n".join(json.dumps({"portrait": f"{name}.png", "audio": "s.wav"}) for name in ("a.v1", "a.v2", "a"))
    outputs = {j.request.output.name for j in read_manifest("-", Shared(), form="jsonl", text=text)}
    assert len(outputs) == 3 and {"a.v1-s.mp4", "a.v2-s.mp4"} <= outputs


# ---------------------------------------------------------------------------------------------------- 6 and 8


def test_6_and_8_two_renders_at_once_from_one_folder_under_odd_names(
    face: Path, astronaut: Path, speech: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The same inputs at the same time, bare names, dots and letters of other alphabets: nothing meets, nothing is left."""
    place = tmp_path / "der Ort: 100%"
    (place / "in").mkdir(parents=True)
    (place / "in" / "./Łódź.v1.png").write_bytes(astronaut.read_bytes())
    (place / "in" / "речь.v1.wav").write_bytes(speech.read_bytes())
    before = sorted(p.name for p in (place / "in").iterdir())
    command = [sys.executable, "-m", "vasa_cli", "render", "./in/Łódź.v1.png", "in/речь.v1.wav", *map(str, SMALL), "-o"]
    temporary = place / "tmp"
    temporary.mkdir()
    env = {**environment, "TMPDIR": str(temporary)}
    both = [
        subprocess.Popen([*command, name], cwd=place, env=env, stderr=subprocess.PIPE) for name in ("bare.mkv", "b.noaudio.mp4")
    ]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    made = sorted(p.name for p in place.iterdir())
    assert made == ["b.noaudio.mp4", "b.noaudio.mp4.json", "bare.mkv", "bare.mkv.json", "in", "tmp"]
    assert sorted(p.name for p in (place / "in").iterdir()) == before  # nothing beside the user's inputs
    assert not list(temporary.iterdir())
    hashes = {json.loads((place / f"{n}.json").read_text(encoding="utf-8"))["frame_hash"] for n in ("bare.mkv", "b.noaudio.mp4")}
    assert len(hashes) == 1


def test_8_no_path_is_taken_apart_as_text() -> None:
    """`path.split('.')[1]`, `replace('.mp4', ...)` and the like, over the whole package."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                looks = ast.unparse(node.func.value)
                assert not (node.func.attr == "split" and first == "." and "__name__" not in looks), (
                    f"{path}: {ast.unparse(node)}"
                )
                assert not (node.func.attr == "replace" and first in (".mp4", ".wav", ".png", ".jpg")), (
                    f"{path}: {ast.unparse(node)}"
                )
                assert ast.unparse(node.func) != "cv2.imread", path


# ---------------------------------------------------------------------------------------------------- 7


def test_7_pictures_without_a_face_are_told_so() -> None:
    from vasa_cli.portrait.encode import encode_pixels

    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    for rgb in (np.zeros((256, 256, 3), np.uint8), np.full((300, 200, 3), 255, np.uint8), noise):
        with pytest.raises(FaceError, match="no face"):
            encode_pixels(rgb, Path("empty.png"))
    for error in VasaError.__subclasses__():
        assert issubclass(error, Exception) and error.exit_code not in (0, 1)


# ---------------------------------------------------------------------------------------------------- 9


def test_9_no_machine_of_ours_in_the_package() -> None:
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("/home/", "/Users/", "/root", "/work", "/mnt/", "C:\\")), (
                    f"{path}: {node.value!r}"
                )


def test_9_importing_writes_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    """Every module of the package, in a folder of its own with a home of its own."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in PACKAGE.rglob("*.py")
        if p.stem not in ("__init__", "__main__")
    ]
    light = [n for n in names if ".training" not in n and ".cluster" not in n]
    code = f"import importlib\nfor name in {light!r}: importlib.import_module(name)\n"
    env = {**environment, "HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "mpl"), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("VASA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], cwd=here, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(here.iterdir()) and not [p for p in home.rglob("*") if "vasa" in p.name.lower()]


# ---------------------------------------------------------------------------------------------------- 10


def test_10_frames_go_as_they_come(decoder: FaceDecoder, tmp_path: Path) -> None:
    """Drawing and writing eight times as many frames takes no more memory."""

    def peak(frames: int) -> int:
        track = MotionTrack(np.zeros((frames, 6), np.float32), np.zeros((frames, decoder.basis.size), np.float32))
        tracemalloc.start()
        with VideoWriter(tmp_path / f"{frames}.mp4", (decoder.size, decoder.size), Fraction(25), frames) as writer:
            for block in decoder.frames(track, 4):
                writer.write(block)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(8)
    few, many = peak(12), peak(96)
    assert many < 1.2 * few + 4e6, (few, many)  # a frame of 512 x 512 is 0.8 MB: 84 more would be 66 MB


def test_the_list_of_defects_is_whole() -> None:
    own = {int(word) for name in globals() if name.startswith("test_") for word in name.split("_")[1:4] if word.isdigit()}
    assert own == set(range(1, 11)) == {int(key.split()[0]) for key in ALSO}
