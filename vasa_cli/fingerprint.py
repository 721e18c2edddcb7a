"""What was asked, as a digest: it changes when anything changes that the result depends on, and nothing else changes it.

Files count by their content, so that a moved folder is the same request; paths, caches and what is only for the record do not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from vasa_cli import __version__
from vasa_cli.errors import VasaError
from vasa_cli.files import sha256_file
from vasa_cli.requests import EncodeRequest, GenerateRequest, MotionOptions, RenderRequest
from vasa_cli.trust.sign import Signing

Request = RenderRequest | GenerateRequest | EncodeRequest
_KEPT = ("cache_dir", "use_cache", "overwrite", "halvings", "preset_file")  # changes nothing in the result: controls are there


class Hashes:
    """sha256 of input files, each read once as long as it does not change; and of weights, which no batch sees changing."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}
        self._weights: dict[str, Any] = {}

    def of_weights(self, name: str) -> Any:
        """Part to hash of these weights; 'missing' where one is not there."""
        from vasa_cli.motions import weight_hashes

        if name not in self._weights:
            try:
                self._weights[name] = weight_hashes(name)
            except VasaError:
                self._weights[name] = "missing"
        return self._weights[name]

    def of(self, path: Path | None) -> str | None:
        if path is None:
            return None
        try:
            stat = path.stat()
            if not S_ISREG(stat.st_mode):  # a pipe or device may never end
                return "missing"
            place = (os.path.abspath(path), stat.st_size, stat.st_mtime_ns)
            if place not in self._known:
                self._known[place] = sha256_file(path)
            return self._known[place]
        except OSError:
            return "missing"


def plain(value: Any, hashes: Hashes) -> Any:
    """A request as JSON; files by their content."""
    if isinstance(value, Path):
        return hashes.of(value)
    if isinstance(value, Signing):
        return hashes.of(value.cert)  # it has one key only; and what is written down may tell nothing of that
    if not dataclasses.is_dataclass(value):
        return value
    out = {}
    for one in dataclasses.fields(value):
        item = getattr(value, one.name)
        if one.name in _KEPT or (one.name == "output" and isinstance(value, Request)):
            continue
        out[one.name] = item.to_json() if one.name == "controls" else plain(item, hashes)
    if isinstance(value, MotionOptions):
        out["weights"] = [value.weights, hashes.of_weights(value.weights)]
    return out


def digest(spec: dict[str, Any]) -> str:
    """sha256 of a request that `plain` made, or of anything else that JSON holds."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode()).hexdigest()


def encode_digest(request: EncodeRequest, hashes: Hashes) -> str:
    """What a face file keeps of the request that made it. Raises WeightsError."""
    from vasa_cli.portrait.encode_hash import encoder_hash

    return digest({"version": __version__, "task": "encode", "encoder": encoder_hash(), **plain(request, hashes)})


def generate_digest(request: GenerateRequest, look: EncodeRequest | None, hashes: Hashes) -> str:
    """What a motion file keeps of the request that made it, but for the device. look: the face that a driving clip is measured
    against; a recording's motion does not depend on one."""
    where_left = replace(request, motion=replace(request.motion, device="auto"))
    face = plain(look, hashes) if look is not None and request.drive is not None else None
    return digest({"version": __version__, "task": "generate", "look": face, **plain(where_left, hashes)})
