"""The lip teachers as weights of the optional extra `phonetics` (see `vasa_cli/speech/phonetic_teacher.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vasa_cli.speech.phonetic_teacher import FORMAT, model_hash
from vasa_cli.training.speech_probe import LipRegressor, Probe, ProbeConfig

CURVES = 2  # opening and width come first in the regressors' targets; the product wants the lips alone
SCALES = ("x_mean", "x_std", "y_mean", "y_std")


def save_mouths(path: Path, models: Sequence[Probe]) -> None:
    """Keep fitted lip teachers for `export_phonetics`."""
    torch.save([{"model": m.model.state_dict(), **{k: getattr(m, k) for k in SCALES}} for m in models], path)


def load_mouths(path: Path) -> list[Probe]:
    """What `save_mouths` kept."""
    probes = []
    for state in torch.load(path, weights_only=True):
        model = LipRegressor(len(state["x_mean"]), len(state["y_mean"]), ProbeConfig().width)
        model.load_state_dict(state["model"])
        probes.append(Probe(model.eval(), *(state[k] for k in SCALES)))
    return probes


def phonetics_tensors(models: Sequence[Probe], teachers: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Half-precision tensors. The position code and the mean of whisper's states are projected here, and the lips get the scale
    that the student's lips have."""
    t = {k: np.asarray(v, dtype=np.float64) for k, v in teachers.items()}
    axes = t["whisper_axes"] * t["whisper_scale"]
    places = t["whisper_place"][: int(np.flatnonzero(np.abs(np.diff(t["whisper_place"], axis=0)).max(1) > 0).max(initial=0)) + 2]
    out = {"axes": torch.from_numpy(axes), "place": torch.from_numpy((places + t["whisper_mean"]) @ axes)}
    scale = torch.from_numpy(t["lips_scale"])
    for i, m in enumerate(models):
        own = {**m.model.state_dict(), "x_mean": m.x_mean, "x_std": m.x_std}
        own |= {k: own[k][CURVES:] for k in ("out.weight", "out.bias")}
        own |= {"y_mean": m.y_mean[CURVES:] * scale, "y_std": m.y_std[CURVES:] * scale}
        out |= {f"{i}.{k}": v for k, v in own.items()}
    return {k: v.half().contiguous() for k, v in out.items()}


def export_phonetics(corpus: Path) -> str:
    """Write vasa_cli/weights/phonetics.safetensors from the corpus's lip teachers and projections; returns a line about it."""
    from safetensors.torch import save_file

    from vasa_cli.weights import registry

    models = load_mouths(corpus / "lip_teachers.pt")
    with np.load(corpus / "teachers.npz") as z:
        tensors = phonetics_tensors(models, {k: z[k] for k in z.files})
    path = Path(registry.__file__).parent / registry.file_name("phonetics")
    save_file(tensors, str(path), metadata={"format": FORMAT, "mouths": str(len(models)), "recogniser": model_hash()})
    path.chmod(0o644)
    registry.record("phonetics")
    return f"phonetics: {len(models)} lip teachers, {path.stat().st_size / 1e6:.2f} MB"
