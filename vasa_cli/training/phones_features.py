"""What lips and jaw do for a phone, whatever the language: articulatory numbers instead of identities.

GRID's English lacks most of the world's phones, but lips know few gestures. So a phone (ARPAbet, or IPA as espeak-ng writes it)
becomes one or two targets with numbers that a camera could see: how open, how spread, how rounded, which lips or tongue part
closes. Front rounded vowels are rounded (their tongue is not seen), nasal vowels are a little more open, a uvular r is a back
consonant. Sources: the IPA chart; openness of vowels by height.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

from vasa_cli.training.phones import SILENCE, Phone

NAMES = (
    *("silence", "vowel", "open", "spread", "round"),
    *("bilabial", "labiodental", "dental", "tip", "back", "glottal"),
    *("sibilant", "stop", "nasal", "liquid", "glide", "voiced"),
)
SIZE = len(NAMES)
STEP = 0.01  # s; the grid on which targets are sampled

# vowel: openness, spread, rounding
_VOWELS: dict[str, tuple[float, float, float]] = {
    "i": (0.1, 1, 0), "ɪ": (0.2, 0.7, 0), "e": (0.3, 0.9, 0), "ɛ": (0.5, 0.6, 0), "æ": (0.75, 0.6, 0), "a": (0.9, 0.3, 0),
    "ɑ": (1, 0, 0), "ʌ": (0.7, 0.1, 0), "ə": (0.4, 0.2, 0), "ɐ": (0.75, 0.1, 0), "ɜ": (0.4, 0.1, 0.3), "ɔ": (0.6, 0, 0.6),
    "ɒ": (0.85, 0, 0.4), "o": (0.35, 0, 0.85), "ʊ": (0.2, 0, 0.7), "u": (0.1, 0, 1), "ɨ": (0.15, 0.5, 0), "ɯ": (0.15, 0.5, 0),
    "ɤ": (0.35, 0.3, 0), "ɘ": (0.3, 0.3, 0), "ɵ": (0.3, 0, 0.7), "ʉ": (0.1, 0, 1), "y": (0.1, 0, 1), "ʏ": (0.2, 0, 0.8),
    "ø": (0.35, 0, 0.85), "œ": (0.5, 0, 0.7), "ɶ": (0.8, 0, 0.5),
}  # fmt: skip

# consonants that share their features; "+" separates these, a number after ":" is a degree
_CONSONANTS: dict[str, str] = {
    "p": "bilabial+stop", "b": "bilabial+stop+voiced", "m": "bilabial+nasal+voiced",
    "f ɸ": "labiodental", "v β": "labiodental+voiced", "ɱ": "labiodental+nasal+voiced", "ʋ": "labiodental:.7+glide+voiced",
    "θ": "dental", "ð": "dental+voiced",
    "t ʈ": "tip+stop", "d ɖ": "tip+stop+voiced", "n ɳ": "tip+nasal+voiced", "l ɭ ɬ ɫ": "tip+liquid+voiced",
    "r ɾ ɽ ɺ": "tip+liquid+voiced", "ɹ ɻ": "tip+liquid+voiced+round:.5", "s": "tip+sibilant", "z": "tip+sibilant+voiced",
    "ʃ ʂ": "tip+sibilant+round:.6", "ʒ ʐ": "tip+sibilant+voiced+round:.6", "ɕ": "tip+sibilant+round:.2",
    "ʑ": "tip+sibilant+voiced+round:.2", "k q c": "back+stop", "g ɡ ɟ ɢ": "back+stop+voiced", "ŋ ɲ ɴ": "back+nasal+voiced",
    "x χ ç ħ": "back", "ɣ ʁ ʝ ʕ ʀ ʎ": "back+voiced", "h": "glottal", "ɦ": "glottal+voiced", "ʔ": "glottal+stop",
    "j": "back+glide+voiced+spread:.6", "w": "back+glide+voiced+round", "ʍ": "back+glide+round", "ɥ": "back+glide+voiced+round",
    "ɰ": "back+glide+voiced",
}  # fmt: skip

# ARPAbet to IPA; two symbols are two targets. ARPAbet's "y" is IPA's j: write IPA's front rounded vowel "yː" (`ipa_label`)
_ARPABET = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "ay": "aɪ", "ch": "tʃ", "dh": "ð", "dx": "ɾ", "eh": "ɛ",
    "el": "əl", "em": "m", "en": "n", "er": "ɜɹ", "ey": "eɪ", "hh": "h", "hv": "ɦ", "ih": "ɪ", "iy": "i", "jh": "dʒ", "ng": "ŋ",
    "nx": "n", "ow": "oʊ", "oy": "ɔɪ", "sh": "ʃ", "th": "θ", "uh": "ʊ", "uw": "u", "y": "j", "zh": "ʒ", "axr": "ɜɹ",
}  # fmt: skip
_ALIASES = {"ɚ": "ɜɹ", "ɝ": "ɜɹ", "ᵻ": "ɨ", "ʧ": "tʃ", "ʤ": "dʒ", "ʦ": "ts", "ʣ": "dz", "ʨ": "tɕ", "ʥ": "dʑ", "ɫ": "l"}
_ROUNDING = {"ʷ": 0.8, "ᵝ": 0.3}
_NASAL = "\u0303"


@lru_cache(maxsize=1)
def _table() -> dict[str, np.ndarray]:
    """IPA base symbol -> (SIZE,)."""
    out = {}
    for symbol, (opened, spread, rounded) in _VOWELS.items():
        out[symbol] = _vector({"vowel": 1, "open": opened, "spread": spread, "round": rounded, "voiced": 1})
    for symbols, text in _CONSONANTS.items():
        parts = (part.partition(":") for part in text.split("+"))
        vector = _vector({name: float(degree or 1) for name, _, degree in parts})
        out |= dict.fromkeys(symbols.split(), vector)
    return out


def _vector(values: dict[str, float]) -> np.ndarray:
    return np.array([values.get(name, 0.0) for name in NAMES], np.float32)


def ipa_label(symbol: str) -> str:
    """An IPA symbol as a label that cannot be taken for ARPAbet; nothing known, or espeak's "(en)", makes it silence."""
    if symbol in _ARPABET:
        symbol += "ː"
    return symbol if symbols_of(symbol) and not symbol.startswith("(") else SILENCE


