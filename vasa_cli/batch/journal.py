"""What a batch has done, as JSON lines that are only ever appended, each on the disk before work goes on.

    {"event": "batch", "format": "vasa-journal/1", ...}   a run begins
    {"event": "start", "id": ..., "output": ...}          a job begins, or begins again
    {"event": "retry", "id": ..., "error": ...}           an attempt failed that may work when repeated
    {"event": "end", "id": ..., "status": ..., ...}       how it ended
    {"event": "finish", "counts": ...}                    the run came to its end

A line that a crash cut short is passed over, and what follows begins on a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vasa_cli import __version__
from vasa_cli.batch.claim import sweep
from vasa_cli.batch.job import Job, Outcome
from vasa_cli.errors import InputError, UsageError
from vasa_cli.files import explain_write

FORMAT = "vasa-journal/1"
_LARGEST = 1 << 30  # bytes


class Journal:
    """The journal at `path`, held so that no second batch writes it; None keeps none.

    last: id to the last "end" line; begun: id to the output of the last "start" line. Raises UsageError.
    """

    def __init__(self, path: Path | None, *, resume: bool = False) -> None:
        self.path = path
        self.last: dict[str, dict[str, Any]] = {}
        self.begun: dict[str, str] = {}
        self._fd: int | None = None
        if path is None:
            return
        try:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as e:
            raise UsageError(_explain(path, e)) from e
        self._hold()
        if resume:
            for line in read_journal(path):
                self._take(line)
        self._end_torn_line()

    def _hold(self) -> None:
        assert self._fd is not None
        try:
            import fcntl

            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            self.close()
            raise UsageError(f"{self.path}: another batch is at work with this journal; wait for it, or give --journal") from e
        except (ImportError, OSError):  # a system or file system without locks
            return

    def _end_torn_line(self) -> None:
        assert self._fd is not None
        assert self.path is not None
        if not self.path.is_file():  # such as /dev/null
            return
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self._write(b"\n")

    def _take(self, line: Mapping[str, Any]) -> None:
        event, job_id = line.get("event", "end"), line.get("id")
        if not isinstance(job_id, str):
            return
        if event == "end" and isinstance(line.get("status"), str):
            self.last[job_id] = dict(line)
        if isinstance(line.get("output"), str):
            self.begun[job_id] = line["output"]

    def is_ours(self, job: Job) -> bool:
        """Whether a batch with this journal began to make this output."""
        return os.path.abspath(self.begun.get(job.id, os.devnull)) == os.path.abspath(job.output)

    def begin(self, jobs: int) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        who = {"version": __version__, "host": socket.gethostname(), "pid": os.getpid(), "time": now}
        self._add({"event": "batch", "format": FORMAT, "jobs": jobs, **who})

    def start(self, job: Job, attempt: int) -> None:
        self._add({"event": "start", "id": job.id, "output": os.path.abspath(job.output), "attempt": attempt})

    def retry(self, outcome: Outcome) -> None:
        self._add({"event": "retry", "id": outcome.id, "attempt": outcome.attempts, "error": outcome.error})

    def end(self, outcome: Outcome) -> None:
        self._add({"event": "end", **outcome.to_json(), "output": os.path.abspath(outcome.output)})

    def finish(self, counts: Mapping[str, int]) -> None:
        self._add({"event": "finish", "counts": dict(counts)})

    def sweep(self) -> None:
        """Remove what runs of this journal left behind as they died."""
        for output in set(self.begun.values()):
            with contextlib.suppress(OSError, ValueError):  # a line that names what cannot be an output
                sweep(Path(output))

    def _add(self, line: Mapping[str, Any]) -> None:
        self._take(line)
        if self._fd is not None:
            self._write((json.dumps(line, ensure_ascii=False) + "\n").encode())

    def _write(self, data: bytes) -> None:
        """All of it, on the disk. Raises UsageError: a batch that cannot write down what it does must stop."""
        assert self._fd is not None
        assert self.path is not None
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError as e:
            import errno

            if e.errno != errno.EINVAL:  # what fsync says of /dev/null
                raise UsageError(_explain(self.path, e)) from e

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole lines. Raises InputError when the file cannot be read."""
    try:
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: larger than {_LARGEST >> 20} MB, so no journal of a batch; move it away")
        texts = path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError as e:
        raise InputError(f"{path}: the journal cannot be read ({e.strerror or e})") from e
    lines = []
    for text in texts:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _explain(path: Path, error: OSError) -> str:
    return explain_write(path, error).replace("-o", "--journal")
