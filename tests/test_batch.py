"""Manifests, seeds, state: everything about a batch that needs no model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vasa_cli import pipeline
from vasa_cli.batch.job import Job, job_key
from vasa_cli.batch.journal import Journal, read_journal
from vasa_cli.batch.manifest import Shared, derive_seed, read_manifest
from vasa_cli.batch.run import Queue, Task, plan, run_batch
from vasa_cli.errors import FaceError, InputError, UsageError
from vasa_cli.motion.controls import Curve

SHARED = Shared()


def jobs_of(text: str, form: str = "auto", **shared: Any) -> list[Job]:
    return read_manifest("-", replace(SHARED, **shared), form=form, text=text)


ROW = {"id": "a", "portrait": "p.png", "audio": "s.wav"}


def test_the_three_formats_say_the_same() -> None:
    yaml = jobs_of(
        "- {id: a, portrait: p.png, audio: s.wav, preset: friendly, gaze: {yaw: 10, pitch: -3}, emotion: {sad: 0.2}, seed: 4}\n"
    )
    jsonl = jobs_of(json.dumps({**ROW, "preset": "friendly", "gaze": [10, -3], "emotion": "sad=0.2", "seed": 4}) + "\n\n")
    csv = jobs_of('id,portrait,audio,preset,gaze,emotion,seed,head\na,p.png,s.wav,friendly,"10,-3",sad=0.2,4,\n')
    assert yaml == jsonl == csv
    request = yaml[0].request
    assert request.motion.controls.gaze == Curve.constant(10, -3)
    assert request.motion.controls.brows == Curve.constant(1.2)  # from the preset
    assert request.motion.seed == 4
    assert request.output == Path("a.mp4")


def test_defaults_and_keyframes() -> None:
    text = """
defaults: {portrait: p.png, preset: serious}
jobs:
  - {audio: 1.wav, id: one, distance: [{t: 0, value: 1.0}, {t: 2, value: 0.8}]}
  - {audio: 2.wav, id: two, preset: sad}
