"""What decides an encoding besides the photo; apart from `encode` so that a cache hit imports no tracker."""

from __future__ import annotations

import hashlib
from typing import Literal

from vasa_cli.portrait.latent import FORMAT, SIZE, TEXTURE

ENCODER_VERSION = "3"  # raise it when the same photo encodes differently: cached faces are then rebuilt

TIERS = (SIZE, 768, 1024)  # px; pictures of any size in between share the encoding of the next one
MAX_TEXTURE = 2560  # texels a side at most: a head that fills a 4K photo keeps its pixels, and memory stays within bounds

Size = int | Literal["native"]  # what an encoding is for: crops of this side in px, or pasting back into the photo


def size_tier(size: int) -> int:
    """The least tier that serves pictures of this side."""
    return next((tier for tier in TIERS if size <= tier), TIERS[-1])


def purpose(size: Size) -> str:
    """What tells encodings of one face for different sizes apart, in cache keys."""
    return size if isinstance(size, str) else str(size_tier(size))


def texture_sides(scale: float, size: Size) -> tuple[int, int]:
    """Sides T of the person layer and P of the plate for pictures of this size, from a photo of `scale` pixels a
    crop pixel: never much more than the photo has to give."""
    native = min(round(scale * SIZE), MAX_TEXTURE)
    if size == "native":
        return max(TEXTURE, native), native
    tier = size_tier(size)
    return max(TEXTURE, min(tier * TEXTURE // SIZE, native)), max(SIZE, min(tier, native))


def encoder_hash() -> str:
    """Hex digest of format, encoder version and basis weights. Raises WeightsError."""
    from vasa_cli.weights import registry

    text = f"{FORMAT}|{ENCODER_VERSION}|{registry.sha256_of('basis')}"
    return hashlib.sha256(text.encode()).hexdigest()
