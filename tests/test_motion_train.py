"""Training code on toy data: both objectives learn, batches are what they claim, a run resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.transformer import MotionConfig, MotionTransformer
from vasa_cli.training.motion_batches import OVERLAP, BatchConfig, Batches, lookup
from vasa_cli.training.motion_controls import control_responses, random_curves
from vasa_cli.training.motion_data import Sequence, open_eyes
from vasa_cli.training.motion_eval import score
from vasa_cli.training.motion_pool import Pool, Talk, build_pool, lip_functionals, mirror_matrix
from vasa_cli.training.motion_train import TrainConfig, loss_of, own_past, train

F = 5


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


@pytest.fixture(scope="module")
def pool(basis: DynamicsBasis) -> Pool:
    """Speech whose lips follow feature 1, and a head that sways."""
    rng = np.random.default_rng(0)
    talks = []
    for _ in range(6):
        f = np.cumsum(rng.standard_normal((90, F)), 0) * 0.3
        f -= f.mean(0)
        z = 0.02 * rng.standard_normal((90, basis.size)) + 0.1 * f[:, 1:2] * basis.mouth_open_direction
        talks.append(Talk(np.concatenate([np.zeros((90, 6)), z], 1).astype(np.float32), [f.astype(np.float32)] * 2))
    t = np.arange(200) / 25
    pose = np.stack([0.05 * np.sin(t * k + 1) for k in (1, 1.3, 0.7, 2, 1.1, 0.4)], 1).astype(np.float32)
    z = (basis.std * np.sin(t[:, None] * np.linspace(1, 3, basis.size))).astype(np.float32)
    lively = [Sequence("a", "toy", pose, z, np.zeros((200, 2), np.float32), None)]
    return build_pool(talks, [], lively, basis)


@pytest.mark.parametrize("objective", ["flow", "x0"])
def test_both_objectives_train_down(objective: str, pool: Pool, basis: DynamicsBasis, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MotionTransformer(
        MotionConfig(
            features=F,
            motion=6 + basis.size,
            width=32,
            layers=1,
            heads=2,
            hidden=64,
            trunk=32,
            trunk_blocks=2,
            objective=objective,
        )
    )
    plan = TrainConfig(steps=60, rate=3e-3, warmup=5, data=BatchConfig(batch=8))
    fixed = [Batches(pool, network.config, BatchConfig(batch=16, seed=9)).draw() for _ in range(2)]

    def measure(net: MotionTransformer) -> float:
        torch.manual_seed(5)
        with torch.no_grad():
            return float(np.mean([float(loss_of(net.eval(), b, pool, plan)) for b in fixed for _ in range(4)]))

    before = measure(network)
    train(network, pool, plan, tmp_path, log=lambda _: None, every=60)
    assert measure(network) < 0.85 * before


def test_a_run_resumes_where_it_stopped(pool: Pool, basis: DynamicsBasis, tmp_path: Path) -> None:
    config = MotionConfig(features=F, motion=6 + basis.size, width=16, layers=1, heads=2, hidden=16, trunk=16, trunk_blocks=1)
    train(MotionTransformer(config), pool, TrainConfig(steps=4, data=BatchConfig(batch=2)), tmp_path, log=lambda _: None, every=4)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 4
    train(MotionTransformer(config), pool, TrainConfig(steps=6, data=BatchConfig(batch=2)), tmp_path, log=lambda _: None, every=2)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 6


def test_batches_hold_what_they_claim(pool: Pool, basis: DynamicsBasis) -> None:
    config = MotionConfig(features=F, motion=6 + basis.size)
    draw = Batches(pool, config, BatchConfig(batch=64, drop_past=0.5)).draw()
    motion, conditions = draw.motion, draw.conditions
    assert motion.shape == (64, 50, 6 + basis.size) and conditions.audio.shape == (64, 50, F) and draw.frames.shape == (64, 50)
    assert conditions.gaze.shape == (64, 60, 2) and conditions.emotion.shape == (64, 60, 7)
    assert torch.isfinite(motion).all() and (draw.weight == 1).all() and draw.before is None
    assert 0.1 < conditions.past_given.float().mean() < 0.7
    assert 0.8 < conditions.control_given.float().mean() < 1.0
    assert (~conditions.audio_given).any() and conditions.audio_given.any()
    assert motion[:, :, :6].std() > 0.1  # heads are grafted on


def test_targets_carry_the_controls_that_are_given(pool: Pool, basis: DynamicsBasis) -> None:
    """The gaze and the distance that a window is conditioned on are in the motion that is asked of the network."""
    config = MotionConfig(features=F, motion=6 + basis.size)
    draw = Batches(pool, config, BatchConfig(batch=64)).draw()
    motion = draw.motion * torch.from_numpy(pool.stats.motion_std) + torch.from_numpy(pool.stats.motion_mean)
    here = slice(config.past, None)
    assert torch.corrcoef(torch.stack([motion[:, :, 6].flatten(), draw.conditions.gaze[:, here, 0].flatten()]))[0, 1] > 0.8
    assert torch.corrcoef(torch.stack([motion[:, :, 5].flatten(), draw.conditions.distance[:, here, 0].flatten()]))[0, 1] > 0.8
    assert draw.conditions.emotion.sum(-1).max() <= 1 + 1e-5 and (draw.conditions.emotion > 0).any()


def test_random_controls_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_curves(60, (1, 1, 1), rng) for _ in range(60)]
    assert max(np.abs(c.gaze[:, 0]).max() for c in drawn) <= 30 and max(np.abs(c.gaze[:, 1]).max() for c in drawn) <= 25
    assert min(c.distance.min() for c in drawn) >= 0.6 and max(c.distance.max() for c in drawn) <= 1.8
    assert any(np.ptp(c.gaze[:, 0]) > 1 for c in drawn) and any(np.ptp(c.gaze[:, 0]) == 0 for c in drawn)


def test_the_controls_direct_path_starts_exact(pool: Pool, basis: DynamicsBasis) -> None:
    """An untrained network already puts gaze and distance where they are asked for (and training goes on from there)."""
    network = MotionTransformer(
        MotionConfig(features=F, motion=6 + basis.size, width=16, layers=1, heads=2, hidden=16, trunk=16, trunk_blocks=1)
    ).eval()
    std = torch.from_numpy(pool.stats.motion_std)
    network.begin_controls([torch.from_numpy(r) / std[:, None] for r in control_responses(basis, pool.stats.lids_per_gaze)])
    draw = Batches(pool, network.config, BatchConfig(batch=4, drop_control=0.0)).draw()
    with torch.no_grad():
        out = network(torch.zeros_like(draw.motion), torch.zeros(4), draw.conditions) * std
    assert torch.allclose(out[:, :, 5], draw.conditions.distance[:, 10:, 0], atol=1e-4)
    assert torch.allclose(out[:, :, 6:8], draw.conditions.gaze[:, 10:], atol=1e-4)


def test_own_past_is_the_end_of_the_window_before(pool: Pool, basis: DynamicsBasis) -> None:
    """The network's own past is not the recorded one, and is taken where generation takes it."""
    network = MotionTransformer(
        MotionConfig(features=F, motion=6 + basis.size, width=16, layers=1, heads=2, hidden=16, trunk=16, trunk_blocks=1)
    )
    draw = Batches(pool, network.config, BatchConfig(batch=4)).draw(before=True)
    assert draw.before is not None and not draw.before.past_given.any()
    inside = draw.conditions.past_given
    k, end = network.config.past, network.config.window - OVERLAP
    assert torch.allclose(draw.before.audio[:, end - k : end][inside], draw.conditions.past_audio[inside])
    own = own_past(network, draw, 2)
    assert own.conditions.past_motion.shape == draw.conditions.past_motion.shape
    assert not torch.allclose(own.conditions.past_motion, draw.conditions.past_motion)
    assert torch.equal(own.conditions.past_audio, draw.conditions.past_audio)


