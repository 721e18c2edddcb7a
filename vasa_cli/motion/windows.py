"""Any length of speech in constant memory: the model's windows, one after another, each conditioned on the end of the one before.

A recording: window i starts `overlap` frames before window i - 1 ends; the K frames before its start are its past (VASA-1's
X_pre, A_pre). Over the overlap the two fade into each other, so a join shows neither a step nor a kink.

Live (`Online`): speech arrives frame by frame, so a window starts every `hop` frames, plans ahead of what was heard, and only its
first `hop` frames are kept. The network knows such windows: in training, the last frames of the sound were left out at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from vasa_cli.motion.diffusion import NoiseProcess, objective, window_noise
from vasa_cli.motion.model import MotionModel
from vasa_cli.motion.rolling import Rolling
from vasa_cli.motion.transformer import Conditions

KEPT = 128  # frames of settled motion that stay at hand
POSE = 6  # columns of the motion
CONTROLS = 10  # columns of the network's controls: gaze 2, distance, emotion 7


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


def sampler_config(model: MotionModel, steps: int | None, guidance: Mapping[str, float] | None = None) -> SamplerConfig:
    """Sampling settings stored with the weights; `steps` and `guidance` (by condition: "audio", "gaze", ...) override."""
    config = SamplerConfig(**model.settings.get("sampler", {}))
    if steps is not None:
        config = replace(config, steps=max(1, steps))
    strengths: dict[str, Any] = {f"{name}_guidance": float(value) for name, value in (guidance or {}).items()}
    return replace(config, **strengths)


@dataclass(frozen=True)
class Online:
    """Live windows, in frames. hop: kept of each; look: speech that must be known beyond these; plan: length of a window;
    overlap: over which head, eyes and brows pass from the plan before to the new one, mouth_overlap: over which the mouth does;
    steps: network evaluations a window; head_temperature: of the head's noise, on top of the sampler's: more than 1, for passing
    from plan to plan averages."""

    hop: int = 3
    look: int = 0
    plan: int = 20
    overlap: int = 8
    mouth_overlap: int = 2
    steps: int = 3
    head_temperature: float = 1.6

    def __post_init__(self) -> None:
        if not (0 < self.hop < self.plan and self.look >= 0 and self.steps > 0):
            raise ValueError(f"live windows must keep fewer frames than they plan, got {self}")


@dataclass(frozen=True)
class ControlConditions:
    """Per-frame values that the network is conditioned on: gaze (T, 2) radians, distance (T,) log, emotion (T, 7)."""

    gaze: np.ndarray
    distance: np.ndarray
    emotion: np.ndarray

    def rows(self) -> np.ndarray:
        """(T, CONTROLS) float32."""
        return np.concatenate([self.gaze, self.distance[:, None], self.emotion], 1).astype(np.float32)


def window_starts(frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows that cover a recording of `frames` frames."""
    starts = [0]
    while starts[-1] + window < frames:
        starts.append(starts[-1] + window - overlap)
    return starts


