"""Silence is silence: where nobody speaks the mouth is closed and still.

The gate reads the energy of the speech features, not the network's opinion: pauses of at least 250 ms close the mouth smoothly. It opens a little
before the sound, as mouths do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GateConfig:
    """Thresholds on the loudness (in the feature's own unit) and times in frames at 25 fps."""

    threshold: float
    shortest_pause: int = 7  # 280 ms; stops and breaths between words stay open to the network
    lead: int = 3  # the lips part this long before the sound
    tail: int = 2
    ramp: int = 4


def speaking(loudness: np.ndarray, config: GateConfig) -> np.ndarray:
    """(T,) loudness -> (T,) bool. Pauses shorter than `shortest_pause` count as speech, and so do `lead` frames before and `tail` after it."""
    on = loudness > config.threshold
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


def gate(loudness: np.ndarray, config: GateConfig) -> np.ndarray:
    """(T,) 0..1, to multiply the mouth's motion with. Rises and falls over about `ramp` frames, reaching 0 inside pauses only."""
    on = speaking(loudness, config).astype(np.float64)
    width = config.ramp
    kernel = np.hanning(2 * width + 1)
    kernel /= kernel.sum()
    wide = np.convolve(np.pad(on, width, mode="edge"), np.ones(width + 1), mode="same")[width:-width] > 0  # half the ramp on either side
    curve = np.convolve(np.pad(wide.astype(np.float64), width, mode="edge"), kernel, mode="valid")
    return curve.clip(0, 1).astype(np.float32)
