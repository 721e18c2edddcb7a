"""What stands behind the person: the photo's own background, a colour, a picture, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vasa_cli.errors import InputError, UsageError
from vasa_cli.files import check_utf8, is_there

if TYPE_CHECKING:
    import numpy as np

FORMS = "keep, transparent, a colour such as white or #00b140, or a picture file"


@dataclass(frozen=True)
class Background:
    """kind: 'keep' (the photo's own), 'transparent', 'colour' or 'picture'."""

    kind: str = "keep"
    colour: tuple[int, int, int] = (0, 0, 0)
    path: Path | None = None

    @property
    def text(self) -> str:
        """As on the command line."""
        if self.kind == "colour":
            return "#{:02x}{:02x}{:02x}".format(*self.colour)
        return str(self.path) if self.path is not None else self.kind

    def picture(self, width: int, height: int) -> np.ndarray | None:
        """(height, width, 3) uint8: the colour, or the picture's middle that fills this size; None for keep and transparent.

        Raises InputError when the picture cannot be read.
        """
        import numpy as np

        if self.kind == "colour":
            return np.broadcast_to(np.array(self.colour, np.uint8), (height, width, 3)).copy()
        return None if self.path is None else _cover(self.path, width, height)


KEEP = Background()


def parse_background(text: str, folder: Path = Path()) -> Background:
    """keep, transparent, a colour (CSS name, #rgb, #rrggbb) or a picture's path, relative to `folder`. Raises UsageError."""
    if text in ("keep", "transparent"):
        return Background(text)
    from PIL import ImageColor

    try:
        colour = ImageColor.getrgb(text)
        return Background("colour", (colour[0], colour[1], colour[2]))
    except ValueError:
        pass
    if is_there(folder / text):
        check_utf8(folder / text, UsageError)
        return Background("picture", path=folder / text)
    raise UsageError(f"--background {text!r}: neither a colour nor a file that is there; give {FORMS}")


def _cover(path: Path, width: int, height: int) -> np.ndarray:
    import numpy as np
    from PIL import Image, ImageOps

    from vasa_cli.portrait.pixels import read_photo

    try:
        picture = Image.fromarray(read_photo(path, least=1))
    except InputError as e:
        raise InputError(f"--background {e}") from e
    return np.asarray(ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS))
