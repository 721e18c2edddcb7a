"""Write docs/cli.md: every command, argument and option, read from the Typer app itself.

python scripts/make_cli_docs.py            write it
python scripts/make_cli_docs.py --check    exit 1 when it is not current
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from vasa_cli.cli import EPILOG, app

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
NOTE = "<!-- written by scripts/make_cli_docs.py: change the code, not this file -->"
ENVIRONMENT = {
    "VASA_CACHE_DIR": "folder of encoded faces (`--cache-dir`)",
    "VASA_THREADS": "processor threads (`--threads`)",
    "VASA_MAX_PIXELS": "pixels that a picture may have (`--max-pixels`)",
    "VASA_MAX_DURATION": "seconds that a recording may last (`--max-duration`)",
    "VASA_FFMPEG": "the ffmpeg to use",
    "VASA_WEIGHTS_DIR": "folder with weights of optional parts, such as the refiner",
    "VASA_DEBUG": "show the traceback of an error (`--debug`)",
    "NO_COLOR": "no colours",
}


def page() -> str:
    """The whole page."""
    root: Any = get_command(app)
    lines = [NOTE, "# The command line", "", root.help, "", "```", "vasa [--debug] COMMAND [OPTIONS] [ARGUMENTS]", "```", ""]
    lines += ["| command | does |", "|---|---|"]
    found = list(commands(root, "vasa"))
    lines += [f"| [`{name}`](#{anchor(name)}) | {first_sentence(command)} |" for name, command in found]
    lines += ["", "## Of all commands", "", *options(root), ""]
    for name, command in found:
        lines += section(name, command)
    return "\n".join([*lines, *exit_codes(), *environment()]).rstrip() + "\n"


def commands(group: Any, name: str) -> list[tuple[str, Any]]:
    """All commands below a group, groups unfolded, in the order of the help."""
    out: list[tuple[str, Any]] = []
    for key, command in group.commands.items():
        full = f"{name} {key}"
        out += commands(command, full) if hasattr(command, "commands") else [(full, command)]
    return out


def anchor(name: str) -> str:
    return name.replace(" ", "-")


def first_sentence(command: Any) -> str:
    text = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())
    return escaped(text)


def escaped(text: str) -> str:
    return " ".join(text.split()).replace("\\[", "[").replace("|", "\\|")  # "\\[": so that rich shows a bracket


def section(name: str, command: Any) -> list[str]:
    """Usage, description, arguments, options by panel."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *(signature(p) for p in arguments)])
    out = [f"## {name}", "", "```", usage, "```", "", inspect.cleandoc(command.help or ""), ""]
    if arguments:
        out += ["| argument | |", "|---|---|"]
        out += [f"| `{metavar(p)}` | {escaped(getattr(p, 'help', None) or '')} |" for p in arguments]
        out.append("")
    return [*out, *options(command), ""]


def metavar(param: Any) -> str:
    return str(param.metavar or (param.name or "").upper())


def signature(param: Any) -> str:
    many = "..." if param.nargs == -1 and not metavar(param).endswith("...") else ""
    return f"{metavar(param)}{many}" if param.required else f"[{metavar(param)}{many}]"


def options(command: Any) -> list[str]:
    """A table for each panel of options."""
    panels: dict[str, list[Any]] = {}
    for param in command.params:
        if param.param_type_name == "option" and not param.hidden:
            panels.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(param)
    out: list[str] = []
    for panel, params in panels.items():
        out += [f"**{panel}**", "", "| option | default | |", "|---|---|---|"]
        out += [f"| {names(p)} | {default(p)} | {escaped(getattr(p, 'help', None) or '')} |" for p in params]
        out.append("")
    return out[:-1]


def names(param: Any) -> str:
    longest = sorted([*param.opts, *param.secondary_opts], key=lambda text: not text.startswith("--"))
    value = "" if param.is_flag else " " + (param.metavar or kind(param))
    return ", ".join(f"`{escaped(text + (value if number == 0 else ''))}`" for number, text in enumerate(longest))


def kind(param: Any) -> str:
    """What a value is: the range of a number, or its type. (Typer keeps it in other places from 0.29 on.)"""
    holder = getattr(param, "type", param)
    low, high = getattr(holder, "min", None), getattr(holder, "max", None)
    if low is not None or high is not None:
        ends = ("" if end is None else f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high))
        return "..".join(ends)
    found = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    name = str(getattr(found, "__name__", None) or getattr(holder, "name", "")).lower()
    known = {"str": "TEXT", "text": "TEXT", "int": "N", "integer": "N", "float": "X", "path": "FILE"}
    return known.get(name, "TEXT")


def default(param: Any) -> str:
    """As the help shows it: a text of our own, or the value."""
    shown = getattr(param, "show_default", None)
    if isinstance(shown, str):
        return escaped(shown)
    if shown is False or param.is_flag or param.default is None or callable(param.default) or not isinstance(
        param.default, (str, int, float, Path)
    ):  # fmt: skip
        return ""
    return escaped(str(param.default))


def exit_codes() -> list[str]:
    """The table, from the line that ends every help."""
    text = EPILOG.removeprefix("Exit codes: ").rstrip(".")
    rows = [part.split(" ", 1) for part in text.split(", ")]
    return ["## Exit codes", "", "| code | meaning |", "|---|---|", *(f"| {code} | {escaped(what)} |" for code, what in rows), ""]


def environment() -> list[str]:
    rows = [f"| `{name}` | {what} |" for name, what in ENVIRONMENT.items()]
    return ["## Environment", "", "| variable | |", "|---|---|", *rows, ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    text = page()
    if parser.parse_args().check:
        current = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text
        if not current:
            print("docs/cli.md is not current: run python scripts/make_cli_docs.py", file=sys.stderr)
        return 0 if current else 1
    TARGET.write_text(text, encoding="utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
