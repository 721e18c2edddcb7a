"""Every shipped preset changes the motion, and its own measure in the direction that its name says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from conftest import SPEECH
from test_behaviour import Talk, act, talk

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.behave import Behaviour
from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.presets import load_preset, shipped
from vasa_cli.motion.track import MotionTrack
from vasa_cli.speech.features import SpeechEncoder

NAMES = sorted(set(shipped()) - {"neutral"})
SPOKEN, SILENT = slice(0, 185), slice(215, 310)  # frames of the recording

Tracks = dict[str, MotionTrack]


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    """The demo's sentence (7.4 s) and five seconds of silence in every preset, with the shipped weights and one seed."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    at = np.arange(int(len(samples) * 16000 / rate)) * rate / 16000
    speech = np.interp(at, np.arange(len(samples)), samples)
    features = SpeechEncoder.from_weights("default").features(np.concatenate([speech, np.zeros(5 * 16000)]).astype(np.float32))
    out = {}
    for name in shipped():
        controls = load_preset(name).spec.to_controls()
        guidance, curves = dict(controls.guidance), controls.curves(len(features), 25)
        out[name] = generate_motion(features, curves, seed=0, steps=4, guidance=guidance, style=controls.style)
    return out


@pytest.fixture(scope="module")
def long() -> Callable[[str], Behaviour]:
    """What a preset's behaviours do over six minutes of made speech: enough of them to count."""
    said, basis = talk(6.0, silence=6.0), DynamicsBasis.load()

    def run(name: str) -> Behaviour:
        controls = load_preset(name).spec.to_controls()
        constant = {k: getattr(controls, k) for k in ("head", "brows", "blink", "mouth")}
        return act(Talk(said.features, said.active, said.accents, said.ends), basis, 0, controls.style, **constant)

    return run


def shape(track: MotionTrack, basis: DynamicsBasis) -> np.ndarray:
    """(478, 3): the mean face over the recording, blinks and closures averaged away."""
    return basis.decode(np.median(track.dynamics, axis=0))


def gaze(track: MotionTrack) -> np.ndarray:
    return np.degrees(track.dynamics[:, :2])  # (T, 2): yaw, pitch


def head(track: MotionTrack) -> float:
    return float(np.std(track.pose[:, :3], axis=0).sum())


def speed(track: MotionTrack) -> float:
    return float(np.linalg.norm(np.diff(track.pose[:, :3], axis=0), axis=1).mean())


def mouth(track: MotionTrack, basis: DynamicsBasis) -> float:
    return float(np.std(track.dynamics[SPOKEN, basis.blocks["mouth"]], axis=0).sum())


def brows(track: MotionTrack, basis: DynamicsBasis) -> float:
    return float(np.std(track.dynamics[:, basis.blocks["brows"]], axis=0).sum())


