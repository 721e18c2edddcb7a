"""The content of a receipt, the plan of a dry run, and the way back from a receipt to a request."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli import __version__
from vasa_cli.drive import Drive
from vasa_cli.errors import InputError, UsageError, WeightsError
from vasa_cli.files import check_input, check_output
from vasa_cli.motion.controls import Controls
from vasa_cli.picture import PictureOptions, check_face, frame_size, picture_options
from vasa_cli.pipeline import (
    FACE_SUFFIX,
    FPS,
    PARTS,
    EncodeRequest,
    GenerateRequest,
    MotionOptions,
    RenderRequest,
    check_render,
    check_target,
    open_cache,
    open_speech,
    parts_of,
    speech_parts,
    weight_hashes,
)
from vasa_cli.trust.entries import entry, preset_entry, preset_file_of
from vasa_cli.video.background import Background, parse_background
from vasa_cli.video.formats import check_encoder, codec_of, even_size
from vasa_cli.video.framehash import file_hash, sound_hash
from vasa_cli.video.nvenc import NVENC
from vasa_cli.video.receipt import check_values, checked_input, confined_output, read_receipt, receipt_path, stored_path
from vasa_cli.weights.registry import EXTRAS, OPTIONAL

if TYPE_CHECKING:
    from vasa_cli.motions import Motion
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.speech.audio import SpeechReader

OPTION_KEYS = ("face", "crop", "crf", "provenance")
PICTURE_KEYS = ("fit", "size", "refine", "label")


def receipt_of(
    request: RenderRequest, *, face: FaceLatent, speech: SpeechReader | None, motion: Motion,
    device: str, codec: str, digest: str, hit: bool, stages: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """All that is needed to make the video again, and to prove that it is the same."""
    place = receipt_path(request.output)
    inputs: dict[str, Any] = {"portrait": {**entry(request.portrait, place), "pixels": face.pixel_hash}}
    if request.audio is not None and speech is not None:
        inputs["audio"] = {**entry(request.audio, place), "samples": speech.source_samples, "rate": speech.source_rate}
    if request.track is not None:
        inputs["motion"] = entry(request.track, place)
    if request.drive is not None:
        inputs["drive"] = {**entry(request.drive.clip, place), "mode": request.drive.mode}
    if request.motion.style_from is not None:  # for the record: `controls` holds what was measured on it
        inputs["style"] = entry(request.motion.style_from, place)
    if request.motion.preset_file is not None and request.motion.preset is not None and request.track is None:  # so too
        inputs["preset"] = preset_entry(request.motion.preset, request.motion.preset_file, place)
    background = request.picture.background
    if background.path is not None:
        inputs["background"] = entry(background.path, place)
    if request.picture.label_font is not None:
        inputs["font"] = entry(request.picture.label_font, place)
    return {
        "tool": {"name": "vasa_cli", "version": __version__},
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "output": stored_path(request.output, place),
        "frames": motion.frames,
        "fps": f"{motion.fps.numerator}/{motion.fps.denominator}",
        "size": list(frame_size(face, request.picture, request.form)),
        "pixels": request.form.pixels,
        "frame_hash": digest,
        "sound_hash": None if request.form.sequence else sound_hash(request.output),
        "file_hash": file_hash(request.output),
        "seed": motion.seed,
        "device": device,
        "dtype": request.dtype,
        "preset": request.motion.preset,
        "controls": motion.controls,
        "steps": request.motion.steps,
        "speech": request.motion.speech,
        "weights": {
            "name": request.motion.weights,
            **weight_hashes(request.motion.weights, parts_of(request)),
            "encoder": face.encoder_hash,
        },
        "inputs": inputs,
        "signature": _signature(request),
        "options": {
            **{key: getattr(request, key) for key in OPTION_KEYS},
            **{key: getattr(request.picture, key) for key in PICTURE_KEYS},
            "encoder": "nvenc" if codec == NVENC else "x264",
            "background": background.kind if background.path is not None else background.text,
        },
        "cache_hit": hit,
        "stages": stages,
        "versions": _versions(device),
    }


def _signature(request: RenderRequest) -> dict[str, str] | None:
    """Who signed; never where their key is."""
    from vasa_cli.trust.sign import check_signing

    return None if request.sign is None else check_signing(request.sign, request.output, marked=request.provenance)


def _versions(device: str) -> dict[str, str]:
    import numpy
    import torch

    from vasa_cli.device import device_name
    from vasa_cli.video.ffmpeg import find_ffmpeg, version

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "ffmpeg": version(find_ffmpeg()),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": device_name(device),
    }


# ---------------------------------------------------------------------------------------------------- repeat


@dataclass(frozen=True)
class Repeat:
    request: RenderRequest
    frame_hash: str  # what the repetition must show
    device: str  # where it was shown
    signed: bool = False  # whether the receipt's video was


def request_from(
    receipt: Path, output: Path | None, *, portrait: Path | None = None, audio: Path | None = None, **kept: Any
) -> Repeat:
    """The request that a receipt records, every input proven unchanged. `kept`: fields that may differ, as overwrite.

    Raises InputError naming the input that changed, WeightsError when the model is another one.
    """
    data = read_receipt(receipt)
    try:
        inputs, weights, options = data["inputs"], data["weights"], data["options"]
        check_values(data)
        photo = checked_input(inputs["portrait"], receipt, "portrait", portrait)
        sound = checked_input(inputs["audio"], receipt, "recording", audio) if "audio" in inputs else None
        track = checked_input(inputs["motion"], receipt, "motion file") if "motion" in inputs else None
        drive = Drive(checked_input(inputs["drive"], receipt, "clip"), inputs["drive"]["mode"]) if "drive" in inputs else None
        picture = _picture_from(options, inputs, receipt)
        device = kept.pop("device", None) or data["device"]
        motion = MotionOptions(
            Controls.default() if track is not None else Controls.from_json(data["controls"]),
            data["preset"],
            max(data["seed"], 0),  # measured motion has none
            weights["name"],
            data["steps"],
            device,
            speech=data.get("speech", "builtin"),  # receipts of before there was a choice
            preset_file=preset_file_of(inputs, receipt),
        )
        request = RenderRequest(
            photo,
            sound,
            output if output is not None else confined_output(data["output"], receipt),
            motion,
            track=track,
            drive=drive,
            face=options["face"],
            crop=tuple(options["crop"]) if options["crop"] else None,
            picture=picture,
            dtype=data["dtype"],
            crf=options["crf"],
            encoder=options.get("encoder", "x264"),
            provenance=options["provenance"],
            **kept,
        )
        _same_weights(weights)
        return Repeat(request, data["frame_hash"], data["device"], bool(data.get("signature")))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
        raise InputError(f"{receipt}: the receipt is incomplete or was edited ({type(e).__name__}: {e})") from e


def _picture_from(options: dict[str, Any], inputs: dict[str, Any], receipt: Path) -> PictureOptions:
    """The picture options of a receipt; receipts of before there were any mean the defaults."""
    text = options.get("background", "keep")
    if "background" in inputs:
        path = checked_input(inputs["background"], receipt, "background picture")
        background = Background("picture", path=path)
    else:
        background = parse_background(text)
    fit, label = options.get("fit"), options.get("label")
    if label is not None and not isinstance(label, str):
        raise ValueError("label is not a text")
    font = checked_input(inputs["font"], receipt, "font") if "font" in inputs else None
    return picture_options(fit, None if fit == "full" else options.get("size"), background, options.get("refine"), label, font)


def _same_weights(weights: dict[str, str]) -> None:
    used = tuple(part for part in (*PARTS, *EXTRAS, *OPTIONAL) if part in weights)
    for part, digest in weight_hashes(weights["name"], used).items():
        if weights[part] != digest:
            was = weights[part][:12]
            raise WeightsError(
                f"the {part} weights here ({digest[:12]}) are not those of the receipt ({was}); install that vasa_cli"
            )


# ---------------------------------------------------------------------------------------------------- plan


def motion_plan(request: GenerateRequest) -> dict[str, Any]:
    """What `generate` would do. Raises what it would."""
    from vasa_cli.device import resolve_device
    from vasa_cli.speech.audio import n_frames

    options = request.motion
    if request.output is not None:
        check_output(request.output, overwrite=request.overwrite, create=False)
    if request.drive is not None:
        return {"output": str(request.output), **_drive_plan(request.drive, None), "preset": options.preset}
    assert request.audio is not None
    weight_hashes(options.weights, (*PARTS, *speech_parts(options)))
    speech = open_speech(request.audio)
    device = resolve_device(options.device)
    frames = n_frames(speech.source_samples, speech.source_rate, FPS)
    return {
        "output": str(request.output),
        **_length(frames, FPS),
        "device": device,
        "weights": options.weights,
        "speech": options.speech,
        "preset": options.preset,
        "seed": options.seed,
    }


def plan_of(request: RenderRequest) -> dict[str, Any]:
    """Check everything that can be checked without computing, and say what would happen. Raises what `render` would."""
    from vasa_cli.video.ffmpeg import find_ffmpeg, version

    check_render(request)
    check_target(request, create=False)
    form = request.form
    heard = request.audio is not None or (request.drive is not None and request.drive.has_sound)
    sound = f", {form.audio}" if heard and form.audio is not None else ""
    check_encoder(form)
    codec = codec_of(form, request.encoder)
    quality = f" crf {request.crf}" if codec in ("libx264", NVENC, "libvpx-vp9") else ""
    encoder = f"{form.container}: {codec}{quality} {form.pixels}{sound} (ffmpeg {version(find_ffmpeg())})"
    weight_hashes(request.motion.weights, parts_of(request))
    background = request.picture.background
    background.picture(16, 16)  # a picture that cannot be read is said now
    if request.drive is not None:
        plan = _drive_plan(request.drive, request.audio)
    elif request.track is None:
        assert request.audio is not None
        plan = motion_plan(GenerateRequest(request.audio, None, request.motion))
    else:
        plan = _replay_plan(request, request.track)
    face, photo = look_at_face(request)
    shown = {"fit": request.picture.fit, "size": "x".join(map(str, photo)), "background": background.text}
    shown |= {"refine": "yes"} if request.picture.refine else {}
    if request.picture.label is not None:
        from vasa_cli.trust.label import caption

        caption(request.picture.label, photo, request.picture.label_font)
        shown["label"] = request.picture.label
    return {**plan, "output": str(request.output), **shown, "dtype": request.dtype, "face_cached": face, "encoder": encoder}


def _replay_plan(request: RenderRequest, path: Path) -> dict[str, Any]:
    from vasa_cli.device import resolve_device
    from vasa_cli.motion.track import MotionTrack

    check_input(path, "motion file")
    if request.audio is not None:
        open_speech(request.audio)
    track = MotionTrack.load(path)
    return {"output": "", **_length(len(track), track.fps), "device": resolve_device(request.motion.device), "motion": str(path)}


def _drive_plan(drive: Drive, audio: Path | None) -> dict[str, Any]:
    from vasa_cli.video.clip import probe

    if audio is not None:
        open_speech(audio)
    clip = probe(drive.clip)
    return {**_length(clip.frames, clip.fps), "device": "cpu", "drive": str(drive.clip), "drive_mode": drive.mode}


def _length(frames: int, fps: Fraction) -> dict[str, Any]:
    return {"frames": frames, "fps": f"{fps.numerator}/{fps.denominator}", "seconds": round(float(frames / fps), 3)}


def look_at_face(request: RenderRequest) -> tuple[bool, tuple[int, int]]:
    """Whether the face is at hand, and the size of the frames. Raises what `face_is_cached` does, UsageError for a face file
    that cannot be shown so."""
    from vasa_cli.portrait.body import fitted_size
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.portrait.pixels import read_photo

    cached = face_is_cached(request.encode_request())
    if request.picture.fit != "full":
        return cached, (request.picture.size, request.picture.size)
    if request.portrait.suffix.lower() == FACE_SUFFIX:
        face = FaceLatent.load(request.portrait)
        check_face(face, request.picture, request.portrait.name)
        return cached, even_size(*face.photo_size, request.form)
    height, width = read_photo(request.portrait).shape[:2]
    return cached, even_size(*fitted_size(width, height), request.form)


def face_is_cached(request: EncodeRequest) -> bool:
    """Whether encode would be answered from the cache. Raises InputError when the photo or face file cannot be read."""
    check_input(request.portrait, "portrait")
    if request.portrait.suffix.lower() == FACE_SUFFIX:
        from vasa_cli.portrait.latent import FaceLatent

        FaceLatent.load(request.portrait)
        return True
    if not request.use_cache:
        from vasa_cli.portrait.pixels import read_photo

        read_photo(request.portrait)
        return False
    return open_cache(request).lookup(request.portrait, face=request.face, crop=request.crop, size=request.size)


def parse_crop(text: str | None) -> tuple[int, int, int, int] | None:
    """'X,Y,W,H' in photo pixels. Raises UsageError."""
    if text is None:
        return None
    try:
        x, y, width, height = (int(p) for p in text.split(","))
    except ValueError as e:
        raise UsageError(f"--crop {text!r}: expected X,Y,WIDTH,HEIGHT in whole pixels, such as --crop 120,40,400,400") from e
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise UsageError(f"--crop {text!r}: X and Y must be 0 or more, WIDTH and HEIGHT above 0")
    return (x, y, width, height)
