"""Training of the refiner: augmentation, losses, one loop with checkpoints. Mouth and eye networks are trained apart."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vasa_cli.decoder.face_patches import EYE, MOUTH, READINGS
from vasa_cli.decoder.refiner import WIDTH, PatchNet, allowed, assemble
from vasa_cli.training.refiner_pairs import Pairs

EVERY = 100  # steps between lines of progress, and checkpoints


@dataclass(frozen=True)
class Recipe:
    """steps of batch pairs; rate falls to 0 along a cosine. From `adversary_from` (share of the steps) on a patch discriminator
    joins in. inside: weight of the opening against the skin around it. slopes, fooled: weights of those losses against L1;
    still: of the correction's own size. decay: of the running mean of the weights that is kept."""

    steps: int = 800
    batch: int = 8
    rate: float = 1.5e-3
    width: int = WIDTH
    inside: float = 3.0
    slopes: float = 1.5
    fooled: float = 0.05
    still: float = 0.05
    adversary_from: float = 0.5
    decay: float = 0.99
    seed: int = 0


class Judge(nn.Module):
    """Patch discriminator: a patch and the same patch at rest -> scores (B, 1, H/8, W/8)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = [6, width, 2 * width, 4 * width]
        steps = [nn.utils.spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(sizes)]
        self.steps = nn.ModuleList(steps)
        self.score = nn.utils.spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, patch: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        x = torch.cat([patch, rest], 1) * 2 - 1
        for step in self.steps:
            x = F.leaky_relu(step(x), 0.2)
        return self.score(x)


@dataclass(frozen=True)
class Batch:
    """now, real, rest (B, 3, H, W) 0..1; cover, rest_cover (B, 1, H/2, W/2); read, rest_read (B, 4)."""

    now: torch.Tensor
    real: torch.Tensor
    rest: torch.Tensor
    cover: torch.Tensor
    rest_cover: torch.Tensor
    read: torch.Tensor
    rest_read: torch.Tensor


def batch_of(pairs: Pairs, index: np.ndarray, raw: bool = False) -> Batch:
    """These pairs as tensors; raw: the real patch as it was, not in register."""

    def picture(a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(a).permute(0, 3, 1, 2).float() / 255

    def plane(a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(a)[:, None].float() / 255

    photo = pairs.photo[index]
    return Batch(
        picture(pairs.now[index]), picture((pairs.raw if raw else pairs.real)[index]), picture(pairs.rest[photo]),
        plane(pairs.cover[index]), plane(pairs.rest_cover[photo]),
        torch.from_numpy(pairs.read[index]), torch.from_numpy(pairs.rest_read[photo]),
    )  # fmt: skip


def augment(batch: Batch, random: torch.Generator) -> Batch:
    """Mirror, light, colour, blur and a small shift, the same for rendered, rest and real."""
    n = len(batch.now)

    def rand(*shape: int, lo: float = -1.0, hi: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=random) * (hi - lo) + lo

    three = torch.stack([batch.now, batch.real, batch.rest], 1)  # (B, 3, 3, H, W)
    luma = (three * torch.tensor([0.299, 0.587, 0.114]).view(1, 1, 3, 1, 1)).sum(2, keepdim=True)
    grey = rand(n, 1, 1, 1, 1, lo=-1.5, hi=1.0).clamp_min(0)
    three = torch.lerp(three, luma.expand_as(three), grey)
    x = torch.linspace(-1, 1, three.shape[-1]).view(1, 1, 1, 1, -1)
    side = 1 + x * rand(n, 1, 1, 1, 1) * 0.45
    cast = torch.exp(rand(n, 1, 3, 1, 1) * 0.25)
    gain = torch.exp(rand(n, 1, 1, 1, 1, lo=-0.9, hi=0.15))
    gamma = torch.exp(rand(n, 1, 1, 1, 1) * 0.4)
    three = (three.clamp(0, 1) ** gamma * side * cast * gain).clamp(0, 1)
    three, cover, rest_cover, read, rest_read = _moved(batch, three, random)
    for i in torch.nonzero(rand(n) > 0.5)[:, 0].tolist():
        sigma = float(rand(1, lo=0.4, hi=1.4))
        three[i] = _blur(three[i], sigma)
    return Batch(three[:, 0], three[:, 1], three[:, 2], cover, rest_cover, read, rest_read)


def _moved(batch: Batch, three: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Small shift and size, and mirroring: pictures, covers and readings."""
    n = len(three)
    flip = torch.rand(n, generator=random) < 0.5
    size = torch.exp((torch.rand(n, generator=random) * 2 - 1) * 0.08)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.where(flip, -size, size)
    theta[:, 1, 1] = size
    theta[:, :, 2] = (torch.rand(n, 2, generator=random) * 2 - 1) * 0.04

    def move(planes: torch.Tensor) -> torch.Tensor:
        grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
        return F.grid_sample(planes, grid, padding_mode="border", align_corners=False)

    pictures = move(three.flatten(1, 2)).view_as(three)
    sign = torch.ones(n, READINGS // 2)
    sign[flip, 2] = -1
    return pictures, move(batch.cover), move(batch.rest_cover), batch.read * sign, batch.rest_read * sign


def _blur(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """(K, C, H, W)."""
    x = torch.arange(-4, 5).float()
    g = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (g / g.sum()).view(1, 1, 1, -1)
    flat = F.pad(pictures.flatten(0, 1)[:, None], (4, 4, 4, 4), mode="replicate")
    return F.conv2d(F.conv2d(flat, kernel), kernel.transpose(2, 3)).view_as(pictures)


def slopes(error: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean absolute gradient of the error at three scales."""
    total = error.new_zeros(())
    for _ in range(3):
        for dim in (2, 3):
            total = total + ((error.diff(dim=dim)).abs() * weight.narrow(dim, 1, weight.shape[dim] - 1)).mean()
        error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
    return total


class Trainer:
    """One network on one kind of pairs; `state` and `restore` for checkpoints."""

    def __init__(self, kind: str, pairs: Pairs, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.kind, self.pairs, self.recipe = kind, pairs, recipe
        self.net = PatchNet(recipe.width)
        self.mean = PatchNet(recipe.width)
        self.mean.load_state_dict(self.net.state_dict())
        self.judge = Judge()
        self.window = MOUTH if kind == "mouth" else EYE
        self.border = self.window.border()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), recipe.rate, (0.9, 0.99), weight_decay=0.02)
        self.rival = torch.optim.AdamW(self.judge.parameters(), 4e-4, (0.5, 0.99))
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        clips = sorted(set(pairs.clip.tolist()))
        self.rows = [np.flatnonzero(pairs.clip == c) for c in clips]

    def next_batch(self) -> Batch:
        """As many pairs of each clip, whatever its length."""
        r = self.random
        clips = torch.randint(len(self.rows), (self.recipe.batch,), generator=r).tolist()
        index = [int(self.rows[c][int(torch.randint(len(self.rows[c]), (1,), generator=r))]) for c in clips]
        return augment(batch_of(self.pairs, np.array(index)), r)

    def advance(self) -> dict[str, float]:
        """One step. -> losses."""
        recipe, b = self.recipe, self.next_batch()
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * min(1.0, (self.step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * self.step / recipe.steps))
        planes, read, k = assemble(b.now, b.cover, b.read, b.rest, b.rest_cover, b.rest_read)
        mask = allowed(b.cover, self.border)
        answer = self.net(planes, read) * mask
        weight = mask * (1 + recipe.inside * F.interpolate(b.cover, scale_factor=2.0))
        error = (b.now - b.real) * k + answer
        l1 = (error.abs() * weight).mean()
        steep = slopes(error, weight)
        loss = l1 + recipe.slopes * steep + recipe.still * answer.abs().mean()
        losses = {"l1": float(l1.detach()), "slopes": float(steep.detach())}
        if self.step >= recipe.adversary_from * recipe.steps:
            loss = loss + recipe.fooled * self._contest(b, k, answer, losses)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            decay = min(recipe.decay, (1 + self.step) / (10 + self.step))
            for kept, new in zip(self.mean.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        self.step += 1
        return losses

    def _contest(self, b: Batch, k: torch.Tensor, answer: torch.Tensor, losses: dict[str, float]) -> torch.Tensor:
        """One step of the judge (hinge); what the network loses by being found out."""
        fake, real, rest = b.now * k + answer, b.real * k, b.rest * k
        hinge = F.relu(1 - self.judge(real, rest)).mean() + F.relu(1 + self.judge(fake.detach(), rest)).mean()
        self.rival.zero_grad(set_to_none=True)
        hinge.backward()
        self.rival.step()
        losses["judge"] = float(hinge.detach())
        ramp = min(1.0, (self.step - self.recipe.adversary_from * self.recipe.steps) / (0.1 * self.recipe.steps + 1))
        return -self.judge(fake, rest).mean() * ramp

    def state(self) -> dict[str, object]:
        """Everything that a later `restore` needs."""
        parts = ("net", "mean", "judge", "optimizer", "rival")
        return {k: getattr(self, k).state_dict() for k in parts} | {
            "step": self.step, "random": self.random.get_state(), "recipe": asdict(self.recipe),
        }  # fmt: skip

    def restore(self, file: Path) -> None:
        """Go on where the checkpoint stopped, if it is of the same recipe."""
        kept = torch.load(file, weights_only=True)
        if kept["recipe"] != asdict(self.recipe):
            raise ValueError(f"{file} was made with another recipe; delete it to start anew")
        for k in ("net", "mean", "judge", "optimizer", "rival"):
            getattr(self, k).load_state_dict(kept[k])
        self.step = kept["step"]
        self.random.set_state(kept["random"])


def train(
    kind: str, pairs: Pairs, recipe: Recipe, checkpoint: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> PatchNet:
    """Train one network; goes on from the checkpoint where there is one."""
    trainer = Trainer(kind, pairs, recipe)
    if checkpoint is not None and checkpoint.is_file():
        trainer.restore(checkpoint)
    start, begun, sums = time.perf_counter(), trainer.step, dict[str, float]()
    while trainer.step < recipe.steps:
        for k, v in trainer.advance().items():
            sums[k] = sums.get(k, 0.0) + v
        if trainer.step % EVERY == 0 or trainer.step == recipe.steps:
            pace = (time.perf_counter() - start) / max(trainer.step - begun, 1)
            said = " ".join(f"{k} {v / EVERY:.4f}" for k, v in sums.items())
            say(f"{kind} {trainer.step}/{recipe.steps} {said} ({pace * 1e3:.0f} ms a step)")
            sums.clear()
            if checkpoint is not None:
                torch.save(trainer.state(), checkpoint.with_suffix(".part"))
                checkpoint.with_suffix(".part").replace(checkpoint)
    return trainer.mean.eval()


@torch.inference_mode()
def apply(net: PatchNet, kind: str, pairs: Pairs, raw: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rendered, refined and real patches (N, H, W, 3) float32 0..1."""
    border = (MOUTH if kind == "mouth" else EYE).border()
    out = []
    for index in np.array_split(np.arange(len(pairs)), max(1, len(pairs) // 32)):
        b = batch_of(pairs, index, raw)
        planes, read, k = assemble(b.now, b.cover, b.read, b.rest, b.rest_cover, b.rest_read)
        done = (b.now + net(planes, read) / k * allowed(b.cover, border)).clamp(0, 1)
        out.append(torch.stack([b.now, done, b.real]).permute(0, 1, 3, 4, 2).numpy())
    now, refined, real = np.concatenate(out, 1)
    return now, refined, real
