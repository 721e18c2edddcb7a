"""Options: where they stand in the help, and what shells complete behind them: words of a short list, names of presets. Where
nothing fits, shells offer files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer


def option(*names: str, help: str, panel: str, **more: Any) -> Any:
    """An option in a panel of the help. A metavar of words, such as crop|full, is what shells complete."""
    if choices := _words_of(more.get("metavar", "")):
        more.setdefault("autocompletion", words(*choices))
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def words(*choices: str) -> Callable[[str], list[str]]:
    """A completion among these words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in choices if word.startswith(incomplete)]

    return complete


def _words_of(metavar: str) -> tuple[str, ...]:
    """The words of a metavar such as 'keep|COLOR|transparent' that are meant as they stand."""
    return tuple(word for word in metavar.split("|") if word == word.lower()) if "|" in metavar else ()


def preset_names(incomplete: str) -> list[str]:
    from vasa_cli.motion.presets import shipped

    return words(*shipped())(incomplete)
