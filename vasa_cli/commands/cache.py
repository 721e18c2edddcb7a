"""`vasa cache`: the encoded faces that are kept, and how to be rid of them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vasa_cli.commands import common
from vasa_cli.errors import UsageError

if TYPE_CHECKING:
    from vasa_cli.portrait.cache import CacheEntry

app = typer.Typer(help="Encoded faces: list, prune, clear.", no_args_is_help=True)

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
Days = Annotated[float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Remove faces unused for so many days.")]
Size = Annotated[
    str | None, typer.Option("--max-size", metavar="SIZE", help="Then remove the oldest beyond this size, such as 500M.")
]


@app.command("list")
@common.command
def list_faces(cache_dir: common.CacheDir = None, as_json: common.AsJson = False) -> None:
    """List the cached faces, last used first."""
    from vasa_cli.portrait.cache import FaceCache

    cache = FaceCache(cache_dir)
    entries = list(cache.entries())
    total = sum(e.size for e in entries)
    lines = [f"{e.key[:16]}  {e.size / 1e6:7.1f} MB  {datetime.fromtimestamp(e.used):%Y-%m-%d %H:%M}  {e.path}" for e in entries]
    lines.append(f"{len(entries)} faces, {total / 1e6:.1f} MB in {cache.root}")
    common.emit({"folder": str(cache.root), "bytes": total, "faces": [_json(e) for e in entries]}, "\n".join(lines), as_json)


@app.command("prune")
@common.command
def prune(
    older_than: Days = None, max_size: Size = None, cache_dir: common.CacheDir = None, as_json: common.AsJson = False
) -> None:
    """Remove faces that are old, or the oldest beyond a size."""
    from vasa_cli.portrait.cache import FaceCache

    if older_than is None and max_size is None:
        raise UsageError("say what to prune: --older-than DAYS, --max-size SIZE, or both; `vasa cache clear` removes all")
    limit = parse_size(max_size) if max_size is not None else None
    removed = FaceCache(cache_dir).prune(max_age_days=older_than, max_bytes=limit)
    _report(removed, as_json)


@app.command("clear")
@common.command
def clear(cache_dir: common.CacheDir = None, as_json: common.AsJson = False) -> None:
    """Remove all cached faces."""
    from vasa_cli.portrait.cache import FaceCache

    _report(FaceCache(cache_dir).clear(), as_json)


def _report(removed: list[CacheEntry], as_json: bool) -> None:
    freed = sum(e.size for e in removed)
    common.emit({"removed": len(removed), "bytes": freed}, f"removed {len(removed)} faces, {freed / 1e6:.1f} MB", as_json)


def _json(entry: CacheEntry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "path": str(entry.path),
        "bytes": entry.size,
        "used": datetime.fromtimestamp(entry.used).isoformat(timespec="seconds"),
    }


def parse_size(text: str) -> int:
    """'500M' or '2g' to bytes. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise UsageError(f"--max-size {text!r}: expected a size such as 500M or 2G")
    return int(float(match[1]) * UNITS[match[2]])
