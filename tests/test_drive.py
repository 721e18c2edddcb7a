"""Video-driven: what is measured in a clip is what the clip was made with, at its own frame rate, with its own sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack

FPS = Fraction(30000, 1001)
FRAMES = 60
SMOKE = ("--weights", "smoke")


def acted() -> MotionTrack:
    """Two seconds: the head turns and nods, the mouth opens four times, the eyes close twice."""
    basis, t = DynamicsBasis.load(), np.arange(FRAMES) / float(FPS)
    pose = np.zeros((FRAMES, 6), np.float32)
    pose[:, 0] = np.radians(9) * np.sin(2 * np.pi * t / 2)
    pose[:, 1] = np.radians(4) * np.sin(2 * np.pi * t / 1.5)
    opening = 0.16 * np.clip(np.sin(2 * np.pi * 2 * t), 0, None)
    shut = np.exp(-(((t - 0.6) / 0.07) ** 2)) + np.exp(-(((t - 1.5) / 0.07) ** 2))
    z = opening[:, None] * basis.mouth_open_direction + shut[:, None] * basis.blink_direction
    return MotionTrack(pose, z.astype(np.float32), FPS)


@pytest.fixture(scope="module")
def clip(face: Path, tone_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut acting, with a tone, 29.97 frames a second."""
    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.video.writer import VideoWriter

    path = tmp_path_factory.mktemp("clip") / "acted.mp4"
    with VideoWriter(path, (512, 512), FPS, FRAMES, tone_file) as writer:
        for block in FaceDecoder(FaceLatent.load(face)).frames(acted()):
            writer.write(block)
    return path


@pytest.fixture(scope="module")
def tone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import soundfile

    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 220 * np.arange(2 * 22050) / 22050), 22050)
    return path


@pytest.fixture(scope="module")
def measured(clip: Path) -> MotionTrack:
    from vasa_cli.motion.measured import measure
    from vasa_cli.video.clip import probe

    return measure(probe(clip), None, "relative", DynamicsBasis.load())[0]


def opening_of(track: MotionTrack) -> np.ndarray:
    shape = DynamicsBasis.load().decode(track.dynamics)
    return np.asarray(shape[:, 14, 1] - shape[:, 13, 1])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_the_clip_is_read_as_it_is(clip: Path) -> None:
    from vasa_cli.video.clip import probe, read_frames

    info = probe(clip)
    assert (info.fps, info.size, info.frames) == (FPS, (512, 512), FRAMES)
    assert info.sound_at is not None and abs(info.sound_at) < 0.005
    assert sum(1 for _ in read_frames(info)) == FRAMES


def test_measured_motion_is_what_was_acted(measured: MotionTrack) -> None:
    played, lids = acted(), DynamicsBasis.load().blocks["lids"].start
    assert (len(measured), measured.fps, measured.seed) == (FRAMES, FPS, -1)
    assert correlation(measured.pose[:, 0], played.pose[:, 0]) > 0.95
    assert correlation(measured.pose[:, 1], played.pose[:, 1]) > 0.9
    assert correlation(opening_of(measured), opening_of(played)) > 0.95
    assert correlation(measured.dynamics[:, lids : lids + 2].mean(1), played.dynamics[:, lids : lids + 2].mean(1)) > 0.95
    assert np.ptp(measured.pose[:, 0]) == pytest.approx(np.ptp(played.pose[:, 0]), rel=0.3)
    assert opening_of(measured).max() == pytest.approx(opening_of(played).max(), rel=0.3)


def test_measured_motion_is_on_time(measured: MotionTrack) -> None:
    a, b = opening_of(measured), opening_of(acted())
    lags = {lag: correlation(a[3 + lag : FRAMES - 3 + lag], b[3 : FRAMES - 3]) for lag in range(-3, 4)}
    assert max(lags, key=lambda lag: lags[lag]) == 0


def test_a_photo_of_the_clip_lands_on_the_clip(clip: Path, face: Path) -> None:
    from vasa_cli.motion.measured import measure
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.video.clip import probe

    track = measure(probe(clip), FaceLatent.load(face), "absolute", DynamicsBasis.load())[0]
    off = np.degrees(np.abs(track.pose[:, :2] - acted().pose[:, :2]))
    assert off.mean() < 1.5
    assert np.abs(track.pose[:, 3:]).max() < 0.04


def test_trembling_is_smoothed_and_closures_are_kept() -> None:
    from vasa_cli.motion.measured import steady

    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((120, 1)).astype(np.float32)
    closure = np.zeros((120, 1), np.float32)
    closure[60:62] = 1.0
    still = steady(noise, np.array([0.01]), Fraction(30))
    shut = steady(noise + closure, np.array([0.01]), Fraction(30))
    assert still.std() < 0.6 * noise.std()
    assert shut[60:62].min() > 0.97
    assert np.abs(shut[:50] - still[:50]).max() < 1e-6


