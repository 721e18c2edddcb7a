"""Measures of motion on made signals whose truth is known: a wrong formula must show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa_cli.motion.basis import DynamicsBasis, rotation
from vasa_cli.training.metrics import eyes, frames, head, joints, lips, report, trends
from vasa_cli.training.metrics.judges import Heard, JudgeConfig, capp_of, check_sync, sound_of, train_judge
from vasa_cli.training.metrics.sync import SyncConfig, SyncJudge, offset_curve, score_curve

pytest.importorskip("scipy", reason="the metrics need scipy: pip install 'vasa-cli[train]'")


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


def made_clips(count: int, frames_: int, seed: int) -> list[Heard]:
    """Mouths that open with the power of a band of the sound, three slow random numbers each."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        motion = np.stack([np.convolve(rng.standard_normal(frames_ + 4), np.ones(5) / 2, "valid") for _ in range(3)], 1)
        mel = np.full((4 * frames_, 80), -60.0) + 0.5 * rng.standard_normal((4 * frames_, 80))
        for k in range(3):
            mel[:, 10 + 20 * k : 30 + 20 * k] += 12 * np.repeat(motion[:, k], 4)[:, None]
        out.append(Heard(str(i), motion.astype(np.float32), mel.astype(np.float32)))
    return out


@pytest.fixture(scope="module")
def judge() -> SyncJudge:
    torch.set_num_threads(1)
    config = JudgeConfig(
        SyncConfig(motion=3, width=32, size=16, dropout=0.0), steps=60, batch=8, frames=50, noise=0.05, seeds=(0,)
    )
    return train_judge(made_clips(24, 60, 0), config)


def test_sync_tells_true_from_other_sound_and_finds_delays(judge: SyncJudge) -> None:
    check = check_sync(judge, made_clips(5, 75, 1))
    assert check.true > check.wrong + 0.1
    assert check.wins > 0.9
    assert check.found == 1.0
    assert check.found_shifted == 1.0


def test_sync_offset_is_positive_where_the_mouth_is_late(judge: SyncJudge) -> None:
    clip = made_clips(1, 90, 2)[0]
    sound = sound_of(clip.mel)
    late = np.concatenate([np.zeros((4, 3), np.float32), clip.motion])[:90]
    assert judge.score(clip.motion, sound).offset == 0
    assert judge.score(late, sound).offset == 4
    # an aligned pair agrees at offset 0 and not three frames off
    seen, heard = judge.see(clip.motion), judge.hear(sound)
    assert capp_of(judge, seen, heard) > capp_of(judge, seen, heard, 3) + 0.1


def test_judges_survive_being_written(judge: SyncJudge, tmp_path) -> None:
    clip = made_clips(1, 60, 3)[0]
    judge.save(tmp_path / "judge.pt")
    again = SyncJudge.load(tmp_path / "judge.pt")
    assert again.score(clip.motion, sound_of(clip.mel)) == judge.score(clip.motion, sound_of(clip.mel))


def test_confidence_is_median_less_smallest() -> None:
    curve = np.array([3.0, 3.0, 1.0, 3.0, 4.0])
    assert score_curve(curve) == (2.0, 1.0, 0)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 4))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    assert offset_curve(a[2:], a[:-2], 5).argmin() == 3  # motion[t] = sound[t + 2]: two frames early


def test_head_angles_between_frames() -> None:
    pose = np.zeros((50, 6))
    pose[:, 0] = np.radians(0.5 * np.arange(50))
    assert head.delta_p(pose) == pytest.approx(0.5, abs=1e-6)
    assert head.jitter(np.degrees(pose[:, :3])) == pytest.approx(0, abs=1e-6)
    pose[:, 1] = np.radians(np.where(np.arange(50) % 2, 1.0, -1.0))
    assert head.head_std(pose)[1] == pytest.approx(1.0)
    assert head.head_std(pose)[3] == pytest.approx(np.hypot(*head.head_std(pose)[:2]))
    assert head.jitter(np.degrees(pose[:, 1])) == pytest.approx(4.0)  # -1, 1, -1


