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
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli.drive import driven_motion, sound_of, style_from
from vasa_cli.errors import InputError, UsageError
from vasa_cli.files import check_folder, check_input, check_output, sort_header, whole_file
from vasa_cli.picture import Picture, check_face, soft_note
from vasa_cli.progress import Reporter
from vasa_cli.requests import (
    SPEECH,
    EncodeRequest,
    EncodeResult,
    GenerateRequest,
    GenerateResult,
    MotionOptions,
    RenderRequest,
    RenderResult,
    check_speech,
)
from vasa_cli.runtime import Clock, Models
from vasa_cli.video.formats import check_encoder, is_picture_of

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.cache import FaceCache
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.speech.audio import Speech

FPS = Fraction(25)
FACE_SUFFIX = ".safetensors"
PARTS = ("basis", "shading", "speech", "motion")


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
    face, hit = _face_of(request, reporter)
    if request.output is not None:
        with whole_file(request.output) as part:
            face.save(part)
            sort_header(part)
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


def load_speech(path: Path) -> Speech:
    """The recording as the model hears it. Raises InputError."""
    from vasa_cli.speech import audio

    check_input(path, "recording")
    return audio.load_speech(path)


def generate(
    request: GenerateRequest, reporter: Reporter | None = None, models: Models | None = None, face: FaceLatent | None = None
) -> GenerateResult:
    """Recording, or driving clip, to motion. Raises InputError, FaceError, WeightsError, DeviceError."""
    reporter, models = reporter or Reporter(), models or Models()
    if request.output is not None:
        check_output(request.output, overwrite=request.overwrite)
    start = time.perf_counter()
    if request.drive is not None:
        assert face is not None
        track = driven_motion(request.drive, face, request.motion.controls, request.motion.weights, reporter)
    else:
        assert request.audio is not None
        speech_parts(request.motion)  # before the models are loaded: it fails fast
        track = motion_of(load_speech(request.audio), request.motion, reporter, models, Clock())
    if request.output is not None:
        with whole_file(request.output) as part:
            track.save(part)
            sort_header(part)
    return GenerateResult(track, time.perf_counter() - start, request.output)


