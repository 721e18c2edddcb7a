"""FaceLatent + MotionTrack -> frames. One batched torch path for CPU, CUDA and MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.border import StillBorder
from vasa_cli.decoder.colour import bytes_to_yuv420, to_bytes, to_yuv420
from vasa_cli.decoder.eye_layer import EyeLayer
from vasa_cli.decoder.gaps import Apertures
from vasa_cli.decoder.geometry import HeadModel, HeadPose
from vasa_cli.decoder.mouth_layer import MouthLayer
from vasa_cli.decoder.person import PersonLayer
from vasa_cli.decoder.refiner import Refiner
from vasa_cli.decoder.workers import Workers
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent

if TYPE_CHECKING:
    from vasa_cli.decoder.painter import Painter

_TYPICAL = 200  # expressions that say how skin moves
_ROOM = 0.4  # IOD around the landmarks of eyes and mouth within which anything of them is drawn

Pixels = Literal["rgb24", "yuv420p"]
Ground = Literal["plate"] | torch.Tensor | None  # what lies behind the person


@dataclass(frozen=True)
class Moments:
    """A few frames of a motion on the decoder's device: pose (B, 6), dynamics (B, K), tongue and vergence (B,)."""

    pose: torch.Tensor
    dynamics: torch.Tensor
    tongue: torch.Tensor | None
    vergence: torch.Tensor | None


@dataclass(frozen=True)
class Posed:
    """A face in a few frames: head; shape (B, 478, 3) canonical vertices; moved (B, 468, 3): how far from the photo's; flat
    (B, 478, 2): where they are in the picture, pixels."""

    head: HeadPose
    shape: torch.Tensor
    moved: torch.Tensor
    flat: torch.Tensor

    def seen_from(self, x: int, y: int, k: float) -> Posed:
        """The same in a part of the picture that begins at pixel x, y; k pixels a crop pixel."""
        off = self.flat.new_tensor([x / k, y / k, 0.0])
        head = replace(self.head, translation=self.head.translation - off, anchor=self.head.anchor - off[:2])
        return replace(self, head=head, flat=self.flat - k * off[:2])


def _painter(face: FaceLatent, plate: torch.Tensor) -> Painter | None:
    """None where OpenCV cannot be imported: who draws faces that were encoded elsewhere needs none. torch then draws it all, a
    level of rounding apart and slower."""
    try:
        from vasa_cli.decoder.painter import Painter
    except ImportError:
        return None
    return Painter(face, to_bytes(plate)[0].numpy())


