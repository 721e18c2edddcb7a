"""The person layer in motion: dense 3D flow from vertices and pose, visibility by splatting, one sampling of the photo.

Two sheets of the same photo: the face, and everything else of the person behind it. A turned head's cheek ends where it
turns away from the viewer; were face and ear one sheet, the flow between them would be a thin ragged copy of the ear.
"""

from __future__ import annotations

from math import ceil, gcd

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder import regions
from vasa_cli.decoder.field import grid_points, thin_plate_weights
from vasa_cli.decoder.geometry import HeadModel, HeadPose
from vasa_cli.decoder.patches import planes
from vasa_cli.decoder.rigid import glasses_zone
from vasa_cli.decoder.shading import Shading, face_plane
from vasa_cli.decoder.splat import fill, splat
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import GRID, SIZE, FaceLatent

SHARPNESS = 10.0  # of visibility: a surface 0.1 IOD nearer hides the one behind by e^1
REACH = 1.75  # facial displacement dies out at this multiple of the face outline
_STILL_RINGS = (1.42, 1.75, 2.3)  # multiples of the outline where the skin stands still relative to the head
SEAM = 8.0  # crop pixels inside the crop's border at which the surroundings begin
_BLOCK = 16  # cells; the face's window starts and ends at multiples of it


def near_cover(coverage: torch.Tensor, reach: int = 3) -> torch.Tensor:
    """Where anything fell, gaps of a mouth's size closed: (B, 1, H, W) -> (B, 1, H/4, W/4). Beyond it the filled flow would
    repeat ears and hair."""
    hit = F.max_pool2d((coverage > 0.02).float(), 4)
    grown = F.max_pool2d(F.pad(hit, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)
    return 1 - F.max_pool2d(F.pad(1 - grown, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)


def _silhouette(coverage: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) 0..1, smooth over a cell at the outline: where the front sheet is. Openings count as covered: places from
    which no straight way along a row or a column leads out."""
    free = 1 - F.max_pool2d((coverage > 0.02).float(), 3, 1, 1)
    ways = [free.cumprod(d) for d in (2, 3)] + [free.flip(d).cumprod(d).flip(d) for d in (2, 3)]
    outside = torch.stack(ways).amax(0)
    deep = 1 - F.max_pool2d(F.pad(outside, (2,) * 4, value=1.0), 5, 1)  # the outline itself is drawn by what really fell there
    return F.avg_pool2d(torch.maximum((coverage * 3).clamp(0, 1), deep), 3, 1, 1)


def _resize(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(planes.contiguous(), size=size, mode="bilinear", align_corners=False)


class PersonLayer(torch.nn.Module):
    """Moves the RGBA person layer of one face. All buffers live on the module's device."""

    texture: torch.Tensor
    surround: torch.Tensor
    points: torch.Tensor
    canonical: torch.Tensor
    follow: torch.Tensor
    ramp: torch.Tensor
    skin: torch.Tensor
    weights: torch.Tensor
    cells: torch.Tensor

    def __init__(self, face: FaceLatent, head: HeadModel, basis: DynamicsBasis) -> None:
        super().__init__()
        self.head = head
        texture = torch.from_numpy(np.ascontiguousarray(face.person.transpose(2, 0, 1))).float() / 255
        self.register_buffer("texture", texture[None])  # (1, 4, T, T)
        self.register_buffer("surround", planes(face.surround))  # (1, 4, h, w)
        ramp = torch.from_numpy(regions.face_ramp(face.landmarks)).reshape(-1)
        keep = self._source_cells(face)
        rim, border = (torch.from_numpy(a) for a in regions.beyond_border(self._matte(face)[0, 0].numpy()))
        # beyond the border, behind only, both sheets, front only: each sheet is one slice
        behind, front = keep & (ramp < 1), keep & (ramp > 0)
        order = torch.cat([border, *(torch.nonzero(m)[:, 0] for m in (behind & ~front, behind & front, front & ~behind))])
        self.n_behind, self.first_front = len(rim) + int(behind.sum()), len(rim) + int((behind & ~front).sum())
        points = torch.cat([rim, grid_points(GRID, SIZE)[order[len(rim) :]]])  # (N, 2)
        z = torch.from_numpy(face.depth).reshape(-1)[order]
        posed = torch.cat([points, z[:, None]], 1)
        canonical = (posed - torch.from_numpy(face.translation)) @ torch.from_numpy(face.rotation) / float(face.scale)
        self.register_buffer("points", points)
        self.register_buffer("canonical", canonical)
        self.register_buffer("follow", torch.from_numpy(face.follow).reshape(-1)[order])
        self.register_buffer("ramp", ramp[order[self.first_front :]])
        skin, weights = self._skin_weights(face, points, order, len(rim))
        self.register_buffer("skin", skin)  # (S,) indices into points
        moves = 1 - torch.from_numpy(glasses_zone(face, points[skin].numpy()))
        self.register_buffer("weights", weights * moves[:, None])  # (S, 468)
        front_skin = skin >= self.first_front
        place = face_plane(face, points[skin[front_skin]], weights[front_skin], basis.mean_shape)
        self.shading = Shading(face, basis, place)
        cells = grid_points(GRID, SIZE).T.reshape(1, 2, GRID, GRID)
        self.register_buffer("cells", cells)

    @staticmethod
    def _matte(face: FaceLatent) -> torch.Tensor:
        """(1, 1, GRID, GRID) 0..1, the largest of each cell."""
        return F.adaptive_max_pool2d(torch.from_numpy(face.person[..., 3].astype(np.float32))[None, None] / 255, GRID)

    @staticmethod
    def _source_cells(face: FaceLatent) -> torch.Tensor:
        """Cells of the photo that are splatted: the person, a margin around the edge so that the flow goes on, no openings."""
        near = F.max_pool2d(PersonLayer._matte(face), 21, 1, 10)[0, 0] > 0.02
        return (near & ~torch.from_numpy(regions.apertures(face.landmarks))).reshape(-1)

    @staticmethod
    def _skin_weights(
        face: FaceLatent, points: torch.Tensor, cells: torch.Tensor, start: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Thin-plate weights of the places that facial dynamics move (of points (N, 2), in cells (N,), from `start` on); skin
        above a slit ignores what is below it and vice versa."""
        inside = torch.from_numpy(regions.mask_inside(regions.scaled_outline(face.landmarks, REACH))).reshape(-1)[cells]
        inside[:start] = False
        skin = torch.nonzero(inside)[:, 0]
        below = torch.from_numpy(regions.seam_side(face.landmarks))[cells]
        still = np.concatenate([regions.scaled_outline(face.landmarks, r)[::2] for r in _STILL_RINGS])
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

    def place(self, displacement: torch.Tensor, pose: HeadPose) -> tuple[torch.Tensor, torch.Tensor]:
        """displacement (B, 468, 3) of the vertices against the photo, canonical -> where each source cell goes, (B, N, 2) crop
        pixels, and how near it is there (B, N)."""
        moved = self.canonical.expand(len(displacement), -1, -1).clone()  # (B, N, 3)
        moved[:, self.skin] += torch.einsum("sn,bnc->bsc", self.weights, displacement)
        placed = self.head.place(moved, pose)  # (B, N, 3)
        at = self.head.carry(self.points, placed[..., :2], self.follow[:, None], pose)
        nearness = -SHARPNESS * (placed[..., 2] - pose.translation[:, 2:]) / self.head.scale
        return at, nearness.clamp(-20, 20)

    def forward(self, displacement: torch.Tensor, dynamics: torch.Tensor, pose: HeadPose, size: int) -> torch.Tensor:
        """displacement (B, 468, 3) of the vertices against the photo, dynamics (B, K) -> (B, 4, size, size) colour and matte,
        0..1, not premultiplied."""
        at, nearness = self.place(displacement, pose)
        back = self.points - at
        rgba = self._behind(at[:, : self.n_behind], back[:, : self.n_behind], nearness[:, : self.n_behind], pose, size)
        front = slice(self.first_front, None)
        shade = self.shading(dynamics, pose)
        value = torch.cat([back[:, front], self.ramp.expand(len(back), -1)[..., None], shade[..., None]], -1)
        self._draw_front(rgba, at[:, front], value, nearness[:, front])
        return rgba

    def _behind(self, at: torch.Tensor, back: torch.Tensor, nearness: torch.Tensor, pose: HeadPose, size: int) -> torch.Tensor:
        """Hair, ears, neck, shoulders: (B, 4, size, size)."""
        flow, coverage = splat(at * (GRID / SIZE), back, nearness, (GRID, GRID))
        rgba = self._sample(_resize(self.cells + fill(flow, coverage), (size, size)))
        rgba[:, 3:] *= _resize(near_cover(coverage), (size, size))
        if self.head.border is None and bool((pose.zoom < 0.999).any()):
            self._draw_surround(rgba, pose)
        return rgba

    def _draw_front(self, rgba: torch.Tensor, at: torch.Tensor, value: torch.Tensor, nearness: torch.Tensor) -> None:
        """The face, over `rgba` (B, 4, S, S). value (B, N, 4): the way back, how far the cell belongs to the face, shade."""
        size = rgba.shape[-1]
        x0, y0, x1, y1 = self._window(at, size)
        if x1 <= x0 or y1 <= y0:
            return
        origin = torch.tensor([x0, y0], dtype=at.dtype, device=at.device)
        flow, coverage = splat(at * (GRID / SIZE) - origin, value, nearness, (y1 - y0, x1 - x0))
        sheet = fill(flow, coverage, 4)  # blocks of the same places whatever the window, so that no frame depends on its batch
        sheet[:, :2] += self.cells[:, :, y0:y1, x0:x1]
        sheet[:, 2:3] *= _silhouette(coverage)
        k = size / GRID
        left, upper, right, lower = (round(v * k) for v in (x0, y0, x1, y1))
        sheet = _resize(sheet, (lower - upper, right - left))
        face = self._sample(sheet[:, :2])
        part = rgba[:, :, upper:lower, left:right]
        cover = ((sheet[:, 2:3] - 0.5) * 2 + 0.5).clamp(0, 1)  # not the matte, which frays where a hidden cheek is drawn out
        part[:, :3].lerp_((face[:, :3] * torch.exp(sheet[:, 3:])).clamp_max(1), cover)
        part[:, 3:].lerp_(torch.ones_like(cover), cover)

    @staticmethod
    def _window(at: torch.Tensor, size: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in cells around all of `at` (B, N, 2), at places that are whole pixels of a picture of this size."""
        step = _BLOCK * (GRID // _BLOCK // gcd(GRID // _BLOCK, max(size // _BLOCK, 1))) if size % _BLOCK == 0 else GRID
        low = (at.amin((0, 1)) * (GRID / SIZE) - 3) / step
        high = (at.amax((0, 1)) * (GRID / SIZE) + 3) / step
        ends = torch.cat([low.floor(), high.ceil()]).mul(step).clamp(0, GRID).int().tolist()
        return ends[0], ends[1], ends[2], ends[3]

    def _sample(self, source: torch.Tensor) -> torch.Tensor:
        """The photo's layer at source (B, 2, H, W) crop pixels -> (B, 4, H, W)."""
        grid = (source / (SIZE / 2) - 1).permute(0, 2, 3, 1)
        texture = self.texture.expand(len(grid), -1, -1, -1)
        return F.grid_sample(texture, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _draw_surround(self, rgba: torch.Tensor, pose: HeadPose) -> None:
        """Where a person farther away shows what the crop's border cut off: that part of the photo, into rgba (B, 4, S, S)."""
        k, zoom = rgba.shape[-1] / SIZE, pose.zoom[:, None, None, None]
        anchor = pose.anchor[None, :, None, None]
        for y0, y1, x0, x1 in self._border_strips(pose, rgba.shape[-1]):
            y, x = ((torch.arange(a, b, device=rgba.device) + 0.5) / k for a, b in ((y0, y1), (x0, x1)))
            cells = torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]  # (1, 2, h, w) crop pixels
            place = anchor + (cells - anchor) / zoom
            outside = ((place - SIZE / 2).abs().amax(1, keepdim=True) - (SIZE / 2 - SEAM)).div(6).clamp(0, 1) * (zoom < 0.999)
            grid = ((place + SIZE / 2) / SIZE - 1).permute(0, 2, 3, 1)
            there = F.grid_sample(self.surround.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False)
            rgba[:, :, y0:y1, x0:x1].lerp_(there, outside)

    @staticmethod
    def _border_strips(pose: HeadPose, size: int) -> list[tuple[int, int, int, int]]:
        """Rows and columns (y0, y1, x0, x1) of a picture of this size around the crop as it lies in the farthest frame."""
        z, k = float(pose.zoom.min()), size / SIZE
        (ax, ay), near, far = pose.anchor.tolist(), SEAM, SIZE - SEAM
        x0, y0 = (min(max(ceil((a + (near - a) * z) * k) + 1, 0), size) for a in (ax, ay))
        x1, y1 = (min(max(int((a + (far - a) * z) * k) - 1, 0), size) for a in (ax, ay))
        strips = [(0, y0, 0, size), (y1, size, 0, size), (y0, y1, 0, x0), (y0, y1, x1, size)]
        return [(a, b, c, d) for a, b, c, d in strips if b > a and d > c]
