"""Photos in: any format Pillow reads becomes one upright 8-bit RGB array."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vasa_cli.errors import InputError
from vasa_cli.limits import check_pixels, max_pixels

MIN_SIDE = 64  # px; below this the landmarks are guesses
_ROWS = 256  # converted at a time
_STRIP = 1 << 21  # pixels, the same
# Rasters. Pillow also reads EPS and WMF, for which it starts other programs, and formats that only hold other files.
READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000", "MPO", "PPM", "TGA", "ICO",
            "PSD", "PCX", "SGI", "QOI", "DDS", "SUN")  # fmt: skip
# What Pillow's readers raise on damaged files, found by fuzzing: besides what they mean to, whatever their arithmetic meets.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, TypeError, AttributeError, AssertionError, RuntimeError, ArithmeticError,
            LookupError, MemoryError, struct.error, zlib.error)  # fmt: skip
_pillow_limit = threading.Lock()
BACKDROP = 128  # grey under transparent photos: neither black hair nor white shirts melt into it


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """16-bit, float and integer greyscale to 8 bits by their own range ("I;16" modes hold 0..65535)."""
    a = np.asarray(image)
    top = 65535.0 if image.mode.startswith("I") and a.max() > 255 else max(float(a.max()), 1e-9) if image.mode == "F" else 255.0
    out = np.empty(a.shape, np.uint8)
    for y in range(0, len(a), _ROWS):  # a large scan in double precision would take eight bytes a pixel
        rows = np.nan_to_num(a[y : y + _ROWS].astype(np.float64))
        out[y : y + _ROWS] = np.clip(rows / top * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(out, "L")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings and log lines about damage off the user's screen: the error says it in one line."""
    logger = logging.getLogger("PIL")
    silent = logging.NullHandler()
    logger.addHandler(silent)  # without any handler Python would print them itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(silent)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture, its size checked before anything is decoded. Pillow's own limit, a global, which first only warns, is ours
    meanwhile: it also guards the tiles and pictures within."""
    with _pillow_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path, formats=[name for name in READABLE if _known(name)]) as raw:
                check_pixels(str(path), raw.width, raw.height, path.stat().st_size)
                Image.MAX_IMAGE_PIXELS = max_pixels() // 2 + 1  # it refuses what is twice as large
                yield raw
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _known(name: str) -> bool:
    """Whether this Pillow (or a plug-in of it) reads the format."""
    Image.init()
    return name in Image.OPEN


def _to_array(convert: Callable[[Image.Image], Image.Image], image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of what `convert` makes of the picture, some rows at a time: Pillow's own pictures take four bytes a pixel,
    and each conversion of a whole one makes another."""
    out = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIP // max(image.width, 1))
    for y in range(0, image.height, rows):
        out[y : y + rows] = np.asarray(convert(image.crop((0, y, image.width, min(y + rows, image.height)))))
    return out


def _plain(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    """Composite transparency over grey."""
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, (BACKDROP, BACKDROP, BACKDROP, 255))
    return Image.alpha_composite(ground, rgba).convert("RGB")


def read_photo(path: Path, least: int = MIN_SIDE) -> np.ndarray:
    """Read a photo: (H, W, 3) uint8 RGB, EXIF rotation applied, transparency over grey, CMYK, grey and 16-bit converted.

    Raises InputError when the file is missing, empty, not a picture, damaged, smaller than `least` px on a side, or larger than
    `limits.max_pixels`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: {'is a folder, not a photo' if path.is_dir() else 'no such photo'}; give the path of a picture file"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the photo file is empty; export or download it again")
    try:
        with quiet(), opened(path) as raw:
            image: Image.Image = raw
            ImageOps.exif_transpose(image, in_place=True)  # a copy of a large photo is half a gigabyte
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                image = _to_eight_bit(image)
            transparent = "A" in image.getbands() or image.mode in ("PA",) or "transparency" in image.info
            rgb = _to_array(_flatten if transparent else _plain, image)
    except Image.DecompressionBombError as e:
        raise InputError(f"{path}: more than {max_pixels() / 1e6:g} megapixels within; scale it, or raise --max-pixels") from e
    except UnidentifiedImageError as e:
        raise InputError(f"{path}: not a picture that Pillow can read; give a JPEG, PNG or WebP photo") from e
    except DAMAGED as e:
        raise InputError(f"{path}: the picture is damaged ({e}); export or download it again") from e
    if min(rgb.shape[:2]) < least:
        raise InputError(
            f"{path}: {rgb.shape[1]}x{rgb.shape[0]} px is too small; give a photo of at least {least} px a side, better 512"
        )
    return rgb


def pixel_hash(rgb: np.ndarray) -> str:
    """Hex SHA-256 of the upright pixels and their shape: two files with the same picture share one cache entry."""
    h = hashlib.sha256(repr(rgb.shape).encode())
    h.update(np.ascontiguousarray(rgb).data)
    return h.hexdigest()
