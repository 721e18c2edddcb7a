"""Two objectives behind one interface: x0-prediction with DDIM sampling, and flow matching with Euler steps.

An objective knows how to make a training pair (`noisy`), how to read the clean motion out of the network's output (`clean`),
and how to step from noise to motion (`sample`). Time runs from t = 0 (noise) to t = 1 (motion) in both. Samplers are
deterministic once the noise is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (x (B, W, D), t (B,)) -> network output (B, W, D)


class Objective(Protocol):
    """What training and sampling need to know."""

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean (B, W, D), noise, t (B,) -> network input x_t and training target."""

    def clean(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Network output at x_t -> estimate of the clean motion."""

    def sample(self, network: Denoiser, noise: torch.Tensor, steps: int) -> torch.Tensor:
        """Noise (B, W, D) -> motion (B, W, D)."""


def _column(t: torch.Tensor) -> torch.Tensor:
    return t[:, None, None]


@dataclass(frozen=True)
class X0Diffusion:
    """Predicts the clean motion (VASA-1). Cosine schedule: x_t = a x0 + s noise, a = sin(pi t / 2), s = cos(pi t / 2) (Nichol
    and Dhariwal 2021).
    """

    t_min: float = 0.02

    def _levels(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = _column(t.clamp(self.t_min, 1.0)) * (torch.pi / 2)
        return angle.sin(), angle.cos()

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, s = self._levels(t)
        return a * x0 + s * noise, x0

    def clean(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return output

    def sample(self, network: Denoiser, noise: torch.Tensor, steps: int) -> torch.Tensor:
        """DDIM, eta = 0: Song et al. 2021, eq. 12."""
        times = torch.linspace(0, 1, steps + 1, device=noise.device)
        x = noise
        for now, after in itertools.pairwise(times):
            t, u = now.expand(len(x)), after.expand(len(x))
            x0 = network(x, t)
            (a, s), (a2, s2) = self._levels(t), self._levels(u)
            x = a2 * x0 + s2 * (x - a * x0) / s
        return x


@dataclass(frozen=True)
class FlowMatching:
    """Predicts the velocity of the straight path from noise to motion (Lipman et al. 2023, eq. 20-23 with sigma_min = 0)."""

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u = _column(t)
        return u * x0 + (1 - u) * noise, x0 - noise

    def clean(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x + (1 - _column(t)) * output

    def sample(self, network: Denoiser, noise: torch.Tensor, steps: int) -> torch.Tensor:
        """Euler's method from t = 0 to 1."""
        times = torch.linspace(0, 1, steps + 1, device=noise.device)
        x = noise
        for now, after in itertools.pairwise(times):
            x = x + (after - now) * network(x, now.expand(len(x)))
        return x


OBJECTIVES: dict[str, Objective] = {"x0": X0Diffusion(), "flow": FlowMatching()}


def objective(name: str) -> Objective:
    """By name: "x0" or "flow"."""
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; there are {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def window_noise(seed: int, window: int, shape: tuple[int, int], temperature: torch.Tensor | None = None) -> torch.Tensor:
    """(W, D) normal noise of one window. Always drawn on the CPU, so every device gets the same numbers; `temperature` (D,)
    scales it.
    """
    generator = torch.Generator("cpu").manual_seed((seed * 1_000_003 + window * 7919 + 17) % (2**63 - 1))
    noise = torch.randn(shape, generator=generator)
    return noise if temperature is None else noise * temperature
