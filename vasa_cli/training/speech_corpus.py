"""Speech with teachers' opinions about it, as crops for distillation.

A corpus folder holds `pool/NAME.npz` (one file a speaker or source: `data` int16 16 kHz, `lens` the length of each piece) and,
of the same name and order, `teach_whisper/NAME.npz` (encoder states, 50 Hz), `teach_hama/NAME.npz` (phoneme log-posteriors, 50
Hz) and `teach_lips/NAME.npz` (lip coordinates that a regressor on the teachers predicts, 25 Hz): `data`, `lens` and, where not
every piece was done, `idx`. `teachers.npz` holds the projections that `vasa_cli/training/speech_teachers.py` fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vasa_cli.speech.mel import FLOOR_DB, MELS_PER_FRAME, N_MELS
from vasa_cli.training.speech_data import FRAME_SAMPLES, is_heldout, mel_of

VALIDATION = ("liveportrait", "anitalker", "judged")  # speakers that the student never hears; "judged": for tests only
CROP = 100  # video frames a crop, 4 s
TEACHERS = ("whisper", "hama", "lips")


@dataclass(frozen=True)
class Piece:
    """Up to some 14 s of one speaker.

    mel (4 T, 80) float16 dB; targets by teacher, (T, D) float16, D = both 50 Hz halves side by side.
    """

    speaker: str
    mel: torch.Tensor
    targets: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """mel (B, 4 T, 80) dB; target (B, T, D) all teachers side by side; known (B, T, D) 1 where the teacher spoke."""

    mel: torch.Tensor
    target: torch.Tensor
    known: torch.Tensor


def _pieces_of(path: Path) -> dict[int, np.ndarray]:
    """Piece number to array, of a `data`/`lens`[/`idx`] file."""
    if not path.is_file():
        return {}
    with np.load(path) as z:
        data, lens = z["data"], z["lens"]
        index = z["idx"] if "idx" in z.files else np.arange(len(lens))
    ends = np.cumsum(lens)
    return {int(i): data[e - n : e] for i, e, n in zip(index, ends, lens, strict=True)}


def pair_halves(values: np.ndarray, frames: int) -> np.ndarray:
    """(~2 T, D) at 50 Hz to (T, 2 D); the end repeats."""
    short = max(0, 2 * frames - len(values))
    return np.pad(values, ((0, short), (0, 0)), mode="edge")[: 2 * frames].reshape(frames, -1)


class Projection:
    """From a teacher's raw frames to standardised coordinates (see `speech_teachers.fit_projection`)."""

    def __init__(self, root: Path) -> None:
        with np.load(root / "teachers.npz") as z:
            self.tensors = {k: z[k].astype(np.float32) for k in z.files}

    def size(self, teacher: str) -> int:
        """Dimensions of one 25 Hz frame."""
        n = int(self.tensors[f"{teacher}_scale"].shape[0])
        return n if teacher == "lips" else 2 * n

    def __call__(self, teacher: str, raw: np.ndarray, frames: int) -> np.ndarray:
        """raw (N, D) to (frames, size)."""
        raw = raw.astype(np.float32)
        if teacher == "lips":
            return np.asarray(
                np.pad(raw, ((0, max(0, frames - len(raw))), (0, 0)), mode="edge")[:frames] * self.tensors["lips_scale"]
            )
        if teacher == "whisper":
            place = self.tensors["whisper_place"]
            raw = raw - place[np.minimum(np.arange(len(raw)), len(place) - 1)]
        else:
            raw = phone_activity(raw)
        x = (raw - self.tensors[f"{teacher}_mean"]) @ self.tensors[f"{teacher}_axes"] * self.tensors[f"{teacher}_scale"]
        return pair_halves(x, frames)


def phone_activity(log_posteriors: np.ndarray) -> np.ndarray:
    """(N, P) CTC log-posteriors, blank last, to (N, P - 1): square roots of the phones' posteriors, smeared by 40 ms.

    CTC names a phone in one frame and says "blank" in the next five; smeared, the names become areas that can be learned.
    """
    steps = np.arange(-6, 7)
    kernel = np.exp(-0.5 * (steps / 2.0) ** 2)
    padded = np.pad(np.exp(log_posteriors[:, :-1]), ((6, 6), (0, 0)))
    smeared = sum(k * padded[6 + d : 6 + d + len(log_posteriors)] for k, d in zip(kernel / kernel.sum(), steps, strict=True))
    return np.asarray(np.sqrt(np.maximum(smeared, 0.0)), dtype=np.float32)


