"""--no-cache: nothing is kept, and still every photo is encoded once."""

from __future__ import annotations

import json
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
    jobs: list[Job], tmp_path: Path, latent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vasa_cli.portrait.pixels import pixel_hash

    encoded: list[str] = []

    def encode(rgb: Any, path: Path, **options: Any) -> Any:
        encoded.append(path.name)
        return replace(latent, pixel_hash=pixel_hash(rgb))

    monkeypatch.setattr("vasa_cli.portrait.encode.encode_pixels", encode)
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
    assert sorted(encoded) == ["p0.png", "p1.png"]
    assert not list((tmp_path / "temporary").iterdir())


def test_on_other_machines_and_with_a_cache_nothing_changes(jobs: list[Job]) -> None:
    with shared_faces(jobs, apart=False) as prepared:
        assert prepared == jobs
    alone = [job for job in jobs if job.id in ("e", "f")]
    with shared_faces(alone, apart=True) as prepared:
        assert prepared == alone
        assert isinstance(prepared[0].request, RenderRequest) and not prepared[0].request.use_cache
