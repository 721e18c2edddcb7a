"""Text of a manifest to rows: YAML, JSON lines or CSV, each row and key with the line it stands in."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasa_cli.batch.row import TEXTS
from vasa_cli.errors import InputError, UsageError
from vasa_cli.parsing import compose_yaml, construct_yaml

FORMATS = ("auto", "yaml", "jsonl", "csv")
LARGEST = 64 << 20  # bytes; a million rows are less
DEEPEST = 40  # levels of YAML or JSON inside each other


@dataclass(frozen=True)
class RawRow:
    """One row as it was written. line: where it begins, from 1; lines: where each of its keys stands, if known; defaults: what
    all rows share."""

    data: dict[str, Any]
    line: int
    lines: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def read_text(path: Path) -> str:
    """Raises InputError."""
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than {LARGEST >> 20} MB; split the manifest")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as e:
        raise InputError(f"{path}: no such manifest") from e
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: the manifest cannot be read ({e})") from e


def read_rows(text: str, form: str, name: str) -> list[RawRow]:
    """Rows of the manifest called `name`. Raises UsageError with the line."""
    text = text.removeprefix("\ufeff")
    form = _form(form, name, text)
    if "\0" in text:
        raise UsageError(f"manifest {name}: holds zero bytes; it is not a text file")
    try:
        rows = _csv_rows(text, name) if form == "csv" else _json_rows(text, name) if form == "jsonl" else _yaml_rows(text, name)
    except RecursionError as e:
        raise UsageError(f"manifest {name}: lists or mappings too deep inside each other") from e
    if not rows:
        raise UsageError(f"manifest {name}: holds no jobs")
    return rows


def _form(form: str, name: str, text: str) -> str:
    if form not in FORMATS:
        raise UsageError(f"--format {form!r}: known are {', '.join(FORMATS)}")
    if form != "auto":
        return form
    suffix = Path(name).suffix.lower()
    known = {".yaml": "yaml", ".yml": "yaml", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
    if suffix in known:
        return known[suffix]
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lstrip().startswith("{"):
        return "yaml" if _is_document(text) else "jsonl"
    cells = [cell.strip() for cell in re.split(r"[,;\t|]", first)]
    return "csv" if "portrait" in cells or "audio" in cells else "yaml"


def _is_document(text: str) -> bool:
    """Whether all of it is one JSON object with jobs, which YAML reads too, and not a row a line."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "jobs" in data


def _csv_rows(text: str, name: str) -> list[RawRow]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    header: list[str] = []
    rows = []
    try:
        last = 0
        for cells in reader:
            line, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in cells):  # as spreadsheets write empty rows
                continue
            if not header:
                header = _csv_header(cells, name, line)
                continue
            if any(cells[len(header) :]):
                raise UsageError(f"manifest {name}, line {line}: more cells than the header has; put commas inside quotes")
            for number, (key, cell) in enumerate(zip(header, cells, strict=False), 1):
                if cell and not key:
                    raise UsageError(f"manifest {name}, line {line}: {cell[:40]!r} stands in column {number}, which has no name")
            rows.append(RawRow({key: cell for key, cell in zip(header, cells, strict=False) if cell}, line))
    except csv.Error as e:
        raise UsageError(f"manifest {name}, line {reader.line_num}: not valid CSV ({e})") from e
    return rows


