"""Speech whose phones are known, because a program said it: espeak-ng (many languages and voices), flite and festival (English).

espeak-ng reports through its library at which sample each phone begins; flite prints, festival saves its segments. A stop of
espeak begins at its burst, so its closure is found as the quiet before it (`add_closures`). Everything here is for training only.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.training.phones import RATE, SILENCE, Phone
from vasa_cli.training.phones_features import NAMES, ipa_label, targets
from vasa_cli.training.phones_text import SENTENCES, texts

Said = tuple[np.ndarray, list[Phone]]  # samples (N,) float32 at 16 kHz, phones without gaps
FLITE = ("slt", "rms", "awb", "kal16")
FESTIVAL = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
VARIANTS = (
    "",
    "+m1",
    "+m2",
    "+m3",
    "+m4",
    "+m5",
    "+m6",
    "+m7",
    "+f1",
    "+f2",
    "+f3",
    "+f4",
    "+f5",
    "+klatt",
    "+klatt3",
    "+Alicia",
)
_PHONE_EVENT, _SYNCHRONOUS, _EVENTS_AND_IPA, _UTF8 = 7, 2, 3, 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4


@dataclass(frozen=True)
class Manner:
    """How a voice speaks: words a minute, pitch and its range (espeak's 0..100), and length: above 1 a longer vocal tract (the
    sound is played slower and lower).
    """

    rate: int = 165
    pitch: int = 50
    pitch_range: int = 50
    length: float = 1.0


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        *(("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int)),
        *(("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", _EventId)),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """espeak-ng's library, which exists once in a process (`espeak`)."""

    def __init__(self, library: str = "libespeak-ng.so.1") -> None:
        try:
            self._lib = ctypes.CDLL(library)
        except OSError as error:
            raise InputError(f"{library} not found: install espeak-ng") from error
        self.rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, None, _EVENTS_AND_IPA))
        self._sound: list[np.ndarray] = []
        self._marks: list[tuple[int, str]] = []
        self._callback = _Callback(self._receive)  # kept, or it would be collected
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if count > 0:
            self._sound.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == _PHONE_EVENT:
                self._marks.append((events[i].sample, events[i].id.string.decode("utf-8", "ignore")))
            i += 1
        return 0

    def say(self, text: str, voice: str, manner: Manner | None = None) -> Said:
        """Speak. Raises InputError for an unknown voice ("de+f2": language and variant) or where nothing was said."""
        import soxr

        manner = manner or Manner()
        self._sound.clear()
        self._marks.clear()
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_RATE, manner.rate), (_PITCH, manner.pitch), (_PITCH_RANGE, manner.pitch_range)):
            self._lib.espeak_SetParameter(parameter, value, 0)
        raw = text.encode("utf-8")
        self._lib.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None)
        self._lib.espeak_Synchronize()
        if not self._sound or not self._marks:
            raise InputError(f"espeak-ng said nothing to {text!r} with the voice {voice!r}")
        native = self.rate / manner.length
        samples = soxr.resample(np.concatenate(self._sound).astype(np.float32) / 32768, native, RATE)
        marks = [(s / native, ipa_label(name)) for s, name in self._marks]
        return samples, add_closures(_tile(marks, len(samples) / RATE), samples)


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The library, loaded once. Raises InputError where it is missing."""
    return Espeak()


def _tile(marks: list[tuple[float, str]], end: float) -> list[Phone]:
    """(start, label) in order -> phones without gaps from 0 to `end`; neighbouring silences are one."""
    out: list[Phone] = []
    starts = [0.0, *(t for t, _ in marks), end]
    for label, start, stop in zip([SILENCE, *(x for _, x in marks)], starts[:-1], starts[1:], strict=True):
        if stop - start < 1e-4:
            continue
        if out and out[-1].label == label == SILENCE:
            start = out.pop().start
        out.append(Phone(label, round(start, 4), round(stop, 4)))
    return out


def add_closures(phones: list[Phone], samples: np.ndarray, longest: float = 0.11, drop: float = 14.0) -> list[Phone]:
    """Begin stops and affricates where the sound before their burst falls `drop` dB under the loudness before it.

    At most `longest` seconds back, and half of the phone before stays (all of a silence may go).
    """
    step = 80  # 5 ms
    n = len(samples) // step
    level = 10 * np.log10((samples[: n * step].reshape(n, step) ** 2).mean(1) + 1e-8)
    out: list[Phone] = []
    for p in phones:
        if out and targets(p.label)[0][NAMES.index("stop")] > 0:
            before = out[-1]
            quiet_phone = before.label == SILENCE
            floor = max(p.start - longest, before.start if quiet_phone else before.middle)
            at = first = int(p.start * RATE / step)
            loud = level[max(int(before.start * RATE / step) - 4, 0) : at + 1].max(initial=-80.0)
            while at > 0 and at - 1 < n and (at - 1) * step / RATE >= floor and (quiet_phone or level[at - 1] < loud - drop):
                at -= 1
            if at < first:
                start = round(at * step / RATE, 4)
                out[-1] = Phone(before.label, before.start, start)
                p = Phone(p.label, start, p.stop)
                if start - before.start < 1e-3:
                    out.pop()
        out.append(p)
    return out


def _arpabet(label: str) -> str:
    return SILENCE if label in {"pau", "h#", "brth", "ssil", ""} else label


def _run(command: list[str], text: str | None = None) -> str:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"{command[0]} failed ({error}): is it installed?") from error


def _read(path: Path) -> np.ndarray:
    from vasa_cli.speech.audio import load_speech

    return load_speech(path).samples


def say_flite(text: str, voice: str = "slt", stretch: float = 1.0) -> Said:
    """flite's sound and segments. Raises InputError where flite is missing."""
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "said.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.3f}", "-psdur", "-t", text, "-o", str(wave)]
        ends = [word.rsplit(":", 1) for word in _run(command).split()]
        samples = _read(wave)
    return samples, _from_ends([(label, float(end)) for label, end in ends], len(samples) / RATE)


