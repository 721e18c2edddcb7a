"""own-sync: do this mouth and this sound belong together, and how far apart in time are they?

After Chung & Zisserman, "Out of time: automated lip sync in the wild", 2016 (SyncNet), but in motion space: two small
convolutional towers, one over the mouth's numbers of the dynamics basis, one over log-mel (not over the product's speech
features: a judge should not hear with the ears of the one it judges), trained with InfoNCE so that the frame that belongs lies
nearer than its neighbours in time and than the same moment of other clips.

Not comparable with SyncNet's LSE-D and LSE-C: other inputs, other training, other scale. Only rows of one table compare.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vasa_cli.speech.mel import MELS_PER_FRAME, N_MELS

REACH = 15  # frames to either side over which the best offset is looked for, as SyncNet does


@dataclass(frozen=True)
class SyncConfig:
    """motion, sound: numbers a frame (motion at 25 Hz, sound at 100 Hz or 25 Hz); width of the towers; size of the embedding."""

    motion: int = 8
    sound: int = N_MELS
    sound_rate: int = MELS_PER_FRAME  # sound vectors a frame
    width: int = 96
    size: int = 64
    dropout: float = 0.2


class SyncNet(nn.Module):
    """Two towers; every output frame sees 13 frames of motion and about as much sound."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.config, w = config, config.width
        self.motion = nn.Sequential(
            nn.Conv1d(config.motion, w, 5, padding=2), nn.GELU(), nn.Dropout(config.dropout),
            nn.Conv1d(w, w, 5, padding=2), nn.GELU(), nn.Dropout(config.dropout),
            nn.Conv1d(w, w, 5, padding=2), nn.GELU(),
            nn.Conv1d(w, config.size, 1),
        )  # fmt: skip
        k = config.sound_rate
        self.sound = nn.Sequential(
            nn.Conv1d(config.sound, w, 5, padding=2), nn.GELU(), nn.Dropout(config.dropout),
            nn.Conv1d(w, w, k, stride=k), nn.GELU(), nn.Dropout(config.dropout),
            nn.Conv1d(w, w, 5, padding=2), nn.GELU(), nn.Dropout(config.dropout),
            nn.Conv1d(w, w, 5, padding=2), nn.GELU(),
            nn.Conv1d(w, config.size, 1),
        )  # fmt: skip
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def embed_motion(self, x: Tensor) -> Tensor:
        """(B, T, M) -> (B, T, E) of unit length."""
        return nn.functional.normalize(self.motion(x.transpose(1, 2)).transpose(1, 2), dim=-1)

    def embed_sound(self, x: Tensor) -> Tensor:
        """(B, T * sound_rate, S) -> (B, T, E) of unit length."""
        return nn.functional.normalize(self.sound(x.transpose(1, 2)).transpose(1, 2), dim=-1)


def contrastive_loss(motion: Tensor, sound: Tensor, log_scale: Tensor, reach: int = REACH) -> Tensor:
    """InfoNCE both ways. (B, T, E) each. Negatives of a frame: the other side at other times of the same clip, 2 to `reach`
    frames off (the next frame is too much alike to count), and the same moment of all other clips of the batch (sentences of one
    rhythm differ there in sound only)."""
    b, t, _ = motion.shape
    scale = log_scale.exp().clamp(max=50)
    lag = (torch.arange(t)[:, None] - torch.arange(t)).abs()
    unused = (lag == 1) | (lag > reach)  # (T, T)
    within = (scale * motion @ sound.transpose(1, 2)).masked_fill(unused, -1e9)  # (B, T, T)
    across = scale * torch.einsum("bte,cte->btc", motion, sound)  # (B, T, B)
    own = torch.eye(b, dtype=torch.bool)[:, None]
    total = torch.zeros(())
    for near, far in ((within, across), (within.transpose(1, 2), across.permute(2, 1, 0))):
        logits = torch.cat([near, far.masked_fill(own, -1e9)], -1)  # (B, T, T + B)
        target = torch.arange(t).repeat(b)
        total = total + nn.functional.cross_entropy(logits.reshape(b * t, -1), target)
    return total / 2


