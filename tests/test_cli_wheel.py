"""Installed from a wheel, away from the checkout, everything that the product needs is there."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as `pip install` would lay it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-qq", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_wheel_carries_presets_weights_and_sample(site: Path, environment: dict[str, str], tmp_path: Path) -> None:
    def vasa(*arguments: str) -> str:
        env = {**environment, "PYTHONPATH": str(site)}
        done = subprocess.run(
            [sys.executable, "-m", "vasa_cli", *arguments], env=env, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    assert len(json.loads(vasa("presets", "list", "--json"))["presets"]) == len(list((ROOT / "presets").glob("*.yaml")))
    report = json.loads(vasa("doctor", "--json"))
    assert report["usable"], report
    assert (site / "vasa_cli" / "assets" / "demo_speech.flac").is_file()
    code = "import vasa_cli; print(vasa_cli.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "PYTHONPATH": str(site)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert where.stdout.startswith(str(site))


def test_weights_stay_small(site: Path) -> None:
    total = sum(p.stat().st_size for p in (site / "vasa_cli" / "weights").glob("*.safetensors"))
    assert 0 < total <= 40_000_000
