"""Speech features for the motion model: which sounds, how loud, how high. 25 frames a second, F = `FEATURES` numbers each.

    0 .. PHONETIC-1     outputs of the phonetic network (`student.py`), each standardised on the training speech
    PHONETIC            loudness relative to the speaker's own level, standardised
    PHONETIC+1, +2      pitch (log2 to 150 Hz, 0 where unvoiced) and voicing, standardised

Frame t covers samples 640 t .. 640 t + 639 and depends on nothing later than 640 t + 3200 (200 ms). Level does not matter: the
sound is measured against a causal follower of the speaker's loudness, and what never reaches -55 dB is silence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from vasa_cli.errors import WeightsError
from vasa_cli.speech.audio import RATE, n_frames
from vasa_cli.speech.mel import HOP, LEFT_PAD, MELS_PER_FRAME, WINDOW, follow_level, mel_power_db, normalise
from vasa_cli.speech.pitch import FRAME, LEFT, pitch_and_voicing
from vasa_cli.speech.student import SpeechStudent, StudentConfig

PHONETIC = 140
PROSODY = 3
FEATURES = PHONETIC + PROSODY
FPS = Fraction(25)
LOOK_AHEAD = 3200  # samples
CHUNK = 1500  # video frames a chunk, one minute
FORMAT = "vasa-speech/1"


@dataclass(frozen=True)
class SpeechEncoder:
    """The phonetic network with the constants that turn its outputs into features. Immutable; safe to share."""

    student: SpeechStudent
    axes: torch.Tensor  # (student outputs, PHONETIC)
    mean: torch.Tensor  # (FEATURES,)
    std: torch.Tensor  # (FEATURES,)

    @classmethod
    def from_weights(cls, weights: str = "default") -> SpeechEncoder:
        """Load shipped weights: "default", or "smoke" (a tiny seeded network for quick tests). Raises WeightsError (exit 5)."""
        from vasa_cli.weights.registry import load_tensors

        return cls.from_tensors(*load_tensors("speech", weights))

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
        sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        total = n_frames(len(samples), RATE, FPS)
        if total == 0:
            return np.zeros((0, self.size), dtype=np.float32)
        before = self.student.config.left_context + 1
        after = self.student.config.lookahead + 1
        out = np.empty((total, self.size), dtype=np.float32)
        history: torch.Tensor | None = None  # follower's level just before mel frame `at` of the chunk
        for start in range(0, total, chunk):
            end = min(start + chunk, total)
            low, high = max(0, start - before), min(total, end + after)
            mel = self._mel(sound, low, high)
            level = follow_level(mel, history)
            raw = self._frames(sound, mel, level, low, high)[start - low : end - low]
            out[start:end] = raw.numpy()
            next_low = max(0, end - before)
            history = level[(next_low - low) * MELS_PER_FRAME - 1] if next_low > low else history
        return out

    def mel_features(self, mel_db: torch.Tensor) -> torch.Tensor:
        """Phonetic outputs of mel power in dB, (B, 4 T, 80) to (B, T, PHONETIC), not standardised (trainers change voices in
        the mel domain)."""
        with torch.inference_mode():
            return self.student(normalise(mel_db, follow_level(mel_db))) @ self.axes

    def _mel(self, sound: torch.Tensor, low: int, high: int) -> torch.Tensor:
        """Mel dB of video frames low .. high - 1: (4 (high - low), 80)."""
        first = low * FRAME - LEFT_PAD
        last = (high * MELS_PER_FRAME - 1) * HOP - LEFT_PAD + WINDOW
        return mel_power_db(_cut(sound, first, last))

    @torch.inference_mode()
    def _frames(self, sound: torch.Tensor, mel: torch.Tensor, level: torch.Tensor, low: int, high: int) -> torch.Tensor:
        """Standardised features of the frames low .. high - 1, (high - low, F)."""
        phonetic = self.student(normalise(mel, level)[None])[0] @ self.axes  # (T, P)
        voice = pitch_and_voicing(_cut(sound, low * FRAME - LEFT, high * FRAME + LEFT))  # (T, 2)
        raw = torch.cat([phonetic, loudness(mel, level)[:, None], voice], dim=1)  # (T, F)
        return (raw - self.mean) / self.std


def loudness(mel: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(..., 4 T, 80) mel dB and (..., 4 T) level to (..., T): dB below the speaker's level, floored at -60, mean of a frame's
    four."""
    power = 10.0 * torch.log10(torch.pow(10.0, mel / 10.0).sum(-1) + 1e-12)
    relative = (power - level).clamp(min=-60.0)
    return relative.unflatten(-1, (-1, MELS_PER_FRAME)).mean(-1)


def _cut(sound: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Samples first .. last - 1, zeros outside the recording."""
    inside = sound[max(0, first) : max(0, min(last, len(sound)))]
    left = max(0, -first)
    return torch.nn.functional.pad(inside, (left, last - first - left - len(inside)))
