"""Where a video's motion comes from, as blocks of a track that can be drawn while the next ones are made: generated from a
recording, measured in a driving clip, or read from a file. Also the weights that each of them needs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli.drive import driven_motion, style_from
from vasa_cli.errors import InputError
from vasa_cli.files import check_input
from vasa_cli.requests import SPEECH, MotionOptions, RenderRequest, check_speech

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.motion.controls import ControlCurves
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.progress import Reporter
    from vasa_cli.runtime import Clock, Models
    from vasa_cli.speech.audio import SpeechReader

FPS = Fraction(25)
PARTS = ("basis", "shading", "speech", "motion")
BLOCK = 40  # frames of a block; a window of the generator brings as many


@dataclass(frozen=True)
class Motion:
    """What is known of a motion before its first frame, and its frames in order: `blocks` can be gone through once."""

    frames: int
    fps: Fraction
    seed: int
    blocks: Iterator[MotionTrack]
    controls: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, track: MotionTrack) -> Motion:
        """A finished track."""
        return cls(len(track), track.fps, track.seed, batches([track], BLOCK), track.controls, track.hashes)

    def whole(self, progress: Callable[[int, int], None] = lambda done, total: None) -> MotionTrack:
        """All blocks as one track, with everything that is known of them. progress: called with frames done and all."""
        from vasa_cli.motion.track import joined

        blocks: list[MotionTrack] = []
        for block in self.blocks:
            blocks.append(block)
            progress(sum(map(len, blocks)), self.frames)
        track = joined(blocks)
        return replace(track, controls=self.controls, hashes={**self.hashes, **track.hashes})


def batches(blocks: Iterable[MotionTrack], size: int) -> Iterator[MotionTrack]:
    """The same frames in blocks of exactly `size`, but for the last one."""
    from vasa_cli.motion.track import joined

    kept: list[MotionTrack] = []
    for block in blocks:
        kept.append(block)
        while sum(map(len, kept)) >= size:
            whole = joined(kept)
            yield whole.select(slice(0, size))
            kept = [whole.select(slice(size, None))] if len(whole) > size else []
    if kept:
        yield joined(kept)


_HEAD = struct.Struct("<IIII")  # frames, dynamics, whether there are tongue and vergence


def to_bytes(track: MotionTrack) -> bytes:
    """The frames of a block, for another process."""
    more = (track.tongue, track.vergence)
    head = _HEAD.pack(*track.dynamics.shape, *(values is not None for values in more))
    return head + b"".join(_floats(values) for values in (track.pose, track.dynamics, *more) if values is not None)


def from_bytes(data: bytes) -> MotionTrack:
    """The inverse of `to_bytes`, but for what is no frame's: rate, seed, controls, hashes."""
    import numpy as np

    from vasa_cli.motion.track import MotionTrack

    n, size, *has = _HEAD.unpack_from(data)
    values = np.frombuffer(data, np.float32, offset=_HEAD.size).copy()
    pose, dynamics, *more = np.split(values, np.cumsum([n * 6, n * size, *(n for there in has if there)])[:-1])
    tongue, vergence = (more.pop(0) if there else None for there in has)
    return MotionTrack(pose.reshape(n, 6), dynamics.reshape(n, size), FPS, 0, tongue=tongue, vergence=vergence)


def _floats(values: np.ndarray) -> bytes:
    import numpy as np

    return np.ascontiguousarray(values, np.float32).tobytes()


# ---------------------------------------------------------------------------------------------------- sources


def motion_for(
    request: RenderRequest, face: FaceLatent, speech: SpeechReader | None, reporter: Reporter, models: Models, clock: Clock
) -> Motion:
    """The motion to play. Raises InputError, FaceError, WeightsError, DeviceError, some only when blocks are made."""
    if request.drive is not None:
        with clock("drive"):
            return Motion.of(driven_motion(request.drive, face, request.motion.controls, request.motion.weights, reporter))
    if request.track is not None:
        return Motion.of(read_track(request.track))
    assert speech is not None
    return spoken(speech, request.motion, reporter, models, clock)


def read_track(path: Path) -> MotionTrack:
    """A motion file that fits this version. Raises InputError."""
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.weights.registry import sha256_of

    check_input(path, "motion file")
    track = MotionTrack.load(path)
    if len(track) == 0:
        raise InputError(f"{path}: the motion has no frames; run `vasa generate` again")
    made_with = track.hashes.get("basis")
    if made_with is not None and made_with != sha256_of("basis"):
        raise InputError(f"{path}: made with another dynamics basis ({made_with[:12]}); run `vasa generate` again")
    return track


def spoken(speech: SpeechReader, options: MotionOptions, reporter: Reporter, models: Models, clock: Clock) -> Motion:
    """The motion of a recording; nothing is computed before its first block is asked for."""
    from vasa_cli.device import resolve_device
    from vasa_cli.speech.audio import n_frames

    device = resolve_device(options.device)
    frames = n_frames(speech.source_samples, speech.source_rate, FPS)
    if options.style_from is not None:
        with clock("style"):
            controls = replace(options.controls, style=style_from(options.style_from, reporter))
        options = replace(options, controls=controls)
    used = ("basis", "speech", *speech_parts(options), "motion")
    hashes = {**weight_hashes(options.weights, used), "audio": speech.sha256}
    rows = clock.each("speech", fitted(_features(speech, options, models), frames))
    blocks = clock.each("generate", _generated(rows, frames, options, device))
    return Motion(frames, FPS, options.seed, blocks, options.controls.to_json(), hashes)


def _features(speech: SpeechReader, options: MotionOptions, models: Models) -> Iterator[np.ndarray]:
    """Rows of features (n, F) as the recording is read. The recogniser hears it as a whole."""
    encoder = models.speech(options.weights, options.speech)
    if options.speech != SPEECH[0]:
        from vasa_cli.speech.audio import load_speech

        yield encoder.features(load_speech(speech.path).samples)
        return
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.speech.stream import FeatureStream

    assert isinstance(encoder, SpeechEncoder)
    stream = FeatureStream(encoder)
    for samples in speech.blocks():
        yield stream.push(samples)
    yield stream.finish()


def fitted(blocks: Iterable[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    """Exactly one row a video frame, in blocks that are not empty: resampling may round to one row more or less.  (n, F)"""
    done, last = 0, None
    for rows in blocks:
        rows = rows[: frames - done]
        if len(rows):
            done, last = done + len(rows), rows[-1:]
            yield rows
    if last is not None and done < frames:
        yield last.repeat(frames - done, 0)


def _generated(rows: Iterable[np.ndarray], frames: int, options: MotionOptions, device: str) -> Iterator[MotionTrack]:
    """Motion of `frames` rows of features."""
    from vasa_cli.motion.stream import MotionStream

    controls = options.controls

    def curves(start: int, stop: int) -> ControlCurves:
        return controls.curves(stop - start, FPS, start)

    stream = MotionStream(
        seed=options.seed, weights=options.weights, device=device, steps=options.steps, guidance=dict(controls.guidance),
        style=controls.style,
    )  # fmt: skip
    left = frames
    for block in rows:
        stream.push(block)
        left -= len(block)
        yield from stream.take(curves) if left else stream.finish(curves)


# ---------------------------------------------------------------------------------------------------- weights


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
