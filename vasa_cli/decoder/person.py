"""The person layer in motion: dense 3D flow from vertices and pose, visibility by splatting, one sampling of the photo.

Two sheets of the same photo: the face, and everything else of the person behind it. A turned head's cheek ends where it
turns away from the viewer; were face and ear one sheet, the flow between them would be a thin ragged copy of the ear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, gcd

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder import regions
from vasa_cli.decoder.cover import Box, boxes, hidden_cells, near_cover, silhouette
from vasa_cli.decoder.field import grid_points
from vasa_cli.decoder.geometry import HeadModel, HeadPose
from vasa_cli.decoder.patches import planes
from vasa_cli.decoder.rigid import glasses_zone
from vasa_cli.decoder.shading import Shading, face_plane
from vasa_cli.decoder.sheet import Sheet
from vasa_cli.decoder.skin import REACH, SkinField, neighbours_first, patterns, skin_weights
from vasa_cli.decoder.splat import fill, splat
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.portrait.latent import GRID, SIZE, FaceLatent

BEHIND = 192  # cells a side of the flow behind the face, which is smoother than the face's own
SEAM = 8.0  # crop pixels inside the crop's border at which the surroundings begin
_BLOCK = 16  # cells; the face's window starts and ends at multiples of it
_RANKS = (16, 24)  # of the skin's weights behind and on the face: errors of hundredths of a pixel
_UNIT = 2 / SIZE  # crop pixels -> the -1..1 of grid_sample


@dataclass(frozen=True)
class Front:
    """The face's sheet over a window of cells from (x0, y0). planes (B, 4, h, w): place in the photo (two, -1..1), how far the
    cell belongs to the face, factor of shade."""

    x0: int
    y0: int
    planes: torch.Tensor

    def hidden(self, frame: int) -> torch.Tensor:
        """(NEAR, NEAR) bool: what the face of this frame hides."""
        return hidden_cells(self.planes[frame, 2] >= 0.75, self.x0, self.y0)  # see PersonLayer._draw_front


def _resize(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(planes, size=size, mode="bilinear", align_corners=False)


class PersonLayer(torch.nn.Module):
    """Moves the RGBA person layer of one face. All buffers live on the module's device."""

    texture: torch.Tensor
    surround: torch.Tensor
    ramp: torch.Tensor
    cells: torch.Tensor
    coarse: torch.Tensor

    def __init__(self, face: FaceLatent, head: HeadModel, basis: DynamicsBasis, samples: torch.Tensor) -> None:
        """samples (M, 468, 3): how vertices move in typical frames, canonical."""
        super().__init__()
        self.head = head
        texture = torch.from_numpy(np.ascontiguousarray(face.person.transpose(2, 0, 1))).float() / 255
        self.register_buffer("texture", texture[None])  # (1, 4, T, T)
        self.register_buffer("surround", planes(face.surround))  # (1, 4, h, w)
        moves = patterns(samples)
        ramp = torch.from_numpy(regions.face_ramp(face.landmarks))
        keep = self._source_cells(face)
        self.behind = self._behind_sheet(face, keep & (ramp < 1), moves)
        self.front, place = self._front_sheet(face, keep & (ramp > 0), moves, basis)
        x, y = (self.front.points * (GRID / SIZE)).long().unbind(-1)
        self.register_buffer("ramp", ramp[y, x])
        self.shading = Shading(face, basis, place)
        self.register_buffer("cells", self._places(GRID))
        self.register_buffer("coarse", self._places(BEHIND))

    @staticmethod
    def _places(cells: int) -> torch.Tensor:
        """(1, 2, cells, cells): centres, -1..1."""
        return (grid_points(cells, SIZE).T.reshape(1, 2, cells, cells) * _UNIT - 1).contiguous()

    @staticmethod
    def _matte(face: FaceLatent) -> torch.Tensor:
        """(1, 1, GRID, GRID) 0..1, the largest of each cell."""
        return F.adaptive_max_pool2d(torch.from_numpy(face.person[..., 3].astype(np.float32))[None, None] / 255, GRID)

    @staticmethod
    def _source_cells(face: FaceLatent) -> torch.Tensor:
        """(GRID, GRID) bool, cells of the photo that are splatted: the person, a margin around the edge so that the flow goes
        on, no openings."""
        near = F.max_pool2d(PersonLayer._matte(face), 21, 1, 10)[0, 0] > 0.02
        return near & ~torch.from_numpy(regions.apertures(face.landmarks))

    @staticmethod
    def _behind_sheet(face: FaceLatent, mask: torch.Tensor, moves: torch.Tensor) -> Sheet:
        """Hair, ears, neck, shoulders, on the BEHIND grid, and what goes on beyond the border of the crop."""
        rim, border = (torch.from_numpy(a) for a in regions.beyond_border(PersonLayer._matte(face)[0, 0].numpy()))
        depth, follow = torch.from_numpy(face.depth), torch.from_numpy(face.follow)
        kept, *maps = _resize(torch.stack([mask.float(), depth, follow])[None], (BEHIND, BEHIND))[0].flatten(1)
        cells = torch.nonzero(kept >= 0.5)[:, 0]
        points = grid_points(BEHIND, SIZE)[cells]
        inside, below = PersonLayer._at_cells(face, points)
        order = torch.cat([torch.nonzero(~inside)[:, 0], torch.nonzero(inside)[:, 0]])
        still = len(order) - int(inside.sum())
        order[still:] = order[still:][neighbours_first(points[order[still:]], below[order[still:]], SIZE / BEHIND)]
        skin = order[still:]
        weights = skin_weights(face, points[skin], below[skin])
        weights *= 1 - torch.from_numpy(glasses_zone(face, points[skin].numpy()))[:, None]
        z, along = (torch.cat([m.reshape(-1)[border], v[cells[order]]]) for m, v in zip((depth, follow), maps, strict=True))
        return Sheet(face, torch.cat([rim, points[order]]), z, along, SkinField(weights, moves, _RANKS[0]))

    @staticmethod
    def _front_sheet(
        face: FaceLatent, mask: torch.Tensor, moves: torch.Tensor, basis: DynamicsBasis
    ) -> tuple[Sheet, torch.Tensor]:
        """The face, and where its places lie on the mean face (N, 2) IOD."""
        cells = torch.nonzero(mask.reshape(-1))[:, 0]
        points = grid_points(GRID, SIZE)[cells]
        below = PersonLayer._at_cells(face, points)[1]
        order = neighbours_first(points, below, SIZE / GRID)
        points, cells = points[order], cells[order]
        weights = skin_weights(face, points, below[order])
        place = face_plane(face, points, weights, basis.mean_shape)
        weights *= 1 - torch.from_numpy(glasses_zone(face, points.numpy()))[:, None]
        depth, follow = (torch.from_numpy(m).reshape(-1)[cells] for m in (face.depth, face.follow))
        return Sheet(face, points, depth, follow, SkinField(weights, moves, _RANKS[1])), place

    @staticmethod
    def _at_cells(face: FaceLatent, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) bool each: places (N, 2) that facial dynamics move, and those below their slit."""
        x, y = (points * (GRID / SIZE)).long().clamp(0, GRID - 1).unbind(-1)
        inside = torch.from_numpy(regions.mask_inside(regions.scaled_outline(face.landmarks, REACH)))
        below = torch.from_numpy(regions.seam_side(face.landmarks)).view(GRID, GRID)
        return inside[y, x], below[y, x]

    def halve(self, dtype: torch.dtype) -> None:
        """Keep the skin's weights, the only large products of a frame, in another precision. Coordinates stay float32."""
        self.behind.field.to(dtype)
        self.front.field.to(dtype)

    def forward(self, displacement: torch.Tensor, dynamics: torch.Tensor, pose: HeadPose, size: int) -> torch.Tensor:
        """displacement (B, 468, 3) of the vertices against the photo, dynamics (B, K) -> (B, 4, size, size) colour and matte,
        0..1, not premultiplied."""
        rgba = self.texture.new_empty(len(displacement), 4, size, size)
        for i, (y0, y1, x0, x1), piece in self._behind(displacement, pose, size, None):
            rgba[i : i + len(piece), :, y0:y1, x0:x1] = piece
        front = self.face(displacement, dynamics, pose, size)
        if front is not None:
            self._draw_front(rgba, front)
        return rgba

    def draw(self, below: torch.Tensor, displacement: torch.Tensor, dynamics: torch.Tensor, pose: HeadPose) -> torch.Tensor:
        """The person over a ground (1, 3, S, S) -> (B, 3, S, S). Looks only where there is something, on the CPU."""
        size = below.shape[-1]
        picture = below.expand(len(displacement), -1, -1, -1).clone()
        front = self.face(displacement, dynamics, pose, size)
        for i, (y0, y1, x0, x1), piece in self._behind(displacement, pose, size, front):
            part, ground = picture[i : i + len(piece), :, y0:y1, x0:x1], below[:, :, y0:y1, x0:x1]
            torch.lerp(ground.expand_as(part), piece[:, :3], piece[:, 3:], out=part)
        if front is not None:
            self._draw_front(picture, front)
        return picture

    def _behind(
        self, displacement: torch.Tensor, pose: HeadPose, size: int, front: Front | None
    ) -> Iterator[tuple[int, Box, torch.Tensor]]:
        """Hair, ears, neck, shoulders, piece by piece: first frame, place in a picture of this size, (n, 4, h, w) colour and
        matte. A later piece replaces an earlier one. With `front`, only what can be seen of them."""
        flow, near = self.flow(displacement, pose)
        grid, matte = _resize(flow, (size, size)), _resize(near.float(), (size, size))
        if front is None or grid.is_cuda:
            yield 0, (0, size, 0, size), self._piece(grid, matte, (0, size, 0, size))
        else:
            for i in range(len(grid)):
                for box in boxes(near[i, 0], front.hidden(i), size):
                    yield i, box, self._piece(grid[i : i + 1], matte[i : i + 1], box)
        if self.head.border is None and bool((pose.zoom < 0.999).any()):
            for box in border_strips(pose, size):
                yield 0, box, self._with_surround(self._piece(grid, matte, box), box, pose, size)

    def flow(self, displacement: torch.Tensor, pose: HeadPose) -> tuple[torch.Tensor, torch.Tensor]:
        """Where in the photo the sheet behind the face comes from (B, 2, BEHIND, BEHIND), -1..1, and where there is anything of
        it (B, 1, NEAR, NEAR) bool."""
        at, nearness = self.behind.place(displacement, self.head, pose)
        flow, coverage = splat(at * (BEHIND / SIZE), (self.behind.points - at) * _UNIT, nearness, (BEHIND, BEHIND))
        return self.coarse + fill(flow, coverage), near_cover(coverage)

    def _piece(self, grid: torch.Tensor, matte: torch.Tensor, box: Box) -> torch.Tensor:
        y0, y1, x0, x1 = box
        rgba = self._sample(self.texture, grid[:, :, y0:y1, x0:x1])
        rgba[:, 3:] *= matte[:, :, y0:y1, x0:x1]
        return rgba

    def face(self, displacement: torch.Tensor, dynamics: torch.Tensor, pose: HeadPose, size: int) -> Front | None:
        """The face's sheet in a picture of this size; None where none of it is in the picture."""
        at, nearness = self.front.place(displacement, self.head, pose)
        x0, y0, x1, y1 = self._window(at, size)
        if x1 <= x0 or y1 <= y0:
            return None
        way = ((self.front.points - at) * _UNIT).transpose(1, 2)
        value = torch.cat([way, self.ramp.expand(len(at), 1, -1), self.shading(dynamics, pose)[:, None]], 1)
        origin = torch.tensor([x0, y0], dtype=at.dtype, device=at.device)
        flow, coverage = splat(at * (GRID / SIZE) - origin, value.transpose(1, 2), nearness, (y1 - y0, x1 - x0))
        sheet = fill(flow, coverage, 4)  # blocks of the same places whatever the window, so that no frame depends on its batch
        sheet[:, :2] += self.cells[:, :, y0:y1, x0:x1]
        sheet[:, 2:3] *= silhouette(coverage)
        sheet[:, 3:].exp_()
        return Front(x0, y0, sheet)

    def _draw_front(self, picture: torch.Tensor, front: Front) -> None:
        """The face, over a picture (B, 3, S, S), or (B, 4, S, S) with a matte."""
        k = picture.shape[-1] / GRID
        h, w = front.planes.shape[2:]
        left, upper, right, lower = (round(v * k) for v in (front.x0, front.y0, front.x0 + w, front.y0 + h))
        sheet = _resize(front.planes, (lower - upper, right - left))
        face = self._sample(self.texture[:, :3], sheet[:, :2])
        part = picture[:, :, upper:lower, left:right]
        cover = sheet[:, 2:3].mul_(2).sub_(0.5).clamp_(0, 1)  # not the matte, which frays where a hidden cheek is drawn out
        part[:, :3].lerp_(face.mul_(sheet[:, 3:]).clamp_max_(1), cover)
        if part.shape[1] == 4:
            part[:, 3:].lerp_(torch.ones_like(cover), cover)

    @staticmethod
    def _window(at: torch.Tensor, size: int) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in cells around all of `at` (B, N, 2), at places that are whole pixels of a picture of this size."""
        step = _BLOCK * (GRID // _BLOCK // gcd(GRID // _BLOCK, max(size // _BLOCK, 1))) if size % _BLOCK == 0 else GRID
        low = (at.amin((0, 1)) * (GRID / SIZE) - 3) / step
        high = (at.amax((0, 1)) * (GRID / SIZE) + 3) / step
        ends = torch.cat([low.floor(), high.ceil()]).mul(step).clamp(0, GRID).int().tolist()
        return ends[0], ends[1], ends[2], ends[3]

    @staticmethod
    def _sample(texture: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """The photo's layer (1, C, T, T) at place (B, 2, H, W), -1..1 -> (B, C, H, W)."""
        texture = texture.expand(len(place), -1, -1, -1)
        return F.grid_sample(texture, place.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False)

    def _with_surround(self, rgba: torch.Tensor, box: Box, pose: HeadPose, size: int) -> torch.Tensor:
        """Where a person farther away shows what the crop's border cut off: that part of the photo, into a piece of the
        picture."""
        k, zoom, (y0, y1, x0, x1) = size / SIZE, pose.zoom[:, None, None, None], box
        anchor = pose.anchor[None, :, None, None]
        y, x = ((torch.arange(a, b, device=rgba.device) + 0.5) / k for a, b in ((y0, y1), (x0, x1)))
        cells = torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]  # (1, 2, h, w) crop pixels
        place = anchor + (cells - anchor) / zoom
        outside = ((place - SIZE / 2).abs().amax(1, keepdim=True) - (SIZE / 2 - SEAM)).div(6).clamp(0, 1) * (zoom < 0.999)
        return rgba.lerp_(self._sample(self.surround, (place + SIZE / 2) / SIZE - 1), outside)


def border_strips(pose: HeadPose, size: int) -> list[Box]:
    """Rows and columns of a picture of this size around the crop as it lies in the farthest frame."""
    z, k = float(pose.zoom.min()), size / SIZE
    (ax, ay), near, far = pose.anchor.tolist(), SEAM, SIZE - SEAM
    x0, y0 = (min(max(ceil((a + (near - a) * z) * k) + 1, 0), size) for a in (ax, ay))
    x1, y1 = (min(max(int((a + (far - a) * z) * k) - 1, 0), size) for a in (ax, ay))
    strips = [(0, y0, 0, size), (y1, size, 0, size), (y0, y1, 0, x0), (y0, y1, x1, size)]
    return [(a, b, c, d) for a, b, c, d in strips if b > a and d > c]
