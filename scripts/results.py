"""docs/results.md has one section per script, between markers: each script replaces its own and leaves the others alone."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.md"
_HEAD = """# Results

Every number here was measured by a script of this repository and written by it; do not edit by hand.
`scripts/evaluate.py` writes quality, `scripts/benchmark.py` speed. Data: development clips that are never published (see the
model cards).
"""


def machine() -> str:
    """One line on what this was measured with."""
    import torch

    return f"{datetime.date.today()}, {os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"


def table(head: list[str], rows: list[list[object]]) -> str:
    """A Markdown table; floats with three digits."""

    def cell(x: object) -> str:
        return f"{x:.3f}" if isinstance(x, float) else str(x)

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(cell, row)) + " |" for row in rows])


def write_section(name: str, text: str, path: Path = RESULTS) -> None:
    """Replace the section `name` of the results page, or add it at the end."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    page = path.read_text(encoding="utf-8") if path.is_file() else _HEAD
    block = f"{start}\n{text.strip()}\n{end}"
    if start in page and end in page:
        page = page[: page.index(start)] + block + page[page.index(end) + len(end) :]
    else:
        page = page.rstrip() + "\n\n" + block + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
