"""How the skin's shade changes: folds that come with an expression, and the light on a head that turns.

Folds are a learned linear map from a few numbers of the expression to log brightness over the face
(`scripts/train_shading.py`). The light is one direction, estimated from the photo: Lambert's law on the normals of the
average face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vasa_cli.decoder.geometry import HeadPose
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent
from vasa_cli.weights import registry

LIGHT = 0.6  # of Lambert's law: half of what a photo's brightness says of light is really skin, beard and make-up
DARKEST = 0.15  # of the mean brightness: where the estimate says that no light falls
STRONGEST = 0.5  # log brightness; no shade is allowed to change more


@dataclass(frozen=True)
class ShadingModel:
    """centre (2,) and half (): the square of the mean face (IOD) that the maps cover; used (F,) indices into z and std (K,);
    folds (F, N, N) log brightness per unit of tanh(z / 2 std); normals (N, N, 3) of the mean face, canonical, towards the
    viewer; skin (N, N) 0..1 where shades apply at all."""

    centre: np.ndarray
    half: float
    used: np.ndarray
    std: np.ndarray
    folds: np.ndarray
    normals: np.ndarray
    skin: np.ndarray

    @classmethod
    def load(cls) -> ShadingModel:
        """Read the shipped weights. Raises WeightsError."""
        t, meta = registry.load_tensors("shading")
        floats = {k: v.astype(np.float32) for k, v in t.items() if k != "used"}
        return cls(half=float(meta["half"]), used=t["used"].astype(np.int64), **floats)


def face_plane(face: FaceLatent, points: torch.Tensor, weights: torch.Tensor, mean_shape: np.ndarray) -> torch.Tensor:
    """Where places of the photo, points (S, 2) crop pixels with thin-plate weights (S, 468), lie on the mean face: (S, 2) IOD."""
    marks = torch.from_numpy(face.landmarks[: top.N_SKIN, :2])
    one = torch.ones(len(marks), 1)
    mean = torch.from_numpy(mean_shape[: top.N_SKIN, :2].astype(np.float32))
    affine = torch.linalg.lstsq(torch.cat([marks, one], 1).double(), mean.double()).solution.float()  # (3, 2)
    rest = mean - torch.cat([marks, one], 1) @ affine
    return torch.cat([points, torch.ones(len(points), 1)], 1) @ affine + weights @ rest


class Shading(torch.nn.Module):
    """Shades of the cells of one face's front sheet."""

    folds: torch.Tensor
    normals: torch.Tensor
    skin: torch.Tensor
    light: torch.Tensor
    used: torch.Tensor
    std: torch.Tensor
    photo: torch.Tensor
    photo_shade: torch.Tensor

    def __init__(self, face: FaceLatent, basis: DynamicsBasis, place: torch.Tensor) -> None:
        """place (C, 2): where the cells lie on the mean face (`face_plane`)."""
        super().__init__()
        model = ShadingModel.load()
        uv = (place - torch.from_numpy(model.centre)) / model.half

        def at_cells(maps: np.ndarray) -> torch.Tensor:
            """(c, N, N) -> (c, C); 0 beyond the maps."""
            t = torch.from_numpy(np.ascontiguousarray(maps))[None]
            return torch.nn.functional.grid_sample(t, uv[None, None], padding_mode="zeros", align_corners=False)[0, :, 0]

        self.register_buffer("skin", at_cells(model.skin[None])[0])  # (C,)
        self.register_buffer("folds", at_cells(model.folds) * self.skin)  # (F, C)
        normals = at_cells(model.normals.transpose(2, 0, 1)).T  # (C, 3)
        self.register_buffer("normals", normals / torch.linalg.norm(normals, dim=1, keepdim=True).clamp_min(1e-3))
        self.register_buffer("used", torch.from_numpy(model.used))
        self.register_buffer("std", torch.from_numpy(model.std[model.used]))
        # the photo shows the folds of its own expression already; what is measured from now on is relative to it
        shown = torch.from_numpy(basis.encode_person(self._photo_displacement(face), face.neutral).astype(np.float32))
        self.register_buffer("photo", self._reading(shown[None]))
        self.register_buffer("light", torch.from_numpy(estimate_light(face, basis, model)))
        self.register_buffer("photo_shade", self._lambert(torch.from_numpy(face.rotation)[None]))

    @staticmethod
    def _photo_displacement(face: FaceLatent) -> np.ndarray:
        photo = (face.landmarks - face.translation) @ face.rotation / float(face.scale)
        return np.asarray(photo - face.neutral, np.float32)

    def _reading(self, dynamics: torch.Tensor) -> torch.Tensor:
        """(B, K) -> (B, F): saturated, so that no expression beyond the training clips draws what they never showed."""
        return torch.tanh(dynamics[:, self.used] / (2 * self.std))

    def _lambert(self, rotation: torch.Tensor) -> torch.Tensor:
        """(B, 3, 3) -> (B, C) log brightness of the cells under the photo's light."""
        toward = torch.einsum("bij,i->bj", rotation, self.light[1:])  # light in the head's own frame
        return torch.log((self.light[0] + toward @ self.normals.T).clamp_min(DARKEST))

    def forward(self, dynamics: torch.Tensor, pose: HeadPose) -> torch.Tensor:
        """dynamics (B, K), pose of the batch -> log brightness (B, C) of the front sheet's cells."""
        folds = (self._reading(dynamics) - self.photo) @ self.folds
        turned = (self._lambert(pose.rotation) - self.photo_shade) * self.skin
        return (folds + LIGHT * turned).clamp(-STRONGEST, STRONGEST)


def estimate_light(face: FaceLatent, basis: DynamicsBasis, model: ShadingModel) -> np.ndarray:
    """(4,) float32: brightness = l0 + l[1:] . normal (camera axes), in units of the photo's mean skin brightness."""
    marks, k = face.landmarks[: top.N_SKIN, :2], face.person.shape[0] / SIZE
    at = (marks * k).astype(int).clip(2, face.person.shape[0] - 3)
    luma = face.person[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    seen = np.stack([luma[at[:, 1] + dy, at[:, 0] + dx] for dy in (-2, 0, 2) for dx in (-2, 0, 2)]).mean(0)
    n = model.normals.shape[0]
    cell = ((basis.mean_shape[: top.N_SKIN, :2] - model.centre) / model.half + 1) / 2 * n
    ix, iy = cell.astype(int).clip(0, n - 1).T
    weight = model.skin[iy, ix]
    normal = model.normals[iy, ix] @ face.rotation.T
    a = np.concatenate([np.ones((len(normal), 1)), normal], 1)
    b = seen / max(float((seen * weight).sum() / weight.sum()), 1.0)
    ridge = np.diag([0.0, 1, 1, 1]) * weight.sum() * 0.02  # towards light that comes from everywhere
    return np.asarray(np.linalg.solve(a.T @ (a * weight[:, None]) + ridge, a.T @ (b * weight)), np.float32)
