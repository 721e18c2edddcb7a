"""Clips -> sequences for the motion model: z_pose and z_dyn at 25 fps, relative to each clip's rest, beside speech features.

Smoothing is a parabola through five frames at the native rate (it keeps a plosive's closure); head pose, which has no fast
parts worth keeping, is smoothed over nine. Each source's audio-video lag (`training.lags`) is taken out by shifting features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis, euler
from vasa_cli.motion.rest import close_lips, neutral_of, region_masks
from vasa_cli.training.motion_clips import Clip, clip_paths, read_clip, resample, smooth

FPS = 25.0


@dataclass(frozen=True)
class Sequence:
    """pose (T, 6) as in MotionTrack, dynamics (T, K), features (T, F) or None, lips (T, 2) tracked opening and width in IOD."""

    name: str
    source: str
    pose: np.ndarray
    dynamics: np.ndarray
    lips: np.ndarray
    audio: Path | None
    features: np.ndarray | None = None


def lip_curves(canonical: np.ndarray) -> np.ndarray:
    """(T, 478, 3) -> (T, 2): |13-14| and |61-291| over |33-263|, as in the project's independent measure (x and y only)."""
    iod = np.linalg.norm(canonical[:, 33] - canonical[:, 263], axis=-1)
    opening = np.linalg.norm(canonical[:, 13] - canonical[:, 14], axis=-1)
    width = np.linalg.norm(canonical[:, 61] - canonical[:, 291], axis=-1)
    return np.stack([opening / iod, width / iod], -1)


def head_pose(pose: tuple[np.ndarray, np.ndarray, np.ndarray], face_width: float) -> np.ndarray:
    """R (T, 3, 3), scale (T,), t (T, 3) of `DynamicsBasis.align` -> (T, 6) offsets from the clip's median, as in MotionTrack.

    face_width: canonical distance 234 to 454 of the person. Weak perspective: the head's distance goes as 1 / scale.
    """
    rot, scale, t = pose
    columns = np.concatenate(
        [np.unwrap(euler(rot), axis=0), t[:, :2] / (np.median(scale) * face_width), -np.log(scale)[:, None]], 1
    )
    return (columns - np.median(columns, axis=0)).astype(np.float32)


def to_sequence(clip: Clip, basis: DynamicsBasis, masks: dict[str, np.ndarray]) -> Sequence:
    """Align, neutralise, encode and resample one clip."""
    canonical, pose = basis.align_clip(clip.landmarks)
    canonical = smooth(canonical)
    neutral = close_lips(neutral_of(canonical, masks), basis.decode(basis.mouth_open_direction))
    z = basis.encode_person(canonical - neutral, neutral)
    head = smooth(head_pose(pose, float(np.linalg.norm(neutral[234] - neutral[454]))), 9)
    parts = (resample(v, clip.time, FPS) for v in (head, z, lip_curves(canonical)))
    pose25, z25, lips25 = parts
    return Sequence(clip.name, clip.source, pose25, z25, lips25, clip.audio)


def open_eyes(z: np.ndarray, basis: DynamicsBasis) -> tuple[np.ndarray, list[int]]:
    """(T, K) -> the same without its blinks (all lids' numbers interpolated across them), and the frames at which blinks peak.

    The motion model learns how lids follow gaze and expression; blinks are events and are drawn by `behaviour.blinks`.
    """
    lids = basis.blocks["lids"]
    closure = z[:, lids.start : lids.start + 2].mean(1)
    shut = closure > 0.45
    peaks = []
    edges = np.flatnonzero(np.diff(np.r_[0, shut.astype(int), 0]))
    mask = np.zeros(len(z), bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start <= 15:  # longer is looking down or acting, not blinking
            peaks.append(int(start + closure[start:stop].argmax()))
            mask[max(start - 4, 0) : stop + 5] = True
    out = z.copy()
    good = np.flatnonzero(~mask)
    if mask.any() and len(good) > 1:
        at = np.flatnonzero(mask)
        for k in range(lids.start, lids.stop):
            out[at, k] = np.interp(at, good, z[good, k])
        out[at, 1] = np.interp(at, good, z[good, 1])  # irises seem to drop while the lids cover them
    return out, peaks


def load_sequences(data: Path, sources: tuple[str, ...], *, part: str, cache: Path | None = None) -> list[Sequence]:
    """Sequences of one part ("train", "sync", "test"; see `clip_paths`) without features, cached on disk (they depend on the
    basis only).
    """
    basis = DynamicsBasis.load()
    masks = region_masks(basis.mean_shape, 0.07)
    key = hashlib.sha256(basis.directions.tobytes() + repr((sources, part)).encode()).hexdigest()[:12]
    file = cache / f"sequences_{key}.npz" if cache else None
    paths = [p for s in sources for p in clip_paths(data, s, part=part)]
    if file and file.is_file():
        z = np.load(file)
        stored = {p: [z[f"{p.parent.name}/{p.stem}/{k}"] for k in ("pose", "z", "lips")] for p in paths}
        made = [Sequence(p.stem, p.parent.name, a, b, c, None) for p, (a, b, c) in stored.items()]
    else:
        made = [to_sequence(read_clip(p), basis, masks) for p in paths]
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            flat = {
                f"{s.source}/{s.name}/{k}": v for s in made for k, v in (("pose", s.pose), ("z", s.dynamics), ("lips", s.lips))
            }
            np.savez(file, **flat)  # type: ignore[arg-type]
    flacs = [p.with_suffix(".flac") for p in paths]
    return [
        Sequence(s.name, s.source, s.pose, s.dynamics, s.lips, f if f.is_file() else None)
        for s, f in zip(made, flacs, strict=True)
    ]


def with_features(sequence: Sequence, extract: Callable[[Path], np.ndarray], lag: int) -> Sequence:
    """Attach features (T, F), delayed by `lag` frames so that they meet the lips, cut or edge-padded to the motion's length."""
    if sequence.audio is None:
        return sequence
    features = extract(sequence.audio)
    index = np.clip(np.arange(len(sequence.pose)) - lag, 0, len(features) - 1)
    return replace(sequence, features=features[index])