def _csv_header(cells: list[str], name: str, line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    for mark, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and mark in cells[0].strip(" "):
            raise UsageError(f"manifest {name}, line {line}: cells are separated by {called}; save it with commas")
    twice = [key for key in header if key and header.count(key) > 1]
    if twice:
        raise UsageError(f"manifest {name}, line {line}: the column {twice[0]!r} stands there twice")
    return header


def _json_rows(text: str, name: str) -> list[RawRow]:
    lines = enumerate(text.split("\n"), 1)  # not splitlines: U+2028 may stand inside a JSON string
    found = [(number, _json_line(line, number, name)) for number, line in lines if line.strip()]
    defaults: dict[str, Any] = {}
    if found and set(found[0][1]) == {"defaults"}:  # a first line that holds what all rows share
        first = found.pop(0)
        if not isinstance(first[1]["defaults"], dict):
            raise UsageError(f"manifest {name}, line {first[0]}: defaults must be an object")
        defaults = first[1]["defaults"]
    return [RawRow(row, number, {}, defaults) for number, row in found]


def _json_line(line: str, number: int, name: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise UsageError(f"manifest {name}, line {number}: the key {key!r} stands there twice")
        return dict(pairs)

    try:
        row = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"manifest {name}, line {number}: not valid JSON ({e})") from e
    if not isinstance(row, dict):
        raise UsageError(f"manifest {name}, line {number}: expected an object, found {type(row).__name__}")
    return row


def _yaml_rows(text: str, name: str) -> list[RawRow]:
    import yaml

    try:
        node = compose_yaml(text)
        if node is None:
            return []
        _check_node(node, name, DEEPEST)
        defaults, jobs = _yaml_parts(node, name)
        shared = construct_yaml(defaults) if defaults is not None else {}
        if defaults is not None:
            shared = _as_written(shared, defaults)
        return [_yaml_row(_as_written(construct_yaml(job), job), job, shared) for job in jobs]
    except yaml.YAMLError as e:
        mark = e.problem_mark if isinstance(e, yaml.MarkedYAMLError) else None
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"manifest {name}{where}: not valid YAML ({getattr(e, 'problem', None) or 'unreadable'})") from e
    except (ValueError, TypeError, AttributeError) as e:  # PyYAML's own, on dates and numbers that cannot be
        raise UsageError(f"manifest {name}: not valid YAML ({e})") from e


def _yaml_parts(node: Any, name: str) -> tuple[Any, list[Any]]:
    """The node of the defaults, if any, and those of the jobs."""
    import yaml

    where = f"manifest {name}, line {node.start_mark.line + 1}"
    defaults, jobs = None, node
    if isinstance(node, yaml.MappingNode):
        parts = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        for key, (written, _) in parts.items():
            if key not in ("defaults", "jobs"):
                line = written.start_mark.line + 1
                raise UsageError(f"manifest {name}, line {line}: unknown key {key!r}; known: defaults, jobs")
        defaults, jobs = parts.get("defaults", (None, None))[1], parts.get("jobs", (None, None))[1]
    empty = jobs is None or (isinstance(jobs, yaml.ScalarNode) and jobs.tag.endswith(":null"))
    if isinstance(defaults, yaml.ScalarNode) and defaults.tag.endswith(":null"):
        defaults = None
    items = [] if empty else jobs.value if isinstance(jobs, yaml.SequenceNode) else None
    whole = items is not None and all(isinstance(item, yaml.MappingNode) for item in items)
    if not whole or not (defaults is None or isinstance(defaults, yaml.MappingNode)):
        raise UsageError(f"{where}: expected a list of jobs, or a mapping with defaults and jobs")
    return defaults, items or []


def _yaml_row(data: dict[str, Any], node: Any, defaults: Mapping[str, Any]) -> RawRow:
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    return RawRow(data, node.start_mark.line + 1, lines, defaults)


def _as_written(data: dict[Any, Any], node: Any) -> dict[str, Any]:
    """Keys that hold text as they stand in the file: `id: 007`, `1_000`, `on` and `2026-01-02` are names here, though YAML knows
    numbers, truths and dates. `null` stays nothing."""
    import yaml

    named = {str(key): value for key, value in data.items()}
    for key, value in node.value:
        if key.value in TEXTS and isinstance(value, yaml.ScalarNode) and not value.tag.endswith((":str", ":null", ":binary")):
            named[key.value] = value.value
    return named


def _check_node(node: Any, name: str, depth: int) -> None:
    """Refuse keys that stand twice in one mapping (PyYAML would take the last), deep nesting, aliases that multiply."""
    import yaml

    budget = [1_000_000]

    def look(node: Any, depth: int) -> None:
        budget[0] -= 1
        line = node.start_mark.line + 1
        if depth == 0 or budget[0] < 0:
            raise UsageError(f"manifest {name}, line {line}: lists or mappings too deep or too many inside each other")
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise UsageError(f"manifest {name}, line {key.start_mark.line + 1}: the key {key.value!r} stands there twice")
                seen.add(str(key.value))
                look(value, depth - 1)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                look(value, depth - 1)

    look(node, depth)
