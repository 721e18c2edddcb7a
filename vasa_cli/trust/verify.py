"""Compare a video, its inputs and the weights with the receipt beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vasa_cli.errors import EncoderError, InputError, UsageError, VasaError
from vasa_cli.files import is_there, sha256_file
from vasa_cli.trust.entries import place_of
from vasa_cli.video.formats import Format, format_of, is_picture_of, is_sequence
from vasa_cli.video.framehash import file_hash, frame_hash, sound_hash
from vasa_cli.video.receipt import confined_output, is_untouched, read_receipt, receipt_path

SAME, DIFFERS, MISSING, UNCHECKED = "same", "differs", "not there", "not checked"
NAMES = {
    "portrait": "portrait", "audio": "recording", "motion": "motion file", "drive": "clip", "style": "style clip",
    "background": "background picture", "preset": "preset", "font": "font",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was compared. state: SAME, DIFFERS, MISSING, or UNCHECKED (nobody here can)."""

    name: str
    state: str
    detail: str = ""
    expected: str | None = None
    found: str | None = None

    def to_json(self) -> dict[str, str]:
        return {key: value for key, value in self.__dict__.items() if value}


@dataclass(frozen=True)
class Verified:
    video: Path
    receipt: Path
    checks: tuple[Check, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.checks if c.state == DIFFERS)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.checks if c.state == MISSING)

    @property
    def unchecked(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.checks if c.state == UNCHECKED)

    def to_json(self) -> dict[str, Any]:
        return {
            "output": str(self.video), "receipt": str(self.receipt), "same": not self.differing,
            "differs": list(self.differing), "missing": list(self.missing), "unchecked": list(self.unchecked),
            "checks": [c.to_json() for c in self.checks],
        }  # fmt: skip


def verify(target: Path, receipt: Path | None = None) -> Verified:
    """Compare everything. target: the video, the folder or pattern of a PNG sequence, or the receipt itself.

    Raises InputError when video or receipt cannot be read, EncoderError when there is no ffmpeg.
    """
    try:
        place, data = _receipt_of(target, receipt)
    except OSError as e:
        raise InputError(f"{target}: cannot be read ({e.strerror or e})") from e
    try:
        recorded = confined_output(str(data["output"]), place)
        video = recorded if target == place else _video_of(target, recorded)
        if not (video.parent.is_dir() and any(video.parent.iterdir()) if is_sequence(video) else video.is_file()):
            raise InputError(f"{video}: no such video")
        checks = [
            *_receipt_check(place),
            *_video_checks(video, data),
            *_input_checks(data, place),
            *_weight_checks(data["weights"], data["inputs"]),
        ]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as e:
        raise InputError(f"{place}: the receipt is incomplete or was edited ({type(e).__name__}: {e})") from e
    except OSError as e:
        raise InputError(f"{target}: cannot be read ({e.strerror or e})") from e
    return Verified(video, place, tuple(checks))


def _receipt_of(target: Path, receipt: Path | None) -> tuple[Path, dict[str, Any]]:
    if receipt is None and target.suffix.lower() == ".json" and target.is_file():
        return target, read_receipt(target)
    if not is_sequence(target) and not target.exists():
        raise InputError(f"{target}: no such video")
    folder = target.absolute()
    place = receipt or (folder.parent / f"{folder.name}.json" if target.is_dir() else receipt_path(target))
    if receipt is None and not place.exists():
        raise InputError(f"{target}: no receipt beside it ({place.name}); name the receipt with --receipt")
    return place, read_receipt(place)


def _receipt_check(place: Path) -> list[Check]:
    """Whether the receipt itself was changed. Raises OSError."""
    untouched = is_untouched(place)
    return [] if untouched is None else [Check("receipt", SAME if untouched else DIFFERS, "" if untouched else "it was edited")]


def _video_of(target: Path, recorded: Path) -> Path:
    """A folder means the sequence in it, whose pattern the receipt knows."""
    return target / recorded.name if target.is_dir() else target


# ---------------------------------------------------------------------------------------------------- the video


