"""What a manifest may say: tasks, globs, templates, defaults; and that what is wrong is named by line and key."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vasa_cli.batch.job import Job
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.row import schema
from vasa_cli.batch.shard import in_shard, parse_shard
from vasa_cli.errors import UsageError
from vasa_cli.motion.presets import Preset, load_preset


def jobs_of(text: str, form: str = "yaml", **shared: Any) -> list[Job]:
    return read_manifest("-", replace(Shared(), **shared), form=form, text=text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("faces/b.png", "faces/a.png", "talks/1.wav", "talks/2.wav", "odd[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def in_folder(folder: Path, text: str) -> list[Job]:
    (folder / "jobs.yaml").write_text(text)
    return read_manifest(str(folder / "jobs.yaml"), Shared())


def test_globs_become_a_job_a_match(folder: Path) -> None:
    jobs = in_folder(folder, '- {portrait: "faces/*.png", audio: "talks/*.wav", output: "{preset}/{id}-{seed}.mkv", seed: 7}')
    assert [job.id for job in jobs] == ["a-1", "a-2", "b-1", "b-2"]
    assert [str(job.output.relative_to(folder)) for job in jobs][:2] == ["neutral/a-1-7.mkv", "neutral/a-2-7.mkv"]
    jobs = in_folder(folder, '- {id: "x-{portrait}", portrait: "faces/*.png", audio: talks/1.wav}')
    assert [(job.id, job.output.name) for job in jobs] == [("x-a", "x-a.mp4"), ("x-b", "x-b.mp4")]
    assert [job.id for job in in_folder(folder, '- {portrait: "odd[1].png", audio: talks/1.wav}')] == ["odd[1]-1"]  # it is there


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{portrait: "faces/*.jpg", audio: s.wav}', ("portrait", "no file matches")),
        ('{id: one, portrait: "faces/*.png", audio: s.wav}', ("'one'", "2 jobs", "{portrait}")),
        ('{portrait: p.png, audio: s.wav, output: "{potrait}.mp4"}', ("unknown {potrait}", "did you mean portrait?")),
        ('{id: "a-{seed}", portrait: p.png, audio: s.wav}', ("{seed}", "give seed in the row")),
        ('{portrait: p.png, audio: s.wav, output: "{portrait.__class__}.mp4"}', ("unknown {portrait.__class__}",)),
        ("{portrait: p.png, audio: s.wav, output: ../x.mp4}", ("leaves the output folder",)),
        ("{portrait: p.png, audio: s.wav, output: a/../../x.mp4}", ("leaves the output folder",)),
        ("{task: encode, portrait: p.png, gaze: [1, 2]}", ("task encode does not take 'gaze'",)),
        ("{task: generate, audio: s.wav, output: x.mp4}", ("x.mp4", "a motion file is named *.safetensors")),
        ("{task: paint, portrait: p.png}", ("task = 'paint'",)),
        ("{portrait: p.png, audio: s.wav, encoder: divx}", ("encoder 'divx'",)),
    ],
)
def test_what_is_wrong_with_a_row(folder: Path, row: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        in_folder(folder, f"- {{id: fine, portrait: p.png, audio: s.wav}}\n- {row}\n")
    for word in ("jobs.yaml, line 2, job 2", *words):
        assert word in str(caught.value)


def test_every_task_and_its_defaults() -> None:
    text = """
defaults: {portrait: p.png, audio: s.wav, size: 256, gaze: [3, 4]}
jobs:
  - {id: r}
  - {id: g, task: generate}
  - {id: e, task: encode}
"""
    render, generate, encode = jobs_of(text)
    assert [job.task for job in (render, generate, encode)] == ["render", "generate", "encode"]
    assert [job.output.name for job in (render, generate, encode)] == ["r.mp4", "g.motion.safetensors", "e.safetensors"]
    assert encode.face_key() == render.face_key()  # both need the same encoding
    assert generate.request.motion.controls == render.request.motion.controls  # type: ignore[union-attr]
    lines = [json.dumps({"defaults": {"portrait": "p.png", "audio": "s.wav"}}), '{"id": "r"}']
    assert jobs_of("\n".join(lines), "jsonl")[0].id == "r"


def test_errors_name_the_line_of_the_key_and_how_many_more() -> None:
    text = """jobs:
  - id: one
    portrait: p.png
    audio: s.wav
    seed: -4
  - {id: two, portrait: p.png}
