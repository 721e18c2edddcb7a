"""What decides an encoding besides the photo; apart from `encode` so that a cache hit imports no tracker."""

from __future__ import annotations

import hashlib

from vasa_cli.portrait.latent import FORMAT

ENCODER_VERSION = "2"  # raise it when the same photo encodes differently: cached faces are then rebuilt


def encoder_hash() -> str:
    """Hex digest of format, encoder version and basis weights. Raises WeightsError."""
    from vasa_cli.weights import registry

    text = f"{FORMAT}|{ENCODER_VERSION}|{registry.sha256_of('basis')}"
    return hashlib.sha256(text.encode()).hexdigest()
