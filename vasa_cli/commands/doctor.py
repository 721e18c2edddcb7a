"""`vasa doctor`: what is missing, and the one command that mends it."""

from __future__ import annotations

import typer

from vasa_cli.commands import common


@common.command
def doctor(as_json: common.AsJson = False) -> None:
    """Check this installation. Exit code 0 when usable; else 5 (weights), 7 (ffmpeg) or 1."""
    from vasa_cli.doctor import as_json as to_json
    from vasa_cli.doctor import examine, verdict

    checks = examine()
    lines = []
    for check in checks:
        lines.append(f"{check.status:<8} {check.name}: {check.detail}")
        if check.fix:
            lines.append(f"         mend with: {check.fix}")
    code = verdict(checks)
    lines.append("usable" if code == 0 else "not usable yet: run the commands above")
    common.emit(to_json(checks), "\n".join(lines), as_json)
    if code:
        raise typer.Exit(code)
