"""Manifests: YAML, JSON lines or CSV rows become jobs, all of them checked before the first one starts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vasa_cli.drive import Drive
from vasa_cli.errors import InputError, UsageError
from vasa_cli.motion.presets import FORMS, load_preset, nearest, parse_emotions, parse_gaze, parse_guidance, resolve_controls
from vasa_cli.picture import SIZES, picture_options
from vasa_cli.pipeline import MotionOptions, RenderRequest
from vasa_cli.requests import check_speech
from vasa_cli.video import CRF_RANGE, DEFAULT_CRF
from vasa_cli.video.background import parse_background
from vasa_cli.video.formats import parse_output

FORMATS = ("auto", "yaml", "jsonl", "csv")


class Row(BaseModel):
    """One job. Paths are relative to the manifest's folder. Controls take the forms of presets, and the flags' text forms."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    id: str | None = None
    portrait: str
    audio: str | None = None
    motion: str | None = None
    drive: str | None = None
    drive_mode: str | None = None
    output: str | None = None
    preset: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    speech: str | None = None
    face: str = "largest"
    crop: Any = None
    fit: str | None = None
    size: Annotated[int, Field(ge=SIZES[0], le=SIZES[1])] | None = None
    background: str = "keep"
    refine: bool | None = None
    crf: Annotated[int, Field(ge=CRF_RANGE[0], le=CRF_RANGE[1])] = DEFAULT_CRF
    gaze: Any = None
    distance: Any = None
    emotion: Any = None
    head: Any = None
    brows: Any = None
    blink: Any = None
    mouth: Any = None
    guidance: Any = None
    style: Any = None
    style_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


@dataclass(frozen=True)
class Shared:
    """What holds for the whole batch: flags of the command."""

    output_dir: Path | None = None
    seed: int = 0
    weights: str = "default"
    device: str = "auto"
    dtype: str = "float32"
    provenance: bool = True
    cache_dir: Path | None = None
    use_cache: bool = True
    overwrite: bool = False
    refine: bool = False
    speech: str = "builtin"


@dataclass(frozen=True)
class Job:
    id: str
    request: RenderRequest


def read_manifest(source: str, shared: Shared, *, form: str = "auto", text: str | None = None) -> list[Job]:
    """Jobs of the manifest file `source` ('-': `text` holds what stdin said). Raises UsageError or InputError."""
    folder, name = (Path(), "stdin") if source == "-" else (Path(source).parent, Path(source).name)
    if text is None:
        text = _read(Path(source))
    rows = _rows(text, _form(form, name, text), name)
    if not rows:
        raise UsageError(f"manifest {name}: holds no jobs")
    jobs = [_job(row, number, name, folder, shared) for number, row in enumerate(rows, 1)]
    _no_collisions(jobs, name)
    return jobs


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as e:
        raise InputError(f"{path}: no such manifest") from e
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: the manifest cannot be read ({e})") from e


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
        return "jsonl"
    return "csv" if "portrait" in first.split(",") else "yaml"


