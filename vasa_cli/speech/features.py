"""Speech features for the motion model: which sounds, how loud, how high. 25 frames a second, F = `FEATURES` numbers each.

    0 .. PHONETIC-1     outputs of the phonetic network (`student.py`), each standardised on the training speech
    PHONETIC            loudness relative to the speaker's own level, standardised
    PHONETIC+1, +2      pitch (log2 to 150 Hz, 0 where unvoiced) and voicing, standardised

Frame t covers samples 640 t .. 640 t + 639 and depends on nothing later than 640 t + 3200 (200 ms). Level does not matter: the
sound is measured against a causal follower of the speaker's loudness, and what never reaches -55 dB is silence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import torch

from vasa_cli.errors import WeightsError
from vasa_cli.speech.mel import follow_level, normalise
from vasa_cli.speech.stream import CHUNK, FeatureStream
from vasa_cli.speech.student import SpeechStudent, StudentConfig

PHONETIC = 140
PROSODY = 3
FEATURES = PHONETIC + PROSODY
LOOK_AHEAD = 3200  # samples
FORMAT = "vasa-speech/1"


@dataclass(frozen=True)
class SpeechEncoder:
    """The phonetic network with the constants that turn its outputs into features. Immutable; safe to share."""

    student: SpeechStudent
    axes: torch.Tensor  # (student outputs, PHONETIC)
    mean: torch.Tensor  # (FEATURES,)
    std: torch.Tensor  # (FEATURES,)
    weights: str = ""  # name of the shipped weights that these are; "" for others

    @classmethod
    def from_weights(cls, weights: str = "default") -> SpeechEncoder:
        """Load shipped weights: "default", or "smoke" (a tiny seeded network for quick tests). Raises WeightsError (exit 5)."""
        from vasa_cli.weights.registry import load_tensors

        return replace(cls.from_tensors(*load_tensors("speech", weights)), weights=weights)

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], meta: dict[str, str]) -> SpeechEncoder:
        """Build from the tensors and metadata of a weight file."""
        if meta.get("format") != FORMAT:
            raise WeightsError(f"speech weights have format {meta.get('format')!r}, expected {FORMAT!r}; reinstall the package")
        sizes = json.loads(meta["student"])
        sizes["dilations"] = tuple(sizes["dilations"])
        student = SpeechStudent(StudentConfig(**sizes))
        whole = {k: torch.from_numpy(np.asarray(v, dtype=np.float32)) for k, v in tensors.items()}
        try:
            student.load_state_dict({k[8:]: v for k, v in whole.items() if k.startswith("student.")})
            return cls(student.eval().requires_grad_(False), whole["axes"], whole["mean"], whole["std"])
        except (RuntimeError, KeyError) as e:
            raise WeightsError("speech weights do not fit this version's network; reinstall the package") from e

    @property
    def size(self) -> int:
        """F, the numbers of a frame."""
        return int(self.mean.shape[0])

    def features(self, samples: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
        """(N,) float mono 16 kHz to (T, F) float32, T = n_frames(N, 16000, 25).

        Memory depends on `chunk` (video frames), not on N.
        """
        stream = FeatureStream(self, chunk)
        return np.concatenate([stream.push(samples), stream.finish()])

    def mel_features(self, mel_db: torch.Tensor) -> torch.Tensor:
        """Phonetic outputs of mel power in dB, (B, 4 T, 80) to (B, T, PHONETIC), not standardised (trainers change voices in
        the mel domain)."""
        with torch.inference_mode():
            return self.student(normalise(mel_db, follow_level(mel_db))) @ self.axes

    @property
    def phonetic_size(self) -> int:
        """Columns of a frame that the network tells; loudness, pitch and voicing follow."""
        return int(self.axes.shape[1])

    def phonetic(self, hidden: torch.Tensor) -> torch.Tensor:
        """The network's last hidden layer (..., W) to the standardised phonetic columns (..., P)."""
        size = self.phonetic_size
        return (self.student.head(hidden) @ self.axes - self.mean[:size]) / self.std[:size]

    def prosody(self, loud: torch.Tensor, voice: torch.Tensor) -> torch.Tensor:
        """Loudness (..., T) and pitch with voicing (..., T, 2) to the last columns (..., T, 3), standardised."""
        size = self.phonetic_size
        return (torch.cat([loud[..., None], voice], dim=-1) - self.mean[size:]) / self.std[size:]
