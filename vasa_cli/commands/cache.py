"""`vasa cache`: the encoded faces that are kept, and how to be rid of them."""

from __future__ import annotations

import typer

app = typer.Typer(help="Encoded faces: list, prune, clear.", no_args_is_help=True)
