"""Phones of speech with their times: forced alignment of known words, and how often lips close where they must.

Alignment is pocketsphinx's (its wheel carries an English model and dictionary), ten-millisecond frames, phones of at least 30 ms.
Labels are ARPAbet in lower case without stress ("sil" is silence); phones of other languages are IPA symbols
(`phones_features` knows both).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError

RATE = 16000
FRAME = 0.01  # s; pocketsphinx
SILENCE = "sil"
BILABIAL = frozenset({"p", "b", "m"})
LABIODENTAL = frozenset({"f", "v"})
STOPS = frozenset({"p", "b", "t", "d", "k", "g", "ch", "jh"})
LONGEST_CLOSURE = 0.13  # s; a stop after silence: how much of the silence can be its closure (nobody hears where it begins)

# What counts as closed (`closure_rate`). GRID, tracked: shut lips are about .007 IOD apart, speech reaches .134 (95 %). At other
# moments the same clips "close" rarely enough to tell: 45 % around t d n k g l, 38 % around front vowels, 57 % with lips of other
# sentences (which share their timing), 71 % two frames early.
MARGIN = 0.06  # s about the phone in which lips may be shut
CLOSED_SHARE = 0.1  # of the way from shut lips to the 95th percentile of the opening: real GRID clips reach 95.1 %

# The sentence in a GRID file name, one letter a word (docs of the corpus, and DATA.md)
COMMANDS = {"b": "bin", "l": "lay", "p": "place", "s": "set"}
COLOURS = {"b": "blue", "g": "green", "r": "red", "w": "white"}
PREPOSITIONS = {"a": "at", "b": "by", "i": "in", "w": "with"}
DIGITS = dict(zip("z123456789", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], strict=True))
ADVERBS = {"a": "again", "n": "now", "p": "please", "s": "soon"}

# GRID's speakers are British: letters as words, and what the American dictionary lacks
_LETTERS = {"a": ("EY",), "h": ("EY CH",), "o": ("OW",), "r": ("AA", "AA R"), "z": ("Z EH D", "Z IY")}
_BRITISH = {"four": "F AO", "zero": "Z IY R OW", "again": "AH G EY N", "with": "W IH TH", "white": "W AY"}


@dataclass(frozen=True)
class Phone:
    """One phone: label, start and stop in seconds of the recording."""

    label: str
    start: float
    stop: float

    @property
    def middle(self) -> float:
        return 0.5 * (self.start + self.stop)


def grid_words(name: str) -> list[str]:
    """`bbaf2n` -> bin blue at letter_f two now. Raises InputError where the name is no GRID sentence."""
    tables = (COMMANDS, COLOURS, PREPOSITIONS, None, DIGITS, ADVERBS)
    try:
        if len(name) != len(tables):
            raise KeyError(name)
        return [f"letter_{c}" if t is None else t[c] for c, t in zip(name, tables, strict=True)]
    except KeyError as error:
        raise InputError(f"{name!r} is no GRID sentence: six letters and digits such as 'bbaf2n'") from error


@lru_cache(maxsize=1)
def _aligner() -> Any:
    """pocketsphinx with GRID's words added. Raises InputError where it is not installed."""
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise InputError("alignment needs pocketsphinx: pip install 'vasa-cli[train]'") from error
    wide = {"beam": 1e-100, "pbeam": 1e-100, "wbeam": 1e-80}  # the words are known: rather slow than lost
    decoder = Decoder(samprate=float(RATE), loglevel="FATAL", bestpath=False, **wide)
    for letter in "abcdefghijklmnopqrstuvxyz":
        said = _LETTERS.get(letter) or (decoder.lookup_word(letter),)
        for i, phones in enumerate(said):
            decoder.add_word(f"letter_{letter}" + (f"({i + 1})" if i else ""), phones)
    for word, phones in _BRITISH.items():
        decoder.add_word(f"{word}(9)", phones)
    return decoder


