"""What the speech stresses, and where it pauses: from loudness, pitch and voicing of the features and the voice activity.

Frame t looks at features up to t + 5 (timing.LOOK_AHEAD, 200 ms), never farther; averages look back only. So the behaviour of
a recording's beginning does not depend on how it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.behaviour.timing import LOOK_AHEAD, leaky, runs

SHORTEST_PAUSE = LOOK_AHEAD + 1  # frames, 240 ms: stops within words are shorter
CLICK = 2  # frames of sound between pauses that are no phrase
LOUDNESS_DB = (-27.2, 21.5)  # mean and deviation behind the standardised columns (speech weights)
PITCH_OCTAVES, VOICED = 0.46, 0.5  # deviation of the pitch column; standardised voicing above which the pitch counts
ACCENT_BEFORE, ACCENT_AFTER = 4, 2  # frames around an accent that are less stressed than it
ACCENT_GAP = 5  # frames between accents: syllables


@dataclass(frozen=True)
class Accent:
    """A stressed syllable: its frame, and its size relative to the speaker's usual accent (1)."""

    frame: int
    size: float


@dataclass(frozen=True)
class Prosody:
    """speaking (T,) bool, pauses under 240 ms bridged; emphasis (T,) >= 0; accents; phrases as (first, after the last) frame."""

    speaking: np.ndarray
    emphasis: np.ndarray
    accents: tuple[Accent, ...]
    phrases: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.speaking)

    def silent_for(self) -> np.ndarray:
        """(T,) frames since the last speech, 0 while speaking."""
        out = np.zeros(len(self), int)
        held = 0
        for i, on in enumerate(self.speaking):
            held = 0 if on else held + 1
            out[i] = held
        return out


def listen(features: np.ndarray, active: np.ndarray) -> Prosody:
    """features (T, F) whose last three columns are loudness, pitch, voicing (standardised); active (T,) bool: voice heard."""
    speaking = bridge(active)
    stress = emphasis(features, speaking)
    return Prosody(speaking, stress, tuple(accents(stress, speaking)), tuple(runs(speaking)))


def bridge(active: np.ndarray) -> np.ndarray:
    """(T,) bool without pauses that are shorter than SHORTEST_PAUSE, and without clicks."""
    out = active.copy()
    for start, stop in runs(~active):
        if stop - start < SHORTEST_PAUSE and start > 0 and stop < len(active):
            out[start:stop] = True
    for start, stop in runs(out):
        if stop - start < CLICK and stop < len(active):
            out[start:stop] = False
    return out


def emphasis(features: np.ndarray, speaking: np.ndarray) -> np.ndarray:
    """(T,) how far loudness and pitch rise above what they have been: about 0.2 for an ordinary accent."""
    loudness, pitch, voicing = features[:, -3:].astype(np.float64).T
    level = np.clip(1 + (LOUDNESS_DB[0] + LOUDNESS_DB[1] * loudness) / 40, 0, 1) * speaking
    rise = np.maximum(smooth(level) - _held(level, speaking, 1.0, 0.65), 0)
    voiced = (voicing > VOICED) & speaking
    usual = _usual_pitch(pitch, voiced)
    height = np.where(voiced, np.clip(PITCH_OCTAVES * (pitch - usual), -0.5, 0.8), 0.0)
    return np.asarray((rise + np.maximum(smooth(height), 0)) * speaking)


def _held(x: np.ndarray, speaking: np.ndarray, seconds: float, start: float) -> np.ndarray:
    """A causal average of x (T,) that stands still while nobody speaks."""
    return np.asarray(np.r_[start, leaky(x[speaking], seconds, start)][np.cumsum(speaking)])


def _usual_pitch(pitch: np.ndarray, voiced: np.ndarray, seconds: float = 2.5) -> np.ndarray:
    """(T,) the speaker's running mean pitch over voiced frames."""
    out, held, count = np.empty(len(pitch)), 0.0, 0
    for i, (value, on) in enumerate(zip(pitch, voiced, strict=True)):
        if on:
            count += 1
            held += (value - held) / min(count, 25 * seconds)
        out[i] = held if count else value
    return out


def smooth(x: np.ndarray) -> np.ndarray:
    """(T,) triangular average over five frames."""
    return np.convolve(np.pad(x, 2, mode="edge"), np.array([1, 2, 3, 2, 1]) / 9, mode="valid")


def accents(stress: np.ndarray, speaking: np.ndarray) -> list[Accent]:
    """Peaks of the emphasis, seen ACCENT_AFTER frames (and the smoothing's two) after they are reached."""
    usual = _held(stress, speaking, 4.0, 0.12)
    out: list[Accent] = []
    typical = 0.3
    for t in range(len(stress)):
        low, high = max(t - ACCENT_BEFORE, 0), min(t + ACCENT_AFTER + 1, len(stress))
        if not speaking[t] or stress[t] < 1.15 * usual[t] + 0.04 or stress[t] < stress[low:high].max():
            continue
        if out and t - out[-1].frame < ACCENT_GAP:
            continue
        out.append(Accent(t, float(np.clip(stress[t] / typical, 0.4, 2.2))))
        typical += 0.1 * (float(stress[t]) - typical)
    return out