def _video_checks(video: Path, data: dict[str, Any]) -> list[Check]:
    pixels, (width, height) = str(data["pixels"]), data["size"]
    try:
        form = format_of(video, alpha=pixels.startswith(("yuva", "rgba")))
    except UsageError as e:
        raise InputError(
            f"{video}: its name does not say what kind of video it is; give it the suffix that it was made with"
        ) from e
    checks = [_frames(video, (int(width), int(height)), form, data)]
    if "sound_hash" in data and not form.sequence:
        found = sound_hash(video)
        checks.append(_compared("sound", data["sound_hash"] or "none", found or "none"))
    checks.append(_mark(video, bool(data["options"]["provenance"])))
    if data.get("signature") is not None:
        checks.append(_signature(video, data["signature"]))
    if "file_hash" in data:
        detail = "" if any(c.state == DIFFERS for c in checks) else "other bytes, but the same frames, sound and mark"
        checks.append(_compared("file", data["file_hash"], file_hash(video), detail))
    return checks


def _frames(video: Path, size: tuple[int, int], form: Format, data: dict[str, Any]) -> Check:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    find_ffmpeg()  # raises, where there is none: that is no difference
    expected, frames = str(data["frame_hash"]), int(data["frames"])
    try:
        found = frame_hash(video, size, form)
    except EncoderError as e:
        return Check("frames", DIFFERS, f"they cannot be decoded any more ({e})".replace("while writing", "on"), expected)
    detail = "" if found.frames == frames else f"{found.frames} frames, not {frames}"
    return _compared("frames", expected, f"sha256:{found.sha256}", detail)


def _mark(video: Path, marked: bool) -> Check:
    """Whether the AI mark is there, or left out, as the receipt says."""
    from vasa_cli.trust.marks import container_of, mark_of

    names = sorted(p for p in video.parent.iterdir() if is_picture_of(video, p.name)) if is_sequence(video) else [video]
    first = names[0] if names else video
    container = container_of(first)
    there = container is not None and mark_of(first, container).says_ai
    return _compared("mark", *("AI-generated" if is_there else "none" for is_there in (marked, there)))


def _signature(video: Path, recorded: dict[str, str]) -> Check:
    """Whether the signature of the receipt is there, by the same signer, and nothing was changed since."""
    from vasa_cli.trust.sign import signature_of

    found, signer = signature_of(video), str(recorded["signer"])
    if found is None:
        return Check("signature", DIFFERS, "it is gone", signer)
    why = "; ".join(found["problems"])
    if found["state"] == "not checked":
        return Check("signature", UNCHECKED, why, signer)
    if found["state"] != "valid":
        return Check("signature", DIFFERS, why, signer, found.get("signer"))
    return _compared("signature", signer, str(found["signer"]), f"valid, by {found['signer']}")


# ---------------------------------------------------------------------------------------------------- inputs, weights


def _input_checks(data: dict[str, Any], receipt: Path) -> list[Check]:
    checks = []
    for key, item in data["inputs"].items():
        path, name = place_of(item, receipt), f"{NAMES.get(key, key)}"
        if path is None or not is_there(path):
            where = str(item.get("path") or f"shipped preset {item.get('shipped')}")
            checks.append(Check(name, MISSING, where, str(item["sha256"])))
        else:
            checks.append(_compared(name, str(item["sha256"]), sha256_file(path), str(item.get("path") or item.get("shipped"))))
    return checks


def _weight_checks(weights: dict[str, str], inputs: dict[str, Any]) -> list[Check]:
    """Weight files as they are installed here: not what the package's list says that they are."""
    from vasa_cli.portrait.encode_hash import encoder_hash
    from vasa_cli.weights.registry import EXTRAS, OPTIONAL, PARTS, path_of

    checks = []
    for part, expected in weights.items():
        if part not in (*PARTS, *EXTRAS, *OPTIONAL):
            continue
        try:
            path = path_of(part, weights["name"])
        except VasaError as e:
            checks.append(Check(f"{part} weights", MISSING, str(e), expected))
            continue
        checks.append(_compared(f"{part} weights", expected, sha256_file(path), path.name))
    basis = next((c.state for c in checks if c.name == "basis weights"), SAME)
    photo = not str(inputs["portrait"]["path"]).lower().endswith(".safetensors")  # a face file brings its encoding
    if photo and basis == SAME and "encoder" in weights:
        checks.append(_compared("face encoder", weights["encoder"], encoder_hash(), "of another version of vasa_cli"))
    return checks


def _compared(name: str, expected: str, found: str, detail: str = "") -> Check:
    if expected == found:
        return Check(name, SAME, detail if name not in ("file", "face encoder") else "", expected)
    return Check(name, DIFFERS, detail, expected, found)
