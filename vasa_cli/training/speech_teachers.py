"""Projections of what the teachers say: half-whitened principal components, the student's targets.

Half-whitened: a component of standard deviation s gets s^0.5, so that fine distinctions count more than in the raw states and
noise less than after full whitening. Fit once per corpus; saved as `teachers.npz` in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vasa_cli.training.speech_corpus import _pieces_of, phone_activity

POSITIONS = 1500
LIP_COORDINATES = 12


def whisper_places(root: Path) -> np.ndarray:
    """(1500, 384) mean encoder state by position in the window: whisper adds a position code, which says nothing about the
    speech."""
    total, count = np.zeros((POSITIONS, 384)), np.zeros((POSITIONS, 1))
    for path in sorted((root / "teach_whisper").glob("*.npz")):
        for i, raw in _pieces_of(path).items():
            if i % 2 == 0:
                head = raw[:POSITIONS].astype(np.float32)
                total[: len(head)] += head
                count[: len(head)] += 1
    mean = total / np.maximum(count, 1)
    enough = np.flatnonzero(count[:, 0] >= min(200, count.max()))
    return np.asarray(mean[np.minimum(np.arange(POSITIONS), enough.max())], dtype=np.float32)


def _sample(root: Path, teacher: str, place: np.ndarray | None, per_file: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = []
    for path in sorted((root / f"teach_{teacher}").glob("*.npz")):
        pieces = [p.astype(np.float32) for p in _pieces_of(path).values()]
        if place is not None:
            pieces = [p - place[np.minimum(np.arange(len(p)), len(place) - 1)] for p in pieces]
        else:
            pieces = [phone_activity(p) for p in pieces]
        x = np.concatenate(pieces)
        rows.append(x[rng.permutation(len(x))[: min(per_file, len(x) // 2 + 1)]])
    return np.concatenate(rows)


def fit_projection(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """rows (N, D) to mean (D,), axes (D, size), scale (size,) and the share of variance kept.

    Scaled so that coordinates have mean variance 1.
    """
    mean = rows.mean(0)
    values, vectors = np.linalg.eigh(np.cov((rows - mean).T))
    order = np.argsort(values)[::-1][:size]
    std = np.sqrt(np.maximum(values[order], 1e-9))
    scale = std**-0.5
    scale = scale / np.sqrt(np.mean((std * scale) ** 2))
    return mean, vectors[:, order], scale, float(values[order].sum() / values.sum())


def fit_teachers(root: Path, size: int = 64, lips_scale: np.ndarray | None = None, seed: int = 0) -> dict[str, float]:
    """Fit and save `teachers.npz`; returns the variance kept by teacher."""
    place = whisper_places(root)
    out: dict[str, np.ndarray] = {"whisper_place": place}
    kept: dict[str, float] = {}
    for teacher in ("whisper", "hama"):
        rows = _sample(root, teacher, place if teacher == "whisper" else None, 3000, seed)
        out[f"{teacher}_mean"], out[f"{teacher}_axes"], out[f"{teacher}_scale"], kept[teacher] = fit_projection(rows, size)
    out["lips_scale"] = np.ones(12) if lips_scale is None else lips_scale
    np.savez(root / "teachers.npz", **{k: v.astype(np.float32) for k, v in out.items()})
    return kept
