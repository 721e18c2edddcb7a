"""How much of a stranger's lips do speech features carry, when one voice alone was seen? A small regressor tells.

Trained on GRID's speaker (without the held-out tenth), judged on GRID's held-out tenth and on seven strangers. GRID alone says
little: its sentences have fixed timing, so shuffled ones already correlate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vasa_cli.speech.phonetic_teacher import LipRegressor
from vasa_cli.training.speech_data import LipClip


@dataclass(frozen=True)
class ProbeConfig:
    """Training of the regressor."""

    epochs: int = 12
    batch: int = 24
    width: int = 128
    rate: float = 2e-3
    dropout: float = 0.2
    share: float = 1.0  # of the pairs that an epoch visits, drawn anew each time
    noise: float = 0.0  # added to the standardised features
    loss: str = "l1"  # or "l2"
    first: float = 1.0  # weight of the first four targets
    seed: int = 0


@dataclass(frozen=True)
class Probe:
    """A trained regressor with the scales of its inputs and targets."""

    model: LipRegressor
    x_mean: torch.Tensor
    x_std: torch.Tensor
    y_mean: torch.Tensor
    y_std: torch.Tensor

    @torch.no_grad()
    def predict(self, features: np.ndarray) -> np.ndarray:
        """(T, F) to (T, D) in the targets' units."""
        x = (torch.from_numpy(np.asarray(features, dtype=np.float32)) - self.x_mean) / self.x_std
        return np.asarray((self.model(x[None])[0] * self.y_std + self.y_mean).numpy())


def fit_probe(pairs: Sequence[tuple[np.ndarray, np.ndarray]], config: ProbeConfig) -> Probe:
    """Fit on (features (T, F), targets (T, D)) pairs: L1 (or squared error) on values and on their velocity."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    xs = [torch.from_numpy(np.asarray(f, dtype=np.float32)) for f, _ in pairs]
    ys = [torch.from_numpy(np.asarray(t, dtype=np.float32)) for _, t in pairs]
    x_mean, x_std = torch.cat(xs).mean(0), torch.cat(xs).std(0).clamp(min=1e-4)
    y_mean, y_std = torch.cat(ys).mean(0), torch.cat(ys).std(0)
    model = LipRegressor(xs[0].shape[1], ys[0].shape[1], config.width, config.dropout)
    optimiser = torch.optim.AdamW(model.parameters(), config.rate, weight_decay=1e-2)
    visits = max(1, round(config.share * len(xs)))
    steps = config.epochs * -(-visits // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=0.1)
    for _ in range(config.epochs):
        order = rng.permutation(len(xs))[:visits]
        for start in range(0, len(order), config.batch):
            chosen = order[start : start + config.batch]
            n = min(len(xs[i]) for i in chosen)
            x = torch.stack([(xs[i][:n] - x_mean) / x_std for i in chosen])  # (B, n, F)
            y = torch.stack([(ys[i][:n] - y_mean) / y_std for i in chosen])  # (B, n, D)
            loss = _loss(model(x + config.noise * torch.randn_like(x)) - y, config)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return Probe(model.eval(), x_mean, x_std, y_mean, y_std)


def _loss(error: torch.Tensor, config: ProbeConfig) -> torch.Tensor:
    """Of standardised errors (B, n, D) and of their velocity."""
    weight = torch.ones(error.shape[-1])
    weight[:4] = config.first
    weight = weight / weight.mean()
    if config.loss == "l2":
        return (error.square() * weight).mean() + (error.diff(dim=1).square() * weight).mean()
    return (error.abs() * weight).mean() + 2.0 * (error.diff(dim=1).abs() * weight).mean()


def lagged_r(predicted: np.ndarray, real: np.ndarray, lag: int) -> float:
    """Pearson r of predicted[t] with real[t + lag]: lag > 0 means that the picture comes late."""
    n = min(len(predicted), len(real))
    a, b = predicted[max(0, -lag) : n - max(0, lag)], real[max(0, lag) : n - max(0, -lag)]
    if len(a) < 8 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


@dataclass(frozen=True)
class Score:
    """Mean per-clip r of opening and width: at lag 0, at each clip's best lag within 3 frames, and at one lag per group."""

    open_r0: float
    open_max3: float
    open_group: float
    width_r0: float
    width_max3: float
    width_group: float

    def row(self) -> str:
        """Markdown cells."""
        return " | ".join(
            f"{v:.2f}" for v in (self.open_r0, self.open_max3, self.open_group, self.width_r0, self.width_max3, self.width_group)
        )


def curves(clips: Sequence[LipClip]) -> list[np.ndarray]:
    """(T, 2) opening and width of each clip."""
    return [np.stack([c.opening, c.width], axis=1) for c in clips]


def score(predicted: Sequence[np.ndarray], real: Sequence[np.ndarray], groups: Sequence[str], reach: int = 3) -> Score:
    """Scores of predictions (T, 2) against real curves (T, 2).

    Clips of one group share one lag (the best of their mean r over both curves).
    """
    lags = range(-reach, reach + 1)
    table = np.array(
        [[[lagged_r(p[:, k], r[:, k], lag) for lag in lags] for k in (0, 1)] for p, r in zip(predicted, real, strict=True)]
    )
    shared = table.copy()[:, :, 0]
    for group in set(groups):
        members = [i for i, g in enumerate(groups) if g == group]
        best = int(table[members].mean(axis=(0, 1)).argmax())
        shared[members] = table[members][:, :, best]
    r0, top = table[:, :, reach].mean(0), table.max(axis=2).mean(0)
    both = shared.mean(0)
    return Score(r0[0], top[0], both[0], r0[1], top[1], both[1])
