"""Batches of windows for the motion transformer.

Windows are warped in time, mirrored, cut to short stretches of audio (so that nobody learns GRID's grammar), their features
mixed over several augmented versions of the same sound, and every control varied (`motion_controls`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from vasa_cli.motion.apply import control_offsets
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.transformer import Conditions, MotionConfig
from vasa_cli.motion.windows import SamplerConfig
from vasa_cli.training.motion_controls import random_curves
from vasa_cli.training.motion_pool import Pool, Talk

OVERLAP = SamplerConfig().overlap  # frames that neighbouring windows share when they are generated


@dataclass(frozen=True)
class BatchConfig:
    """What windows are made of. Chances and shares in 0..1."""

    batch: int = 32
    seed: int = 0
    others_share: float = 0.25  # windows of tracked or rigged talkers other than GRID's
    taught_share: float = 0.35  # windows of voices whose lips a teacher, or the phone model, told
    gaze_share: float = 0.6
    distance_share: float = 0.5
    emotion_share: float = 0.5
    drop_control: float = 0.1
    drop_audio: float = 0.1
    drop_past: float = 0.5
    drop_tail: float = 0.1
    short_audio: float = 0.5
    feature_noise: float = 0.2
    warp: float = 0.15


@dataclass(frozen=True)
class Draw:
    """motion (B, W, D) normalised, its conditions, frames (B, W) that count, weight (B,) of the mouth; `before`: conditions of
    the window before it, when asked for.
    """

    motion: torch.Tensor
    conditions: Conditions
    frames: torch.Tensor
    weight: torch.Tensor
    before: Conditions | None = None


class Batches:
    """Random training windows."""

    def __init__(self, pool: Pool, model: MotionConfig, config: BatchConfig) -> None:
        self.pool, self.model, self.config = pool, model, config
        self.basis = DynamicsBasis.load()
        self.rng = np.random.default_rng(config.seed)

    def _talk(self) -> Talk:
        rng, c = self.rng, self.config
        dice, talks = rng.random(), self.pool.grid
        if self.pool.others and dice < c.others_share:
            talks = self.pool.others
        elif self.pool.taught and dice > 1 - c.taught_share:
            talks = self.pool.taught
        return talks[rng.integers(len(talks))]

    def _row(self, lead: int) -> dict[str, np.ndarray]:
        """One window with `lead` frames before it, all (lead + W, ...)."""
        rng, c, m, stats = self.rng, self.config, self.model, self.pool.stats
        talk = self._talk()
        n = len(talk.motion)
        speed = 1 + c.warp * rng.uniform(-1, 1)
        start = rng.uniform(0, max(n - m.window * speed + 12, 1)) if rng.random() > 0.1 else -rng.uniform(0, m.past)
        at = start + speed * np.arange(-lead, m.window)
        mix = rng.dirichlet(np.full(len(talk.features), 0.6))
        pick = rng.permutation(len(mix))[:2]  # two versions are enough and cheap
        share = mix[pick] / mix[pick].sum()
        features = sum(s * lookup(talk.features[i], at) for s, i in zip(share, pick, strict=True))
        features = (features - stats.feature_mean) / stats.feature_std
        noise = rng.standard_normal(features.shape) * 0.7 + rng.standard_normal(features.shape[-1:]) * 0.7
        motion = lookup(talk.motion, at)
        if rng.random() < 0.5:
            motion = motion @ self.pool.mirror.T
        if talk.graft:
            motion[:, : self.pool.mouth.start] = self._lively(len(at))
        curves = random_curves(len(at), (c.gaze_share, c.distance_share, c.emotion_share), rng)
        motion = motion + control_offsets(curves, self.basis, stats.lids_per_gaze)
        return {
            "features": np.clip(features + c.feature_noise * noise, -5, 5).astype(np.float32),
            "motion": ((motion - stats.motion_mean) / stats.motion_std).astype(np.float32),
            "inside": (at >= 0) & (at <= n - 1),
            "weight": np.float32(talk.mouth_weight),
            "gaze": np.radians(curves.gaze),
            "distance": np.log(curves.distance)[:, None],
            "emotion": curves.emotion,
        }

    def _lively(self, length: int) -> np.ndarray:
        """(length, rest) from a random lively clip; short clips are played forth and back."""
        rng, pool = self.rng, self.pool
        clip = pool.lively[rng.choice(len(pool.lively), p=pool.lively_share)]
        start = rng.integers(0, max(len(clip) - length, 1))
        index = (start + np.arange(length)) % max(2 * len(clip) - 2, 1)
        index = np.where(index >= len(clip), 2 * len(clip) - 2 - index, index)
        return clip[index]

    def draw(self, *, before: bool = False) -> Draw:
        """One batch; `before`: with the conditions of the window before (which has no past of its own)."""
        rng, c, m = self.rng, self.config, self.model
        back = m.window - OVERLAP
        lead = m.past + back if before else m.past
        rows = [self._row(lead) for _ in range(c.batch)]
        stacked = {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}
        controls = torch.from_numpy(rng.random((c.batch, 3)) >= c.drop_control)
        here = self._conditions(stacked, slice(lead - m.past, None), controls)
        given, frames = self._hearing(here.audio_given)
        here = replace(here, audio_given=given)
        if before:
            earlier = self._conditions(stacked, slice(0, m.past + m.window), controls)
            earlier = replace(earlier, past_given=torch.zeros_like(earlier.past_given))
            return Draw(stacked["motion"][:, lead:], here, frames, stacked["weight"], earlier)
        kept = torch.from_numpy(rng.random(c.batch)) >= c.drop_past
        here = replace(here, past_given=here.past_given & kept)
        return Draw(stacked["motion"][:, lead:], here, frames, stacked["weight"])

    def _conditions(self, rows: dict[str, torch.Tensor], part: slice, controls: torch.Tensor) -> Conditions:
        """Conditions of the K + W frames `part` of the rows."""
        k = self.model.past
        features, motion, inside = (rows[name][:, part] for name in ("features", "motion", "inside"))
        return Conditions(
            audio=features[:, k:],
            audio_given=inside[:, k:],
            past_audio=features[:, :k],
            past_motion=motion[:, :k],
            past_given=inside[:, :k].all(1),
            gaze=rows["gaze"][:, part].float(),
            distance=rows["distance"][:, part].float(),
            emotion=rows["emotion"][:, part].float(),
            control_given=controls,
        )

    def _hearing(self, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, W) which frames are heard and which count: short stretches, missing ends, no sound at all."""
        rng, c, w = self.rng, self.config, self.model.window
        given, frames = inside.clone(), inside.clone()
        for i in range(len(inside)):
            if rng.random() < c.short_audio:
                size = int(rng.integers(10, 41))
                first = int(rng.integers(0, w - size + 1))
                given[i, :first] = False
                given[i, first + size :] = False
                frames[i] &= given[i]  # nothing is asked where nothing is heard
            elif rng.random() < c.drop_tail:
                given[i, w - int(rng.integers(1, 25)) :] = False
            if rng.random() < c.drop_audio:
                given[i] = False
        return given, frames


def lookup(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of x (T, C) at fractional positions (n,), held at the ends."""
    at = np.clip(at, 0, len(x) - 1)
    low = np.minimum(at.astype(np.int64), max(len(x) - 2, 0))
    u = (at - low)[:, None]
    return x[low] * (1 - u) + x[np.minimum(low + 1, len(x) - 1)] * u
