"""--no-cache, caches and disks that take nothing: every photo is still encoded once, and nothing half-written stays."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Vasa

from vasa_cli import pipeline
from vasa_cli.batch.faces import shared_faces
from vasa_cli.batch.job import Job, job_key
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.requests import EncodeRequest, RenderRequest


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two renders, an encode and a generate of one photo, one render of another, a generate without any."""
    from PIL import Image

    for i in range(2):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(tmp_path / f"p{i}.png")
    rows: list[dict[str, Any]] = [
        {"id": "a", "portrait": "p0.png", "audio": "s.wav"},
        {"id": "b", "portrait": "p0.png", "audio": "s.wav"},
        {"id": "c", "portrait": "p0.png", "task": "encode"},
        {"id": "d", "portrait": "p0.png", "audio": "s.wav", "task": "generate"},
        {"id": "e", "portrait": "p1.png", "audio": "s.wav"},
        {"id": "f", "audio": "s.wav", "task": "generate"},
    ]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return read_manifest(str(tmp_path / "jobs.jsonl"), Shared(use_cache=False))


def test_photos_of_several_rows_are_encoded_once_and_nothing_is_kept(
    jobs: list[Job], tmp_path: Path, encodings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    keys = [job_key(job) for job in jobs]
    with shared_faces(jobs, apart=True) as prepared:
        assert [job_key(job) for job in prepared] == keys  # no journal or receipt sees a difference
        (folder,) = (tmp_path / "temporary").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for job in prepared:
            request: EncodeRequest | None = job.encoding
            if request is not None:
                pipeline.encode(request)
        assert len(list(folder.iterdir())) == 1  # of the photo that only one row uses, nothing is written
    assert sorted(encodings) == ["p0.png", "p1.png"]
    assert not list((tmp_path / "temporary").iterdir())


def test_on_other_machines_and_with_a_cache_nothing_changes(jobs: list[Job]) -> None:
    with shared_faces(jobs, apart=False) as prepared:
        assert prepared == jobs
    alone = [job for job in jobs if job.id in ("e", "f")]
    with shared_faces(alone, apart=True) as prepared:
        assert prepared == alone
        assert isinstance(prepared[0].request, RenderRequest) and not prepared[0].request.use_cache


def test_what_a_cache_has_is_taken_from_there_even_where_nothing_can_be_added(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = [replace(job, request=replace(job.request, use_cache=True)) for job in jobs if job.task == "render"]
    cached.append(replace(cached[0], id="again"))
    for answer in (True, False):
        monkeypatch.setattr("vasa_cli.batch.faces.face_is_cached", lambda face, answer=answer: answer)
        with shared_faces(cached, apart=True) as prepared:
            assert (prepared == cached) is answer


def test_a_cache_that_cannot_be_written_costs_one_encoding_a_photo(
    vasa: Vasa, tmp_path: Path, astronaut: Path, speech: Path
) -> None:
    rows = [{"id": name, "portrait": str(astronaut), "audio": str(speech), "size": 256} for name in "ab"]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "file").touch()
    env = {"VASA_CACHE_DIR": str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path)}
    before = {p.name for p in tmp_path.iterdir()}
    done = vasa("batch", tmp_path / "jobs.jsonl", "--weights", "smoke", "--output-dir", tmp_path / "out", "--json", env=env)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["counts"]["done"], said["encodes"]) == (2, 1)
    assert {p.name for p in tmp_path.iterdir()} == before | {"out", "jobs.jsonl.journal.jsonl"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of files by a shell's ulimit")
@pytest.mark.parametrize("task", ["encode", "generate"])
def test_a_full_disk_is_one_line_and_no_file(
    environment: dict[str, str], tmp_path: Path, face: Path, astronaut: Path, speech: Path, task: str
) -> None:
    words = [astronaut] if task == "encode" else [face, speech, "--weights", "smoke"]
    out = tmp_path / "out.safetensors"
    run = [sys.executable, "-m", "vasa_cli", task, *map(str, words), "-o", str(out), "--quiet"]
    done = subprocess.run(["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *run], env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
    assert list(tmp_path.iterdir()) == []
