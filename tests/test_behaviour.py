"""Behaviours on features that the tests make: phrases of syllables with known accents, pauses and silences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vasa_cli.motion.apply import Parts
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.behave import Behaviour, behave, enliven
from vasa_cli.motion.behaviour.blinks import blinks
from vasa_cli.motion.behaviour.lanes import PITCH, Lanes
from vasa_cli.motion.behaviour.prosody import listen
from vasa_cli.motion.behaviour.style import REFERENCE, STYLE_NAMES, MotionStyle, manner_of, random_style, style_of
from vasa_cli.motion.behaviour.timing import LOOK_AHEAD
from vasa_cli.motion.controls import EMOTIONS, Controls, Curve
from vasa_cli.motion.emotion import give_way, lip_gap, offsets
from vasa_cli.motion.track import MotionTrack

F = 143
MINUTE = 1500


@dataclass(frozen=True)
class Talk:
    features: np.ndarray  # (T, F)
    active: np.ndarray  # (T,) bool
    accents: np.ndarray  # frames
    ends: np.ndarray  # frames after the last of each phrase


def talk(minutes: float = 2.0, seed: int = 0, silence: float = 0.0) -> Talk:
    """Phrases of 1.5 to 4 s with a syllable every 0.2 s, about one in four louder and higher; pauses of 0.4 to 1 s, now and then
    one of `silence` seconds."""
    rng, n = np.random.default_rng(seed), round(minutes * MINUTE)
    loud, pitch = np.full(n, -60.0), np.zeros(n)
    active, accents, ends, t = np.zeros(n, bool), [], [], 10
    while t < n - 120:
        stop = t + int(rng.integers(38, 100))
        active[t:stop] = True
        for k in range(t, stop, 5):
            strong = rng.random() < 0.25 and k > t + 8
            course = np.exp(-0.5 * ((np.arange(t, stop) - k) / 1.4) ** 2)
            loud[t:stop] = np.maximum(loud[t:stop], -30 + (24 if strong else 12) * course)
            pitch[t:stop] += (0.45 if strong else 0.0) * course
            if strong:
                accents.append(k)
        ends.append(stop)
        t = stop + int(25 * silence if silence and len(ends) % 3 == 0 else rng.integers(10, 25))
    features = np.zeros((n, F), np.float32)
    features[:, -3] = (loud + 27.2) / 21.5
    features[:, -2] = (pitch - 0.19) / 0.46
    features[:, -1] = np.where(active, 1.1, -1.06)
    return Talk(features, active, np.array(accents), np.array(ends))


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


def act(said: Talk, basis: DynamicsBasis, seed: int = 0, style: MotionStyle | None = None, **curves: Curve) -> Behaviour:
    wanted = Controls.default().with_curves(**curves).curves(len(said.features), 25)
    return behave(said.features, wanted, style or MotionStyle(), seed, basis, said.active)


def blink_starts(curve: np.ndarray) -> np.ndarray:
    return np.flatnonzero((curve[1:] > 0.5) & (curve[:-1] <= 0.5))


def test_pauses_within_words_are_bridged_and_clicks_dropped() -> None:
    on = np.zeros(100, bool)
    on[20:40] = on[44:60] = on[80] = True
    heard = listen(np.zeros((100, F), np.float32), on)
    assert heard.speaking[20:60].all() and not heard.speaking[60:].any() and not heard.speaking[:20].any()
    assert heard.phrases == ((20, 60),) and heard.silent_for[65] == 6


def test_accents_are_found_where_they_were_made() -> None:
    said = talk()
    found = np.array([a.frame for a in listen(said.features, said.active).accents])
    hit = [np.abs(found - k).min() <= 2 for k in said.accents]
    right = [np.abs(said.accents - k).min() <= 2 for k in found]
    assert np.mean(hit) > 0.7 and np.mean(right) > 0.7


@pytest.mark.parametrize("seed", range(4))
def test_blinks_a_minute_and_at_phrase_ends(basis: DynamicsBasis, seed: int) -> None:
    said = talk(4.0, seed)
    starts = blink_starts(act(said, basis, seed).blink)
    assert 8 <= len(starts) / 4 <= 30
    after = np.zeros(len(said.active), bool)
    for end in said.ends:
        after[end - 2 : end + 13] = True
    assert after[starts].mean() > 1.5 * after.mean()


def test_some_blinks_are_double_and_no_period_shows(basis: DynamicsBasis) -> None:
    starts = np.array([b.start for b in blinks(np.ones(40 * MINUTE), 25, 3)])
    gaps = np.diff(starts)
    assert 0.05 < (gaps < 15).mean() < 0.2
    assert gaps[gaps > 15].std() > 0.25 * gaps[gaps > 15].mean()


def test_nods_follow_accents_more_than_chance(basis: DynamicsBasis) -> None:
    said = talk(4.0)
    pitch = np.degrees(act(said, basis).pose[:, 1])
    down = np.r_[0, np.diff(pitch)]

    def after(frames: np.ndarray) -> float:
        return float(np.mean([down[k + 1 : k + 7].mean() for k in frames]))

    elsewhere = [after((said.accents + shift) % (len(down) - 10)) for shift in range(200, 2200, 50)]
    assert after(said.accents) > max(elsewhere)
    assert after(said.accents) > 0.05  # degrees a frame; real clips 0.1 to 0.2


def test_brows_rise_on_accents(basis: DynamicsBasis) -> None:
    said = talk(4.0)
    raised = act(said, basis).face @ (basis.au_directions["AU1"] + basis.au_directions["AU2"])
    at = np.mean([raised[k : k + 6].mean() for k in said.accents])
    assert at > 1.15 * raised[said.active].mean() > 0


def test_speech_moves_no_mouth_and_only_a_long_silence_smiles_with_closed_lips(basis: DynamicsBasis) -> None:
    said = talk(4.0, silence=7.0)
    acts = act(said, basis)
    mouth = np.abs(acts.face[:, basis.blocks["mouth"]]).max(1)
    quiet = acts.prosody.silent_for
    early = (quiet < 60) & (np.array([quiet[max(0, i - 60) : i + 1].max() for i in range(len(quiet))]) < 60)
    assert mouth[early].max() < 2e-3 < 0.02 < mouth.max()
    assert np.abs(lip_gap(acts.face, basis)).max() < 1e-3
    assert np.abs(np.diff(acts.face, axis=0)).max() < 0.1  # nothing jumps


def test_listening_nods_and_tilts_in_silences_alone(basis: DynamicsBasis) -> None:
    said = talk(6.0, silence=8.0)
    deaf, keen = (act(said, basis, style=MotionStyle(listening=v)) for v in (0.0, 1.6))
    differs = np.abs(keen.pose - deaf.pose).max(1) > 1e-6
    quiet = keen.prosody.silent_for
    late = np.array([quiet[max(0, i - 120) : i + 1].max() for i in range(len(quiet))])
    assert differs.any() and not differs[late < 37].any()
    silent = quiet > 60
    assert np.degrees(keen.pose[silent, 1]).std() > np.degrees(deaf.pose[silent, 1]).std() + 0.1


def test_eyes_dart_rest_and_come_back(basis: DynamicsBasis) -> None:
    acts = act(talk(4.0), basis)
    eyes = np.degrees(acts.gaze)
    far = np.linalg.norm(eyes, axis=1)
    assert 0.08 < (far > 2.5).mean() < 0.4 and far.max() < 16
    step = np.linalg.norm(np.diff(eyes, axis=0), axis=1)
    assert (step < 0.01).mean() > 0.8  # fixations stand still
    assert 8 < ((step[1:-1] > 1.5) & (step[1:-1] >= step[:-2]) & (step[1:-1] > step[2:])).sum() / 4 < 60
    assert np.abs(np.median(eyes, axis=0)).max() < 0.6
    aside = np.flatnonzero(np.diff(np.r_[0, (far > 2.5).astype(int), 0]))
    assert (aside[1::2] - aside[::2]).max() <= 25 * 5


def test_the_eyes_stay_with_the_viewer_as_the_head_turns(basis: DynamicsBasis) -> None:
    n = 500
    said = Talk(np.zeros((n, F), np.float32), np.ones(n, bool), np.zeros(0), np.zeros(0))
    acts = act(said, basis, style=MotionStyle(nods=0, darts=0))
    pose = np.zeros((n, 6), np.float32)
    pose[:, 0] = np.radians(5) * np.sin(np.arange(n) / 30)
    curves = Controls.default().curves(n, 25)
    out = enliven(
        Parts(pose, np.zeros((n, basis.size), np.float32)), acts, curves, MotionStyle(), basis, np.zeros(12, np.float32)
    )
    off = out.dynamics[50:, 0] - out.pose[50:, 0]  # yaw > 0 turns left, gaze > 0 looks right
    assert np.degrees(off).std() < 0.6 * np.degrees(out.pose[50:, 0]).std()


def test_breath_has_the_pace_of_breathing_and_no_machine_period(basis: DynamicsBasis) -> None:
    n = 8 * MINUTE
    silent = Talk(np.full((n, F), -1.5, np.float32), np.zeros(n, bool), np.zeros(0), np.zeros(0))
    lift = act(silent, basis, style=MotionStyle(listening=0)).pose[:, 4]
    up = np.flatnonzero((lift[1:] < lift.mean()) & (lift[:-1] >= lift.mean()))
    assert 10 < len(up) / 8 < 20
    assert 0.08 < np.diff(up).std() / np.diff(up).mean() < 0.5
    assert 0.002 < lift.std() < 0.01


def test_ten_minutes_do_not_drift_and_return_to_rest(basis: DynamicsBasis) -> None:
    said = talk(10.0, silence=6.0)
    n = len(said.active)
    rng = np.random.default_rng(0)
    wander = np.cumsum(rng.normal(0, 0.002, (n, 6)), 0) + np.linspace(0, 0.6, n)[:, None]  # a network that drifts away
    acts = act(said, basis)
    curves = Controls.default().curves(n, 25)
    z = np.zeros((n, basis.size), np.float32)
    pose = enliven(Parts(wander.astype(np.float32), z), acts, curves, MotionStyle(), basis, np.zeros(12, np.float32)).pose
    minutes = np.degrees(pose[:, :3]).reshape(10, -1, 3).mean(1)
    assert np.abs(minutes).max() < 2.5 and np.abs(minutes[-1] - minutes[0]).max() < 2.5
    assert np.abs(pose[0, :3]).max() < np.radians(0.5)  # begins as the photo has it
    quiet = acts.prosody.silent_for > 60
    assert np.abs(pose[quiet, 0]).mean() < 0.8 * np.abs(pose[acts.prosody.speaking, 0]).mean()


def test_the_same_seed_the_same_behaviour_and_other_seeds_others(basis: DynamicsBasis) -> None:
    said = talk(1.0)
    first, again, other = act(said, basis, 0), act(said, basis, 0), act(said, basis, 1)
    for name in ("pose", "gaze", "face", "blink"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.allclose(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("cut", [377, 741, 1100])
def test_what_comes_later_than_the_look_ahead_changes_nothing(basis: DynamicsBasis, cut: int) -> None:
    said, other = talk(1.0, silence=4.0), talk(1.0, seed=5)
    features, active = said.features.copy(), said.active.copy()
    features[cut:], active[cut:] = other.features[cut:], other.active[cut:]
    a, b = act(said, basis), act(Talk(features, active, said.accents, said.ends), basis)
    for name in ("pose", "gaze", "face", "blink", "calm"):
        x, y = getattr(a, name)[: cut - LOOK_AHEAD - 1], getattr(b, name)[: cut - LOOK_AHEAD - 1]
        assert np.allclose(x, y, atol=1e-6), name


def test_strokes_begin_and_end_at_rest_without_jerks() -> None:
    lanes = Lanes()
    lanes.stroke(PITCH, 10.3, [(0, 0), (4, -0.3), (11, 0.7), (30, 0)])
    out = lanes.take(60)[:, PITCH]
    assert out[:11].max() == 0 and np.abs(out[41:]).max() == 0 and out.max() == pytest.approx(0.7, abs=0.02)
    assert np.abs(np.diff(out, 3)).max() < 0.12


def test_scales_of_the_user_scale_the_behaviours(basis: DynamicsBasis) -> None:
    said, zero = talk(1.0, silence=5.0), Curve.constant(0.0)
    assert np.abs(act(said, basis, head=zero).pose).max() == 0
    assert act(said, basis, blink=zero).blink.max() == 0
    assert np.abs(act(said, basis, brows=zero).face[:, basis.blocks["brows"]]).max() < 1e-6
    assert np.allclose(act(said, basis, head=Curve.constant(2.0)).pose, 2 * act(said, basis).pose, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("nods", lambda a: np.diff(a.pose[:, 1]).std()),
        ("brows", lambda a: np.abs(a.face[:, 14:22]).mean()),
        ("blinks", lambda a: len(blink_starts(a.blink))),
        ("darts", lambda a: (np.linalg.norm(a.gaze, axis=1) > np.radians(2.5)).mean()),
        ("dart_size", lambda a: np.quantile(np.linalg.norm(a.gaze, axis=1), 0.95)),
        ("sway", lambda a: a.pose[:, 5].std()),
    ],
)
def test_each_factor_of_a_style_moves_its_measure(basis: DynamicsBasis, name: str, measure: object) -> None:
    assert callable(measure)
    said = talk(3.0)
    small, usual, large = (measure(act(said, basis, style=MotionStyle(**{name: v}))) for v in (0.5, 1.0, 1.7))
    assert small < 0.85 * usual < usual < 0.9 * large


def test_random_styles_differ_and_repeat() -> None:
    assert random_style(4) == random_style(4) != random_style(5)
    values = np.array([[getattr(random_style(s), n) for n in STYLE_NAMES] for s in range(200)])
    assert values.min() > 0.4 and values.max() <= 2.0 and 0.9 < np.median(values) < 1.1
    with pytest.raises(ValueError, match="allowed is"):
        MotionStyle(nods=9)


def test_the_style_of_a_motion_says_how_it_moves(basis: DynamicsBasis) -> None:
    rng, n = np.random.default_rng(0), 1500
    kernel = np.hanning(25) / np.hanning(25).sum()
    slow = np.stack([np.convolve(rng.standard_normal(n + 24), kernel, "valid") for _ in range(6)], 1)
    slow /= slow.std(0)
    pose = np.zeros((n, 6), np.float32)
    pose[:, :3] = slow[:, :3] * np.radians([REFERENCE["head_yaw"], REFERENCE["head_pitch"], REFERENCE["head_roll"]])
    z = np.zeros((n, basis.size), np.float32)
    for start in range(60, n, 125):  # 12 blinks a minute
        z[start : start + 5, 2:4] = 1.0
    usual, large = (style_of(MotionTrack(pose * k, z), basis) for k in (1.0, 2.0))
    assert large.head_yaw > 1.6 * usual.head_yaw and large.head_pitch > 1.6 * usual.head_pitch
    assert usual.head_yaw == pytest.approx(1.0, abs=0.2) and usual.blinks < 1.0
    assert manner_of(MotionTrack(pose, z), basis)["blinks"] == pytest.approx(12, abs=0.1)
    short = style_of(MotionTrack(pose[:50] * 2.0, z[:50]), basis)
    assert large.brows < short.brows < 1 and large.mouth < short.mouth < 1  # two seconds say little
    for frames in range(1, 12):  # shorter than a blink: nothing can be said about the gaze
        assert style_of(MotionTrack(pose[:frames], z[:frames]), basis).darts == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("name", EMOTIONS)
def test_no_emotion_holds_the_lips_open_or_shut(basis: DynamicsBasis, name: str) -> None:
    """Closures close and openings open whatever the emotion, while somebody speaks; the order of openings is kept."""
    emotions = np.zeros((40, len(EMOTIONS)), np.float32)
    emotions[:, EMOTIONS.index(name)] = 1.0
    gap = np.linspace(0, 0.25, 40).astype(np.float32)
    z = gap[:, None] * basis.mouth_open_direction + offsets(emotions, basis)
    spoken, silent = (lip_gap(give_way(z, gap, emotions, np.full(40, v, np.float32), basis), basis) for v in (1.0, 0.0))
    assert spoken[0] > -0.03
    assert spoken[0] < 0.005 and (np.diff(spoken) > 0).all()
    assert np.corrcoef(spoken, gap)[0, 1] > 0.97
    assert (silent >= gap - 0.03).all()
