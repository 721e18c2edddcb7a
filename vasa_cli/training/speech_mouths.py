"""The lip teacher: how would lips move to what whisper heard? Regressors on tracked lips, then their opinion on all speech.

One mouth is not enough: fitted on GRID's speaker alone it carries .58/.54 (opening/width) of strangers' lips, with the dozen
clips of other people at two fifths of the batches .66/.70. Lips are coordinates on GRID's principal axes, from each clip's own
median.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vasa_cli.speech.audio import RATE
from vasa_cli.training.lags import lag_of
from vasa_cli.training.speech_corpus import Projection, _pieces_of
from vasa_cli.training.speech_data import LipClip, is_heldout, read_lip_clips
from vasa_cli.training.speech_phonetics import CURVES, save_mouths
from vasa_cli.training.speech_probe import Probe, ProbeConfig, fit_probe

LIP_AXES = 12
OTHERS = ("anitalker", "liveportrait")
REPEAT = 8  # times that others' crops are seen for one of GRID's
CROP, STEP = 75, 50  # frames

Pair = tuple[np.ndarray, np.ndarray]


def teacher_config(seed: int) -> ProbeConfig:
    """The regressor's training: squared errors (their best guess, the mean, correlates best), noisy inputs."""
    return ProbeConfig(epochs=8, dropout=0.3, noise=0.3, loss="l2", share=0.5, first=3.0, seed=seed)


def lip_axes(clips: Sequence[LipClip]) -> np.ndarray:
    """(D, LIP_AXES) principal axes of the training clips' lips."""
    moved = np.concatenate([c.lips - np.median(c.lips, axis=0) for c in clips])
    return np.asarray(np.linalg.svd((moved - moved.mean(0))[::2], full_matrices=False)[2][:LIP_AXES].T)


def lip_targets(clip: LipClip, axes: np.ndarray) -> np.ndarray:
    """(T, 2 + LIP_AXES): opening, width, lip coordinates."""
    lips = (clip.lips - np.median(clip.lips, axis=0)) @ axes
    return np.concatenate([np.stack([clip.opening, clip.width], axis=1), lips], axis=1)[: clip.frames]


def change_voices(root: Path, hear: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> None:
    """GRID's training clips played 6-28 % faster or slower (other pitch, vocal tract and tempo), as the teacher hears them:
    changed_whisper.npz with the speeds."""
    import soxr

    rng = np.random.default_rng(seed)
    heard, speeds = {}, []
    for i, sound in _pieces_of(root / "pool" / "grid.npz").items():
        if is_heldout(i):
            continue
        speeds.append(float(np.exp(rng.uniform(0.06, 0.25) * rng.choice([-1, 1]))))
        changed = soxr.resample(sound.astype(np.float32) / 32768.0, RATE * speeds[-1], RATE)
        heard[i] = hear(np.asarray(changed, dtype=np.float32))
    lens = np.array([len(h) for h in heard.values()])
    data = np.concatenate(list(heard.values()))
    np.savez(root / "changed_whisper.npz", data=data, lens=lens, idx=np.array(list(heard)), speed=np.array(speeds))


def grid_pairs(root: Path, clips: Sequence[LipClip], axes: np.ndarray, projection: Projection) -> list[Pair]:
    """GRID's training clips as recorded and, where `change_voices` ran, at other speeds."""
    heard = _pieces_of(root / "teach_whisper" / "grid.npz")
    wanted = {i: lip_targets(c, axes) for i, c in enumerate(clips) if not is_heldout(i)}
    pairs = [(projection("whisper", heard[i], len(y)), y) for i, y in wanted.items() if i in heard]
    path = root / "changed_whisper.npz"
    if path.is_file():
        with np.load(path) as z:
            speeds = dict(zip(z["idx"].tolist(), z["speed"].tolist(), strict=True))
        for i, raw in _pieces_of(path).items():
            y = wanted[i]
            at = np.arange(int(len(y) / speeds[i])) * speeds[i]
            moved = np.stack([np.interp(at, np.arange(len(y)), y[:, k]) for k in range(y.shape[1])], axis=1)
            pairs.append((projection("whisper", raw, len(moved)), moved))
    return pairs


def other_pairs(root: Path, data: Path, axes: np.ndarray, projection: Projection) -> list[Pair]:
    """Crops of other people's clips whose lag is known, REPEAT times each."""
    pairs: list[Pair] = []
    for source in OTHERS:
        for clip in read_lip_clips(data, source) if (data / source).is_dir() else []:
            path, lag = root / "teach_whisper" / f"{source}_{clip.name}.npz", lag_of(source, clip.name)
            if lag is None or not path.is_file():
                continue
            heard = _pieces_of(path)
            raw = np.concatenate([heard[i] for i in sorted(heard)])
            y = lip_targets(clip, axes)
            n = min(len(raw) // 2, len(y)) - abs(lag)
            x = projection("whisper", raw, len(raw) // 2)[max(0, -lag) :][:n]
            y = y[max(0, lag) :][:n]
            for start in range(0, n - CROP + 1, STEP):
                pairs += [(x[start : start + CROP], y[start : start + CROP])] * REPEAT
    return pairs


def told(models: Sequence[Probe], raw: np.ndarray, projection: Projection) -> np.ndarray:
    """(T, LIP_AXES) mean opinion on what whisper heard, (2 T, D)."""
    view = projection("whisper", raw, len(raw) // 2)
    return np.asarray(np.mean([m.predict(view) for m in models], axis=0)[:, CURVES:])


def teach_lips(root: Path, data: Path, seeds: int = 3) -> None:
    """Fit the lip teachers and let them speak about every piece that whisper heard; writes teach_lips/ and their scale."""
    clips = read_lip_clips(data, "grid_s1")
    train = [c for i, c in enumerate(clips) if not is_heldout(i)]
    axes, projection = lip_axes(train), Projection(root)
    pairs = grid_pairs(root, clips, axes, projection) + other_pairs(root, data, axes, projection)
    models = [fit_probe(pairs, teacher_config(seed)) for seed in range(seeds)]
    save_mouths(root / "lip_teachers.pt", models)
    (root / "teach_lips").mkdir(exist_ok=True)
    for path in sorted((root / "teach_whisper").glob("*.npz")):
        heard = {i: told(models, raw, projection).astype(np.float16) for i, raw in _pieces_of(path).items() if len(raw) > 1}
        lens = np.array([len(p) for p in heard.values()])
        np.savez(root / "teach_lips" / path.name, data=np.concatenate(list(heard.values())), lens=lens, idx=np.array(list(heard)))
    std = np.concatenate([lip_targets(c, axes)[:, CURVES:] for c in train]).std(0)
    tensors = dict(projection.tensors) | {"lips_scale": std**-0.5 / np.sqrt(np.mean(std))}
    np.savez(root / "teachers.npz", **{k: np.asarray(v, dtype=np.float32) for k, v in tensors.items()})  # type: ignore[arg-type]
