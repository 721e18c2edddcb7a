"""`vasa presets`: what is shipped, what is in one, is mine valid?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vasa_cli.commands import common
from vasa_cli.commands.options import preset_names

app = typer.Typer(help="Presets: list, show, check.", no_args_is_help=True)


@app.command("list")
@common.command
def list_presets(as_json: common.AsJson = False) -> None:
    """List the shipped presets."""
    from vasa_cli.motion.presets import read_preset, shipped

    found = [read_preset(path) for path in shipped().values()]
    width = max((len(p.name) for p in found), default=0)
    plain = "\n".join(f"{p.name:<{width}}  {p.description}" for p in found)
    common.emit({"presets": [{"name": p.name, "description": p.description} for p in found]}, plain, as_json)


@app.command("show")
@common.command
def show(
    name: Annotated[str, typer.Argument(help="Name or file.", autocompletion=preset_names)], as_json: common.AsJson = False
) -> None:
    """Print a preset's YAML, a good start for one's own."""
    from vasa_cli.motion.presets import load_preset

    preset = load_preset(name)
    spec = preset.spec.model_dump(exclude_none=True)
    common.emit(spec, preset.path.read_text(encoding="utf-8").rstrip(), as_json)


@app.command("check")
@common.command
def check(files: Annotated[list[Path], typer.Argument(help="Preset files.")], as_json: common.AsJson = False) -> None:
    """Check preset files; the first defect ends with exit code 2 and a line that names key and range."""
    from vasa_cli.files import is_there
    from vasa_cli.motion.presets import load_preset, read_preset

    names = []
    for file in files:
        preset = read_preset(file) if is_there(file) else load_preset(str(file))
        names.append({"file": str(file), "name": preset.name, "ok": True})
    common.emit({"checked": names}, "\n".join(f"{n['file']}: ok" for n in names), as_json)
