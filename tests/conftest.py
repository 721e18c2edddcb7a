"""Shared by all tests: a portrait, a short recording, one cache of encoded faces, and the real command in a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.portrait.latent import FaceLatent

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT / "vasa_cli" / "assets" / "demo_speech.flac"

Vasa = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure() -> None:
    """A shell that starts tests in the background lets them ignore Ctrl-C, and so would every command that they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A public-domain portrait, 512x512."""
    from PIL import Image
    from skimage import data

    path = tmp_path_factory.mktemp("portrait") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.24 s of speech, 22050 Hz: 6 frames."""
    import soundfile

    samples, rate = soundfile.read(SPEECH)
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, samples[int(0.4 * rate) : int(0.64 * rate)], rate)
    return path


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faces")


@pytest.fixture(scope="session")
def environment(cache_dir: Path) -> dict[str, str]:
    """The user's environment, with our cache, no colours, and no ffmpeg or cache chosen outside."""
    env = {k: v for k, v in os.environ.items() if k not in ("VASA_FFMPEG", "VASA_DEBUG", "FORCE_COLOR")}
    paths = [str(ROOT), *filter(None, [env.get("PYTHONPATH")])]
    return {**env, "VASA_CACHE_DIR": str(cache_dir), "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}


@pytest.fixture(scope="session")
def vasa(environment: dict[str, str]) -> Vasa:
    """Run the command line: vasa('render', ..., cwd=..., env={...}, stdin='...')."""

    def run(
        *args: object, cwd: Path | None = None, env: dict[str, str] | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vasa_cli", *map(str, args)], cwd=cwd, env={**environment, **(env or {})}, capture_output=True,
            text=True, timeout=300, input=stdin if stdin is not None else "",
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def face(vasa: Vasa, astronaut: Path) -> Path:
    """The astronaut, encoded once for the whole run: every later render finds it in the cache."""
    done = vasa("encode", astronaut, "--quiet")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def latent(face: Path) -> FaceLatent:
    return FaceLatent.load(face)


@pytest.fixture
def encodings(latent: FaceLatent, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photos that are encoded from now on; all become one face, in no time."""
    from vasa_cli.portrait.pixels import pixel_hash

    names: list[str] = []

    def encode(rgb: Any, path: Path, **options: Any) -> FaceLatent:
        names.append(path.name)
        return replace(latent, pixel_hash=pixel_hash(rgb))

    monkeypatch.setattr("vasa_cli.portrait.encode.encode_pixels", encode)
    return names


@pytest.fixture(scope="module")
def decoder(latent: FaceLatent) -> FaceDecoder:
    return FaceDecoder(latent)


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


@pytest.fixture
def tone(tmp_path: Path) -> Callable[..., Path]:
    """Make a tone: tone('name.wav', seconds=0.4, rate=16000, channels=1, volume=0.3)."""
    import soundfile

    def make(name: str, seconds: float = 0.4, rate: int = 16000, channels: int = 1, volume: float = 0.3) -> Path:
        t = np.arange(round(seconds * rate)) / rate
        wave = volume * np.sin(2 * np.pi * 220 * t)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
        return path

    return make


def assert_fails_well(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The exit code of the table, one clear line that holds `words`, nothing on stdout, no traceback."""
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stderr}"
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("vasa: error: ")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], f"{word!r} is missing from: {lines[0]}"
