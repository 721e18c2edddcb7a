"""A video clip becomes a motion track: measured instead of generated, in the same latents.

Relative (the default): what the driver's head and face do around their own rest, so that any other face can play it. The rest is
that of `motion.rest`: lips closed and of the usual width, lids at their usual opening, brows and head at their median.
Somebody who smiles through the whole clip therefore makes nobody smile.

Absolute: for a photo of the driver, taken from the same footage: the head goes exactly where it is in the clip, and the face
shows what the clip shows; what is subtracted is the photo's own neutral.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vasa_cli.errors import FaceError
from vasa_cli.motion.basis import DynamicsBasis, euler
from vasa_cli.motion.track import MotionTrack

if TYPE_CHECKING:
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.video.clip import ClipInfo

MODES = ("relative", "absolute")
FEW = 0.1  # share of frames without a face that is worth a note
MIN_SEEN = 5  # frames with a face below which a clip drives nothing
WINDOW = 0.36  # seconds of the parabola that takes noise away
# what the tracker adds to each number from frame to frame (standard deviation), measured on clips that hold still
POSE_NOISE = (((0, 1, 2), (2.0e-3, 2.8e-3, 1.1e-3)), ((3, 4), (6e-4, 6e-4)), ((5,), (1e-3,)))  # radians; face widths; log
VERGENCE_NOISE = 7e-3
BLOCK_NOISE = {"gaze": 7e-3, "lids": 1e-2, "brows": 4.5e-3, "mouth": 6e-3}
# relative motion goes no farther: radians, face widths, log distance; standard deviations of the basis' data
POSE_REACH = (0.42, 0.28, 0.38, 0.35, 0.25, 0.28)
BLOCK_REACH = {"brows": 1.5, "mouth": 3.0}
SURE = 4.0  # times the noise's energy: from here on a deviation from the parabola is more motion than noise
MEASURED_SEED = -1
SAME_FRAME = 0.03  # IOD between the photo's landmarks and a frame's, on the average, for the photo to be that frame


@dataclass(frozen=True)
class Tracked:
    """The driver's landmarks (T, 478, 3) in pixels of the clip, holes filled; seen (T,) bool: measured, not filled."""

    landmarks: np.ndarray
    seen: np.ndarray
    fps: Fraction
    size: tuple[int, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user."""
        missing = float(1 - self.seen.mean())
        return (f"no face in {missing:.0%} of the clip's frames; its motion there is interpolated",) if missing > FEW else ()


def track_clip(clip: ClipInfo, progress: Callable[[int], None] = lambda done: None) -> Tracked:
    """Follow the (largest) face of a clip. Raises InputError (undecodable), FaceError (no face)."""
    from vasa_cli.portrait.landmarks import follow_face
    from vasa_cli.video.clip import read_frames

    found: list[np.ndarray | None] = []
    for points in follow_face(read_frames(clip)):
        found.append(points)
        progress(len(found))
    seen = np.array([p is not None for p in found])
    if seen.sum() < min(MIN_SEEN, len(seen)) or not seen.any():
        raise FaceError(f"{clip.path}: no face found in the clip; use one that shows a face from the front")
    return Tracked(fill_holes(np.stack([p for p in found if p is not None]), seen), seen, clip.fps, clip.size)


def refine_clip(clip: ClipInfo, tracked: Tracked, at: int, progress: Callable[[int], None] = lambda done: None) -> Tracked:
    """The landmarks corrected by the pictures (`motion.flow`), with frame `at` as the reference. Reads the clip again."""
    from vasa_cli.motion.flow import refine
    from vasa_cli.video.clip import read_frames

    reference = next(frame for i, frame in enumerate(read_frames(clip)) if i == at)
    return replace(tracked, landmarks=refine(read_frames(clip), tracked.landmarks, reference, at, progress))


def measure(
    clip: ClipInfo, face: FaceLatent | None, mode: str, basis: DynamicsBasis, progress: Callable[[int], None] = lambda done: None
) -> tuple[MotionTrack, tuple[str, ...]]:
    """A clip's motion, and notes for the user; `progress` counts frames read (each is read twice).

    mode: 'relative', or 'absolute', which needs the face. Raises InputError (undecodable clip), FaceError (no face in it).
    """
    tracked = track_clip(clip, progress)
    count = len(tracked.seen)
    at = photo_frame(tracked, face) if mode == "absolute" and face is not None else None
    refined = refine_clip(clip, tracked, rest_frame(tracked, basis) if at is None else at, lambda done: progress(count + done))
    if mode == "absolute" and face is not None:
        return absolute_motion(refined, face, basis, at), tracked.notes
    return relative_motion(refined, basis), tracked.notes


def fill_holes(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """values (S, ...) of the S frames that `seen` (T,) marks -> (T, ...): straight between neighbours, held at the ends."""
    at = np.flatnonzero(seen)
    want = np.arange(len(seen))
    right = np.clip(np.searchsorted(at, want), 1, max(len(at) - 1, 1)).clip(max=len(at) - 1)
    left = np.maximum(right - 1, 0)
    u = ((want - at[left]) / np.maximum(at[right] - at[left], 1)).clip(0, 1).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[left] * (1 - u) + values[right] * u, np.float32)


def smooth(values: np.ndarray, fps: Fraction, seconds: float) -> np.ndarray:
    """(T, ...) through a parabola over about `seconds` (Savitzky and Golay, 1964): noise goes, the bottom of a closure stays."""
    half = round(float(fps) * seconds / 2 - 0.5)
    if half < 2 or len(values) < 2 * half + 1:
        return values
    x = np.arange(-half, half + 1)
    kernel = np.linalg.pinv(np.stack([x**0, x, x**2], 1).astype(np.float64))[0]
    padded = np.concatenate([np.repeat(values[:1], half, 0), values, np.repeat(values[-1:], half, 0)]).astype(np.float64)
    return np.asarray(sum(k * padded[i : i + len(values)] for i, k in enumerate(kernel)), np.float32)


def steady(values: np.ndarray, noise: np.ndarray, fps: Fraction) -> np.ndarray:
    """(T, C) numbers that move together, noise (C,) -> the same without the noise.

    Smoothed hard where they only tremble, left alone where they move: what the parabola misses comes back as far as its energy
    (over three frames) exceeds that of the noise. So a closure of one frame or a jerk of the head keeps its depth and its time.
    """
    calm = smooth(values, fps, WINDOW)
    left = values - calm
    energy = ((left / noise) ** 2).mean(-1)
    padded = np.pad(energy, 1, mode="edge")
    energy = (0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])[:, None]
    return np.asarray(calm + left * (energy**2 / (energy**2 + SURE**2)), np.float32)


def steady_track(
    pose: np.ndarray, displacement: np.ndarray, neutral: np.ndarray, basis: DynamicsBasis, fps: Fraction
) -> MotionTrack:
    """A track without the tracker's noise: pose (T, 6) as measured, displacement (T, 478, 3) from the neutral (478, 3)."""
    pose, dynamics = pose.astype(np.float32), basis.encode_person(displacement, neutral)
    for columns, noise in POSE_NOISE:
        pose[:, columns] = steady(pose[:, columns], np.array(noise), fps)
    for name, level in BLOCK_NOISE.items():
        block = basis.blocks[name]
        dynamics[:, block] = steady(dynamics[:, block], np.full(block.stop - block.start, level), fps)
    crossed = steady(basis.vergence(displacement)[:, None], np.array([VERGENCE_NOISE]), fps)[:, 0]
    return MotionTrack(pose, dynamics, fps, MEASURED_SEED, vergence=crossed)


def relative_motion(tracked: Tracked, basis: DynamicsBasis) -> MotionTrack:
    """Motion around the driver's own rest."""
    canonical, pose, rest = _around_rest(tracked, basis)
    pose -= np.median(pose[tracked.seen], 0)
    return within_reach(steady_track(pose, canonical - rest, rest, basis, tracked.fps), basis)


def within_reach(track: MotionTrack, basis: DynamicsBasis) -> MotionTrack:
    """Softly keep another person's motion within what a face can wear and still be itself: grimaces and far turns are toned down,
    ordinary motion is not (2 % at half the limit)."""
    z = track.dynamics.copy()
    for name, limit in BLOCK_REACH.items():
        block = basis.blocks[name]
        size = np.sqrt(((z[:, block] / basis.std[block]) ** 2).mean(-1))
        z[:, block] *= _soft(size, limit)[:, None]
    reach = np.array(POSE_REACH, np.float32)
    return replace(track, pose=np.asarray(track.pose * _soft(np.abs(track.pose), reach), np.float32), dynamics=z)


def _soft(size: np.ndarray, limit: float | np.ndarray) -> np.ndarray:
    """Factor that keeps size * factor below the limit: 1 for small sizes."""
    return np.asarray((1 + (size / limit) ** 4) ** -0.25, np.float32)


def absolute_motion(tracked: Tracked, face: FaceLatent, basis: DynamicsBasis, at: int | None) -> MotionTrack:
    """What the clip shows, on the face of the photo.

    at: the frame that the photo shows (`photo_frame`): the head goes exactly where it is in the clip. None, for a photo from
    elsewhere: head angles and expression are the driver's, place and distance only move as the driver's do around their median.
    """
    if at is None:
        return _absolute_of_another(tracked, face, basis)
    photo = (face.landmarks - face.translation) @ face.rotation / float(face.scale)
    canonical, (rotation, scale, shift) = basis.align(_in_crop(tracked, face), photo)
    zoom = (scale / float(face.scale))[:, None]
    anchor, width = face.zoom_anchor, float(np.linalg.norm(face.neutral[454] - face.neutral[234])) * float(face.scale)
    moved = (anchor + (shift[:, :2] - anchor) / zoom - face.translation[:2]) / width  # `decoder.geometry.HeadPose.zoomed` undone
    pose = np.concatenate([np.unwrap(euler(rotation), axis=0) - face.pose[:3], moved, -np.log(zoom)], 1)
    track = steady_track(pose, canonical - face.neutral, face.neutral, basis, tracked.fps)
    # the tracker sees the photo's frame a little otherwise than the encoder saw the photo: take that off throughout
    assert track.vergence is not None
    return replace(
        track,
        pose=track.pose - track.pose[at],
        dynamics=track.dynamics - track.dynamics[at] + face.dynamics,
        vergence=track.vergence - track.vergence[at],
    )


def photo_frame(tracked: Tracked, face: FaceLatent) -> int | None:
    """The frame of the clip that the photo shows, or None: landmarks at the same place, of the same shape."""
    points, photo = _in_crop(tracked, face), face.landmarks
    off = np.linalg.norm(points[..., :2] - photo[:, :2], axis=-1).mean(-1) / np.linalg.norm(photo[33] - photo[263])
    off[~tracked.seen] = np.inf
    return int(off.argmin()) if off.min() < SAME_FRAME else None


def rest_frame(tracked: Tracked, basis: DynamicsBasis) -> int:
    """The frame nearest to the driver's rest, expression and head."""
    canonical, pose, rest = _around_rest(tracked, basis)
    off = np.linalg.norm(canonical - rest, axis=-1).mean(-1) + 0.2 * np.abs(pose - np.median(pose[tracked.seen], 0))[:, :3].sum(
        -1
    )
    return int(np.where(tracked.seen, off, np.inf).argmin())


def _absolute_of_another(tracked: Tracked, face: FaceLatent, basis: DynamicsBasis) -> MotionTrack:
    canonical, pose, rest = _around_rest(tracked, basis)
    neutral, _ = basis.split_identity(rest)  # a lasting smile is expression here, not the person
    pose -= np.concatenate([face.pose[:3], np.median(pose[tracked.seen, 3:], 0)])
    return steady_track(pose, canonical - neutral, neutral, basis, tracked.fps)


def _around_rest(tracked: Tracked, basis: DynamicsBasis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical landmarks (T, 478, 3), pose (T, 6) as in MotionTrack but not yet off any rest, and the rest shape (478, 3)."""
    from vasa_cli.motion.rest import close_lips, neutral_of, region_masks

    canonical, (rotation, scale, shift) = basis.align_clip(tracked.landmarks)
    shape = neutral_of(canonical[tracked.seen], region_masks(basis.mean_shape, 0.07))
    rest = close_lips(shape, basis.decode(basis.mouth_open_direction))
    width = float(np.linalg.norm(rest[234] - rest[454]) * np.median(scale))
    pose = np.concatenate([np.unwrap(euler(rotation), axis=0), shift[:, :2] / width, -np.log(scale)[:, None]], 1)
    return canonical, pose, rest


def _in_crop(tracked: Tracked, face: FaceLatent) -> np.ndarray:
    """The driver's landmarks (T, 478, 3) in crop pixels of a photo of the same footage."""
    k = float(face.crop[2]) * tracked.size[0] / max(face.photo_size[0], 1)  # clip pixels per crop pixel
    corner = face.crop[:2] / face.crop[2]
    return np.asarray(tracked.landmarks / k - np.array([*corner, 0.0]), np.float32)
