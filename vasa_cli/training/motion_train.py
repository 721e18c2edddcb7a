"""Training the motion transformer: batches of windows, losses, loop.

Windows are warped in time, mirrored, cut to short stretches of audio (so that nobody learns GRID's grammar), and their features
mixed over several augmented versions of the same sound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.diffusion import objective
from vasa_cli.motion.transformer import Conditions, MotionConfig, MotionTransformer
from vasa_cli.motion.windows import mouth_pace
from vasa_cli.training.motion_pool import POSE, Pool


@dataclass(frozen=True)
class TrainConfig:
    """Steps, optimiser, augmentation and loss weights."""

    steps: int = 3000
    batch: int = 32
    rate: float = 6e-4
    warmup: int = 100
    decay: float = 0.05
    ema: float = 0.997
    seed: int = 0
    others_share: float = 0.25  # windows of tracked or rigged talkers other than GRID's
    taught_share: float = 0.35  # windows of voices whose lips a teacher told
    drop_control: float = 0.1
    drop_audio: float = 0.1
    drop_past: float = 0.5
    drop_tail: float = 0.1
    short_audio: float = 0.5
    feature_noise: float = 0.2
    warp: float = 0.15
    velocity: float = 1.0
    lips: float = 1.0
    rest: float = 0.5
    half: bool = True  # bfloat16 matrix products


class Batches:
    """Random training windows. `draw` gives normalised motion (B, W, D), conditions, frame mask (B, W), mouth weights (B,)."""

    def __init__(self, pool: Pool, model: MotionConfig, config: TrainConfig) -> None:
        self.pool, self.model, self.config = pool, model, config
        self.rng = np.random.default_rng(config.seed)
        self.feature_scale = (pool.stats.feature_mean, pool.stats.feature_std)

    def _window(self) -> dict[str, np.ndarray]:
        """One window with its past, all (K + W, ...)."""
        rng, c, m = self.rng, self.config, self.model
        dice = rng.random()
        talks = self.pool.grid
        if self.pool.others and dice < c.others_share:
            talks = self.pool.others
        elif self.pool.taught and dice > 1 - c.taught_share:
            talks = self.pool.taught
        talk = talks[rng.integers(len(talks))]
        n = len(talk.motion)
        speed = 1 + c.warp * rng.uniform(-1, 1)
        start = rng.uniform(-m.past, max(n - m.window * speed + 12, 1))
        at = start + speed * np.arange(m.past + m.window)
        inside = (at >= 0) & (at <= n - 1)
        mix = rng.dirichlet(np.full(len(talk.features), 0.6))
        pick = rng.permutation(len(mix))[:2]  # two versions are enough and cheap
        share = mix[pick] / mix[pick].sum()
        features = sum(s * lookup(talk.features[i], at) for s, i in zip(share, pick, strict=True))
        motion = lookup(talk.motion, at)
        if rng.random() < 0.5:
            motion = motion @ self.pool.mirror.T
        if talk.graft:
            motion[:, : self.pool.mouth.start] = self._lively(len(at))
        features = (features - self.feature_scale[0]) / self.feature_scale[1]
        features = features + c.feature_noise * (
            rng.standard_normal(features.shape) * 0.7 + rng.standard_normal(features.shape[-1:]) * 0.7
        )
        motion = (motion - self.pool.stats.motion_mean) / self.pool.stats.motion_std
        return {
            "features": np.clip(features, -5, 5).astype(np.float32),
            "motion": motion.astype(np.float32),
            "inside": inside,
            "weight": np.float32(talk.mouth_weight),
        }

    def _lively(self, length: int) -> np.ndarray:
        """(length, rest) from a random lively clip; short clips are played forth and back."""
        rng, pool = self.rng, self.pool
        clip = pool.lively[rng.choice(len(pool.lively), p=pool.lively_share)]
        start = rng.integers(0, max(len(clip) - length, 1))
        index = (start + np.arange(length)) % max(2 * len(clip) - 2, 1)
        index = np.where(index >= len(clip), 2 * len(clip) - 2 - index, index)
        return clip[index]

    def draw(self) -> tuple[torch.Tensor, Conditions, torch.Tensor, torch.Tensor]:
        """One batch."""
        rng, c, m = self.rng, self.config, self.model
        rows = [self._window() for _ in range(c.batch)]
        stacked = {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}
        inside = stacked["inside"]
        given = inside[:, m.past :].clone()
        frames = given.clone()
        for i in range(c.batch):
            if rng.random() < c.short_audio:
                size = int(rng.integers(10, 41))
                first = int(rng.integers(0, m.window - size + 1))
                given[i, :first] = False
                given[i, first + size :] = False
                frames[i] &= given[i]  # nothing is asked where nothing is heard
            elif rng.random() < c.drop_tail:
                given[i, m.window - int(rng.integers(1, 25)) :] = False
            if rng.random() < c.drop_audio:
                given[i] = False
        past = inside[:, : m.past].all(1) & (torch.from_numpy(rng.random(c.batch)) >= c.drop_past)
        motion = stacked["motion"]
        conditions = Conditions(
            audio=stacked["features"][:, m.past :],
            audio_given=given,
            past_audio=stacked["features"][:, : m.past],
            past_motion=motion[:, : m.past],
            past_given=past,
            gaze=self._mean(motion, frames, slice(POSE, POSE + 2)),
            distance=self._mean(motion, frames, slice(5, 6)),
            emotion=torch.zeros(c.batch, 7),
            control_given=torch.from_numpy(rng.random((c.batch, 3)) >= c.drop_control),
        )
        return motion[:, m.past :], conditions, frames, stacked["weight"]

    def _mean(self, motion: torch.Tensor, frames: torch.Tensor, part: slice) -> torch.Tensor:
        """(B, n) mean over the window's frames, in natural units."""
        window = motion[:, self.model.past :, part]
        w = frames[..., None].float()
        mean = (window * w).sum(1) / w.sum(1).clamp(min=1)
        return mean * torch.from_numpy(self.pool.stats.motion_std[part]) + torch.from_numpy(self.pool.stats.motion_mean[part])


