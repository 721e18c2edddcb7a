"""Two objectives behind one interface: x0-prediction with DDIM sampling, and flow matching with Euler steps.

An objective knows how to make a training pair (`noisy`), how to read the clean motion out of the network's output (`clean`),
and how to step from noise to motion (`sample`). Time runs from t = 0 (noise) to t = 1 (motion) in both. Samplers are
deterministic once the noise is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (x (B, W, D), t (B,)) -> network output (B, W, D)


class Objective(Protocol):
    """What training and sampling need to know."""

    def level(self, u: torch.Tensor) -> torch.Tensor:
        """Share of the clean motion in the noisy one at time u (any shape)."""

    def noisy(
        self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, pace: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean (B, W, D), noise, t (B,) -> network input x_t and training target."""

    def clean(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor, pace: torch.Tensor | None = None) -> torch.Tensor:
        """Network output at x_t -> estimate of the clean motion."""

    def sample(self, network: Denoiser, noise: torch.Tensor, steps: int, pace: torch.Tensor | None = None) -> torch.Tensor:
        """Noise (B, W, D) -> motion (B, W, D)."""


def levels_of(t: torch.Tensor, pace: torch.Tensor | None) -> torch.Tensor:
    """(B,) -> (B, 1, D) or (B, 1, 1): each number's own time."""
    column = t[:, None, None]
    return column if pace is None else column * pace.to(t.device)


