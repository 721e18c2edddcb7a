"""--resume without a journal: what a file itself proves about the request that made it, and which files may be replaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Vasa, assert_fails_well

from vasa_cli.batch.claim import claim_path
from vasa_cli.batch.job import Job, Outcome
from vasa_cli.batch.journal import Journal
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.run import plan, run_batch
from vasa_cli.errors import UsageError
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.seal import seal, sealed

Rows = Callable[..., list[Job]]


@pytest.fixture
def rows(tmp_path: Path, astronaut: Path, speech: Path, cache_dir: Path, face: Path) -> Rows:
    """Jobs of an encode and a generate row; what is given changes one of them: rows(encode={...}, generate={...})."""
    shutil.copy(astronaut, tmp_path / "p.png")
    shutil.copy(speech, tmp_path / "s.wav")

    def make(**more: dict[str, Any]) -> list[Job]:
        encode = {"id": "e", "task": "encode", "portrait": "p.png", **more.get("encode", {})}
        generate = {"id": "g", "task": "generate", "audio": "s.wav", "weights": "smoke", **more.get("generate", {})}
        (tmp_path / "jobs.jsonl").write_text(f"{json.dumps(encode)}\n{json.dumps(generate)}\n")
        return read_manifest(str(tmp_path / "jobs.jsonl"), Shared(cache_dir=cache_dir))

    return make


def resumed(jobs: list[Job]) -> list[str]:
    return [outcome.status for outcome in run_batch(jobs, resume=True)]


def test_face_and_motion_files_say_what_they_were_made_from(rows: Rows, tmp_path: Path) -> None:
    first = run_batch(rows())
    assert [o.status for o in first] == ["done", "done"]
    assert isinstance(FaceLatent.load(tmp_path / "e.safetensors"), FaceLatent)  # readers of before there were seals
    assert len(MotionTrack.load(tmp_path / "g.motion.safetensors")) == 6
    again = run_batch(rows(), resume=True)  # no journal
    assert [(o.status, o.frame_hash) for o in again] == [("skipped", o.frame_hash) for o in first]
    assert resumed(rows(generate={"seed": 5})) == ["skipped", "done"]
    assert resumed(rows(generate={"seed": 5}, encode={"size": 1024})) == ["done", "skipped"]
    assert resumed(rows(generate={"seed": 5, "device": "cpu"}, encode={"size": 1024})) == ["skipped", "skipped"]
    assert resumed(rows(generate={"seed": 5, "device": "cuda"}, encode={"size": 1024}))[1] == "failed"  # another device's bits
    with (tmp_path / "s.wav").open("r+b") as f:
        f.seek(-1, os.SEEK_END)
        f.write(b"\7")
    assert resumed(rows(generate={"seed": 5}, encode={"size": 1024})) == ["skipped", "done"]


def test_a_file_that_somebody_edited_is_not_ours_any_more(rows: Rows, tmp_path: Path) -> None:
    assert [o.status for o in run_batch(rows()[1:])] == ["done"]
    made = tmp_path / "g.motion.safetensors"
    raw = made.read_bytes()
    for changed in (raw[:-1] + bytes([raw[-1] ^ 1]), raw.replace(b'"seed":"', b'"seeD":"'), b"", b"text"):
        made.write_bytes(changed)
        assert sealed(made) is None
        with pytest.raises(UsageError, match=r"g\.motion\.safetensors: exists already"):
            plan(rows()[1:], Journal(None), resume=True)
    track = MotionTrack.load(made.with_name("g.motion.safetensors")) if made.write_bytes(raw) else None
    assert track is not None
    track.save(made)  # as an older version wrote it, without a seal
    assert sealed(made) is None
    seal(made, {})
    assert resumed(rows()[1:]) == ["done"]  # ours, but from what?


def test_what_vasa_render_made_is_done_again_when_the_row_changed(vasa: Vasa, tmp_path: Path, face: Path, speech: Path) -> None:
    out = tmp_path / "a.mp4"
    made = vasa("render", face, speech, "-o", out, "--weights", "smoke", "--size", 256, "--seed", 1)
    assert made.returncode == 0, made.stderr
    row = {"id": "a", "portrait": str(face), "audio": str(speech), "size": 256, "seed": 1}

    def batch(*more: object, **change: Any) -> Any:
        text = json.dumps({**row, **change})
        return vasa("batch", "-", "--output-dir", tmp_path, "--weights", "smoke", "--resume", "--json", *more, stdin=text)

    assert json.loads(batch().stdout)["counts"]["skipped"] == 1
    assert json.loads(batch(seed=2).stdout)["counts"]["done"] == 1
    assert json.loads((tmp_path / "a.mp4.json").read_text())["seed"] == 2
    edited = out.read_bytes()[:-1] + b"?"
    out.write_bytes(edited)
    assert_fails_well(batch(seed=3), 2, "a.mp4: exists already")
    assert_fails_well(batch(seed=2), 2, "a.mp4: exists already")
    (tmp_path / "a.mp4.json").unlink()
    assert_fails_well(batch(seed=3), 2, "a.mp4: exists already")
    assert out.read_bytes() == edited
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]


def dead_holder(target: Path) -> None:
    """Leave behind what a process does that dies by SIGKILL while it makes `target`."""
    code = (
        "import os, signal, sys; from pathlib import Path; from vasa_cli.batch.claim import claimed\n"
        "from vasa_cli.files import part_path\n"
        "t = Path(sys.argv[1])\n"
        "with claimed(t) as c:\n"
        "    c.sign('key'); part_path(t).touch(); t.write_bytes(b'video'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code, str(target)], env=env).returncode == -signal.SIGKILL


def test_what_a_batch_without_journal_left_as_it_died_is_known_and_removed(rows: Rows, tmp_path: Path) -> None:
    jobs = rows()[1:]
    dead_holder(jobs[0].output)
    other = tmp_path / "other.mp4"
    other.touch()
    blocked = replace(jobs[0], id="b", request=replace(jobs[0].request, output=other))
    with pytest.raises(UsageError, match=r"other\.mp4: exists already"):
        plan([*jobs, blocked], Journal(None), resume=True)
    assert claim_path(jobs[0].output).exists()  # a batch that is refused changes nothing: the next one still knows
    with pytest.raises(UsageError, match="exists already"):
        plan(jobs, Journal(None))
    assert resumed(jobs) == ["done"]
    dead_holder(tmp_path / "g.motion.safetensors")
    other.unlink()
    assert sorted(p.name for p in tmp_path.glob("g.motion*")) != ["g.motion.safetensors"]
    assert resumed(jobs) == ["done"]
    assert [p.name for p in tmp_path.glob("g.motion*")] == ["g.motion.safetensors"]


def test_an_output_that_another_batch_is_making_is_waited_for(rows: Rows, tmp_path: Path) -> None:
    """Between a video and its receipt nothing proves whose it is, but that it is at work."""
    from vasa_cli.batch.claim import claimed

    job = rows()[1]
    job.output.write_bytes(b"half")
    with claimed(job.output) as claim:
        claim.sign("key")
        planned = plan([job], Journal(None), resume=True)
    assert [(j.id, j.request.overwrite) for j in planned.todo] == [("g", False)]
    job.output.unlink()
    outcomes: list[Outcome] = run_batch([job])
    assert [o.status for o in outcomes] == ["done"]
