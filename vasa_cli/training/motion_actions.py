"""Facial actions (FACS action units) as directions of the dynamics basis.

Where the tracker's 52 blendshape scores are alive in the data, an action is the ridge regression of symmetric landmark
displacement on the scores; where they are dead (nose sneer, mouth frown, cheek raise), it is a displacement drawn by hand on
the mean face and encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.rest import neutral_of, region_masks
from vasa_cli.training.motion_basis import mirrored
from vasa_cli.training.motion_clips import smooth

# action -> (blendshape channels without Left/Right, blocks that it may move, size of a full action as a score)
REGRESSED = {
    "AU1": (("browInnerUp",), ("brows", "lids"), 0.8),
    "AU2": (("browOuterUp",), ("brows", "lids"), 0.8),
    "AU4": (("browDown",), ("brows", "lids"), 0.8),
    "AU5": (("eyeWide",), ("lids",), 0.7),
    "AU7": (("eyeSquint",), ("lids",), 0.7),
    "AU10": (("mouthUpperUp",), ("mouth",), 0.6),
    "AU12": (("mouthSmile",), ("mouth",), 0.8),
    "AU14": (("mouthDimple",), ("mouth",), 0.6),
    "AU24": (("mouthPress",), ("mouth",), 0.3),
}
RIDGE = 4.0


@dataclass(frozen=True)
class Stroke:
    """Part of a hand-drawn action: landmarks around `centre` (a landmark index and its mirror image) move by `shift` (x
    outward, y down) IOD.
    """

    centre: int
    shift: tuple[float, float]
    radius: float


DRAWN = {
    "AU6": (Stroke(118, (0.01, -0.035), 0.13), Stroke(145, (0.0, -0.022), 0.06), Stroke(159, (0.0, 0.008), 0.05)),
    "AU9": (
        Stroke(64, (0.012, -0.035), 0.09),
        Stroke(37, (0.008, -0.02), 0.1),
        Stroke(245, (0.0, -0.012), 0.08),
        Stroke(55, (-0.015, 0.02), 0.1),
    ),
    "AU15": (Stroke(61, (-0.004, 0.05), 0.11), Stroke(17, (0.0, -0.015), 0.08)),
    "AU20": (Stroke(61, (0.06, 0.012), 0.14), Stroke(17, (0.0, 0.01), 0.1)),
}


def measure_scores(videos: Path, model: Path, cache: Path) -> list[Path]:
    """Track every mp4 of a folder with MediaPipe's face landmarker (task file with blendshapes) -> npz files in `cache`, kept
    between runs.
    """
    files = []
    for video in sorted(videos.glob("*.mp4")):
        out = cache / f"bs_{video.stem}.npz"
        if not out.is_file():
            marks, scores, names = _track(video, model)
            np.savez(out, landmarks=marks, scores=scores, names=np.array(names))
        files.append(out)
    return files


def _track(video: Path, model: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Landmarks (T, 478, 3) in image widths, blendshape scores (T, 52) and their names."""
    import av
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)), running_mode=vision.RunningMode.VIDEO, output_face_blendshapes=True
    )
    marks, scores, names = [], [], []
    with vision.FaceLandmarker.create_from_options(options) as tracker, av.open(str(video)) as container:
        fps = float(container.streams.video[0].average_rate or 25)
        for i, frame in enumerate(container.decode(video=0)):
            image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
            found = tracker.detect_for_video(mp.Image(image_format=mp.ImageFormat.SRGB, data=image), int(i * 1000 / fps))
            if found.face_landmarks:
                ratio = image.shape[0] / image.shape[1]
                marks.append([[p.x, p.y * ratio, p.z] for p in found.face_landmarks[0]])
                scores.append([b.score for b in found.face_blendshapes[0]])
                names = [b.category_name for b in found.face_blendshapes[0]]
    return np.array(marks, np.float32), np.array(scores, np.float32), names


def draw(strokes: tuple[Stroke, ...], shape: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(478, 3) symmetric displacement of Gaussian strokes on the mean face."""
    field = np.zeros_like(shape)
    for s in strokes:
        weight = np.exp(-((shape - shape[s.centre]) ** 2).sum(-1) / (2 * s.radius**2))[:, None]
        outward = np.sign(shape[s.centre, 0]) if abs(shape[s.centre, 0]) > 0.02 else 0.0
        one = weight * np.array([outward * s.shift[0], s.shift[1], 0.0])
        field = field + one + (mirrored(one, mirror) if outward else 0)
    field[468:] = 0
    return field


def read_scores(paths: list[Path], basis: DynamicsBasis) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """npz with landmarks (T, 478, 3), scores (T, 52), names (52,) -> z (N, K) and symmetric scores (N, C), both centred per
    clip, channel names.
    """
    masks = region_masks(basis.mean_shape, 0.07)
    zs, scores, channels = [], [], []
    for path in paths:
        data = np.load(path)
        canonical = smooth(basis.align_clip(data["landmarks"])[0])
        neutral = neutral_of(canonical, masks)
        d = canonical - neutral
        z = basis.encode_person(0.5 * (d + mirrored(d, basis.mirror)), neutral)
        names = [str(n) for n in data["names"]]
        channels = sorted({n.removesuffix("Left").removesuffix("Right") for n in names} - {"_neutral", "jaw", "mouth"})
        s = np.stack(
            [data["scores"][:, [i for i, n in enumerate(names) if n in (c, c + "Left", c + "Right")]].mean(1) for c in channels],
            1,
        )
        zs.append(z - z.mean(0))
        scores.append(s - s.mean(0))
    return np.concatenate(zs), np.concatenate(scores), channels


def fit_actions(paths: list[Path], basis: DynamicsBasis) -> dict[str, np.ndarray]:
    """Action name -> (K,) z of the full action."""
    z, s, channels = read_scores(paths, basis)
    slopes = np.linalg.solve(s.T @ s + RIDGE * np.eye(len(channels)), s.T @ z)  # (C, K)
    out = {}
    for name, (used, blocks, size) in REGRESSED.items():
        keep = np.zeros(basis.size, np.float32)
        for block in blocks:
            keep[basis.blocks[block]] = 1
        out[name] = (size * slopes[[channels.index(u) for u in used]].sum(0) * keep).astype(np.float32)
    for name, strokes in DRAWN.items():
        out[name] = basis.encode(draw(strokes, basis.mean_shape, basis.mirror))
        out[name][basis.blocks["gaze"]] = 0
    out["AU26"] = 0.16 * basis.mouth_open_direction
    for name in ("AU12", "AU14"):  # one-sided versions for contempt: the half on the left of the picture
        half = 1 / (1 + np.exp(basis.mean_shape[:, :1] / 0.05))
        out[name + "L"] = basis.encode(basis.decode(out[name]) * half)
    return out


def with_actions(basis: DynamicsBasis, paths: list[Path]) -> DynamicsBasis:
    """The basis with its action directions."""
    return replace(basis, au_directions=fit_actions(paths, basis)) if paths else basis
