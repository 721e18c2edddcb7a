"""Photo to FaceLatent: formats, choice of the face, layers, codes, cache."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vasa_cli.errors import FaceError, InputError, UsageError
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.cache import FaceCache
from vasa_cli.portrait.encode import encode_portrait
from vasa_cli.portrait.framing import Crop, check_usable, choose_face, crop_from_option, frame_face
from vasa_cli.portrait.landmarks import FaceMesh, find_faces
from vasa_cli.portrait.latent import SIZE, TEXTURE, FaceLatent
from vasa_cli.portrait.layers import background_plate, fill_holes, guided_filter
from vasa_cli.portrait.pixels import pixel_hash, read_photo


@pytest.fixture(scope="module")
def latent(face: Path) -> FaceLatent:
    return FaceLatent.load(face)


def gradient(mode: str) -> Image.Image:
    ramp = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (80, 1))
    return Image.fromarray(ramp, "L").convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "1", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    suffix = {"CMYK": "tiff", "YCbCr": "jpg"}.get(mode, "png")
    gradient(mode).save(tmp_path / f"photo.{suffix}")
    rgb = read_photo(tmp_path / f"photo.{suffix}")
    assert rgb.shape == (80, 96, 3) and rgb.dtype == np.uint8
    assert rgb[:, 80:].mean() > rgb[:, :16].mean() + 100  # the ramp survived: no inverted CMYK, no cut-off bytes


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    deep = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (80, 1))
    Image.fromarray(deep).save(tmp_path / "deep.png")
    rgb = read_photo(tmp_path / "deep.png")
    assert abs(int(rgb[40, 48, 0]) - 128) < 4 and rgb[40, -1, 0] == 255


def test_exif_rotation_and_transparency(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((80, 120, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_photo(tmp_path / "turned.jpg").shape == (120, 80, 3)
    clear = np.zeros((80, 80, 4), np.uint8)
    Image.fromarray(clear, "RGBA").save(tmp_path / "clear.png")
    assert (read_photo(tmp_path / "clear.png") == 128).all()


def test_same_pixels_same_hash_whatever_the_file(tmp_path: Path) -> None:
    picture = gradient("RGB")
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.bmp")
    a, b = read_photo(tmp_path / "a.png"), read_photo(tmp_path / "b.bmp")
    assert pixel_hash(a) == pixel_hash(b) != pixel_hash(np.ascontiguousarray(a[:, ::-1]))


def test_damaged_pictures_are_refused(tmp_path: Path, astronaut: Path) -> None:
    data = astronaut.read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_photo(tmp_path / "cut.png")
    with pytest.raises(InputError, match="no such photo"):
        read_photo(tmp_path / "none.png")


def test_faces_are_found_and_chosen(astronaut: Path) -> None:
    one = np.asarray(Image.open(astronaut).convert("RGB"))
    small = np.asarray(Image.fromarray(one).resize((300, 300)))
    pair = np.full((512, 812, 3), 90, np.uint8)
    pair[:300, :300], pair[:, 300:] = small, one
    faces = find_faces(pair)
    assert len(faces) == 2
    picked, notes = choose_face(faces, "largest", astronaut)
    assert picked.landmarks[4, 0] > 300 and "2 faces" in notes[0]
    assert choose_face(faces, "left", astronaut)[0].landmarks[4, 0] < 300
    assert choose_face(faces, "1", astronaut)[0].landmarks[4, 0] > 300
    with pytest.raises(FaceError, match="only 2 found"):
        choose_face(faces, "2", astronaut)
    with pytest.raises(UsageError):
        choose_face(faces, "middle", astronaut)
    with pytest.raises(FaceError, match="no face"):
        choose_face([], "largest", astronaut)


def test_unusable_faces(astronaut: Path) -> None:
    points = np.zeros((478, 3), np.float32)
    points[263, 0] = 100
    mesh = FaceMesh(points, 1.0)
    assert check_usable(mesh, 0.2, astronaut) == ()
    with pytest.raises(FaceError, match="turned too far"):
        check_usable(mesh, 1.0, astronaut)
    with pytest.raises(FaceError, match="too small"):
        check_usable(FaceMesh(points * 0.1, 1.0), 0.0, astronaut)


def test_the_frame_stays_inside_the_photo(astronaut: Path) -> None:
    points = np.zeros((478, 3), np.float32)
    points[33], points[263], points[168] = (80, 50, 0), (120, 50, 0), (100, 50, 0)
    crop = frame_face(FaceMesh(points, 1.0), 400, 150)
    side = crop.scale * SIZE
    assert side == pytest.approx(150) and crop.y == 0 and 0 <= crop.x <= 250
    assert crop.to_crop(points)[33, 0] == pytest.approx((80 - crop.x) / crop.scale)
    with pytest.raises(UsageError, match="does not fit"):
        crop_from_option((300, 0, 200, 100), 400, 150, astronaut)


def test_latent_codes_rebuild_the_landmarks(latent: FaceLatent) -> None:
    from vasa_cli.motion.basis import DynamicsBasis

    basis = DynamicsBasis.load()
    shape = latent.neutral + basis.decode_person(latent.dynamics, latent.neutral)
    rebuilt = latent.scale * shape @ latent.rotation.T + latent.translation
    assert np.abs(rebuilt - latent.landmarks).max() < 0.5  # crop pixels
    gap = latent.neutral[14, 1] - latent.neutral[13, 1]
    assert abs(gap) < 0.01  # her smile shows teeth; neutral lips are closed
    assert latent.landmarks[14, 1] - latent.landmarks[13, 1] > 3


def test_layers_take_the_picture_apart(latent: FaceLatent, astronaut: Path) -> None:
    alpha = latent.person[..., 3]
    nose = (latent.landmarks[top.NOSE_TIP, :2] * TEXTURE / SIZE).astype(int)
    assert alpha[nose[1], nose[0]] == 255
    assert 0.3 < (alpha > 127).mean() < 0.95
    photo = read_photo(astronaut)
    x, y, k = latent.crop
    corner = photo[int(y) + 4, int(x + k * SIZE) - 5].astype(int)  # background in the astronaut's upper right corner
    assert np.abs(latent.plate[4, -5].astype(int) - corner).max() < 25
    assert latent.depth[256 * 30 // 100 :, 128].min() < latent.depth[:8].mean()  # the face is nearer than what is above it
    chest, forehead = latent.follow[-1].max(), latent.follow[: int(latent.landmarks[10, 1] / 2)].min()
    assert chest < 0.05 and forehead == pytest.approx(1.0)


def test_fill_holes_and_guided_filter() -> None:
    image = np.full((37, 53, 3), 100, np.float32)
    known = np.ones((37, 53), np.float32)
    image[10:20, 10:30], known[10:20, 10:30] = 0, 0
    assert np.abs(fill_holes(image, known) - 100).max() < 1
    guide = np.full((64, 64, 3), (0.6, 0.2, 0.2), np.float32)
    guide[:, 30:] = (0.2, 0.4, 0.2)  # hardly brighter or darker
    coarse = np.clip((np.tile(np.arange(64), (64, 1)) - 24) / 16, 0, 1).astype(np.float32)
    fine = guided_filter(guide, coarse, 8, 1e-3)
    assert fine[32, 31] - fine[32, 28] > coarse[32, 31] - coarse[32, 28] + 0.1  # the soft ramp snapped to the edge
    large = guided_filter(guide.repeat(8, 0).repeat(8, 1), coarse.repeat(8, 0).repeat(8, 1), 64, 1e-3)  # on a coarser picture
    assert np.abs(large[::8, ::8] - fine).mean() < 0.05


def test_plate_equals_the_photo_where_nobody_is() -> None:
    rng = np.random.default_rng(0)
    square = np.repeat(np.repeat(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8), 16, 0), 16, 1)
    alpha = np.zeros((TEXTURE, TEXTURE), np.float32)
    alpha[300:, 300:500] = 1
    photo = np.ascontiguousarray(square[:SIZE, :SIZE])
    plate = background_plate(photo, alpha)
    assert (plate[:, :180] == photo[:, :180]).all() and (plate[:, 350:] == photo[:, 350:]).all()
    assert not (plate[300:, 220:310] == photo[300:, 220:310]).all()


def test_face_files_survive_and_damage_shows(latent: FaceLatent, tmp_path: Path) -> None:
    path = tmp_path / "face.safetensors"
    latent.save(path)
    again = FaceLatent.load(path)
    assert again.pixel_hash == latent.pixel_hash and (again.person == latent.person).all() and again.scale == latent.scale
    data = path.read_bytes()
    path.write_bytes(data[:-1000])
    with pytest.raises(InputError, match="damaged"):
        FaceLatent.load(path)
    path.write_bytes(data.replace(b"vasa-face/2", b"vasa-face/1"))
    with pytest.raises(InputError, match="format"):
        FaceLatent.load(path)
    with pytest.raises(InputError, match="no such"):
        FaceLatent.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="depth"):
        replace(latent, depth=latent.depth[:10])


def test_cache_hits_rebuilds_and_prunes(astronaut: Path, latent: FaceLatent, tmp_path: Path) -> None:
    cache = FaceCache(tmp_path / "cache")
    first, hit = cache.get_or_encode(astronaut)
    assert not hit and (first.person == latent.person).all()  # encoding is deterministic
    assert cache.get_or_encode(astronaut)[1] and cache.lookup(astronaut)
    (entry,) = cache.entries()
    entry.path.write_bytes(b"not a face")
    assert not cache.lookup(astronaut)
    rebuilt, hit = cache.get_or_encode(astronaut)
    assert not hit and FaceLatent.load(entry.path).pixel_hash == rebuilt.pixel_hash
    os.utime(entry.path, (0, 0))
    assert [e.key for e in cache.prune(max_age_days=30)] == [entry.key]
    assert list(cache.entries()) == []


def test_a_crop_bypasses_detection(astronaut: Path) -> None:
    latent = encode_portrait(astronaut, crop=(130, 20, 190, 200))
    x, _, k = latent.crop
    assert k * SIZE == pytest.approx(200, abs=1) and 100 < x < 150
    with pytest.raises(FaceError, match="inside --crop"):
        encode_portrait(astronaut, crop=(380, 380, 100, 100))


def test_crop_to_photo_is_a_similarity() -> None:
    crop = Crop(10.0, 20.0, 0.5)
    points = np.array([[10.0, 20.0, 4.0], [20.0, 30.0, 0.0]], np.float32)
    assert crop.to_crop(points).tolist() == [[0, 0, 8], [20, 20, 0]]
