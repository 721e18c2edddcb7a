"""What the motion model is trained on: talkers, lively heads, their statistics and weights.

One model learns all parts, though no clip has them all: GRID speaks with a still head, lively clips move but hardly speak. So a
talker's window keeps its audio and its mouth, and gets head, gaze, lids and brows of a random lively window grafted on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.model import Statistics
from vasa_cli.training.motion_data import Sequence, open_eyes

POSE = 6
TALKER = 5.0  # degrees, std of yaw that a talker's head is brought to


@dataclass(frozen=True)
class Talk:
    """A clip with sound: motion (T, D) natural units, features: versions of (T, F), weight of its mouth in the loss; graft: it
    has no lively head.
    """

    motion: np.ndarray
    features: list[np.ndarray]
    mouth_weight: float = 1.0
    graft: bool = True


@dataclass(frozen=True)
class Pool:
    """All that training draws from. lively: (T, rest) pose, gaze, lids and brows of lively clips, with their share of draws."""

    grid: list[Talk]
    others: list[Talk]
    taught: list[Talk]
    lively: list[np.ndarray]
    lively_share: np.ndarray
    stats: Statistics
    mirror: np.ndarray  # (D, D): motion of the mirrored face = motion @ mirror.T
    loss_weight: np.ndarray  # (D,)
    lips: np.ndarray  # (2, D): normalised motion -> standardised lip opening and width
    mouth: slice = field(default_factory=lambda: slice(28, 68))


def mirror_matrix(basis: DynamicsBasis) -> np.ndarray:
    """(D, D): pose and dynamics of the mirror image. Yaw, roll and x change sign; the rest through the basis."""
    pose = np.diag([-1.0, 1, -1, -1, 1, 1])
    flipped = basis.directions[:, basis.mirror] * np.array([-1, 1, 1], np.float32)
    z = basis.encode(flipped)  # row k: z of the mirrored direction k
    out = np.zeros((POSE + basis.size, POSE + basis.size), np.float32)
    out[:POSE, :POSE], out[POSE:, POSE:] = pose, z.T
    return out


def lip_functionals(basis: DynamicsBasis) -> np.ndarray:
    """(2, K): z -> lip opening (13 to 14, down) and mouth width (61 to 291) in IOD, both linear in z."""
    d = basis.directions
    return np.stack([d[:, 14, 1] - d[:, 13, 1], d[:, 291, 0] - d[:, 61, 0]])


def lively_motion(s: Sequence, basis: DynamicsBasis, rest: int) -> np.ndarray:
    """(T, rest) pose, gaze, lids, brows of a lively clip: blinks taken out, gaze about its median, head brought to a talker's
    size.
    """
    z, _ = open_eyes(s.dynamics, basis)
    z[:, :2] -= np.median(z[:, :2], axis=0)
    z[:, basis.blocks["lids"]] -= np.median(z[:, basis.blocks["lids"]], axis=0)
    pose = s.pose.copy()
    spread = max(float(pose[:, 0].std()), 1e-3)
    pose[:, :3] *= np.clip(np.radians(TALKER) / spread, 0.5, 2.2)
    for k, limit in ((1, 0.06), (2, 0.05), (3, 0.05), (4, 0.04), (5, 0.02)):
        pose[:, k] *= min(1.0, limit / max(float(pose[:, k].std()), 1e-6))
    return np.concatenate([pose, z], 1)[:, :rest].astype(np.float32)


def anchored(mouth: np.ndarray, grid: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """Mouth numbers (T, M) of another tracked talker, brought to GRID's (N, M) middle, size and closed lips.

    A short clip's neutral face is a guess (a talker who never rests seems to have open lips), so each clip would teach an offset
    of its own. Middles are medians; the size never grows; lips are closed where they are nearest to closed.
    """
    block = basis.blocks["mouth"]
    size = min(1.0, float(grid.std(0).mean() / max(mouth.std(0).mean(), 1e-6)))
    out = (mouth - np.median(mouth, axis=0)) * size + np.median(grid, axis=0)
    opening = lip_functionals(basis)[0, block]
    low = np.quantile(out @ opening, 0.05) - np.quantile(grid @ opening, 0.05)
    way = basis.mouth_open_direction[block]
    return (out - low / float(way @ opening) * way).astype(np.float32)


def lids_per_gaze(clips: list[Sequence], basis: DynamicsBasis) -> np.ndarray:
    """(lids,) slope of the lids' numbers on the gaze's pitch (per radian), from frames with open eyes."""
    lids, xs, ys = basis.blocks["lids"], [], []
    for s in clips:
        z, _ = open_eyes(s.dynamics, basis)
        ok = z[:, lids.start : lids.start + 2].mean(1) < 0.5
        xs.append(z[ok, 1] - z[ok, 1].mean())
        ys.append(z[ok][:, lids] - z[ok][:, lids].mean(0))
    x, y = np.concatenate(xs), np.concatenate(ys)
    slope = (x[:, None] * y).sum(0) / (x**2).sum()
    return symmetric_lids(slope, basis)


def symmetric_lids(slope: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """Average of a lids vector and its mirror image: both eyes follow alike."""
    lids = basis.blocks["lids"]
    z = np.zeros(basis.size, np.float32)
    z[lids] = slope
    matrix = mirror_matrix(basis)[POSE:, POSE:]
    return (0.5 * (z + matrix @ z))[lids].astype(np.float32)


def build_pool(
    grid: list[Talk], others: list[Talk], lively: list[Sequence], basis: DynamicsBasis, taught: list[Talk] | None = None
) -> Pool:
    """Statistics and weights from the data. Loss weights follow the spread in IOD: a number that moves little counts little."""
    mouth = slice(POSE + basis.blocks["mouth"].start, POSE + basis.blocks["mouth"].stop)
    rest = [lively_motion(s, basis, mouth.start) for s in lively]
    matrix = mirror_matrix(basis)
    rest += [r @ matrix[: mouth.start, : mouth.start].T for r in rest]
    share = np.array([np.sqrt(max(len(r) - 60, 1)) for r in rest])
    everything = np.concatenate(rest)
    talk = np.concatenate([t.motion[:, mouth] for t in grid])
    features = np.concatenate([f for t in grid + others for f in t.features[:2]])
    mean = np.concatenate([np.zeros(mouth.start), talk.mean(0)])  # heads, gaze, lids and brows rest at zero
    std = np.concatenate([everything.std(0), talk.std(0)]) + 1e-5
    scale = features.std(0) + 1e-4
    stats = Statistics(
        mean.astype(np.float32), std.astype(np.float32), features.mean(0), scale.astype(np.float32), lids_per_gaze(lively, basis)
    )
    weight = np.zeros(len(std), np.float32)
    parts = [slice(0, POSE), *(slice(POSE + b.start, POSE + b.stop) for k, b in basis.blocks.items() if k != "mouth")]
    for part in parts:
        size = std[part] if part.start >= POSE else np.ones(POSE)
        weight[part] = size / size.sum() / len(parts)
    weight[mouth] = std[mouth] / std[mouth].sum()
    lips = np.zeros((2, len(std)), np.float32)
    lips[:, POSE:] = lip_functionals(basis)
    lips[:, : mouth.start] = 0
    spread = (talk @ lips[:, mouth].T).std(0)
    return Pool(
        grid,
        others,
        taught or [],
        rest,
        share / share.sum(),
        stats,
        matrix,
        weight,
        lips * stats.motion_std / spread[:, None],
        mouth,
    )
