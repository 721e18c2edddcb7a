"""Batches that meet trouble: too little memory, dead workers, jobs that hang, other batches, damaged caches, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Vasa, assert_fails_well

from vasa_cli import pipeline
from vasa_cli.batch.claim import claim_path, claimed, sweep
from vasa_cli.batch.done import same_as_receipt
from vasa_cli.batch.job import Hashes, Job, Outcome
from vasa_cli.batch.journal import Journal
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.perform import Workshop, perform
from vasa_cli.batch.run import run_batch
from vasa_cli.errors import EncoderError, MemoryShortage
from vasa_cli.portrait.cache import FaceCache
from vasa_cli.progress import Reporter

SMOKE = ("--weights", "smoke")


def job_in(folder: Path, **more: Any) -> Job:
    for name in ("p.png", "s.wav"):
        (folder / name).write_bytes(name.encode())
    text = json.dumps({"id": "a", "portrait": "p.png", "audio": "s.wav", **more})
    (folder / "jobs.jsonl").write_text(text)
    return read_manifest(str(folder / "jobs.jsonl"), Shared())[0]


def result_of(request: pipeline.RenderRequest) -> pipeline.RenderResult:
    request.output.write_bytes(b"video")
    return pipeline.RenderResult(request.output, request.output, 1, Fraction(25), "sha256:1", True, {})


Fake = Callable[[Callable[[pipeline.RenderRequest], None]], None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replace render: fake(what happens first)."""

    def put(first: Callable[[pipeline.RenderRequest], None]) -> None:
        def render(request: pipeline.RenderRequest, reporter: Any = None, models: Any = None) -> pipeline.RenderResult:
            first(request)
            return result_of(request)

        monkeypatch.setattr(pipeline, "render", render)

    return put