def load_pieces(root: Path, projection: Projection) -> list[Piece]:
    """Everything in the pool that at least one teacher has heard; GRID's held-out tenth left out."""
    pieces: list[Piece] = []
    for path in sorted((root / "pool").glob("*.npz")):
        if ".tmp" in path.name:
            continue
        heard = {t: _pieces_of(root / f"teach_{t}" / path.name) for t in TEACHERS}
        if not heard["whisper"]:
            continue
        for i, mel in _mels_of(path, root / "mel" / path.name).items():
            if path.stem == "grid" and is_heldout(i):
                continue
            targets = {
                t: torch.from_numpy(projection(t, h[i], len(mel) // MELS_PER_FRAME)).half() for t, h in heard.items() if i in h
            }
            pieces.append(Piece(path.stem, torch.from_numpy(mel), targets))
    return pieces


def _mels_of(path: Path, cache: Path) -> dict[int, np.ndarray]:
    """Piece number to mel dB (4 T, 80) float16, whole video frames only; kept in the corpus's `mel` folder for the next run."""
    if not cache.is_file():
        mels = []
        for sound in _pieces_of(path).values():
            frames = len(sound) // FRAME_SAMPLES
            mels.append(mel_of(sound[: frames * FRAME_SAMPLES].astype(np.float32) / 32768.0, frames).half().numpy())
        cache.parent.mkdir(exist_ok=True)
        np.savez(cache, data=np.concatenate(mels), lens=np.array([len(m) for m in mels]))
    return _pieces_of(cache)


def speaker_group(speaker: str) -> str:
    """Pool files of one origin share a group."""
    return speaker.split("_")[0] if speaker.startswith("kokoro") else speaker


class Crops:
    """Random crops; groups are drawn by the square root of their length, so that small ones are heard."""

    def __init__(self, pieces: list[Piece], projection: Projection, seed: int) -> None:
        self.pieces = pieces
        self.rng = np.random.default_rng(seed)
        self.slices: dict[str, slice] = {}
        at = 0
        for teacher in TEACHERS:
            self.slices[teacher] = slice(at, at + projection.size(teacher))
            at += projection.size(teacher)
        self.size = at
        lengths = np.array([len(p.mel) for p in pieces], dtype=np.float64)
        groups: dict[str, float] = {}
        for p, n in zip(pieces, lengths, strict=True):
            groups[speaker_group(p.speaker)] = groups.get(speaker_group(p.speaker), 0.0) + n
        weight = lengths * np.array([groups[speaker_group(p.speaker)] ** -0.5 for p in pieces])
        self.chance = weight / weight.sum()

    def batch(self, size: int, stretch: float, slow: float = 0.0) -> Batch:
        """Crops of 4 s; half of them played up to exp(`stretch`) faster or slower, and one in 1 / `slow` at about half its speed
        (targets follow)."""
        n = CROP * MELS_PER_FRAME
        mel = torch.full((size, n, N_MELS), FLOOR_DB)
        target, known = torch.zeros(size, CROP, self.size), torch.zeros(size, CROP, self.size)
        for b, i in enumerate(self.rng.choice(len(self.pieces), size, p=self.chance)):
            piece = self.pieces[i]
            speed = float(np.exp(self.rng.uniform(-stretch, stretch))) if self.rng.random() < 0.5 else 1.0
            if slow > 0.0 and self.rng.random() < slow:
                speed = float(self.rng.uniform(0.4, 0.7))
            total = len(piece.mel) // MELS_PER_FRAME
            frames = min(CROP, int(total / speed))
            start = int(self.rng.integers(0, total - int(frames * speed) + 1))
            at = start * MELS_PER_FRAME + torch.arange(frames * MELS_PER_FRAME) * speed
            mel[b, : len(at)] = _interpolate(piece.mel, at)
            for teacher, values in piece.targets.items():
                part = self.slices[teacher]
                target[b, :frames, part] = stretch_targets(values, teacher, start, frames, speed)
                known[b, :frames, part] = 1.0
        return Batch(mel, target, known)


def stretch_targets(values: torch.Tensor, teacher: str, start: int, frames: int, speed: float) -> torch.Tensor:
    """(frames, D) targets of a crop that begins at video frame `start` and plays `speed` times as fast."""
    if speed == 1.0:
        return values[start : start + frames].float()
    halves = 1 if teacher == "lips" else 2
    flat = values.reshape(len(values) * halves, -1)
    out = _interpolate(flat, start * halves + torch.arange(frames * halves) * speed)
    return out.reshape(frames, -1)


def _interpolate(values: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Rows of values (N, D) at fractional positions, float32."""
    left = at.floor().long().clamp(0, len(values) - 1)
    right = (left + 1).clamp(max=len(values) - 1)
    part = (at - left).unsqueeze(1)
    return values[left].float() * (1 - part) + values[right].float() * part