"""
    with pytest.raises(UsageError, match=r"line 5, job 1: seed = -4: .*and 1 more: line 6"):
        jobs_of(text)
    with pytest.raises(UsageError, match=r"line 3: the key 'seed' stands there twice"):
        jobs_of("- portrait: p.png\n  seed: 1\n  seed: 2\n")
    with pytest.raises(UsageError, match=r"line 1: the key 'seed' stands there twice"):
        jobs_of('{"seed": 1, "seed": 2}', "jsonl")
    with pytest.raises(UsageError, match=r"line 3: more cells than the header"):
        jobs_of("id,portrait,audio\na,p.png,s.wav\nb,p.png,s.wav,oops\n", "csv")
    with pytest.raises(UsageError, match=r"line 4, job 2: seed"):  # a cell may hold line ends
        jobs_of('id,portrait,audio,seed\n"a\u00e4",p.png,"s\n.wav",1\nb,p.png,s.wav,x\n', "csv")


def test_hostile_yaml_is_refused_quickly() -> None:
    levels = (f"{c}: &{c} [{','.join(['*' + p] * 9)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
    bomb = "\n".join(["a: &a [x,x,x,x,x,x,x,x,x]", *levels])
    for text in (bomb, "- " + "[" * 5000, "- !!python/object/apply:os.system [id]", "- {portrait: !!binary x}", "\0"):
        with pytest.raises(UsageError):
            jobs_of(text)


def test_every_job_is_in_one_shard_whatever_the_order() -> None:
    ids = [f"job{i}" for i in range(200)]
    parts = [[name for name in ids if in_shard(name, i, 3)] for i in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == sorted(ids)
    assert all(40 < len(part) < 95 for part in parts)
    assert [name for name in reversed(ids) if in_shard(name, 2, 3)] == parts[1][::-1]
    assert parse_shard("2/3") == (2, 3)
    for text in ("0/2", "3/2", "1", "a/b", "-1/2"):
        with pytest.raises(UsageError, match="--shard"):
            parse_shard(text)


def test_the_schema_agrees_with_the_reader() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(schema())
    checker.check_schema(schema())
    row = {"id": "a", "portrait": "p.png", "audio": "s.wav"}
    good = [
        [row],
        {"jobs": [row], "defaults": {"gaze": {"yaw": 3}}},
        [{**row, "gaze": [1, 2], "emotion": "sad=1", "crop": [1, 2, 3, 4]}],
    ]
    bad = [[{**row, "presset": "sad"}], {"jobs": [row], "job": 1}, [{**row, "seed": -1}], [{**row, "task": "paint"}], [3]]
    for data in good:
        assert checker.is_valid(data), data
        assert jobs_of(json.dumps(data))
    for data in bad:
        assert not checker.is_valid(data), data
        with pytest.raises(UsageError):
            jobs_of(json.dumps(data))


def test_a_preset_is_read_once_however_many_rows_name_it(tmp_path: Path) -> None:
    read: list[str] = []

    def presets(name: str) -> Preset:
        read.append(name)
        return load_preset(name)

    rows = [{"id": f"j{i}", "portrait": "p.png", "audio": "s.wav", "preset": ("sad", "shy")[i % 2]} for i in range(500)]
    jobs = jobs_of("\n".join(map(json.dumps, rows)), "jsonl", presets=presets)
    assert len(jobs) == 500
    assert sorted(read) == ["sad", "shy"]
    again = jobs_of(json.dumps(rows[0]), "jsonl", presets=presets)  # another batch of the same process sees files anew
    assert again[0].request == jobs[0].request
    assert read.count("sad") == 2
