"""What is fuzzed: each reader of a stranger's file as a function of bytes. It may raise VasaError and nothing else.

Used by `scripts/fuzz.py` (long, coverage-guided) and by `tests/test_fuzz.py` (short, fixed seeds).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vasa_cli.batch.claim import claim_path
from vasa_cli.batch.job import Job, Outcome, job_key
from vasa_cli.batch.journal import Journal, read_journal
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.run import plan
from vasa_cli.batch.summary import summary
from vasa_cli.batch.summary import table as summary_table
from vasa_cli.errors import InputError, UsageError, VasaError
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.presets import read_preset
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.cache import FaceCache
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.portrait.pixels import read_photo
from vasa_cli.record import request_from
from vasa_cli.requests import MotionOptions, RenderRequest
from vasa_cli.seal import sealed
from vasa_cli.stream.control import LiveControls
from vasa_cli.stream.control_reader import ControlReader
from vasa_cli.stream.pcm import PcmDecoder, WavReader
from vasa_cli.trust import inspect as inspection
from vasa_cli.trust.marks import _of_tags, _of_xmp, container_of, mark_of, tags_in
from vasa_cli.trust.sign import signature_of
from vasa_cli.video.provenance import XMP_BOX, read_box
from vasa_cli.weights.registry import load_tensors
from vasa_cli.words import to_json

CORPUS = Path(__file__).parent / "corpus"
LONGEST_LINE = 2000  # characters of an error message: it has to fit a terminal


class NoLine(Exception):
    """An error whose message is no line for people."""


def checked(read: Callable[[bytes, Path], object]) -> Callable[[bytes, Path], None]:
    """Let errors pass that a user would see as one line; all else is a finding."""

    def run(data: bytes, folder: Path) -> None:
        try:
            read(data, folder)
        except VasaError as e:
            if len(str(e)) > LONGEST_LINE or not str(e).strip():
                raise NoLine(f"{len(str(e))} characters: {str(e)[:80]!r}") from e

    return run


def _file(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _tensors(data: bytes, folder: Path, name: str, zeros: int = 0) -> Path:
    """A .safetensors file. Its header's length is mended, that damage gets past the first eight bytes (where the last of them is
    0: otherwise it stays). zeros: so many bytes more, that the corpus need not hold."""
    if len(data) > 8 and data[7] == 0:
        end = data.rfind(b"}") + 1
        while data[end : end + 1] == b" ":  # the header is padded
            end += 1
        data = max(end - 8, 0).to_bytes(8, "little") + data[8:]
    path = _file(data, folder, name)
    os.truncate(path, len(data) + zeros)
    return path


def preset(data: bytes, folder: Path) -> None:
    read_preset(_file(data, folder, "a.yaml")).spec.to_controls().curves(7, Fraction(25))


def manifest(data: bytes, folder: Path) -> None:
    """The first byte chooses the format."""
    form = ("auto", "yaml", "jsonl", "csv")[data[0] % 4] if data else "auto"
    (folder / "manifest").mkdir(exist_ok=True)
    with contextlib.chdir(folder / "manifest") if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        for job in read_manifest(str(_file(data[1:], folder / "manifest", "jobs")), Shared(weights="smoke"), form=form):
            _confined(job, folder)


def _confined(job: object, folder: Path) -> None:
    output = getattr(getattr(job, "request", None), "output", None)
    if output is not None and not Path(output).is_absolute() and ".." in Path(output).parts:
        raise NoLine(f"an output that climbs out of its folder: {output}")


FACE_DATA = 543_400  # bytes behind the header of the corpus' smallest face


def face(data: bytes, folder: Path) -> None:
    path = _tensors(data, folder, "a.face.safetensors", FACE_DATA)
    with contextlib.suppress(InputError):
        FaceLatent.load(path).shrunk(256)
    sealed(path)  # a seal that cannot be read is none: it never raises


def motion(data: bytes, folder: Path) -> None:
    track = MotionTrack.load(_tensors(data, folder, "a.safetensors"))
    track.select(slice(0, 3))


def receipt(data: bytes, folder: Path) -> None:
    """Far enough to ask for the inputs: photo and sound lie beside it."""
    (folder / "p.png").write_bytes(b"x")
    request = request_from(_file(data, folder, "a.mp4.json"), None).request
    if request.output.resolve().parent != folder.resolve() and folder.resolve() not in request.output.resolve().parents:
        raise NoLine(f"an output elsewhere: {request.output}")


def control(data: bytes, folder: Path) -> None:
    live = LiveControls(Controls.default(), Fraction(25))
    reader = ControlReader(os.open(os.devnull, os.O_RDONLY), live, lambda text: None)
    try:
        half = len(data) // 2
        for piece in (data[:half], data[half:], b"\n"):
            reader.feed(piece)
        live.curves(0, 6)
        live.curves(4, 30)
    finally:
        os.close(reader._fd)


def wav(data: bytes, folder: Path) -> None:
    reader, sound = WavReader("stdin"), b""
    at = data[-1] if data else 0
    for piece in (data[:at], data[at:]):
        sound += reader.push(piece)
    sound += reader.finish()
    if reader.form is not None:
        samples = PcmDecoder(reader.form).push(sound)
        assert samples.shape[1] == reader.form.channels and len(sound) <= len(data)


def weights(data: bytes, folder: Path) -> None:
    _tensors(data, folder, "tongue.safetensors")
    load_tensors("tongue", root=folder)


def photo(data: bytes, folder: Path) -> None:
    rgb = read_photo(_file(data, folder, "a.jpg"), least=1)
    assert rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.dtype == "uint8"


def inspected(data: bytes, folder: Path) -> None:
    """What `vasa inspect` reads by itself; ffmpeg, which it asks about videos and their tags, is a process of its own. Tags are
    read from what ffmpeg would say: the input itself."""
    path = _file(data, folder, "a.bin")
    container = container_of(path)
    if container == "mp4":
        read_box(path, XMP_BOX)
        _of_xmp(data, "")
    elif container == "matroska":
        _of_tags(tags_in(data))
    elif container in ("ts", "y4m"):
        mark_of(path, container)
    else:
        inspection.table(inspection.inspect(path))
    signature_of(path)


def cache(data: bytes, folder: Path) -> None:
    """A cache folder that others have written into: its entry, the lock beside it, a part file. Nothing of it may raise, and
    nothing outside may go away. The first byte chooses what is damaged."""
    root, witness = folder / "faces", folder / "witness.part-1"
    root.mkdir(exist_ok=True)
    witness.touch()
    faces = FaceCache(root)
    entry = faces.path_of("0", "largest", None, "0")
    kind, body = (data[0] % 3, data[1:]) if data else (0, b"")
    if kind == 0:
        _tensors(body, root, entry.name, FACE_DATA)
        faces._read(entry, "0", "0")
    elif kind == 1:
        (root / f"{entry.name}.lock").write_bytes(body)
        with faces._alone(entry):
            pass
        (root / f"{entry.name}.lock").write_bytes(body)
    else:
        (root / f"{entry.name}.part-1").write_bytes(body)
    faces.sweep()
    faces.prune(max_age_days=1, max_bytes=1 << 20)
    faces.clear()
    assert witness.exists() and not entry.exists()


def journal(data: bytes, folder: Path) -> None:
    """--resume with a journal from anywhere, over outputs that are there, and the claims beside them. The first byte chooses
    whether the input is the journal or a claim."""
    place = folder / "jobs.journal.jsonl"
    output = folder / "out.mp4"
    for path in (folder / "p.png", folder / "s.wav", output):
        path.write_bytes(b"x")
    text, claim = (data[1:], b"") if data and data[0] % 2 else (b'{"event": "start", "id": "a", "output": "out.mp4"}', data[1:])
    jobs = [Job("a", RenderRequest(folder / "p.png", folder / "s.wav", output, MotionOptions(weights="smoke")))]
    place.write_bytes(text.replace(b"OUT", str(output).encode()).replace(b"KEY", job_key(jobs[0]).encode()))
    claim_path(output).write_bytes(claim)
    with Journal(place, resume=True) as found:
        with contextlib.suppress(UsageError):  # an output that no journal speaks of
            planned = plan(jobs, found, resume=True)
            outcomes = [*planned.skipped, *planned.left, *(Outcome(j.id, "failed", str(j.output)) for j in planned.todo)]
            summary_table(outcomes, summary(outcomes, 1.0))
            to_json([o.to_json() for o in outcomes])
        found.sweep()
    read_journal(place)


READERS = {
    f.__name__: f for f in (preset, manifest, face, motion, receipt, cache, journal, inspected, control, wav, weights, photo)
}
TARGETS = {name: checked(read) for name, read in READERS.items()}


def seeds(name: str) -> list[bytes]:
    """The corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
