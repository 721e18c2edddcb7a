"""The dynamics basis: algebra, physical directions, alignment, residual on held-out clips."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.motion.basis import EYE_RADIUS, DynamicsBasis, euler, lid_opening, rotation, stable_weights

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 0, 13, 14, 78, 308]


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


def test_encode_inverts_decode(basis: DynamicsBasis) -> None:
    z = np.random.default_rng(0).standard_normal((7, basis.size)).astype(np.float32) * basis.std
    assert np.abs(basis.encode(basis.decode(z)) - z).max() < 1e-4


def test_encode_person_inverts_decode_person(basis: DynamicsBasis) -> None:
    neutral = basis.mean_shape + 0.7 * basis.identity_std[1] * basis.identity_directions[1]
    z = np.random.default_rng(1).standard_normal((3, basis.size)).astype(np.float32) * basis.std
    assert np.abs(basis.encode_person(basis.decode_person(z, neutral), neutral) - z).max() < 1e-4


def test_blocks_move_their_regions_only(basis: DynamicsBasis) -> None:
    def reach(block: str) -> np.ndarray:
        return np.abs(basis.directions[basis.blocks[block]]).sum((0, 2))

    irises, lids, brows = [468, 473, 470], [159, 145, 386, 374], [105, 334, 107]
    assert reach("gaze")[:468].max() == 0
    assert reach("lids")[LIPS + irises + [152]].max() == 0
    assert reach("brows")[LIPS + irises + lids].max() == 0
    assert reach("mouth")[irises + lids + brows].max() == 0
    assert reach("mouth")[LIPS].min() > 0.05 and reach("brows")[brows].min() > 0.05 and reach("lids")[lids].min() > 0.05


def test_block_sizes_cover_everything(basis: DynamicsBasis) -> None:
    ends = sorted((s.start, s.stop) for s in basis.blocks.values())
    assert ends[0][0] == 0 and ends[-1][1] == basis.size == len(basis.std)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
    assert basis.blocks["gaze"] == slice(0, 2)


def test_mean_face_is_at_rest(basis: DynamicsBasis) -> None:
    assert abs(np.linalg.norm(basis.mean_shape[33] - basis.mean_shape[263]) - 1) < 0.02
    assert abs(basis.mean_shape[14, 1] - basis.mean_shape[13, 1]) < 0.005  # lips closed
    assert lid_opening(basis.mean_shape).mean() > 0.05  # eyes open
    assert np.abs(stable_weights() @ basis.mean_shape).max() < 1e-3
    assert np.abs(basis.mean_shape - basis.mean_shape[basis.mirror] * [-1, 1, 1]).max() < 1e-3


def test_a_blink_closes_the_eyes_of_any_opening(basis: DynamicsBasis) -> None:
    wide = basis.mean_shape.copy()
    squint = basis.decode(-0.4 * basis.blink_direction)
    for neutral in (basis.mean_shape, wide + squint):
        shut = neutral + basis.decode_person(basis.blink_direction, neutral)
        assert lid_opening(shut).max() < 0.25 * lid_opening(neutral).min()


def test_gaze_has_the_agreed_signs(basis: DynamicsBasis) -> None:
    z = np.zeros((2, basis.size), np.float32)
    z[0, 0] = z[1, 1] = 0.2
    right, up = basis.decode(z)
    assert np.allclose(right[[468, 473], 0], 0.2 * EYE_RADIUS, rtol=0.02)
    assert np.allclose(up[[468, 473], 1], -0.2 * EYE_RADIUS, rtol=0.02)


def test_euler_inverts_rotation() -> None:
    angles = np.random.default_rng(2).uniform(-0.7, 0.7, (20, 3))
    assert np.abs(euler(rotation(angles)) - angles).max() < 1e-9
    nose = rotation(np.array([[0.3, 0, 0], [0, 0.3, 0]])) @ np.array([0.0, 0, -1])
    assert nose[0, 0] < 0 < nose[1, 1]  # yaw > 0 turns left, pitch > 0 lowers


def test_align_recovers_a_known_pose(basis: DynamicsBasis) -> None:
    rng = np.random.default_rng(3)
    angles, scale, t = rng.uniform(-0.4, 0.4, (5, 3)), rng.uniform(50, 300, 5), rng.uniform(-100, 100, (5, 3))
    z = np.zeros((5, basis.size), np.float32)
    z[:, basis.blocks["mouth"]] = rng.standard_normal((5, 40)) * basis.std[basis.blocks["mouth"]]
    faces = basis.mean_shape + basis.decode(z)
    posed = scale[:, None, None] * np.einsum("tij,tnj->tni", rotation(angles), faces) + t[:, None]
    canonical, (rot, found, shift) = basis.align(posed)
    assert np.degrees(np.abs(euler(rot) - angles).max()) < 2.0  # an open mouth must not turn the head
    assert np.abs(found / scale - 1).max() < 0.02
    assert np.abs(canonical - faces).max() < 0.05
    back = found[:, None, None] * np.einsum("tij,tnj->tni", rot, canonical) + shift[:, None]
    assert np.abs(back - posed).max() < 1e-2


def test_split_identity_finds_an_open_mouth_on_another_face(basis: DynamicsBasis) -> None:
    person = (
        basis.mean_shape
        + basis.identity_std[0] * basis.identity_directions[0]
        - 0.8 * basis.identity_std[2] * basis.identity_directions[2]
    )
    z = 0.15 * basis.mouth_open_direction
    neutral, found = basis.split_identity(person + basis.decode(z))
    assert abs(neutral[14, 1] - neutral[13, 1]) < 0.01
    lips = np.linalg.norm(basis.decode(found - z)[LIPS, :2], axis=-1)
    assert lips.mean() < 0.02


def test_split_identity_leaves_a_resting_face_alone(basis: DynamicsBasis) -> None:
    person = basis.mean_shape + basis.identity_std[0] * basis.identity_directions[0]
    neutral, _z = basis.split_identity(person)
    assert np.linalg.norm((neutral - person)[:, :2], axis=-1).mean() < 0.01


@pytest.mark.skipif(not (DATA / "strangers").is_dir(), reason="needs ../shared/data")
def test_little_error_remains_on_strangers(basis: DynamicsBasis) -> None:
    from vasa_cli.motion.rest import close_lips, neutral_of, region_masks
    from vasa_cli.training.motion_clips import clip_paths, read_clip, smooth

    masks = region_masks(basis.mean_shape, 0.07)
    for path in clip_paths(DATA, "strangers")[:3]:
        canonical = smooth(basis.align_clip(read_clip(path).landmarks)[0])
        neutral = close_lips(neutral_of(canonical, masks), basis.decode(basis.mouth_open_direction))
        d = canonical - neutral
        left = d - basis.decode_person(basis.encode_person(d, neutral), neutral)
        rms = np.sqrt((left[:, LIPS, :2] ** 2).sum(-1).mean())
        assert rms < 0.004 < np.sqrt((d[:, LIPS, :2] ** 2).sum(-1).mean())
