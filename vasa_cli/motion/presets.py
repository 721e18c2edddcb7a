"""Presets: YAML files of controls, validated key by key, and their merge with the flags (flag > preset > default)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vasa_cli.errors import UsageError
from vasa_cli.files import is_there
from vasa_cli.limits import TEXT_BYTES
from vasa_cli.motion.behaviour.style import range_of
from vasa_cli.motion.controls import (
    DISTANCE_RANGE,
    EMOTIONS,
    GAZE_PITCH_LIMIT,
    GAZE_YAW_LIMIT,
    GUIDANCE,
    GUIDANCE_RANGE,
    SCALE_RANGE,
    Controls,
)
from vasa_cli.motion.preset_schema import EXTRAS, FORMS, PresetFile
from vasa_cli.parsing import load_yaml, read_text

DEFAULT_PRESET = "neutral"
EXAMPLES = {
    "gaze": "{yaw: 10, pitch: -3}",
    "emotion": "{happy: 0.6}",
    "guidance": "{audio: 0.5, gaze: 1.0}",
    "style": "{nods: 1.5, blinks: 0.8}, or {seed: 7}",
}


# ---------------------------------------------------------------------------------------------------- messages


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as ' (did you mean friendly?)', or nothing."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    if path and path[0] in FORMS:
        constant, keyframe = FORMS[path[0]]
        model = keyframe if len(path) > 2 else constant
        if isinstance(model, type) and issubclass(model, BaseModel):
            return list(model.model_fields)
    if path and path[0] in EXTRAS and len(path) > 1:
        return list(EXTRAS[path[0]].model_fields)
    return list(PresetFile.model_fields)


def _range_of(key: str, path: tuple[Any, ...]) -> str:
    leaf = str(path[-1]) if path else key
    if key == "guidance":
        return f"{GUIDANCE_RANGE[0]:g} to {GUIDANCE_RANGE[1]:g}"
    if key == "style":
        low, high = (0, 2**31 - 1) if leaf == "seed" else range_of(leaf)
        return f"{low:g} to {high:g}" if leaf != "seed" else f"{low} to {high}"
    ranges = {
        "yaw": f"{-GAZE_YAW_LIMIT:g} to {GAZE_YAW_LIMIT:g} degrees",
        "pitch": f"{-GAZE_PITCH_LIMIT:g} to {GAZE_PITCH_LIMIT:g} degrees",
        "t": "0 to 86400 seconds",
        "repeat": "above 0, up to 86400 seconds",
        **dict.fromkeys(EMOTIONS, "0 to 1"),
    }
    if leaf in ranges:
        return ranges[leaf]
    low, high = DISTANCE_RANGE if key == "distance" else SCALE_RANGE
    return f"{low:g} to {high:g}"


def _short(value: Any) -> str:
    """What was found, no longer than a line can hold."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _explain(error: ValidationError) -> str:
    """The first defect, in one line that names the key, what was found and what is allowed."""
    first = error.errors()[0]
    path = tuple(first["loc"])
    label = "".join(f"[{p}]" if isinstance(p, int) else f".{str(p)[:40]}" for p in path).lstrip(".") or "the file"
    kind, found = first["type"], first.get("input")
    key = str(path[0]) if path else ""
    if kind == "extra_forbidden":
        known = [k for k in _known_keys(path) if k not in ("name", "description")] or list(FORMS)
        return f"unknown key {label}{nearest(str(path[-1]), known)}; known: {', '.join(known)}"
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than", "finite_number"):
        return f"{label} = {_short(found)} is out of range: allowed is {_range_of(key, path)}"
    if kind == "value_error":
        return str(first["ctx"]["error"]) if "ctx" in first else first["msg"]
    if kind == "missing":
        return f"{label} is missing"
    if key in EXAMPLES and len(path) == 1:
        keyframes = ", or keyframes" if key in FORMS else ""
        return f"{label} = {_short(found)}: expected a mapping such as {EXAMPLES[key]}{keyframes}"
    return f"{label} = {_short(found)}: {first['msg'][0].lower()}{first['msg'][1:]}"


def validate(data: Any, where: str) -> PresetFile:
    """Check a mapping against the schema. Raises UsageError with one line that starts with `where`."""
    if not isinstance(data, Mapping):
        raise UsageError(f"{where}: expected a mapping of controls, found {type(data).__name__}; see `vasa presets show neutral`")
    try:
        return PresetFile.model_validate(dict(data))
    except ValidationError as e:
        raise UsageError(f"{where}: {_explain(e)}") from e


# ---------------------------------------------------------------------------------------------------- lookup


