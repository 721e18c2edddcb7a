"""A job, how it ended, and whether an earlier run has done it already."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasa_cli import __version__
from vasa_cli.fingerprint import Hashes, Request, digest, plain
from vasa_cli.requests import EncodeRequest, GenerateRequest, RenderRequest
from vasa_cli.video.formats import exists, is_sequence


@dataclass(frozen=True)
class Job:
    """line: of the manifest. face: what `generate` checks besides, and looks at where a clip drives."""

    id: str
    request: Request
    line: int = field(default=0, compare=False)
    face: EncodeRequest | None = None

    @property
    def task(self) -> str:
        return {RenderRequest: "render", GenerateRequest: "generate", EncodeRequest: "encode"}[type(self.request)]

    @property
    def output(self) -> Path:
        assert self.request.output is not None
        return self.request.output

    @property
    def target(self) -> Path:
        """What appears whole: the file, or the folder of a PNG sequence."""
        return self.output.parent if is_sequence(self.output) else self.output

    @property
    def encoding(self) -> EncodeRequest | None:
        """The face that this job needs encoded."""
        request = self.request
        if isinstance(request, RenderRequest):
            return request.encode_request()
        return request if isinstance(request, EncodeRequest) else self.face

    def face_key(self) -> tuple[Any, ...]:
        """Equal for jobs that use one encoded face."""
        face = self.encoding
        return () if face is None else (str(face.portrait), face.face, face.crop, face.size)


@dataclass(frozen=True)
class Outcome:
    """How a job ended. status: 'done', 'failed', 'skipped' (done before) or 'not run' (stopped before its turn)."""

    id: str
    status: str
    output: str
    task: str = "render"
    error: str | None = None
    exit_code: int = 0
    frame_hash: str | None = None  # of encode and generate jobs: the file's sha256
    seconds: float = 0.0  # of work, the last attempt
    key: str | None = None
    size: int | None = None  # bytes of the output
    frames: int | None = None
    encoded: bool = False  # the photo was encoded for this job; False: it came from the cache
    attempts: int = 1
    note: str | None = None
    transient: bool = False  # may work when tried again

    def to_json(self) -> dict[str, Any]:
        empty = {"transient": False, "encoded": False}
        return {k: v for k, v in self.__dict__.items() if v is not None and not (k in empty and v == empty[k])}


def job_key(job: Job, hashes: Hashes | None = None) -> str:
    """Changes when anything changes that the result depends on: options, controls, weights, version, or an input's content."""
    hashes, request = hashes or Hashes(), job.request
    spec: dict[str, Any] = {"version": __version__, "task": job.task, **plain(request, hashes)}
    spec["output"] = os.path.abspath(job.output)
    if job.face is not None:
        spec["look"] = plain(job.face, hashes)
    return digest(spec)


def output_size(job: Job) -> int | None:
    """Bytes of the output, all pictures of a sequence together; None: it is not there."""
    if not exists(job.output):
        return None
    try:
        files = job.target.iterdir() if job.target.is_dir() else [job.target]
        return sum(p.stat().st_size for p in files)
    except OSError:
        return None
