"""What single rendered frames show, measured by tools that know nothing of the request: gaze, distance, facial actions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.motion.basis import EYE_RADIUS, DynamicsBasis, euler

# FACS unit -> (blendshape scores of MediaPipe that show it, landmark measure or "")
UNITS: dict[str, tuple[tuple[str, ...], str]] = {
    "AU1": (("browInnerUp",), "inner brows"),
    "AU2": (("browOuterUpLeft", "browOuterUpRight"), "outer brows"),
    "AU4": (("browDownLeft", "browDownRight"), ""),
    "AU5": (("eyeWideLeft", "eyeWideRight"), "eyes wide"),
    "AU6": (("cheekSquintLeft", "cheekSquintRight"), "cheeks"),
    "AU7": (("eyeSquintLeft", "eyeSquintRight"), ""),
    "AU9": (("noseSneerLeft", "noseSneerRight"), "nose wings"),
    "AU12": (("mouthSmileLeft", "mouthSmileRight"), "corners up"),
    "AU12L": (("mouthSmileLeft", "mouthSmileRight"), "left corner up"),
    "AU14L": (("mouthDimpleLeft", "mouthDimpleRight"), ""),
    "AU15": (("mouthFrownLeft", "mouthFrownRight"), "corners down"),
    "AU20": (("mouthStretchLeft", "mouthStretchRight"), "width"),
    "AU24": (("mouthPressLeft", "mouthPressRight"), ""),
    "AU26": (("jawOpen",), "opening"),
}
# FACS combinations of the emotions (Ekman & Friesen), as the issue names them; 23 shows in the same score as 24
EMOTION_UNITS: dict[str, tuple[str, ...]] = {
    "happy": ("AU6", "AU12"),
    "sad": ("AU1", "AU4", "AU15"),
    "angry": ("AU4", "AU5", "AU7", "AU24"),
    "surprised": ("AU1", "AU2", "AU5", "AU26"),
    "afraid": ("AU1", "AU2", "AU4", "AU5", "AU20", "AU26"),
    "disgusted": ("AU9", "AU15"),
    "contempt": ("AU12L", "AU14L"),
}


@dataclass(frozen=True)
class Look:
    """One or more frames as tracked: marks (T, 478, 3) in image widths (NaN without a face), scores: name -> (T,)."""

    marks: np.ndarray
    scores: dict[str, np.ndarray]


class Looker:
    """MediaPipe's face landmarker with blendshape scores, each frame on its own."""

    def __init__(self, model: Path) -> None:
        os.environ.setdefault("GLOG_minloglevel", "3")
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)), running_mode=vision.RunningMode.IMAGE,
            output_face_blendshapes=True, min_face_detection_confidence=0.3,
        )  # fmt: skip
        self._tracker: Any = vision.FaceLandmarker.create_from_options(options)

    def __call__(self, frames: Iterable[np.ndarray]) -> Look:
        """Batches (B, H, W, 3) uint8 -> what is seen."""
        import mediapipe as mp

        marks, scores = [], []
        for batch in frames:
            for image in batch:
                found = self._tracker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image)))
                if found.face_landmarks:
                    marks.append([[p.x, p.y, p.z] for p in found.face_landmarks[0]])
                    scores.append({b.category_name: b.score for b in found.face_blendshapes[0]})
                else:
                    marks.append(np.full((478, 3), np.nan).tolist())
                    scores.append({})
        names = sorted({k for s in scores for k in s})
        return Look(np.array(marks, np.float32), {k: np.array([s.get(k, np.nan) for s in scores], np.float32) for k in names})