@dataclass(frozen=True)
class SyncScore:
    """confidence: median over offsets of the mean distance, less the smallest; distance: the smallest; offset: frames by which
    the motion comes late (> 0) or early; cosine: mean cosine at that offset."""

    confidence: float
    distance: float
    offset: int
    cosine: float


def offset_curve(motion: np.ndarray, sound: np.ndarray, reach: int = REACH) -> np.ndarray:
    """(T, E) unit embeddings -> (2 reach + 1,) mean Euclidean distance of motion[t + k] and sound[t], k from -reach."""
    n = min(len(motion), len(sound))
    reach = min(reach, n - 3)
    out = []
    for k in range(-reach, reach + 1):
        a, b = (motion[k:n], sound[: n - k]) if k >= 0 else (motion[: n + k], sound[-k:n])
        out.append(float(np.linalg.norm(a - b, axis=-1).mean()))
    return np.array(out)


def score_curve(curve: np.ndarray) -> tuple[float, float, int]:
    """Confidence, distance, offset of an offset curve."""
    best = int(curve.argmin())
    return float(np.median(curve) - curve[best]), float(curve[best]), best - len(curve) // 2


@dataclass(frozen=True)
class SyncJudge:
    """Trained nets, whose offset curves are averaged, and what brings motion to unit size: motion_std (M,)."""

    nets: tuple[SyncNet, ...]
    motion_std: np.ndarray

    @torch.inference_mode()
    def hear(self, sound: np.ndarray) -> list[np.ndarray]:
        """(T * rate, S) normalised sound vectors -> (T, E) a net."""
        x = torch.from_numpy(np.ascontiguousarray(sound, np.float32))[None]
        return [net.embed_sound(x)[0].numpy() for net in self.nets]

    @torch.inference_mode()
    def see(self, motion: np.ndarray) -> list[np.ndarray]:
        """(T, >= M) motion in its own unit -> (T, E) a net."""
        m = len(self.motion_std)
        x = torch.from_numpy((motion[:, :m] / self.motion_std).astype(np.float32))[None]
        return [net.embed_motion(x)[0].numpy() for net in self.nets]

    def compare(self, seen: list[np.ndarray], heard: list[np.ndarray], reach: int = REACH) -> SyncScore:
        """Embeddings of `see` and `hear`, which may be reused in many pairs."""
        curve = np.mean([offset_curve(a, b, reach) for a, b in zip(seen, heard, strict=True)], 0)
        confidence, distance, offset = score_curve(curve)
        return SyncScore(confidence, distance, offset, float(np.mean(self.agreement(seen, heard, offset))))

    def agreement(self, seen: list[np.ndarray], heard: list[np.ndarray], offset: int = 0) -> np.ndarray:
        """(n,) cosine of motion[t + offset] and sound[t], mean over the nets."""
        n = min(len(seen[0]), len(heard[0]))
        first, last = max(0, -offset), n - max(0, offset)
        pairs = [(a[first + offset : last + offset] * b[first:last]).sum(-1) for a, b in zip(seen, heard, strict=True)]
        return np.asarray(np.mean(pairs, 0))

    def score(self, motion: np.ndarray, sound: np.ndarray, reach: int = REACH) -> SyncScore:
        """Motion (T, M) against normalised sound vectors (T * rate, S)."""
        return self.compare(self.see(motion), self.hear(sound), reach)

    def save(self, path: Path) -> None:
        """One file of tensors and numbers."""
        raw = {"nets": [n.state_dict() for n in self.nets], "config": asdict(self.nets[0].config)}
        torch.save(raw | {"motion_std": torch.from_numpy(np.asarray(self.motion_std, np.float32))}, path)

    @classmethod
    def load(cls, path: Path) -> SyncJudge:
        """What `save` wrote (no code is read, tensors and numbers only)."""
        raw = torch.load(path, weights_only=True)
        nets = []
        for state in raw["nets"]:
            nets.append(SyncNet(SyncConfig(**raw["config"])))
            nets[-1].load_state_dict(state)
        return cls(tuple(n.eval() for n in nets), raw["motion_std"].numpy())
