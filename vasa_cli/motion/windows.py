"""Any length of speech in constant memory: the model's windows, one after another, each conditioned on the end of the one before.

Window i starts `overlap` frames before window i - 1 ends; the K frames before its start are its past (VASA-1's X_pre, A_pre).
Over the overlap the two fade into each other, so a join shows neither a step nor a kink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from vasa_cli.motion.diffusion import objective, window_noise
from vasa_cli.motion.model import MotionModel
from vasa_cli.motion.transformer import Conditions

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SamplerConfig:
    """steps: network evaluations a window. *_guidance: lambda of classifier-free guidance of each condition (VASA-1, eq. 3).

    Temperatures scale the initial noise of the mouth's numbers and of all others: a cooler mouth says the likely thing, which
    follows the speech more closely; the head keeps its variety.
    """

    steps: int = 10
    audio_guidance: float = 0.5
    gaze_guidance: float = 0.0
    distance_guidance: float = 0.0
    emotion_guidance: float = 0.0
    mouth_temperature: float = 0.0
    rest_temperature: float = 1.0
    overlap: int = 5


@dataclass(frozen=True)
class ControlConditions:
    """Per-frame values that the network is conditioned on: gaze (T, 2) radians, distance (T,) log, emotion (T, 7)."""

    gaze: np.ndarray
    distance: np.ndarray
    emotion: np.ndarray


def window_starts(frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows that cover `frames` frames."""
    starts = [0]
    while starts[-1] + window < frames:
        starts.append(starts[-1] + window - overlap)
    return starts


def _tensor(x: np.ndarray, start: int, size: int) -> torch.Tensor:
    """Rows start .. start + size of (T, C), held at the ends -> (1, size, C)."""
    rows = np.arange(start, start + size).clip(0, len(x) - 1)
    return torch.from_numpy(np.ascontiguousarray(x[rows], np.float32))[None]


def conditions_at(
    model: MotionModel, features: torch.Tensor, motion: np.ndarray, controls: ControlConditions, start: int
) -> Conditions:
    """Conditions of the window at `start`: features (T, F) and already generated motion (T, D), both normalised."""
    c = model.config
    size = min(c.window, len(features) - start)
    has_past = start >= c.past
    device = next(model.network.parameters()).device
    audio = torch.nn.functional.pad(features[start : start + size], (0, 0, 0, c.window - size))[None]
    past = slice(start - c.past, start)
    past_audio = features[past][None] if has_past else torch.zeros(1, c.past, c.features)
    past_motion = torch.from_numpy(motion[past])[None] if has_past else torch.zeros(1, c.past, c.motion)
    values = Conditions(
        audio=audio,
        audio_given=(torch.arange(c.window) < size)[None],
        past_audio=past_audio,
        past_motion=past_motion,
        past_given=torch.tensor([has_past]),
        gaze=_tensor(controls.gaze, start - c.past, c.past + c.window),
        distance=_tensor(controls.distance[:, None], start - c.past, c.past + c.window),
        emotion=_tensor(controls.emotion, start - c.past, c.past + c.window),
        control_given=torch.ones(1, 3, dtype=torch.bool),
    )
    return Conditions(**{k: v.to(device) for k, v in vars(values).items()})


def guided(
    model: MotionModel, conditions: Conditions, config: SamplerConfig
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Classifier-free guidance, VASA-1 eq. 3: (1 + sum l) H(C) - sum l H(C without c), all branches in one batch."""
    weights = (config.gaze_guidance, config.distance_guidance, config.emotion_guidance)
    active = [(w, conditions.without_control(i)) for i, w in enumerate(weights) if w]
    if config.audio_guidance:
        active.append((config.audio_guidance, conditions.without_audio()))
    batch = Conditions.stack([conditions, *(c for _, c in active)])

    def run(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        n = 1 + len(active)
        out = model.network(x.expand(n, -1, -1), t.expand(n), batch)  # (n, W, D)
        result = (1 + sum(w for w, _ in active)) * out[:1]
        for i, (w, _) in enumerate(active):
            result = result - w * out[i + 1 : i + 2]
        return result

    return run


def temperature(model: MotionModel, config: SamplerConfig) -> torch.Tensor:
    """(D,) scale of the initial noise."""
    out = torch.full((model.config.motion,), config.rest_temperature)
    out[model.config.mouth_from :] = config.mouth_temperature
    return out


@torch.inference_mode()
def generate_windows(
    model: MotionModel,
    features: np.ndarray,
    controls: ControlConditions,
    *,
    seed: int,
    config: SamplerConfig,
    progress: Progress | None = None,
) -> np.ndarray:
    """(T, F) features -> (T, D) motion in natural units. Deterministic in seed."""
    c = model.config
    frames = len(features)
    speech = model.normalise_features(features)
    motion = np.zeros((frames, c.motion), np.float32)
    starts = window_starts(frames, c.window, config.overlap)
    scale, pace = temperature(model, config), model.network.pace
    device = next(model.network.parameters()).device
    for i, start in enumerate(starts):
        conditions = conditions_at(model, speech, motion, controls, start)
        noise = window_noise(seed, i, c.window, c.memory, scale)[None].to(device)
        made = objective(c.objective).sample(guided(model, conditions, config), noise, config.steps, pace)[0].cpu().numpy()
        size = min(c.window, frames - start)
        fade = np.ones((size, 1), np.float32)
        if i:
            n = min(config.overlap, size)
            fade[:n, 0] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 1) / (n + 1))
        here = slice(start, start + size)
        motion[here] = fade * made[:size] + (1 - fade) * motion[here]
        if progress:
            progress(i + 1, len(starts))
    return motion * model.stats.motion_std + model.stats.motion_mean
