"""The motion model on synthetic data: determinism, windows, silence, controls, part sizes, both objectives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from vasa_cli.errors import WeightsError
from vasa_cli.motion import generate, stream
from vasa_cli.motion.apply import Parts, add_controls, close_lids
from vasa_cli.motion.basis import DynamicsBasis, lid_opening
from vasa_cli.motion.behaviour.blinks import LONGEST, SHORTEST, blinks, closure
from vasa_cli.motion.closures import closing, shut_lips
from vasa_cli.motion.controls import EMOTIONS, ControlCurves, Controls, Curve
from vasa_cli.motion.diffusion import FlowMatching, X0Diffusion, window_noise
from vasa_cli.motion.emotion import lip_gap
from vasa_cli.motion.model import MotionModel, Statistics, from_tensors, to_tensors
from vasa_cli.motion.silence import GateConfig, VoiceActivity, gate
from vasa_cli.motion.transformer import MotionConfig, MotionTransformer, paper_size
from vasa_cli.motion.windows import window_starts
from vasa_cli.training.motion_controls import control_responses

F = 9


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


@pytest.fixture(params=["flow", "x0"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, basis: DynamicsBasis) -> MotionModel:
    """An untrained network that moves everything, in place of the shipped one; feature 0 is the loudness, speech is above 0."""
    torch.manual_seed(0)
    d = 6 + basis.size
    network = MotionTransformer(
        MotionConfig(features=F, motion=d, width=32, layers=1, heads=2, hidden=32, objective=request.param)
    ).eval()
    torch.nn.init.normal_(network.head.weight, std=0.3)
    std = np.concatenate([np.full(6, 0.05), basis.std]).astype(np.float32)
    stats = Statistics(
        np.zeros(d, np.float32),
        std,
        np.zeros(F, np.float32),
        np.ones(F, np.float32),
        np.full(basis.blocks["lids"].stop - 2, 0.1, np.float32),
    )
    listen = np.zeros((1, F, 3), np.float32)
    listen[0, 0, 1] = 1.0
    # logit = feature 0
    voice = VoiceActivity(listen, np.ones(1, np.float32), np.array([[0, 1.0, 0]], np.float32), -np.ones(1, np.float32))
    model = MotionModel(network, stats, voice, {"sampler": {"steps": 3}})
    monkeypatch.setattr(stream, "load_model", lambda weights, device: model)
    return model


def curves(n: int, **changes: Curve) -> ControlCurves:
    return Controls.default().with_curves(**changes).curves(n, 25)


def speech(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, F)).astype(np.float32)
    x[:, 0] = 1.0
    return x


def run(n: int, seed: int = 0, features: np.ndarray | None = None, **changes: Curve) -> tuple[np.ndarray, np.ndarray]:
    track = generate.generate_motion(speech(n) if features is None else features, curves(n, **changes), seed=seed)
    return track.pose, track.dynamics


def test_same_seed_same_motion_and_other_seed_other_motion(toy: MotionModel) -> None:
    first, again, other = run(120), run(120), run(120, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.allclose(first[0], other[0]) and not np.allclose(first[1], other[1])


@pytest.mark.parametrize("n", [1, 7, 49, 50, 51, 95, 333])
def test_any_length(toy: MotionModel, n: int) -> None:
    pose, z = run(n)
    assert pose.shape == (n, 6) and len(z) == n
    assert np.isfinite(pose).all() and np.isfinite(z).all()


def test_unequal_or_no_frames_are_refused(toy: MotionModel) -> None:
    with pytest.raises(ValueError, match="length"):
        generate.generate_motion(speech(10), curves(11), seed=0)
    with pytest.raises(ValueError, match="length"):
        generate.generate_motion(speech(0), curves(0), seed=0)


def test_features_of_another_size_are_a_weights_error(toy: MotionModel) -> None:
    with pytest.raises(WeightsError, match="do not match"):
        generate.generate_motion(np.zeros((10, F + 1), np.float32), curves(10), seed=0)


def test_the_beginning_does_not_depend_on_what_comes_much_later(toy: MotionModel) -> None:
    """Constant memory: windows only look at their own part of the sound."""
    long = speech(300)
    short = run(145, features=long[:145])[1]
    assert np.allclose(run(300, features=long)[1][:80], short[:80], atol=1e-5)


def test_windows_cover_every_frame_with_overlap() -> None:
    for n in (1, 50, 51, 96, 1000):
        starts = window_starts(n, 50, 5)
        assert starts[0] == 0 and starts[-1] + 50 >= n
        assert all(b - a == 45 for a, b in itertools.pairwise(starts))


def test_noise_differs_between_windows_and_seeds_remembers_and_cools() -> None:
    memory, warm = (0.0, 0.0, 20.0, 20.0), torch.ones(4)
    a = window_noise(0, 0, 50, memory, warm)
    assert torch.equal(a, window_noise(0, 0, 50, memory, warm))
    others = (window_noise(0, 1, 50, memory, warm), window_noise(1, 0, 50, memory, warm))
    assert not any(torch.allclose(a, b) for b in others)
    cool = torch.tensor([0.5, 1, 1, 0])
    assert torch.allclose(window_noise(0, 0, 50, memory, cool), a * cool)
    many = torch.stack([window_noise(s, 0, 50, memory, warm) for s in range(200)])  # (200, 50, 4)
    assert torch.allclose(many.std((0, 1)), torch.ones(4), atol=0.15)
    step = (many[:, 1:] - many[:, :-1]).std((0, 1))
    assert step[2] < 0.2 < 1.2 < step[0]  # a head's noise moves slowly, the mouth's is white


def test_silence_closes_the_mouth_and_keeps_the_head_alive(toy: MotionModel, basis: DynamicsBasis) -> None:
    x = speech(200)
    x[80:140, 0] = -1.0
    pose, z = run(200, features=x)
    still = np.abs(np.diff(z[:, basis.blocks["mouth"]], axis=0)).max(1)
    gap = lip_gap(z, basis)
    assert np.abs(gap[94:128]).max() < 1e-4 < np.abs(gap[20:70]).mean()
    assert still[94:127].max() < 0.25 * still[20:70].mean()
    assert pose[92:128, :3].std(0).min() > 1e-4
    assert np.abs(lip_gap(run(60, features=np.full((60, F), -1.0, np.float32))[1], basis)).max() < 1e-4


def test_gate_ignores_short_pauses_and_clicks_and_has_no_steps() -> None:
    loud = np.full(120, -1.0)
    loud[20:50] = loud[54:80] = loud[100] = 1.0
    g = gate(loud, GateConfig(0.0))
    assert g[20:80].min() == 1.0 and g[:8].max() == 0 and g[95:].max() == 0
    assert np.abs(np.diff(g)).max() < 0.4


def test_gaze_and_distance_arrive(toy: MotionModel, basis: DynamicsBasis) -> None:
    """The mean gaze and distance are what was asked, through network, smoothing and behaviours (here with untrained layers about
    the direct path, so within some two degrees).
    """
    responses = control_responses(basis, toy.stats.lids_per_gaze)
    toy.network.begin_controls([torch.from_numpy(r / toy.stats.motion_std[:, None]) for r in responses])
    base_pose, base = run(200, blink=Curve.constant(0.0))
    pose, z = run(200, blink=Curve.constant(0.0), gaze=Curve.constant(6.0, -5.0), distance=Curve.constant(1.3))
    assert np.abs((z - base)[:, :2].mean(0) - np.radians([6.0, -5.0])).max() < np.radians(2.5)
    assert abs((pose - base_pose)[:, 5].mean() - np.log(1.3)) < 0.1
    # the head goes right and down with the eyes
    assert pose[:, 0].mean() < base_pose[:, 0].mean() and pose[:, 1].mean() > base_pose[:, 1].mean()


def test_every_emotion_changes_the_face_in_its_own_way(basis: DynamicsBasis) -> None:
    rest = Parts(np.zeros((1, 6), np.float32), np.zeros((1, basis.size), np.float32))
    faces = {}
    for i, name in enumerate(EMOTIONS):
        weights = tuple(float(i == k) for k in range(len(EMOTIONS)))
        parts = add_controls(
            rest, curves(1, emotion=Curve.constant(*weights)), basis, np.zeros(basis.blocks["lids"].stop - 2, np.float32)
        )
        faces[name] = basis.decode(parts.dynamics)[0]
        assert np.linalg.norm(faces[name][:, :2], axis=-1).max() > 0.02, name
    corner, brow, lids = 61, 107, 159
    assert faces["happy"][corner, 1] < -0.01 < 0.01 < faces["sad"][corner, 1]  # y points down
    assert faces["surprised"][brow, 1] < -0.02 and faces["angry"][brow, 1] > 0.01
    assert faces["afraid"][lids, 1] < 0
    contempt = faces["contempt"]
    assert abs(contempt[61, 1]) > 3 * abs(contempt[291, 1])  # one-sided


def test_scale_zero_freezes_each_part(toy: MotionModel, basis: DynamicsBasis) -> None:
    zero = Curve.constant(0.0)
    assert np.abs(run(60, head=zero)[0]).max() == 0
    for part, block in (("brows", "brows"), ("blink", "lids"), ("mouth", "mouth")):
        moving, still = run(60)[1], run(60, **{part: zero})[1]
        assert np.abs(still[:, basis.blocks[block]]).max() == 0 < np.abs(moving[:, basis.blocks[block]]).max()


def test_scale_two_doubles_the_head(toy: MotionModel) -> None:
    assert np.allclose(run(60, head=Curve.constant(2.0))[0], 2 * run(60)[0], atol=1e-6)


def test_blinks_come_in_time_and_close_fully(basis: DynamicsBasis) -> None:
    for seed in range(5):
        gaps = np.diff([0.0, *(b.start for b in blinks(np.ones(25 * 120), 25, seed))]) / 25
        single = gaps[gaps > 0.5]  # the rest is the second of double blinks
        assert single.max() <= LONGEST + 0.1 and single[1:].min() >= SHORTEST - 0.5
        assert 8 <= len(gaps) / 2 <= 25  # a minute
    curve = closure(blinks(np.ones(250), 25, 0), 250)
    assert 0.9 < curve.max() <= 1.0 and curve.min() == 0.0
    shut = close_lids(np.zeros((1, basis.size), np.float32), np.full(1, curve.max(), np.float32), basis)
    assert lid_opening(basis.mean_shape + basis.decode(shut[0])).max() < 0.2 * lid_opening(basis.mean_shape).min()
    assert blinks(np.zeros(1000), 25, 0) == []
    assert len(blinks(np.full(3000, 2.0), 25, 0)) > 1.5 * len(blinks(np.ones(3000), 25, 0))


@pytest.mark.parametrize("goal", [X0Diffusion(), FlowMatching()])
def test_samplers_reach_the_data_when_the_network_knows_it(goal: X0Diffusion | FlowMatching) -> None:
    truth = torch.linspace(-1, 1, 40).view(1, 10, 4)

    def oracle(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if isinstance(goal, X0Diffusion):
            return truth
        return (truth - x) / (1 - t[:, None, None]).clamp(min=1e-3)

    assert torch.allclose(goal.sample(oracle, torch.randn(1, 10, 4), 10), truth, atol=1e-2)
    x, _ = goal.noisy(truth, torch.randn(1, 10, 4), torch.ones(1))
    assert torch.allclose(x, truth, atol=1e-5)


def test_weights_survive_saving(toy: MotionModel) -> None:
    tensors, meta = to_tensors(toy)
    again = from_tensors(tensors, meta)
    assert again.config == toy.config and again.settings == toy.settings
    for a, b in zip(again.network.parameters(), toy.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)


def test_the_paper_size_has_its_published_parameters() -> None:
    with torch.device("meta"):
        network = MotionTransformer(paper_size(MotionConfig(features=128)))
    assert 25e6 < sum(p.numel() for p in network.parameters()) < 40e6


def test_lips_meet_where_they_must_and_nowhere_else(basis: DynamicsBasis) -> None:
    """Open lips are shut where `closed` is 1, half shut at .5, left alone at 0; shut lips are never opened."""
    z = np.zeros((4, basis.size), np.float32)
    z[:3] = 0.2 * basis.mouth_open_direction
    z[3] = -0.05 * basis.mouth_open_direction
    before, after = lip_gap(z, basis), lip_gap(shut_lips(z, np.array([0, 0.5, 1, 0.5]), basis), basis)
    assert before[0] > 0.02 and np.isclose(after[0], before[0]) and 0.4 < after[1] / before[1] < 0.6
    assert -0.01 < after[2] <= 0 and after[3] <= before[3] + 1e-6


def test_the_closure_probe_is_for_its_own_features_only() -> None:
    assert closing(np.zeros((10, F), np.float32)) is None
    heard = closing(np.zeros((10, 143), np.float32))
    assert heard is not None and heard.shape == (10,) and heard.min() >= 0 and heard.max() <= 1
