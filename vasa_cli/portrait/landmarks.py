"""The one file that touches mediapipe: face boxes, 478 landmarks (in photos, and followed through a clip), person matte.

mediapipe 0.10.21 carries its models in the wheel; newer wheels carry none. Nothing outside `encode` and `--drive` imports this
module, so rendering machines need no mediapipe. Each graph is opened, used and closed: an unclosed one
leaks, one per process may live.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from vasa_cli.errors import InputError

N_LANDMARKS = 478
DETECT_SIDE = 1280  # px; the detectors look at 192 px, so larger pictures only cost time
MESH_SIDE = 512  # px; side of the square crop that the landmark model sees
MIN_FACE = 24  # px in the photo between the outer corners of the eyes
FOLLOW_SIDE = 2.0  # side of the square in which a face is followed, in extents of the face
FOLLOW_WAIT = 5  # frames after which a lost face is looked for again


@dataclass(frozen=True)
class FaceMesh:
    """One face in a photo.

    landmarks (478, 3) float32: x, y in photo pixels, z in the same unit, smaller = nearer.
    score 0..1 of the detector (1 for a mesh alone).
    """

    landmarks: np.ndarray
    score: float

    @property
    def inter_ocular(self) -> float:
        """Distance in pixels between the outer eye corners (landmarks 33 and 263), in 3D so that a turned head is not small."""
        return float(np.linalg.norm(self.landmarks[33] - self.landmarks[263]))


@contextmanager
def _silent_native_logs() -> Iterator[None]:
    """mediapipe's C++ writes banners to file descriptor 2; a command-line tool must not."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _solutions() -> Any:
    """Import mediapipe, or say in one line why it cannot be had here."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    try:
        import mediapipe
    except ImportError as e:
        raise InputError(
            f"the landmark tracker cannot be loaded ({e}); run `vasa doctor`, or use a face file encoded elsewhere"
        ) from e
    return mediapipe.solutions


def _shrink(rgb: np.ndarray, side: int) -> np.ndarray:
    import cv2

    k = side / max(rgb.shape[:2])
    return rgb if k >= 1 else cv2.resize(rgb, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)


def detect_boxes(rgb: np.ndarray, confidence: float = 0.4) -> list[tuple[float, np.ndarray]]:
    """Find faces: [(score, (4,) float x, y, w, h in photo pixels)], near and far detector together, overlaps merged."""
    face_detection = _solutions().face_detection.FaceDetection
    small = np.ascontiguousarray(_shrink(rgb, DETECT_SIDE))
    h, w = rgb.shape[:2]
    found: list[tuple[float, np.ndarray]] = []
    for model in (0, 1):  # short range (selfies), full range (groups, half bodies)
        with _silent_native_logs(), face_detection(model_selection=model, min_detection_confidence=confidence) as detector:
            for d in detector.process(small).detections or []:
                b = d.location_data.relative_bounding_box
                found.append((float(d.score[0]), np.array([b.xmin * w, b.ymin * h, b.width * w, b.height * h])))
    kept: list[tuple[float, np.ndarray]] = []
    for score, box in sorted(found, key=lambda f: -f[0]):
        if all(_overlap(box, other) < 0.3 for _, other in kept):
            kept.append((score, box))
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over the smaller box."""
    wh = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    return float(max(wh[0], 0) * max(wh[1], 0) / max(min(a[2] * a[3], b[2] * b[3]), 1e-9))