def symbols_of(label: str) -> list[tuple[str, str]]:
    """Label -> its IPA base symbols, each with the modifiers that follow it. Length, tone and stress marks are modifiers."""
    text = _ARPABET.get(label, label)
    for mark, plain in _ALIASES.items():
        text = text.replace(mark, plain)
    known: list[tuple[str, str]] = []
    table = _VOWELS.keys() | {c for symbols in _CONSONANTS for c in symbols.split()}
    for c in unicodedata.normalize("NFD", text):
        if c in table:
            known.append((c, ""))
        elif c == "\u0327" and known and known[-1][0] == "c":
            known[-1] = ("ç", "")  # NFD takes it apart
        elif known:
            known[-1] = (known[-1][0], known[-1][1] + c)
    return known


def targets(label: str) -> list[np.ndarray]:
    """One (SIZE,) vector, or two for diphthongs and affricates. Silence, and labels with no known symbol, are silence."""
    table = _table()
    out = []
    for symbol, marks in symbols_of(label) if label != SILENCE else []:
        v = table[symbol].copy()
        v[NAMES.index("round")] = max(v[NAMES.index("round")], *(_ROUNDING.get(m, 0.0) for m in marks), 0.0)
        if _NASAL in marks:
            v[NAMES.index("open")] = min(v[NAMES.index("open")] + 0.1, 1.0)
        out.append(v)
    return out or [_vector({"silence": 1})]


def tracks(phones: list[Phone], frames: int, fps: float = 25.0, speed: float = 1.0) -> np.ndarray:
    """(frames, 4 * SIZE): targets on a grid of 10 ms, the four steps about each frame's time side by side; silence where no
    phone is. speed: time of the phones is divided by it.
    """
    per = round(1 / (fps * STEP))
    steps = np.tile(_vector({"silence": 1}), (frames * per, 1))
    cache: dict[str, list[np.ndarray]] = {}
    shift = per / 2 * STEP  # a frame shows the steps from half a frame before it to half a frame after
    for p in phones:
        shapes = cache.setdefault(p.label, targets(p.label))
        ends = np.linspace(p.start / speed, p.stop / speed, len(shapes) + 1) + shift
        for shape, a, b in zip(shapes, ends[:-1], ends[1:], strict=True):
            steps[max(round(a / STEP), 0) : max(round(b / STEP), round(a / STEP) + 1)] = shape
    return steps.reshape(frames, per * SIZE)
