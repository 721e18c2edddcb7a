"""The training script from clips on disk to a weight file, smoke-sized, on clips that the test makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.model import from_tensors

ROOT = Path(__file__).resolve().parent.parent
FPS, SECONDS = 25, 3


def make_clip(folder: Path, name: str, seed: int, basis: DynamicsBasis) -> None:
    """A tracked clip as the data has them: a talking face (478 landmarks in image widths) and a sound with its rhythm."""
    rng = np.random.default_rng(seed)
    t = np.arange(FPS * SECONDS) / FPS
    mouth = np.clip(np.sin(2 * np.pi * (2 + rng.random()) * t), 0, None)[:, None]
    z = 0.2 * basis.std * np.sin(2 * np.pi * t[:, None] * rng.uniform(0.2, 1.0, basis.size))
    z[:, basis.blocks["mouth"]] = 0.12 * mouth * basis.mouth_open_direction[basis.blocks["mouth"]]
    faces = basis.mean_shape + basis.decode(z.astype(np.float32))
    sway = 0.02 * np.sin(2 * np.pi * 0.5 * t)[:, None, None]
    landmarks = 0.5 + 0.2 * faces + sway
    step = 1e-4
    units = np.round(landmarks / step).astype(np.int32)
    delta = np.diff(units, axis=0, prepend=np.zeros_like(units[:1]))
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", delta=delta, step=step, ok=np.ones(len(t), bool), time=t, fps=FPS, width=512, height=512)
    loud = np.interp(np.arange(SECONDS * 16000) / 16000, t, mouth[:, 0])
    soundfile.write(folder / f"{name}.flac", 0.3 * loud * rng.standard_normal(len(loud)), 16000)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, basis = tmp_path_factory.mktemp("data"), DynamicsBasis.load()
    for i in range(10):
        make_clip(root / "grid_s1", f"clip{i}", i, basis)
    for i, source in enumerate(("anitalker", "liveportrait", "strangers")):
        make_clip(root / source, f"{source}1", 20 + i, basis)
    return root


def test_training_from_clips_to_weights(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "motion.safetensors"
    command = [sys.executable, str(ROOT / "scripts" / "train_motion.py"), "--data", str(data), "--work", str(tmp_path / "work")]
    command += ["--size", "smoke", "--steps", "4", "--batch", "4", "--versions", "1", "--no-rig", "--out", str(out)]
    command += ["--evaluate-every", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.run([*command], capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert first.returncode == 0, first.stderr[-2000:]
    assert "grid" in first.stdout and "strangers" in first.stdout and "head std" in first.stdout
    from safetensors import safe_open

    with safe_open(str(out), framework="numpy") as f:
        model = from_tensors({k: f.get_tensor(k) for k in f.keys()}, f.metadata())  # noqa: SIM118
    assert model.config.objective == "x0" and model.config.width == 32
    longer = [*command[: command.index("--steps")], "--steps", "6", *command[command.index("--steps") + 2 :]]
    again = subprocess.run(longer, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "  6 grid" in again.stdout and "  2 grid" not in again.stdout  # resumed at step 4
