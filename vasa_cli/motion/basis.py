"""The basis of facial dynamics: about 60 numbers a frame that say what the face does, apart from who it is and how the head is
held.

Canonical space (docstring of `motion.track`): x right, y down, z away, unit = inter-ocular distance (IOD, landmarks 33 to 263),
origin at the weighted centroid of the stable points. A displacement is canonical landmarks minus the person's neutral (lips
closed, eyes at their resting opening, gaze ahead, brows at rest). Blocks, each moving its own part of the face only (with soft
borders):

    gaze    2  yaw, pitch of both eyeballs in radians, + = right of the picture, + = up; linearised rotation of the irises
    lids    0 and 1: closure of the eye on the left and on the right of the picture; 1 closes the lids of the mean face
            completely.
            The rest: principal components of what closure leaves over (squint, wide eyes, lids that follow the gaze)
    brows   principal components of brows and forehead
    mouth   principal components of lips, jaw, cheeks and nose

Lids are scaled to the person: multiply the lids' displacement by `lid_scale(neutral)` so that closure 1 closes this person's
eyes too (`encode_person` divides by it). Directions of principal components are orthonormal under the importance weights, so z
is in IOD.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from vasa_cli.weights import registry

EYE_RADIUS = 0.12  # IOD; from an eyeball's centre of rotation to the plane of the iris (about 10.5 mm of 88 mm)
NOISE = 0.03  # IOD; what a landmark of weight 1 may miss in the ridge fit of one photo (neighbours err together)
IRIS_LEFT, IRIS_RIGHT = tuple(range(468, 473)), tuple(range(473, 478))  # left and right of the picture
# upper and lower lid landmarks that face each other, left eye of the picture, then right
LID_PAIRS_LEFT = ((246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155))
LID_PAIRS_RIGHT = ((466, 249), (388, 390), (387, 373), (386, 374), (385, 380), (384, 381), (398, 382))

# Stable points and their weights: skull-fixed skin. Contour and nose tip count little: they slide with jaw, brows and view.
_STABLE = (
    ((168, 6, 197, 195), 1.0),
    ((33, 133, 362, 263), 1.0),
    ((10, 151, 109, 338, 67, 297), 0.35),
    ((103, 332, 54, 284, 21, 251), 0.3),
    ((162, 389, 127, 356), 0.35),
    ((234, 454), 0.3),
    ((5, 4, 1), 0.3),
)


def stable_weights() -> np.ndarray:
    """(478,) float32 weights of the points that rigid alignment looks at; they sum to 1."""
    w = np.zeros(478, np.float32)
    for points, weight in _STABLE:
        w[list(points)] = weight
    return w / w.sum()


def euler(rotation: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 3) yaw, pitch, roll in radians with R = Ry(yaw) Rx(pitch) Rz(roll)."""
    r = np.asarray(rotation)
    yaw = np.arctan2(r[..., 0, 2], r[..., 2, 2])
    pitch = np.arcsin(np.clip(-r[..., 1, 2], -1, 1))
    roll = np.arctan2(r[..., 1, 0], r[..., 1, 1])
    return np.stack([yaw, pitch, roll], -1)