def _rows(text: str, form: str, name: str) -> list[dict[str, Any]]:
    if form == "csv":
        return [
            {k: v for k, v in row.items() if v not in (None, "")}
            for row in csv.DictReader(io.StringIO(text), skipinitialspace=True)
        ]
    if form == "jsonl":
        return [_json_line(line, number, name) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return _yaml_rows(text, name)


def _json_line(line: str, number: int, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as e:
        raise UsageError(f"manifest {name}, line {number}: not valid JSON ({e})") from e
    if not isinstance(row, dict):
        raise UsageError(f"manifest {name}, line {number}: expected an object, found {type(row).__name__}")
    return row


def _yaml_rows(text: str, name: str) -> list[dict[str, Any]]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as e:
        line = f" in line {e.problem_mark.line + 1}" if isinstance(e, yaml.MarkedYAMLError) and e.problem_mark else ""
        raise UsageError(f"manifest {name}: not valid YAML{line} ({getattr(e, 'problem', None) or 'unreadable'})") from e
    defaults: Any = {}
    if isinstance(data, Mapping):
        unknown = set(data) - {"defaults", "jobs"}
        if unknown:
            raise UsageError(f"manifest {name}: unknown key {sorted(map(str, unknown))[0]!r}; known: defaults, jobs")
        defaults, data = data.get("defaults") or {}, data.get("jobs")
    data = [] if data is None else data
    if not isinstance(data, list) or not isinstance(defaults, Mapping) or not all(isinstance(row, Mapping) for row in data):
        raise UsageError(f"manifest {name}: expected a list of jobs, or a mapping with defaults and jobs")
    return [{**defaults, **row} for row in data]


def _job(raw: dict[str, Any], number: int, name: str, folder: Path, shared: Shared) -> Job:
    where = f"manifest {name}, job {number}"
    try:
        row = Row.model_validate(raw)
    except ValidationError as e:
        raise UsageError(f"{where}: {_explain(e)}") from e
    if row.audio is None and row.motion is None and row.drive is None:
        raise UsageError(f"{where}: audio is missing")
    if row.drive is None and row.drive_mode is not None:
        raise UsageError(f"{where}: drive_mode says how a clip drives, but drive is missing")
    try:
        return _request(row, folder, shared)
    except UsageError as e:
        raise UsageError(f"{where}: {e}") from e


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "job"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(key, Row.model_fields)}; known: {', '.join(Row.model_fields)}"
    if first["type"] == "missing":
        return f"{key} is missing"
    return f"{key} = {first.get('input')!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _request(row: Row, folder: Path, shared: Shared) -> Job:
    sound = row.audio or row.motion or row.drive or ""
    job_id = row.id or (Path(row.output).stem if row.output else f"{Path(row.portrait).stem}-{Path(sound).stem}")
    if not row.output and Path(job_id).name != job_id:
        raise UsageError(f"id {job_id!r} cannot name a file; give output, or an id without slashes")
    preset_name = row.preset or "neutral"
    if preset_name.endswith((".yaml", ".yml")):
        preset_name = str(folder / preset_name)
    preset = load_preset(preset_name)
    motion = MotionOptions(
        resolve_controls(preset, _controls(row)), preset.name, derive_seed(job_id, shared.seed) if row.seed is None else row.seed,
        shared.weights, row.steps, shared.device, _style_clip(row, folder),
        row.speech or shared.speech,
    )  # fmt: skip
    check_speech(motion.speech, "speech")
    written = row.output or f"{job_id}{'.mov' if row.background == 'transparent' else '.mp4'}"
    output = (shared.output_dir or folder) / parse_output(written)
    request = RenderRequest(
        folder / row.portrait,
        folder / row.audio if row.audio else None,
        output,
        motion,
        track=folder / row.motion if row.motion else None,
        drive=Drive(folder / row.drive, row.drive_mode or "relative") if row.drive else None,
        face=row.face,
        crop=_crop(row.crop),
        picture=picture_options(
            row.fit, row.size, parse_background(row.background, folder), shared.refine if row.refine is None else row.refine
        ),
        dtype=shared.dtype,
        crf=row.crf,
        provenance=shared.provenance,
        cache_dir=shared.cache_dir,
        use_cache=shared.use_cache,
        overwrite=shared.overwrite,
    )
    _ = request.form  # an output whose name says no format is refused now
    return Job(job_id, request)


def _controls(row: Row) -> dict[str, Any]:
    """Controls in the preset schema; text forms ('12,-4', 'happy=0.6;sad=0.1') as CSV needs them."""
    out = {key: value for key in (*FORMS, "guidance") if (value := getattr(row, key)) is not None}
    if row.style_seed is not None:
        out["style"] = {"seed": row.style_seed}
    elif row.style is not None and not isinstance(row.style, str):
        out["style"] = row.style
    if isinstance(out.get("guidance"), str):
        out["guidance"] = parse_guidance([out["guidance"]], "guidance")
    if isinstance(out.get("gaze"), str):
        out["gaze"] = parse_gaze(out["gaze"], "gaze")
    gaze = out.get("gaze")
    if isinstance(gaze, list) and len(gaze) == 2 and all(isinstance(v, (int, float)) for v in gaze):
        out["gaze"] = {"yaw": gaze[0], "pitch": gaze[1]}
    if isinstance(out.get("emotion"), str):
        out["emotion"] = parse_emotions([p for p in out["emotion"].replace(";", " ").split() if p], "emotion")
    return out


def _style_clip(row: Row, folder: Path) -> Path | None:
    """`style` may be a mapping, as in presets, or the path of a clip or motion file."""
    if row.style is not None and row.style_seed is not None:
        raise UsageError("style and style_seed both bring a manner: leave one out")
    return folder / row.style if isinstance(row.style, str) else None


def _crop(value: Any) -> tuple[int, int, int, int] | None:
    from vasa_cli.record import parse_crop

    return parse_crop(",".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value))


def derive_seed(job_id: str, base: int = 0) -> int:
    """A job's own seed: from its id, so that neither the order of rows nor other rows change its result."""
    return int.from_bytes(hashlib.sha256(f"{base}/{job_id}".encode()).digest()[:4], "big") & 0x7FFFFFFF


def _no_collisions(jobs: list[Job], name: str) -> None:
    for what, key in (("id", lambda j: j.id), ("output", lambda j: os.path.normcase(os.path.abspath(j.request.output)))):
        seen: dict[str, int] = {}
        for number, job in enumerate(jobs, 1):
            value = key(job)
            if value in seen:
                shown = job.id if what == "id" else job.request.output
                raise UsageError(
                    f"manifest {name}: jobs {seen[value]} and {number} have the same {what} {str(shown)!r}; give each its own"
                )
            seen[value] = number