"""
    one, two = jobs_of(text)
    assert one.request.motion.preset == "serious"
    assert two.request.motion.preset == "sad"
    assert one.request.motion.controls.distance.times == (0.0, 2.0)


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(
        "- {portrait: sub/p.png, audio: s.wav}\n- {id: b, portrait: /abs/p.png, audio: s.wav, output: o/b.mkv}\n"
    )
    a, b = read_manifest(str(tmp_path / "jobs.yaml"), SHARED)
    assert a.id == "p-s"
    assert a.request.portrait == tmp_path / "sub/p.png"
    assert a.request.output == tmp_path / "p-s.mp4"
    assert b.request.portrait == Path("/abs/p.png")
    assert b.request.output == tmp_path / "o/b.mkv"
    c, _ = read_manifest(str(tmp_path / "jobs.yaml"), replace(SHARED, output_dir=Path("there")))
    assert c.request.output == Path("there/p-s.mp4")


def test_seeds_come_from_ids_not_from_order() -> None:
    rows = [f"- {{id: {name}, portrait: p.png, audio: s.wav}}\n" for name in "abc"]
    forward = {j.id: j.request.motion.seed for j in jobs_of("".join(rows))}
    backward = {j.id: j.request.motion.seed for j in jobs_of("".join(reversed(rows)))}
    assert forward == backward
    assert len(set(forward.values())) == 3
    assert forward["a"] == derive_seed("a") != derive_seed("a", 1)
    assert {j.id: j.request.motion.seed for j in jobs_of("".join(rows), seed=1)} != forward


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no jobs",)),
        ("- {portrait: p.png}", ("job 1", "audio is missing")),
        ("- {audio: s.wav}", ("job 1", "portrait is missing")),
        ("- {portrait: p.png, audio: s.wav, presset: sad}", ("presset", "did you mean preset?")),
        ("- {portrait: p.png, audio: s.wav, preset: sadd}", ("job 1", "did you mean sad?")),
        (
            "- {portrait: p.png, audio: s.wav}\n- {id: x, portrait: p.png, audio: s.wav, gaze: {yaw: 99}}",
            ("job 2", "--gaze yaw = 99", "-30 to 30"),
        ),
        ("- {portrait: p.png, audio: s.wav, seed: -1}", ("seed",)),
        ("- {portrait: p.png, audio: s.wav, crop: 1}", ("crop", "X,Y,WIDTH,HEIGHT")),
        ("- {portrait: p.png, audio: s.wav, output: a.gif}", ("unknown video format",)),
        ("- {id: a/b, portrait: p.png, audio: s.wav}", ("id", "slashes")),
        ("- {portrait: p.png, audio: s.wav}\n- {portrait: p.png, audio: s.wav}", ("jobs 1 and 2", "same id")),
        (
            "- {id: a, portrait: p, audio: s, output: x.mp4}\n- {id: b, portrait: p, audio: s, output: ./x.mp4}",
            ("jobs 1 and 2", "same output"),
        ),
        ("job: []", ("unknown key 'job'", "defaults, jobs")),
        ("- [1]", ("expected a list of jobs",)),
        ("- {portrait: p", ("not valid YAML",)),
    ],
)
def test_a_wrong_manifest_is_refused_before_anything_starts(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        jobs_of(text, "yaml")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_json_lines_are_named_by_line() -> None:
    with pytest.raises(UsageError, match="line 2: not valid JSON"):
        jobs_of('{"id": "a", "portrait": "p", "audio": "s"}\n{oops\n')
    with pytest.raises(InputError, match="no such manifest"):
        read_manifest("/nowhere/jobs.yaml", SHARED)


def test_faces_come_together_in_order_of_appearance() -> None:
    text = "".join(f"- {{id: {i}, portrait: {p}, audio: s}}\n" for i, p in [("1", "x"), ("2", "y"), ("3", "x"), ("4", "y")])
    queue, last, order = Queue(jobs_of(text)), None, []
    while (task := queue.take(last)) is not None:
        last = task.job.face_key()
        order.append(task.job.id)
    assert order == ["1", "3", "2", "4"]


def test_a_face_at_work_elsewhere_is_left_to_its_worker() -> None:
    text = "".join(f"- {{id: {i}, portrait: {p}, audio: s}}\n" for i, p in [("1", "x"), ("2", "x"), ("3", "y")])
    queue = Queue(jobs_of(text))
    first = queue.take()
    assert isinstance(first, Task)
    other = queue.take(busy={first.job.face_key()})
    assert other is not None
    assert (first.job.id, other.job.id) == ("1", "3")


@pytest.fixture
def two_jobs(tmp_path: Path) -> list[Job]:
    for name in ("p.png", "s.wav"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "jobs.yaml").write_text("- {id: a, portrait: p.png, audio: s.wav}\n- {id: b, portrait: p.png, audio: s.wav}\n")
    return read_manifest(str(tmp_path / "jobs.yaml"), SHARED)


def fake_render(fail: set[str]) -> Any:
    def render(request: pipeline.RenderRequest, reporter: Any = None, models: Any = None) -> pipeline.RenderResult:
        if request.output.stem in fail:
            raise FaceError("no face\nhere")
        request.output.write_bytes(b"video")
        from fractions import Fraction

        return pipeline.RenderResult(request.output, request.output, 1, Fraction(25), f"sha256:{request.motion.seed}", True, {})

    return render


def test_one_failure_does_not_stop_the_others(two_jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "render", fake_render({"a"}))
    outcomes = run_batch(two_jobs, Journal(tmp_path / "journal"))
    assert [(o.status, o.exit_code) for o in outcomes] == [("failed", 4), ("done", 0)]
    assert outcomes[0].error == "no face here"


def test_fail_fast_stops(two_jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "render", fake_render({"a"}))
    outcomes = run_batch(two_jobs, fail_fast=True)
    assert [o.status for o in outcomes] == ["failed", "not run"]


def test_resume_skips_what_is_done_and_does_the_changed_again(
    two_jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "journal.jsonl"
    monkeypatch.setattr(pipeline, "render", fake_render({"b"}))
    with Journal(place) as journal:
        run_batch(two_jobs, journal)
    with place.open("a") as f:
        f.write('{"id": "b", "sta')  # a crash cut this line short
    monkeypatch.setattr(pipeline, "render", fake_render(set()))
    with Journal(place, resume=True) as journal:
        outcomes = run_batch(two_jobs, journal, resume=True)
    assert [o.status for o in outcomes] == ["skipped", "done"]
    assert [line["event"] for line in read_journal(place)][-3:] == ["start", "end", "finish"]  # the torn line harms no other
    (tmp_path / "s.wav").write_bytes(b"another recording")
    with Journal(place, resume=True) as journal:
        assert [o.status for o in run_batch(two_jobs, journal, resume=True)] == ["done", "done"]
    (tmp_path / "a.mp4").write_bytes(b"half")  # damaged since
    with Journal(place, resume=True) as journal:
        assert [o.status for o in run_batch(two_jobs, journal, resume=True)] == ["done", "skipped"]


def test_retry_failed_leaves_the_rest(two_jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "journal.jsonl"
    monkeypatch.setattr(pipeline, "render", fake_render({"a"}))
    with Journal(place) as journal:
        run_batch(two_jobs, journal, fail_fast=True)
    monkeypatch.setattr(pipeline, "render", fake_render(set()))
    with Journal(place, resume=True) as journal:
        assert [o.status for o in run_batch(two_jobs, journal, retry_failed=True)] == ["done", "not run"]


def test_two_batches_cannot_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(UsageError, match="another batch is at work"):
        Journal(tmp_path / "j")
    Journal(tmp_path / "j").close()


def test_a_journal_without_room_stops_the_batch(two_jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "render", fake_render(set()))
    with Journal(Path("/dev/full")) as journal, pytest.raises(UsageError, match="no space left"):
        run_batch(two_jobs, journal)


def test_the_key_sees_every_option(two_jobs: list[Job]) -> None:
    a, b = two_jobs
    key = job_key(a)
    request = a.request
    changed = [
        replace(request, crf=20), replace(request, face="left"),
        replace(request, provenance=False), replace(request, dtype="float16"),
        replace(request, motion=replace(request.motion, seed=99)), replace(request, motion=replace(request.motion, steps=3)),
        replace(request, motion=replace(request.motion, controls=request.motion.controls.with_curves(head=Curve.constant(0)))),
    ]  # fmt: skip
    assert len({key, job_key(b), *(job_key(Job("a", r)) for r in changed)}) == 2 + len(changed)
    assert job_key(Job("a", replace(request, overwrite=True))) == key


def test_existing_outputs_are_refused_at_once(two_jobs: list[Job], tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match=r"b\.mp4: exists already.*--resume"):
        plan(two_jobs, Journal(None))
    with pytest.raises(UsageError, match=r"b\.mp4: exists already"):  # nor does resuming touch what it did not make
        plan(two_jobs, Journal(tmp_path / "j", resume=True), resume=True)
    over = [replace(job, request=replace(job.request, overwrite=True)) for job in two_jobs]
    assert len(plan(over, Journal(None)).todo) == 2
