"""Phones -> lips: a small network fitted on GRID's aligned clips, and the rules that no regression may break.

The network reads articulatory targets on a 10 ms grid (`phones_features.tracks`) and gives the mouth numbers of the dynamics
basis at 25 fps: convolutions over a third of a second each way, so coarticulation (rounding that begins before the vowel, lips
that part already during /m/) is learned. A regression to the mean leaves closures a little open, so afterwards lips are brought
together in every bilabial, and held nearly shut, lower lip to teeth, in labiodentals (`close`), as a dominance function
(Cohen & Massaro, "Modeling coarticulation in synthetic visual speech", 1993) with a smooth rise and fall would.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vasa_cli.training.phones import Phone
from vasa_cli.training.phones_features import NAMES, SIZE, targets, tracks

if TYPE_CHECKING:
    import torch

FPS = 25.0
STEPS = 4  # of 10 ms a frame


@dataclass(frozen=True)
class LipConfig:
    """Network and training. kernel: frames a convolution sees."""

    width: int = 96
    kernel: int = 7  # three layers: 9 frames each way. 3 and 5 do worse, on GRID and on the strangers
    layers: int = 3
    dropout: float = 0.15
    epochs: int = 30
    batch: int = 48
    rate: float = 2e-3
    lips_weight: float = 2.0  # of opening and width beside the mouth numbers
    warp: float = 0.2  # speeds between 1 - warp and 1 + warp in training
    seed: int = 0


@dataclass(frozen=True)
class LipRules:
    """Openings in IOD that `close` enforces, and how far (s) from the phone the pull is gone."""

    bilabial: float = -0.002  # a little pressed, so that smoothing does not part the lips again
    labiodental: float = 0.025  # GRID's median at /f/ is .025
    fade: float = 0.07


def build_network(config: LipConfig, outputs: int) -> torch.nn.Module:
    """(B, 4 * SIZE, T) -> (B, outputs, T)."""
    from torch import nn

    channels = [STEPS * SIZE, *[config.width] * config.layers]
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(channels):
        parts += [nn.Conv1d(a, b, config.kernel, padding=config.kernel // 2), nn.GELU(), nn.Dropout(config.dropout)]
    return nn.Sequential(*parts, nn.Conv1d(config.width, outputs, 1))


@dataclass(frozen=True)
class LipModel:
    """networks: their mean is the prediction. mean, std (M,) of the mouth numbers; opening (M,): mouth numbers -> lip opening in
    IOD; open_direction (M,): mouth numbers per IOD of opening.
    """

    networks: list[Any]
    config: LipConfig
    mean: np.ndarray
    std: np.ndarray
    opening: np.ndarray
    open_direction: np.ndarray

    def predict(self, phones: list[Phone], frames: int) -> np.ndarray:
        """(frames, M) mouth numbers before the rules."""
        import torch

        x = torch.from_numpy(tracks(phones, frames)).T[None]
        with torch.no_grad():
            y = torch.stack([n.eval()(x)[0].T for n in self.networks]).mean(0).numpy()
        return np.asarray(y * self.std + self.mean, np.float32)

    def mouth(self, phones: list[Phone], frames: int, rules: LipRules | None = None) -> np.ndarray:
        """(frames, M) mouth numbers at 25 fps, closures enforced."""
        return close(self.predict(phones, frames), phones, self.opening, self.open_direction, rules or LipRules())

    def save(self, path: Path) -> None:
        """One .pt file of tensors and plain numbers."""
        import torch

        arrays = {k: torch.from_numpy(getattr(self, k)) for k in ("mean", "std", "opening", "open_direction")}
        torch.save({"config": asdict(self.config), "states": [n.state_dict() for n in self.networks], **arrays}, path)

    @classmethod
    def load(cls, path: Path) -> LipModel:
        import torch

        stored = torch.load(path, weights_only=True)
        config = LipConfig(**stored["config"])
        arrays = {k: stored[k].numpy() for k in ("mean", "std", "opening", "open_direction")}
        networks = [build_network(config, len(arrays["mean"])) for _ in stored["states"]]
        for network, state in zip(networks, stored["states"], strict=True):
            network.load_state_dict(state)
        return cls(networks, config, **arrays)


def pulls(phones: list[Phone], frames: int, feature: str, fade: float) -> np.ndarray:
    """(frames,) 0..1: how much each frame belongs to phones that have the feature (such as "bilabial"); at least one frame of
    each is wholly its own, and the weight falls off as a cosine over `fade` seconds.
    """
    time = np.arange(frames) / FPS
    out = np.zeros(frames, np.float32)
    for p in phones:
        shapes = targets(p.label)
        ends = np.linspace(p.start, p.stop, len(shapes) + 1)
        for shape, a, b in zip(shapes, ends[:-1], ends[1:], strict=True):
            degree = shape[NAMES.index(feature)]
            if degree > 0:
                half = max((b - a) / 2 - 0.01, 0.5 / FPS)  # within a frame of the middle at least
                away = np.clip((np.abs(time - (a + b) / 2) - half - 1e-6) / fade, 0, 1)
                out = np.maximum(out, degree * (0.5 + 0.5 * np.cos(np.pi * away)))
    return out


def close(z: np.ndarray, phones: list[Phone], opening: np.ndarray, direction: np.ndarray, rules: LipRules) -> np.ndarray:
    """(T, M) mouth numbers -> the same with lips together in bilabials and nearly shut in labiodentals. It only ever closes.

    opening (M,): z -> IOD; direction (M,): z per IOD of opening (`DynamicsBasis.mouth_open_direction`).
    """
    out = z
    for feature, target in (("labiodental", rules.labiodental), ("bilabial", rules.bilabial)):
        weight = pulls(phones, len(z), feature, rules.fade)
        over = np.maximum(out @ opening - target, 0.0)
        out = out - (weight * over)[:, None] * direction / float(opening @ direction)
    return np.asarray(out, np.float32)


Pair = tuple[list[Phone], np.ndarray]  # phones, mouth numbers (T, M)


def fit_lips(
    pairs: list[Pair],
    lips: np.ndarray,
    open_direction: np.ndarray,
    config: LipConfig,
    seeds: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> LipModel:
    """Fit on (phones, mouth numbers) of whole clips. lips (2, M): mouth numbers -> opening and width; open_direction (M,)."""
    everything = np.concatenate([z for _, z in pairs])
    mean, std = everything.mean(0), everything.std(0) + 1e-6
    networks = []
    for seed in range(config.seed, config.seed + seeds):
        networks.append(_fit_one(pairs, mean, std, lips, config, seed, progress))
    return LipModel(networks, config, mean.astype(np.float32), std.astype(np.float32), lips[0], open_direction)


def _fit_one(
    pairs: list[Pair],
    mean: np.ndarray,
    std: np.ndarray,
    lips: np.ndarray,
    config: LipConfig,
    seed: int,
    progress: Callable[[int, float], None] | None,
) -> torch.nn.Module:
    import torch

    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(config, len(mean))
        optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=0.02)
        total = config.epochs * max(len(pairs) // config.batch, 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=total + 1, pct_start=0.1)
        seen = torch.from_numpy((lips * std).astype(np.float32))
        spread = ((np.concatenate([z for _, z in pairs[:100]]) - mean) @ lips.T).std(0)
        seen = seen / torch.from_numpy(spread.astype(np.float32))[:, None]
        weight = torch.from_numpy((std / std.mean()).astype(np.float32))
        for step in range(total):
            x, y, known = _batch(pairs, mean, std, config, rng)
            error = (network(x) - y) * known
            lip_error = torch.einsum("cm,bmt->bct", seen, error)
            loss = ((error**2 * weight[:, None]).mean() + config.lips_weight * (lip_error**2).mean()) / known.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress and step % 50 == 0:
                progress(step, float(loss))
    return network.eval()


def _batch(
    pairs: list[Pair], mean: np.ndarray, std: np.ndarray, config: LipConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x (B, C, T), y (B, M, T), known (B, 1, T): random clips at random speeds, cut to a common length."""
    import torch

    xs, ys, known, frames = [], [], [], 75
    for k in rng.integers(0, len(pairs), config.batch):
        phones, z = pairs[k]
        speed = float(rng.uniform(1 - config.warp, 1 + config.warp))
        at = np.arange(frames) * speed
        left = np.clip(at.astype(int), 0, len(z) - 2)
        u = np.clip(at - left, 0, 1)[:, None]
        ys.append(((z[left] * (1 - u) + z[left + 1] * u) - mean) / std)
        xs.append(tracks(phones, frames, speed=speed))
        known.append(at <= len(z) - 1)
    x, y = (torch.from_numpy(np.stack(v).astype(np.float32)).transpose(1, 2).contiguous() for v in (xs, ys))
    return x, y, torch.from_numpy(np.stack(known).astype(np.float32))[:, None]


def judge(model: LipModel, pairs: list[Pair], lips: np.ndarray) -> dict[str, float]:
    """Correlation of opening and width with the real ones over all frames of the pairs, after the rules, and closures."""
    from vasa_cli.training.phones import closures

    made = [model.mouth(phones, len(z)) for phones, z in pairs]
    a = np.concatenate(made) @ lips.T
    b = np.concatenate([z for _, z in pairs]) @ lips.T
    reach = float(np.percentile(b[:, 0], 95))
    shut = [closures(m @ lips[0], phones, FPS, closed=0.0, reach=reach) for m, (phones, _) in zip(made, pairs, strict=True)]
    real = [closures(z @ lips[0], phones, FPS, closed=0.0, reach=reach) for phones, z in pairs]
    return {
        "opening_r": float(np.corrcoef(a[:, 0], b[:, 0])[0, 1]),
        "width_r": float(np.corrcoef(a[:, 1], b[:, 1])[0, 1]),
        "opening_std": float(a[:, 0].std() / b[:, 0].std()),
        "width_std": float(a[:, 1].std() / b[:, 1].std()),
        "closures": float(np.concatenate(shut).mean()),
        "closures_real": float(np.concatenate(real).mean()),
    }
