"""`vasa verify`: is this video, and is what it was made from, still what the receipt says?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vasa_cli.commands import common
from vasa_cli.errors import DiffersError, InputError, UsageError
from vasa_cli.words import one_line

if TYPE_CHECKING:
    from vasa_cli.trust.verify import Verified

Videos = Annotated[
    list[Path], typer.Argument(metavar="OUT.mp4...", help="Videos, folders of PNG pictures, or receipts.", show_default=False)
]
Receipt = Annotated[
    Path | None,
    typer.Option("--receipt", help="The receipt of the one video, if it does not lie beside it.", rich_help_panel=common.INPUTS),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="What is not there any more, or cannot be checked here, counts as differing.", rich_help_panel=common.RUN
    ),
]


@common.command
def verify(
    videos: Videos,
    receipt: Receipt = None,
    strict: Strict = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Compare videos, their inputs and the weights with their receipts, and say which differ.

    Exit code 0: all that is there is the same. 9: something differs. 3: a video or receipt cannot be read (also when others
    differ). An input that is not there any more is named, and does not count as differing (--strict: it does, and so does what
    cannot be checked here).
    """
    from vasa_cli.trust.verify import verify as compare

    if receipt is not None and len(videos) > 1:
        raise UsageError("--receipt belongs to one video: leave it out, or name one")
    results: list[dict[str, Any]] = []
    code = 0
    for video in videos:
        try:
            done = compare(video, receipt)
        except InputError as e:
            results.append({"output": str(video), "error": one_line(str(e))})
            code = InputError.exit_code
            continue
        failed = bool(done.differing) or (strict and bool(done.missing or done.unchecked))
        results.append({**done.to_json(), "lines": _lines(done, quiet)})
        code = code or (DiffersError.exit_code if failed else 0)
    _say(results, as_json)
    if code:
        raise typer.Exit(code)


def _lines(done: Verified, quiet: bool) -> list[str]:
    """A line that sums up, and one for each check."""
    bad, gone = ", ".join(done.differing), ", ".join(done.missing)
    first = f"{done.video}: differs: {bad}" if bad else f"{done.video}: as in its receipt"
    if gone:
        first += f"; not there: {gone}"
    if done.unchecked:
        first += f"; not checked: {', '.join(done.unchecked)}"
    rows = [] if quiet else done.checks
    details = [one_line(f" ({c.detail})" if c.detail else "") for c in rows]
    return [one_line(first), *(f"  {c.state:<11}  {c.name}{f' {d}' if d else ''}" for c, d in zip(rows, details, strict=True))]


def _say(results: list[dict[str, Any]], as_json: bool) -> None:
    plain: list[str] = []
    for result in results:
        plain += result.pop("lines", []) or [one_line(f"{result['output']}: cannot be verified: {result['error']}")]
    data = {"same": all(r.get("same", False) for r in results), "videos": results}
    common.emit(data, "\n".join(plain), as_json)
