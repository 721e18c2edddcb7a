"""Many voices without a camera: speech whose lips a teacher told.

GRID shows one mouth. The speech encoder's corpus (`speech_listen`) holds hours of other voices and languages, and for each
piece the lips that a regressor on the teacher's (whisper's) view of the sound predicts, in coordinates that are linear in
GRID's lips. Here those become mouth numbers of the dynamics basis, by least squares on GRID's training clips, which have both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vasa_cli.training.motion_data import Sequence
from vasa_cli.training.motion_features import _encoder, other_voice

EXCLUDED = ("grid", "facegood", "anitalker", "liveportrait", "strangers")  # clips that have lips of their own, or are for judging


def pieces(path: Path) -> dict[int, np.ndarray]:
    """Piece number -> array, of a `data`/`lens`[/`idx`] file of the corpus."""
    with np.load(path) as z:
        data, lens = z["data"], z["lens"]
        index = z["idx"] if "idx" in z.files else np.arange(len(lens))
    ends = np.cumsum(lens)
    return {int(i): data[e - n : e] for i, e, n in zip(index, ends, lens, strict=True)}


def fit_mouths(root: Path, grid: list[Sequence], names: list[str], mouth: slice, lips: str = "teach_lips") -> np.ndarray:
    """(13, M): teacher's coordinates with a 1 appended -> mouth numbers. `names`: all GRID clips in sorted order; `grid`: the
    training ones.
    """
    told = pieces(root / lips / "grid.npz")
    xs, ys = [], []
    for clip in grid:
        x = told[names.index(clip.name)].astype(np.float32)
        n = min(len(x), len(clip.dynamics))
        xs.append(np.concatenate([x[:n], np.ones((n, 1), np.float32)], 1))
        ys.append(clip.dynamics[:n, mouth])
    return np.linalg.lstsq(np.concatenate(xs), np.concatenate(ys), rcond=None)[0].astype(np.float32)


def taught(
    root: Path, slope: np.ndarray, cache: Path, per_voice: int, lips: str = "teach_lips"
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """(mouth (T, M), feature versions [clean, other voice]) of up to `per_voice` pieces of every voice; features cached a voice
    a file. `lips`: folder of the told lips under `root`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for file in sorted((root / lips).glob("*.npz")):
        if file.stem.startswith(EXCLUDED):
            continue
        told, sound = pieces(file), pieces(root / "pool" / file.name)
        keep = sorted(told)[:: max(1, -(-len(told) // per_voice))]
        store = cache / f"taught_{file.stem}_{per_voice}.npz"
        if not store.is_file():
            np.savez(store, **dict(_listen(keep, sound)))  # type: ignore[arg-type]
        with np.load(store) as z:
            for i in keep:
                versions = [z[f"{i}_0"].astype(np.float32), z[f"{i}_1"].astype(np.float32)]
                x = told[i].astype(np.float32)
                n = min(len(x), len(versions[0]))
                mouth = np.concatenate([x[:n], np.ones((n, 1), np.float32)], 1) @ slope
                yield mouth, [v[:n] for v in versions]


def synthetic(folder: Path, cache: Path) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """(mouth (T, M), feature versions [clean, other voice]) of speech with known phones (`phones_talks`), whose mouths the phone
    model gave, alone (made voices) or with the teacher (human ones).
    """
    cache.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as z:
            talks = [(z[f"{i}_samples"], z[f"{i}_mouth"].astype(np.float32)) for i in range(len(z["voices"]))]
        store = cache / f"{folder.name}_{file.stem}.npz"
        if not store.is_file():
            sound = {i: samples for i, (samples, _) in enumerate(talks)}
            np.savez(store, **dict(_listen(list(sound), sound)))  # type: ignore[arg-type]
        with np.load(store) as z:
            for i, (_, mouth) in enumerate(talks):
                versions = [z[f"{i}_0"].astype(np.float32), z[f"{i}_1"].astype(np.float32)]
                n = min(len(mouth), len(versions[0]))
                yield mouth[:n], [v[:n] for v in versions]


def _listen(keep: list[int], sound: dict[int, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Clean and changed features of the chosen pieces, half precision."""
    for i in keep:
        samples = sound[i].astype(np.float32) / 32768.0
        clean = _encoder("default").features(samples)
        yield f"{i}_0", clean.astype(np.float16)
        yield f"{i}_1", other_voice(clean, samples, 1 + i).astype(np.float16)
