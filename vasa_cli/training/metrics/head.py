"""How heads move: sizes, pace, trembling, stillness, and whether they move with the voice. 25 frames a second throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis, rotation

FPS = 25
STILL = 0.01  # IOD (about 0.9 mm) that a point must move within a second not to be frozen
BEAT_SIGMA = 0.1  # s; of the kernel by which a gesture counts as on a beat
REST = 0.4  # s; how far head and voice may be apart


def adjacent_angles(pose: np.ndarray) -> np.ndarray:
    """(T, 6) -> (T - 1,) degrees between the head rotations of neighbouring frames."""
    r = rotation(pose[:, :3])
    trace = np.einsum("tij,tij->t", r[1:], r[:-1])
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def delta_p(pose: np.ndarray) -> float:
    """VASA-1's pose variation intensity: mean angle between adjacent head rotations, degrees."""
    return float(adjacent_angles(pose).mean()) if len(pose) > 1 else 0.0


def head_std(pose: np.ndarray) -> np.ndarray:
    """(4,) degrees: standard deviations of yaw, pitch and roll, and of all three together (root of the summed variances)."""
    each = np.degrees(pose[:, :3]).std(0)
    return np.append(each, np.linalg.norm(each))


def jitter(values: np.ndarray) -> float:
    """Mean size of the second difference along time: (T,) or (T, C) in any unit -> unit a frame squared."""
    x = values if values.ndim > 1 else values[:, None]
    return float(np.linalg.norm(np.diff(x, 2, axis=0), axis=1).mean()) if len(x) > 2 else 0.0


def probe_points(basis: DynamicsBasis) -> np.ndarray:
    """Landmarks whose motion anybody would see: lids, irises, brows, lips, chin, nose, forehead, temples."""
    return np.array([159, 145, 386, 374, 468, 473, 105, 334, 13, 14, 61, 291, 152, 4, 10, 127, 356, 168])


def placed(pose: np.ndarray, dynamics: np.ndarray, basis: DynamicsBasis, points: np.ndarray) -> np.ndarray:
    """(T, P, 2) where points of the mean face are seen, in IOD: expression, rotation and place (distance as size)."""
    shape = basis.mean_shape[points] + np.einsum("tk,kpc->tpc", dynamics, basis.directions[:, points])
    turned = np.einsum("tij,tpj->tpi", rotation(pose[:, :3]), shape)
    width = float(np.linalg.norm(basis.mean_shape[234] - basis.mean_shape[454]))
    return turned[..., :2] * np.exp(-pose[:, 5])[:, None, None] + pose[:, None, 3:5] * width


def still_seconds(pose: np.ndarray, dynamics: np.ndarray, speaking: np.ndarray, basis: DynamicsBasis) -> tuple[float, float]:
    """Share of the seconds of speech (windows of 25 frames, one a fifth of a second, 80 % of them spoken) in which nothing moves
    at all, and in which the head (forehead, nose, temples) does not. nan where nobody speaks for a second."""
    points = probe_points(basis)
    seen = placed(pose, dynamics, basis, points)
    head = np.isin(points, (10, 168, 127, 356))
    nothing, held = [], []
    for start in range(0, len(pose) - FPS + 1, 5):
        if speaking[start : start + FPS].mean() < 0.8:
            continue
        part = seen[start : start + FPS]
        reach = np.ptp(part, axis=0).max(-1)  # (P,)
        nothing.append(bool((reach < STILL).all()))
        held.append(bool((reach[head] < STILL).all()))
    return (float(np.mean(nothing)), float(np.mean(held))) if nothing else (float("nan"), float("nan"))


def peaks(curve: np.ndarray, prominence: float, apart: int = 4) -> np.ndarray:
    """Frames of local maxima that stand out by `prominence` of their surroundings, at least `apart` frames from each other."""
    from scipy.signal import find_peaks

    return np.asarray(find_peaks(curve, prominence=prominence, distance=apart)[0])


