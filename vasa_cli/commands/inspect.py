"""`vasa inspect`: what is this file, and what does it say about its making?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vasa_cli.commands import common


@common.command
def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            help="A video, stream, photo, folder of PNG pictures, receipt, motion file or face file.", show_default=False
        ),
    ],
    as_json: common.AsJson = False,
) -> None:
    """Read back what FILE says: whether it is marked as AI-generated, by which tool, whether it is signed, what it holds.

    Nothing is compared with a receipt: that is `vasa verify`.
    """
    from vasa_cli.trust.inspect import inspect as look
    from vasa_cli.trust.inspect import table

    seen = look(file)
    common.emit(seen.to_json(), table(seen), as_json)
