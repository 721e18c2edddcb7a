"""The mouth: what the skull and what the jaw moves, light and colour of the inside, the photo's own teeth, no flicker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.decoder.aperture import inside, outline_from, spline_matrix
from vasa_cli.decoder.gaps import Apertures
from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.errors import InputError
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait import mouth
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import FaceLatent

GREEN, BLUE, MAGENTA = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1.0)


@pytest.fixture
def painted(latent: FaceLatent) -> FaceDecoder:
    """Upper incisors green, lower ones blue, gums magenta, throat and tongue black: what is where can be counted."""
    decoder = FaceDecoder(latent)
    layer = decoder.mouth
    for texture, colour in ((layer.upper, GREEN), (layer.lower, BLUE)):
        width = texture.shape[-1]
        texture[:, :3] = torch.tensor(colour)[:, None, None]
        if colour == BLUE:
            texture[:, 3] = 1  # up to the strip's border, so that the lip does not hide all of it
        texture[:, 3, :, : width * 4 // 10] = 0
        texture[:, 3, :, width * 6 // 10 :] = 0
    layer.colours[:2] = 0
    layer.colours[2] = torch.tensor(MAGENTA)
    layer.colours[3:] = 1
    return decoder


def frames(decoder: FaceDecoder, dynamics: np.ndarray, yaw: float = 0, tongue: float | None = None) -> np.ndarray:
    """(T, 512, 512, 3) int for dynamics (T, K)."""
    z = np.atleast_2d(dynamics).astype(np.float32)
    pose = np.zeros((len(z), 6), np.float32)
    pose[:, 0] = np.radians(yaw)
    raised = None if tongue is None else np.full(len(z), tongue, np.float32)
    return np.concatenate(list(decoder.frames(MotionTrack(pose, z, tongue=raised)))).astype(int)


def marked(picture: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """(H, W) bool: pixels of a pure colour, however dark."""
    on, off = picture[..., np.array(colour) > 0].min(-1), picture[..., np.array(colour) == 0].max(-1)
    return (on > 40) & (off < 0.35 * on)


def middle(mask: np.ndarray) -> np.ndarray:
    assert mask.sum() > 10
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])


def bottom(mask: np.ndarray) -> float:
    assert mask.sum() > 10
    return float(np.percentile(np.nonzero(mask)[0], 98))


def lips_on_picture(decoder: FaceDecoder, dynamics: np.ndarray, yaw: float = 0) -> np.ndarray:
    """(478, 2) pixels."""
    pose = torch.zeros(1, 6)
    pose[0, 0] = np.radians(yaw)
    with torch.inference_mode():
        head = decoder.head.pose(pose)
        shape = decoder.vertices(torch.from_numpy(np.atleast_2d(dynamics).astype(np.float32)))
        return np.asarray(head.zoomed(decoder.head.place(shape, head)[..., :2])[0])


def test_upper_teeth_stay_with_the_skull_and_lower_ones_follow_the_jaw(painted: FaceDecoder, basis: DynamicsBasis) -> None:
    z = np.float32([0.35, 0.5])[:, None] * basis.mouth_open_direction
    half, wide = frames(painted, z)
    assert bottom(marked(half, GREEN)) == pytest.approx(bottom(marked(wide, GREEN)), abs=1.5)
    edges = [np.nonzero(marked(p, BLUE))[0].min() for p in (half, wide)]
    drop = painted.mouth.jaw_drop(painted.vertices(torch.from_numpy(z)))
    assert float(drop[1] - drop[0]) > 0.05
    assert edges[1] - edges[0] == pytest.approx(float(drop[1] - drop[0]) * painted.head.scale, rel=0.3)


def test_teeth_lie_behind_the_lips(painted: FaceDecoder, basis: DynamicsBasis) -> None:
    z = 0.25 * basis.mouth_open_direction
    offset = []
    for yaw in (-15, 0, 15):
        lips = lips_on_picture(painted, z, yaw)[[13, 14], 0].mean()
        offset.append(middle(marked(frames(painted, z, yaw)[0], GREEN))[0] - lips)
    assert offset[0] + 1 < offset[1] < offset[2] - 1  # the face turns left: what lies deeper stays behind, to the right


def test_gums_show_only_in_an_open_mouth(painted: FaceDecoder, basis: DynamicsBasis) -> None:
    snarl = basis.au_directions["AU10"]
    painted.mouth.upper[:, 4] = 1  # gum over everything
    small, wide = frames(painted, np.stack([0.06 * basis.mouth_open_direction + 0.3 * snarl, 0.4 * basis.mouth_open_direction]))
    assert marked(small, MAGENTA).sum() == 0
    assert marked(wide, MAGENTA).sum() > 50


def test_closed_lips_show_nothing_of_the_inside(painted: FaceDecoder, basis: DynamicsBasis) -> None:
    shut = [
        np.zeros(basis.size),
        -0.05 * basis.mouth_open_direction,
        basis.au_directions["AU24"] - 0.02 * basis.mouth_open_direction,
    ]
    painted.mouth.colours[:3] = torch.tensor(GREEN)
    for picture in frames(painted, np.stack(shut)):
        assert marked(picture, GREEN).sum() + marked(picture, BLUE).sum() == 0


def test_the_photos_own_teeth_come_back_and_go(decoder: FaceDecoder, latent: FaceLatent, astronaut: Path) -> None:
    import cv2

    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square
    from vasa_cli.portrait.pixels import read_photo

    photo = cut_square(read_photo(astronaut), Crop(*map(float, latent.crop)), 512).astype(int)
    ring = np.zeros((512, 512), np.uint8)
    cv2.fillPoly(ring, [np.round(latent.landmarks[top.ring(top.SLITS[0]), :2]).astype(np.int32)], 1)
    core = cv2.erode(ring, np.ones((5, 5))) > 0
    teeth_here = core & (photo.min(-1) > 150)
    assert teeth_here.sum() > 150
    again, shut = frames(decoder, np.stack([latent.dynamics, np.zeros_like(latent.dynamics)]))
    assert np.abs(again - photo)[teeth_here].mean() < 30
    assert np.corrcoef(again[teeth_here].mean(-1), photo[teeth_here].mean(-1))[0, 1] > 0.5  # her teeth, not anybody's
    lips = lips_on_picture(decoder, np.zeros_like(latent.dynamics)).astype(int)[list(top.MOUTH_UPPER + top.MOUTH_LOWER)]
    seam = shut[lips[:, 1].min() - 2 : lips[:, 1].max() + 3, lips[:, 0].min() : lips[:, 0].max()]
    assert (seam.min(-1) > 215).mean() < 0.01


def test_a_grey_photo_has_a_grey_mouth(astronaut: Path, basis: DynamicsBasis) -> None:
    from vasa_cli.portrait.encode import encode_pixels
    from vasa_cli.portrait.pixels import read_photo

    rgb = read_photo(astronaut)
    grey = np.repeat(rgb.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    decoder = FaceDecoder(encode_pixels(grey, astronaut))
    z = 0.3 * basis.mouth_open_direction
    x, y = lips_on_picture(decoder, z)[[13, 14]].mean(0).astype(int)
    part = frames(decoder, z)[0][y - 20 : y + 20, x - 25 : x + 25]
    assert part.std() > 15  # there is a mouth
    assert (part.max(-1) - part.min(-1)).max() <= 12


def test_the_inside_takes_the_photos_light(latent: FaceLatent) -> None:
    square = latent.person[..., :3]
    warm = (square * [1.0, 0.75, 0.5]).astype(np.uint8)
    white = latent.eye_white
    plain = mouth.scene_light(square, latent.landmarks, white)
    tinted = mouth.scene_light(warm, latent.landmarks, (white * [1.0, 0.75, 0.5]).astype(np.uint8))
    assert tinted[0] / tinted[2] > 1.2 * plain[0] / plain[2]
    dim = mouth.scene_light((square * 0.5).astype(np.uint8), latent.landmarks, (white * 0.5).astype(np.uint8))
    assert dim.mean() < 0.75 * plain.mean()
    ramp = np.linspace(1.0, 0.35, square.shape[1])[None, :, None]
    left, right = mouth.sides((square * ramp).astype(np.uint8), latent.landmarks)
    mirrored = mouth.sides((square * ramp[:, ::-1]).astype(np.uint8), latent.landmarks)
    assert left > 1.1 * right and mirrored[0] < mirrored[1]


def test_side_light_shades_the_row(latent: FaceLatent, basis: DynamicsBasis) -> None:
    decoder = FaceDecoder(latent)
    z = 0.2 * basis.mouth_open_direction
    x, y = lips_on_picture(decoder, z)[13].astype(int)
    reach = int(0.15 * latent.scale)
    shown = []
    for lights in ((1.1, 0.5), (0.5, 1.1)):
        decoder.mouth.colours[3:5] = torch.tensor(lights)[:, None]
        part = frames(decoder, z)[0][y + 2 : y + reach // 2]
        shown.append((part[:, x - reach : x].mean(), part[:, x : x + reach].mean()))
    assert shown[0][0] > 1.1 * shown[1][0]
    assert shown[1][1] > 1.1 * shown[0][1]


@pytest.mark.parametrize("start", [0.0, 0.05, 0.12, 0.2, 0.3])
def test_tiny_changes_change_little(decoder: FaceDecoder, basis: DynamicsBasis, start: float) -> None:
    opening = start + np.arange(12) * 0.001  # a thousandth of the distance between the eyes: a tenth of a pixel
    pictures = frames(decoder, opening[:, None] * basis.mouth_open_direction)
    x, y = lips_on_picture(decoder, start * basis.mouth_open_direction)[[13, 14]].mean(0).astype(int)
    part = pictures[:, y - 40 : y + 50, x - 45 : x + 45]
    steps = np.abs(np.diff(part, axis=0))
    assert steps.mean(axis=(1, 2, 3)).max() < 1.0
    assert steps.max() < 45


def test_round_mouths_keep_their_bulge() -> None:
    t = torch.linspace(0, torch.pi, 11)
    upper = torch.stack([-20 * torch.cos(t) * (1 + 0.5 * torch.sin(t)), -30 * torch.sin(t)], -1)[None]
    lower = torch.stack([-20 * torch.cos(t) * (1 + 0.5 * torch.sin(t)), 30 * torch.sin(t)], -1)[None]
    outline = outline_from(upper + 60, lower + 60, spline_matrix(11, 41))
    assert float(outline.length) > 42  # wider than from corner to corner
    probes = torch.tensor([[0.0, 0.0], [20.0, 14.0], [0.0, 27.0], [0.0, 32.0], [30.0, 0.0]]) + 60
    covered = inside(outline, probes[None], 1.0)[0][0]
    assert covered[:3].min() > 0.95 and covered[3:].max() < 0.05


def test_wide_mouths_are_round_and_do_not_fold_the_chin(latent: FaceLatent, basis: DynamicsBasis) -> None:
    clean = Apertures(torch.from_numpy(latent.neutral))
    z = np.stack([o * basis.mouth_open_direction - p * basis.au_directions["AU12"] for o in (0.3, 0.5) for p in (0.0, 0.8)])
    raw = torch.from_numpy(latent.neutral + basis.decode_person(z, latent.neutral))
    v = clean(raw)
    assert float((v[:, 18, 1] - v[:, 17, 1]).min()) > 0.3 * float(clean.lips.rest[0])
    assert float((v[:, 14, 1] - v[:, 13, 1] - (raw[:, 14, 1] - raw[:, 13, 1])).abs().max()) < 0.02  # as wide open as asked
    near_corner = [(row[2], row[8]) for row in (top.MOUTH_UPPER, top.MOUTH_LOWER)]
    height = [float((x[3, list(near_corner[1]), 1] - x[3, list(near_corner[0]), 1]).mean()) for x in (raw, v)]
    assert height[1] > 1.1 * height[0]


def test_a_raised_tongue_fills_the_gap_between_the_teeth(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    z = 0.18 * basis.mouth_open_direction
    low, high = (frames(decoder, z, tongue=t)[0] for t in (0.0, 1.0))
    assert (frames(decoder, z)[0] == low).all()  # nothing heard: it lies low
    changed = np.abs(high - low).sum(-1) > 30
    assert changed.sum() > 20
    assert high[changed].mean() > low[changed].mean() + 10  # dark throat before, tongue now
    assert (high[changed][:, 0] > 1.15 * high[changed][:, 1]).mean() > 0.7


def test_the_tongue_is_heard_and_travels_with_the_motion(tmp_path: Path) -> None:
    from vasa_cli.motion.tongue import tongue_track
    from vasa_cli.speech.features import FEATURES

    rng = np.random.default_rng(0)
    heard = tongue_track(rng.standard_normal((40, FEATURES)).astype(np.float32))
    assert heard is not None and heard.shape == (40,)
    assert heard.min() >= 0 and heard.max() <= 1 and heard.std() > 0.01
    assert tongue_track(np.zeros((40, 7), np.float32)) is None
    track = MotionTrack(np.zeros((40, 6), np.float32), np.zeros((40, 62), np.float32), tongue=heard)
    track.save(tmp_path / "new.safetensors")
    again = MotionTrack.load(tmp_path / "new.safetensors").tongue
    assert again is not None and (again == heard).all()
    MotionTrack(track.pose, track.dynamics).save(tmp_path / "old.safetensors")  # as files without a tongue are
    assert MotionTrack.load(tmp_path / "old.safetensors").tongue is None
    MotionTrack(track.pose, track.dynamics, tongue=np.full(40, np.nan, np.float32)).save(tmp_path / "bad.safetensors")
    with pytest.raises(InputError):
        MotionTrack.load(tmp_path / "bad.safetensors")
