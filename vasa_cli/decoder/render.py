"""FaceLatent + MotionTrack -> frames. One batched torch path for CPU, CUDA and MPS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.border import StillBorder
from vasa_cli.decoder.eye_layer import EyeLayer
from vasa_cli.decoder.gaps import Apertures
from vasa_cli.decoder.geometry import HeadModel, HeadPose
from vasa_cli.decoder.mouth_layer import MouthLayer
from vasa_cli.decoder.person import PersonLayer
from vasa_cli.decoder.refiner import Refiner
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent

Ground = Literal["plate"] | torch.Tensor | None  # what lies behind the person


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
        self.person = PersonLayer(face, self.head, self.basis)
        self.apertures = Apertures(neutral)
        self.left_eye, self.right_eye = EyeLayer(face, 0), EyeLayer(face, 1)
        self.mouth = MouthLayer(face, size)
        directions = torch.from_numpy(self.basis.directions.astype(np.float32)).clone()
        directions[self.basis.blocks["lids"]] *= self.basis.lid_scale(face.neutral)
        self.register_buffer("neutral", neutral)
        self.register_buffer("inwards", torch.from_numpy(self.basis.vergence_direction.astype(np.float32)))  # (478, 3)
        self.register_buffer("directions", directions)  # (K, 478, 3), lids scaled to this person
        photo = (face.landmarks - face.translation) @ face.rotation / float(face.scale)
        self.register_buffer("photo_shape", torch.from_numpy(photo.astype(np.float32)))
        self.register_buffer("rest_rotation", torch.from_numpy(face.rotation))
        self.register_buffer("landmarks", torch.from_numpy(np.ascontiguousarray(face.landmarks[:, :2])))
        plate = torch.from_numpy(np.ascontiguousarray(face.plate.transpose(2, 0, 1))).float()[None] / 255
        if size != plate.shape[-1]:
            plate = F.interpolate(plate, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)
        self.register_buffer("plate", plate)
        self.to(device)
        self.device = torch.device(device)
        self.refiner: Refiner | None = None
        self.dense = getattr(torch, dtype) if self.device.type == "cuda" else torch.float32
        self.eval()
        if refine:
            self._use(refine if isinstance(refine, Refiner) else Refiner.load(), face)

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
        return self.apertures(self.neutral + torch.einsum("bk,knc->bnc", dynamics, self.directions))

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
        k = self.size / SIZE
        head = self.head.pose(pose)
        shape = self.vertices(dynamics)  # (B, 478, 3)
        if vergence is not None:
            shape = shape + vergence[:, None, None] * self.inwards
        with torch.autocast(self.device.type, dtype=self.dense, enabled=self.dense != torch.float32):
            layer = self.person((shape - self.photo_shape)[:, : top.N_SKIN].float(), dynamics, head, self.size).float()
        colour, alpha = layer[:, :3], layer[:, 3:]
        below = colour if ground is None else self.plate if isinstance(ground, str) else ground
        picture = torch.lerp(below.expand_as(colour), colour, alpha).contiguous()
        flat = self.on_picture(shape, head) * k  # (B, 478, 2) pixels
        to_rest = torch.linalg.inv(self.head.plane_maps(self.rest_rotation, head)) / k  # (B, 2, 2)
        for eye in (self.left_eye, self.right_eye):
            eye.draw(picture, flat, to_rest, self._iris_shift(shape, eye.eye))
        self.mouth.draw(picture, flat, shape, head, tongue)
        # what was drawn on the face hides what is behind it
        matte = torch.where((picture != colour).any(1, keepdim=True), 1.0, alpha) if ground is None else None
        if self.refiner is not None:
            self.refiner(picture, flat, shape, head, self.head.scale * k)
        return picture if matte is None else torch.cat([picture, matte], 1)

    def on_picture(self, shape: torch.Tensor, head: HeadPose) -> torch.Tensor:
        """Canonical vertices (B, 478, 3) -> (B, 478, 2) crop pixels of the picture."""
        flat = head.zoomed(self.head.place(shape, head)[..., :2])
        return flat if self.head.border is None else self.head.border.settle(self.landmarks, flat)

    def _iris_shift(self, shape: torch.Tensor, eye: int) -> torch.Tensor:
        """(B, 2): how far the iris has moved in the eye since the photo, in photo crop pixels."""
        corners = [top.LID_UPPER[eye][0], top.LID_UPPER[eye][-1]]
        iris = top.IRIS[eye][0]
        now = shape[:, iris] - shape[:, corners].mean(1)
        then = self.photo_shape[iris] - self.photo_shape[corners].mean(0)
        return ((now - then) @ self.rest_rotation.T)[:, :2] * self.head.scale

    @torch.inference_mode()
    def frames(self, track: MotionTrack, batch: int = 8, ground: Ground = "plate") -> Iterator[np.ndarray]:
        """Yield (B, size, size, 3) uint8 RGB, or RGBA where `ground` is None, at most `batch` frames at a time."""
        for picture in self.pictures(track, batch, ground):
            yield to_bytes(picture).cpu().numpy()

    @torch.inference_mode()
    def pictures(self, track: MotionTrack, batch: int = 8, ground: Ground = "plate") -> Iterator[torch.Tensor]:
        """`forward` over a whole track, at most `batch` frames at a time; memory does not grow with the track."""
        if track.dynamics.shape[1] != len(self.directions):
            raise ValueError(
                f"the motion has {track.dynamics.shape[1]} dynamics, this model {len(self.directions)}; generate it again"
            )
        for start in range(0, len(track), batch):
            pose = torch.from_numpy(np.ascontiguousarray(track.pose[start : start + batch])).float().to(self.device)
            dynamics = torch.from_numpy(np.ascontiguousarray(track.dynamics[start : start + batch])).float().to(self.device)
            part = track.select(slice(start, start + batch))
            tongue, vergence = (
                None if values is None else torch.from_numpy(values).to(self.device) for values in (part.tongue, part.vergence)
            )
            yield self.forward(pose, dynamics, ground, tongue, vergence)


def to_bytes(picture: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) 0..1 -> (B, H, W, C) uint8."""
    planes = (picture * 255).add_(0.5).clamp_(0, 255).to(torch.uint8)
    out = planes.new_empty(planes.shape[0], planes.shape[2], planes.shape[3], planes.shape[1])
    for c in range(planes.shape[1]):  # a third faster than a permuted copy
        out[..., c] = planes[:, c]
    return out