def rotation(angles: np.ndarray) -> np.ndarray:
    """(..., 3) yaw, pitch, roll in radians -> (..., 3, 3); the inverse of `euler`."""
    a = np.asarray(angles, np.float64)
    (cy, cp, cr), (sy, sp, sr) = np.moveaxis(np.cos(a), -1, 0), np.moveaxis(np.sin(a), -1, 0)
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def procrustes(landmarks: np.ndarray, shape: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted similarity from `shape` (N, 3) to each of `landmarks` (T, N, 3): landmarks ~ scale * shape @ R.T + t.

    Returns R (T, 3, 3), scale (T,), t (T, 3). Umeyama, "Least-squares estimation of transformation parameters", 1991, eq. 39-43.
    """
    w = (weights / weights.sum()).astype(np.float64)
    x = np.asarray(landmarks, np.float64)
    s = np.asarray(shape, np.float64)
    mx, ms = np.einsum("n,tnc->tc", w, x), w @ s
    xc, sc = x - mx[:, None], s - ms
    cov = np.einsum("n,tni,nj->tij", w, xc, sc)  # (T, 3, 3)
    u, d, vt = np.linalg.svd(cov)
    sign = np.sign(np.linalg.det(u @ vt))
    flip = np.ones_like(d)
    flip[:, 2] = sign
    rot = (u * flip[:, None, :]) @ vt
    scale = (d * flip).sum(-1) / (w[:, None] * sc**2).sum()
    t = mx - scale[:, None] * np.einsum("tij,j->ti", rot, ms)
    return rot, scale, t


def lid_opening(shape: np.ndarray) -> np.ndarray:
    """(..., 478, 3) -> (..., 2) mean gap of the lids along y, left and right eye of the picture, in the unit of `shape`."""
    gaps = []
    for pairs in (LID_PAIRS_LEFT, LID_PAIRS_RIGHT):
        upper, lower = np.array(pairs[1:6]).T
        gaps.append(np.linalg.norm(shape[..., lower, :2] - shape[..., upper, :2], axis=-1).mean(-1))
    return np.stack(gaps, -1)


@dataclass(frozen=True)
class DynamicsBasis:
    """mean_shape (478, 3), directions (K, 478, 3), std (K,), importance (478,), mirror (478,) int: the landmark's mirror image;
    identity_directions (M, 478, 3) with identity_std (M,): principal components of people's neutral shapes;
    mouth_open_direction (K,): z of the mean opening of the mouth, per IOD of gap between the inner lips (landmarks 13, 14);
    au_directions: FACS-like action (name) -> (K,) z of a full action, from regression on blendshape scores.
    """

    mean_shape: np.ndarray
    directions: np.ndarray
    std: np.ndarray
    importance: np.ndarray
    mirror: np.ndarray
    identity_directions: np.ndarray
    identity_std: np.ndarray
    blocks: dict[str, slice]
    au_directions: dict[str, np.ndarray] = field(default_factory=dict)
    mouth_open_direction: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def load(cls) -> DynamicsBasis:
        """Read the shipped basis. Raises WeightsError."""
        tensors, meta = registry.load_tensors("basis")
        return cls.from_tensors(tensors, meta)

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], meta: dict[str, str]) -> DynamicsBasis:
        blocks = {name: slice(*ends) for name, ends in json.loads(meta["blocks"]).items()}
        t = {k: v.astype(np.int64 if k == "mirror" else np.float32) for k, v in tensors.items()}
        aus = {k.removeprefix("au."): v for k, v in t.items() if k.startswith("au.")}
        plain = {k: v for k, v in t.items() if not k.startswith("au.")}
        return cls(blocks=blocks, au_directions=aus, **plain)

    def tensors(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """What `from_tensors` reads: fp16 directions, fp32 rest, blocks as JSON metadata."""
        out = {f"au.{k}": v.astype(np.float32) for k, v in self.au_directions.items()}
        for name in ("mean_shape", "std", "importance", "identity_std", "mouth_open_direction"):
            out[name] = getattr(self, name).astype(np.float32)
        out["directions"] = self.directions.astype(np.float16)
        out["identity_directions"] = self.identity_directions.astype(np.float16)
        out["mirror"] = self.mirror.astype(np.int32)
        return out, {"blocks": json.dumps({k: [s.start, s.stop] for k, s in self.blocks.items()}), "format": "vasa-basis/1"}

    @property
    def size(self) -> int:
        """K, the number of dynamics coefficients."""
        return len(self.directions)

    @property
    def blink_direction(self) -> np.ndarray:
        """(K,) z that closes both lids of the mean face completely."""
        z = np.zeros(self.size, np.float32)
        z[self.blocks["lids"].start : self.blocks["lids"].start + 2] = 1
        return z

    def decode(self, z: np.ndarray) -> np.ndarray:
        """(..., K) -> (..., 478, 3) displacement from the neutral in IOD."""
        return np.einsum("...k,knc->...nc", np.asarray(z, np.float32), self.directions)

    @property
    def vergence_direction(self) -> np.ndarray:
        """(478, 3) displacement per radian by which each eye turns towards the nose; no part of z, as few faces do it."""
        yaw = self.directions[self.blocks["gaze"]][0]
        out = np.zeros_like(yaw)
        out[list(IRIS_LEFT)], out[list(IRIS_RIGHT)] = yaw[list(IRIS_LEFT)], -yaw[list(IRIS_RIGHT)]
        return out

    def vergence(self, displacement: np.ndarray) -> np.ndarray:
        """(T, 478, 3) displacement in IOD -> (T,) radians: what one gaze for both eyes leaves over."""
        inwards = self.vergence_direction
        return np.asarray(np.einsum("tnc,nc->t", displacement, inwards) / (inwards**2).sum(), np.float32)

    def encode(self, displacement: np.ndarray) -> np.ndarray:
        """(..., 478, 3) displacement in IOD -> (..., K): least squares under the importance weights."""
        d = np.asarray(displacement, np.float32)
        return d.reshape(*d.shape[:-2], -1) @ self._encoder().T

    def _encoder(self) -> np.ndarray:
        """(K, 478 * 3): (A' W A)^-1 A' W."""
        a = self.directions.reshape(self.size, -1).astype(np.float64)
        aw = a * np.repeat(self.importance, 3)
        return np.linalg.solve(aw @ a.T, aw).astype(np.float32)

    def lid_scale(self, neutral: np.ndarray) -> float:
        """How much farther this person's lids (neutral (478, 3), canonical) travel in a blink than the mean face's."""
        ratio = lid_opening(neutral).mean() / lid_opening(self.mean_shape).mean()
        return float(np.clip(ratio, 0.3, 2.0))

    def lid_region(self) -> np.ndarray:
        """(478,) 0..1: how much of each landmark's motion belongs to the lids block."""
        reach = np.abs(self.directions[self.blocks["lids"]]).sum((0, 2))
        rest = np.abs(np.delete(self.directions, np.r_[self.blocks["lids"]], 0)).sum((0, 2))
        return (reach / np.maximum(reach + rest, 1e-9)).astype(np.float32)

    def decode_person(self, z: np.ndarray, neutral: np.ndarray) -> np.ndarray:
        """(..., K) -> (..., 478, 3) displacement for the person with this neutral: lids scaled to the eyes' opening."""
        z = np.array(z, np.float32)
        z[..., self.blocks["lids"]] *= self.lid_scale(neutral)
        return self.decode(z)

    def encode_person(self, displacement: np.ndarray, neutral: np.ndarray) -> np.ndarray:
        """Inverse of `decode_person`."""
        z = self.encode(displacement)
        z[..., self.blocks["lids"]] /= self.lid_scale(neutral)
        return z

    def align(
        self, landmarks: np.ndarray, shape: np.ndarray | None = None
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(T, 478, 3) landmarks, any unit -> canonical (T, 478, 3) and pose (R (T, 3, 3), scale (T,), t (T, 3)).

        landmarks = scale * canonical @ R.T + t. `shape` is the person's own canonical neutral where it is known (less bias than
        the mean face).
        """
        ref = self.mean_shape if shape is None else shape
        rot, scale, t = procrustes(landmarks, ref, stable_weights())
        canonical = np.einsum("tnj,tjk->tnk", landmarks - t[:, None], rot) / scale[:, None, None]
        return canonical.astype(np.float32), (rot.astype(np.float32), scale.astype(np.float32), t.astype(np.float32))

    def align_clip(self, landmarks: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """`align` twice: to the mean face, then to the clip's own median shape, so that turning the head changes the shape
        less.
        """
        first, _ = self.align(landmarks)
        return self.align(landmarks, np.median(first, axis=0))

    def split_identity(self, canonical: np.ndarray, prior: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """One canonical face (478, 3) -> (neutral (478, 3), z (K,)): joint ridge fit of identity and expression around the mean
        shape.

        What neither basis explains stays in the neutral: it is the person. `prior` scales the penalty (z / std)^2.
        """
        a = np.concatenate([self.identity_directions, self.directions]).reshape(-1, self.mean_shape.size).astype(np.float64)
        std = np.maximum(np.concatenate([self.identity_std, self.std]).astype(np.float64), 1e-6)
        aw = a * np.repeat(self.importance, 3)
        c = np.linalg.solve(aw @ a.T + np.diag(prior * NOISE**2 / std**2), aw @ (canonical - self.mean_shape).reshape(-1))
        z = c[len(self.identity_std) :].astype(np.float32)
        for _ in range(3 if len(self.mouth_open_direction) else 0):  # z = 0 means closed lips, whoever it is
            neutral = canonical - self.decode(z)
            z = z + (neutral[14, 1] - neutral[13, 1]) * self.mouth_open_direction
        return (canonical - self.decode(z)).astype(np.float32), z.astype(np.float32)
