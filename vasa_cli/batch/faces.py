"""`--no-cache`, and still every photo is encoded once: jobs of one face share it in a private folder while the batch runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vasa_cli.batch.job import Job
from vasa_cli.requests import EncodeRequest, GenerateRequest


@contextlib.contextmanager
def shared_faces(jobs: Sequence[Job], *, apart: bool) -> Iterator[list[Job]]:
    """The same jobs; with `apart`, those that share a face share it through a folder of their own, which nobody else can read
    and which is gone afterwards. It lies in the system's temporary folder, where a batch that was killed may leave it."""
    wanted = Counter(job.face_key() for job in jobs)
    if not apart or not any(count > 1 and key for key, count in wanted.items()):
        yield list(jobs)
        return
    with tempfile.TemporaryDirectory(prefix="vasa-faces-", ignore_cleanup_errors=True) as folder:
        yield [_with_cache(job, Path(folder)) if wanted[job.face_key()] > 1 else job for job in jobs]


def _with_cache(job: Job, folder: Path) -> Job:
    face: EncodeRequest | None = replace(job.face, cache_dir=folder, use_cache=True) if job.face is not None else None
    if isinstance(job.request, GenerateRequest):  # only its face is encoded
        return replace(job, face=face)
    return replace(job, face=face, request=replace(job.request, cache_dir=folder, use_cache=True))
