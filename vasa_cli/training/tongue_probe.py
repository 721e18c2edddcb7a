"""Fit the probe that hears how high the tongue's tip is (`motion.tongue`).

    python -m vasa_cli.training.tongue_probe CORPUS PHONES.json

CORPUS as in `training.speech_corpus`; PHONES is the list of the phone teacher's symbols in the order of its outputs, blank last.
Heights are phonetics: the tip touches teeth or ridge in l, n, th, t, d; it is near them in s, z, sh, r; half up in i, e.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vasa_cli.motion.tongue import with_neighbours
from vasa_cli.training.speech_corpus import VALIDATION, phone_activity

HEIGHTS = {"lnɫɲɮɭɳθðɬ": 1.0, "tdʈɖ": 0.8, "szʃʒɕʑ": 0.55, "rɹɾɻ": 0.5, "jiɪeyɨ": 0.35}
RIDGE = 30.0
PIECES, SECONDS = 14, 12  # of each speaker
RATE = 16000


def height(phone: str) -> float:
    """0..1 of one IPA symbol; affricates count as the fricative they end in."""
    if "͡" in phone:
        return 0.55
    return next((h for first, h in HEIGHTS.items() if phone[0] in first), 0.0)


def examples(root: Path, phones: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Speaker, features (T, F) and height (T,) of some pieces of every speaker, at 25 fps."""
    from vasa_cli.speech.features import SpeechEncoder

    encoder = SpeechEncoder.from_weights("default")
    heights = np.array([height(p) for p in phones[:-2]] + [0.0])  # the last two: word boundary, blank
    rng = np.random.default_rng(0)
    for path in sorted((root / "teach_hama").glob("*.npz")):
        said, heard = np.load(path), np.load(root / "pool" / path.name)
        at, of = (np.concatenate([[0], np.cumsum(z["lens"])]) for z in (said, heard))
        for i in rng.permutation(len(said["lens"]))[:PIECES]:
            piece = int(said["idx"][i])
            sound = heard["data"][of[piece] : of[piece + 1]][: RATE * SECONDS].astype(np.float32) / 32768
            features = encoder.features(sound)
            activity = phone_activity(said["data"][at[i] : at[i + 1]].astype(np.float32)) ** 2  # (N, P) at 50 Hz
            frames = min(len(features), len(activity) // 2)
            activity = activity[: 2 * frames].reshape(frames, 2, -1).mean(1)
            yield path.stem, features[:frames], activity @ heights / np.maximum(activity.sum(1), 0.05)


def fit(root: Path, phones: list[str]) -> tuple[np.ndarray, dict[str, str]]:
    """Probe (3 F + 1,) float32 and what was measured on the speakers that no fit hears (`speech_corpus.VALIDATION`)."""
    data = list(examples(root, phones))

    def solve(rows: list[tuple[str, np.ndarray, np.ndarray]]) -> np.ndarray:
        a = np.concatenate([with_neighbours(f) for _, f, _ in rows]).astype(np.float64)
        y = np.concatenate([h for _, _, h in rows])
        return np.asarray(np.linalg.solve(a.T @ a + RIDGE * np.eye(a.shape[1]), a.T @ y))

    heard = [d for d in data if not d[0].startswith(VALIDATION)]
    probe = solve(heard)
    unseen = [d for d in data if d[0].startswith(VALIDATION)]
    guess, truth = (np.concatenate(p) for p in zip(*((with_neighbours(f) @ probe, h) for _, f, h in unseen), strict=True))
    facts = {
        "r_unseen": f"{np.corrcoef(guess, truth)[0, 1]:.3f}",
        "minutes": f"{sum(len(h) for _, _, h in heard) / 1500:.0f}",
        "speakers": str(len({name for name, _, _ in heard})),
        "format": "vasa-tongue/1",
    }
    return probe.astype(np.float32), facts


def main() -> None:
    from safetensors.numpy import save_file

    from vasa_cli.weights import registry

    probe, facts = fit(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    path = Path(registry.__file__).parent / registry.file_name("tongue")
    save_file({"probe": probe}, str(path), metadata=facts)
    print(facts, registry.record("tongue"))


if __name__ == "__main__":
    main()