def align(samples: np.ndarray, words: list[str]) -> list[Phone]:
    """Phones of `words` (in pocketsphinx's dictionary, lower case) in `samples` (N,) float at 16 kHz, silences included, no gaps.

    Raises InputError for words without a pronunciation, or where the words cannot be fitted to the sound.
    """
    decoder = _aligner()
    missing = [w for w in words if not decoder.lookup_word(w)]
    if missing:
        raise InputError(f"no pronunciation for {', '.join(missing)}: add it to the dictionary or spell the word otherwise")
    raw = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
    decoder.set_align_text(" ".join(words))
    for stage in ("words", "phones"):
        if stage == "phones":
            if decoder.hyp() is None:
                raise InputError(f"the words do not fit the sound: {' '.join(words)}")
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(raw, full_utt=True)
        decoder.end_utt()
    said = [
        Phone(SILENCE if p.name == "SIL" else p.name.lower(), round(p.start * FRAME, 3), round((p.start + p.duration) * FRAME, 3))
        for word in decoder.get_alignment()
        for p in word
    ]
    return shorten_stops(said)


def shorten_stops(phones: list[Phone]) -> list[Phone]:
    """Give silence back what an aligner took from it for a stop's closure, beyond `LONGEST_CLOSURE`."""
    out: list[Phone] = []
    for p in phones:
        start = round(p.stop - LONGEST_CLOSURE, 3)
        if p.label in STOPS and start > p.start:
            if out and out[-1].label == SILENCE:
                out[-1] = replace(out[-1], stop=start)
            else:
                out.append(Phone(SILENCE, p.start, start))
            p = replace(p, start=start)
        out.append(p)
    return out


def grid_phones(name: str, samples: np.ndarray) -> list[Phone]:
    """Forced alignment of one GRID clip, whose name is its transcript. samples: (N,) float at 16 kHz."""
    return align(samples, grid_words(name))


def save_phones(path: Path, phones: dict[str, list[Phone]]) -> None:
    """JSON: name -> [[label, start, stop], ...]."""
    rows = {name: [[p.label, round(p.start, 3), round(p.stop, 3)] for p in said] for name, said in phones.items()}
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def load_phones(path: Path) -> dict[str, list[Phone]]:
    """What `save_phones` wrote."""
    return {k: [Phone(*row) for row in rows] for k, rows in json.loads(path.read_text(encoding="utf-8")).items()}


def align_grid(folder: Path, cache: Path | None = None) -> dict[str, list[Phone]]:
    """Alignments of all clips of the folder (npz + flac of the same name), from `cache` (JSON) if it is there."""
    from vasa_cli.speech.audio import load_speech

    if cache and cache.is_file():
        return load_phones(cache)
    names = sorted(p.stem for p in folder.glob("*.flac"))
    said = {name: grid_phones(name, load_speech(folder / f"{name}.flac").samples) for name in names}
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        save_phones(cache, said)
    return said


def bilabials(phones: Iterable[Phone]) -> list[Phone]:
    """The phones during which lips must meet: p b m and what modifies them (pʰ, mʲ, pf)."""
    return [p for p in phones if p.label[:1] in BILABIAL]


def closed_below(opening: np.ndarray, closed: float | None = None, reach: float | None = None) -> float:
    """The opening (any unit) under which lips count as shut, from the speaker's own range.

    closed: the opening of shut lips, default the 2nd percentile; for motion made relative to shut lips give 0. reach: how far
    speech opens them, default the 95th percentile; for a comparison of versions of the same speech give all the real clip's.
    """
    low = float(np.percentile(opening, 2)) if closed is None else closed
    high = float(np.percentile(opening, 95)) if reach is None else reach
    return low + CLOSED_SHARE * max(high - low, 0.0)


def closures(
    opening: np.ndarray, phones: Iterable[Phone], fps: float, *, closed: float | None = None, reach: float | None = None
) -> np.ndarray:
    """(N,) bool for the N bilabials that lie inside the clip: does the opening (T,) fall below `closed_below` between 60 ms
    before the phone starts and 60 ms after it stops?
    """
    limit = closed_below(opening, closed, reach)
    out = []
    for p in bilabials(phones):
        first, last = int(np.ceil((p.start - MARGIN) * fps - 1e-6)), int(np.floor((p.stop + MARGIN) * fps + 1e-6))
        part = opening[max(first, 0) : last + 1]
        if len(part):
            out.append(part.min() <= limit)
    return np.array(out, bool)


def closure_rate(
    opening: np.ndarray, phones: Iterable[Phone], fps: float, *, closed: float | None = None, reach: float | None = None
) -> float:
    """Share of /p b m/ at which the lips shut (`closures`), 0..1; nan without any. opening (T,): distance of the inner lips."""
    shut = closures(opening, phones, fps, closed=closed, reach=reach)
    return float(shut.mean()) if len(shut) else float("nan")