def test_frozen_seconds(basis: DynamicsBasis) -> None:
    pose, z = np.zeros((100, 6)), np.zeros((100, basis.size))
    speaking = np.ones(100, bool)
    assert head.still_seconds(pose, z, speaking, basis) == (1.0, 1.0)
    z[:, basis.blocks["lids"].start] = np.arange(100) % 20 / 20  # lids move, the head does not
    assert head.still_seconds(pose, z, speaking, basis) == (0.0, 1.0)
    pose[:, 0] = 0.05 * np.sin(np.arange(100) / 5)
    assert head.still_seconds(pose, z, speaking, basis) == (0.0, 0.0)
    assert np.isnan(head.still_seconds(pose, z, ~speaking, basis)[0])


def test_nods_on_beats_beat_chance_and_shifted_nods_do_not(basis: DynamicsBasis) -> None:
    rng = np.random.default_rng(0)
    accents = np.cumsum(rng.integers(9, 22, 40))
    t = np.arange(accents[-1] + 30)
    bumps = np.exp(-((t[:, None] - accents) ** 2) / 8).sum(1)
    sound = head.Prosody(-30 + 30 * bumps, np.zeros(len(t)), np.ones(len(t), bool))
    assert np.abs(sound.accents()[:, None] - accents).min(1).max() <= 1
    for delay, good in ((0, True), (5, False)):
        pose = np.zeros((len(t), 6))
        pose[:, 1] = np.radians(1.5 * np.roll(bumps, delay))
        aligned, chance = head.beat_alignment(pose, np.zeros((len(t), basis.size)), sound, basis)
        assert (aligned > 0.9) is good
        assert (aligned > chance + 0.1) is good


def test_a_head_that_follows_the_voice() -> None:
    rng = np.random.default_rng(1)
    loud = np.convolve(rng.standard_normal(420), np.hanning(15), "same") * 4 - 20
    sound = head.Prosody(loud, np.zeros(420), np.ones(420, bool))
    pose, other = np.zeros((420, 6)), np.zeros((420, 6))
    pose[:, 0] = np.radians(np.cumsum(np.clip(loud + 40, 0, 40) / 40))
    other[:, 0] = np.radians(np.cumsum(np.roll(np.clip(loud + 40, 0, 40), 200) / 40))
    assert head.follows_voice(pose, sound)[0] > 3
    assert head.follows_voice(other, sound)[0] < 2
    assert np.isnan(head.follows_voice(np.zeros((420, 6)), sound)[0])


def test_drift() -> None:
    pose = np.zeros((1000, 6))
    pose[:, 2] = np.radians(np.linspace(0, 5, 1000))
    assert head.drift(pose)[1] == pytest.approx(5.0, abs=0.01)
    assert head.drift(pose)[0] == pytest.approx(4.5, abs=0.01)


def closure_with(peaks: list[int], frames_: int = 1500) -> np.ndarray:
    out = np.zeros(frames_)
    for p in peaks:
        out[p - 2 : p + 3] = np.maximum(out[p - 2 : p + 3], [0.25, 0.75, 1.0, 0.75, 0.25])
    return out


def test_blinks() -> None:
    closure = closure_with([100, 112, 400, 800, 1200])
    closure[1300:1340] = 0.8  # looking down is no blink
    found = eyes.blinks(closure)
    assert [b.peak for b in found] == [100, 112, 400, 800, 1200]
    assert found[0].width == pytest.approx(3 / 25)  # half height lies midway between 0.75 and 0.25
    speaking = np.ones(1500, bool)
    speaking[405:420] = False
    count = eyes.count_blinks(closure, speaking)
    s = count.statistics()
    assert s["rate"] == pytest.approx(5.0)
    assert s["doubles"] == pytest.approx(1 / 5)
    assert s["bounds"] == pytest.approx((1 / 5) / (count.near / 1500))
    assert (count + count).statistics()["rate"] == pytest.approx(5.0)


def test_a_fast_double_blink_is_two() -> None:
    closure = np.zeros(100)
    closure[40:49] = [0.5, 1, 0.9, 0.6, 0.5, 0.6, 0.9, 1, 0.5]
    assert len(eyes.blinks(closure)) == 2


def test_gaze_darts(basis: DynamicsBasis) -> None:
    z = np.zeros((750, basis.size))
    z[250:500, 0] = np.radians(15)
    g = eyes.gaze_statistics(z, basis)
    assert g.darts == pytest.approx(4.0)  # two in half a minute
    assert g.away == pytest.approx(1 / 3, abs=0.02)
    assert g.hold == pytest.approx(10.0, abs=0.1)