@dataclass(frozen=True)
class Prosody:
    """Of a recording, 25 Hz: loudness (T,) dB below the loudest; pitch (T,) octaves to the median, 0 where unvoiced;
    speaking (T,) bool."""

    loudness: np.ndarray
    pitch: np.ndarray
    speaking: np.ndarray

    def accents(self) -> np.ndarray:
        """Frames on which a syllable stands out, by loudness and pitch together."""
        curve = np.clip((self.loudness + 30) / 30, 0, 1) + self.pitch.clip(-0.5, 0.5)
        smooth = np.convolve(np.pad(curve, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
        return peaks(smooth, 0.15)


def prosody(samples: np.ndarray, frames: int) -> Prosody:
    """samples (N,) at 16 kHz. Speaking: energy above the recording's own noise, as in `training.motion_voice`."""
    import torch

    from vasa_cli.speech.pitch import LEFT, pitch_and_voicing
    from vasa_cli.training.motion_voice import loud_samples

    need = frames * 640
    x = np.pad(samples.astype(np.float32), (0, max(0, need - len(samples))))[:need]
    level = 10 * np.log10((x.reshape(frames, 640) ** 2).mean(1) + 1e-10)
    voice = pitch_and_voicing(torch.nn.functional.pad(torch.from_numpy(x), (LEFT, LEFT))).numpy()
    voiced = voice[:, 1] > 0.5
    pitch = np.where(voiced, voice[:, 0] / np.maximum(voice[:, 1], 0.5), 0.0)
    pitch = np.where(voiced, pitch - (np.median(pitch[voiced]) if voiced.any() else 0.0), 0.0)
    return Prosody(level - level.max(), pitch, loud_samples(x, frames))


def on_beat(gestures: np.ndarray, accents: np.ndarray) -> float:
    """Mean over gestures of exp(-d^2 / 2 sigma^2), d seconds to the nearest accent. nan without either."""
    if not len(gestures) or not len(accents):
        return float("nan")
    d = np.abs(gestures[:, None] - accents[None]).min(1) / FPS
    return float(np.exp(-(d**2) / (2 * BEAT_SIGMA**2)).mean())


def gestures(pose: np.ndarray, brows: np.ndarray) -> np.ndarray:
    """Frames of nods (the lowest point of a dip of the head of 0.4 degrees and more) and of brow raises (0.012 IOD and more)."""
    return np.concatenate([peaks(np.degrees(pose[:, 1]), 0.4), peaks(brows, 0.012)])


def brow_height(dynamics: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T,) IOD by which the brows are raised (mean of landmarks 105 and 334; y points down)."""
    return np.asarray(-np.einsum("tk,kp->t", dynamics, basis.directions[:, [105, 334], 1]) / 2)


def shifts_of(frames: int, count: int = 40) -> np.ndarray:
    """Circular shifts, a second and more away from none, that make chance: nothing belongs together any more."""
    low = min(FPS, frames // 4)
    return np.unique(np.linspace(low, frames - low, count).astype(int))


def beat_alignment(pose: np.ndarray, dynamics: np.ndarray, sound: Prosody, basis: DynamicsBasis) -> tuple[float, float]:
    """`on_beat` of nods and brow raises against the voice's accents, and its mean over shifted accents (chance)."""
    made, said, n = gestures(pose, brow_height(dynamics, basis)), sound.accents(), len(pose)
    chance = [on_beat(made, (said + k) % n) for k in shifts_of(n)]
    return on_beat(made, said), float(np.nanmean(chance)) if np.isfinite(chance).any() else float("nan")


def follows_voice(pose: np.ndarray, sound: Prosody) -> tuple[float, float]:
    """Largest correlation of head speed (deg a frame, smoothed over 0.2 s) and loudness within 0.4 s, less its mean over shifted
    sound, in standard deviations of those; and the raw correlation. nan for a head or a sound without any change."""
    speed = np.convolve(adjacent_angles(pose), np.hanning(7)[1:-1] / 3, mode="same")
    loud = np.clip(sound.loudness[1 : 1 + len(speed)], -40, 0)
    speed = speed[: len(loud)]
    if len(speed) < 2 * FPS or speed.std() < 1e-6 or loud.std() < 1e-6:
        return float("nan"), float("nan")
    reach = round(REST * FPS)

    def best(x: np.ndarray) -> float:
        return max(float(np.corrcoef(np.roll(x, k)[reach:-reach], speed[reach:-reach])[0, 1]) for k in range(-reach, reach + 1))

    true, null = best(loud), np.array([best(np.roll(loud, k)) for k in shifts_of(len(loud))])
    return (true - float(null.mean())) / max(float(null.std()), 1e-6), true


def drift(pose: np.ndarray, parts: int = 10) -> tuple[float, float]:
    """Degrees: how far the mean head angles of the parts (of equal length) stray from the first part's, at most; and the trend
    over the whole track (straight line through each angle, its end less its start, the largest of the three)."""
    angles = np.degrees(pose[:, :3])
    means = np.stack([p.mean(0) for p in np.array_split(angles, parts)])
    line = np.polyfit(np.linspace(0, 1, len(angles)), angles, 1)[0]
    return float(np.abs(means - means[0]).max()), float(np.abs(line).max())
