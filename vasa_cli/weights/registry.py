"""Where the shipped weights lie, and whether they are the ones they should be.

Every weight file is a `.safetensors` beside this module; `manifest.json` holds the sha256 of each. A part that the manifest
lists must match it.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from vasa_cli.errors import WeightsError
from vasa_cli.parsing import check_safetensors, load_json, read_text

PARTS = ("basis", "shading", "tongue", "closure", "speech", "motion")
EXTRAS = ("phonetics", "ahead")  # shipped too, but used only where they are asked for
OPTIONAL = {"refiner": "train it with scripts/train_refiner.py, or render without --refine"}  # part -> what to do without it
# the same in all sets of weights: a motion must mean the same whatever made it
SHARED = ("basis", "shading", "tongue", "closure", *EXTRAS, *OPTIONAL)
NAMES = ("default", "smoke")
FOLDER_ENV = "VASA_WEIGHTS_DIR"  # a folder with optional parts, instead of the package's
_HERE = Path(__file__).parent
_MANIFEST = "manifest.json"
WEIGHTS_BYTES = 2 << 30


def file_name(part: str, weights: str = "default") -> str:
    """File name of a part."""
    if part not in (*PARTS, *EXTRAS, *OPTIONAL):
        raise WeightsError(f"unknown part of the model {part!r}; there are {', '.join(PARTS)}")
    if weights not in NAMES:
        raise WeightsError(f"unknown weights {weights!r}; there are {', '.join(NAMES)}")
    smoke = weights == "smoke" and part not in SHARED
    return f"{part}_smoke.safetensors" if smoke else f"{part}.safetensors"


def path_of(part: str, weights: str = "default", root: Path | None = None) -> Path:
    """Path of a weight file that exists. Raises WeightsError when it is missing."""
    own = os.environ.get(FOLDER_ENV) if part in OPTIONAL else None  # the user's own training
    path = (root or Path(own or _HERE)) / file_name(part, weights)
    if not path.is_file():
        raise WeightsError(f"weights {path.name} are missing from {path.parent}; {OPTIONAL.get(part, 'reinstall the package')}")
    return path


def sha256_of(part: str, weights: str = "default", root: Path | None = None) -> str:
    """Hex sha256 of a weight file, checked against the manifest. Raises WeightsError when missing or not matching."""
    path = path_of(part, weights, root)
    stat = path.stat()
    digest = file_hash(str(path), stat.st_size, stat.st_mtime_ns)
    expected = read_manifest(path.parent).get(path.name)
    if expected is not None and expected != digest:
        raise WeightsError(
            f"weights {path.name} do not match this version "
            f"(sha256 {digest[:12]}, expected {expected[:12]}); reinstall the package"
        )
    return digest


def load_tensors(part: str, weights: str = "default", root: Path | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors (numpy arrays) and string metadata of a checked weight file. Raises WeightsError (exit 5)."""
    from safetensors import SafetensorError, safe_open

    sha256_of(part, weights, root)
    path = path_of(part, weights, root)
    try:
        check_safetensors(path, WEIGHTS_BYTES)
        with safe_open(str(path), framework="numpy") as f:
            return {k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118  (safe_open is not a dict)
    except (SafetensorError, OSError, ValueError) as e:
        raise WeightsError(f"weights {path.name} cannot be read ({e}); reinstall the package") from e


def read_manifest(root: Path | None = None) -> dict[str, str]:
    """File name -> sha256. Raises WeightsError when the manifest itself is damaged."""
    path = (root or _HERE) / _MANIFEST
    if not path.is_file():
        return {}
    try:
        data = load_json(read_text(path, 1 << 20))
        if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
            raise ValueError("expected names and hashes")
        return dict(data)
    except (ValueError, OSError) as e:
        raise WeightsError(f"{path.name} cannot be read ({e}); reinstall the package") from e


def record(part: str, weights: str = "default", root: Path | None = None) -> str:
    """Write the sha256 of a newly trained file into the manifest (for training scripts); returns it."""
    path = path_of(part, weights, root)
    manifest = read_manifest(path.parent)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest[path.name] = digest
    (path.parent / _MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return digest


@lru_cache(maxsize=16)
def file_hash(path: str, size: int, mtime_ns: int) -> str:
    """Hex sha256 of a file; size and time are part of the key so that a changed file is read again."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