def say_festival(text: str, voice: str = FESTIVAL[0], stretch: float = 1.0) -> Said:
    """festival's sound and segments. Raises InputError where festival or the voice is missing."""
    plain = text.replace('"', "").replace("\\", "")
    with tempfile.TemporaryDirectory() as folder:
        wave, segments = Path(folder) / "said.wav", Path(folder) / "said.lab"
        script = f"""(voice_{voice}) (Parameter.set 'Duration_Stretch {stretch:.3f})
            (set! said (utt.synth (Utterance Text "{plain}")))
            (utt.save.wave said "{wave}" 'riff) (utt.save.segs said "{segments}")"""
        _run(["festival", "--pipe"], script)
        if not wave.is_file() or not segments.is_file():
            raise InputError(f"festival said nothing: is its voice {voice} installed?")
        rows = [line.split() for line in segments.read_text().splitlines() if len(line.split()) == 3 and line[0] != "#"]
        samples = _read(wave)
    return samples, _from_ends([(label, float(end)) for end, _, label in rows], len(samples) / RATE)


def _from_ends(rows: list[tuple[str, float]], end: float) -> list[Phone]:
    starts = [0.0, *(stop for _, stop in rows)]
    marks = [(start, _arpabet(label)) for (label, _), start in zip(rows, starts[:-1], strict=True)]
    return _tile([*marks, (starts[-1], SILENCE)], end)


def draw_manner(rng: np.random.Generator) -> Manner:
    """A random way to speak; length .85 (child) to 1.15."""
    length = float(np.exp(rng.normal(0, 0.09)).clip(0.82, 1.2))
    rate = int(rng.uniform(125, 205) * length)
    return Manner(rate, int(rng.uniform(20, 80)), int(rng.uniform(30, 80)), length)


def synthetic_speech(
    minutes: float, seed: int = 0, languages: tuple[str, ...] = tuple(SENTENCES)
) -> Iterator[tuple[str, np.ndarray, list[Phone]]]:
    """(voice, samples, phones) until `minutes` are said: languages in turn, a random voice and manner each; of American English,
    flite's and festival's voices take most.
    """
    rng = np.random.default_rng(seed)
    left, turn = minutes * 60, 0
    while left > 0:
        language = languages[turn % len(languages)]
        text = texts(language, rng, 1)[0]
        turn += 1
        try:
            voice, said = _speak(language, text, rng)
        except InputError:
            continue
        left -= len(said[0]) / RATE
        yield voice, *said


def _speak(language: str, text: str, rng: np.random.Generator) -> tuple[str, Said]:
    stretch = float(rng.uniform(0.85, 1.2))
    kind = rng.random() if language == "en-us" else 0.0
    if kind > 0.75:
        voice = str(rng.choice(FESTIVAL))
        return voice, say_festival(text, voice, stretch)
    if kind > 0.4:
        voice = str(rng.choice(FLITE))
        return f"flite-{voice}", say_flite(text, voice, stretch)
    voice = language + str(rng.choice(VARIANTS))
    return voice, espeak().say(text, voice, draw_manner(rng))
