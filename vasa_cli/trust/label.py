"""`--disclosure-label`: a caption that is burned into every frame, in the lower left corner, white on a dark backing.

It is drawn once, with Pillow's own font or with DejaVu Sans, which comes with mediapipe's matplotlib, or with one that the user
names. Letters that the font does not have would become empty boxes: they are refused instead.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli.errors import InputError, UsageError
from vasa_cli.files import check_input

if TYPE_CHECKING:
    import numpy as np

MOST_LETTERS = 200
SIZE = 0.042  # of the letters, as a share of the frame's shorter side
LEAST = 11  # px; smaller letters cannot be read
PADDING, MARGIN = 0.45, 0.6  # around the letters, around the backing; in letter sizes
BACKING = 0.66  # how much of the picture the backing hides
MOST_HEIGHT = 1 / 3  # of the frame
_SHAPED = ("R", "AL")  # bidirectional classes of Hebrew and Arabic: their letters must be joined and reversed
_SHAPED_BLOCKS = ((0x0900, 0x0DFF), (0x0E00, 0x0EFF), (0x0F00, 0x109F), (0x1780, 0x17FF))  # Indic, Thai, Lao, Tibetan, Khmer


@dataclass(frozen=True)
class Caption:
    """x, y: where its upper left corner lies in the frame, both even; cover (h, w) 0..1: what it hides; white (h, w) 0..1: what
    of that is letters."""

    x: int
    y: int
    cover: np.ndarray
    white: np.ndarray

    def burn(self, frames: np.ndarray, pixels: str) -> np.ndarray:
        """The caption on frames (B, H, W, 3), (B, H, W, 4) straight alpha, or (B, H * 3 / 2, W) I420 in limited range, uint8, in
        place where they can be written to."""
        import numpy as np

        frames = frames if frames.flags.writeable else frames.copy()
        height, width = self.cover.shape
        if pixels == "yuv420p":
            self._burn_planes(frames)
            return frames
        box = frames[:, self.y : self.y + height, self.x : self.x + width]
        old, keep, letters = box.astype(np.float32), 1 - self.cover[..., None], 255 * self.white[..., None]
        if pixels != "rgba":
            box[:] = letters + keep * old + 0.5
            return frames
        behind = keep * old[..., 3:] / 255
        alpha = self.cover[..., None] + behind
        box[..., :3] = (letters + behind * old[..., :3]) / np.maximum(alpha, 1e-6) + 0.5
        box[..., 3:] = 255 * alpha + 0.5
        return frames

    def _burn_planes(self, frames: np.ndarray) -> None:
        import numpy as np

        height, width = self.cover.shape
        rows, wide = frames.shape[1] * 2 // 3, frames.shape[2]
        luma = frames[:, self.y : self.y + height, self.x : self.x + width]
        luma[:] = 16 * (self.cover - self.white) + 235 * self.white + (1 - self.cover) * luma.astype(np.float32) + 0.5
        cover = self.cover.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        for start in (rows, rows * 5 // 4):
            plane = frames[:, start : start + rows // 4].reshape(len(frames), rows // 2, wide // 2)
            box = plane[:, self.y // 2 : (self.y + height) // 2, self.x // 2 : (self.x + width) // 2]
            box[:] = 128 * cover + (1 - cover) * box.astype(np.float32) + 0.5


def caption(text: str, size: tuple[int, int], font: Path | None = None) -> Caption:
    """The caption for frames of `size` (width, height). Raises UsageError when it does not fit, or what `check_label` raises."""
    text, width, height = check_label(text, font), *size
    letters = max(LEAST, round(SIZE * min(size)))
    while letters >= LEAST:
        face = _load(_font_for(text, font), letters)
        inner = width - 2 * round(MARGIN * letters) - 2 * round(PADDING * letters)
        lines = _wrapped(text, face, inner)
        if lines is not None and len(lines) * _line(face) + 2 * PADDING * letters <= MOST_HEIGHT * height:
            return _drawn(lines, face, letters, size)
        letters -= 1
    raise UsageError(f"--disclosure-label: {len(text)} letters do not fit into pictures of {width}x{height}; write fewer")


def check_label(text: str, font: Path | None = None) -> str:
    """The text, spaces tidied. Raises UsageError when it is empty, too long, or holds letters that no font here can draw,
    InputError when the font cannot be read."""
    text = " ".join(text.split())
    if not text or len(text) > MOST_LETTERS:
        raise UsageError(f"--disclosure-label: give 1 to {MOST_LETTERS} letters, such as 'AI-generated'")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") for c in text):
        raise UsageError("--disclosure-label: the text holds characters that are no letters")
    if font is not None:
        check_input(font, "font")
    _font_for(text, font)
    return text


# ---------------------------------------------------------------------------------------------------- fonts


def _font_for(text: str, font: Path | None) -> Path | None:
    """The first font that has all letters: None is Pillow's own. Raises UsageError, InputError."""
    from PIL import features

    if any(_needs_shaping(c) for c in text) and not features.check("raqm"):
        raise UsageError(
            "--disclosure-label: Pillow here cannot join or order the letters of this script (it lacks raqm); "
            "write the label in another one"
        )
    tried = [font] if font is not None else [None, *_dejavu()]
    lacking = [_lacking(text, _load(path, 32)) for path in tried]
    for path, lacks in zip(tried, lacking, strict=True):
        if not lacks:
            return path
    lacks = min(lacking, key=len)
    where = f"{font} has" if font is not None else "the fonts that come along have"
    raise UsageError(f"--disclosure-label: {where} no {' '.join(lacks[:8])}; name a font that has with --disclosure-font FILE")


