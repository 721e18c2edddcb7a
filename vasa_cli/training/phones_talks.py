"""Labelled speech as training material: sound, phones that are known, and the mouth that the lip model gives to them.

An archive (npz) holds some dozens of utterances: `{i}_samples` int16 at 16 kHz, `{i}_mouth` float16 (T, M) at 25 fps, `phones`
JSON as in `phones.save_phones`, keyed `{i}`; `voices` names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from vasa_cli.training.phones import RATE, SILENCE, Phone
from vasa_cli.training.phones_lips import FPS, LipModel

Talk = tuple[np.ndarray, np.ndarray, list[Phone]]  # samples (N,) float32, mouth (T, M), phones


def in_a_room(samples: np.ndarray, phones: list[Phone], rng: np.random.Generator) -> tuple[np.ndarray, list[Phone]]:
    """Put .2 to .7 s of silence about an utterance, a little noise under it, and draw its level."""
    before, after = rng.uniform(0.2, 0.7, 2)
    pad = int(before * RATE), int(after * RATE)
    sound = np.pad(samples, pad) * (rng.uniform(0.25, 0.9) / max(float(np.abs(samples).max()), 0.05))
    sound = sound + rng.normal(0, 10 ** rng.uniform(-4.0, -2.7), len(sound))
    shift = round(pad[0] / RATE, 4)
    moved = [Phone(p.label, round(p.start + shift, 4), round(p.stop + shift, 4)) for p in phones]
    ends = [Phone(SILENCE, 0.0, shift), *moved, Phone(SILENCE, moved[-1].stop if moved else shift, len(sound) / RATE)]
    return np.clip(sound, -1, 1).astype(np.float32), ends


def frames_of(samples: np.ndarray) -> int:
    """Video frames of a sound, as the product counts them."""
    return -(-len(samples) * 25 // RATE)


Mouths = Callable[[str, np.ndarray, list[Phone]], np.ndarray]  # voice, samples, phones -> mouth (T, M)


def write_talks(
    folder: Path,
    said: Iterable[tuple[str, np.ndarray, list[Phone]]],
    model: LipModel,
    per_file: int = 40,
    name: str = "talks",
    mouths: Mouths | None = None,
) -> Iterator[Path]:
    """Give mouths (the model's, unless `mouths` makes them) to (voice, samples, phones) and store them, `per_file` utterances an
    archive; yields the files.
    """
    give = mouths or (lambda _, samples, phones: model.mouth(phones, frames_of(samples)))
    folder.mkdir(parents=True, exist_ok=True)
    waiting: list[tuple[str, np.ndarray, list[Phone]]] = []
    number = 0
    for item in said:
        waiting.append(item)
        if len(waiting) == per_file:
            yield _write(folder / f"{name}_{number:03d}.npz", waiting, give)
            waiting, number = [], number + 1
    if waiting:
        yield _write(folder / f"{name}_{number:03d}.npz", waiting, give)


def _write(path: Path, items: list[tuple[str, np.ndarray, list[Phone]]], mouths: Mouths) -> Path:
    arrays: dict[str, np.ndarray] = {}
    for i, (voice, samples, phones) in enumerate(items):
        arrays[f"{i}_samples"] = (samples * 32767).astype(np.int16)
        arrays[f"{i}_mouth"] = mouths(voice, samples, phones).astype(np.float16)
    rows = {str(i): [[p.label, p.start, p.stop] for p in phones] for i, (_, _, phones) in enumerate(items)}
    text = np.array(json.dumps(rows, ensure_ascii=False))
    np.savez(path, phones=text, voices=np.array([voice for voice, _, _ in items]), **arrays)  # type: ignore[arg-type]
    return path


def synthetic_talks(folder: Path) -> Iterator[Talk]:
    """(samples (N,) float32 at 16 kHz, mouth (T, M) float32, phones) of every utterance stored in the folder's archives."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as z:
            rows = json.loads(str(z["phones"]))
            for i in range(len(z["voices"])):
                phones = [Phone(*row) for row in rows[str(i)]]
                yield z[f"{i}_samples"].astype(np.float32) / 32768.0, z[f"{i}_mouth"].astype(np.float32), phones


def close_told(mouth: np.ndarray, phones: list[Phone], model: LipModel) -> np.ndarray:
    """Told lips (T, M) of a real voice -> the same with lips shut at the bilabials that were heard in it (`LipModel` rules)."""
    from vasa_cli.training.phones_lips import LipRules, close

    return close(mouth, [p for p in phones if p.stop <= len(mouth) / FPS], model.opening, model.open_direction, LipRules())
