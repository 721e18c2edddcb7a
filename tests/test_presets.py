"""Controls and presets: schema, messages, interpolation, precedence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vasa_cli.errors import UsageError
from vasa_cli.motion.behaviour.style import MotionStyle, random_style
from vasa_cli.motion.controls import CURVE_NAMES, EMOTIONS, Controls, Curve
from vasa_cli.motion.presets import (
    Preset,
    load_preset,
    parse_emotions,
    parse_gaze,
    parse_guidance,
    read_preset,
    resolve_controls,
    shipped,
    validate,
)

NAMES = [
    "angry",
    "attentive",
    "calm",
    "close-up",
    "energetic",
    "friendly",
    "look-away",
    "neutral",
    "presenter",
    "sad",
    "serious",
    "shy",
    "singing",
    "still",
    "surprised",
    "thoughtful",
    "wide",
]


def test_the_presets_are_shipped_and_differ() -> None:
    assert sorted(shipped()) == NAMES
    presets = [load_preset(name) for name in NAMES]
    assert all(p.description for p in presets)
    controls = [p.spec.to_controls() for p in presets]
    assert len({repr(c) for c in controls}) == len(NAMES)
    assert controls[NAMES.index("neutral")] == Controls.default()


def test_look_away_moves_the_gaze_over_time_and_again() -> None:
    gaze = load_preset("look-away").spec.to_controls().curves(25 * 20, 25).gaze
    assert gaze[:, 0].max() > 15
    assert gaze[:, 0].min() < -15
    assert np.allclose(gaze[0], 0)
    assert np.allclose(gaze[: 25 * 8], gaze[25 * 8 : 25 * 16], atol=1e-4)


def test_default_curves_ask_for_nothing() -> None:
    curves = Controls.default().curves(7, Fraction(25))
    assert curves.gaze.shape == (7, 2)
    assert curves.emotion.shape == (7, len(EMOTIONS))
    assert not curves.gaze.any()
    assert not curves.emotion.any()
    for name in ("distance", "head", "brows", "blink", "mouth"):
        assert np.array_equal(getattr(curves, name), np.ones(7, np.float32)), name


def test_keyframes_ease_between_and_hold_outside() -> None:
    curve = Curve((1.0, 2.0), ((0.0,), (10.0,)))
    at = curve.sample(np.array([0.0, 1.0, 1.25, 1.5, 2.0, 9.0]))[:, 0]
    assert at[[0, 1, 4, 5]].tolist() == [0.0, 0.0, 10.0, 10.0]
    assert at[3] == pytest.approx(5.0)
    assert 0 < at[2] < 2.5  # eased: slower than linear at first


def test_repeat_goes_smoothly_from_the_last_keyframe_to_the_first() -> None:
    curve = Curve((0.5, 1.5), ((0.0,), (4.0,)))
    values = curve.sample(np.arange(0, 12, 0.04), repeat=2.0)[:, 0]
    assert np.abs(np.diff(values)).max() < 0.4  # no jump at the seam
    assert values[0] == pytest.approx(2.0)  # half way from 4 at -0.5 s to 0 at 0.5 s


def test_json_round_trip() -> None:
    controls = load_preset("look-away").spec.to_controls().with_curves(distance=Curve.constant(0.8))
    assert Controls.from_json(controls.to_json()) == controls
    assert set(controls.to_json()) == {*CURVE_NAMES, "repeat", "style", "guidance"}


@pytest.mark.parametrize(
    "data", [{"gaze": [[0.0, 1.0]]}, {"tilt": [[0.0, 1.0]]}, {"head": [[0.0, float("nan")]]}, {"head": [[1.0, 1.0], [0.5, 1.0]]}]
)
def test_damaged_json_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"gaze|tilt|head|rise"):
        Controls.from_json(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"gaze": {"yaw": 45}}, ("gaze.yaw", "45", "-30 to 30")),
        ({"gaze": [{"t": 0, "yaw": 1}, {"t": 1, "pitch": 40}]}, ("gaze[1].pitch", "-25 to 25")),
        ({"distance": 3}, ("distance", "0.6 to 1.8")),
        ({"emotion": {"happy": 1.2}}, ("emotion.happy", "0 to 1")),
        ({"emotion": {"hapy": 0.2}}, ("hapy", "did you mean happy?")),
        ({"gase": 1}, ("gase", "did you mean gaze?")),
        ({"head": -0.1}, ("head", "0 to 2")),
        ({"blink": "often"}, ("blink", "often")),
        ({"mouth": float("inf")}, ("mouth", "0 to 2")),
        ({"gaze": [{"t": 2}, {"t": 1}]}, ("gaze", "rising")),
        ({"gaze": []}, ("gaze", "rising")),
        ({"repeat": 1, "head": [{"t": 0, "value": 1}, {"t": 2, "value": 0}]}, ("head", "repeat")),
        ({"gaze": 12}, ("gaze", "{yaw: 10")),
        ({"guidance": {"audio": 9}}, ("guidance.audio", "9", "0 to 4")),
        ({"guidance": {"gase": 1}}, ("guidance.gase", "did you mean gaze?", "audio, gaze, distance, emotion")),
        ({"guidance": 2}, ("guidance", "{audio: 0.5")),
        ({"style": {"nods": 5}}, ("style.nods", "0 to 3")),
        ({"style": {"pace": 0.1}}, ("style.pace", "0.5 to 2")),
        ({"style": {"nod": 1}}, ("style.nod", "did you mean nods?")),
        ([1, 2], ("mapping", "list")),
    ],
)
def test_messages_name_the_key_and_the_range(data: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        validate(data, "preset mine.yaml")
    text = str(caught.value)
    assert text.startswith("preset mine.yaml: ")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_flags_win_over_the_preset_and_leave_the_rest() -> None:
    friendly = load_preset("friendly")
    controls = resolve_controls(friendly, {"brows": 0.5, "gaze": {"yaw": 10.0, "pitch": 2.0}})
    assert controls.brows == Curve.constant(0.5)
    assert controls.gaze == Curve.constant(10, 2)
    assert controls.emotion == friendly.spec.to_controls().emotion


def test_a_flag_out_of_range_is_named_as_a_flag() -> None:
    with pytest.raises(UsageError, match=r"--gaze yaw = 31\.5 .*-30 to 30"):
        resolve_controls(None, {"gaze": {"yaw": 31.5, "pitch": 0}})
    with pytest.raises(UsageError, match=r"--distance = 0\.1 .*0\.6 to 1\.8"):
        resolve_controls(None, {"distance": 0.1})


def test_text_forms() -> None:
    assert parse_gaze("-12,3.5") == {"yaw": -12.0, "pitch": 3.5}
    assert parse_emotions(["happy=0.4", "Sad=0.1"]) == {"happy": 0.4, "sad": 0.1}
    for bad in ("12", "a,b", "1,2,3", ""):
        with pytest.raises(UsageError, match="YAW,PITCH"):
            parse_gaze(bad)
    with pytest.raises(UsageError, match="did you mean surprised"):
        parse_emotions(["suprised=0.5"])
    with pytest.raises(UsageError, match="WEIGHT"):
        parse_emotions(["happy=much"])


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean friendly\?"):
        load_preset("freindly")
    with pytest.raises(UsageError, match="no such file"):
        load_preset("nowhere/mine.yaml")


def test_preset_files(tmp_path: Path) -> None:
    file = tmp_path / "mein Auftritt.yaml"
    file.write_text("distance: [{t: 0, value: 1.0}, {t: 2, value: 0.7}]\n", encoding="utf-8")
    curves = load_preset(str(file)).spec.to_controls().curves(60, 25)
    assert curves.distance[0] == pytest.approx(1.0)
    assert curves.distance[-1] == pytest.approx(0.7)
    file.write_text("gaze: {yaw: 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid YAML in line 2"):
        read_preset(file)
    file.write_text("", encoding="utf-8")
    assert read_preset(file).spec.to_controls() == Controls.default()


def test_guidance_and_style_go_from_text_and_preset_to_controls_and_back() -> None:
    assert parse_guidance(["audio=0.5,gaze=1.0", "emotion=2"]) == {"audio": 0.5, "gaze": 1.0, "emotion": 2.0}
    for bad in ("audo=1", "audio", "audio=much", ""):
        with pytest.raises(UsageError, match=r"audio.*0 to 4|STRENGTH"):
            parse_guidance([bad])
    with pytest.raises(UsageError, match=r"--guidance audio = 4\.5 .*0 to 4"):
        resolve_controls(None, {"guidance": {"audio": 4.5}})
    preset = Preset("p", "", Path(), validate({"guidance": {"gaze": 2.0, "audio": 1.0}, "style": {"nods": 1.5}}, "p"))
    controls = resolve_controls(preset, {"guidance": {"audio": 0.0}})
    assert dict(controls.guidance) == {"audio": 0.0, "gaze": 2.0} and controls.style == MotionStyle(nods=1.5)
    assert resolve_controls(preset, {"style": {"seed": 3}}).style == random_style(3)
    assert Controls.from_json(controls.to_json()) == controls
    old = {k: v for k, v in controls.to_json().items() if k not in ("style", "guidance")}
    assert Controls.from_json(old).style == MotionStyle.default()  # receipts of before there were styles
    for damaged in ({"guidance": {"audo": 1}}, {"style": {"nods": 99}}, {"style": {"nod": 1}}):
        with pytest.raises(ValueError, match=r"audo|nod"):
            Controls.from_json(damaged)
