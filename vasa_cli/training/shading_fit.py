"""Fit how expressions shade the skin: clips unwarped onto the mean face, log brightness regressed on the dynamics.

Light, skin and camera differ from clip to clip; only what changes within a clip together with the expression is learned.
Clips are mirrored as well, so that no clip's light decides on which cheek folds are darker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.portrait import topology as top

SIDE = 96  # cells of the maps: .02 IOD, a fold is about .04 wide
PER_CLIP = 220  # frames
RIDGE = 1.0
STRENGTH = 0.5  # of the fit: leave-one-out, more costs the held-out clip what it gains the others
OFFSET = 12.0  # levels added before the logarithm: noise in the dark is not shade
MARGIN = 0.05  # IOD around the mean face


@dataclass(frozen=True)
class ShadeClip:
    """One clip on the mean face: luma (T, SIDE, SIDE) levels, z (T, K), name."""

    name: str
    luma: np.ndarray
    z: np.ndarray


@dataclass(frozen=True)
class Plane:
    """The square of the mean face that the maps cover, and thin-plate weights (SIDE * SIDE, 468) from landmarks to its cells."""

    centre: np.ndarray
    half: float
    weights: np.ndarray

    @classmethod
    def of(cls, basis: DynamicsBasis) -> Plane:
        import torch

        from vasa_cli.decoder.field import thin_plate_weights

        flat = basis.mean_shape[: top.N_SKIN, :2]
        low, high = flat.min(0) - MARGIN, flat.max(0) + MARGIN
        centre, half = (low + high) / 2, float((high - low).max() / 2)
        centre[0] = 0.0  # mirror images share the square
        g = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * half
        x, y = np.meshgrid(centre[0] + g, centre[1] + g)
        cells = torch.from_numpy(np.stack([x, y], -1).reshape(-1, 2)).float()
        return cls(centre, half, thin_plate_weights(torch.from_numpy(flat).float() / 2, cells / 2, 1e-5).numpy())

    def mask(self, basis: DynamicsBasis, ids: list[int], grow: int = 0) -> np.ndarray:
        """(SIDE, SIDE) bool inside the polygon of these landmarks."""
        import cv2

        p = ((basis.mean_shape[ids, :2] - self.centre) / self.half + 1) / 2 * SIDE
        out = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillPoly(out, [np.round(p * 8).astype(np.int32)], 1, shift=3)
        return (cv2.dilate(out, np.ones((grow, grow), np.uint8)) if grow else out) > 0

    def skin(self, basis: DynamicsBasis) -> np.ndarray:
        """(SIDE, SIDE) bool: the face without its rim, eyes and mouth."""
        import cv2

        inside = cv2.erode(self.mask(basis, list(top.OVAL)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        for slit in top.SLITS:
            inside &= ~self.mask(basis, top.ring(slit), 5)
        return np.asarray(inside)


def unwarp(path: Path, basis: DynamicsBasis, plane: Plane) -> ShadeClip:
    """Follow a clip's face and bring its frames onto the mean face."""
    import cv2

    from vasa_cli.motion.measured import track_clip
    from vasa_cli.video.clip import probe, read_frames

    clip = probe(path)
    tracked = track_clip(clip)
    canonical, (_, scale, _) = basis.align_clip(tracked.landmarks)
    wanted = set(range(0, len(tracked.seen), max(1, len(tracked.seen) // PER_CLIP)))
    luma, used = [], []
    for i, frame in enumerate(read_frames(clip)):
        if i not in wanted or i >= len(tracked.seen) or not tracked.seen[i]:
            continue
        at = (plane.weights @ tracked.landmarks[i, : top.N_SKIN, :2]).reshape(SIDE, SIDE, 2).astype(np.float32) - 0.5
        soft = cv2.GaussianBlur(frame, (0, 0), max(0.3, 0.9 * float(scale[i]) * plane.half / SIDE))
        seen = cv2.remap(soft, at[..., 0], at[..., 1], cv2.INTER_LINEAR).astype(np.float32)
        luma.append(seen @ np.array([0.299, 0.587, 0.114], np.float32))
        used.append(i)
    return ShadeClip(path.stem, np.stack(luma), basis.encode(canonical[used] - canonical[used[0]]))


def mirrored(clip: ShadeClip, basis: DynamicsBasis) -> ShadeClip:
    """The same clip in a mirror."""
    moved = basis.decode(clip.z)[:, basis.mirror] * np.array([-1, 1, 1], np.float32)
    return ShadeClip(clip.name, clip.luma[:, :, ::-1], basis.encode(moved))


def used_dynamics(basis: DynamicsBasis) -> np.ndarray:
    """Indices into z that shade: the strongest of lids, brows and mouth. Few, because the people are few."""
    parts = (("lids", 4), ("brows", 4), ("mouth", 8))
    return np.concatenate([np.arange(basis.blocks[n].start, basis.blocks[n].start + k) for n, k in parts])


def readings(z: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T, K) -> (T, F), as `decoder.shading` reads them."""
    used = used_dynamics(basis)
    return np.tanh(z[:, used].astype(np.float64) / (2 * basis.std[used]))


def log_shade(clip: ShadeClip, skin: np.ndarray) -> np.ndarray:
    """(T, SIDE, SIDE): log brightness against the clip's mean, each frame's exposure taken out."""
    import cv2

    log = np.stack([cv2.GaussianBlur(np.log(y + OFFSET), (0, 0), 0.8) for y in clip.luma])
    log -= np.median(log[:, skin], axis=1)[:, None, None]
    return log - log.mean(0)


def fit(clips: list[ShadeClip], basis: DynamicsBasis, skin: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """-> (F, SIDE, SIDE) log brightness per unit of reading; every clip counts the same."""
    count = len(used_dynamics(basis))
    gram, cross = np.zeros((count, count)), np.zeros((count, SIDE * SIDE))
    for clip in [c for one in clips for c in (one, mirrored(one, basis))]:
        x = readings(clip.z, basis)
        x -= x.mean(0)
        y = log_shade(clip, skin).reshape(len(x), -1).clip(-0.5, 0.5)
        gram += x.T @ x / len(x)
        cross += x.T @ y / len(x)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(count), cross).reshape(count, SIDE, SIDE), np.float32)


def gain(clip: ShadeClip, folds: np.ndarray, basis: DynamicsBasis, skin: np.ndarray) -> float:
    """dB by which shading the clip's first frame brings it nearer to all others."""
    x = readings(clip.z, basis)
    shade = np.tensordot(x - x[:1], folds * soft(skin), 1)
    plain = ((clip.luma[0] - clip.luma)[:, skin] ** 2).mean()
    shaded = (((clip.luma[0] + OFFSET) * np.exp(shade) - OFFSET - clip.luma)[:, skin] ** 2).mean()
    return float(10 * np.log10(plain / shaded))


def soft(skin: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32 0..1: the mask with soft borders."""
    import cv2

    return np.asarray(cv2.GaussianBlur(skin.astype(np.float32), (0, 0), 1.5), np.float32)


def mean_normals(basis: DynamicsBasis, plane: Plane) -> np.ndarray:
    """(SIDE, SIDE, 3) float32 unit normals of the mean face, towards the viewer (z < 0)."""
    import cv2

    depth = (plane.weights @ basis.mean_shape[: top.N_SKIN, 2]).reshape(SIDE, SIDE).astype(np.float32)
    depth = cv2.GaussianBlur(depth, (0, 0), 2.5) * SIDE / (2 * plane.half)
    down, across = np.gradient(depth)
    n = np.stack([across, down, -np.ones_like(depth)], -1)
    return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True), np.float32)
