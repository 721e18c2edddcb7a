"""From a training checkpoint to the shipped weights: averaged network, principal axes of its outputs, standardisation."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from vasa_cli.speech.features import FEATURES, FORMAT, PHONETIC, SpeechEncoder
from vasa_cli.speech.student import SpeechStudent, StudentConfig
from vasa_cli.training.speech_corpus import VALIDATION
from vasa_cli.training.speech_data import is_heldout
from vasa_cli.training.speech_teachers import LIP_COORDINATES

SMOKE = StudentConfig(width=16, hidden=16, stem=16, dilations=(1, 1, 2, 4))


def training_sounds(corpus: Path, per_file: int = 6) -> list[np.ndarray]:
    """A few pieces of every pool file, (N,) float32: the speech that features are standardised on."""
    sounds = []
    for path in sorted((corpus / "pool").glob("*.npz")):
        if ".tmp" in path.name or path.stem.startswith(VALIDATION):
            continue
        with np.load(path) as z:
            data, lens = z["data"], z["lens"]
        ends = np.cumsum(lens)
        chosen = [i for i in range(len(lens)) if not (path.stem == "grid" and is_heldout(i))]
        count = 8 * per_file if path.stem == "grid" else per_file
        for i in chosen[:: max(1, len(chosen) // count)][:count]:
            sounds.append(data[ends[i] - lens[i] : ends[i]].astype(np.float32) / 32768.0)
    return sounds


def principal_axes(outputs: torch.Tensor, lips: int, keep: int) -> torch.Tensor:
    """outputs (N, D) to (D, keep): the first keep - lips principal axes of the teachers' coordinates, then the lip coordinates
    as they are."""
    size = outputs.shape[1]
    phones = outputs[:, : size - lips]
    covariance = torch.cov(phones.T)
    _, vectors = torch.linalg.eigh(covariance)
    axes = torch.zeros(size, keep)
    axes[: size - lips, : keep - lips] = vectors.flip(1)[:, : keep - lips]
    axes[size - lips :, keep - lips :] = torch.eye(lips)
    return axes


def build(student: SpeechStudent, sounds: list[np.ndarray]) -> SpeechEncoder:
    """An encoder whose features have mean 0 and deviation 1 on the given speech."""
    student = student.eval().requires_grad_(False)
    size = student.config.out
    plain = SpeechEncoder(
        student, torch.eye(size), torch.zeros(size + FEATURES - PHONETIC), torch.ones(size + FEATURES - PHONETIC)
    )
    raw = torch.from_numpy(np.concatenate([plain.features(s) for s in sounds]))
    axes = principal_axes(raw[:, :size], LIP_COORDINATES, PHONETIC)
    values = torch.cat([raw[:, :size] @ axes, raw[:, size:]], dim=1)
    std = values.std(0)
    std[:PHONETIC] = torch.maximum(
        std[:PHONETIC], 0.05 * std[:PHONETIC].max()
    )  # the faintest axes are noise: not blown up to full size
    return SpeechEncoder(student, axes, values.mean(0), std)


def keep_meaning(new: SpeechEncoder, old: SpeechEncoder) -> SpeechEncoder:
    """The new network with the old one's axes and scales, so that what learned from the old features goes on working; the
    teachers' coordinates mean the same in both. Only the lips, which another teacher told, are standardised anew."""
    if old.axes.shape != new.axes.shape:
        return new
    lips = slice(PHONETIC - LIP_COORDINATES, PHONETIC)
    mean, std = old.mean.clone(), old.std.clone()
    mean[lips], std[lips] = new.mean[lips], new.std[lips]
    return SpeechEncoder(new.student, old.axes, mean, std)


def tensors_of(encoder: SpeechEncoder) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Half-precision tensors and metadata of a weight file."""
    tensors = {f"student.{k}": v.half().contiguous() for k, v in encoder.student.state_dict().items()}
    tensors |= {
        "axes": encoder.axes.half().contiguous(),
        "mean": encoder.mean.float().contiguous(),
        "std": encoder.std.float().contiguous(),
    }
    return tensors, {"format": FORMAT, "student": json.dumps(asdict(encoder.student.config))}


def load_student(checkpoint: Path) -> tuple[SpeechStudent, int]:
    """The averaged network of a training checkpoint, and its step."""
    state = torch.load(checkpoint, weights_only=True)
    sizes = json.loads(state["config"])["student"]
    student = SpeechStudent(StudentConfig(**{**sizes, "dilations": tuple(sizes["dilations"])}))
    student.load_state_dict(state["average"])
    return student, int(state["step"])


def export(corpus: Path, checkpoint: Path, anew: bool = False) -> str:
    """Write vasa_cli/weights/speech.safetensors (and, with `anew`, the tiny seeded smoke network, and fresh axes); returns a
    line about them."""
    from safetensors.torch import save_file

    from vasa_cli.weights import registry

    student, step = load_student(checkpoint)
    torch.manual_seed(0)
    sounds = training_sounds(corpus)
    encoders = {"default": build(student, sounds)}
    if anew:
        encoders["smoke"] = build(SpeechStudent(SMOKE), sounds[::20])
    else:
        encoders["default"] = keep_meaning(encoders["default"], SpeechEncoder.from_weights("default"))
    root = Path(registry.__file__).parent
    for name, encoder in encoders.items():
        tensors, meta = tensors_of(encoder)
        path = root / registry.file_name("speech", name)
        save_file(tensors, str(path), metadata={**meta, "step": str(step)})
        path.chmod(0o644)
        registry.record("speech", name)
    size = (root / registry.file_name("speech")).stat().st_size
    return f"step {step}: {sum(p.numel() for p in student.parameters()) / 1e6:.2f} M parameters, {size / 1e6:.2f} MB"
