"""What is measured: recordings with or without real motion, in sections, with their sound as the judges hear it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vasa_cli.training import lags
from vasa_cli.training.metrics.head import Prosody, prosody
from vasa_cli.training.metrics.judges import sound_of
from vasa_cli.training.motion_data import Sequence, load_sequences
from vasa_cli.training.speech_data import mel_of

if TYPE_CHECKING:
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.training.phones import Phone

GRID, STRANGERS, LIVELY = "GRID, held out", "strangers", "other real clips with speech"
UNPAIRED = {"English radio": ("english_radio_31", "english_radio_36"), "German": ("german",), "Mandarin": ("mandarin_news",),
            "singing": ("singing_ito",)}  # fmt: skip
LONG_ENOUGH = 3.0  # s


@dataclass(frozen=True)
class Recording:
    """A test recording: samples (N,) 16 kHz, the product's features (T, F), sound (4 T, 80) as judges hear it, its prosody; real:
    the tracked clip, None where there is none; source: whose audio-video lag it shares;
    seen: the generator was trained on it; lag: frames by which the picture is known to be late."""

    name: str
    source: str
    samples: np.ndarray
    features: np.ndarray
    sound: np.ndarray
    prosody: Prosody
    phones: tuple[Phone, ...] | None
    real: Sequence | None = None
    seen: bool = False
    lag: int = 0

    @property
    def frames(self) -> int:
        """Frames for which there are both sound and (where the clip is real) motion."""
        return len(self.features) if self.real is None else min(len(self.features), len(self.real.pose))


def read_phones(folder: Path) -> dict[str, tuple[Phone, ...]]:
    """Cached alignments (`grid.json`: forced; `heard.json`: recognised without a transcript); empty without them."""
    from vasa_cli.training.phones import load_phones

    out: dict[str, tuple[Phone, ...]] = {}
    for name in ("heard", "grid"):
        if (folder / f"{name}.json").is_file():
            out |= {k: tuple(v) for k, v in load_phones(folder / f"{name}.json").items()}
    return out


def record(
    path: Path, encoder: SpeechEncoder, phones: Mapping[str, tuple[Phone, ...]], real: Sequence | None = None, source: str = "",
    seen: bool = False,
) -> Recording:  # fmt: skip
    """Read one recording."""
    from vasa_cli.speech.audio import load_speech

    samples = load_speech(path).samples
    features = encoder.features(samples)
    n = len(features)
    said = phones.get(path.stem, phones.get(f"{path.parent.name}/{path.stem}"))
    sound = sound_of(mel_of(samples, n).numpy())
    lag = (lags.lag_of(real.source, real.name) or 0) if real else 0
    return Recording(path.stem, source or path.stem, samples, features, sound, prosody(samples, n), said, real, seen, lag)


@dataclass(frozen=True)
class Corpus:
    """Where things are: data folder, cache for tracked sequences, alignments; every grid_step-th held-out GRID clip is used."""

    data: Path
    cache: Path
    align: Path | None = None
    grid_step: int = 2

    @property
    def titles(self) -> tuple[str, ...]:
        """Sections, those with real motion first."""
        return (GRID, STRANGERS, LIVELY, *UNPAIRED)

    def read(self, title: str, encoder: SpeechEncoder) -> list[Recording]:
        """The recordings of one section.

        GRID: clips kept from everything. Strangers: nothing was trained on them. Lively: clips of other sources whose sound and
        lips belong together; the generator was trained on all of them but one, and AniTalker's are another model's output.
        """
        phones = read_phones(self.align) if self.align else {}
        if title in UNPAIRED:
            files = [self.data / "speech" / f"{n}.flac" for n in UNPAIRED[title]]
            return [record(f, encoder, phones) for f in files if f.is_file()]
        if title == GRID:
            grid = load_sequences(self.data, ("grid_s1",), part="test", cache=self.cache)[:: self.grid_step]
            return [record(s.audio, encoder, phones, s, "grid") for s in grid if s.audio]
        if title == STRANGERS:
            clips = load_sequences(self.data, ("strangers",), part="test", cache=self.cache)
            return [record(s.audio, encoder, phones, s, lags.STRANGER_GROUPS.get(s.name, s.name)) for s in clips if s.audio]
        return self._lively(encoder, phones)

    def _lively(self, encoder: SpeechEncoder, phones: Mapping[str, tuple[Phone, ...]]) -> list[Recording]:
        out = []
        for part in ("test", "train"):
            for s in load_sequences(self.data, ("anitalker", "liveportrait"), part=part, cache=self.cache):
                known = s.source == "anitalker" or s.name in lags.CLIP_LAGS
                if s.audio and known and lags.lag_of(s.source, s.name) is not None and len(s.pose) > LONG_ENOUGH * 25:
                    out.append(record(s.audio, encoder, phones, s, f"{s.source}/{s.name}", part == "train"))
        return out