def guided(
    model: MotionModel, conditions: Conditions, config: SamplerConfig
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Classifier-free guidance, VASA-1 eq. 3: (1 + sum l) H(C) - sum l H(C without c), all branches in one batch."""
    weights = (config.gaze_guidance, config.distance_guidance, config.emotion_guidance)
    active = [(w, conditions.without_control(i)) for i, w in enumerate(weights) if w]
    if config.audio_guidance:
        active.append((config.audio_guidance, conditions.without_audio()))
    batch = model.network.prepare(Conditions.stack([conditions, *(c for _, c in active)]))

    def run(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        n = 1 + len(active)
        out = model.network.denoise(x.expand(n, -1, -1), t.expand(n), batch)  # (n, W, D)
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


class WindowStream:
    """Windows over speech that keeps coming. `push` features, `ready`, `run` with the controls of the window, and frames up to
    `final` are settled; `motion` holds them and, live, the plan beyond, in normalised units. Deterministic in seed."""

    def __init__(self, model: MotionModel, config: SamplerConfig, seed: int, online: Online | None = None) -> None:
        self.model, self.config, self.seed, self.online = model, config, seed, online
        c = model.config
        if online is not None and online.plan > c.window:
            raise ValueError(f"a window plans at most {c.window} frames, got {online.plan}")
        self.size, self.steps = (c.window, config.steps) if online is None else (online.plan, online.steps)
        self.speech, self.asked = Rolling(c.features), Rolling(CONTROLS)
        self.motion = Rolling(c.motion)
        self.start = self.number = self.final = 0  # of the next window; frames that are settled
        self.finished = False
        self._ahead = np.zeros((0, c.features), np.float32)
        self._process, self._noise = NoiseProcess(seed, c.memory), Rolling(c.motion)
        self._scale = temperature(model, config)
        if online is not None:
            self._scale[:POSE] *= online.head_temperature

    def push(self, speech: np.ndarray, ahead: np.ndarray | None = None) -> None:
        """(n, F) further frames, normalised; ahead (m, F): what the frames behind them probably are, until the next call."""
        self.speech.append(speech)
        self._ahead = self._ahead[:0] if ahead is None else ahead

    @property
    def needs(self) -> int:
        """Frames of speech that are lacking for the next window."""
        # of a recording, one frame more than the window holds: the last window is known as such, and settled whole
        size = self.size + 1 if self.online is None else self.online.hop + self.online.look
        return max(0, self.start + size - self.speech.end)

    @property
    def ready(self) -> bool:
        """Whether enough was heard for the next window."""
        return self.final < self.speech.end if self.finished else self.needs == 0

    @torch.inference_mode()
    def run(self, asked: np.ndarray) -> None:
        """Make the window at `start`, of `size` frames, under the controls asked (size, CONTROLS)."""
        self.asked.put(self.start, asked)
        noise = self._window_noise()[None].to(self._device)
        denoiser, objective_ = guided(self.model, self._conditions(), self.config), objective(self.model.config.objective)
        made = objective_.sample(denoiser, noise, self.steps, self.model.network.pace)[0].cpu().numpy()
        if self.finished:
            made = made[: self.speech.end - self.start]
        if self.start:
            self._join(made)
        self.motion.put(self.start, made)
        self._advance()

    def _join(self, made: np.ndarray) -> None:
        """Let the window, in place, grow out of the one before. Live, the mouth goes over sooner to what was heard last."""
        mouth = self.model.config.mouth_from
        longest = self.config.overlap if self.online is None else self.online.overlap
        shortest = longest if self.online is None else min(longest, self.online.mouth_overlap)
        for overlap, part in ((longest, slice(mouth)), (shortest, slice(mouth, None))):
            n = min(overlap, len(made), self.motion.end - self.start)
            fade = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 1) / (n + 1)))[:, None].astype(np.float32)
            made[:n, part] = fade * made[:n, part] + (1 - fade) * self.motion.rows(self.start, self.start + n)[:, part]

    def _advance(self) -> None:
        """Settle frames and move on."""
        kept, whole = (self.size - self.config.overlap, self.size) if self.online is None else (self.online.hop,) * 2
        last = self.finished and self.start + whole >= self.speech.end
        self.final = self.speech.end if last else self.start + kept
        self.start, self.number = self.final, self.number + 1
        for rows in (self.speech, self.asked, self._noise):
            rows.forget(self.start - self.model.config.past)
        self.motion.forget(self.start - KEPT)

    @property
    def _device(self) -> torch.device:
        return next(self.model.network.parameters()).device

    def _window_noise(self) -> torch.Tensor:
        """(size, D)"""
        c = self.model.config
        if self.online is None:
            return window_noise(self.seed, self.number, c.window, c.memory, self._scale)
        while self._noise.end < self.start + self.size:
            self._noise.append(self._process.next_block())
        return torch.from_numpy(self._noise.rows(self.start, self.start + self.size)) * self._scale

    def _conditions(self) -> Conditions:
        """Of the window at `start`: speech, controls, and the motion before it."""
        k, start = self.model.config.past, self.start
        heard = self.speech.rows(start, min(self.speech.end, start + self.size))
        if not self.finished:
            heard = np.concatenate([heard, self._ahead])[: self.size]
        has_past = start >= k
        past = (start - k, start)
        blank = np.zeros((k, 1), np.float32)
        gaze, distance, emotion = np.split(self.asked.rows(start - k, start + self.size), (2, 3), axis=1)
        values: dict[str, np.ndarray | torch.Tensor] = {
            "audio": np.pad(heard, ((0, self.size - len(heard)), (0, 0))),
            "audio_given": torch.arange(self.size) < len(heard),
            "past_audio": self.speech.rows(*past) if has_past else blank.repeat(self.model.config.features, 1),
            "past_motion": self.motion.rows(*past) if has_past else blank.repeat(self.model.config.motion, 1),
            "past_given": torch.tensor(has_past),
            "gaze": gaze, "distance": distance, "emotion": emotion,
            "control_given": torch.ones(3, dtype=torch.bool),
        }  # fmt: skip
        rows = {name: torch.as_tensor(np.ascontiguousarray(v)) if isinstance(v, np.ndarray) else v for name, v in values.items()}
        return Conditions(**{name: v[None].to(self._device) for name, v in rows.items()})


def generate_windows(
    model: MotionModel,
    features: np.ndarray,
    controls: ControlConditions,
    *,
    seed: int,
    config: SamplerConfig,
    online: Online | None = None,
) -> np.ndarray:
    """(T, F) features of a whole recording -> (T, D) motion in natural units. Deterministic in seed."""
    stream, asked = WindowStream(model, config, seed, online), Rolling(CONTROLS)
    asked.append(controls.rows())
    out: list[np.ndarray] = []
    speech = model.normalise_features(features).numpy()
    step = len(speech) if online is None else 1
    for i in range(0, len(speech), step):
        stream.push(speech[i : i + step])
        stream.finished = i + step >= len(speech)
        while stream.ready:
            done = stream.final
            stream.run(asked.rows(stream.start, stream.start + stream.size))
            out.append(stream.motion.rows(done, stream.final))
    return np.concatenate(out) * model.stats.motion_std + model.stats.motion_mean
