"""A clip drives a face: its motion is measured, the controls go on top of it, and its own sound is the video's."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vasa_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.motion.behaviour.style import MotionStyle
    from vasa_cli.motion.controls import Controls
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.progress import Reporter
    from vasa_cli.video.clip import ClipInfo

MODES = ("relative", "absolute")
IN_SYNC = 0.005  # seconds between first frame and first sample that nobody notices


@dataclass(frozen=True)
class Drive:
    """clip: the video whose motion is played. mode: relative (the driver's motion around their own rest, for any face) or
    absolute (pose and expression as they are; a photo cut from the clip lands exactly on it)."""

    clip: Path
    mode: str = "relative"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"--drive-mode {self.mode!r}: known are {', '.join(MODES)}")

    @property
    def has_sound(self) -> bool:
        """Whether the clip has a sound track. Raises InputError."""
        from vasa_cli.video.clip import probe

        return probe(self.clip).sound_at is not None


def driven_motion(drive: Drive, face: FaceLatent, controls: Controls, weights: str, reporter: Reporter) -> MotionTrack:
    """The clip's motion at the clip's own frame rate. Raises InputError (unreadable clip), FaceError (no face in it)."""
    from vasa_cli.device import memory_guard
    from vasa_cli.files import sha256_file
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.motion.measured import measure
    from vasa_cli.video.clip import probe
    from vasa_cli.weights.registry import sha256_of

    clip = probe(drive.clip)
    basis = DynamicsBasis.load()
    with reporter.stage("follow") as update, memory_guard("cpu"):
        track, notes = measure(clip, face, drive.mode, basis, lambda done: update(done // 2, clip.frames))
    for line in notes:
        reporter.note(line)
    hashes = {"basis": sha256_of("basis"), "drive": sha256_file(drive.clip)}
    return replace(with_controls(track, controls, basis, weights), controls=controls.to_json(), hashes=hashes)


def style_from(path: Path, reporter: Reporter) -> MotionStyle:
    """The manner of the person in a clip, or of a motion file. Raises InputError, FaceError."""
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.motion.behaviour.style import style_of
    from vasa_cli.motion.track import MotionTrack

    basis = DynamicsBasis.load()
    if path.suffix.lower() == ".safetensors":
        return style_of(MotionTrack.load(path), basis)
    from vasa_cli.device import memory_guard
    from vasa_cli.motion.measured import relative_motion, track_clip
    from vasa_cli.video.clip import probe

    clip = probe(path)
    with reporter.stage("style") as update, memory_guard("cpu"):
        tracked = track_clip(clip, lambda done: update(done, clip.frames))
    for line in tracked.notes:
        reporter.note(line)
    return style_of(relative_motion(tracked, basis), basis)


def with_controls(track: MotionTrack, controls: Controls, basis: object, weights: str) -> MotionTrack:
    """Scales of the parts, then emotion, gaze and distance as offsets: the same steps as for generated motion."""
    import numpy as np

    from vasa_cli.motion.apply import Parts, add_controls, scale_parts
    from vasa_cli.motion.basis import DynamicsBasis

    assert isinstance(basis, DynamicsBasis)
    curves = controls.curves(len(track), track.fps)
    parts = scale_parts(Parts(track.pose, track.dynamics), curves, basis, np.ones(len(track), np.float32))
    looks = bool(np.abs(curves.gaze[:, 1]).max() > 0)
    follow = _lids_per_gaze(weights) if looks else np.zeros(basis.blocks["lids"].stop - basis.blocks["lids"].start, np.float32)
    parts = add_controls(parts, curves, basis, follow)
    return replace(track, pose=parts.pose.astype(np.float32), dynamics=parts.dynamics.astype(np.float32))


def _lids_per_gaze(weights: str) -> np.ndarray:
    from vasa_cli.motion.model import load_model

    return load_model(weights).stats.lids_per_gaze


@contextlib.contextmanager
def sound_of(audio: Path | None, drive: Drive | None) -> Iterator[Path | None]:
    """The sound of the video: the recording that was given, else the clip's own (shifted to its first frame), else none."""
    from vasa_cli.video.clip import probe, write_sound

    if audio is not None or drive is None:
        yield audio
        return
    clip: ClipInfo = probe(drive.clip)
    if clip.sound_at is None:
        yield None
    elif abs(clip.sound_at) < IN_SYNC:
        yield drive.clip
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sound.wav"
            write_sound(clip, path)
            yield path