@dataclass(frozen=True)
class X0Diffusion:
    """Predicts the clean motion (VASA-1).

    Cosine schedule: x_t = a x0 + s noise, a = sin(pi t / 2), s = cos(pi t / 2) (Nichol and Dhariwal 2021).
    """

    t_min: float = 0.02

    def level(self, u: torch.Tensor) -> torch.Tensor:
        return self._levels(u)[0]

    def _levels(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = t.clamp(self.t_min, 1.0) * (torch.pi / 2)
        return angle.sin(), angle.cos()

    def noisy(
        self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, pace: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        a, s = self._levels(levels_of(t, pace))
        return a * x0 + s * noise, x0

    def clean(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor, pace: torch.Tensor | None = None) -> torch.Tensor:
        return output

    def sample(self, network: Denoiser, noise: torch.Tensor, steps: int, pace: torch.Tensor | None = None) -> torch.Tensor:
        """DDIM, eta = 0: Song et al. 2021, eq. 12; the last step returns the clean estimate."""
        x = noise
        for i in range(steps):
            t = torch.full((len(x),), i / steps, device=x.device)
            x0 = network(x, t)
            a, s = self._levels(levels_of(t, pace))
            a2, s2 = self._levels(levels_of(t + 1 / steps, pace))
            x = x0 if i + 1 == steps else a2 * x0 + s2 * (x - a * x0) / s
        return x


@dataclass(frozen=True)
class FlowMatching:
    """Predicts the velocity of the straight path from noise to motion (Lipman et al. 2023, eq. 20-23 with sigma_min = 0)."""

    def level(self, u: torch.Tensor) -> torch.Tensor:
        return u

    def noisy(
        self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, pace: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        u = levels_of(t, pace)
        return u * x0 + (1 - u) * noise, x0 - noise

    def clean(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor, pace: torch.Tensor | None = None) -> torch.Tensor:
        return x + (1 - levels_of(t, pace)) * output

    def sample(self, network: Denoiser, noise: torch.Tensor, steps: int, pace: torch.Tensor | None = None) -> torch.Tensor:
        """Euler's method from t = 0 to 1; where `pace` holds time back, the last step goes all the way."""
        x = noise
        for i in range(steps):
            t = torch.full((len(x),), i / steps, device=x.device)
            velocity = network(x, t)
            now = levels_of(t, pace)
            after = torch.ones_like(now) if i + 1 == steps else levels_of(t + 1 / steps, pace)
            x = x + (after - now) * velocity
        return x


OBJECTIVES: dict[str, Objective] = {"x0": X0Diffusion(), "flow": FlowMatching()}


def objective(name: str) -> Objective:
    """By name: "x0" or "flow"."""
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; there are {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


@lru_cache(maxsize=16)
def _smoothing(window: int, memory: float) -> torch.Tensor:
    """(W, W) lower triangle that turns white noise into a Matern-3/2 process of unit variance and length `memory` frames."""
    r = (torch.arange(window)[:, None] - torch.arange(window)[None]).abs().double() * (math.sqrt(3.0) / memory)
    return torch.linalg.cholesky((1 + r) * torch.exp(-r) + 1e-5 * torch.eye(window, dtype=torch.float64)).float()


def coloured(white: torch.Tensor, memory: tuple[float, ...]) -> torch.Tensor:
    """White noise (..., W, D) -> noise whose d-th number remembers `memory[d]` frames; 0 stays white.

    Heads move slowly: from white noise a few sampling steps cannot raise the slow part to the size of real motion, from noise
    with a head's own memory they need not (compare the correlated noise of Ge et al. 2023, PYoCo).
    """
    out = white.clone()
    for length in sorted({m for m in memory if m > 0}):
        columns = [d for d, m in enumerate(memory) if m == length]
        out[..., columns] = _smoothing(white.shape[-2], length).to(white) @ white[..., columns]
    return out


def window_noise(seed: int, window: int, size: int, memory: tuple[float, ...], temperature: torch.Tensor) -> torch.Tensor:
    """(W, D) noise of window number `window`, W = size. Always drawn on the CPU, so every device gets the same numbers;
    `temperature` (D,) scales it.
    """
    generator = torch.Generator("cpu").manual_seed((seed * 1_000_003 + window * 7919 + 17) % (2**63 - 1))
    return coloured(torch.randn((size, len(memory)), generator=generator), memory) * temperature


class NoiseProcess:
    """The noise of one endless window: white or remembering, as `coloured` makes it, drawn frame by frame.

    Live windows overlap almost wholly; that they share their frames' noise is what keeps one plan like the one before. The
    Matern-3/2 process is stepped exactly: its state (value, slope) is Markov (Hartikainen and Sarkka 2010).
    """

    BLOCK = 25  # frames drawn from one seed

    def __init__(self, seed: int, memory: tuple[float, ...]) -> None:
        self._seed, self._columns = seed, len(memory)
        self._groups = [([d for d, m in enumerate(memory) if m == length], *_matern_step(length)) for length in set(memory) - {0}]
        self._states = [np.zeros((2, len(columns))) for columns, _, _ in self._groups]
        self._drawn = 0

    def next_block(self) -> np.ndarray:
        """(BLOCK, D) float32, the next frames."""
        generator = torch.Generator("cpu").manual_seed((self._seed * 1_000_003 + self._drawn * 7919 + 29) % (2**63 - 1))
        white = torch.randn((self.BLOCK, 2, self._columns), generator=generator).double().numpy()
        out = white[:, 0].astype(np.float32)
        for g, (columns, step, spread) in enumerate(self._groups):
            state = self._states[g]
            for t in range(self.BLOCK):
                fresh = white[t][:, columns]
                # value and slope begin independent, each of unit variance: the stationary state
                state = fresh if self._drawn == t == 0 else step @ state + spread @ fresh
                out[t, columns] = state[0]
            self._states[g] = state
        self._drawn += 1
        return out


def _matern_step(length: float) -> tuple[np.ndarray, np.ndarray]:
    """(2, 2) transition over one frame and (2, 2) spread of what is new, of unit variance and length `length` frames. The slope
    is in units of its own deviation."""
    rate = math.sqrt(3.0) / length
    step = math.exp(-rate) * np.array([[1 + rate, rate], [-rate, 1 - rate]])
    return step, np.linalg.cholesky(np.eye(2) - step @ step.T + 1e-12 * np.eye(2))
