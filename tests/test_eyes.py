"""Eyes: lids that close over skin, drawn eyes larger than the tracker thinks, gaze and glints, glasses that stay rigid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.decoder.rigid import glasses_zone
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait import eye_frame, eyes, glasses, lids
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.encode import encode_pixels
from vasa_cli.portrait.framing import Crop
from vasa_cli.portrait.landmarks import mesh_in_square
from vasa_cli.portrait.latent import SIZE, FaceLatent
from vasa_cli.portrait.layers import cut_square
from vasa_cli.portrait.pixels import read_photo

SKIN, WHITE, IRIS, LASH = (205, 160, 135), (240, 240, 242), (60, 110, 190), (60, 35, 25)


def frames(decoder: FaceDecoder, z: np.ndarray) -> np.ndarray:
    """(T, K) -> (T, 512, 512, 3), head at rest."""
    track = MotionTrack(np.zeros((len(z), 6), np.float32), z.astype(np.float32))
    return np.concatenate(list(decoder.frames(track)))


def tracked(picture: np.ndarray) -> np.ndarray:
    mesh = mesh_in_square(picture, np.array([256.0, 256.0]), 512.0)
    assert mesh is not None
    return mesh.landmarks


def opening(marks: np.ndarray) -> float:
    """Gap between the lids' middles across the line of corners, in eye widths, mean of both eyes."""
    out = []
    for eye, (a, b) in enumerate(((159, 145), (386, 374))):
        frame = eye_frame.EyeFrame.of(marks, eye)
        out.append(abs(float(np.subtract(*frame.local(marks[[b, a], :2]))[1])))
    return float(np.mean(out))


def eye_box(latent: FaceLatent, eye: int, grow: float = 0.3) -> tuple[slice, slice]:
    at = latent.landmarks[list(top.LID_UPPER[eye] + top.LID_LOWER[eye]), :2]
    g = grow * np.ptp(at[:, 0])
    x0, y0, x1, y1 = (int(v) for v in (*(at.min(0) - g), *(at.max(0) + g)))
    return slice(y0, y1), slice(x0, x1)