class FaceDecoder(torch.nn.Module):
    """Renders one face. Everything that does not depend on the motion is computed here, once.

    device: a torch device; dtype: float32, or float16/bfloat16 for the dense products on a GPU (coordinates stay float32).
    size: side of the frames in pixels. paste: hold still what lies at the edge of the crop, for `decoder.canvas`.
    refine: let the learned refiner go over mouth and eyes; True is the package's own (WeightsError when there is none).
    """

    neutral: torch.Tensor
    directions: torch.Tensor
    photo_shape: torch.Tensor
    rest_rotation: torch.Tensor
    plate: torch.Tensor
    landmarks: torch.Tensor
    irises: torch.Tensor
    openings: torch.Tensor
    inwards: torch.Tensor

    def __init__(
        self,
        face: FaceLatent,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        size: int = SIZE,
        paste: bool = False,
        refine: bool | Refiner = False,
    ) -> None:
        super().__init__()
        face = face.shrunk(size)
        self.size, self.basis = size, DynamicsBasis.load()
        neutral = torch.from_numpy(face.neutral)
        self.head = HeadModel(
            neutral, torch.from_numpy(face.pose), float(face.scale), torch.from_numpy(face.translation), face.cut_above,
            StillBorder(face) if paste else None,
        )  # fmt: skip
        self.apertures = Apertures(neutral)
        self.eyes = EyeLayer(face)
        self.mouth = MouthLayer(face, size)
        directions = torch.from_numpy(self.basis.directions.astype(np.float32)).clone()
        directions[self.basis.blocks["lids"]] *= self.basis.lid_scale(face.neutral)
        self.register_buffer("neutral", neutral)
        ends = [(top.IRIS[e][0], top.LID_UPPER[e][0], top.LID_UPPER[e][-1]) for e in (0, 1)]
        self.register_buffer("irises", torch.tensor(ends))  # (2, 3) with the corners of the eyes
        self.register_buffer("openings", torch.tensor([i for slit in top.SLITS for i in top.ring(slit)]))
        self.register_buffer("inwards", torch.from_numpy(self.basis.vergence_direction.astype(np.float32)))  # (478, 3)
        self.register_buffer("directions", directions)  # (K, 478, 3), lids scaled to this person
        photo = (face.landmarks - face.translation) @ face.rotation / float(face.scale)
        self.register_buffer("photo_shape", torch.from_numpy(photo.astype(np.float32)))
        self.person = PersonLayer(face, self.head, self.basis, self._typical_moves())
        self.register_buffer("rest_rotation", torch.from_numpy(face.rotation))
        self.register_buffer("landmarks", torch.from_numpy(np.ascontiguousarray(face.landmarks[:, :2])))
        plate = torch.from_numpy(np.ascontiguousarray(face.plate.transpose(2, 0, 1))).float()[None] / 255
        if size != plate.shape[-1]:
            plate = F.interpolate(plate, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)
        self.register_buffer("plate", plate)
        self.painter = _painter(face, plate) if torch.device(device).type == "cpu" else None
        self.to(device)
        self.device = torch.device(device)
        self.workers = Workers()
        self.refiner: Refiner | None = None
        if self.device.type == "cuda":
            self.person.halve(getattr(torch, dtype))
        self.eval()
        if refine:
            self._use(refine if isinstance(refine, Refiner) else Refiner.load(), face)

    def _typical_moves(self) -> torch.Tensor:
        """(M, 468, 3): displacements against the photo in expressions drawn at random, canonical."""
        random = np.random.default_rng(0).standard_normal((_TYPICAL, self.basis.size))
        shape = self.vertices(torch.from_numpy((random * self.basis.std * 1.5).astype(np.float32)))
        return (shape - self.photo_shape)[:, : top.N_SKIN]

    def _use(self, refiner: Refiner, face: FaceLatent) -> None:
        """Let the refiner see the face as in the photo, and go over every frame from now on."""
        refiner = refiner.to(self.device).eval()
        pose, dynamics = torch.zeros(1, 6, device=self.device), torch.from_numpy(face.dynamics)[None].to(self.device)
        with torch.inference_mode():
            head, shape, k = self.head.pose(pose), self.vertices(dynamics), self.size / SIZE
            refiner.remember(self.forward(pose, dynamics), self.on_picture(shape, head) * k, shape, head, self.head.scale * k)
        self.refiner = refiner

    def vertices(self, dynamics: torch.Tensor) -> torch.Tensor:
        """(B, K) -> (B, 478, 3) canonical vertices of this person with this expression."""
        moved = (dynamics @ self.directions.flatten(1)).view(-1, *self.neutral.shape)
        return self.apertures(self.neutral + moved)

    def forward(
        self,
        pose: torch.Tensor,
        dynamics: torch.Tensor,
        ground: Ground = "plate",
        tongue: torch.Tensor | None = None,
        vergence: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """pose (B, 6), dynamics (B, K), tongue (B,) 0..1 (None: low), vergence (B,) (None: 0) -> pictures (B, 3, size, size) 0..1
        over a ground: the photo's own background ("plate"), or a picture (1, 3, size, size); over None the person alone,
        (B, 4, size, size) with straight alpha."""
        posed = self._posed(pose, dynamics, vergence)
        clear = None
        if ground is None:
            clear = self.person(posed.moved, dynamics, posed.head, self.size)
            picture = clear[:, :3].contiguous()
        else:
            ground = self.plate if isinstance(ground, str) else ground
            picture = self.person.draw(ground, posed.moved, dynamics, posed.head)
        self._draw_openings(picture, posed, tongue)
        # what was drawn on the face hides what is behind it
        matte = None if clear is None else torch.where((picture != clear[:, :3]).any(1, keepdim=True), 1.0, clear[:, 3:])
        self._refine(picture, posed)
        return picture if matte is None else torch.cat([picture, matte], 1)

    def _posed(self, pose: torch.Tensor, dynamics: torch.Tensor, vergence: torch.Tensor | None) -> Posed:
        head = self.head.pose(pose)
        shape = self.vertices(dynamics)
        if vergence is not None:
            shape = shape + vergence[:, None, None] * self.inwards
        moved = (shape - self.photo_shape)[:, : top.N_SKIN]
        return Posed(head, shape, moved, self.on_picture(shape, head) * (self.size / SIZE))

    def _draw_openings(self, picture: torch.Tensor, posed: Posed, tongue: torch.Tensor | None) -> None:
        """Eyes and mouth, into picture (B, 3, S, S)."""
        to_rest = torch.linalg.inv(self.head.plane_maps(self.rest_rotation, posed.head)) / (self.size / SIZE)  # (B, 2, 2)
        self.eyes.draw(picture, posed.flat, to_rest, self._iris_shift(posed.shape))
        self.mouth.draw(picture, posed.flat, posed.shape, posed.head, tongue)

    def _refine(self, picture: torch.Tensor, posed: Posed) -> None:
        if self.refiner is not None:
            self.refiner(picture, posed.flat, posed.shape, posed.head, self.head.scale * self.size / SIZE)

    def _painted(self, ground: np.ndarray, moments: Moments) -> np.ndarray:
        """`forward` of one frame on the CPU, over a ground (S, S, 3) uint8 -> (S, S, 3) uint8: painted in bytes, but for a square
        around eyes and mouth."""
        posed, size = self._posed(moments.pose, moments.dynamics, moments.vergence), self.size
        front = self.person.face(posed.moved, moments.dynamics, posed.head, size)
        flow, near = self.person.flow(posed.moved, posed.head)
        assert self.painter is not None
        out = self.painter.paint(ground, front, flow, near, posed.head, self.head.border is None)
        marks = posed.flat[0].index_select(0, self.openings)
        room = _ROOM * self.head.scale * size / SIZE * float(posed.head.zoom) + 8
        low, high = marks.amin(0) - room, marks.amax(0) + room
        side = min(size, int((high - low).max()) + 1)
        x0, y0 = ((low + high - side) / 2).round().clamp_(0, size - side).int().tolist()
        square = out[y0 : y0 + side, x0 : x0 + side]
        picture = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float().mul_(1 / 255)[None]
        posed = posed.seen_from(x0, y0, size / SIZE)
        self._draw_openings(picture, posed, moments.tongue)
        self._refine(picture, posed)
        square[:] = to_bytes(picture)[0].numpy()
        return out

    def on_picture(self, shape: torch.Tensor, head: HeadPose) -> torch.Tensor:
        """Canonical vertices (B, 478, 3) -> (B, 478, 2) crop pixels of the picture."""
        flat = head.zoomed(self.head.place(shape, head)[..., :2])
        return flat if self.head.border is None else self.head.border.settle(self.landmarks, flat)

    def _iris_shift(self, shape: torch.Tensor) -> torch.Tensor:
        """(B, 2, 2): how far the irises have moved in the eyes since the photo, in photo crop pixels."""
        now, then = (v[:, self.irises] for v in (shape, self.photo_shape[None]))  # (B, 2, 3, 3)
        shift = (now - then)[:, :, 0] - (now - then)[:, :, 1:].mean(2)
        return (shift @ self.rest_rotation.T)[..., :2] * self.head.scale

    @torch.inference_mode()
    def frames(
        self, track: MotionTrack, batch: int = 8, ground: Ground = "plate", pixels: Pixels = "rgb24"
    ) -> Iterator[np.ndarray]:
        """Yield uint8 frames, at most `batch` at a time: (B, size, size, 3) RGB, or RGBA where `ground` is None; with pixels
        "yuv420p" (B, size * 3 // 2, size), see `colour.to_yuv420`. Raises ValueError for transparent or odd yuv420p."""
        if pixels == "yuv420p" and (ground is None or self.size % 2):
            raise ValueError("yuv420p has no transparency, and needs an even size")
        yuv = pixels == "yuv420p"
        if self.painter is None or ground is None:
            for block in self.finished(track, batch, ground, to_yuv420 if yuv else to_bytes):
                yield block.cpu().numpy()
            return
        still = self.painter.plate if isinstance(ground, str) else to_bytes(ground)[0].numpy()

        @torch.inference_mode()
        def paint(part: MotionTrack) -> np.ndarray:
            picture = self._painted(still, self._moments(part))
            return bytes_to_yuv420(picture) if yuv else picture

        for parts in self._parts(track, batch, 1):
            yield np.stack(self.workers.map(paint, parts))

    def pictures(self, track: MotionTrack, batch: int = 8, ground: Ground = "plate") -> Iterator[torch.Tensor]:
        """`forward` over a whole track, at most `batch` frames at a time; memory does not grow with the track."""
        return self.finished(track, batch, ground, lambda picture: picture)

    @torch.inference_mode()
    def finished(
        self, track: MotionTrack, batch: int, ground: Ground, finish: Callable[[torch.Tensor], torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """finish(`forward`) over a whole track. finish: (B, C, size, size) -> (B, ...), for any B. On the CPU frames are computed
        one by one (`workers`), so that they are the same bit for bit in any batch and on any number of threads."""

        @torch.inference_mode()
        def some(part: MotionTrack) -> torch.Tensor:
            m = self._moments(part)
            return finish(self.forward(m.pose, m.dynamics, ground, m.tongue, m.vergence))

        for parts in self._parts(track, batch, 1 if self.device.type == "cpu" else batch):
            blocks = self.workers.map(some, parts)
            yield torch.cat(blocks) if len(blocks) > 1 else blocks[0]

    def _parts(self, track: MotionTrack, batch: int, step: int) -> Iterator[list[MotionTrack]]:
        """Batches of a track, each in parts of `step` frames. Raises ValueError for the motion of another basis."""
        if track.dynamics.shape[1] != len(self.directions):
            raise ValueError(
                f"the motion has {track.dynamics.shape[1]} dynamics, this model {len(self.directions)}; generate it again"
            )
        for start in range(0, len(track), batch):
            end = min(start + batch, len(track))
            yield [track.select(slice(i, min(i + step, end))) for i in range(start, end, step)]

    def _moments(self, part: MotionTrack) -> Moments:
        values = (part.pose, part.dynamics, part.tongue, part.vergence)
        pose, dynamics, *rest = (None if v is None else self._tensor(v) for v in values)
        assert pose is not None and dynamics is not None
        return Moments(pose, dynamics, *rest)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)
