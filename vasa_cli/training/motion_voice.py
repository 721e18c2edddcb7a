"""Training the voice activity network of the silence gate, on labels from the clean sound's energy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from vasa_cli.motion.silence import VoiceActivity

HIDDEN, WIDTH = 24, 7
FRAME = 640  # samples


def loud_frames(path: Path, frames: int) -> np.ndarray:
    """(T,) bool: the sound's energy in a 40 ms frame is above the noise, judged over the whole recording at 16 kHz (which only
    training can see).
    """
    import soundfile

    return loud_samples(soundfile.read(str(path), dtype="float32")[0], frames)


def loud_samples(samples: np.ndarray, frames: int) -> np.ndarray:
    """The same from the samples (N,) at 16 kHz."""
    padded = np.zeros(frames * FRAME, np.float32)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    level = 10 * np.log10((padded.reshape(frames, FRAME) ** 2).mean(1) + 1e-10)
    level = np.convolve(np.pad(level, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    high, low = np.quantile(level, 0.95), np.quantile(level, 0.05)
    return level > max(low + 0.35 * (high - low), high - 38.0, -55.0)


def with_silence(path: Path, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels of a recording with up to 1.6 s of nothing, or of faint noise, before and after, as editors and speech
    synthesisers leave it.
    """
    import soundfile

    samples, _ = soundfile.read(str(path), dtype="float32")
    samples = np.pad(samples, (0, max(0, frames * FRAME - len(samples))))[: frames * FRAME]
    before, after = (int(n) for n in rng.integers(5, 40, 2))
    faint = 10.0 ** rng.uniform(-6.0, -2.7, 2) * (rng.random(2) < 0.7)
    parts = [faint[0] * rng.standard_normal(before * FRAME), samples, faint[1] * rng.standard_normal(after * FRAME)]
    none = np.zeros(before, bool), np.zeros(after, bool)
    return np.concatenate(parts).astype(np.float32), np.concatenate([none[0], loud_frames(path, frames), none[1]])


def fit_voice(pairs: list[tuple[np.ndarray, np.ndarray]], steps: int = 600, seed: int = 0) -> tuple[VoiceActivity, float]:
    """(features (T, F) normalised, labels (T,)) pairs -> network and its accuracy on the last tenth of the pairs (not trained
    on).
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    cut = max(len(pairs) * 9 // 10, 1)
    size = pairs[0][0].shape[1]
    net = nn.Sequential(
        nn.Conv1d(size, HIDDEN, WIDTH, padding=WIDTH // 2), nn.ReLU(), nn.Conv1d(HIDDEN, 1, WIDTH, padding=WIDTH // 2)
    )
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.05)
    for _ in range(steps):
        x, y = _crops([pairs[i] for i in rng.integers(0, cut, 24)], 64, rng)
        loss = nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    tensors = [p.detach().numpy() for p in net.parameters()]
    voice = VoiceActivity(tensors[0], tensors[1], tensors[2][0], tensors[3])
    right = np.concatenate([(voice(f) > 0) == y for f, y in pairs[cut:] or pairs])
    return voice, float(right.mean())


def _crops(rows: list[tuple[np.ndarray, np.ndarray]], length: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random stretches (B, F, length) and labels (B, length); silence is put before some and after some, as real recordings
    have it.
    """
    xs, ys = [], []
    for features, labels in rows:
        start = int(rng.integers(0, max(len(labels) - length, 0) + 1))
        x, y = features[start : start + length], labels[start : start + length].astype(np.float32)
        x = np.pad(x, ((0, length - len(x)), (0, 0)), mode="edge")
        xs.append(x + 0.1 * rng.standard_normal(x.shape))
        ys.append(np.pad(y, (0, length - len(y)), mode="edge"))
    return torch.from_numpy(np.stack(xs).astype(np.float32)).transpose(1, 2), torch.from_numpy(np.stack(ys))