def motion_of(speech: Speech, options: MotionOptions, reporter: Reporter, models: Models, clock: Clock) -> MotionTrack:
    from vasa_cli.device import memory_guard, resolve_device
    from vasa_cli.motion.generate import generate_motion
    from vasa_cli.speech.audio import n_frames

    device = resolve_device(options.device)
    frames = n_frames(speech.source_samples, speech.source_rate, FPS)
    controls = options.controls
    if options.style_from is not None:
        with clock("style"):
            controls = replace(controls, style=style_from(options.style_from, reporter))
    with reporter.stage("generate") as update, memory_guard(device):
        with clock("speech"):
            features = fit_length(models.speech(options.weights, options.speech).features(speech.samples), frames)  # (T, F)
        with clock("generate"):
            track = generate_motion(
                features, controls.curves(frames, FPS), seed=options.seed, weights=options.weights,
                steps=options.steps, device=device, progress=lambda done, total: update(frames * done // total, frames),
                guidance=dict(controls.guidance), style=controls.style,
            )  # fmt: skip
    used = ("basis", "speech", *speech_parts(options), "motion")
    hashes = {**weight_hashes(options.weights, used), **track.hashes, "audio": speech.sha256}
    return replace(track, controls=controls.to_json(), hashes=hashes)


def fit_length(features: np.ndarray, frames: int) -> np.ndarray:
    """Exactly one row a video frame: resampling may round to one row more or less.  (T', F) -> (T, F)"""
    import numpy as np

    if len(features) >= frames:
        return features[:frames]
    return np.concatenate([features, np.repeat(features[-1:], frames - len(features), axis=0)])


def weight_hashes(weights: str, parts: tuple[str, ...] = PARTS) -> dict[str, str]:
    """Part to sha256 of the weight files in use. Raises WeightsError."""
    from vasa_cli.weights.registry import sha256_of

    return {part: sha256_of(part, weights) for part in parts}


def speech_parts(options: MotionOptions) -> tuple[str, ...]:
    """Further weights that hear the recording. Raises UsageError (unknown), WeightsError (packages that are not installed)."""
    if check_speech(options.speech) == SPEECH[0]:
        return ()
    from vasa_cli.speech.phonetic_teacher import model_folder

    model_folder()
    return ("phonetics",)


def parts_of(request: RenderRequest) -> tuple[str, ...]:
    """The weights that this render needs: a finished motion wants the decoder's alone."""
    refiner = ("refiner",) if request.picture.refine else ()
    if request.drive is not None:  # the motion model knows how lids follow an asked gaze
        return (*(part for part in PARTS if part != "speech"), *refiner)
    if request.track is not None:
        return ("basis", "shading", *refiner)
    return (*PARTS, *speech_parts(request.motion), *refiner)


# ---------------------------------------------------------------------------------------------------- render


def render(request: RenderRequest, reporter: Reporter | None = None, models: Models | None = None) -> RenderResult:
    """The main job: a talking-face video and its receipt. Raises any VasaError; leaves no partial file."""
    from vasa_cli.device import resolve_device
    from vasa_cli.video.ffmpeg import find_ffmpeg

    reporter, models, clock = reporter or Reporter(), models or Models(), Clock()
    started = time.perf_counter()
    check_render(request)
    check_target(request)
    find_ffmpeg()
    check_encoder(request.form)
    weight_hashes(request.motion.weights, parts_of(request))
    speech = load_speech(request.audio) if request.audio is not None else None  # before the heavy imports: it fails fast
    device = resolve_device(request.motion.device)
    with clock("encode"):
        face, hit = _face_of(request.encode_request(), reporter)
    check_face(face, request.picture, request.portrait.name)
    if note := soft_note(face, request.picture):
        reporter.note(note)
    track = track_of(request, face, speech, reporter, models, clock)
    with sound_of(request.audio, request.drive) as sound:
        digest = _draw(request, face, track, sound, device, reporter, models, clock)
    clock.seconds["total"] = time.perf_counter() - started
    from vasa_cli.record import receipt_of
    from vasa_cli.video.receipt import write_receipt

    data = receipt_of(
        request, face=face, speech=speech, track=track, device=device, digest=digest, hit=hit, stages=clock.rounded()
    )
    receipt = write_receipt(request.output, data)
    return RenderResult(request.output, receipt, len(track), track.fps, digest, hit, clock.rounded())


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


def check_target(request: RenderRequest, *, create: bool = True) -> None:
    """Refuse an output whose name says no format, that exists, or that cannot be written. Raises UsageError."""
    path, form = request.output, request.form
    if form.sequence:
        check_folder(path.parent, lambda name: is_picture_of(path, name), overwrite=request.overwrite, create=create)
    else:
        check_output(path, overwrite=request.overwrite, create=create)


def _same_file(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.samefile(b)


def track_of(
    request: RenderRequest, face: FaceLatent, speech: Speech | None, reporter: Reporter, models: Models, clock: Clock
) -> MotionTrack:
    """The motion to play: read from the file that was named, measured in the driving clip, or generated from the recording."""
    if request.drive is not None:
        with clock("drive"):
            return driven_motion(request.drive, face, request.motion.controls, request.motion.weights, reporter)
    if request.track is None:
        assert speech is not None
        return motion_of(speech, request.motion, reporter, models, clock)
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.weights.registry import sha256_of

    check_input(request.track, "motion file")
    track = MotionTrack.load(request.track)
    if len(track) == 0:
        raise InputError(f"{request.track}: the motion has no frames; run `vasa generate` again")
    made_with = track.hashes.get("basis")
    if made_with is not None and made_with != sha256_of("basis"):
        raise InputError(f"{request.track}: made with another dynamics basis ({made_with[:12]}); run `vasa generate` again")
    return track


def _draw(
    request: RenderRequest, face: FaceLatent, track: MotionTrack, sound: Path | None, device: str, reporter: Reporter,
    models: Models, clock: Clock,
) -> str:  # fmt: skip
    """Frames to file; returns the decoded-frame hash."""
    from vasa_cli.device import memory_guard
    from vasa_cli.video.writer import VideoWriter

    form = request.form
    with reporter.stage("render") as update, memory_guard(device):
        update(0, len(track))
        with clock("decoder"):
            picture = Picture(face, request.picture, form, models, device, request.dtype)
            frames = iter(picture.frames(track))
        for line in picture.notes:
            reporter.note(line)
        options: dict[str, Any] = {"crf": request.crf, "mark": request.provenance, "alpha": form.alpha}
        with VideoWriter(request.output, picture.size, track.fps, len(track), sound, **options) as writer:
            done = 0
            while True:
                with clock("decoder"):
                    block = next(frames, None)
                if block is None:
                    break
                with clock("encoder"):
                    writer.write(block)
                done += len(block)
                update(done, len(track))
            finish = time.perf_counter()
        clock.seconds["mux"] = time.perf_counter() - finish
    assert writer.result is not None
    return f"sha256:{writer.result.sha256}"
