"""FACEGOOD's artist-made rig curves as a second real voice: lip opening and mouth width by channel name, turned into mouth
numbers.

The rig has no landmarks, so only these two measures are trusted; everything else about the mouth is GRID's mean for that
opening and width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vasa_cli.training.motion_clips import resample

OPEN = {"mouth_stretch_c": 1.0, "mouth_lowerLipDepress_l": 0.5, "mouth_lowerLipDepress_r": 0.5, "mouth_upperLipRaise_l": 0.5}
OPEN |= {"mouth_upperLipRaise_r": 0.5, "mouth_press_l": -0.5, "mouth_press_r": -0.5}
WIDE = {"mouth_lipStretch_l": 0.5, "mouth_lipStretch_r": 0.5, "mouth_oh_c": -1.0, "mouth_pucker_l": -0.5, "mouth_pucker_r": -0.5}
WIDE |= {"mouth_funnel_dl": -0.25, "mouth_funnel_dr": -0.25, "mouth_funnel_ul": -0.25, "mouth_funnel_ur": -0.25}


def rig_curves(path: Path, names: list[str], fps: float = 25.0) -> np.ndarray:
    """One npz (weights (T, 116) at its own rate) -> (T', 2) opening and width in rig units at `fps`."""
    z = np.load(path)
    weights = z["weights"]
    curves = np.stack([sum(k * weights[:, names.index(n)] for n, k in mix.items()) for mix in (OPEN, WIDE)], 1)
    return resample(curves, np.arange(len(curves)) / float(z["fps"]), fps)


def mouth_from_lips(mouths: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Least squares: GRID's mouth numbers (T, M) on opening and width (T, 2) less their resting values -> (2, M)."""
    return np.linalg.lstsq(lips, mouths, rcond=None)[0]


def rig_mouths(folder: Path, mouths: np.ndarray, lips: np.ndarray) -> dict[str, np.ndarray]:
    """clip name -> (T, M) mouth numbers. The rig's curves are given GRID's spread (lips (N, 2): opening and width about rest)
    and its rest.
    """
    names = [line.strip() for line in (folder / "channel_names.txt").read_text(encoding="utf-8").splitlines()]
    curves = {p.stem: rig_curves(p, names) for p in sorted(folder.glob("*.npz"))}
    everything = np.concatenate(list(curves.values()))
    rest = np.median(everything, axis=0)
    scale = lips.std(0) / everything.std(0)
    slope = mouth_from_lips(mouths, lips)
    return {k: (((c - rest) * scale).clip([0.0, -1.0], 1.0) @ slope).astype(np.float32) for k, c in curves.items()}
