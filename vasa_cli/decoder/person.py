"""The person layer in motion: dense 3D flow from vertices and pose, visibility by splatting, one sampling of the photo."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.field import grid_points, thin_plate_weights
from vasa_cli.decoder.geometry import HeadModel, HeadPose
from vasa_cli.decoder.splat import fill, splat
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import GRID, SIZE, FaceLatent

SHARPNESS = 10.0  # of visibility: a surface 0.1 IOD nearer hides the one behind by e^1
REACH = 1.75  # facial displacement dies out at this multiple of the face outline
_STILL_RINGS = (1.42, 1.75, 2.3)  # multiples of the outline where the skin stands still relative to the head


def _mask_inside(ring: np.ndarray) -> np.ndarray:
    """(GRID, GRID) bool: cells whose centre lies inside a closed ring (N, 2) in crop pixels (even-odd rule)."""
    p = grid_points(GRID, SIZE).numpy()
    x, y = p[:, 0], p[:, 1]
    odd = np.zeros(len(p), bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd.reshape(GRID, GRID)


def _scaled_outline(landmarks: np.ndarray, factor: float) -> np.ndarray:
    oval = landmarks[list(top.OVAL), :2]
    middle = oval.mean(0)
    return np.asarray(middle + (oval - middle) * factor)


def _seam_side(landmarks: np.ndarray) -> np.ndarray:
    """(GRID * GRID,) bool: True where a cell lies below its slit (mouth or eye) and must follow the lower lip or lid."""
    p = grid_points(GRID, SIZE).numpy()
    below = np.zeros(len(p), bool)
    for upper, lower in top.SLITS:
        middle = (landmarks[list(upper), :2] + landmarks[list(lower), :2]) / 2
        axis = middle[-1] - middle[0]
        width = float(np.linalg.norm(axis))
        axis = axis / width * (1 if axis[0] > 0 else -1)
        start = middle[0] if middle[0] @ axis < middle[-1] @ axis else middle[-1]
        down = np.array([-axis[1], axis[0]])
        order = np.argsort((middle - start) @ axis)
        u, v = (p - start) @ axis, (p - start) @ down
        seam = np.interp(u, ((middle - start) @ axis)[order], ((middle - start) @ down)[order])
        near = (u > -0.15 * width) & (u < 1.15 * width) & (v - seam < 0.9 * width)
        below |= near & (v > seam)
    return below


def _apertures(landmarks: np.ndarray) -> np.ndarray:
    """(GRID, GRID) bool: cells that show eyeball or mouth interior, not skin."""
    hole = np.zeros((GRID, GRID), bool)
    for slit in top.SLITS:
        hole |= _mask_inside(landmarks[top.ring(slit), :2])
    return hole


def near_cover(coverage: torch.Tensor) -> torch.Tensor:
    """Where anything fell, gaps of a mouth's size closed: (B, 1, G, G) -> (B, 1, G/4, G/4). Beyond it the filled flow would
    repeat ears and hair."""
    hit = F.max_pool2d((coverage > 0.02).float(), 4)
    grown = F.max_pool2d(F.pad(hit, (3, 3, 3, 3), mode="replicate"), 7, 1)
    return 1 - F.max_pool2d(F.pad(1 - grown, (3, 3, 3, 3), mode="replicate"), 7, 1)


class PersonLayer(torch.nn.Module):
    """Moves the RGBA person layer of one face. All buffers live on the module's device."""

    texture: torch.Tensor
    points: torch.Tensor
    canonical: torch.Tensor
    follow: torch.Tensor
    skin: torch.Tensor
    weights: torch.Tensor
    cells: torch.Tensor

    def __init__(self, face: FaceLatent, head: HeadModel) -> None:
        super().__init__()
        self.head = head
        texture = torch.from_numpy(np.ascontiguousarray(face.person.transpose(2, 0, 1))).float() / 255
        self.register_buffer("texture", texture[None])  # (1, 4, 768, 768)
        keep = self._source_cells(face)
        points = grid_points(GRID, SIZE)[keep]  # (N, 2)
        z = torch.from_numpy(face.depth).reshape(-1)[keep]
        posed = torch.cat([points, z[:, None]], 1)
        canonical = (posed - torch.from_numpy(face.translation)) @ torch.from_numpy(face.rotation) / float(face.scale)
        self.register_buffer("points", points)
        self.register_buffer("canonical", canonical)
        self.register_buffer("follow", torch.from_numpy(face.follow).reshape(-1)[keep])
        skin, weights = self._skin_weights(face, points, torch.from_numpy(_seam_side(face.landmarks))[keep])
        self.register_buffer("skin", skin)  # (S,) indices into points
        self.register_buffer("weights", weights)  # (S, 468)
        cells = grid_points(GRID, SIZE).T.reshape(1, 2, GRID, GRID)
        self.register_buffer("cells", cells)

    @staticmethod
    def _source_cells(face: FaceLatent) -> torch.Tensor:
        """Cells of the photo that are splatted: the person, a margin around the edge so that the flow goes on, no openings."""
        alpha = torch.from_numpy(face.person[..., 3].astype(np.float32))[None, None] / 255
        near = F.max_pool2d(F.adaptive_max_pool2d(alpha, GRID), 21, 1, 10)[0, 0] > 0.02
        return (near & ~torch.from_numpy(_apertures(face.landmarks))).reshape(-1)

    @staticmethod
    def _skin_weights(face: FaceLatent, points: torch.Tensor, below: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Thin-plate weights of the cells that facial dynamics move; skin above a slit ignores what is below it and vice
        versa."""
        inside = torch.from_numpy(_mask_inside(_scaled_outline(face.landmarks, REACH))).reshape(-1)
        index = (points * (GRID / SIZE)).long()
        skin = torch.nonzero(inside[index[:, 1] * GRID + index[:, 0]])[:, 0]
        still = np.concatenate([_scaled_outline(face.landmarks, r)[::2] for r in _STILL_RINGS])
        unit = float(face.scale) * 2
        weights = torch.zeros(len(skin), top.N_SKIN)
        for side, ignored in ((False, top.BELOW_SLITS), (True, top.ABOVE_SLITS)):
            used = [i for i in range(top.N_SKIN) if i not in ignored]
            nodes = torch.from_numpy(np.concatenate([face.landmarks[used, :2], still]).astype(np.float32))
            rows = torch.nonzero(below[skin] == side)[:, 0]
            w = thin_plate_weights(nodes / unit, points[skin[rows]] / unit, 1e-4)
            full = torch.zeros(len(rows), top.N_SKIN)
            full[:, used] = w[:, : len(used)]
            weights[rows] = full
        return skin, weights

    def flow(self, displacement: torch.Tensor, pose: HeadPose) -> tuple[torch.Tensor, torch.Tensor]:
        """displacement (B, 468, 3) of the vertices against the photo, canonical -> where each cell of the picture comes from,
        (B, 2, GRID, GRID) crop pixels, and where there is a person at all (B, 1, GRID / 4, GRID / 4) 0..1."""
        b = len(displacement)
        moved = self.canonical.expand(b, -1, -1).clone()  # (B, N, 3)
        moved[:, self.skin] += torch.einsum("sn,bnc->bsc", self.weights, displacement)
        placed = self.head.place(moved, pose)  # (B, N, 3)
        follow = self.follow[None, :, None]
        at = self.points + follow * (placed[..., :2] - self.points)
        at = pose.zoomed(at)  # (B, N, 2)
        nearness = -SHARPNESS * (placed[..., 2] - pose.translation[:, 2:]) / self.head.scale
        back, coverage = splat(at * (GRID / SIZE), self.points - at, nearness.clamp(-20, 20), GRID)
        source = self.cells + fill(back, coverage)
        if bool((pose.zoom >= 0.999).all()):
            return source, near_cover(coverage)
        rest, outside = self._beyond_photo(pose)
        return torch.lerp(source, rest, outside), torch.maximum(near_cover(coverage), F.avg_pool2d(outside, 4))

    def _beyond_photo(self, pose: HeadPose) -> tuple[torch.Tensor, torch.Tensor]:
        """Where a person farther away shows what the photo's border cut off: the place (B, 2, GRID, GRID) in the photo, beyond
        its border, and 1 there (B, 1, GRID, GRID). Shoulders go on as the border's pixels do.
        """
        anchor, zoom = pose.anchor[None, :, None, None], pose.zoom[:, None, None, None]
        rest = anchor + (self.cells - anchor) / zoom
        outside = ((rest < 6) | (rest > SIZE - 6)).any(1, keepdim=True).float()
        return rest, outside * (zoom < 0.999)

    def forward(self, displacement: torch.Tensor, pose: HeadPose, size: int) -> torch.Tensor:
        """-> (B, 4, size, size) colour and matte, 0..1, not premultiplied."""
        source, present = self.flow(displacement, pose)
        source = F.interpolate(source, size=(size, size), mode="bilinear", align_corners=False)
        grid = (source / (SIZE / 2) - 1).permute(0, 2, 3, 1)
        texture = self.texture.expand(len(grid), -1, -1, -1)
        rgba = F.grid_sample(texture, grid, mode="bilinear", padding_mode="border", align_corners=False)
        rgba[:, 3:] *= F.interpolate(present, size=(size, size), mode="bilinear", align_corners=False)
        return rgba
