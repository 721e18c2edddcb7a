"""Worker processes: nothing outlives the batch, whoever is killed; what users set reaches every worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Vasa

from vasa_cli.batch import cluster
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.run import Queue
from vasa_cli.forked import can_fork

MARK = "VASA_TEST_OF_POOL"
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc, as Linux has it")


@pytest.fixture
def manifest(tmp_path: Path, face: Path, speech: Path) -> Path:
    rows = [{"id": name, "portrait": str(face), "audio": str(speech), "size": 256} for name in "ab"]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "jobs.jsonl"


def marked(value: str) -> list[str]:
    """Command lines of living processes that were started, directly or not, with MARK=value."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={value}".encode() in (place / "environ").read_bytes().split(b"\0"):
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if words:  # else it has ended, and waits to be reaped
                    found.append(words)
        except OSError:
            continue
    return found


def at_work(folder: Path) -> bool:
    """Whether a worker has signed for an output."""
    for claim in folder.glob("*.claim"):
        try:
            if claim.stat().st_size:
                return True
        except OSError:  # done, and removed
            continue
    return False


POOL = ("--jobs", "2")
DASK = ("--cluster", "local:2")


@NEEDS_PROC
@pytest.mark.parametrize(
    ("how", "number", "group", "times"),
    [
        (POOL, signal.SIGKILL, False, 1),
        (POOL, signal.SIGTERM, False, 1),
        (POOL, signal.SIGTERM, True, 1),
        (POOL, signal.SIGHUP, True, 1),
        (POOL, signal.SIGINT, True, 2),
        (DASK, signal.SIGINT, True, 2),
        (DASK, signal.SIGTERM, False, 1),
    ],
    ids=["kill", "term", "term-all", "hup-all", "int-twice", "dask-int-twice", "dask-term"],
)
def test_no_process_outlives_the_batch(
    environment: dict[str, str], manifest: Path, how: tuple[str, str], number: int, group: bool, times: int
) -> None:
    """Whether only the batch gets the signal or, as from a closing terminal or a CI runner, all of its processes; and who is
    impatient leaves no more behind."""
    if how is DASK:
        pytest.importorskip("distributed", reason="needs the extra cluster")
    words = [sys.executable, "-m", "vasa_cli", "batch", str(manifest), "--weights", "smoke", *how, "--quiet"]
    value = f"{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(
        words, env={**environment, MARK: value}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while not at_work(manifest.parent):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    assert len(marked(value)) >= 3  # the batch and both workers, perhaps what they are copies of, perhaps ffmpeg
    for _ in range(times):
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while left := marked(value):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    if number != signal.SIGKILL:
        assert (process.returncode, said.splitlines()[-1:]) == (130, ["vasa: interrupted"])
        names = {p.name for p in manifest.parent.iterdir()}
        whole = {f"{job}.mp4{suffix}" for job in "ab" for suffix in ("", ".json")}
        assert names <= whole | {"jobs.jsonl", "jobs.jsonl.journal.jsonl"}, names


USE = """
import os, sys
from vasa_cli.batch import pool
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.run import Queue

def outcomes(jobs):
    ended = pool.Pool(1, 1).run(Queue(jobs), lambda task: None, lambda *a, **k: None)
    print([outcome.error or outcome.status for _, outcome in ended][0], flush=True)

if __name__ == "__main__":
    if sys.argv[2] == "False":
        pool.can_fork = lambda: False
    jobs = read_manifest(sys.argv[1], Shared(weights="smoke"))
    os.environ.pop("VASA_MAX_DURATION", None)
    outcomes(jobs[:1])
    os.environ["VASA_MAX_DURATION"] = "0.05"
    outcomes(jobs[1:])
"""


@pytest.mark.parametrize("copies", [pytest.param(True, marks=pytest.mark.skipif(not can_fork(), reason="only on Linux")), False])
def test_workers_take_the_settings_of_now(environment: dict[str, str], manifest: Path, copies: bool) -> None:
    """Also when the process that they are copies of was started under others; and where there are no copies. In a program of its
    own: what workers are copies of lives as long as the program."""
    (manifest.parent / "use.py").write_text(USE)
    words = [sys.executable, str(manifest.parent / "use.py"), str(manifest), str(copies)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "done"
    assert "--max-duration" in second


def test_a_worker_with_another_version_or_weights_says_so(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make other frames under a receipt that looks right; nothing is written."""
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    monkeypatch.setattr(distributed, "get_worker", SimpleNamespace)
    job = read_manifest(str(manifest), Shared(weights="smoke"))[0]
    here = cluster.installed(job)
    assert {"vasa", "face encoder", "motion weights", "speech weights"} <= set(here)
    there = {**here, "vasa": "9.9", "motion weights": "0" * 64}
    outcome = cluster.do(job, 1, None, None, {}, there)
    assert (outcome.status, outcome.exit_code, outcome.transient) == ("failed", 5, False)
    assert "another motion weights, vasa; install the same" in (outcome.error or "")
    assert not job.output.exists()


@pytest.mark.skipif(not can_fork(), reason="only on Linux are there copies")
def test_a_long_temporary_folder_is_no_hindrance(vasa: Vasa, tmp_path: Path, manifest: Path) -> None:
    """Sockets have short names: such as those of a CI runner's folders are not, and workers are then started another way."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    done = vasa("batch", manifest, "--weights", "smoke", "--jobs", 2, env={"TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("closed", ["2>&-", ">&-"])
def test_a_closed_stream_changes_nothing(environment: dict[str, str], tmp_path: Path, closed: str) -> None:
    """It was an internal error, or one after the work was done; and the first file opened took the stream's number."""
    (tmp_path / "jobs.jsonl").write_text('{"id": "a", "portrait": "p.png", "audio": "s.wav"}\n')
    shell = f'exec "{sys.executable}" -m vasa_cli batch jobs.jsonl --json {closed}'
    done = subprocess.run(["sh", "-c", shell], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 8, done.stderr
    assert "internal error" not in done.stderr and "Traceback" not in done.stderr
    assert ('"failed": 1' in done.stdout) == (closed == "2>&-")
    journal = (tmp_path / "jobs.jsonl.journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in journal] == ["batch", "start", "end", "finish"]


def test_a_reader_that_goes_away_ends_the_batch_in_order(environment: dict[str, str], manifest: Path) -> None:
    call = f'"{sys.executable}" -m vasa_cli batch "{manifest}" --weights smoke --jobs 2'
    words = f"{call} 2>&1 >/dev/null | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", words], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.stderr) == (["1"], "")
    left = {p.name for p in manifest.parent.iterdir()}
    whole = {f"{job}.mp4{suffix}" for job in "ab" for suffix in ("", ".json")}
    assert left <= whole | {"jobs.jsonl", "jobs.jsonl.journal.jsonl"}, left


def test_a_scheduler_without_workers_is_waited_for_aloud(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    monkeypatch.setattr(distributed, "as_completed", lambda futures, with_results: iter(futures))
    client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": {}})
    monkeypatch.setattr(cluster.Dask, "_client", lambda self: contextlib.nullcontext(client))
    said: list[str] = []
    dask = cluster.Dask("tcp://10.0.0.1:8786")
    assert list(dask.run(Queue([]), lambda task: None, lambda job, kind, text: said.append(text))) == []
    assert len(said) == 1
    assert "no worker at tcp://10.0.0.1:8786 yet" in said[0]
