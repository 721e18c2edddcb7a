"""Lift the person layer to 3D: how deep each place lies, and how far it goes along with the head."""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import GRID, SIZE

# Rings around the face outline that continue the head: (how much farther out, how much deeper in IOD). An ellipsoid's profile.
_HEAD_RINGS = ((1.22, 0.30), (1.5, 0.55), (2.1, 0.70))
_NECK_RINGS = ((1.15, 0.42), (1.5, 0.50), (2.3, 0.45))  # under the jaw the neck lies behind, then runs down to the chest
_DEEPEST = 1.0  # IOD behind the canonical origin: about the ears' back
NECK_LENGTH = 1.15  # IOD below the chin at which nothing follows the head any more


def _outline_nodes(canonical: np.ndarray) -> np.ndarray:
    """Canonical (N, 3) points around the face that continue the surface: head above, neck below the jaw."""
    oval = canonical[list(top.OVAL)]
    centre = oval.mean(0)
    chin = np.isin(top.OVAL, top.OVAL_CHIN[3:-3])
    nodes = []
    for ring, (head, neck) in enumerate(zip(_HEAD_RINGS, _NECK_RINGS, strict=True)):
        grow = np.where(chin, neck[0], head[0])[:, None]
        deeper = np.where(chin, neck[1], head[1])
        p = oval.copy()
        p[:, :2] = centre[:2] + (oval[:, :2] - centre[:2]) * grow
        p[:, 2] = np.minimum(oval[:, 2] + deeper, _DEEPEST)
        nodes.append(p[ring % 2 :: 2])
    return np.concatenate(nodes)


def depth_map(canonical: np.ndarray, rotation: np.ndarray, scale: float, translation: np.ndarray) -> np.ndarray:
    """Depth z of the person in crop pixels, (GRID, GRID) float32, from canonical vertices (478, 3) and the photo's pose."""
    import torch

    from vasa_cli.decoder.field import grid_points, thin_plate_weights

    nodes = np.concatenate([canonical[: top.N_SKIN], _outline_nodes(canonical)])
    posed = scale * nodes @ rotation.T + translation
    centre = posed[:, :2].mean(0)
    unit = 4 * scale
    points = grid_points(GRID // 2, SIZE)  # depth is smooth; half the cells will do
    weights = thin_plate_weights(
        torch.from_numpy((posed[:, :2] - centre) / unit), (points - torch.from_numpy(centre).float()) / unit, 1e-3
    )
    z = (weights @ torch.from_numpy(posed[:, 2:3]).float()).reshape(1, 1, GRID // 2, GRID // 2)
    near, far = float(posed[: top.N_SKIN, 2].min()), float(posed[:, 2].max())
    z = torch.nn.functional.interpolate(z.clamp(near, far), size=(GRID, GRID), mode="bilinear", align_corners=False)
    return np.ascontiguousarray(z[0, 0].numpy(), np.float32)


def follow_map(canonical: np.ndarray, rotation: np.ndarray, scale: float, translation: np.ndarray) -> np.ndarray:
    """How far each place goes along with the head: 1 head and hair, falling down the neck to 0 at the chest. (GRID, GRID)
    float32."""
    from vasa_cli.decoder.field import grid_points

    points = grid_points(GRID, SIZE).numpy()
    roll = np.arctan2(rotation[1, 0], rotation[1, 1])
    down = np.array([-np.sin(roll), np.cos(roll)])  # the head's own "down" in the picture
    chin = scale * canonical[top.CHIN] @ rotation.T + translation
    jaw = 0.10 * scale  # the curve of the jaw: it rises towards the ears, but hair beside the neck still hangs from the head
    below = (points @ down - chin[:2] @ down + jaw) / (NECK_LENGTH * scale)
    x = np.clip(below, 0, 1)
    return np.ascontiguousarray((1 - x * x * (3 - 2 * x)).reshape(GRID, GRID), np.float32)
