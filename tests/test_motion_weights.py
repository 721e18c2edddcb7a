"""The shipped weights: integrity, and that the smoke model's motion looks sane."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.errors import WeightsError
from vasa_cli.motion.basis import DynamicsBasis, lid_opening
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.track import MotionTrack
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.weights import registry


def sound(seconds: float) -> np.ndarray:
    """A buzz with a syllable rhythm, and half a second of silence at either end."""
    n = int(seconds * 16000)
    t = np.arange(n) / 16000
    buzz = np.sign(np.sin(2 * np.pi * 120 * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)) * 0.2
    buzz += 0.02 * np.random.default_rng(0).standard_normal(n)
    quiet = 1e-4 * np.random.default_rng(1).standard_normal(8000)
    return np.concatenate([quiet, buzz, quiet]).astype(np.float32)


def run(weights: str, seconds: float = 12.0, seed: int = 0) -> MotionTrack:
    features = SpeechEncoder.from_weights(weights).features(sound(seconds))
    return generate_motion(features, Controls.default().curves(len(features), 25), seed=seed, weights=weights)


@pytest.mark.parametrize("part", registry.PARTS)
@pytest.mark.parametrize("weights", registry.NAMES)
def test_every_weight_file_is_in_the_manifest(part: str, weights: str) -> None:
    assert registry.read_manifest()[registry.file_name(part, weights)] == registry.sha256_of(part, weights)


def test_a_missing_or_changed_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        registry.path_of("basis", root=tmp_path)
    shutil.copy(registry.path_of("basis"), tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"basis.safetensors": "0" * 64}))
    with pytest.raises(WeightsError, match="do not match") as caught:
        registry.load_tensors("basis", root=tmp_path)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 5
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "basis.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        registry.load_tensors("basis", root=tmp_path)
    with pytest.raises(WeightsError, match="unknown weights"):
        registry.path_of("basis", "huge")


def test_record_writes_what_sha256_checks(tmp_path: Path) -> None:
    (tmp_path / "motion.safetensors").write_bytes(b"x")
    assert registry.record("motion", root=tmp_path) == registry.sha256_of("motion", root=tmp_path)
    (tmp_path / "motion.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsError):
        registry.sha256_of("motion", root=tmp_path)


@pytest.mark.parametrize("weights", registry.NAMES)
def test_the_motion_is_sane(weights: str) -> None:
    basis = DynamicsBasis.load()
    track = run(weights)
    degrees = np.degrees(track.pose[:, :3])
    assert 0.1 < degrees.std(0).max() < 8 and np.abs(degrees).max() < 25
    assert np.abs(np.diff(degrees, 2, axis=0)).mean() < 0.6  # no jitter
    faces = basis.mean_shape + basis.decode(track.dynamics)
    opening = faces[:, 14, 1] - faces[:, 13, 1]
    assert opening[15:-15].max() > 0.02 and opening.max() < 0.8
    for quiet in (opening[:3], opening[-2:]):  # silence: shut, perhaps pressed a little
        assert quiet.min() > -0.06 and quiet.max() < 0.02
    lids = lid_opening(faces).mean(-1)
    assert lids.min() < 0.25 * np.median(lids)  # it blinks
    assert np.median(lids) > 0.6 * lid_opening(basis.mean_shape).mean()


def test_smoke_is_deterministic_and_seeds_differ() -> None:
    a, b, c = run("smoke", 3.0), run("smoke", 3.0), run("smoke", 3.0, seed=1)
    assert np.array_equal(a.pose, b.pose) and np.array_equal(a.dynamics, b.dynamics)
    assert not np.allclose(a.pose, c.pose)
    assert set(a.hashes) == {"weights", "basis"} and a.seed == 0 and a.fps == 25