def test_gaze_error_is_the_angle_between_directions() -> None:
    assert eyes.gaze_errors(np.array([[10.0, 0.0]]), np.array([0.0, 0.0])) == pytest.approx([10.0])
    assert eyes.gaze_errors(np.array([[0.0, -7.0]]), np.array([0.0, 5.0])) == pytest.approx([12.0])
    both = eyes.gaze_errors(np.array([[3.0, 4.0]]), np.array([0.0, 0.0]))[0]
    assert both == pytest.approx(np.degrees(np.arccos(np.cos(np.radians(3)) * np.cos(np.radians(4)))))
    assert eyes.gaze_errors(np.array([[30.0, 60.0]]), np.array([-30.0, 60.0]))[0] < 30  # near the pole yaw counts less


def test_eyeballs_from_landmarks(basis: DynamicsBasis) -> None:
    z = np.zeros((3, basis.size), np.float32)
    z[1, 0], z[2, 1] = np.radians(8), np.radians(8)
    shapes = basis.mean_shape + basis.decode(z)
    seen = frames.eye_angles(shapes, basis.mean_shape, basis)
    assert seen[1, 0] == pytest.approx(8, abs=0.8) and abs(seen[1, 1]) < 0.8
    assert seen[2, 1] == pytest.approx(8, abs=0.8) and abs(seen[2, 0]) < 0.8
    turned = np.einsum("tnj,ij->tni", shapes, rotation(np.radians([15.0, -8.0, 5.0])))
    turned[:, 468:, 2] += 0.3  # nobody measures how deep irises lie
    assert frames.eye_angles(300 * turned, basis.mean_shape, basis) == pytest.approx(seen, abs=0.8)
    assert np.isnan(frames.eye_angles(np.full((1, 478, 3), np.nan), basis.mean_shape, basis)).all()
    asked = np.random.default_rng(0).uniform(-20, 20, (30, 2))
    gauge = frames.fit_gauge(asked @ np.array([[0.6, 0.05], [0.0, 0.4]]) + [1.0, -2.0], asked)
    assert gauge.residual < 1e-6
    assert gauge(np.array([[1.0, -2.0]])) == pytest.approx(np.zeros((1, 2)), abs=1e-6)


def test_landmark_measures_grow_with_their_action(basis: DynamicsBasis) -> None:
    checks = {
        "AU1": "inner brows",
        "AU2": "outer brows",
        "AU5": "eyes wide",
        "AU6": "cheeks",
        "AU9": "nose wings",
        "AU12": "corners up",
        "AU12L": "left corner up",
        "AU15": "corners down",
        "AU20": "width",
        "AU26": "opening",
    }
    for action, name in checks.items():
        shapes = basis.mean_shape + basis.decode(np.stack([0 * basis.au_directions[action], basis.au_directions[action]]))
        levels = frames.landmark_measure(name, shapes)
        assert levels[1] - levels[0] > 0.003, (action, name)
    assert frames.rising(np.array([0.0, 0.1, 0.2]), 0.1, 0.01) == (True, True)
    assert frames.rising(np.array([0.0, 0.3, 0.2]), 0.1, 0.01) == (True, False)
    assert frames.rising(np.array([0.2, 0.1, 0.0]), 0.1, 0.01) == (False, False)


def test_lip_match_is_frame_locked_and_takes_one_lag_a_source() -> None:
    rng = np.random.default_rng(0)
    real = [np.convolve(rng.standard_normal(130), np.hanning(7), "same")[:, None].repeat(2, 1) for _ in range(4)]
    made = [np.roll(r, -2, 0) for r in real[:2]] + [np.roll(r, 1, 0) for r in real[2:]]
    m = lips.match(made, real, ["a", "a", "b", "b"])
    assert m.lags == {"a": 2, "b": -1}
    assert m.opening > 0.97 > 0.9 > m.opening_zero
    mixed = lips.match([made[0], made[2]], [real[0], real[2]], ["a", "a"])  # one source cannot have two lags
    assert mixed.opening < 0.9