def aside(acts: Behaviour) -> float:
    """Share of the time that the eyes are off the viewer."""
    return float((np.linalg.norm(acts.gaze, axis=1) > np.radians(2.5)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_differs_from_neutral(tracks: Tracks, name: str) -> None:
    std = DynamicsBasis.load().std
    face = (tracks[name].dynamics - tracks["neutral"].dynamics) / std  # in standard deviations of real speech
    moved = tracks[name].pose - tracks["neutral"].pose
    assert np.abs(face).max() > 0.2 or np.abs(moved[:, :3]).max() > np.radians(0.5) or np.abs(moved[:, 5]).max() > 0.05


def test_presets_differ_from_each_other(tracks: Tracks) -> None:
    shapes = {name: np.concatenate([t.pose, t.dynamics], axis=1).round(4).tobytes() for name, t in tracks.items()}
    assert len(set(shapes.values())) == len(shapes)


@pytest.mark.parametrize(("name", "distance"), [("close-up", 0.75), ("wide", 1.25)])
def test_distance_presets_move_the_head(tracks: Tracks, name: str, distance: float) -> None:
    offset = float(np.mean(tracks[name].pose[:, 5] - tracks["neutral"].pose[:, 5]))
    assert offset == pytest.approx(np.log(distance), abs=0.02)


def test_look_away_looks_away(tracks: Tracks) -> None:
    yaw = gaze(tracks["look-away"])[:, 0] - gaze(tracks["neutral"])[:, 0]
    assert yaw[25 * 2] == pytest.approx(17, abs=4)
    assert yaw[int(25 * 6.5)] == pytest.approx(-17, abs=4)
    assert abs(yaw[25 * 1]) < 3


def test_angry_lowers_the_brows_and_looks_straight(
    tracks: Tracks, long: Callable[[str], Behaviour], basis: DynamicsBasis
) -> None:
    lower = shape(tracks["angry"], basis)[107, 1] - shape(tracks["neutral"], basis)[107, 1]
    assert lower > 0.01  # IOD, y points down
    assert aside(long("angry")) < 0.75 * aside(long("neutral"))


def test_sad_lowers_eyes_and_corners_and_slows_the_head(tracks: Tracks, basis: DynamicsBasis) -> None:
    lower = shape(tracks["sad"], basis) - shape(tracks["neutral"], basis)
    assert np.median(gaze(tracks["sad"])[:, 1] - gaze(tracks["neutral"])[:, 1]) == pytest.approx(-8, abs=2.5)
    assert lower[[61, 291], 1].mean() > 0.01
    assert speed(tracks["sad"]) < 0.8 * speed(tracks["neutral"])


def test_friendly_smiles(tracks: Tracks, basis: DynamicsBasis) -> None:
    moved = shape(tracks["friendly"], basis) - shape(tracks["neutral"], basis)
    assert moved[[61, 291], 1].mean() < -0.01
    assert moved[291, 0] - moved[61, 0] > 0.02  # wider


def test_surprised_raises_brows_and_lids(tracks: Tracks, basis: DynamicsBasis) -> None:
    moved = shape(tracks["surprised"], basis) - shape(tracks["neutral"], basis)
    assert moved[[107, 336], 1].mean() < -0.02
    assert moved[[159, 386], 1].mean() < -0.005


def test_still_stills_the_head_and_energetic_does_not(tracks: Tracks, basis: DynamicsBasis) -> None:
    assert head(tracks["still"]) < 0.1 * head(tracks["neutral"])
    assert brows(tracks["still"], basis) < 0.5 * brows(tracks["neutral"], basis)
    assert head(tracks["energetic"]) > 1.3 * head(tracks["neutral"])
    assert speed(tracks["energetic"]) > 1.3 * speed(tracks["neutral"])
    assert mouth(tracks["energetic"], basis) > 1.1 * mouth(tracks["neutral"], basis)


def test_singing_opens_the_mouth_wider_and_sways(tracks: Tracks, basis: DynamicsBasis) -> None:
    assert mouth(tracks["singing"], basis) > 1.2 * mouth(tracks["neutral"], basis)
    assert tracks["singing"].pose[:, 2].std() > 1.3 * tracks["neutral"].pose[:, 2].std()


def test_serious_keeps_head_and_brows_quiet(tracks: Tracks, basis: DynamicsBasis) -> None:
    assert head(tracks["serious"]) < 0.7 * head(tracks["neutral"])
    assert brows(tracks["serious"], basis) < 0.8 * brows(tracks["neutral"], basis)


def test_calm_is_slower_and_smaller(tracks: Tracks, long: Callable[[str], Behaviour]) -> None:
    assert speed(tracks["calm"]) < 0.7 * speed(tracks["neutral"])
    assert aside(long("calm")) < 0.9 * aside(long("neutral"))


def test_presenter_stresses_words_and_keeps_to_the_camera(long: Callable[[str], Behaviour]) -> None:
    made, usual = long("presenter"), long("neutral")
    assert np.diff(made.pose[:, 1]).std() > 1.3 * np.diff(usual.pose[:, 1]).std()
    assert np.abs(made.face[:, 14:22]).mean() > 1.2 * np.abs(usual.face[:, 14:22]).mean()
    assert aside(made) < 0.6 * aside(usual)


def test_attentive_answers_in_silence(long: Callable[[str], Behaviour], tracks: Tracks, basis: DynamicsBasis) -> None:
    made, usual = long("attentive"), long("neutral")
    silent = usual.prosody.silent_for > 60
    assert np.diff(made.pose[silent, 1]).std() > 1.15 * np.diff(usual.pose[silent, 1]).std()
    assert aside(made) < 0.75 * aside(usual)
    smile = basis.decode(np.median(tracks["attentive"].dynamics[SILENT], axis=0))[[61, 291], 1].mean()
    assert smile < -0.005


def test_shy_avoids_the_eye(tracks: Tracks, long: Callable[[str], Behaviour], basis: DynamicsBasis) -> None:
    assert np.median(gaze(tracks["shy"])[:, 1] - gaze(tracks["neutral"])[:, 1]) == pytest.approx(-5, abs=2.5)
    assert aside(long("shy")) > 1.25 * aside(long("neutral"))
    assert mouth(tracks["shy"], basis) < 0.95 * mouth(tracks["neutral"], basis)


def test_thoughtful_looks_aside_longer(tracks: Tracks, long: Callable[[str], Behaviour]) -> None:
    assert aside(long("thoughtful")) > 1.15 * aside(long("neutral"))
    assert speed(tracks["thoughtful"]) < 0.9 * speed(tracks["neutral"])


def test_seeds_and_styles_differ_and_repeat(tracks: Tracks) -> None:
    """The same seed gives the same motion to the bit; another seed or manner, one that anybody can see."""
    from vasa_cli.motion.behaviour.style import MotionStyle, random_style
    from vasa_cli.motion.controls import Controls

    features = np.random.default_rng(0).standard_normal((200, 143)).astype(np.float32)
    curves = Controls.default().curves(200, 25)

    def run(seed: int, style: MotionStyle) -> np.ndarray:
        return np.degrees(generate_motion(features, curves, seed=seed, steps=2, style=style).pose[:, :3])

    usual = run(0, MotionStyle())
    assert np.array_equal(usual, run(0, MotionStyle()))
    assert np.abs(usual - run(1, MotionStyle())).mean() > 0.5
    manners = [run(0, random_style(s)) for s in (1, 2)]
    assert all(np.abs(usual - m).mean() > 0.15 for m in manners) and np.abs(manners[0] - manners[1]).mean() > 0.15