@dataclass(frozen=True)
class Preset:
    name: str
    description: str
    path: Path
    spec: PresetFile


def preset_dir() -> Path:
    """The folder of shipped presets: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"


def shipped() -> dict[str, Path]:
    return {p.stem: p for p in sorted(preset_dir().glob("*.yaml"))}


def load_preset(name_or_file: str) -> Preset:
    """A shipped preset by name, or a file by its path (anything with a YAML suffix or a folder in it). Raises UsageError."""
    known = shipped()
    looks_like_file = name_or_file.endswith((".yaml", ".yml")) or "/" in name_or_file or "\\" in name_or_file
    if name_or_file in known:
        path = known[name_or_file]
    elif looks_like_file:
        path = Path(name_or_file)
        if not is_there(path):
            raise UsageError(f"preset file {name_or_file}: no such file")
    else:
        raise UsageError(f"unknown preset {name_or_file!r}{nearest(name_or_file, known)}; shipped are: {', '.join(known)}")
    return read_preset(path)


def read_preset(path: Path) -> Preset:
    import yaml

    try:
        data = load_yaml(read_text(path, TEXT_BYTES))
    except OSError as e:
        raise UsageError(f"preset file {path}: cannot be read ({e})") from e
    except yaml.YAMLError as e:
        line = f" in line {e.problem_mark.line + 1}" if isinstance(e, yaml.MarkedYAMLError) and e.problem_mark else ""
        raise UsageError(f"preset file {path}: not valid YAML{line} ({getattr(e, 'problem', None) or 'unreadable'})") from e
    except ValueError as e:
        raise UsageError(f"preset file {path}: cannot be read ({e})") from e
    spec = validate({} if data is None else data, f"preset {path.name}")
    return Preset(spec.name or path.stem, spec.description, path, spec)


# ---------------------------------------------------------------------------------------------------- merge


def parse_gaze(text: str, where: str = "--gaze") -> dict[str, float]:
    """'YAW,PITCH' in degrees."""
    parts = text.split(",")
    try:
        yaw, pitch = (float(p) for p in parts)
    except ValueError as e:
        raise UsageError(f"{where} {text!r}: expected YAW,PITCH in degrees, such as {where} 12,-4") from e
    return {"yaw": yaw, "pitch": pitch}


def parse_emotions(items: Iterable[str], where: str = "--emotion") -> dict[str, float]:
    """'name=weight' each, such as happy=0.6."""
    out: dict[str, float] = {}
    for item in items:
        name, sign, weight = item.partition("=")
        name = name.strip().lower()
        if name not in EMOTIONS:
            raise UsageError(f"{where} {item!r}: unknown emotion{nearest(name, EMOTIONS)}; known: {', '.join(EMOTIONS)}")
        try:
            out[name] = float(weight) if sign else 1.0
        except ValueError as e:
            raise UsageError(f"{where} {item!r}: expected {name}=WEIGHT with a weight from 0 to 1") from e
    return out


def parse_guidance(items: Iterable[str], where: str = "--guidance") -> dict[str, float]:
    """'audio=0.5,gaze=1.0', repeatable."""
    out: dict[str, float] = {}
    for item in (part.strip() for text in items for part in text.replace(";", ",").split(",")):
        name, _, strength = (p.strip() for p in item.partition("="))
        low, high = GUIDANCE_RANGE
        if name not in GUIDANCE:
            raise UsageError(
                f"{where} {item!r}: unknown condition{nearest(name, GUIDANCE)}; "
                f"known: {', '.join(GUIDANCE)}, each {low:g} to {high:g}"
            )
        try:
            out[name] = float(strength)
        except ValueError as e:
            raise UsageError(f"{where} {item!r}: expected {name}=STRENGTH with a strength from {low:g} to {high:g}") from e
    return out


def resolve_controls(preset: Preset | None, flags: Mapping[str, Any]) -> Controls:
    """Merge flags over the preset over the defaults, control by control. `flags` holds constants or keyframes in the preset's own
    schema, None where not given. Raises UsageError naming the flag and its range."""
    base = preset.spec if preset is not None else PresetFile()
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in given.items():
        try:
            part = validate({key: value}, "options")
        except UsageError as e:
            raise UsageError(
                f"--{str(e).removeprefix('options: ').replace('.', ' ', 1) if isinstance(value, Mapping) else str(e)[9:]}"
            ) from e
        found = getattr(part, key)
        if key == "guidance" and base.guidance is not None:  # each strength is a control of its own
            found = base.guidance.model_copy(update=dict(found.pairs()))
        base = base.model_copy(update={key: found})
    return base.to_controls()
