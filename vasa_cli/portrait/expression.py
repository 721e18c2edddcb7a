"""Split the photo's face into who it is (identity), how it is held (pose) and what it does (dynamics)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis, euler

KEPT_SMILE = 0.5  # share of the photo's mouth expression that stays: a person photographed smiling is recognised by it


@dataclass(frozen=True)
class FaceCodes:
    """neutral (478, 3) canonical; identity (M,); pose (6,) yaw, pitch, roll, x, y, log distance of the photo (the last three
    0: its own rest);
    dynamics (K,); rotation (3, 3), scale (), translation (3,): landmarks = scale * R @ (neutral + decode_person(dynamics)) +
    translation."""

    neutral: np.ndarray
    identity: np.ndarray
    pose: np.ndarray
    dynamics: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    translation: np.ndarray


def split_codes(landmarks: np.ndarray, basis: DynamicsBasis) -> FaceCodes:
    """Codes of one face from its landmarks (478, 3) in crop pixels.

    Gaze, lids and brows of the photo count as the person's rest: people look at the camera with their own eye opening. Only
    the mouth is
    neutralised, so that speech does not add to it: open lips are closed, a smile is halved.
    """
    canonical, (rotation, scale, translation) = basis.align(landmarks[None])
    first = canonical[0]
    _, z = basis.split_identity(first)
    keep = np.zeros_like(z)
    keep[basis.blocks["mouth"]] = (1 - KEPT_SMILE) * z[basis.blocks["mouth"]]
    for _ in range(4):  # whatever stays of the smile, the lips are closed at rest
        rest = first - basis.decode(keep)
        keep += (rest[14, 1] - rest[13, 1]) * basis.mouth_open_direction
    neutral = (first - basis.decode(keep)).astype(np.float32)
    spread = basis.identity_directions.reshape(len(basis.identity_std), -1)
    identity = np.linalg.lstsq(spread.T, (neutral - basis.mean_shape).reshape(-1), rcond=None)[0]
    pose = np.zeros(6, np.float32)
    pose[:3] = euler(rotation[0])
    return FaceCodes(
        neutral=neutral,
        identity=identity.astype(np.float32),
        pose=pose,
        dynamics=keep.astype(np.float32),
        rotation=rotation[0].astype(np.float32),
        scale=np.float32(scale[0]).reshape(()),
        translation=translation[0].astype(np.float32),
    )
