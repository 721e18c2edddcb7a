"""What one row of a manifest may hold, as a checked model and as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vasa_cli.motion.preset_schema import PresetFile
from vasa_cli.motion.presets import nearest
from vasa_cli.picture import SIZES
from vasa_cli.video import CRF_RANGE, DEFAULT_CRF

TASKS = ("render", "encode", "generate")
_FACE_KEYS = ("portrait", "face", "crop")
_MOTION_KEYS = (
    "audio", "drive", "drive_mode", "preset", "seed", "steps", "speech", "gaze", "distance", "emotion", "head", "brows", "blink",
    "mouth", "guidance", "style", "style_seed", "weights", "device",
)  # fmt: skip
_NAMING = ("id", "task", "output")
KEYS = {
    "encode": (*_NAMING, *_FACE_KEYS, "fit", "size"),
    "generate": (*_NAMING, *_FACE_KEYS, *_MOTION_KEYS),
}  # render takes all

Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Row(BaseModel):
    """One job. Paths are relative to the manifest's folder; portrait and audio may be globs (faces/*.png): one job a match.
    Controls take the forms of presets, and the flags' text forms. id and output may hold {portrait}, {audio} (names without
    suffix), {preset}, {seed}; output also {id}."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    id: str | None = Field(None, description="Names the job; its default seed and output come from it.")
    task: Literal["render", "encode", "generate"] = "render"
    portrait: str | None = Field(None, description="A photo, a face file of `vasa encode`, or a glob.")
    audio: str | None = Field(None, description="The recording, or a glob.")
    motion: str | None = Field(None, description="A motion file of `vasa generate` to play.")
    drive: str | None = Field(None, description="A clip whose face drives.")
    drive_mode: str | None = Field(None, description="relative or absolute.")
    output: str | None = Field(None, description="Relative to --output-dir; ID.mp4 by default; frames/ for PNG pictures.")
    preset: str | None = None
    seed: Seed | None = Field(None, description="From the id by default.")
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    speech: str | None = None
    face: str = "largest"
    crop: str | list[int] | None = Field(None, description="X,Y,W,H in photo pixels.")
    fit: str | None = None
    size: Annotated[int, Field(ge=SIZES[0], le=SIZES[1])] | None = None
    background: str = "keep"
    refine: bool | None = None
    disclosure_label: str | None = Field(None, description="A caption that is burned in.")
    disclosure_font: str | None = Field(None, description="A TrueType font for it.")
    crf: Annotated[int, Field(ge=CRF_RANGE[0], le=CRF_RANGE[1])] = DEFAULT_CRF
    encoder: str | None = None
    weights: str | None = None
    device: str | None = None
    dtype: str | None = None
    provenance: bool | None = None
    sign: bool | None = Field(None, description="false leaves this video unsigned in a batch with --sign.")
    gaze: Any = None
    distance: Any = None
    emotion: Any = None
    head: Any = None
    brows: Any = None
    blink: Any = None
    mouth: Any = None
    guidance: Any = None
    style: Any = None
    style_seed: Seed | None = None


class RowError(ValueError):
    """What is wrong with one row. key: in which of its keys, if one can be named."""

    def __init__(self, text: str, key: str | None = None) -> None:
        super().__init__(text)
        self.key = key


TEXTS = frozenset(name for name, one in Row.model_fields.items() if one.annotation in (str, str | None))
"""Keys that hold text: what YAML takes for a number, a date or a truth there is meant as it is written."""


def check_text(text: str, key: str) -> None:
    """Raises RowError for what no file name, journal or header can hold."""
    if "\0" in text:
        raise RowError(f"{key} holds a zero byte", key)
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise RowError(f"{key} = {text!r}: holds half a character, or a name that is not UTF-8; rename it", key) from e


def _check_texts(raw: Mapping[str, Any]) -> None:
    for key, value in raw.items():
        if isinstance(value, str):
            check_text(value, key)
        elif isinstance(value, float) and key in TEXTS:
            raise RowError(f"{key} = {value!r}: a number that can be written in many ways; put it in quotes", key)


def parse_row(own: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Row:
    """The row with the defaults that its task takes. Raises RowError."""
    usual = dict(defaults or {})
    task = own.get("task") or usual.get("task")
    raw = {**{k: v for k, v in usual.items() if k not in Row.model_fields or k in KEYS.get(str(task), Row.model_fields)}, **own}
    _check_texts(raw)
    try:
        row = Row.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else None
        raise RowError(_explain(dict(first), key or "job"), key) from e
    if row.portrait is None and (row.task != "generate" or row.drive is not None):
        raise RowError("portrait is missing", "portrait")
    if row.task in KEYS:
        given = [key for key in row.model_fields_set if key not in KEYS[row.task] and raw.get(key) is not None]
        if given:
            raise RowError(f"task {row.task} does not take {sorted(given)[0]!r}", sorted(given)[0])
    if row.task != "encode" and row.audio is None and row.motion is None and row.drive is None:
        raise RowError("audio is missing", "audio")
    if row.drive is None and row.drive_mode is not None:
        raise RowError("drive_mode says how a clip drives, but drive is missing", "drive_mode")
    return row


def _explain(error: dict[str, Any], key: str) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(key, Row.model_fields)}; known: {', '.join(Row.model_fields)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    return f"{key} = {error.get('input')!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a manifest: a list of rows, or a mapping with defaults and jobs. A line of JSON lines is a row."""
    row = Row.model_json_schema(ref_template="#/$defs/{model}")
    preset = PresetFile.model_json_schema(ref_template="#/$defs/{model}")
    text = {"type": "string", "description": "As the flag of `vasa render` takes it."}
    for key in ("gaze", "distance", "emotion", "head", "brows", "blink", "mouth", "guidance", "style"):
        form = preset["properties"].get(key)
        if form is not None:
            row["properties"][key] = {"anyOf": [form, text], "title": key}
    row["properties"]["gaze"]["anyOf"].append({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
    definitions = {**row.pop("$defs", {}), **preset.get("$defs", {}), "Row": row}
    rows = {"type": "array", "items": {"$ref": "#/$defs/Row"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Manifest of vasa batch",
        "anyOf": [
            rows,
            {
                "type": "object",
                "properties": {"defaults": {"$ref": "#/$defs/Row"}, "jobs": rows},
                "required": ["jobs"],
                "additionalProperties": False,
            },
        ],
        "$defs": definitions,
    }
