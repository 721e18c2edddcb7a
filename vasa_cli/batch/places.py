"""Where the jobs of a manifest write, and that none of them writes where another one reads or writes.

Beside an output lie its receipt (OUTPUT.json), its claim (OUTPUT.claim) while it is made, and part files that grow: all of these
names have to be free and possible before the first job starts.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from vasa_cli.batch.claim import claim_path
from vasa_cli.batch.job import Job
from vasa_cli.errors import UsageError
from vasa_cli.files import explain_write, look_at_folder
from vasa_cli.requests import EncodeRequest, GenerateRequest, RenderRequest
from vasa_cli.video.formats import is_sequence
from vasa_cli.video.receipt import receipt_path

LONGEST = 255  # bytes of a file name, on all common file systems
_GROWS = len(".json.part-4194304")  # what is added to the longest name meanwhile


def check_places(jobs: Sequence[Job], name: str) -> None:
    """Refuse a manifest called `name` whose jobs are in each other's way. Raises UsageError naming line and job."""
    real = _Real()
    _check_same(jobs, name, real)
    taken: dict[str, tuple[int, Job, str]] = {}  # place to who writes it
    folders: dict[str, int] = {}  # of sequences
    for number, job in enumerate(jobs, 1):
        for what, path in _written(job):
            before = taken.setdefault(real(path), (number, job, what))
            if before[0] != number:
                raise _error(name, job, number, f"the {what} {path.name!r} is the {before[2]} of job {before[0]}")
        if job.target != job.output:
            folders[real(job.target)] = number
    for number, job in enumerate(jobs, 1):
        inside = folders.get(os.path.dirname(real(job.target))) if folders else None
        if inside is not None:
            raise _error(name, job, number, f"the output lies in the folder of pictures that job {inside} makes")
        for what, path in _read(job):
            if (writer := taken.get(real(path))) is not None:
                text = f"the {writer[2]} {path.name!r} is the {what} of job {number}, and jobs run in any order"
                raise _error(name, writer[1], writer[0], text + "; give it another name, or make it in a batch before this one")


def check_others(jobs: Sequence[Job], others: Mapping[str, Path]) -> None:
    """Refuse further files of a batch that are one another, or that a job reads or writes. others: by what they are called.

    Raises UsageError.
    """
    real = _Real()
    known: dict[str, str] = {}
    for called, path in others.items():
        if (before := known.setdefault(real(path), called)) != called:
            raise UsageError(f"{called} {path}: is {before} too; give each its own file")
    for job in jobs:
        for what, path in (*_written(job), *_read(job)):
            if (clash := known.get(real(path))) is not None:
                raise UsageError(f"{clash} {path}: is also the {what} of the job {job.id!r}; give it another name")


def check_folders(jobs: Sequence[Job]) -> None:
    """Refuse, before the first job, folders that outputs cannot be written to. Raises UsageError."""
    for target in {job.target.parent: job.target for job in jobs}.values():
        try:
            look_at_folder(target)
        except OSError as e:
            raise UsageError(explain_write(target.parent, e).replace("with -o", "with --output-dir")) from e


def _error(name: str, job: Job, number: int, text: str) -> UsageError:
    return UsageError(f"manifest {name}, line {job.line}, job {number}: {text}")


def _check_same(jobs: Sequence[Job], name: str, real: _Real) -> None:
    ids: dict[str, tuple[int, Job]] = {}
    outputs: dict[str, tuple[int, Job]] = {}
    for number, job in enumerate(jobs, 1):
        for what, shown, key, seen in (("id", job.id, job.id, ids), ("output", str(job.output), real(job.target), outputs)):
            before, first = seen.setdefault(key, (number, job))
            if before != number:
                lines = f"lines {first.line} and {job.line}" if first.line != job.line else f"line {first.line}"
                raise UsageError(
                    f"manifest {name}, {lines}: jobs {before} and {number} have the same {what} {shown!r}; give each its own"
                )


def check_name(output: Path, what: str = "output") -> str | None:
    """What is wrong with the name of an output, or None."""
    target = output.parent if is_sequence(output) else output
    most = LONGEST - _GROWS
    for part in target.parts:
        size = len(os.fsencode(part))
        if size > (most if part == target.name else LONGEST):
            return f"{what} {part[:24]}...: a name of {size} bytes; at most {most}, as a receipt is named after it"
    return None


def _written(job: Job) -> Iterator[tuple[str, Path]]:
    yield "output", job.target
    yield "claim", claim_path(job.target)
    if isinstance(job.request, RenderRequest):
        yield "receipt", receipt_path(job.output)


def _read(job: Job) -> Iterator[tuple[str, Path]]:
    """All files that a job takes in."""
    request = job.request
    named: list[tuple[str, Path | None]] = []
    if isinstance(request, EncodeRequest | RenderRequest):
        named.append(("portrait", request.portrait))
    if job.face is not None:
        named.append(("portrait", job.face.portrait))
    if isinstance(request, GenerateRequest | RenderRequest):
        named += [("recording", request.audio), ("clip", request.drive.clip if request.drive is not None else None)]
        named += [("style clip", request.motion.style_from), ("preset", request.motion.preset_file)]
    if isinstance(request, RenderRequest):
        picture = request.picture
        named += [("motion file", request.track), ("background", picture.background.path), ("font", picture.label_font)]
    for what, path in named:
        if path is not None:
            yield what, path


class _Real:
    """A path as the file system knows it: links followed, and one spelling where it does not tell spellings apart."""

    def __init__(self) -> None:
        self._folder = lru_cache(maxsize=4096)(self._look)

    def __call__(self, path: Path) -> str:
        folder, blind = self._folder(os.path.dirname(os.path.abspath(path)))
        place = os.path.join(folder, path.name)
        if os.path.islink(place):
            place = os.path.realpath(place)
        return unicodedata.normalize("NFC", place).casefold() if blind else place

    @staticmethod
    def _look(folder: str) -> tuple[str, bool]:
        return os.path.realpath(folder), case_blind(Path(folder))


def case_blind(folder: Path) -> bool:
    """Whether this folder, or the first one above it that is there, takes A.mp4 and a.mp4 for one file."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    for place in (folder, *folder.parents):
        other = place.with_name(place.name.swapcase()) if place.name else place
        if other.name != place.name:
            try:
                return other.exists() and other.samefile(place)
            except OSError:
                return False
    return os.name == "nt"
