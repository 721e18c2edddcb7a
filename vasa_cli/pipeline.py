"""The library: encode, generate and render as plain functions over frozen requests.

    from pathlib import Path
    from vasa_cli import pipeline
    result = pipeline.render(pipeline.RenderRequest(Path("me.jpg"), Path("speech.wav"), Path("out.mp4"), seed=3))
    print(result.output, result.frames, result.frame_hash)

Pass one `Models` to several calls and every model is loaded once. Only encode, and only when the cache misses, imports mediapipe.
All errors are `vasa_cli.errors.VasaError` subclasses with the command line's exit codes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vasa_cli.draw import draw
from vasa_cli.drive import driven_motion, sound_of
from vasa_cli.errors import UsageError
from vasa_cli.files import check_folder, check_input, check_output, whole_file
from vasa_cli.fingerprint import Hashes, encode_digest, generate_digest
from vasa_cli.motions import FPS, PARTS, motion_for, parts_of, speech_parts, spoken, weight_hashes
from vasa_cli.picture import check_face, soft_note
from vasa_cli.progress import Reporter
from vasa_cli.requests import (
    EncodeRequest,
    EncodeResult,
    GenerateRequest,
    GenerateResult,
    MotionOptions,
    RenderRequest,
    RenderResult,
)
from vasa_cli.runtime import Clock, Models, imported_meanwhile
from vasa_cli.seal import seal
from vasa_cli.video.formats import check_encoder, codec_of, is_picture_of

if TYPE_CHECKING:
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.cache import FaceCache
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.speech.audio import SpeechReader

__all__ = [
    "FPS", "PARTS", "EncodeRequest", "EncodeResult", "GenerateRequest", "GenerateResult", "Models", "MotionOptions",
    "RenderRequest", "RenderResult", "encode", "generate", "open_speech", "parts_of", "render", "speech_parts", "weight_hashes",
]  # fmt: skip
FACE_SUFFIX = ".safetensors"


# ---------------------------------------------------------------------------------------------------- encode


def open_cache(request: EncodeRequest) -> FaceCache:
    from vasa_cli.portrait.cache import FaceCache

    return FaceCache(request.cache_dir)


def encode(request: EncodeRequest, reporter: Reporter | None = None) -> EncodeResult:
    """Photo to FaceLatent, from the cache when its pixels were seen before. Raises InputError, FaceError."""
    reporter = reporter or Reporter()
    if request.output is not None:
        check_output(request.output, overwrite=request.overwrite)
    start = time.perf_counter()
    asked = encode_digest(request, Hashes()) if request.output is not None else ""  # before the photo is read: it may change
    face, hit = _face_of(request, reporter)
    if request.output is not None:
        with whole_file(request.output) as part:
            face.save(part)
            seal(part, {"request": asked})
    return EncodeResult(face, hit, time.perf_counter() - start, request.output)


def cached_file(request: EncodeRequest, face: FaceLatent) -> Path:
    """Where the cache keeps this face; the portrait itself when it is a face file already."""
    if request.portrait.suffix.lower() == FACE_SUFFIX:
        return request.portrait
    return open_cache(request).path_of(face.pixel_hash, request.face, request.crop, face.encoder_hash, request.size)


def _face_of(request: EncodeRequest, reporter: Reporter) -> tuple[FaceLatent, bool]:
    from vasa_cli.portrait.latent import FaceLatent

    check_input(request.portrait, "portrait")
    if request.portrait.suffix.lower() == FACE_SUFFIX:
        return FaceLatent.load(request.portrait), True
    # mediapipe brings matplotlib; its worries about a read-only home are not ours
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with reporter.stage("encode", "photo"), memory_guard_cpu():
        if request.use_cache:
            face, hit = open_cache(request).get_or_encode(
                request.portrait, face=request.face, crop=request.crop, size=request.size
            )
        else:
            from vasa_cli.portrait.encode import encode_portrait

            face, hit = encode_portrait(request.portrait, face=request.face, crop=request.crop, size=request.size), False
    for line in face.notes:
        reporter.note(line)
    return face, hit


def memory_guard_cpu() -> contextlib.AbstractContextManager[None]:
    from vasa_cli.device import memory_guard

    return memory_guard("cpu")


# ---------------------------------------------------------------------------------------------------- generate


def open_speech(path: Path) -> SpeechReader:
    """The recording as the model hears it, to be read block by block; its length is known. Raises InputError."""
    from vasa_cli.speech.audio import SpeechReader

    check_input(path, "recording")
    return SpeechReader(path)


def generate(
    request: GenerateRequest, reporter: Reporter | None = None, models: Models | None = None, face: FaceLatent | None = None,
    look: EncodeRequest | None = None,
) -> GenerateResult:  # fmt: skip
    """Recording, or driving clip, to motion. look: where `face` is from, for the file's record of what was asked. Raises
    InputError, FaceError, WeightsError, DeviceError."""
    reporter, models = reporter or Reporter(), models or Models()
    if request.output is not None:
        check_output(request.output, overwrite=request.overwrite)
    start = time.perf_counter()
    asked = generate_digest(request, look, Hashes()) if request.output is not None else ""
    with steady():
        track = _motion_of(request, reporter, models, face)
    if request.output is not None:
        with whole_file(request.output) as part:
            track.save(part)
            seal(part, {"request": asked, **_place_of(request)})
    return GenerateResult(track, time.perf_counter() - start, request.output)


def _motion_of(request: GenerateRequest, reporter: Reporter, models: Models, face: FaceLatent | None) -> MotionTrack:
    from vasa_cli.device import memory_guard, resolve_device

    if request.drive is not None:
        assert face is not None
        return driven_motion(request.drive, face, request.motion.controls, request.motion.weights, reporter)
    assert request.audio is not None
    speech_parts(request.motion)  # before the models are loaded: it fails fast
    speech = open_speech(request.audio)
    with reporter.stage("generate") as update, memory_guard(resolve_device(request.motion.device)):
        return spoken(speech, request.motion, reporter, models, Clock()).whole(update)


def _place_of(request: GenerateRequest) -> dict[str, str]:
    """The device that the motion's bits depend on; clips are measured on the processor anywhere."""
    from vasa_cli.device import resolve_device

    return {"device": resolve_device(request.motion.device)} if request.drive is None else {}


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """Computing as it is done everywhere here: the same numbers on any number of cores, memory used again."""
    from vasa_cli.device import one_thread_each, reuse_memory

    reuse_memory()  # before the first thread: an arena of its own could not be taken back
    with one_thread_each():
        yield


