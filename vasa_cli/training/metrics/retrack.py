"""A motion shown on a portrait by our decoder and tracked again: what of it can still be seen in the picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.rest import region_masks
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.training.motion_clips import Clip
from vasa_cli.training.motion_data import Sequence, to_sequence


def face_of(photo: Path, cache: Path) -> FaceLatent:
    """The encoded portrait, from the product's own cache format in `cache`."""
    from vasa_cli.portrait.cache import FaceCache

    return FaceCache(cache / "faces").get_or_encode(photo)[0]


def astronaut(folder: Path) -> Path:
    """scikit-image's public-domain portrait as a file."""
    from PIL import Image
    from skimage import data

    path = folder / "astronaut.png"
    if not path.is_file():
        Image.fromarray(data.astronaut()).save(path)
    return path


class VideoTracker:
    """mediapipe's face mesh over the frames of one clip after another."""

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "3")
        import mediapipe

        options = {"static_image_mode": False, "max_num_faces": 1, "refine_landmarks": True, "min_detection_confidence": 0.4}
        self._mesh: Any = mediapipe.solutions.face_mesh.FaceMesh(**options)

    def __call__(self, frames: Iterator[np.ndarray]) -> np.ndarray:
        """Batches (B, H, W, 3) -> (T, 478, 3) in image widths; NaN where no face is found."""
        self._mesh.reset()
        out = []
        for batch in frames:
            for image in batch:
                found = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
                out.append([[p.x, p.y, p.z] for p in found[0].landmark] if found else np.full((478, 3), np.nan))
        return np.array(out, np.float32)

    def close(self) -> None:
        self._mesh.close()


@dataclass(frozen=True)
class Stage:
    """One portrait on which motions are shown."""

    decoder: FaceDecoder
    tracker: VideoTracker
    basis: DynamicsBasis

    @classmethod
    def open(cls, photo: Path, cache: Path) -> Stage:
        return cls(FaceDecoder(face_of(photo, cache)), VideoTracker(), DynamicsBasis.load())

    def show(self, pose: np.ndarray, dynamics: np.ndarray) -> np.ndarray:
        """(T, 6), (T, K) -> landmarks (T, 478, 3) in image widths as tracked in the frames."""
        track = MotionTrack(np.asarray(pose, np.float32), np.asarray(dynamics, np.float32))
        return self.tracker(iter(self.decoder.frames(track)))

    def again(self, name: str, pose: np.ndarray, dynamics: np.ndarray, audio: Path | None = None) -> Sequence:
        """The same motion as a tracked clip, through the same steps as every real one."""
        marks = self.show(pose, dynamics)
        seen = np.isfinite(marks[:, 0, 0])
        if not seen.any():
            raise ValueError(f"{name}: no face found in the rendered frames")
        index = np.flatnonzero(seen)
        marks = marks[index[np.abs(np.arange(len(marks))[:, None] - index).argmin(1)]]
        clip = Clip(name, "rendered", marks, np.arange(len(marks)) / 25, 25.0, (512, 512), audio)
        return to_sequence(clip, self.basis, region_masks(self.basis.mean_shape, 0.07))
