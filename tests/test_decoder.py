"""The decoder: geometry, splatting, openings, and whole frames of the astronaut measured with the tracker."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa_cli.decoder.aperture import SAMPLES, Patch, inside, opening_from, spline_matrix
from vasa_cli.decoder.field import thin_plate_weights
from vasa_cli.decoder.gaps import Apertures
from vasa_cli.decoder.geometry import rotation_matrix
from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.decoder.splat import fill, splat
from vasa_cli.motion.basis import DynamicsBasis, euler
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.landmarks import mesh_in_square
from vasa_cli.portrait.latent import SIZE, FaceLatent


def frame(decoder: FaceDecoder, z: np.ndarray, **pose: float) -> np.ndarray:
    """One frame (512, 512, 3) with these dynamics and pose offsets (yaw, pitch, roll in degrees; x, y, distance)."""
    p = np.zeros((1, 6), np.float32)
    p[0, :3] = np.radians([pose.get("yaw", 0), pose.get("pitch", 0), pose.get("roll", 0)])
    p[0, 3:] = pose.get("x", 0), pose.get("y", 0), np.log(pose.get("distance", 1))
    return next(decoder.frames(MotionTrack(p, z[None].astype(np.float32))))[0]


def tracked(picture: np.ndarray) -> np.ndarray:
    mesh = mesh_in_square(picture, np.array([256.0, 256.0]), 512.0)
    assert mesh is not None
    return mesh.landmarks


def lid_gap(marks: np.ndarray) -> float:
    return float(np.mean([np.linalg.norm(marks[a, :2] - marks[b, :2]) for a, b in ((159, 145), (386, 374))]))


def test_rotation_agrees_with_the_track(basis: DynamicsBasis) -> None:
    angles = np.radians([[20, -10, 5], [0, 0, 0]]).astype(np.float32)
    r = rotation_matrix(torch.from_numpy(angles)).numpy()
    assert np.abs(euler(r) - angles).max() < 1e-5
    assert (r[0] @ np.array([0, 0, -1.0]))[0] < 0  # yaw > 0 looks to the left of the picture


def test_thin_plate_keeps_constants_and_meets_the_nodes() -> None:
    rng = torch.Generator().manual_seed(0)
    nodes = torch.rand(40, 2, generator=rng)
    w = thin_plate_weights(nodes, nodes, 1e-8)
    values = torch.rand(40, 2, generator=rng)
    assert (w @ values - values).abs().max() < 0.02
    far = thin_plate_weights(nodes, torch.rand(9, 2, generator=rng) * 3)
    assert (far.sum(1) - 1).abs().max() < 1e-2


def test_splat_shows_the_nearer_surface_and_fills_gaps() -> None:
    at = torch.tensor([[[4.5, 4.5], [4.5, 4.5], [1.5, 1.5]]])
    value = torch.tensor([[[1.0], [9.0], [5.0]]])
    out, cover = splat(at, value, torch.tensor([[0.0, 12.0, 0.0]]), (64, 64))
    assert out[0, 0, 4, 4] == pytest.approx(9.0, abs=0.01)
    assert out[0, 0, 1, 1] == pytest.approx(5.0) and cover[0, 0, 4, 4] == pytest.approx(2.0)
    assert cover[0, 0, 30, 30] == 0
    filled = fill(out, cover)
    assert torch.isfinite(filled).all() and 4.9 < float(filled[0, 0, 60, 60]) < 9.1
    outside = splat(torch.tensor([[[-50.0, 3.0]]]), torch.ones(1, 1, 1), torch.zeros(1, 1), (64, 64))[1]
    assert outside.sum() == 0  # what leaves the picture does not pile up at its edge


def test_splines_meet_their_knots() -> None:
    knots = torch.tensor([0.0, 1.0, 0.5, 2.0, 1.0])
    fine = spline_matrix(5, 41) @ knots
    assert torch.allclose(fine[::10], knots, atol=1e-5)


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_openings_cover_what_lies_between_their_edges(turn: float) -> None:
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    rotate = torch.tensor([[c, -s], [s, c]], dtype=torch.float32)
    x = torch.linspace(0, 40, 11)
    bow = 8 * torch.sin(x / 40 * np.pi)
    upper = (torch.stack([x, -bow], -1) @ rotate.T + 60)[None]
    lower = (torch.stack([x, bow], -1) @ rotate.T + 60)[None]
    opening = opening_from(upper, lower, spline_matrix(11, 41))
    assert opening.upper.shape == (1, SAMPLES) and float((opening.lower - opening.upper).max()) == pytest.approx(16, abs=0.3)
    probes = torch.tensor([[20.0, 0.0], [20.0, 7.0], [20.0, 9.0], [20.0, -9.0], [-2.0, 0.0], [42.0, 0.0]]) @ rotate.T + 60
    covered = inside(opening, probes[None], 1.0)[0][0]
    assert covered[:2].min() > 0.95 and covered[2:].max() < 0.05


def test_patches_read_and_write_the_same_place() -> None:
    picture = torch.rand(2, 3, 64, 64)
    patch = Patch.around(torch.tensor([[10.0, 50.0], [63.0, 2.0]]), 9, 13, 64)
    before = picture.clone()
    patch.write(picture, patch.read(picture))
    assert torch.equal(before, picture)
    patch.write(picture, torch.zeros(2, 3, 9 * 13))
    assert int((picture[0] == 0).all(0).sum()) == 9 * 13 and torch.equal(picture[1, :, 20:], before[1, :, 20:])


def test_lips_and_lids_never_cross(latent: FaceLatent, basis: DynamicsBasis) -> None:
    clean = Apertures(torch.from_numpy(latent.neutral))
    rng = np.random.default_rng(0)
    z = (rng.standard_normal((64, basis.size)) * basis.std * 2).astype(np.float32)
    v = clean(torch.from_numpy(latent.neutral + basis.decode_person(z, latent.neutral)))
    for upper, lower in top.SLITS:
        assert float((v[:, list(lower), 1] - v[:, list(upper), 1])[:, 1:-1].min()) > -1e-5
    rest = clean(torch.from_numpy(latent.neutral)[None])
    assert float((rest[0, list(top.MOUTH_LOWER), 1] - rest[0, list(top.MOUTH_UPPER), 1])[1:-1].abs().max()) < 1e-5


def test_at_rest_the_photo_comes_back(decoder: FaceDecoder, latent: FaceLatent) -> None:
    import cv2

    picture = frame(decoder, latent.dynamics).astype(float)
    person = cv2.resize(latent.person, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(float)
    alpha = person[..., 3:] / 255
    photo = person[..., :3] * alpha + latent.plate * (1 - alpha)
    hull = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(latent.landmarks[list(top.OVAL), :2].astype(np.int32)), (1,))
    mouth = latent.landmarks[list(top.MOUTH_UPPER + top.MOUTH_LOWER), :2].astype(int)
    # her teeth are redrawn
    hull[mouth[:, 1].min() - 6 : mouth[:, 1].max() + 6, mouth[:, 0].min() - 6 : mouth[:, 0].max() + 6] = 0
    for eye in (0, 1):
        at = latent.landmarks[list(top.LID_UPPER[eye] + top.LID_LOWER[eye]), :2].astype(int)
        hull[at[:, 1].min() - 4 : at[:, 1].max() + 4, at[:, 0].min() - 4 : at[:, 0].max() + 4] = 0
    mse = float(((picture - photo)[hull > 0] ** 2).mean())
    assert 10 * np.log10(255**2 / mse) > 32


def test_the_background_stands_still(decoder: FaceDecoder, latent: FaceLatent) -> None:
    import cv2

    person = cv2.dilate(cv2.resize(latent.person[..., 3], (SIZE, SIZE)), np.ones((61, 61), np.uint8))
    away = person == 0
    assert away.mean() > 0.01
    for yaw in (-12, 12):
        picture = frame(decoder, np.zeros(len(latent.dynamics)), yaw=yaw, pitch=4)
        assert np.abs(picture[away].astype(int) - latent.plate[away]).mean() < 0.5


@pytest.mark.parametrize(("axis", "angle"), [("yaw", 12.0), ("yaw", -12.0), ("pitch", 8.0), ("roll", -10.0)])
def test_the_head_turns_as_asked(decoder: FaceDecoder, basis: DynamicsBasis, axis: str, angle: float) -> None:
    neutral = np.zeros(basis.size)
    rest, turned = tracked(frame(decoder, neutral)), tracked(frame(decoder, neutral, **{axis: angle}))
    shape, (r0, _, _) = basis.align(rest[None])
    _, (r1, _, _) = basis.align(turned[None], shape[0])
    moved = np.degrees(euler(r1) - euler(r0))[0]
    assert np.abs(moved - np.array([angle * (axis == a) for a in ("yaw", "pitch", "roll")])).max() < 3.0


def test_mouth_eyes_and_gaze_move_as_asked(decoder: FaceDecoder, basis: DynamicsBasis, latent: FaceLatent) -> None:
    neutral = np.zeros(basis.size)
    rest = tracked(frame(decoder, neutral))
    unit = float(latent.scale)
    assert np.linalg.norm(rest[13, :2] - rest[14, :2]) < 0.03 * unit  # closed lips
    wide = tracked(frame(decoder, neutral + 0.2 * basis.mouth_open_direction))
    assert np.linalg.norm(wide[13, :2] - wide[14, :2]) == pytest.approx(0.2 * unit, abs=0.05 * unit)
    shut = tracked(frame(decoder, neutral + basis.blink_direction))
    assert lid_gap(shut) < 0.5 * lid_gap(rest)
    aside = neutral.copy()
    aside[basis.blocks["gaze"]] = np.radians([15, 0])
    look = tracked(frame(decoder, aside))
    shift = np.mean(
        [
            (look[i, 0] - look[[a, b], 0].mean()) - (rest[i, 0] - rest[[a, b], 0].mean())
            for i, a, b in ((468, 33, 133), (473, 362, 263))
        ]
    )
    assert shift > 1.5  # pixels, to the right of the picture


def test_distance_scales_the_person(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    neutral = np.zeros(basis.size)
    widths = [np.linalg.norm(np.subtract(*tracked(frame(decoder, neutral, distance=d))[[33, 263], :2])) for d in (0.8, 1.0, 1.25)]
    assert widths[0] / widths[1] == pytest.approx(1.25, rel=0.04) and widths[2] / widths[1] == pytest.approx(0.8, rel=0.04)


def test_frames_do_not_depend_on_batch_or_threads_and_repeat(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    rng = np.random.default_rng(1)
    track = MotionTrack(
        (rng.standard_normal((5, 6)) * [0.1, 0.05, 0.05, 0.02, 0.02, 0.1]).astype(np.float32),
        (rng.standard_normal((5, basis.size)) * basis.std * 0.5).astype(np.float32),
    )
    before = torch.get_num_threads()
    shown = []
    try:
        for threads, batch in ((1, 1), (1, 2), (1, 5), (2, 2), (2, 5), (3, 4)):
            torch.set_num_threads(threads)
            shown.append(np.concatenate(list(decoder.frames(track, batch))))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert shown[0].shape == (5, SIZE, SIZE, 3) and len(np.unique(shown[0][0])) > 100
    for other in shown[1:]:
        assert (other == shown[0]).all()


def test_a_motion_of_another_basis_is_refused(decoder: FaceDecoder) -> None:
    with pytest.raises(ValueError, match="dynamics"):
        next(decoder.frames(MotionTrack(np.zeros((1, 6), np.float32), np.zeros((1, 3), np.float32))))
