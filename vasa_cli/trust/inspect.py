"""What a file is, who made it, and what it says about that: videos, streams, pictures, receipts, motion files and face files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasa_cli.errors import InputError
from vasa_cli.files import check_input
from vasa_cli.parsing import HEADER_BYTES, load_json
from vasa_cli.trust.marks import NO_MARK, Mark, container_of, mark_of
from vasa_cli.video.formats import is_sequence
from vasa_cli.video.receipt import read_receipt, receipt_path
from vasa_cli.words import one_line


@dataclass(frozen=True)
class Inspected:
    """kind: 'video', 'pictures' (a PNG sequence), 'picture', 'receipt', 'motion file' or 'face file'. facts: what there is to
    know of this kind. signature: of `trust.sign.signature_of`; None where there is none. receipt: the one beside it."""

    path: Path
    kind: str
    mark: Mark = NO_MARK
    facts: dict[str, Any] = field(default_factory=dict)
    signature: dict[str, Any] | None = None
    receipt: Path | None = None

    def to_json(self) -> dict[str, Any]:
        marked = self.kind in ("video", "pictures", "picture")
        mark = {"ai_generated": self.mark.says_ai, "digital_source_type": self.mark.source, "tool": self.mark.tool,
                "mark_in": self.mark.place}  # fmt: skip
        more = {**mark, "signature": self.signature, "receipt": str(self.receipt) if self.receipt else None} if marked else {}
        return {"file": str(self.path), "kind": self.kind, **self.facts, **more}


def inspect(path: Path) -> Inspected:
    """Raises InputError when the file cannot be read or is none of ours, EncoderError when there is no ffmpeg."""
    try:
        if path.is_dir() or is_sequence(path):
            return _sequence(path)
        check_input(path, "file")
        container = container_of(path)
        if container == "json":
            return Inspected(path, "receipt", facts=_of_receipt(read_receipt(path)))
        if container == "safetensors":
            return _latent(path)
        if container == "picture":
            return _picture(path)
        if container is not None:
            return _video(path, container)
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror or e})") from e
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as e:
        raise InputError(f"{path}: the file is incomplete or damaged ({type(e).__name__}: {e})") from e
    raise InputError(f"{path}: neither a video nor a picture, receipt, motion file or face file")


def _video(path: Path, container: str) -> Inspected:
    from vasa_cli.trust.sign import signature_of
    from vasa_cli.video.clip import probe

    clip = probe(path)
    facts = {
        "container": container, "frames": clip.frames, "fps": f"{clip.fps.numerator}/{clip.fps.denominator}",
        "size": list(clip.size), "seconds": round(float(clip.frames / clip.fps), 3), "sound": clip.sound_at is not None,
    }  # fmt: skip
    return Inspected(path, "video", mark_of(path, container), facts, signature_of(path), _beside(path))


def _picture(path: Path) -> Inspected:
    from vasa_cli.portrait.pixels import DAMAGED, opened, quiet
    from vasa_cli.trust.sign import signature_of

    try:
        with quiet(), opened(path) as picture:
            facts = {"container": str(picture.format).lower(), "size": list(picture.size)}
    except DAMAGED as e:
        raise InputError(f"{path}: not a picture that can be read ({e})") from e
    return Inspected(path, "picture", mark_of(path, "picture"), facts, signature_of(path))


def _sequence(path: Path) -> Inspected:
    """A folder of PNG pictures; it is marked as far as all of them are."""
    folder = path if path.is_dir() else path.parent
    names = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png") if folder.is_dir() else []
    if not names:
        raise InputError(f"{folder}: holds no PNG pictures")
    first = _picture(names[0])
    marks = [mark_of(p, "picture") for p in names]
    mark = marks[0] if all(m == marks[0] for m in marks) else NO_MARK
    facts = {**first.facts, "pictures": len(names), "marked": sum(m.says_ai for m in marks)}
    return Inspected(folder, "pictures", mark, facts, None, _beside(folder.absolute() / "frame_%05d.png"))


def _beside(path: Path) -> Path | None:
    place = receipt_path(path)
    return place if place.is_file() else None


# ---------------------------------------------------------------------------------------------------- our own files


def _of_receipt(data: dict[str, Any]) -> dict[str, Any]:
    options, weights = data["options"], data["weights"]
    return {
        "tool": f"{data['tool']['name']} {data['tool']['version']}",
        "created": data["created"],
        "output": data["output"],
        "frames": data["frames"],
        "fps": data["fps"],
        "size": data["size"],
        "frame_hash": data["frame_hash"],
        "seed": data["seed"],
        "preset": data["preset"],
        "weights": weights["name"],
        "device": data["device"],
        "inputs": {name: item.get("path") or item.get("shipped") for name, item in data["inputs"].items()},
        "marked_as_ai": options["provenance"],
        "label": options.get("label"),
        "signed_by": (data.get("signature") or {}).get("signer"),
    }


def _latent(path: Path) -> Inspected:
    """A motion file or a face file, by the format that its header names."""
    with path.open("rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header = load_json(f.read(min(size, HEADER_BYTES)))
    form = str(header.get("__metadata__", {}).get("format", ""))
    if form.startswith("vasa-motion/"):
        from vasa_cli.motion.track import MotionTrack

        track = MotionTrack.load(path)
        facts = {
            "format": form, "frames": len(track), "fps": f"{track.fps.numerator}/{track.fps.denominator}",
            "seconds": round(float(len(track) / track.fps), 3), "made": "measured" if track.seed < 0 else "generated",
            "seed": track.seed, "hashes": dict(track.hashes),
        }  # fmt: skip
        return Inspected(path, "motion file", facts=facts)
    from vasa_cli.portrait.latent import FaceLatent

    face = FaceLatent.load(path)
    facts = {
        "format": form, "photo_size": list(face.photo_size), "texture": face.texture, "whole_photo": face.pastes,
        "pixel_hash": face.pixel_hash, "encoder_hash": face.encoder_hash, "notes": list(face.notes),
    }  # fmt: skip
    return Inspected(path, "face file", facts=facts)


# ---------------------------------------------------------------------------------------------------- for people


def table(seen: Inspected) -> str:
    """A line a fact."""
    rows: list[tuple[str, str]] = [("file", str(seen.path)), ("kind", seen.kind)]
    rows += [(key.replace("_", " "), _shown(value)) for key, value in seen.facts.items() if value not in (None, [], {}, "")]
    if seen.kind in ("video", "pictures", "picture"):
        says = f"AI-generated: {seen.mark.source}" if seen.mark.says_ai else seen.mark.source or "none"
        rows.append(("mark", says + (f" (in the {seen.mark.place})" if seen.mark.place else "")))
        rows += [("made by", seen.mark.tool)] if seen.mark.tool else []
        rows.append(("signature", _signature(seen.signature)))
        if seen.kind != "picture":
            rows.append(("receipt", str(seen.receipt) if seen.receipt else "none beside it"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {one_line(text)}" for name, text in rows)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {text}" for key, text in value.items())
    if isinstance(value, list):
        return ("x" if all(isinstance(v, int) for v in value) else "; ").join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _signature(signature: dict[str, Any] | None) -> str:
    if signature is None:
        return "none"
    by = f", by {signature['signer']}" if signature.get("signer") else ""
    why = f" ({'; '.join(signature['problems'])})" if signature.get("problems") else ""
    return f"C2PA, {signature['state']}{by}{why}"
