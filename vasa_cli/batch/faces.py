"""`--no-cache`, or a cache that cannot be written, and still every photo is encoded once: jobs of one face share it in a private
folder while the batch runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vasa_cli.batch.job import Job
from vasa_cli.errors import VasaError
from vasa_cli.record import face_is_cached
from vasa_cli.requests import EncodeRequest, GenerateRequest


@contextlib.contextmanager
def shared_faces(jobs: Sequence[Job], *, apart: bool) -> Iterator[list[Job]]:
    """The same jobs; with `apart`, those that share a face that no cache has share it through a folder of their own, which nobody
    else can read and which is gone afterwards. It lies in the system's temporary folder, where a batch that was killed may leave
    it."""
    counts = Counter(job.face_key() for job in jobs) if apart else Counter()
    first = {job.face_key(): job.encoding for job in reversed(jobs)}
    shared = {key for key, count in counts.items() if count > 1 and (face := first[key]) is not None and not _is_cached(face)}
    if not shared:
        yield list(jobs)
        return
    with tempfile.TemporaryDirectory(prefix="vasa-faces-", ignore_cleanup_errors=True) as folder:
        yield [_with_cache(job, Path(folder)) if job.face_key() in shared else job for job in jobs]


def _is_cached(face: EncodeRequest) -> bool:
    try:
        return face.use_cache and face_is_cached(face)
    except VasaError:  # the job itself says what is wrong
        return True


def _with_cache(job: Job, folder: Path) -> Job:
    face: EncodeRequest | None = replace(job.face, cache_dir=folder, use_cache=True) if job.face is not None else None
    if isinstance(job.request, GenerateRequest):  # only its face is encoded
        return replace(job, face=face)
    return replace(job, face=face, request=replace(job.request, cache_dir=folder, use_cache=True))