# ---------------------------------------------------------------------------------------------------- render


def render(
    request: RenderRequest, reporter: Reporter | None = None, models: Models | None = None, *, started: float | None = None
) -> RenderResult:
    """The main job: a talking-face video and its receipt. Raises any VasaError; leaves no partial file.

    started: `time.perf_counter()` from which the time to the first frame counts; None: from this call.
    """
    from vasa_cli.video.ffmpeg import find_ffmpeg

    reporter, models, clock = reporter or Reporter(), models or Models(), Clock()
    start = time.perf_counter()
    check_render(request)
    check_target(request)
    weight_hashes(request.motion.weights, parts_of(request))
    speech = open_speech(request.audio) if request.audio is not None else None  # before the heavy imports: it fails fast
    with imported_meanwhile("torch"):
        find_ffmpeg()
        check_encoder(request.form)
        codec = codec_of(request.form, request.encoder)
    with steady():
        result = _render(request, speech, codec, reporter, models, clock, start, start if started is None else started)
    return result


def _render(
    request: RenderRequest, speech: SpeechReader | None, codec: str, reporter: Reporter, models: Models, clock: Clock,
    start: float, started: float,
) -> RenderResult:  # fmt: skip
    """Everything after the checks. start: of the work; started: what the first frame counts from."""
    from vasa_cli.device import resolve_device

    device = resolve_device(request.motion.device)
    with clock("encode"):
        face, hit = _face_of(request.encode_request(), reporter)
    check_face(face, request.picture, request.portrait.name)
    if note := soft_note(face, request.picture):
        reporter.note(note)
    motion = motion_for(request, face, speech, reporter, models, clock)
    with sound_of(request.audio, request.drive) as sound:
        digest = draw(request, face, motion, sound, device, reporter, models, clock, codec)
    clock.seconds["first_frame"] -= started
    clock.seconds["total"] = time.perf_counter() - start
    from vasa_cli.record import receipt_of
    from vasa_cli.video.receipt import write_receipt

    data = receipt_of(
        request, face=face, speech=speech, motion=motion, device=device, codec=codec, digest=digest, hit=hit,
        stages=clock.rounded(),
    )  # fmt: skip
    receipt = write_receipt(request.output, data)
    return RenderResult(request.output, receipt, motion.frames, motion.fps, digest, hit, clock.rounded())


def check_render(request: RenderRequest) -> None:
    """Combinations that cannot be right, inputs that are not there. Raises UsageError, InputError."""
    clip = request.drive.clip if request.drive is not None else None
    if request.audio is None and request.track is None and clip is None:
        raise UsageError("render needs AUDIO, or --motion FILE for a video without sound, or --drive CLIP")
    if request.track is not None and clip is not None:
        raise UsageError("--motion and --drive both bring a motion: leave one out")
    named = (
        (request.portrait, "portrait"), (request.audio, "recording"), (request.track, "motion file"), (clip, "clip"),
        (request.motion.style_from, "style clip"),
    )  # fmt: skip
    inputs = [(path, what) for path, what in named if path is not None]
    for path, what in inputs:
        check_input(path, what)
    if any(_same_file(request.output, path) for path, _ in inputs):
        raise UsageError(f"{request.output}: is also an input; choose another name with -o")
    if request.sign is not None:
        from vasa_cli.trust.sign import check_signing

        check_signing(request.sign, request.output, marked=request.provenance)


def check_target(request: RenderRequest, *, create: bool = True) -> None:
    """Refuse an output whose name says no format, that exists, or that cannot be written. Raises UsageError."""
    path, form = request.output, request.form
    if form.sequence:
        check_folder(path.parent, lambda name: is_picture_of(path, name), overwrite=request.overwrite, create=create)
    else:
        check_output(path, overwrite=request.overwrite, create=create)


def _same_file(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.samefile(b)
