"""Skin shading: folds follow the expression, light stays where it is when the head turns; fitting finds what it is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.decoder.shading import STRONGEST, ShadingModel, estimate_light
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.training import shading_fit as sf


def test_the_photo_itself_is_not_shaded(latent: FaceLatent) -> None:
    decoder = FaceDecoder(latent)
    shading = decoder.person.shading
    shade = shading.folds.T @ (shading._reading(torch.zeros(1, decoder.basis.size)) - shading.photo)[0]
    assert shade.abs().max() < 0.2  # the neutral differs from the photo by half a smile at most
    with torch.inference_mode():
        pose = decoder.head.pose(torch.zeros(1, 6))
        turned = shading(torch.zeros(1, decoder.basis.size), pose) - shade
        assert turned.abs().max() < 1e-4  # the light of the photo is already in it


def test_a_smile_darkens_the_fold_beside_the_nose(latent: FaceLatent, basis: DynamicsBasis) -> None:
    decoder = FaceDecoder(latent)
    z = torch.from_numpy(np.stack([np.zeros(basis.size), basis.au_directions["AU12"]]).astype(np.float32))
    with torch.inference_mode():
        rest, smile = decoder.person.shading(z, decoder.head.pose(torch.zeros(2, 6)))
    moved = smile - rest
    where = decoder.person.front.points

    def at(a: int, b: int) -> float:
        """Mean shade in the middle between two landmarks."""
        middle = torch.from_numpy((latent.landmarks[a, :2] + latent.landmarks[b, :2]) / 2)
        return float(moved[torch.linalg.norm(where - middle, dim=1) < 0.06 * float(latent.scale)].mean())

    folds = [at(98, 61), at(327, 291)]  # nostril to mouth corner
    assert max(folds) < -0.005 and max(folds) < at(10, 151) - 0.005  # darker, and darker than the forehead


def test_light_from_the_left_is_found_and_falls_on_the_cheek_that_turns_there(latent: FaceLatent, basis: DynamicsBasis) -> None:
    model = ShadingModel.load()
    ramp = np.linspace(1.5, 0.5, latent.person.shape[1], dtype=np.float32)[None, :, None]
    lit = latent.person.astype(np.float32)
    lit[..., :3] = 110 * ramp
    person = np.clip(lit, 0, 255).astype(np.uint8)
    light = estimate_light(replace(latent, person=person), basis, model)
    assert light[1] < -0.08  # from the left of the picture
    decoder = FaceDecoder(replace(latent, person=person))
    pose = torch.zeros(2, 6)
    pose[1, 0] = -0.35  # towards the right of the picture, away from the light
    with torch.inference_mode():
        shade = decoder.person.shading(torch.zeros(2, basis.size), decoder.head.pose(pose))
    assert float((shade[1] - shade[0]).mean()) < -0.01
    assert shade.abs().max() <= STRONGEST


def test_fitting_finds_a_fold_that_comes_with_the_mouth(basis: DynamicsBasis) -> None:
    plane = sf.Plane.of(basis)
    skin = plane.skin(basis)
    rng = np.random.default_rng(0)
    at = np.argwhere(skin)[len(np.argwhere(skin)) // 3]
    clips = []
    for name in ("a", "b"):
        z = np.zeros((60, basis.size), np.float32)
        mouth = sf.used_dynamics(basis)[8]
        z[:, mouth] = rng.normal(0, 1, 60) * basis.std[mouth]
        luma = np.full((60, sf.SIDE, sf.SIDE), 120.0, np.float32)
        luma[:, at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3] *= np.exp(-0.4 * np.tanh(z[:, mouth] / (2 * basis.std[mouth])))[
            :, None, None
        ]
        clips.append(sf.ShadeClip(name, luma, z))
    folds = sf.fit(clips[:1], basis, skin, ridge=0.01)
    assert folds[8][at[0], at[1]] < -0.1
    assert sf.gain(clips[1], folds, basis, skin) > 1.0
    assert sf.gain(clips[1], -folds, basis, skin) < 0
