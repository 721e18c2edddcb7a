"""Frames drawn in processes, in threads and alone are the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.draw import drawers
from vasa_cli.forked import ForkedMap, can_fork
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.motions import batches
from vasa_cli.picture import Picture, PictureOptions
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.runtime import Models
from vasa_cli.video.background import Background
from vasa_cli.video.formats import format_of

FRAMES = 11


def moving(basis: DynamicsBasis) -> MotionTrack:
    rng = np.random.default_rng(3)
    pose = (0.05 * rng.normal(size=(FRAMES, 6))).astype(np.float32)
    dynamics = (basis.std * rng.normal(size=(FRAMES, basis.size))).astype(np.float32)
    return MotionTrack(pose, dynamics, Fraction(25), 0, tongue=rng.random(FRAMES, np.float32))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_processes_threads_and_one(latent: FaceLatent, basis: DynamicsBasis, name: str) -> None:
    clear = name == "a.mov"
    options = PictureOptions(size=256, background=Background("transparent") if clear else Background())
    picture = Picture(latent, options, format_of(Path(name), alpha=clear), Models(), "cpu", "float32")
    assert picture.pixels == ("rgba" if clear else "yuv420p")
    seen = {}
    for kind, count, processes in (("one", 1, False), ("threads", 2, False), ("processes", 2, can_fork())):
        with drawers(picture, count, processes=processes) as drawn:
            assert isinstance(drawn, ForkedMap) == (kind == "processes" and can_fork())
            seen[kind] = np.concatenate([block.copy() for block in drawn(batches([moving(basis)], picture.batch))])
            assert drawn.seconds > 0
    assert seen["one"].shape == ((FRAMES, 256, 256, 4) if clear else (FRAMES, 384, 256))
    np.testing.assert_array_equal(seen["threads"], seen["one"])
    np.testing.assert_array_equal(seen["processes"], seen["one"])