@pytest.mark.parametrize(("device", "enough"), [("auto", "fewer"), ("auto", "cpu"), ("cuda", "never")])
def test_a_graphics_card_without_memory_gets_less_then_the_processor_works(
    device: str, enough: str, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[tuple[int, str]] = []

    def first(request: pipeline.RenderRequest) -> None:
        tries.append((request.halvings, request.motion.device))
        if not (enough == "fewer" and request.halvings == 2) and request.motion.device != "cpu":
            raise MemoryShortage("cuda: out of memory")

    fake(first)
    monkeypatch.setattr("vasa_cli.device.resolve_device", lambda name: "cuda" if name == "auto" else name)
    outcome = perform(job_in(tmp_path, device=device), Reporter(), Workshop())
    halved = [(0, device), (1, device), (2, device), (3, device)]
    assert tries == {"fewer": halved[:3], "cpu": [*halved, (0, "cpu")], "never": halved}[enough]
    assert outcome.status == ("failed" if enough == "never" else "done")
    assert outcome.transient == (enough == "never")
    assert enough == "never" or "out of memory at first" in str(outcome.note)


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(tmp_path: Path, fake: Fake) -> None:
    tries: list[int] = []

    def start_fails(request: pipeline.RenderRequest) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise EncoderError("ffmpeg cannot be started") from BlockingIOError(11, "Resource temporarily unavailable")

    fake(start_fails)
    with Journal(tmp_path / "j") as journal:
        assert [(o.status, o.attempts) for o in run_batch([job_in(tmp_path)], journal)] == [("done", 3)]
    assert [json.loads(line)["event"] for line in (tmp_path / "j").read_text().splitlines()] == [
        "batch", "start", "retry", "start", "retry", "start", "end", "finish",
    ]  # fmt: skip

    def missing(request: pipeline.RenderRequest) -> None:
        tries.append(1)
        raise EncoderError("ffmpeg cannot be started") from FileNotFoundError(2, "No such file")

    tries.clear()
    fake(missing)
    (tmp_path / "a.mp4").unlink()
    assert [o.attempts for o in run_batch([job_in(tmp_path)])] == [1]
    assert len(tries) == 1


def test_a_full_disk_fails_its_job_only(tmp_path: Path, fake: Fake) -> None:
    def first(request: pipeline.RenderRequest) -> None:
        if request.output.stem == "a":
            raise EncoderError(f"{request.output}: no space left on the disk")

    fake(first)
    a = job_in(tmp_path)
    b = replace(a, id="b", request=replace(a.request, output=tmp_path / "b.mp4"))
    assert [o.status for o in run_batch([a, b])] == ["failed", "done"]
    assert not list(tmp_path.glob("*.claim"))


def test_a_claim_is_waited_for_and_a_dead_ones_parts_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    holder = (
        "import sys, time; from pathlib import Path; from vasa_cli.batch.claim import claimed\n"
        "from vasa_cli.files import part_path\n"
        "t = Path(sys.argv[1])\n"
        "with claimed(t) as c:\n"
        "    c.sign('key'); part_path(t).touch(); part_path(t.with_name('a.mp4.json')).touch(); print('on', flush=True)\n"
        "    time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", holder, str(target)], stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    process.stdout.readline()
    other = tmp_path / "a.mp4.part-1"  # of somebody else
    other.touch()
    sweep(target)  # it lives: nothing is touched
    assert len(list(tmp_path.iterdir())) == 4
    process.send_signal(signal.SIGKILL)
    process.wait()
    with claimed(target) as claim:
        assert claim.left
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4.claim", other.name]
    assert list(tmp_path.iterdir()) == [other]
    assert not claim_path(target).exists()


def test_a_hundred_rows_over_five_photos_encode_five_times(tmp_path: Path, encodings: list[str], fake: Fake) -> None:
    from PIL import Image

    def only_encode(request: pipeline.RenderRequest) -> None:
        pipeline.encode(request.encode_request())

    fake(only_encode)
    for i in range(5):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(tmp_path / f"p{i}.png")
    (tmp_path / "s.wav").write_bytes(b"x")
    rows = [{"id": str(i), "portrait": f"p{i % 5}.png", "audio": "s.wav"} for i in range(100)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    jobs = read_manifest(str(tmp_path / "jobs.jsonl"), Shared(output_dir=tmp_path / "o", cache_dir=tmp_path / "cache"))
    assert {o.status for o in run_batch(jobs)} == {"done"}
    assert sorted(encodings) == [f"p{i}.png" for i in range(5)]
    entry = next((tmp_path / "cache").glob("*.safetensors"))
    entry.write_bytes(entry.read_bytes()[:1000])  # damaged: encoded again, whoever asks
    again = [replace(job, request=replace(job.request, overwrite=True)) for job in jobs]
    assert {o.status for o in run_batch(again)} == {"done"}
    assert len(encodings) == 6


def test_two_processes_that_want_a_face_encode_it_once(tmp_path: Path) -> None:
    cache = FaceCache(tmp_path)
    entry = tmp_path / "x.face.safetensors"
    with cache._alone(entry):
        waits = (
            f"from pathlib import Path\nfrom vasa_cli.portrait.cache import FaceCache\np = Path({str(entry)!r})\n"
            "with FaceCache(p.parent)._alone(p):\n    print(p.exists())"
        )
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        waiter = subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True, env=env)
        time.sleep(2.0)
        entry.touch()
    assert waiter.communicate(timeout=60)[0].strip() == "True"
    cache.sweep()
    assert [p.name for p in tmp_path.iterdir()] == [entry.name]


# ------------------------------------------------------------------------------------- real processes, smoke weights


@pytest.fixture
def manifest(tmp_path: Path, face: Path, speech: Path) -> Path:
    """Three jobs."""
    rows = [{"id": name, "portrait": str(face), "audio": str(speech), "size": 256} for name in "abc"]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "jobs.jsonl"


def events(process: subprocess.Popen[str]) -> Any:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{"):
            yield json.loads(line)


def batch(environment: dict[str, str], manifest: Path, *more: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "vasa_cli", "batch", str(manifest), *SMOKE, "--progress", "json", "--json", *map(str, more)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("jobs.jsonl"))


WHOLE = sorted(f"{name}.mp4{suffix}" for name in "abc" for suffix in ("", ".json"))


def test_a_worker_that_dies_loses_nothing(environment: dict[str, str], manifest: Path) -> None:
    process = batch(environment, manifest, "--jobs", 2)
    killed, seen = False, []
    for event in events(process):
        seen.append(event)
        if event["event"] == "progress" and event["id"] == "a" and not killed:
            signed = json.loads((manifest.parent / "a.mp4.claim").read_text())
            os.kill(signed["pid"], signal.SIGKILL)
            killed = True
    assert process.wait() == 0
    assert killed
    retries = [event for event in seen if event["event"] == "retry"]
    assert [event["id"] for event in retries] == ["a"]
    assert "signal 9" in retries[0]["error"]
    assert names(manifest.parent) == WHOLE


def test_a_job_that_takes_too_long_is_ended(vasa: Vasa, manifest: Path) -> None:
    done = vasa("batch", manifest, *SMOKE, "--timeout", 0.1, "--json", "--retries", 5)
    assert done.returncode == 8
    assert {(j["status"], j["attempts"]) for j in json.loads(done.stdout)["jobs"]} == {("failed", 1)}
    assert "longer than 0.1 s" in done.stderr
    assert names(manifest.parent) == []


def test_an_interrupt_drops_the_job_and_resume_goes_on(environment: dict[str, str], vasa: Vasa, manifest: Path) -> None:
    process = batch(environment, manifest, "--jobs", 2)
    for event in events(process):
        if event["event"] == "end":
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=120)
    assert process.returncode == 130
    left = names(manifest.parent)
    assert set(left) <= set(WHOLE)
    done = vasa("batch", manifest, *SMOKE, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["skipped"] >= 1
    assert names(manifest.parent) == WHOLE
    Path(f"{manifest}.journal.jsonl").unlink()  # the receipts alone say the same
    again = vasa("batch", manifest, *SMOKE, "--resume", "--json")
    assert json.loads(again.stdout)["counts"]["skipped"] == 3, again.stderr
    jobs = read_manifest(str(manifest), Shared(weights="smoke"))
    assert all(same_as_receipt(job, Hashes()) for job in jobs)
    for shared in (Shared(weights="smoke", seed=5), Shared(), Shared(weights="smoke", provenance=False)):  # something changed
        assert not any(same_as_receipt(job, Hashes()) for job in read_manifest(str(manifest), shared))
    video = jobs[0].output
    video.write_bytes(video.read_bytes()[:-1] + b"?")  # damaged
    assert [same_as_receipt(job, Hashes()) for job in jobs] == [False, True, True]
    Path(f"{manifest}.journal.jsonl").unlink()
    assert_fails_well(
        vasa("batch", manifest, *SMOKE, "--resume", "--seed", 5), 2, "exists already"
    )  # changed, and not known as ours


def test_two_batches_over_one_folder_at_once(environment: dict[str, str], manifest: Path) -> None:
    both = [batch(environment, manifest, "--journal", manifest.parent / f"jobs.jsonl.{i}") for i in range(2)]
    said = [process.communicate(timeout=280) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    made = [[j["status"] for j in json.loads(out)["jobs"]] for out, _ in said]
    assert all(sorted(pair) == ["done", "skipped"] for pair in zip(*made, strict=True)), made
    hashes = [[j["frame_hash"] for j in json.loads(out)["jobs"]] for out, _ in said]
    assert hashes[0] == hashes[1]
    assert names(manifest.parent) == WHOLE


@pytest.mark.parametrize("workers", [1, 2])
def test_survival(workers: int, face: Path) -> None:
    words = ["--count", 6, "--kills", 2, "--workers", workers, "--portrait", face]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "batch_survival.py", *map(str, words)], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_way_gives_the_same_frames(face: Path) -> None:
    try:
        import distributed  # noqa: F401

        ways = "one,two,shuffled,shards,dask,killed"
    except ImportError:
        ways = "one,two,shuffled,shards"
    words = ["--count", 4, "--portrait", face, "--ways", ways]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "batch_equal.py", *map(str, words)], capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_on_a_dask_worker_is_ended_by_an_exception_in_its_thread(tmp_path: Path) -> None:
    from vasa_cli.batch.cluster import _limited

    job, cleaned = job_in(tmp_path), []

    def call() -> Outcome:
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                time.sleep(0.01)
        finally:
            cleaned.append(1)
        return Outcome(job.id, "done", "a.mp4")

    outcome = _limited(call, job, 1, 0.3)
    assert (outcome.status, outcome.error, cleaned) == ("failed", "took longer than 0.3 s (--timeout)", [1])
    assert _limited(lambda: Outcome("a", "done", "a.mp4"), job, 1, 60.0).status == "done"


def test_outcomes_say_no_more_than_needed() -> None:
    assert Outcome("a", "done", "a.mp4").to_json() == {
        "id": "a", "status": "done", "output": "a.mp4", "task": "render", "exit_code": 0, "seconds": 0.0, "attempts": 1,
    }  # fmt: skip
