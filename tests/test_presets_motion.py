"""Every shipped preset changes the motion, and in the direction that its name says."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SPEECH

from vasa_cli import pipeline
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.presets import load_preset, shipped
from vasa_cli.motion.track import MotionTrack

NAMES = sorted(set(shipped()) - {"neutral"})


@pytest.fixture(scope="module")
def tracks() -> dict[str, MotionTrack]:
    """The demo's sentence (7.4 s) in every preset, with the smoke weights and one seed."""
    models = pipeline.Models()

    def generate(controls: Controls) -> MotionTrack:
        options = pipeline.MotionOptions(controls, weights="smoke")
        return pipeline.generate(pipeline.GenerateRequest(SPEECH, motion=options), models=models).track

    return {name: generate(load_preset(name).spec.to_controls()) for name in shipped()}


def gaze_degrees(track: MotionTrack) -> np.ndarray:
    return np.degrees(track.dynamics[:, DynamicsBasis.load().blocks["gaze"]])  # (T, 2): yaw, pitch


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_differs_from_neutral(tracks: dict[str, MotionTrack], name: str) -> None:
    std = DynamicsBasis.load().std
    face = (tracks[name].dynamics - tracks["neutral"].dynamics) / std  # in standard deviations of real speech
    head = tracks[name].pose - tracks["neutral"].pose
    assert np.abs(face).max() > 0.2 or np.abs(head[:, :3]).max() > np.radians(0.5) or np.abs(head[:, 5]).max() > 0.05


def test_presets_differ_from_each_other(tracks: dict[str, MotionTrack]) -> None:
    shapes = {name: np.concatenate([t.pose, t.dynamics], axis=1).round(4).tobytes() for name, t in tracks.items()}
    assert len(set(shapes.values())) == len(shapes)


def test_distance_presets_move_the_head(tracks: dict[str, MotionTrack]) -> None:
    offset = {name: float(np.mean(t.pose[:, 5] - tracks["neutral"].pose[:, 5])) for name, t in tracks.items()}
    assert offset["close-up"] == pytest.approx(np.log(0.75), abs=0.05)
    assert offset["wide"] == pytest.approx(np.log(1.3), abs=0.05)


def test_look_away_looks_away(tracks: dict[str, MotionTrack]) -> None:
    yaw = gaze_degrees(tracks["look-away"])[:, 0] - gaze_degrees(tracks["neutral"])[:, 0]
    assert yaw[25 * 2] == pytest.approx(17, abs=3)
    assert yaw[int(25 * 6.5)] == pytest.approx(-17, abs=3)
    assert abs(yaw[25 * 1]) < 1


def test_sad_lowers_the_eyes(tracks: dict[str, MotionTrack]) -> None:
    pitch = gaze_degrees(tracks["sad"])[:, 1] - gaze_degrees(tracks["neutral"])[:, 1]
    assert np.median(pitch) == pytest.approx(-8, abs=2)


def test_still_stills_the_head_and_energetic_does_not(tracks: dict[str, MotionTrack]) -> None:
    sway = {name: float(np.std(tracks[name].pose[:, :3], axis=0).sum()) for name in ("still", "neutral", "energetic")}
    assert sway["still"] < 0.1 * sway["neutral"]
    assert sway["energetic"] > 1.3 * sway["neutral"]


def test_singing_opens_the_mouth_wider(tracks: dict[str, MotionTrack]) -> None:
    mouth = DynamicsBasis.load().blocks["mouth"]
    spread = {name: float(np.std(tracks[name].dynamics[:, mouth], axis=0).sum()) for name in ("neutral", "singing")}
    assert spread["singing"] > 1.1 * spread["neutral"]
