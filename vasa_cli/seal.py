"""The seal of a face or motion file: its header says which request made it, and holds a hash of everything else in the file.

What a receipt is for a video, without a second file. Files of before there were seals have none; they are read as ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vasa_cli import __version__
from vasa_cli.limits import FACE_BYTES, MOTION_BYTES
from vasa_cli.parsing import check_safetensors

_HASH = "sha256"


def seal(path: Path, marks: Mapping[str, str]) -> None:
    """Put `marks` and the hash into the header of a .safetensors file, and the header in sorted order: the library writes it in
    random order, and equal content should be equal bytes. Tensor offsets count from the end of the header, so the data stay as
    they are. Raises OSError."""
    header, data = _parts(path)
    meta = header.setdefault("__metadata__", {})
    meta |= {"tool": f"vasa_cli {__version__}", **marks}
    meta[_HASH] = _digest(header, data)
    text = _text(header)
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def sealed(path: Path) -> dict[str, str] | None:
    """The header's texts, if the file is just as it was sealed; None: it has no seal, was changed since, or cannot be read."""
    try:
        check_safetensors(path, max(FACE_BYTES, MOTION_BYTES))
        header, data = _parts(path)
    except (OSError, ValueError):
        return None
    meta = header.get("__metadata__", {})
    said = meta.pop(_HASH, None)
    return meta if said is not None and said == _digest(header, data) else None


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:start]), raw[start:]


def _text(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(header: Mapping[str, Any], data: bytes) -> str:
    whole = hashlib.sha256(_text(header))
    whole.update(data)
    return whole.hexdigest()
