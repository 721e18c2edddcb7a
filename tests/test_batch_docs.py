"""What docs/batch.md and the README show is what the reader takes, and what the schema allows; the summary is as documented."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from vasa_cli.batch.job import Outcome
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.batch.row import schema
from vasa_cli.batch.summary import summary
from vasa_cli.errors import UsageError

PAGES = ("README.md", "docs/batch.md", "docs/ci.md", "docs/trust.md")


def manifests() -> list[tuple[str, Any]]:
    """(page, manifest) of every YAML block that is one."""
    found = []
    for page in PAGES:
        for text in re.findall(r"```ya?ml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
            data = yaml.safe_load(text)
            rows = data.get("jobs") if isinstance(data, dict) else data
            if isinstance(rows, list) and any("portrait" in row for row in rows if isinstance(row, dict)):
                found.append((page, data))
    return found


def test_examples_are_valid_and_wrong_keys_are_not(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(schema())
    shown = manifests()
    assert {page for page, _ in shown} >= {"docs/batch.md"}
    for folder, name in (("faces", "ann.jpg"), ("faces", "b.png"), ("talks", "welcome.wav")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"x")
    for _, data in shown:
        assert not list(checker.iter_errors(data))
        (tmp_path / "jobs.yaml").write_text(yaml.safe_dump(data))
        assert read_manifest(str(tmp_path / "jobs.yaml"), Shared())
        rows = data["jobs"] if isinstance(data, dict) else data
        for key, value in (("portriat", "x"), ("seed", -1), ("task", "paint"), ("crf", 99), ("size", 8), ("refine", "perhaps")):
            wrong = [{**rows[0], key: value}, *rows[1:]]
            assert not checker.is_valid({**data, "jobs": wrong} if isinstance(data, dict) else wrong), key
            (tmp_path / "jobs.yaml").write_text(yaml.safe_dump(wrong))
            with pytest.raises(UsageError, match=rf"line \d+, job 1: .*{key}"):
                read_manifest(str(tmp_path / "jobs.yaml"), Shared())


def test_the_summary_is_as_documented() -> None:
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    part = page[page.index("`--json`: `counts`") :]
    part = part[: part.index("\n\n")]
    named = set(re.findall(r"`([a-z_ ]+)`", part))
    whole = Outcome(
        "a", "done", "a.mp4", error="e", frame_hash="h", key="k", size=1, frames=1, encoded=True, note="n", transient=True
    )
    said = {*summary([whole], 1.0), *summary([whole], 1.0)["counts"], *whole.to_json()}
    assert said <= named, said - named
    assert json.loads(json.dumps(whole.to_json()))["encoded"] is True
