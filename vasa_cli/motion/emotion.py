"""Emotion offsets: each emotion is a combination of FACS action units, each unit a direction of the dynamics basis.

Combinations after Ekman and Friesen, as in EMFACS: happiness 6+12, sadness 1+4+15, anger 4+5+7+23, surprise 1+2+5+26, fear
1+2+4+5+20+26, disgust 9+15, contempt 12+14 on one side. Weights below are amplitudes of a full (1.0) emotion, mild enough to
speak with: the offset is added to what the speech asks of the mouth (VASA-1: "emotion offset", it tints the talk and does not
override it).
"""

from __future__ import annotations

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import EMOTIONS

COMBINATIONS: dict[str, dict[str, float]] = {
    "happy": {"AU6": 0.8, "AU12": 0.8},
    "sad": {"AU1": 0.9, "AU4": 0.3, "AU15": 1.0},
    "angry": {"AU4": 1.0, "AU5": 0.3, "AU7": 0.5, "AU24": 0.8},
    "surprised": {"AU1": 1.0, "AU2": 1.0, "AU5": 1.0, "AU26": 0.6},
    "afraid": {"AU1": 1.0, "AU2": 0.6, "AU4": 0.5, "AU5": 1.0, "AU20": 0.8, "AU26": 0.4},
    "disgusted": {"AU9": 1.0, "AU10": 0.5, "AU15": 0.5, "AU4": 0.3},
    "contempt": {"AU12L": 0.9, "AU14L": 0.8},
}


def directions(basis: DynamicsBasis) -> np.ndarray:
    """(7, K) z of each full emotion, in the order of EMOTIONS. Zeros where the basis carries no action directions."""
    out = np.zeros((len(EMOTIONS), basis.size), np.float32)
    for i, name in enumerate(EMOTIONS):
        for action, weight in COMBINATIONS[name].items():
            if action in basis.au_directions:
                out[i] += weight * basis.au_directions[action]
    return out


def offsets(weights: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T, 7) emotion weights 0..1 -> (T, K) offset of z_dyn. Weights that sum to more than 1 are scaled back to 1: faces have
    limits.
    """
    total = np.maximum(weights.sum(-1, keepdims=True), 1.0)
    return (weights / total).astype(np.float32) @ directions(basis)
