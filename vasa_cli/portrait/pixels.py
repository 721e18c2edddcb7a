"""Photos in: any format Pillow reads becomes one upright 8-bit RGB array."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vasa_cli.errors import InputError

MIN_SIDE = 64  # px; below this the landmarks are guesses
MAX_PIXELS = 400_000_000  # a 20000 x 20000 scan; more is a decompression bomb or a mistake
BACKDROP = 128  # grey under transparent photos: neither black hair nor white shirts melt into it


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """16-bit, float and integer greyscale to 8 bits by their own range ("I;16" modes hold 0..65535)."""
    a = np.asarray(image).astype(np.float64)
    top = 65535.0 if image.mode.startswith("I") and a.max() > 255 else max(float(a.max()), 1e-9) if image.mode == "F" else 255.0
    return Image.fromarray(np.clip(a / top * 255.0 + 0.5, 0, 255).astype(np.uint8), "L")


def _flatten(image: Image.Image) -> Image.Image:
    """Composite transparency over grey."""
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, (BACKDROP, BACKDROP, BACKDROP, 255))
    return Image.alpha_composite(ground, rgba).convert("RGB")


def read_photo(path: Path, least: int = MIN_SIDE) -> np.ndarray:
    """Read a photo: (H, W, 3) uint8 RGB, EXIF rotation applied, transparency over grey, CMYK, grey and 16-bit converted.

    Raises InputError when the file is missing, empty, not a picture, damaged, or smaller than `least` px on a side.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: {'is a folder, not a photo' if path.is_dir() else 'no such photo'}; give the path of a picture file"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the photo file is empty; export or download it again")
    try:
        with warnings.catch_warnings(), Image.open(path) as raw:
            warnings.simplefilter("ignore")
            if raw.width * raw.height > MAX_PIXELS:
                raise InputError(
                    f"{path}: {raw.width}x{raw.height} px is too large; scale the photo below {MAX_PIXELS // 10**6} megapixels"
                )
            image = ImageOps.exif_transpose(raw)
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                image = _to_eight_bit(image)
            transparent = "A" in image.getbands() or image.mode in ("PA",) or "transparency" in image.info
            image = _flatten(image) if transparent else image.convert("RGB")
            rgb = np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as e:
        raise InputError(f"{path}: not a picture that Pillow can read; give a JPEG, PNG or WebP photo") from e
    except (OSError, SyntaxError, ValueError, EOFError) as e:
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
