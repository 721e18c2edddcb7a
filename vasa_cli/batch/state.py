"""What a batch has done so far: one JSON line a job, appended as it ends, so that an interrupted batch can go on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from vasa_cli.batch.manifest import Job
from vasa_cli.errors import UsageError
from vasa_cli.files import explain_write, sha256_file
from vasa_cli.video.formats import exists


def job_key(job: Job) -> str:
    """Changes when anything changes that the result depends on: options, controls, or the content of an input."""
    request = job.request
    spec: dict[str, Any] = {
        f.name: getattr(request, f.name)
        for f in dataclasses.fields(request)
        if f.name
        not in ("portrait", "audio", "track", "drive", "motion", "picture", "output", "cache_dir", "use_cache", "overwrite")
    }
    spec["motion"] = {f.name: getattr(request.motion, f.name) for f in dataclasses.fields(request.motion) if f.name != "controls"}
    picture = request.picture
    spec["picture"] = [picture.fit, picture.size, picture.background.text]
    spec["controls"] = request.motion.controls.to_json()
    drive = request.drive
    spec["drive_mode"] = None if drive is None else drive.mode
    spec["output"] = os.path.abspath(request.output)
    inputs = {
        "portrait": request.portrait,
        "audio": request.audio,
        "track": request.track,
        "drive": None if drive is None else drive.clip,
        "background": picture.background.path,
    }
    for name, path in inputs.items():
        spec[name] = None if path is None else sha256_file(path) if path.is_file() else "missing"
    return hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode()).hexdigest()


class State:
    """Append-only record of finished jobs; `path` None keeps none."""

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self.path = path
        self.lines: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        if resume:
            self.lines = _read(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if resume else "w", encoding="utf-8"):
                pass
        except OSError as e:
            raise UsageError(f"{explain_write(path, e).replace('-o', '--state')}") from e

    def is_done(self, job: Job) -> bool:
        """Finished before, with the very same inputs and options, and its video is still there."""
        line = self.lines.get(job.id)
        return bool(line and line.get("status") == "done" and exists(job.request.output) and line.get("key") == job_key(job))

    def add(self, line: dict[str, Any]) -> None:
        self.lines[line["id"]] = line
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
            f.flush()
            os.fsync(f.fileno())


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The last line of each job. A line cut short by a crash is passed over."""
    if not path.is_file():
        return {}
    lines: dict[str, dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("id"), str):
            lines[line["id"]] = line
    return lines
