"""Clips with sound and lips, for the probe of the speech features and the lips that the student is taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.speech.mel import MELS_PER_FRAME, mel_power_db, pad_whole
from vasa_cli.training.motion_clips import read_clip, resample

OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415)
LIPS = OUTER_LIPS + INNER_LIPS
JAW = (152, 148, 377, 176, 400, 149, 378, 150, 379, 200, 199, 175, 18, 17)
FRAME_SAMPLES = 640


def is_heldout(index: int) -> bool:
    """The tenth of GRID that nothing is ever trained on: clips counted in sorted name order."""
    return index % 10 == 9


@dataclass(frozen=True)
class LipClip:
    """One clip at 25 fps.

    samples (N,) float32 16 kHz; opening, width (T,) in IOD; lips (T, 3 L) IOD, flattened lip and jaw points.
    """

    name: str
    source: str
    samples: np.ndarray
    opening: np.ndarray
    width: np.ndarray
    lips: np.ndarray

    @property
    def frames(self) -> int:
        """Frames that have both sound and lips."""
        return min(len(self.opening), -(-len(self.samples) // FRAME_SAMPLES))


def read_lip_clip(path: Path, basis: DynamicsBasis) -> LipClip | None:
    """A tracked clip with its sound, head pose removed (rigid Procrustes on the stable points). None without sound."""
    import soundfile

    clip = read_clip(path)
    if clip.audio is None:
        return None
    samples, rate = soundfile.read(clip.audio, dtype="float32")
    if rate != 16000:
        raise ValueError(f"{clip.audio.name}: {rate} Hz, expected 16000")
    canonical, _ = basis.align_clip(clip.landmarks)  # (T, 478, 3), IOD
    canonical = resample(canonical[:, list(LIPS + JAW)], clip.time - clip.time[0])
    point = {v: i for i, v in enumerate(LIPS)}
    opening = np.linalg.norm(canonical[:, point[13], :2] - canonical[:, point[14], :2], axis=1)
    width = np.linalg.norm(canonical[:, point[61], :2] - canonical[:, point[291], :2], axis=1)
    return LipClip(clip.name, clip.source, samples, opening, width, canonical.reshape(len(canonical), -1))


def read_lip_clips(data: Path, source: str) -> list[LipClip]:
    """All clips of a source (folder of `data`) that have sound, in sorted name order."""
    basis = DynamicsBasis.load()
    clips = (read_lip_clip(p, basis) for p in sorted((data / source).glob("*.npz")))
    return [c for c in clips if c is not None]


def mel_of(samples: np.ndarray, frames: int | None = None) -> torch.Tensor:
    """Mel dB (4 T, 80) of a whole recording; T = frames, or every frame that the samples touch."""
    frames = frames or -(-len(samples) // FRAME_SAMPLES)
    n = frames * MELS_PER_FRAME
    return mel_power_db(pad_whole(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)), n))
