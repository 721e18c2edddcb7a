"""Blinks and gaze of a track: how often, how long, when, where to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis

FPS = 25
SHUT = 0.45  # closure from which the lids count as blinking, as in training (`motion_data.open_eyes`)
LONGEST = 15  # frames; longer is looking down
DOUBLE = 0.8  # s between the peaks of a double blink
NEAR = (-0.3, 0.5)  # s around a phrase boundary that belong to it
PAUSE = 5  # frames; shorter pauses bound no phrase
DART = 1.5  # degrees a frame from which the eyes dart (38 degrees a second)


@dataclass(frozen=True)
class Blink:
    """peak: frame; width: seconds at half of the peak's closure."""

    peak: int
    width: float


def closure_of(dynamics: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T,) mean closure of both lids."""
    lids = basis.blocks["lids"].start
    return np.asarray(dynamics[:, lids : lids + 2].mean(1))


def blinks(closure: np.ndarray) -> list[Blink]:
    """Stretches of at most 0.6 s above SHUT. (T,) 0..1; two peaks between which the lids open by a third are two blinks."""
    from scipy.signal import find_peaks

    out: list[Blink] = []
    edges = np.flatnonzero(np.diff(np.r_[0, (closure > SHUT).astype(int), 0]))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start > LONGEST:
            continue
        part = np.r_[0, closure[start:stop], 0]
        tops = find_peaks(part, prominence=0.33 * part.max())[0]
        for top in tops if len(tops) > 1 else [int(part.argmax())]:
            peak = int(start + top - 1)
            out.append(Blink(peak, _width(closure, peak)))
    return out


def _width(closure: np.ndarray, peak: int) -> float:
    """Seconds between the half heights around a peak, interpolated."""
    half, ends = 0.5 * closure[peak], []
    for step in (-1, 1):
        i = peak
        while 0 <= i + step < len(closure) and closure[i + step] > half:
            i += step
        j = i + step
        inside = 0 <= j < len(closure)
        ends.append(abs(i - peak) + ((closure[i] - half) / (closure[i] - closure[j]) if inside else 0.5))
    return float(sum(ends)) / FPS


def boundaries(speaking: np.ndarray) -> np.ndarray:
    """Frames at which phrases start or stop: edges of speech at pauses of at least 0.2 s (the recording's ends are none)."""
    edges = np.flatnonzero(np.diff(np.r_[1, speaking.astype(int), 1]))
    pauses = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= PAUSE]
    return np.array([x for a, b in pauses for x in (a, b) if 0 < x < len(speaking)], int)


def near_boundary(frames: int, bounds: np.ndarray) -> np.ndarray:
    """(T,) bool: within NEAR of a boundary."""
    t = (np.arange(frames)[:, None] - bounds[None]) / FPS
    return ((t >= NEAR[0]) & (t <= NEAR[1])).any(1) if len(bounds) else np.zeros(frames, bool)


@dataclass(frozen=True)
class BlinkCount:
    """Sums over clips: add them up with `+`."""

    frames: int = 0
    blinks: int = 0
    width: float = 0.0
    doubles: int = 0
    at_bounds: int = 0
    near: int = 0

    def __add__(self, other: BlinkCount) -> BlinkCount:
        return BlinkCount(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def statistics(self) -> dict[str, float]:
        """rate a minute, duration in s, share of doubles, share at phrase boundaries over what chance would give."""
        some = self.blinks or float("nan")
        share, chance = self.at_bounds / some, self.near / self.frames if self.frames else float("nan")
        return {"rate": self.blinks / self.frames * 60 * FPS if self.frames else float("nan"), "duration": self.width / some,
                "doubles": self.doubles / some, "bounds": share / chance if chance else float("nan")}  # fmt: skip


def count_blinks(closure: np.ndarray, speaking: np.ndarray) -> BlinkCount:
    """One clip."""
    found = blinks(closure)
    near = near_boundary(len(closure), boundaries(speaking))
    times = np.array([b.peak for b in found])
    doubles = int((np.diff(times) <= DOUBLE * FPS).sum()) if len(times) > 1 else 0
    return BlinkCount(
        len(closure), len(found), sum(b.width for b in found), doubles, int(sum(near[t] for t in times)), int(near.sum())
    )


@dataclass(frozen=True)
class Gaze:
    """std degrees (yaw, pitch); darts a minute; away: share of frames more than 10 degrees off; hold: median seconds between
    darts."""

    yaw: float
    pitch: float
    darts: float
    away: float
    hold: float


def gaze_statistics(dynamics: np.ndarray, basis: DynamicsBasis) -> Gaze:
    """Of the eyes in the head; frames of blinks count as what is between them."""
    closure = closure_of(dynamics, basis)
    good = np.convolve(closure > SHUT, np.ones(9), mode="same") < 0.5
    if good.sum() < FPS:
        return Gaze(*[float("nan")] * 5)
    angles = np.degrees(dynamics[:, basis.blocks["gaze"]])
    t = np.arange(len(angles))
    angles = np.stack([np.interp(t, t[good], angles[good, i]) for i in (0, 1)], 1)
    fast = np.linalg.norm(np.diff(angles, axis=0), axis=1) > DART
    starts = np.flatnonzero(np.diff(np.r_[0, fast.astype(int)]) == 1)
    holds = np.diff(np.r_[0, starts, len(angles)]) / FPS
    off = np.linalg.norm(angles - np.median(angles, 0), axis=1) > 10
    return Gaze(float(angles[:, 0].std()), float(angles[:, 1].std()), len(starts) / len(angles) * 60 * FPS, float(off.mean()),
                float(np.median(holds)))  # fmt: skip


def gaze_errors(found: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(T, 2) degrees of yaw and pitch each (asked may be (2,)) -> (T,) degrees between the directions: VASA-1's E_g, frame by
    frame."""

    def direction(a: np.ndarray) -> np.ndarray:
        yaw, pitch = np.radians(a[..., 0]), np.radians(a[..., 1])
        return np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], -1)

    cosine = (direction(np.asarray(found, float)) * direction(np.asarray(asked, float))).sum(-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