def eye_angles(marks: np.ndarray, neutral: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """Landmarks (T, 478, 3), any unit -> (T, 2) degrees in the head, yaw (+ right of the picture) and pitch (+ up): eyeballs of
    EYE_RADIUS whose iris centres have moved, in the picture, from where the neutral (478, 3) turned like the head has them
    between the eyes' corners. The tracker's depth of irises, which it does not measure, plays no part. NaN without a face."""
    out = np.full((len(marks), 2), np.nan)
    seen = np.isfinite(marks[:, 0, 0])
    if not seen.any():
        return out
    _, (rot, scale, _) = basis.align(marks[seen], neutral)
    moved = []
    for iris, corners in ((468, (33, 133)), (473, (362, 263))):
        found = (marks[seen, iris] - marks[seen][:, corners].mean(1))[:, :2] / scale[:, None]
        still = ((neutral[iris] - neutral[list(corners)].mean(0)) @ rot.transpose(0, 2, 1))[:, :2]
        moved.append(np.linalg.solve(rot[:, :2, :2], (found - still)[..., None])[..., 0])
    shift = np.clip(np.mean(moved, 0) / EYE_RADIUS, -0.95, 0.95)
    out[seen] = np.degrees(np.arcsin(shift * [1.0, -1.0]))
    return out


@dataclass(frozen=True)
class EyeGauge:
    """Per portrait: degrees = measured @ matrix + offset, fitted on still renders of known gaze; residual: rms degrees there."""

    matrix: np.ndarray
    offset: np.ndarray
    residual: float

    def __call__(self, measured: np.ndarray) -> np.ndarray:
        return measured @ self.matrix + self.offset


def fit_gauge(measured: np.ndarray, asked: np.ndarray) -> EyeGauge:
    """Least squares of asked (N, 2) on measured (N, 2) and a constant; frames without a face (NaN) are left out."""
    ok = np.isfinite(measured).all(1)
    a = np.c_[measured[ok], np.ones(ok.sum())]
    c = np.linalg.lstsq(a, asked[ok], rcond=None)[0]
    return EyeGauge(c[:2], c[2], float(np.sqrt(((a @ c - asked[ok]) ** 2).sum(1).mean())))


def head_of(marks: np.ndarray, neutral: np.ndarray, basis: DynamicsBasis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical landmarks (T, 478, 3), head angles (T, 3) in degrees, size (T,) of the face; NaN without a face."""
    seen = np.isfinite(marks[:, 0, 0])
    canonical = np.full(marks.shape, np.nan, np.float32)
    angles, size = np.full((len(marks), 3), np.nan), np.full(len(marks), np.nan)
    if seen.any():
        canonical[seen], (rot, scale, _) = basis.align(marks[seen], neutral)
        angles[seen], size[seen] = np.degrees(euler(rot)), scale
    return canonical, angles, size


def landmark_measure(name: str, canonical: np.ndarray) -> np.ndarray:
    """(T, 478, 3) -> (T,) in IOD, growing with the action (y points down)."""
    y = canonical[..., 1]
    mouth = (y[:, 0] + y[:, 17]) / 2

    def up(*points: int) -> np.ndarray:
        return np.asarray(-y[:, list(points)].mean(1))

    table = {
        "inner brows": lambda: up(55, 107, 285, 336),
        "outer brows": lambda: up(46, 53, 276, 283),
        "eyes wide": lambda: y[:, [145, 374]].mean(1) - y[:, [159, 386]].mean(1),
        "cheeks": lambda: up(118, 347),
        "nose wings": lambda: up(64, 294),
        "corners up": lambda: mouth - y[:, [61, 291]].mean(1),
        "left corner up": lambda: y[:, 291] - y[:, 61],
        "corners down": lambda: y[:, [61, 291]].mean(1) - mouth,
        "width": lambda: np.linalg.norm(canonical[:, 61, :2] - canonical[:, 291, :2], axis=-1),
        "opening": lambda: y[:, 14] - y[:, 13],
    }
    return np.asarray(table[name]())


def unit_levels(unit: str, look: Look, canonical: np.ndarray) -> dict[str, float]:
    """Mean over frames of a unit's blendshape score ("score") and landmark measure ("landmark", where there is one)."""
    channels, measure = UNITS[unit]
    scores = [look.scores[c] for c in channels if c in look.scores]
    # one-sided units: the stronger side
    mean = np.nanmax([np.nanmean(s) for s in scores]) if unit.endswith("L") else np.nanmean([np.nanmean(s) for s in scores])
    out = {"score": float(mean)}
    return out | ({"landmark": float(np.nanmean(landmark_measure(measure, canonical)))} if measure else {})


def rising(levels: np.ndarray, least: float, slack: float) -> tuple[bool, bool]:
    """At rising intensities: does the last level exceed the first by `least`, and does no step fall by more than `slack`?"""
    return bool(levels[-1] - levels[0] >= least), bool((np.diff(levels) >= -slack).all())
