"""Silence is silence: where nobody speaks the mouth is closed and still.

The gate does not ask the motion network: a small voice activity network reads the speech features (loudness alone will not do:
it is relative to the level heard so far, so the noise before the first word is as loud as speech). Pauses of at least 400 ms
close the mouth smoothly; it opens a little before the sound, as mouths do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VoiceActivity:
    """Two convolutions over normalised features, F -> hidden (ReLU) -> 1. weights1 (hidden, F, width), weights2 (hidden,
    width), biases.
    """

    weights1: np.ndarray
    bias1: np.ndarray
    weights2: np.ndarray
    bias2: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(T, F) normalised features -> (T,) logit, > 0 where somebody speaks. The ends are padded with zeros, as in training."""
        width = self.weights1.shape[2]
        half = width // 2
        n = len(features)
        x = np.pad(features, ((half, half), (0, 0)))
        hidden = sum(x[k : k + n] @ self.weights1[:, :, k].T for k in range(width)) + self.bias1  # (T, hidden)
        h = np.pad(np.maximum(hidden, 0), ((half, half), (0, 0)))
        return sum(h[k : k + n] @ self.weights2[:, k] for k in range(width)) + float(self.bias2[0])


@dataclass(frozen=True)
class GateConfig:
    """Threshold on the voice activity and times in frames at 25 fps."""

    threshold: float = -1.0
    shortest_pause: int = 10  # 400 ms; stops and breaths between words stay open to the network
    lead: int = 4  # the lips part this long before the sound
    tail: int = 8  # and close this long after it (measured: shorter ramps cost GRID's lips up to .04 of r)
    ramp: int = 4


def speaking(activity: np.ndarray, config: GateConfig) -> np.ndarray:
    """(T,) activity -> (T,) bool. Pauses shorter than `shortest_pause` count as speech, and so do `lead` frames before and
    `tail` after it.
    """
    on = activity > config.threshold
    edges = np.flatnonzero(np.diff(np.r_[False, on, False].astype(int)))
    starts, stops = edges[::2], edges[1::2]
    out = np.zeros(len(on), bool)
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if stop - start < 2 and (i == 0 or start - stops[i - 1] >= config.shortest_pause):
            continue  # a click
        if i and start - stops[i - 1] < config.shortest_pause:
            start = stops[i - 1]
        out[max(start - config.lead, 0) : stop + config.tail] = True
    return out


def gate(activity: np.ndarray, config: GateConfig) -> np.ndarray:
    """(T,) 0..1, to multiply the mouth's motion with. Rises and falls over about `ramp` frames, reaching 0 inside pauses only."""
    on = speaking(activity, config).astype(np.float64)
    width = config.ramp
    kernel = np.hanning(2 * width + 1)
    kernel /= kernel.sum()
    # half the ramp on either side
    wide = np.convolve(np.pad(on, width, mode="edge"), np.ones(width + 1), mode="same")[width:-width] > 0
    curve = np.convolve(np.pad(wide.astype(np.float64), width, mode="edge"), kernel, mode="valid")
    return curve.clip(0, 1).astype(np.float32)
