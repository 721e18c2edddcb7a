"""Texts that ask too much, or for other places: YAML, JSON and receipts are bounded first; and what the source never does."""

from __future__ import annotations

import ast
import itertools
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Vasa, assert_fails_well

from vasa_cli import parsing
from vasa_cli.errors import InputError, UsageError
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.presets import read_preset
from vasa_cli.video.receipt import FORMAT, check_values, confined_output, read_receipt

TENFOLD = [(f"&{c}", ", ".join([f"*{p}"] * 10)) for p, c in itertools.pairwise("abcdefghi")]  # each line ten times the one before
LAUGHS = "a: &a [x, x, x, x, x]\n" + "".join(f"{name[1:]}: {name} [{many}]\n" for name, many in TENFOLD)
MERGES = "a: &a {k: 1}\n" + "".join(f"{name[1:]}: {name} {{<<: [{many}]}}\n" for name, many in TENFOLD)
YAML_BOMBS = {
    "laughs": LAUGHS,
    "merges": MERGES,
    "endless": "gaze: &a [*a]",
    "brackets": "gaze: " + "[" * 100_000,
    "braces": "{a: " * 5000,
    "dashes": "- " * 3000 + "x",
    "steps": "".join(" " * i + f"k{i}:\n" for i in range(400)),
    "digits": "distance: " + "1" * 5000,
    "sexagesimal": "distance: 1" + ":20" * 100_000,
    "hex": "distance: 0x" + "f" * 100_000,
    "date": "name: 2024-99-99",
    "tag": "distance: !!int abc",
    "python": "name: !!python/object/apply:os.system ['touch /tmp/pwned']",
    "large": "name: " + "x" * (2 << 20),
    "binary": "name: \x00\x01",
    "key": "? {a: b}\n: c",
}


@pytest.mark.parametrize("kind", YAML_BOMBS)
def test_presets_that_ask_too_much(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(YAML_BOMBS[kind], encoding="utf-8")
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError) as failed:
        read_preset(path)
    assert "bomb.yaml" in str(failed.value) and len(str(failed.value)) < 600
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_ordinary_yaml_is_as_before() -> None:
    import yaml

    for path in (ROOT / "presets").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert parsing.load_yaml(text) == yaml.safe_load(text)
    text = "base: &b {x: 1, y: [1, 2]}\njobs:\n- {<<: *b, z: 2024-01-02}\n- *b\n"
    assert parsing.load_yaml(text) == yaml.safe_load(text)
    assert parsing.load_yaml("") is None


JSON_BOMBS = ["[" * 100_000, '{"a":' * 1000, "NaN", "[Infinity]", "1e999", "1" * 5000, '"\\ud800', "{'a': 1}", ""]


@pytest.mark.parametrize("text", JSON_BOMBS)
def test_json_that_asks_too_much(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (each has its own words)
        parsing.load_json(text)
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.json"):
        read_receipt(path)


def test_brackets_within_text_are_no_nesting() -> None:
    assert parsing.load_json(json.dumps({"a": "[" * 1000 + '\\"{'})) == {"a": "[" * 1000 + '\\"{'}


def test_controls_of_receipts_are_in_range() -> None:
    good = Controls.default().to_json()
    for change in ({"repeat": 0}, {"repeat": "x"}, {"gaze": [[0, 1e9, 0]]}, {"gaze": [[float("inf"), 0, 0]]}, {"gaze": {}},
                   {"style": [1]}, {"guidance": [1]}, {"head": [[]]}):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            Controls.from_json({**good, **change})
    assert Controls.from_json(good) == Controls.default()


# ---------------------------------------------------------------------------------------------------- where things go


@pytest.mark.parametrize("name", ["../out.mp4", "/etc/out.mp4", "a/../../out.mp4", "", "..", "a\0.mp4"])
def test_a_receipt_cannot_name_an_output_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside"):
        confined_output(name, tmp_path / "a.mp4.json")


def test_values_of_receipts_are_those_of_the_command_line() -> None:
    good: dict[str, Any] = {
        "seed": 0, "steps": None, "dtype": "float32", "device": "cpu", "preset": "neutral", "frame_hash": "0", "output": "a.mp4",
        "weights": {"name": "smoke"}, "options": {"face": "largest", "crop": None, "crf": 14, "size": 512, "provenance": True},
    }  # fmt: skip
    check_values(good)
    for key, value in (("seed", 2**40), ("steps", 10**9), ("steps", "3"), ("dtype", "int1"), ("device", 3)):
        with pytest.raises(ValueError, match=key):
            check_values({**good, key: value})
    for key, value in (("crf", 99), ("crop", [1]), ("size", -1), ("encoder", "rm -rf"), ("provenance", "no")):
        with pytest.raises(ValueError, match=key):
            check_values({**good, "options": {**good["options"], key: value}})


def test_a_crafted_receipt_writes_nothing_elsewhere(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    made = vasa("render", face, speech, "-o", tmp_path / "in" / "a.mp4", "--weights", "smoke", "--size", 256, "-q")
    assert made.returncode == 0, made.stderr
    receipt = tmp_path / "in" / "a.mp4.json"
    data = json.loads(receipt.read_text(encoding="utf-8"))
    assert data["format"] == FORMAT
    for output in ("../escaped.mp4", str(tmp_path / "escaped.mp4")):
        receipt.write_text(json.dumps({**data, "output": output}), encoding="utf-8")
        assert_fails_well(vasa("render", "--from", receipt, "--overwrite"), 3, "outside the receipt's folder", "-o")
        assert not (tmp_path / "escaped.mp4").exists()


def test_temporary_folders_are_private() -> None:
    before = os.umask(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            assert Path(folder).stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


FORBIDDEN = {"pickle", "shelve", "marshal", "dill", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "tempfile.mktemp", "yaml.load", "yaml.unsafe_load"}


def test_no_shell_no_pickle_no_eval_no_fixed_temporary_names() -> None:
    """Over the source of the whole package: what cannot be seen by running it."""
    for path in (ROOT / "vasa_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not FORBIDDEN & {a.name.split(".")[0] for a in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in FORBIDDEN, path
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in FORBIDDEN_CALLS, path
                assert not (name == "torch.load" and "weights_only" not in {k.arg for k in node.keywords}), path
                shell = [k for k in node.keywords if k.arg == "shell"]
                assert not any(not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in shell), path
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "training" not in path.parts:
                assert not node.value.startswith(("/tmp/", "/var/tmp/")), path