def test_lids_close_all_the_way_and_on_the_way_there(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    pictures = frames(decoder, np.linspace(0, 1, 5)[:, None] * basis.blink_direction)
    gaps = np.array([opening(tracked(p)) for p in pictures])
    assert gaps[-1] < 0.15 * gaps[0]
    assert (np.diff(gaps) < 0.01).all() and 0.35 < gaps[2] / gaps[0] < 0.85


def test_the_photos_eyes_come_back_at_rest(decoder: FaceDecoder, latent: FaceLatent, astronaut: Path) -> None:
    photo = cut_square(read_photo(astronaut), Crop(*map(float, latent.crop)), SIZE).astype(float)
    picture = frames(decoder, latent.dynamics[None])[0].astype(float)
    for eye in (0, 1):
        assert np.abs(picture - photo)[eye_box(latent, eye)].mean() < 2.5


def test_shut_lids_show_neither_white_nor_iris(decoder: FaceDecoder, basis: DynamicsBasis, latent: FaceLatent) -> None:
    look, shut = frames(decoder, np.stack([np.zeros(basis.size), basis.blink_direction]))
    for eye in (0, 1):
        y, x = eye_box(latent, eye, -0.05)
        iris = latent.landmarks[top.IRIS[eye][0], :2].astype(int)
        skin = look[y.stop + 8 : y.stop + 16, x].astype(float).mean((0, 1))  # below the eye
        there = shut[iris[1] - 2 : iris[1] + 2, iris[0] - 3 : iris[0] + 3].astype(float).mean((0, 1))
        was = look[iris[1] - 2 : iris[1] + 2, iris[0] - 3 : iris[0] + 3].astype(float).mean((0, 1))
        assert np.abs(there - skin).mean() < 45 < np.abs(was - skin).mean()


def test_what_is_not_the_eye_stays_untouched(decoder: FaceDecoder, basis: DynamicsBasis, latent: FaceLatent) -> None:
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    before = picture.clone()
    with torch.inference_mode():
        z = torch.from_numpy(basis.blink_direction[None])
        head = decoder.head.pose(torch.zeros(1, 6))
        flat = decoder.on_picture(decoder.vertices(z), head)
        decoder.eyes.draw(picture, flat, torch.eye(2)[None], torch.zeros(1, 2, 2))
    changed = (picture != before).any(1)[0].numpy()
    for eye in (0, 1):
        y, x = eye_box(latent, eye, 0.55)
        assert changed[y, x].any()
        changed[y, x] = False
    assert not changed.any()


def test_gaze_is_found_where_it_was_asked_for(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    asked = np.linspace(-20, 20, 7)
    z = np.zeros((len(asked), basis.size))
    z[:, 0] = np.radians(asked)
    found = []
    for picture in frames(decoder, z):
        marks = tracked(picture)
        found.append(np.mean([eye_frame.EyeFrame.of(marks, e).local(marks[top.IRIS[e][0], :2])[0] for e in (0, 1)]))
    assert np.corrcoef(asked, found)[0, 1] > 0.95 and found[-1] - found[0] > 0.08


def drawn_eye(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A drawn eye whose lids lie at `scale` times the height and width that the landmarks say; (768, 768, 3), (478, 3)."""
    import cv2

    marks = np.zeros((478, 3), np.float32)
    width, height = 40.0, 13.0
    for eye, middle in ((0, (200.0, 250.0)), (1, (310.0, 250.0))):
        n = len(top.LID_UPPER[eye])
        x = np.linspace(-width / 2, width / 2, n) * (1 if eye == 0 else -1)
        y = height / 2 * np.sqrt(np.maximum(1 - (2 * x / width) ** 2, 0))
        marks[list(top.LID_UPPER[eye]), :2] = np.stack([middle[0] + x, middle[1] - y], -1)
        marks[list(top.LID_LOWER[eye]), :2] = np.stack([middle[0] + x, middle[1] + y], -1)
        ring = np.array([(0, 0), (5, 0), (0, 5), (-5, 0), (0, -5)], np.float32)
        marks[list(top.IRIS[eye]), :2] = np.array(middle) + ring
    picture = np.full((768, 768, 3), SKIN, np.uint8)
    for middle in ((300, 375), (465, 375)):
        axes = (round(width * 0.75 * scale), round(height * 0.75 * scale))
        cv2.ellipse(picture, middle, axes, 0, 0, 360, WHITE, -1, cv2.LINE_AA)
        cv2.circle(picture, middle, 7, IRIS, -1, cv2.LINE_AA)
        cv2.ellipse(picture, middle, axes, 0, 180, 360, LASH, 2, cv2.LINE_AA)
    return picture, marks


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_nothing_of_a_drawn_eye_stays_on_its_lid(scale: float) -> None:
    picture, marks = drawn_eye(scale)
    both = [lids.find_lids(picture, marks, e, eyes.iris_frame(marks, e)) for e in (0, 1)]
    bare = lids.without_eyes(picture, marks, both).astype(float)
    assert np.abs(bare[330:420, 220:545] - SKIN).max() < 25
    gap = [float((x.edges[1] - x.edges[0]).max()) for x in both]
    assert min(gap) == pytest.approx(13 / 40 * scale, abs=0.05)  # the white beside the tracker's lids was found
    assert (np.concatenate([x.strips[0][..., 3].max(0) for x in both]) > 120).any()  # and its line kept


def test_a_glint_leaves_the_iris_whole() -> None:
    import cv2

    picture, marks = drawn_eye(1.0)
    cv2.circle(picture, (302, 373), 1, (255, 255, 255), -1)
    found = lids.find_lids(picture, marks, 0, eyes.iris_frame(marks, 0))
    ball = eyes.eyeball(picture, marks, 0, found)
    assert int(ball.glint[..., 3].max()) > 150 and (ball.glint[..., 3] > 60).mean() < 0.1
    inner = ball.iris[16:48, 16:48, :3].astype(float)
    assert np.abs(inner - IRIS).max() < 60 and (ball.iris[32, 32, 3], ball.iris[0, 0, 3]) == (255, 0)


def with_glasses(photo: np.ndarray, marks: np.ndarray, colour: tuple[int, int, int] = (30, 25, 25)) -> np.ndarray:
    """Round frames drawn on a face (478, 3)."""
    import cv2

    out, unit = photo.copy(), float(np.linalg.norm(marks[33, :2] - marks[263, :2]))
    thick, middles = max(2, round(0.028 * unit)), [marks[list(ends), :2].mean(0) for ends in ((33, 133), (362, 263))]
    for m in middles:
        centre = tuple(round(float(v) * 16) for v in m + np.array([0, 0.05 * unit]))
        cv2.ellipse(out, centre, (round(4.6 * unit), round(3.7 * unit)), 0, 0, 360, colour, thick, cv2.LINE_AA, 4)
    ends = [tuple(round(float(v)) for v in m + np.array([s * 0.28 * unit, 0])) for m, s in zip(middles, (1, -1), strict=True)]
    cv2.line(out, ends[0], ends[1], colour, thick, cv2.LINE_AA)
    return out


@pytest.fixture(scope="module")
def spectacled(astronaut: Path, latent: FaceLatent) -> FaceLatent:
    photo = read_photo(astronaut)
    marks = latent.landmarks * latent.crop[2]
    marks[:, :2] += latent.crop[:2]
    return encode_pixels(with_glasses(photo, marks), astronaut)


def test_glasses_are_seen_where_there_are_some(spectacled: FaceLatent, latent: FaceLatent, decoder: FaceDecoder) -> None:
    assert (spectacled.glasses > 0.5).all() and (latent.glasses == 0).all()
    picture, marks = drawn_eye(1.0)
    assert (glasses.find_glasses(picture, marks) == 0).all()
    zone = glasses_zone(spectacled, np.array([[256.0, 20.0], *spectacled.landmarks[[159, 386, 168, 152], :2]]))
    assert zone.tolist() == [0, 1, 1, 1, 0] and glasses_zone(latent, latent.landmarks[:, :2]).max() == 0


def test_frames_stay_rigid_while_lids_and_brows_move(spectacled: FaceLatent, basis: DynamicsBasis) -> None:
    moved = basis.blink_direction + basis.au_directions["AU1"] + basis.au_directions["AU2"] + basis.au_directions["AU6"]
    loose = dataclasses.replace(spectacled, glasses=np.zeros(2, np.float32))
    z = np.stack([np.zeros(basis.size), moved, basis.blink_direction])
    change = []
    for face in (spectacled, loose):
        rest, after, shut = frames(FaceDecoder(face), z).astype(float)
        frame = rest.mean(-1) < 60
        frame[:, : int(spectacled.landmarks[33, 0])] = frame[:, int(spectacled.landmarks[263, 0]) :] = False
        frame[: int(spectacled.landmarks[159, 1]) - 30] = frame[int(spectacled.landmarks[145, 1]) + 35 :] = False
        for eye in (0, 1):
            frame[eye_box(spectacled, eye, 0.05)] = False
        assert frame.sum() > 150
        change.append(np.abs(after - rest)[frame].mean())
        irises = [face.landmarks[top.IRIS[e][0], :2].astype(int) for e in (0, 1)]
        lighter = [float((shut - rest)[y - 2 : y + 2, x - 2 : x + 2].mean()) for x, y in irises]
    assert change[0] < 8 and change[0] < 0.4 * change[1]
    assert min(lighter) > 40  # skin instead of irises: they blink behind the lenses all the same