def test_silence_is_measured_inside_silences_only() -> None:
    speaking = np.r_[np.ones(50, bool), np.zeros(20, bool), np.ones(50, bool), np.zeros(5, bool), np.ones(10, bool)]
    curve = np.where(speaking, 0.1 + 0.1 * (np.arange(len(speaking)) % 2), 0.0)
    curve[50:52] = curve[120:125] = 0.2  # closing, and a gap too short to be a silence
    assert lips.silences(speaking).sum() == 16
    s = lips.silence_of([curve], [speaking])
    assert s.opening == 0 and s.motion == 0
    curve[52:68] = 0.05
    assert lips.silence_of([curve], [speaking]).opening == pytest.approx(0.5)
    assert np.isnan(lips.silence_of([curve[:50]], [speaking[:50]]).opening)


def test_closures_by_the_real_clips_range() -> None:
    from vasa_cli.training import phones

    opening = np.full(50, 0.3)
    opening[10], opening[30] = 0.0, 0.28
    said = [phones.Phone("b", 0.38, 0.44), phones.Phone("m", 1.18, 1.24), phones.Phone("s", 0.6, 0.7)]
    assert phones.closure_rate(opening, said, 25.0, closed=0.0, reach=0.4) == 0.5
    assert phones.closure_rate(np.zeros(50), said, 25.0, closed=0.0, reach=0.4) == 1.0


def test_window_joints() -> None:
    rng = np.random.default_rng(0)
    starts = list(range(0, 950, 45))
    smooth = np.cumsum(np.cumsum(0.01 * rng.standard_normal((1000, 3)), 0), 0)
    even = joints.joint_test(smooth, starts, 5)
    assert even.passed and even.above < 0.12
    stepped = smooth.copy()
    for s in starts[1:]:
        stepped[s:] += 0.5 * rng.standard_normal(3)
    broken = joints.joint_test(stepped, starts, 5)
    assert not broken.passed and broken.above > 0.1
    assert joints.joint_frames(100, [0, 45], 5).nonzero()[0].tolist() == list(range(43, 50))


def grid(objective: str, sync: float, delta: float, gaze: float) -> list[trends.Cell]:
    """A grid in which sync and head motion grow with audio guidance by the given slopes and E_g falls with gaze guidance."""
    return [
        trends.Cell(objective, a, g, s, 1 + sync * a + 0.001 * g, 5.0, 0.1, 0.3 + delta * a - 0.1 / s, 6 - gaze * g, 0.005)
        for a in trends.AUDIO for g in trends.GAZE for s in trends.STEPS
    ]  # fmt: skip


def test_trend_text_says_what_the_numbers_say() -> None:
    seen = trends.paragraph(grid("flow", 0.2, 0.05, 0.4))
    assert "stronger audio guidance syncs better" in seen
    lines = {line.split(" (")[0].removeprefix("- "): line for line in seen.splitlines() if line.startswith("- ")}
    assert lines["stronger audio guidance syncs better"].endswith("**seen**")
    assert lines["stronger audio guidance moves the head more"].endswith("**seen**")
    assert lines["stronger gaze guidance looks more exactly where it was asked to"].endswith("**seen**")
    assert lines["fewer steps move the head less"].endswith("**seen**")
    assert lines["fewer steps sync better"].endswith("**no difference**")
    opposite = trends.paragraph(grid("flow", -0.2, 0.05, -0.4))
    assert "syncs better" in opposite and opposite.count("not seen, the opposite") == 2


def test_gap_share() -> None:
    real = {"real": {"sync": (0.5,)}, "real, other sound": {"sync": (0.1,)}}
    scores = real | {"ours": {"sync": (0.35, 0.25)}, "shuffled": {"sync": (0.1,)}}
    assert report.gap_share(scores, scores) == pytest.approx(0.5)
    text = report.gap_table({"a": scores, "b": {k: v for k, v in scores.items() if "real" not in k}}, "a")
    assert "| b | 0.200 | 0.400 (a) | 0.50 | 0.5 |" in text


def test_cells() -> None:
    assert report.cell((float("nan"),)) == "–"
    assert report.cell((0.25,), percent=True) == "25.0"
    assert report.cell((0.5, 0.6, 0.7)) == "0.600 (0.500 to 0.700)"