def lookup(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of x (T, C) at fractional positions (n,), held at the ends."""
    at = np.clip(at, 0, len(x) - 1)
    low = np.minimum(at.astype(np.int64), max(len(x) - 2, 0))
    u = (at - low)[:, None]
    return x[low] * (1 - u) + x[np.minimum(low + 1, len(x) - 1)] * u


def loss_of(
    network: MotionTransformer, batch: tuple[torch.Tensor, Conditions, torch.Tensor, torch.Tensor], pool: Pool, c: TrainConfig
) -> torch.Tensor:
    """Weighted error of the objective's target, plus velocity and lip terms on the implied clean motion. Scalar."""
    x0, conditions, frames, mouth_weight = batch
    goal = objective(network.config.objective)
    t = torch.rand(len(x0))
    if network.config.objective == "flow":
        t = torch.sigmoid(torch.randn(len(x0)))  # logit-normal: the middle of the path is the hard part (Esser et al. 2024)
    t = torch.where(torch.rand(len(x0)) < 0.15, torch.zeros_like(t), t)  # few-step sampling leans on the first step
    pace = mouth_pace(network.config, pool.mouth)
    x, target = goal.noisy(x0, torch.randn_like(x0), t, pace)
    with torch.autocast("cpu", torch.bfloat16, enabled=c.half):
        out = network(x, t, conditions).float()
    clean = goal.clean(out, x, t, pace)
    weight = torch.from_numpy(pool.loss_weight)[None].repeat(len(x0), 1)  # (B, D)
    weight[:, pool.mouth] *= mouth_weight[:, None]
    weight[:, : pool.mouth.start] *= c.rest
    mask = frames.float()  # (B, W)
    count = mask.sum().clamp(min=1)
    main = (((out - target) ** 2 * weight[:, None]).sum(-1) * mask).sum() / count
    both = mask[:, 1:] * mask[:, :-1]
    step = (clean - x0).diff(dim=1)
    velocity = ((step**2 * weight[:, None]).sum(-1) * both).sum() / count
    lips = ((clean - x0) @ torch.from_numpy(pool.lips).T) ** 2  # (B, W, 2)
    lip = (lips.mean(-1) * mask * mouth_weight[:, None]).sum() / count
    return main + c.velocity * velocity + c.lips * lip


def train(
    network: MotionTransformer,
    pool: Pool,
    config: TrainConfig,
    folder: Path,
    log: Callable[[str], None] = print,
    evaluate: Callable[[MotionTransformer, int], None] | None = None,
    every: int = 500,
    start: dict[str, torch.Tensor] | None = None,
) -> MotionTransformer:
    """Run or resume; checkpoints in `folder`/last.pt. `start` lends weights (where shapes agree) to a fresh run. Returns the
    exponential moving average of the weights, in evaluation mode.
    """
    import copy

    torch.manual_seed(config.seed)
    batches = Batches(pool, network.config, config)
    if start:
        own = network.state_dict()
        network.load_state_dict({**own, **{k: v for k, v in start.items() if k in own and v.shape == own[k].shape}})
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.decay, betas=(0.9, 0.98))
    average, first, last = copy.deepcopy(network), 0, folder / "last.pt"
    if last.is_file():
        saved = torch.load(last, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        first = int(saved["step"])
        batches.rng = np.random.default_rng([config.seed, first])
    began, total = time.time(), 0.0
    for i in range(first, config.steps):
        ramp = min(1.0, (i + 1) / config.warmup)
        for group in optimiser.param_groups:
            group["lr"] = config.rate * ramp * (0.02 + 0.49 * (1 + math.cos(math.pi * i / config.steps)))
        network.train()
        loss = loss_of(network, batches.draw(), pool, config)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        total += float(loss.detach())
        keep = min(config.ema, (i + 1) / (i + 10))
        with torch.no_grad():
            for a, b in zip(average.parameters(), network.parameters(), strict=True):
                a.lerp_(b, 1 - keep)
        if (i + 1) % 100 == 0:
            log(f"step {i + 1}  loss {total / 100:.4f}  {(time.time() - began) / (i + 1 - first):.3f} s/step")
            total = 0.0
        if (i + 1) % every == 0 or i + 1 == config.steps:
            folder.mkdir(parents=True, exist_ok=True)
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": i + 1,
            }
            torch.save(state, last)
            if evaluate:
                evaluate(average.eval(), i + 1)
    return average.eval()
