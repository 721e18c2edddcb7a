"""Training the motion transformer: losses and loop.

Part of the time the past that a window continues is the network's own (sampled in a few steps from the window before), since
that is what it will have to continue when it generates.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vasa_cli.motion.diffusion import coloured, objective
from vasa_cli.motion.transformer import MotionTransformer
from vasa_cli.training.motion_batches import OVERLAP, BatchConfig, Batches, Draw
from vasa_cli.training.motion_controls import control_responses
from vasa_cli.training.motion_pool import Pool


@dataclass(frozen=True)
class TrainConfig:
    """Steps, optimiser and loss weights; `data`: what the windows are made of."""

    steps: int = 3000
    rate: float = 6e-4
    warmup: int = 100
    decay: float = 0.05
    ema: float = 0.997
    own_share: float = 0.3  # batches whose past is the network's own
    own_steps: int = 2
    velocity: float = 1.0
    lips: float = 1.0
    rest: float = 0.5
    half: bool = True  # bfloat16 matrix products
    data: BatchConfig = field(default_factory=BatchConfig)

    @property
    def seed(self) -> int:
        return self.data.seed


def loss_of(network: MotionTransformer, batch: Draw, pool: Pool, c: TrainConfig) -> torch.Tensor:
    """Weighted error of the objective's target, plus velocity and lip terms on the implied clean motion. Scalar."""
    x0, mask = batch.motion, batch.frames.float()
    goal, pace = objective(network.config.objective), network.pace
    t = torch.rand(len(x0))
    if network.config.objective == "flow":
        t = torch.sigmoid(torch.randn(len(x0)))  # logit-normal: the middle of the path is the hard part (Esser et al. 2024)
    t = torch.where(torch.rand(len(x0)) < 0.15, torch.zeros_like(t), t)  # few-step sampling leans on the first step
    x, target = goal.noisy(x0, coloured(torch.randn_like(x0), network.config.memory), t, pace)
    with torch.autocast("cpu", torch.bfloat16, enabled=c.half):
        out = network(x, t, batch.conditions).float()
    clean = goal.clean(out, x, t, pace)
    weight = torch.from_numpy(pool.loss_weight)[None].repeat(len(x0), 1)  # (B, D)
    weight[:, pool.mouth] *= batch.weight[:, None]
    weight[:, : pool.mouth.start] *= c.rest
    count = mask.sum().clamp(min=1)
    main = (((out - target) ** 2 * weight[:, None]).sum(-1) * mask).sum() / count
    both = mask[:, 1:] * mask[:, :-1]
    step = (clean - x0).diff(dim=1)
    velocity = ((step**2 * weight[:, None]).sum(-1) * both).sum() / count
    lips = ((clean - x0) @ torch.from_numpy(pool.lips).T) ** 2  # (B, W, 2)
    lip = (lips.mean(-1) * mask * batch.weight[:, None]).sum() / count
    return main + c.velocity * velocity + c.lips * lip


@torch.no_grad()
def own_past(network: MotionTransformer, batch: Draw, steps: int) -> Draw:
    """The batch with the past that the network itself would have made: the end of the window before, sampled in `steps`."""
    if batch.before is None:
        raise ValueError("own_past needs a batch drawn with before=True")
    c, before = network.config, batch.before
    was = network.training
    network.eval()
    noise = coloured(torch.randn(batch.motion.shape), c.memory)
    with torch.autocast("cpu", torch.bfloat16):
        made = objective(c.objective).sample(lambda x, t: network(x, t, before).float(), noise, steps, network.pace)
    network.train(was)
    end = c.window - OVERLAP
    return replace(batch, conditions=replace(batch.conditions, past_motion=made[:, end - c.past : end]))


def begin(network: MotionTransformer, pool: Pool, batches: Batches, start: dict[str, torch.Tensor] | None) -> None:
    """Initial weights: the controls' direct path from their known responses; `start` lends the rest where shapes agree."""
    std = torch.from_numpy(pool.stats.motion_std)[:, None]
    network.begin_controls([torch.from_numpy(r) / std for r in control_responses(batches.basis, pool.stats.lids_per_gaze)])
    if start:
        own = network.state_dict()
        network.load_state_dict({**own, **{k: v for k, v in start.items() if k in own and v.shape == own[k].shape}})


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
    torch.manual_seed(config.seed)
    batches = Batches(pool, network.config, config.data)
    begin(network, pool, batches, start)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.decay, betas=(0.9, 0.98))
    average, last = copy.deepcopy(network), folder / "last.pt"
    first = _resume(last, network, average, optimiser)
    if first:
        batches = Batches(pool, network.config, replace(config.data, seed=config.seed + 7919 * first))
    began, total = time.time(), 0.0
    for i in range(first, config.steps):
        ramp = min(1.0, (i + 1) / config.warmup)
        for group in optimiser.param_groups:
            group["lr"] = config.rate * ramp * (0.02 + 0.49 * (1 + math.cos(math.pi * i / config.steps)))
        total += _step(network, batches, pool, config, optimiser)
        keep = min(config.ema, (i + 1) / (i + 10))
        with torch.no_grad():
            for a, b in zip(average.parameters(), network.parameters(), strict=True):
                a.lerp_(b, 1 - keep)
        if (i + 1) % 100 == 0:
            log(f"step {i + 1}  loss {total / 100:.4f}  {(time.time() - began) / (i + 1 - first):.3f} s/step")
            total = 0.0
        if (i + 1) % every == 0 or i + 1 == config.steps:
            _keep(last, network, average, optimiser, i + 1)
            if evaluate:
                evaluate(average.eval(), i + 1)
    return average.eval()


def _step(
    network: MotionTransformer, batches: Batches, pool: Pool, config: TrainConfig, optimiser: torch.optim.Optimizer
) -> float:
    """One step of the optimiser; the loss."""
    own = batches.rng.random() < config.own_share
    batch = batches.draw(before=own)
    if own:
        batch = own_past(network, batch, config.own_steps)
    network.train()
    loss = loss_of(network, batch, pool, config)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _resume(last: Path, network: MotionTransformer, average: MotionTransformer, optimiser: torch.optim.Optimizer) -> int:
    """Steps that the checkpoint has done; 0 without one."""
    if not last.is_file():
        return 0
    saved = torch.load(last, weights_only=True)
    network.load_state_dict(saved["network"])
    average.load_state_dict(saved["average"])
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["step"])


def _keep(
    last: Path, network: MotionTransformer, average: MotionTransformer, optimiser: torch.optim.Optimizer, step: int
) -> None:
    last.parent.mkdir(parents=True, exist_ok=True)
    state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    part = last.with_suffix(".part")
    torch.save(state, part)
    part.replace(last)