def test_holes_are_filled_from_their_neighbours() -> None:
    from vasa_cli.motion.measured import fill_holes

    seen = np.array([False, True, False, False, True, False])
    values = np.array([[1.0], [4.0]])
    assert fill_holes(values, seen)[:, 0].tolist() == [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    assert fill_holes(values[:1], np.array([False, True, False]))[:, 0].tolist() == [1.0, 1.0, 1.0]


def test_rates_of_time_stamps() -> None:
    from vasa_cli.video.clip import rate_of

    thousandth = Fraction(1, 1000)
    assert rate_of([round(i * 1001 / 30) for i in range(300)], thousandth) == Fraction(30000, 1001)
    assert rate_of([round(i * 1000 / 25) for i in range(50)], thousandth) == 25
    assert rate_of([i * 512 for i in range(10)], Fraction(1, 12800)) == 25
    uneven = rate_of([0, 40, 100, 130, 200, 210, 300, 330, 400], thousandth)
    assert uneven == 20


def render(vasa: Vasa, *arguments: object) -> dict[str, Any]:
    done = vasa("render", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def facts(path: Path) -> tuple[Any, int, str | None]:
    import av

    with av.open(str(path)) as video:
        sound = video.streams.audio[0].codec_context.name if video.streams.audio else None
        rate = video.streams.video[0].average_rate
        return rate, sum(1 for _ in video.decode(video=0)), sound


def test_the_command_and_its_receipt(vasa: Vasa, face: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "driven.mp4"
    first = render(vasa, face, "--drive", clip, "-o", out, "--head", "0.5")
    assert facts(out) == (FPS, FRAMES, "aac")
    assert (first["frames"], first["fps"]) == (FRAMES, "30000/1001")
    receipt = json.loads((tmp_path / "driven.mp4.json").read_text(encoding="utf-8"))
    assert receipt["inputs"]["drive"]["mode"] == "relative" and receipt["controls"]["head"] == [[0.0, 0.5]]
    again = render(vasa, "--from", tmp_path / "driven.mp4.json", "-o", tmp_path / "again.mp4")
    assert again["reproduced"] is True


def test_a_recording_replaces_the_sound(vasa: Vasa, face: Path, clip: Path, speech: Path, tmp_path: Path) -> None:
    row = {"portrait": str(face), "audio": str(speech), "drive": str(clip), "drive_mode": "absolute", "output": "b.mp4"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row), encoding="utf-8")
    done = vasa("batch", tmp_path / "jobs.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert facts(tmp_path / "b.mp4") == (FPS, FRAMES, "aac")
    receipt = json.loads((tmp_path / "b.mp4.json").read_text(encoding="utf-8"))
    assert {"drive", "audio"} <= set(receipt["inputs"])


def test_generate_measures_a_motion_file(vasa: Vasa, face: Path, clip: Path, tmp_path: Path) -> None:
    done = vasa("generate", face, "--drive", clip, "-o", tmp_path / "m.safetensors", "--mouth", "0")
    assert done.returncode == 0, done.stderr
    track = MotionTrack.load(tmp_path / "m.safetensors")
    assert (len(track), track.fps) == (FRAMES, FPS)
    assert np.abs(opening_of(track)).max() < 1e-4 < np.ptp(track.pose[:, 0])


def faceless(path: Path, frames: int = 6) -> Path:
    from vasa_cli.video.writer import VideoWriter

    with VideoWriter(path, (64, 64), Fraction(25), frames) as writer:
        writer.write(np.full((frames, 64, 64, 3), 128, np.uint8))
    return path


def test_what_cannot_drive(vasa: Vasa, face: Path, clip: Path, speech: Path, tone: Callable[..., Path], tmp_path: Path) -> None:
    out = ("-o", tmp_path / "x.mp4", "--quiet")
    assert_fails_well(vasa("render", face, "--drive", faceless(tmp_path / "grey.mp4"), *out), 4, "no face")
    assert_fails_well(vasa("render", face, "--drive", speech, *out), 3, "no moving picture")
    assert_fails_well(vasa("render", face, "--drive", tmp_path / "none.mp4", *out), 3, "none.mp4")
    assert_fails_well(vasa("render", face, "--drive", clip, "--seed", 1, *out), 2, "--seed")
    assert_fails_well(vasa("render", face, "--drive", clip, "--drive-mode", "both", *out), 2, "relative, absolute")
    assert_fails_well(vasa("render", face, speech, "--drive-mode", "absolute", *out), 2, "--drive")
    assert_fails_well(vasa("render", face, "--drive", clip, "--motion", clip, *out), 2, "--motion")
    assert not (tmp_path / "x.mp4").exists()


def test_dry_run_says_length_and_rate(vasa: Vasa, face: Path, clip: Path, tmp_path: Path) -> None:
    plan = render(vasa, face, "--drive", clip, "-o", tmp_path / "x.mp4", "--dry-run")
    assert (plan["frames"], plan["fps"], plan["drive_mode"]) == (FRAMES, "30000/1001", "relative")
    assert "aac" in plan["encoder"] and not (tmp_path / "x.mp4").exists()
