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
# What rendered portraits asked for on top (blendshape scores of five portraits, and looking at them): added when a motion is
# finished. The motion network learned COMBINATIONS; fold these in when it is trained again.
STRONGER: dict[str, dict[str, float]] = {
    "happy": {"AU6": 0.3, "AU12": 0.3},
    "sad": {"AU1": 0.4, "AU15": 0.2},
    "angry": {"AU4": 0.2, "AU9": 0.4},
    "afraid": {"AU1": 0.3, "AU4": 0.3, "AU5": 0.3, "AU20": 0.6},
    "disgusted": {"AU9": 0.9, "AU10": 0.6, "AU4": 0.4, "AU7": 0.5},
    "contempt": {"AU14L": 0.3},
}


def directions(basis: DynamicsBasis, combinations: dict[str, dict[str, float]] = COMBINATIONS) -> np.ndarray:
    """(7, K) z of each full emotion, in the order of EMOTIONS. Zeros where the basis carries no action directions."""
    out = np.zeros((len(EMOTIONS), basis.size), np.float32)
    for i, name in enumerate(EMOTIONS):
        for action, weight in combinations.get(name, {}).items():
            if action in basis.au_directions:
                out[i] += weight * basis.au_directions[action]
    return out


def offsets(weights: np.ndarray, basis: DynamicsBasis, combinations: dict[str, dict[str, float]] = COMBINATIONS) -> np.ndarray:
    """(T, 7) emotion weights 0..1 -> (T, K) offset of z_dyn. Weights that sum to more than 1 are scaled back to 1: faces have
    limits.
    """
    total = np.maximum(weights.sum(-1, keepdims=True), 1.0)
    return (weights / total).astype(np.float32) @ directions(basis, combinations)


# ---------------------------------------------------------------------------------------------------- with speech

WIDE = 0.05  # IOD of lip opening in speech at which half of an emotion's own opening shows


def lip_gap(z: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(..., K) -> (...) IOD by which the inner lips (landmarks 13, 14) stand apart, < 0 where they press."""
    rows = basis.directions[:, 14, 1] - basis.directions[:, 13, 1]
    return np.asarray(np.asarray(z, np.float32) @ rows)


def without_opening(z: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(..., K) with lips neither parted nor pressed: what it opens is taken back along the mean opening of the mouth."""
    if not len(basis.mouth_open_direction):
        return z
    return np.asarray(z - lip_gap(z, basis)[..., None] * basis.mouth_open_direction, np.float32)


def give_way(z: np.ndarray, spoken: np.ndarray, emotions: np.ndarray, opened: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """z (T, K) to which emotion offsets (T, 7 weights) were added -> the same, STRONGER, with the emotion's mouth giving way to
    speech.

    spoken (T,): lip opening that the speech alone asks for, IOD; opened (T,) 0..1: the silence gate. While somebody speaks, a
    dropped jaw (AU26) or raised lip (AU10) opens the mouth only as far as speech has opened it (none of it in a closure), and
    pressed lips (AU24) press only where speech closes them. The rest of the emotion (corners, cheeks) is as it was.
    """
    if not len(basis.mouth_open_direction) or not emotions.any():
        return z
    more = offsets(emotions, basis, STRONGER)
    own = lip_gap(offsets(emotions, basis) + more, basis)  # (T,)
    wide = np.maximum(spoken, 0) ** 2
    open_share = wide / (wide + WIDE**2)
    kept = np.where(own > 0, open_share, 1 - open_share)
    change = -own * opened * (1 - kept)
    return np.asarray(z + more + change[:, None] * basis.mouth_open_direction, np.float32)
