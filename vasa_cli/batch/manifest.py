"""Manifests: YAML, JSON lines or CSV rows become jobs, all of them checked before the first one starts."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli.batch.job import Job
from vasa_cli.batch.places import check_name, check_places
from vasa_cli.batch.row import Row, RowError, check_text, parse_row
from vasa_cli.batch.source import RawRow, read_rows, read_text
from vasa_cli.drive import Drive
from vasa_cli.errors import UsageError
from vasa_cli.files import is_there
from vasa_cli.motion.presets import (
    FORMS,
    Preset,
    load_preset,
    nearest,
    parse_emotions,
    parse_gaze,
    parse_guidance,
    resolve_controls,
)
from vasa_cli.picture import picture_options
from vasa_cli.pipeline import FACE_SUFFIX, EncodeRequest, GenerateRequest, MotionOptions, RenderRequest
from vasa_cli.requests import check_speech
from vasa_cli.video.background import parse_background
from vasa_cli.video.formats import ENCODERS, parse_output

if TYPE_CHECKING:
    from vasa_cli.trust.sign import Signing

MOST_JOBS = 1_000_000
_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Shared:
    """What holds for the whole batch: flags of the command. presets: gives a preset by name or file."""

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
    sign: Signing | None = None
    presets: Callable[[str], Preset] = field(default=load_preset, repr=False, compare=False)


def read_manifest(source: str, shared: Shared, *, form: str = "auto", text: str | None = None) -> list[Job]:
    """Jobs of the manifest file `source` ('-': `text` holds what stdin said). Raises UsageError or InputError."""
    folder, name = (Path(), "stdin") if source == "-" else (Path(source).parent, Path(source).name)
    if text is None:
        text = read_text(Path(source))
    shared = replace(shared, presets=lru_cache(maxsize=256)(shared.presets))  # thousands of rows name a few: each is read once
    jobs: list[Job] = []
    wrong: list[tuple[str, int]] = []
    for number, raw in enumerate(read_rows(text, form, name), 1):
        try:
            jobs += _jobs_of(raw, folder, shared)
        except (RowError, UsageError) as e:
            key = e.key if isinstance(e, RowError) else _key_in(str(e), raw)
            line = raw.lines.get(key or "", raw.line)
            wrong.append((f"manifest {name}, line {line}, job {number}: {e}", line))
        if len(jobs) > MOST_JOBS:
            raise UsageError(f"manifest {name}: more than {MOST_JOBS} jobs; split it")
    if wrong:
        others = ", ".join(str(line) for _, line in wrong[1:8]) + (", ..." if len(wrong) > 8 else "")
        more = f" (and {len(wrong) - 1} more: line {others})" if len(wrong) > 1 else ""
        raise UsageError(wrong[0][0] + more)
    check_places(jobs, name)
    return jobs


def _key_in(text: str, raw: RawRow) -> str | None:
    """The key of the row that a message names, as flag or word."""
    words = re.findall(r"[a-z_]+", text.replace("-", "_"))
    return next((word for word in words if word in raw.data), None)


def _jobs_of(raw: RawRow, folder: Path, shared: Shared) -> list[Job]:
    """The job of a row, or one job a match where portrait or audio is a glob. Raises RowError, UsageError."""
    row = parse_row(raw.data, raw.defaults)
    choices = [_matches(getattr(row, key), key, folder) for key in ("portrait", "audio")]
    pairs = list(itertools.product(*choices))
    if len(pairs) > 1 and row.id is not None and "{" not in row.id:
        raise RowError(f"id {row.id!r} would name {len(pairs)} jobs; put {{portrait}} or {{audio}} into it", "id")
    return [_job(row.model_copy(update={"portrait": p, "audio": a}), raw.line, folder, shared) for p, a in pairs]


def _matches(pattern: str | None, key: str, folder: Path) -> list[str | None]:
    if pattern is None or not glob.has_magic(pattern) or is_there(folder / pattern):
        return [pattern]
    base = glob.escape(str(folder))
    found = sorted(p for p in glob.glob(os.path.join(base, pattern), recursive=True) if os.path.isfile(p))
    if not found:
        raise RowError(f"{key} = {pattern!r}: no file matches", key)
    for p in found:
        check_text(os.path.basename(p), key)  # a name that is not UTF-8
    return [p if os.path.isabs(pattern) else os.path.relpath(p, folder) for p in found]


def _job(row: Row, line: int, folder: Path, shared: Shared) -> Job:
    sound = row.audio or row.motion or row.drive
    stem = Path(row.portrait).stem if row.portrait else None
    names = {"portrait": stem or "", "audio": Path(sound).stem if sound else "", "preset": Path(row.preset or "neutral").stem}
    if row.seed is not None:
        names["seed"] = str(row.seed)
    usual = (Path(row.output).stem if "{" not in row.output else "") if row.output else ""
    job_id = _filled(row.id, names, "id") if row.id else usual or "-".join(filter(None, (stem, names["audio"])))
    if not row.output and Path(job_id).name != job_id:
        raise RowError(f"id {job_id!r} cannot name a file; give output, or an id without slashes", "id")
    if any(ord(c) < 32 for c in job_id):
        raise RowError(f"id {job_id!r} holds control characters", "id")
    seed = derive_seed(job_id, shared.seed) if row.seed is None else row.seed
    names |= {"id": job_id, "seed": str(seed)}
    written = _filled(row.output, names, "output") if row.output else job_id + _suffix(row)
    output = (shared.output_dir or folder) / _confined(parse_output(written), row.output)
    if row.task == "encode":
        return Job(job_id, _encode(row, folder, output, shared), line)
    motion = _motion(row, seed, folder, shared)
    if row.task == "generate":
        return Job(job_id, _generate(row, folder, output, motion, shared), line, _face(row, folder, shared))
    return Job(job_id, _render(row, folder, output, motion, shared), line)


def _filled(template: str, names: dict[str, str], key: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in names:
            if match[1] == "seed":
                raise RowError("id cannot hold {seed}: the seed comes from the id; give seed in the row", key)
            raise RowError(f"{key}: unknown {match[0]}{nearest(match[1], names)}; known: {', '.join(sorted(names))}", key)
        return names[match[1]]

    return _PLACE.sub(value, template)


def _suffix(row: Row) -> str:
    if row.task == "encode":
        return FACE_SUFFIX
    if row.task == "generate":
        return f".motion{FACE_SUFFIX}"
    return ".mov" if row.background == "transparent" else ".mp4"


def _confined(output: Path, template: str | None) -> Path:
    """A relative output stays in the output folder, whatever is filled into it. Raises RowError."""
    if any(ord(c) < 32 for c in str(output)):
        raise RowError(f"output {str(output)!r} holds control characters", "output")
    if output.is_absolute() and not Path(template or "").is_absolute():
        raise RowError(
            f"output {template!r} becomes the absolute path {str(output)!r}; an absolute path has to stand in it", "output"
        )
    if not output.is_absolute() and os.path.normpath(output).split(os.sep)[0] == os.pardir:
        raise RowError(f"output {str(output)!r} leaves the output folder; give --output-dir, or an absolute path", "output")
    if wrong := check_name(output, "output" if template else "id"):
        raise RowError(wrong, "output" if template else "id")
    return output


def _motion(row: Row, seed: int, folder: Path, shared: Shared) -> MotionOptions:
    from vasa_cli.commands.common import check_weights

    preset_name = row.preset or "neutral"
    if preset_name.endswith((".yaml", ".yml")):
        preset_name = str(folder / preset_name)
    preset = shared.presets(preset_name)
    return MotionOptions(
        resolve_controls(preset, _controls(row)), preset.name, seed, check_weights(row.weights or shared.weights), row.steps,
        row.device or shared.device, _style_clip(row, folder), check_speech(row.speech or shared.speech, "speech"), preset.path,
    )  # fmt: skip


def _encode(row: Row, folder: Path, output: Path, shared: Shared) -> EncodeRequest:
    _named(output, FACE_SUFFIX, "a face file")
    face, size = row.face, picture_options(row.fit, row.size).encoded_for
    assert row.portrait is not None
    return EncodeRequest(
        folder / row.portrait, output, face, _crop(row.crop), shared.cache_dir, shared.use_cache, shared.overwrite, size
    )


def _generate(row: Row, folder: Path, output: Path, motion: MotionOptions, shared: Shared) -> GenerateRequest:
    _named(output, FACE_SUFFIX, "a motion file")
    if row.drive is not None and row.audio is not None:
        raise RowError("audio and drive both bring a motion: leave one out", "drive")
    return GenerateRequest(folder / row.audio if row.audio else None, output, motion, shared.overwrite, _drive(row, folder))


def _face(row: Row, folder: Path, shared: Shared) -> EncodeRequest | None:
    """The face that `generate` checks, and looks at where a clip drives."""
    if row.portrait is None:
        return None
    return EncodeRequest(folder / row.portrait, None, row.face, _crop(row.crop), shared.cache_dir, shared.use_cache)


def _named(output: Path, suffix: str, what: str) -> None:
    if output.suffix.lower() != suffix:
        raise RowError(f"output {output.name}: {what} is named *{suffix}", "output")


def _render(row: Row, folder: Path, output: Path, motion: MotionOptions, shared: Shared) -> RenderRequest:
    from vasa_cli.commands.render import check_dtype

    refine = shared.refine if row.refine is None else row.refine
    if row.encoder is not None and row.encoder not in ENCODERS:
        raise RowError(f"encoder {row.encoder!r}: known are {', '.join(ENCODERS)}", "encoder")
    assert row.portrait is not None
    request = RenderRequest(
        folder / row.portrait,
        folder / row.audio if row.audio else None,
        output,
        motion,
        track=folder / row.motion if row.motion else None,
        drive=_drive(row, folder),
        face=row.face,
        crop=_crop(row.crop),
        picture=picture_options(
            row.fit,
            row.size,
            parse_background(row.background, folder),
            refine,
            row.disclosure_label,
            folder / row.disclosure_font if row.disclosure_font else None,
        ),
        dtype=check_dtype(row.dtype or shared.dtype),
        crf=row.crf,
        encoder=row.encoder or "x264",
        provenance=shared.provenance if row.provenance is None else row.provenance,
        sign=None if row.sign is False else shared.sign,
        cache_dir=shared.cache_dir,
        use_cache=shared.use_cache,
        overwrite=shared.overwrite,
    )
    _ = request.form  # an output whose name says no format is refused now
    _can_be_signed(row, request)
    return request


def _can_be_signed(row: Row, request: RenderRequest) -> None:
    """Raises RowError, UsageError. The certificate itself is tried out once for the whole batch."""
    from vasa_cli.trust.sign import check_signable

    if row.sign and request.sign is None:
        raise RowError("sign: by whom? give vasa batch --sign CERT.pem KEY.pem", "sign")
    if request.sign is not None:
        check_signable(request.output, marked=request.provenance)


def _drive(row: Row, folder: Path) -> Drive | None:
    return Drive(folder / row.drive, row.drive_mode or "relative") if row.drive else None


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
        raise RowError("style and style_seed both bring a manner: leave one out", "style_seed")
    return folder / row.style if isinstance(row.style, str) else None


def _crop(value: str | list[int] | None) -> tuple[int, int, int, int] | None:
    from vasa_cli.record import parse_crop

    return parse_crop(",".join(map(str, value)) if isinstance(value, list) else value)


def derive_seed(job_id: str, base: int = 0) -> int:
    """A job's own seed: from its id, so that neither the order of rows nor other rows change its result."""
    return int.from_bytes(hashlib.sha256(f"{base}/{job_id}".encode()).digest()[:4], "big") & 0x7FFFFFFF