def _needs_shaping(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in _SHAPED or any(a <= ord(letter) <= b for a, b in _SHAPED_BLOCKS)


def _dejavu() -> list[Path]:
    """DejaVu Sans of matplotlib, which is not imported for it."""
    spec = importlib.util.find_spec("matplotlib")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    found = [Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" for folder in folders]
    return [path for path in found if path.is_file()]


def _load(path: Path | None, letters: int) -> Any:
    from PIL import ImageFont

    if path is None:
        return ImageFont.load_default(letters)
    try:
        return ImageFont.truetype(str(path), letters)
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: not a font that can be read; give a TrueType or OpenType file") from e


def _lacking(text: str, font: Any) -> list[str]:
    """Letters whose picture is that of a letter which no font has."""
    nothing = {bytes(font.getmask(c)) for c in ("\uffff", "\U0010ffff")}
    return [c for c in dict.fromkeys(text) if not c.isspace() and _visible(c) and bytes(font.getmask(c)) in nothing]


def _visible(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cf", "Mn", "Me")


# ---------------------------------------------------------------------------------------------------- drawing


def _line(font: Any) -> int:
    ascent, descent = font.getmetrics()
    return int(ascent + descent)


def _wrapped(text: str, font: Any, width: int) -> list[str] | None:
    """Lines no wider than `width`, broken at spaces (Chinese and Japanese anywhere); None where a word is too long."""
    words = text.split(" ")
    glue = " "
    if len(words) == 1 and any(unicodedata.east_asian_width(c) == "W" for c in text):
        words, glue = list(text), ""
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]}{glue}{word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        elif font.getlength(word) <= width:
            lines.append(word)
        else:
            return None
    return lines


def _drawn(lines: list[str], font: Any, letters: int, size: tuple[int, int]) -> Caption:
    import numpy as np
    from PIL import Image, ImageDraw

    padding, margin, line = round(PADDING * letters), round(MARGIN * letters), _line(font)
    width = round(max(font.getlength(text) for text in lines)) + 2 * padding
    height = line * len(lines) + 2 * padding
    width, height = (min(side + side % 2, most // 2 * 2) for side, most in zip((width, height), size, strict=True))
    backing, white = (Image.new("L", (width, height)) for _ in range(2))
    ImageDraw.Draw(backing).rounded_rectangle((0, 0, width - 1, height - 1), letters // 4, fill=255)
    for number, text in enumerate(lines):
        ImageDraw.Draw(white).text((padding, padding + number * line), text, fill=255, font=font)
    ink = np.asarray(white, np.float32) / 255
    cover = ink + BACKING * np.asarray(backing, np.float32) / 255 * (1 - ink)
    return Caption(margin // 2 * 2, (size[1] - height - margin) // 2 * 2, cover, ink)
