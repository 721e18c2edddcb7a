"""docs/cli.md is what the app says; the shell completes; the workflow of docs/ci.md is one that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Vasa

from vasa_cli.batch.show import MODES
from vasa_cli.batch.source import FORMATS
from vasa_cli.device import DEVICES

DOCS = ROOT / "docs"


def test_the_page_is_current(environment: dict[str, str]) -> None:
    script = ROOT / "scripts" / "make_cli_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_knows_every_command_and_exit_code() -> None:
    from vasa_cli import errors

    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name in (
        "render",
        "encode",
        "generate",
        "stream",
        "batch",
        "verify",
        "inspect",
        "doctor",
        "presets check",
        "cache prune",
    ):
        assert f"\n## vasa {name}\n" in text
        assert f"(#vasa-{name.replace(' ', '-')})" in text
    for option in (
        "--sign CERT.pem KEY.pem",
        "--disclosure-label TEXT",
        "--no-provenance",
        "--from FILE",
        "--strict",
        "--threads",
    ):
        assert option in text, option
    codes = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.VasaError)
    }
    for code in {0, errors.EXIT_INTERRUPTED, *codes}:
        assert f"\n| {code} | " in text, code
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(re.search(rf"\| {code} \|", readme) for code in codes), "the README's table of exit codes lacks one"


def test_the_shells_complete(environment: dict[str, str]) -> None:
    """Typer's own completion, for the shells that it knows."""
    asked = {
        "complete_bash": {"COMP_WORDS": "vasa ver", "COMP_CWORD": "1"},
        "complete_zsh": {"_TYPER_COMPLETE_ARGS": "vasa render --disclosure-l"},
        "complete_fish": {"_TYPER_COMPLETE_ARGS": "vasa presets sh", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    wanted = {"complete_bash": "verify", "complete_zsh": "--disclosure-label", "complete_fish": "show"}
    for what, words in asked.items():
        assert wanted[what] in completed(environment, what, **words), what
    assert completed(environment, "complete_zsh", _TYPER_COMPLETE_ARGS="vasa render --preset fr").count("friendly") == 1
    fish = completed(
        environment, "complete_fish", _TYPER_COMPLETE_ARGS="vasa batch --progress ", _TYPER_COMPLETE_FISH_ACTION="get-args"
    )
    assert {"lines", "json", "none"} <= set(fish.split())


def completed(environment: dict[str, str], what: str, **words: str) -> str:
    """What the command answers a shell."""
    env = {**environment, "_VASA_COMPLETE": what, **words}
    return subprocess.run([sys.executable, "-m", "vasa_cli"], env=env, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("vasa render --preset s", {"sad", "serious", "shy", "singing", "still", "surprised"}),
        ("vasa presets show fri", {"friendly"}),
        ("vasa render --preset ./mi", set()),  # the shell's own completion of files
        ("vasa render --background ", {"keep", "transparent"}),
        ("vasa render --weights ", {"default", "smoke"}),
        ("vasa stream --container m", {"mp4", "mkv"}),
        ("vasa batch --sig", {"--sign"}),
        ("vasa batch --format ", set(FORMATS)),
        ("vasa batch --progress ", set(MODES)),
        ("vasa render --device ", set(DEVICES)),
    ],
)
def test_values_are_completed(environment: dict[str, str], line: str, wanted: set[str]) -> None:
    count = len(line.split()) - (not line.endswith(" "))
    found = completed(environment, "complete_bash", COMP_WORDS=line, COMP_CWORD=str(count))
    assert set(found.split()) == wanted


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_itself_completes(environment: dict[str, str], tmp_path: Path) -> None:
    """As a user's shell does: the script is read, then its function is asked."""
    vasa = tmp_path / "vasa"
    vasa.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vasa_cli "$@"\n')
    vasa.chmod(0o755)
    script = """
        eval "$(_VASA_COMPLETE=source_bash vasa)"
        complete -p vasa >/dev/null || exit 3
        COMP_WORDS=(vasa render --cr); COMP_CWORD=2
        _vasa_completion vasa
        echo "${COMPREPLY[@]}"
    """
    env = {**environment, "PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["--crop", "--crf"] or set(done.stdout.split()) == {"--crop", "--crf"}, done.stderr


def test_the_workflow_example(vasa: Vasa, tmp_path: Path) -> None:
    """It is valid YAML, and its render is run here as it stands there, with two seconds of the sample recording."""
    text = (DOCS / "ci.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    steps = yaml.safe_load(block)["jobs"]["smoke"]["steps"]
    lines = "\n".join(step["run"] for step in steps if "run" in step).replace("\\\n", " ").splitlines()
    commands = [line.strip().split() for line in lines if line.strip().startswith("vasa ")]
    assert [words[1] for words in commands] == ["render", "verify", "inspect"]
    import soundfile
    from PIL import Image
    from skimage import data

    os.makedirs(tmp_path / "assets")
    Image.fromarray(data.astronaut()).save(tmp_path / "assets" / "portrait.png")
    samples, rate = soundfile.read(ROOT / "vasa_cli" / "assets" / "demo_speech.flac")
    soundfile.write(tmp_path / "assets" / "two_seconds.wav", samples[: 2 * rate], rate)
    for words in commands:
        done = vasa(*words[1:], cwd=tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert (tmp_path / "out" / "smoke.mp4").stat().st_size > 10_000