def test_mirror_is_an_involution_and_keeps_the_opening(basis: DynamicsBasis) -> None:
    m = mirror_matrix(basis)
    assert np.abs(m @ m - np.eye(len(m))).max() < 1e-2
    z = np.random.default_rng(0).standard_normal(basis.size) * basis.std
    flipped = m[6:, 6:] @ z
    opening, width = lip_functionals(basis) @ np.stack([z, flipped], 1)
    assert abs(opening[0] - opening[1]) < 1e-3 and abs(width[0] - width[1]) < 1e-3


def test_open_eyes_takes_blinks_out_and_counts_them(basis: DynamicsBasis) -> None:
    z = np.zeros((100, basis.size), np.float32)
    lids = basis.blocks["lids"].start
    for start in (20, 60):
        z[start : start + 5, lids : lids + 2] = np.array([0.5, 0.9, 1.0, 0.8, 0.5])[:, None]
    out, peaks = open_eyes(z, basis)
    assert peaks == [22, 62] and np.abs(out).max() < 1e-6


def test_lookup_interpolates_and_holds() -> None:
    x = np.arange(5, dtype=np.float32)[:, None]
    assert np.allclose(lookup(x, np.array([-3, 0.5, 3.25, 9]))[:, 0], [0, 0.5, 3.25, 4])


def test_score_finds_the_lag() -> None:
    rng = np.random.default_rng(0)
    real = [np.convolve(rng.standard_normal(120), np.ones(5), "same")[:, None].repeat(2, 1) for _ in range(3)]
    made = [np.roll(r, -2, axis=0) for r in real]
    s = score(made, real, ["a", "a", "b"])
    assert s.lags == {"a": 2, "b": 2} and s.opening > 0.99 > 0.9 > s.opening_zero


def test_voice_activity_learns_to_hear(tmp_path: Path) -> None:
    import soundfile

    from vasa_cli.training.motion_voice import fit_voice, loud_frames

    rng = np.random.default_rng(0)
    pairs = []
    for i in range(12):
        on = np.repeat(rng.random(15) < 0.5, 8)
        on[:8], on[8:16] = False, True
        sound = 0.001 * rng.standard_normal(len(on) * 640) + np.repeat(on, 640) * 0.2 * rng.standard_normal(len(on) * 640)
        soundfile.write(tmp_path / f"{i}.flac", sound, 16000)
        labels = loud_frames(tmp_path / f"{i}.flac", len(on))
        assert (labels == on).mean() > 0.95
        features = rng.standard_normal((len(on), F)).astype(np.float32)
        features[:, 2] = on - 0.5 + 0.2 * features[:, 2]
        pairs.append((features, labels))
    voice, accuracy = fit_voice(pairs, steps=120)
    assert accuracy > 0.9
    assert voice(np.zeros((3, F), np.float32)).shape == (3,)
