"""What rows are called and where they write: what a user means is done, what cannot be is refused before the first job."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Vasa, assert_fails_well

from vasa_cli.batch.job import Job
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.places import case_blind, check_folders
from vasa_cli.errors import UsageError

Read = Callable[..., list[Job]]
P = "portrait: p.png, audio: s.wav"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    for name in ("p.png", "s.wav", "file"):
        (tmp_path / name).write_bytes(b"x")

    def jobs(text: str, form: str = "yaml") -> list[Job]:
        place = tmp_path / f"jobs.{form}"
        place.write_text(text, encoding="utf-8", newline="")
        return read_manifest(str(place), Shared())

    return jobs


@pytest.mark.parametrize(
    "name",
    ["007", "1e3", "1.50", "0x1F", "1_000", "on", "2026-01-02", "12:30:45", ".5", "Ünï 漢字 🎉", "-x", "a%03d", "~"],
)
def test_an_id_is_what_stands_there(read: Read, name: str) -> None:
    """YAML 1.1 knows octal numbers, truths, dates and minutes; a name is none of them."""
    (job,) = read(f"- {{id: {name}, {P}}}\n")
    assert (job.id, job.output.name) == ((name, f"{name}.mp4") if name != "~" else ("p-s", "p-s.mp4"))
    if name != "~":
        assert read(f"id,portrait,audio\n{name},p.png,s.wav\n", "csv")[0].id == name
        (shared,) = read(f"defaults: {{&x id: {name}}}\njobs: [{{{P}}}]\n".replace("&x ", ""))
        assert shared.id == name


def test_other_texts_are_kept_too_and_numbers_are_numbers(read: Read) -> None:
    (job,) = read(f"- {{id: a, {P}, disclosure_label: 1.0, face: 0, seed: 0x10, size: 256}}\n")
    assert (job.request.picture.label, job.request.face, job.request.motion.seed) == ("1.0", "0", 16)  # type: ignore[union-attr]
    (job,) = read("- &one {portrait: p.png, audio: s.wav, id: 1}\n- {<<: *one, id: 002}\n")[1:]
    assert job.id == "002"


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        ("jsonl", '{"id": 1e3, "portrait": "p", "audio": "s"}', ("line 1", "id = 1000.0", "in quotes")),
        ("jsonl", '{"id": true, "portrait": "p", "audio": "s"}', ("id = True",)),
        ("jsonl", '{"id": "\\ud800", "portrait": "p", "audio": "s"}', ("line 1", "id", "half a character")),
        ("jsonl", '{"id": "a", "portrait": "p\\u0000", "audio": "s"}', ("line 1", "portrait holds a zero byte")),
        ("yaml", f'- {{id: "a", {P}, output: "a\\n.mp4"}}', ("line 1", "output", "control characters")),
        ("yaml", f'- id: /x/y\n  {P.replace(", ", chr(10) + "  ")}\n  output: "{{id}}.mp4"', ("line 4", "absolute path '/x/y")),
        ("yaml", f'- {{id: ../y, {P}, output: "{{id}}.mp4"}}', ("leaves the output folder",)),
        ("yaml", f"- {{id: {'x' * 240}, {P}}}", ("line 1, job 1", "id xxx", "244 bytes", "at most 237")),
        ("yaml", f"- {{id: a, {P}, output: {'x' * 256}/a.mp4}}", ("output xxx", "256 bytes")),
        ("csv", "id;portrait;audio\na;p.png;s.wav\n", ("line 1", "semicolons", "commas")),
        ("csv", "id\tportrait\taudio\na\tp.png\ts.wav\n", ("line 1", "tabs")),
        ("csv", "id,portrait,audio,,\na,p.png,s.wav,,note\n", ("line 2", "'note'", "column 5")),
        ("csv", "id,portrait,audio\n\n,,\na,p.png,s.wav,more\n", ("line 4", "more cells")),
        ("csv", "id,portrait,audio,seed\r\n\r\na,p.png,s.wav,x\r\n", ("line 3, job 1", "seed")),
        ("yaml", f"- {{id: a, {P}, output: s.mp4}}\n- {{id: b, portrait: p.png, audio: ./s.mp4}}",
         ("line 1, job 1", "'s.mp4' is the recording of job 2", "any order")),
        ("yaml", "- {id: f, portrait: p.png, task: encode}\n- {id: b, portrait: sub/../f.safetensors, audio: s}",
         ("job 1", "is the portrait of job 2")),
        ("yaml", f"- {{id: a, {P}, output: a.mp4}}\n- {{id: b, {P}, output: a.mp4.json/}}",
         ("job 2", "'a.mp4.json' is the receipt of job 1")),
        ("yaml", f"- {{id: a, {P}, output: a.mp4.claim/}}\n- {{id: b, {P}, output: a.mp4}}",
         ("job 2", "claim", "is the output of job 1")),
        ("yaml", f"- {{id: a, {P}, output: a/}}\n- {{id: b, {P}, output: a/b.mp4}}", ("job 2", "folder of pictures", "job 1")),
        ("yaml", f"- {{id: a, {P}, output: a.mp4}}\n- {{id: b, {P}, output: a.mp4/}}", ("same output",)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_line_and_key(read: Read, form: str, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        read(text, form)
    for word in words:
        assert word in str(caught.value)


def test_what_spreadsheets_and_windows_write(read: Read) -> None:
    csv = "\ufeffid,portrait,audio,seed,\r\n007,p.png,s.wav,,\r\n,,,,\r\n\r\nb,p.png,s.wav,3,\r\nc,p.png,s.wav\r\n"
    assert [(job.id, job.line) for job in read(csv, "csv")] == [("007", 2), ("b", 5), ("c", 6)]
    row = json.dumps({"id": "a", "portrait": "p.png", "audio": "s.wav"})
    assert [job.id for job in read(f"\ufeff{row}\r\n\r\n", "jsonl")] == ["a"]
    assert [job.id for job in read(json.dumps({"jobs": [json.loads(row)]}, indent=1), "json")] == ["a"]
    assert [job.id for job in read(f"{row}\n", "json")] == ["a"]
    assert [job.id for job in read_manifest("-", Shared(), text=f"\ufeff{row}")] == ["a"]


def test_links_are_seen_through(read: Read, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "alias.mp4").symlink_to(tmp_path / "s.mp4")
    for output in ("link/s.mp4", "alias.mp4"):
        with pytest.raises(UsageError, match="is the recording of job 2"):
            read(f"- {{id: a, {P}, output: {output}}}\n- {{id: b, portrait: p.png, audio: s.mp4}}")
        with pytest.raises(UsageError, match="same output"):
            read(f"- {{id: a, {P}, output: {output}}}\n- {{id: b, {P}, output: s.mp4}}")


@pytest.mark.parametrize("names", [("a", "A"), ("\u00e9", "e\u0301"), ("stra\u00dfe", "STRASSE")])
def test_spellings_clash_where_the_file_system_does_not_tell_them_apart(
    read: Read, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "".join(f"- {{id: {name}, {P}}}\n" for name in names)
    monkeypatch.setattr("vasa_cli.batch.places.case_blind", lambda folder: False)
    assert [job.id for job in read(text)] == list(names)
    monkeypatch.setattr("vasa_cli.batch.places.case_blind", lambda folder: True)
    with pytest.raises(UsageError, match="jobs 1 and 2 have the same output"):
        read(text)
    monkeypatch.undo()
    (tmp_path / "Sub").mkdir()
    (tmp_path / "Sub" / "x").touch()
    assert case_blind(tmp_path / "Sub" / "not there") == (tmp_path / "sUB" / "x").exists()


def test_a_name_that_is_not_utf8_is_refused(read: Read, tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(UsageError, match=r"line 1, job 1: portrait = .*not UTF-8; rename it"):
        read('- {portrait: "*.jpg", audio: s.wav}')


def test_folders_that_cannot_be_written_are_known_before_the_first_job(read: Read, tmp_path: Path) -> None:
    (job,) = read(f"- {{id: a, {P}, output: file/a.mp4}}")
    with pytest.raises(UsageError, match=r"file: a part of this path is a file.*--output-dir"):
        check_folders([job])
    (tmp_path / "locked").mkdir(mode=0o555)
    (job,) = read(f"- {{id: a, {P}, output: locked/a.mp4}}")
    if os.access(tmp_path / "locked", os.W_OK):
        return  # root may write anywhere
    with pytest.raises(UsageError, match="locked: no permission"):
        check_folders([job])


def test_what_is_written_at_the_end_can_be(read: Read, vasa: Vasa, tmp_path: Path) -> None:
    read(f"- {{id: a, {P}}}")
    manifest = tmp_path / "jobs.yaml"
    for words, said in (
        (("--report", tmp_path / "p.png"), ("--report", "portrait of the job 'a'")),
        (("--junit", tmp_path / "file" / "out.xml"), ("--junit", "is a file, not a folder")),
        (("--journal", tmp_path / "a.mp4.json"), ("--journal", "receipt of the job 'a'")),
    ):
        assert_fails_well(vasa("batch", manifest, *words), 2, *said)
    bad = vasa("batch", "-", env={"PYTHONUTF8": "1"}, stdin="")
    assert_fails_well(bad, 2, "holds no jobs")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "jobs.yaml", "p.png", "s.wav"]
