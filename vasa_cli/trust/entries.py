"""How a receipt names the files that a video was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vasa_cli.files import is_there, sha256_file
from vasa_cli.video.receipt import stored_path


def entry(path: Path, receipt: Path) -> dict[str, str]:
    """Place, relative to the receipt, and content of a file."""
    return {"path": stored_path(path, receipt), "sha256": sha256_file(path)}


def preset_entry(name: str, path: Path, receipt: Path) -> dict[str, str]:
    """A shipped preset lies wherever the package does: it goes by its name."""
    from vasa_cli.motion.presets import shipped

    if shipped().get(name) == path:
        return {"shipped": name, "sha256": sha256_file(path)}
    return entry(path, receipt)


def place_of(item: dict[str, Any], receipt: Path) -> Path | None:
    """Where the file of an entry should be; None for a shipped preset that this version does not have."""
    if "shipped" in item:
        from vasa_cli.motion.presets import shipped

        return shipped().get(str(item["shipped"]))
    return receipt.absolute().parent / str(item["path"])


def preset_file_of(inputs: dict[str, Any], receipt: Path) -> Path | None:
    """The preset of a receipt while it is there unchanged. Only for the record: the receipt holds the values themselves."""
    item = inputs.get("preset")
    if item is None:
        return None
    path = place_of(item, receipt)
    return path if path is not None and is_there(path) and sha256_file(path) == item["sha256"] else None
