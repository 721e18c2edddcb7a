"""The receipt beside every video: what it was made from and how, enough to make it again and to prove that it is the same."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from vasa_cli.device import DTYPES
from vasa_cli.errors import InputError
from vasa_cli.files import is_there, sha256_file, whole_file
from vasa_cli.limits import RECEIPT_BYTES
from vasa_cli.parsing import load_json, read_text
from vasa_cli.video import CRF_RANGE
from vasa_cli.video.formats import ENCODERS, is_sequence
from vasa_cli.weights.registry import NAMES
from vasa_cli.words import to_json

FORMAT = "vasa-receipt/1"
HASH = "receipt_hash"  # the last key
_BLANK = "0" * 64
_BLANK_HASH, _FULL_HASH = (re.compile(rf'("{HASH}": ")({digits}{{64}})(?="\n}}\n$)'.encode()) for digits in ("0", "[0-9a-f]"))


def receipt_path(video: Path) -> Path:
    """VIDEO.json; of a PNG sequence, beside its folder."""
    if is_sequence(video):
        video = video.parent
    return video.with_name(video.name + ".json")


def write_receipt(video: Path, data: dict[str, Any]) -> Path:
    """Write `data` beside `video`, with a hash over every other byte of the file; whole or not at all."""
    path = receipt_path(video)
    blank = (to_json({"format": FORMAT, **data, HASH: _BLANK}, indent=2) + "\n").encode()
    with whole_file(path) as part:
        part.write_bytes(_BLANK_HASH.sub(rb"\g<1>" + hashlib.sha256(blank).hexdigest().encode(), blank))
    return path


def is_untouched(path: Path) -> bool | None:
    """Whether every byte of a receipt is as it was written; None for receipts of before there was a hash. Raises OSError."""
    raw = path.read_bytes()
    found = _FULL_HASH.search(raw)
    if found is None:
        return False if f'"{HASH}"'.encode() in raw else None
    return hashlib.sha256(_FULL_HASH.sub(rb"\g<1>" + _BLANK.encode(), raw)).hexdigest().encode() == found[2]


def read_receipt(path: Path) -> dict[str, Any]:
    """Raises InputError when the file is missing or not a receipt of this format."""
    try:
        data = load_json(read_text(path, RECEIPT_BYTES))
    except FileNotFoundError as e:
        raise InputError(f"{path}: no such receipt; it lies beside the video, as VIDEO.json") from e
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: not a receipt ({e})") from e
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise InputError(f"{path}: not a receipt of format {FORMAT} (found {found!r})")
    return data


def stored_path(target: Path, receipt: Path) -> str:
    """How a receipt names a file: relative to its own folder, so that both can move together; absolute across drives."""
    try:
        return Path(os.path.relpath(target.absolute(), receipt.absolute().parent)).as_posix()
    except ValueError:
        return target.absolute().as_posix()


def checked_input(entry: dict[str, Any], receipt: Path, what: str, instead: Path | None = None) -> Path:
    """The file of one input, its content proven equal to the receipt's. `instead` replaces the stored place.

    Raises InputError (exit 3) naming the input that is missing or changed.
    """
    path = instead if instead is not None else receipt.absolute().parent / entry["path"]
    if not is_there(path):
        raise InputError(f"{path}: the {what} of this receipt is not there; name where it is now on the command line")
    found = sha256_file(path)
    if found != entry["sha256"]:
        raise InputError(
            f"{path}: the {what} has changed since the receipt was written (sha256 {found[:12]}, was {entry['sha256'][:12]})"
        )
    return Path(os.path.normpath(path))


def confined_output(text: str, receipt: Path) -> Path:
    """The output that a receipt names: beside itself or below, nowhere else. Raises ValueError: a receipt may be a stranger's."""
    path = Path(text)
    if path.is_absolute() or ".." in path.parts or path.drive or "\0" in text or not path.name:
        raise ValueError(f"the output {text[:60]!r} lies outside the receipt's folder; say where it goes with -o")
    return receipt.parent / path


def check_values(data: dict[str, Any]) -> None:
    """Types and ranges of what a repetition takes from a receipt, the same as the command line's. Raises ValueError, KeyError."""
    options = data["options"]
    for holder, key, low, high in (
        (data, "seed", -1, 2**31 - 1), (data, "steps", 1, 1000), (options, "crf", *CRF_RANGE), (options, "size", 1, 8192),
    ):  # fmt: skip
        value = holder.get(key)
        if value is not None and (type(value) is not int or not low <= value <= high):
            raise ValueError(f"{key} = {str(value)[:40]}: allowed is {low} to {high}")
    crop = options.get("crop")
    if crop and (not isinstance(crop, list) or len(crop) != 4 or not all(type(v) is int and 0 <= v < 2**31 for v in crop)):
        raise ValueError(f"crop = {str(crop)[:40]}: expected four whole numbers")
    for holder, key, known in (
        (data, "dtype", DTYPES), (options, "encoder", ENCODERS), (data["weights"], "name", NAMES),
    ):  # fmt: skip
        if key in holder and holder[key] not in known:
            raise ValueError(f"{key} = {str(holder[key])[:40]!r}: known are {', '.join(known)}")
    for holder, key in ((data, "device"), (data, "preset"), (options, "face"), (data, "frame_hash"), (data, "output")):
        if not isinstance(holder[key], str) or len(holder[key]) > 4096:
            raise ValueError(f"{key} is not a short text")
    if type(options["provenance"]) is not bool:
        raise ValueError("provenance is neither true nor false")
