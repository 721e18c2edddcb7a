"""For pasting back: the photo at a size that video can carry, a crop on whole pixels of it, and the person matte of all of it."""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait import landmarks, layers
from vasa_cli.portrait.framing import Crop
from vasa_cli.portrait.latent import SIZE, TEXTURE

MAX_SIDE = 4096  # px: players and hardware decoders end there
_COARSE = 1024  # px, longer side at which the matte model's answers are put together
_MEET = 0.06  # of the crop's side: a strip of photo narrower than this has no use
_ROUND = ((768, 64), (384, 32), (0, 16))  # from this side on the crop's side is a multiple of that


def fitted_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a photo, its longer side at most 4096 px."""
    k = min(1.0, MAX_SIDE / max(height, width))
    return round(width * k), round(height * k)


def fit_photo(rgb: np.ndarray) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """The photo, its longer side at most 4096 px; by how much it shrank; a note when it did."""
    import cv2

    height, width = rgb.shape[:2]
    k, size = min(1.0, MAX_SIDE / max(height, width)), fitted_size(width, height)
    if k == 1:
        return rgb, 1.0, ()
    note = f"the photo of {width}x{height} px is scaled to {size[0]}x{size[1]}: few players take more than {MAX_SIDE} px"
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)), k, (note,)


def whole_pixels(crop: Crop, k: float, width: int, height: int) -> Crop:
    """The crop in the photo shrunk by k, its corner on whole pixels and its side a round number of them; an edge close to the
    photo's own edge meets it."""
    wanted, most = crop.scale * SIZE * k, min(width, height)
    step = next(step for least, step in _ROUND if wanted >= least)
    side = most if wanted > (1 - _MEET) * most else min(round(wanted / step), most // step) * step

    def place(middle: float, room: int) -> float:
        at = float(np.clip(round(middle - side / 2), 0, room - side))
        return 0.0 if at < _MEET * side else float(room - side) if at > room - side - _MEET * side else at

    half = crop.scale * SIZE / 2
    return Crop(place((crop.x + half) * k, width), place((crop.y + half) * k, height), side / SIZE)


def body_matte(photo: np.ndarray, crop: Crop, alpha: np.ndarray) -> np.ndarray:
    """(H, W) uint8 person matte of the photo (H, W, 3): in the crop `alpha` (T, T) 0..1, around it as the matte model sees it."""
    import cv2

    side = round(crop.scale * SIZE)
    coarse = _coarse_matte(photo, crop)
    fine = layers.refine_matte(photo, coarse, side / TEXTURE)
    x, y = int(crop.x), int(crop.y)
    inner = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA if side < len(alpha) else cv2.INTER_LINEAR)
    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (0.03 * side)
    share = np.clip(np.minimum(ramp[:, None], ramp), 0, 1).astype(np.float32)
    part = fine[y : y + side, x : x + side]
    part[:] = inner * share + part * (1 - share)
    return np.asarray(np.clip(fine * 255 + 0.5, 0, 255), np.uint8)


def _coarse_matte(photo: np.ndarray, crop: Crop) -> np.ndarray:
    """The matte model on the whole photo, and nearer on a square of twice the crop's side, put together (h, w) 0..1."""
    import cv2

    height, width = photo.shape[:2]
    k = min(1.0, _COARSE / max(height, width))
    small = cv2.resize(photo, (max(1, round(width * k)), max(1, round(height * k))), interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    side = crop.scale * SIZE * k
    matte = np.zeros((h, w), np.float32)
    for reach in (max(h, w), 2 * side):
        half = min(reach, max(h, w)) / 2
        middle = (crop.x * k + side / 2, crop.y * k + side / 2)
        x0, y0 = (round(float(np.clip(m - half, 0, max(n - 2 * half, 0)))) for m, n in zip(middle, (w, h), strict=True))
        part = small[y0 : y0 + round(2 * half), x0 : x0 + round(2 * half)]
        seen = landmarks.person_matte(part)
        ramp = [np.clip((np.minimum(np.arange(n) + 1, n - np.arange(n))) / (0.1 * n), 0, 1) for n in seen.shape]
        share = np.minimum(ramp[0][:, None], ramp[1]).astype(np.float32) if reach < max(h, w) else np.ones_like(seen)
        matte[y0 : y0 + len(part), x0 : x0 + part.shape[1]] *= 1 - share
        matte[y0 : y0 + len(part), x0 : x0 + part.shape[1]] += seen * share
    return matte
