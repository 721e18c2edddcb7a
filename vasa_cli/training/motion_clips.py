"""Reading the landmark clips that basis and motion model are fitted on (format: npz with delta, step, ok, time, fps)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SOURCES = ("grid_s1", "anitalker", "liveportrait", "strangers")
PARTS = ("train", "sync", "test")
HELD_OUT = {"anitalker": ("aiface3-speech4",), "liveportrait": ("d3", "d19", "s18")}


@dataclass(frozen=True)
class Clip:
    """One tracked clip: landmarks (T, 478, 3) in image widths, times (T,) seconds, and the sound beside it, if any."""

    name: str
    source: str
    landmarks: np.ndarray
    time: np.ndarray
    fps: float
    size: tuple[int, int]
    audio: Path | None


def read_clip(path: Path) -> Clip:
    """Read one npz. Frames without a face are filled from their neighbours."""
    z = np.load(path)
    marks = (np.cumsum(z["delta"].astype(np.int32), axis=0) * z["step"]).astype(np.float32)
    ok = z["ok"].astype(bool)
    if not ok.all():
        index = np.flatnonzero(ok)
        marks = marks[index[np.abs(np.arange(len(ok))[:, None] - index).argmin(1)]]
    audio = path.with_suffix(".flac")
    size = (int(z["width"]), int(z["height"]))
    return Clip(path.stem, path.parent.name, marks, z["time"], float(z["fps"]), size, audio if audio.is_file() else None)


def grid_part(index: int) -> str:
    """Which part of GRID a clip is in, by its place in sorted order: seven of ten train the generator, two the metric nets
    (own-sync, which must judge by clips the generator never saw), one nothing.
    """
    place = index % 10
    return "test" if place == 9 else "sync" if place >= 7 else "train"


def clip_paths(data: Path, source: str, *, part: str | None = None) -> list[Path]:
    """Sorted npz files of a source; part "train", "sync" or "test" (kept from everything), None for all.

    Only GRID has a "sync" part. Strangers are all "test"; of the lively sources a few clips are.
    """
    paths = sorted((data / source).glob("*.npz"))
    if part is None:
        return paths
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; there are {', '.join(PARTS)}")
    if source == "grid_s1":
        return [p for i, p in enumerate(paths) if grid_part(i) == part]
    if source == "strangers":
        return paths if part == "test" else []
    return [p for p in paths if ("test" if p.stem in HELD_OUT.get(source, ()) else "train") == part]


def resample(values: np.ndarray, time: np.ndarray, fps: float = 25.0) -> np.ndarray:
    """(T, ...) at `time` -> values at multiples of 1/fps, linear in between."""
    t0, t1 = float(time[0]), float(time[-1])
    n = int(np.floor((t1 - t0) * fps + 1e-6)) + 1
    at = t0 + np.arange(n) / fps
    right = np.clip(np.searchsorted(time, at, side="left"), 1, len(time) - 1)
    left = right - 1
    u = ((at - time[left]) / np.maximum(time[right] - time[left], 1e-9)).clip(0, 1)
    u = u.reshape(-1, *[1] * (values.ndim - 1))
    return (values[left] * (1 - u) + values[right] * u).astype(np.float32)


def smooth(values: np.ndarray, window: int = 5, degree: int = 2) -> np.ndarray:
    """Savitzky-Golay along time: a parabola through 5 frames takes landmark noise away and keeps the bottom of a plosive's
    closure.
    """
    from scipy.signal import savgol_filter

    if len(values) < window:
        return values
    return savgol_filter(values, window, degree, axis=0, mode="nearest").astype(np.float32)