def _square(rgb: np.ndarray, centre: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a square (edge pixels repeated outside the photo), resized to MESH_SIDE. Returns it and the (2, 3) affine crop ->
    photo."""
    import cv2

    k = side / MESH_SIDE
    to_photo = np.array([[k, 0, centre[0] - side / 2], [0, k, centre[1] - side / 2]])
    half = (k - 1) / 2  # pixel centres against pixel edges
    grid = np.array([[k, 0, to_photo[0, 2] + half], [0, k, to_photo[1, 2] + half]])
    source, scale = rgb, 1.0
    if k > 2:  # area-average first: plain bilinear would alias
        scale = 2 / k
        source = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grid = np.array([[2, 0, to_photo[0, 2] * scale + 0.5], [0, 2, to_photo[1, 2] * scale + 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(source, grid, (MESH_SIDE, MESH_SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cut, to_photo


def mesh_in_square(rgb: np.ndarray, centre: np.ndarray, side: float, confidence: float = 0.3) -> FaceMesh | None:
    """Landmarks of the one face inside a square of the photo, or None."""
    cut, to_photo = _square(rgb, centre, side)
    options = {"static_image_mode": True, "max_num_faces": 1, "refine_landmarks": True, "min_detection_confidence": confidence}
    with _silent_native_logs(), _solutions().face_mesh.FaceMesh(**options) as mesh:
        faces = mesh.process(np.ascontiguousarray(cut)).multi_face_landmarks
    return FaceMesh(_to_photo(faces[0], to_photo), 1.0) if faces else None


def _to_photo(face: Any, to_photo: np.ndarray) -> np.ndarray:
    """mediapipe's landmarks in the cut square -> (478, 3) float32 in photo pixels."""
    points = np.array([[p.x, p.y, p.z] for p in face.landmark], np.float64) * MESH_SIDE
    points[:, :2] = points[:, :2] * to_photo[0, 0] + to_photo[:, 2]
    points[:, 2] *= to_photo[0, 0]
    return points.astype(np.float32)


def find_faces(rgb: np.ndarray) -> list[FaceMesh]:
    """All faces with landmarks, largest first. Tries a lower threshold, then the whole photo, before giving up."""
    faces: list[FaceMesh] = []
    for confidence in (0.5, 0.2):
        for score, box in detect_boxes(rgb, confidence):
            centre = box[:2] + box[2:] * np.array([0.5, 0.45])
            mesh = mesh_in_square(rgb, centre, 2.2 * float(box[2:].max()))
            if mesh is not None and mesh.inter_ocular >= MIN_FACE / 2 and not _known(mesh, faces):
                again = mesh.landmarks[:, :2]  # second pass, centred on the mesh: the first box may cut the chin
                middle, extent = (again.max(0) + again.min(0)) / 2, float(np.ptp(again, axis=0).max())
                better = mesh_in_square(rgb, middle, 1.9 * extent)
                faces.append(FaceMesh((better or mesh).landmarks, score))
        if faces:
            break
    if not faces:
        whole = mesh_in_square(rgb, np.array(rgb.shape[1::-1]) / 2, float(max(rgb.shape[:2])), 0.2)
        faces = [whole] if whole is not None and whole.inter_ocular >= MIN_FACE / 2 else []
    return sorted(faces, key=lambda f: -f.inter_ocular)


def _known(mesh: FaceMesh, faces: list[FaceMesh]) -> bool:
    nose = mesh.landmarks[4, :2]
    return any(np.linalg.norm(nose - f.landmarks[4, :2]) < 0.6 * f.inter_ocular for f in faces)


def follow_face(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
    """Landmarks of one face through a clip: (478, 3) float32 in pixels a frame, None where it is not seen.

    The face is the largest of the first frame that shows one; a lost face is looked for again near where it was. The tracker
    sees a square that stands still while the face stays inside, so that nothing shakes.
    """
    seen: np.ndarray | None = None
    centre, side, wait = np.zeros(2), 0.0, 0
    tracker: Any = None
    try:
        for rgb in frames:
            points = None
            if tracker is None and wait == 0 and (found := _nearest(find_faces(rgb), seen)) is not None:
                centre, side = _follow_square(found)
                tracker = _open_tracker()
            if tracker is not None:
                points = _tracked(tracker, rgb, centre, side)
                if points is None:
                    tracker.close()
                    tracker, wait = None, 0
                else:
                    seen = points
                    if not _well_inside(points, centre, side):
                        centre, side = _follow_square(points)
                        tracker.reset()
            else:
                wait = wait - 1 if wait else FOLLOW_WAIT
            yield points
    finally:
        if tracker is not None:
            tracker.close()


def _open_tracker() -> Any:
    options = {"static_image_mode": False, "max_num_faces": 1, "refine_landmarks": True, "min_detection_confidence": 0.3}
    with _silent_native_logs():
        return _solutions().face_mesh.FaceMesh(**options)


def _tracked(tracker: Any, rgb: np.ndarray, centre: np.ndarray, side: float) -> np.ndarray | None:
    cut, to_photo = _square(rgb, centre, side)
    with _silent_native_logs():
        faces = tracker.process(np.ascontiguousarray(cut)).multi_face_landmarks
    return _to_photo(faces[0], to_photo) if faces else None


def _nearest(faces: list[FaceMesh], seen: np.ndarray | None) -> np.ndarray | None:
    """The largest face, or the one nearest to where it was seen."""
    if not faces:
        return None
    if seen is None:
        return faces[0].landmarks
    return min((f.landmarks for f in faces), key=lambda p: float(np.linalg.norm(p[4, :2] - seen[4, :2])))


def _follow_square(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (2,) and side of the square in which to follow this face."""
    flat = points[:, :2].astype(float)
    return (flat.max(0) + flat.min(0)) / 2, FOLLOW_SIDE * float(np.ptp(flat, axis=0).max())


def _well_inside(points: np.ndarray, centre: np.ndarray, side: float) -> bool:
    """Whether the face keeps its distance from the square's border, and about its size."""
    reach = float(np.abs(points[:, :2] - centre).max())
    extent = float(np.ptp(points[:, :2], axis=0).max())
    return reach < 0.45 * side and extent > 0.6 * side / FOLLOW_SIDE


def person_matte(rgb: np.ndarray) -> np.ndarray:
    """Soft person mask of a picture: (H, W) float32 0..1 at the model's coarse sharpness (refine it with a guided filter)."""
    with _silent_native_logs(), _solutions().selfie_segmentation.SelfieSegmentation(model_selection=0) as model:
        mask = model.process(np.ascontiguousarray(rgb)).segmentation_mask
    return np.clip(np.asarray(mask, np.float32), 0.0, 1.0)
