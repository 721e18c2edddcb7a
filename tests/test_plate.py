"""What lies behind and beside the person: texture instead of a blur, no step at the edge, the photo itself where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.portrait import landmarks
from vasa_cli.portrait.framing import Crop
from vasa_cli.portrait.inpaint import complete
from vasa_cli.portrait.layers import background_plate, fill_holes, hidden
from vasa_cli.portrait.surround import SIDE, surround


def stripes(side: int, period: int) -> np.ndarray:
    y = np.arange(side)[:, None, None]
    return np.broadcast_to(np.where((y // (period // 2)) % 2, 200, 60), (side, side, 3)).astype(np.uint8)


def test_texture_goes_on_behind_the_person() -> None:
    photo = stripes(256, 32)
    hole = np.zeros((256, 256), bool)
    hole[60:256, 80:180] = True
    seen = photo.copy()
    seen[hole] = 0
    guess = fill_holes(seen.astype(np.float32), (~hole).astype(np.float32))
    out = complete(seen, hole, guess)
    assert (out[~hole] == photo[~hole]).all()
    error = np.abs(out[hole].astype(int) - photo[hole]).mean()
    assert error < 20 < np.abs(guess[hole] - photo[hole]).mean()
    assert (out == complete(seen, hole, guess)).all()


def test_a_photo_that_shows_nothing_behind_keeps_the_smooth_fill() -> None:
    photo = np.full((128, 128, 3), 90, np.uint8)
    hole = np.ones((128, 128), bool)
    hole[:, :8] = False
    guess = np.full((128, 128, 3), 33.0, np.float32)
    assert (complete(photo, hole, guess)[hole] == 33).all()


def test_single_hairs_beyond_the_matte_do_not_stay_on_the_plate() -> None:
    photo = np.full((512, 512, 3), 210, np.uint8)
    photo[180:, 170:340] = 30  # the person
    person = np.zeros((512, 512), np.float32)
    person[180:, 170:340] = 1
    photo[300:303, 340:372] = 60  # a hair that stands off
    photo[60:63, 30:60] = 60  # something on the wall, far away
    hole = hidden(photo, person)
    assert hole[301, 342:370].all() and not hole[61, 40:50].any()
    plate = background_plate(photo, np.kron(person, np.ones((1, 1), np.float32)))
    assert plate[301, 342:370].min() > 150 and (plate[61, 40:50] == 60).all()


def test_leaves_are_no_hairs() -> None:
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 255, (512, 512, 3)).astype(np.uint8)
    person = np.zeros((512, 512), np.float32)
    person[180:, 170:340] = 1
    assert hidden(photo, person).mean() < 0.30  # the person and its margin are 24 %


def test_distance_shows_what_the_crop_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "person_matte", lambda square: (square[..., 2] < 110).astype(np.float32))
    photo = np.full((600, 900, 3), 200, np.uint8)
    photo[150:, 200:700] = (160, 60, 20)
    photo[:, 870:] = (40, 30, 20)  # the dark frame of a painting, which the model takes for somebody
    inside = np.zeros((256, 256), np.float32)
    inside[53:, 3:252] = 1
    layer = surround(photo, Crop(194.0, 44.0, 1.0), inside)
    assert layer.shape == (SIDE, SIDE, 4)
    assert layer[190, 20, 3] == 0 and layer[190, 160, 3] == 255
    assert layer[100:, (880 - 194 + 256) // 2, 3].max() == 0
    texel = layer[(400 - 44 + 256) // 2, (210 - 194 + 256) // 2, :3]  # a place of the photo beside the crop
    assert np.abs(texel.astype(int) - (160, 60, 20)).max() < 30
