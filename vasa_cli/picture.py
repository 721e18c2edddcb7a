"""What the video shows: the crop or the whole photo, how large, and what stands behind the person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vasa_cli.errors import UsageError
from vasa_cli.video.background import KEEP, Background
from vasa_cli.video.formats import Format, even_size

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.decoder.canvas import Canvas
    from vasa_cli.decoder.render import FaceDecoder, Ground
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.encode_hash import Size
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.runtime import Models
    from vasa_cli.trust.label import Caption

FITS = ("crop", "full")
SIZES = (256, 1024)  # px, least and most of a crop's side
DEFAULT_SIZE = 512
# frames, and pixels, of a block at most. A processor computes frame by frame: longer blocks would only come later
_BLOCK, _CARD_BLOCK = (4, 8 * 512 * 512), (32, 32 * 512 * 512)


@dataclass(frozen=True)
class PictureOptions:
    """fit: 'crop' (a square around head and shoulders, `size` px a side) or 'full' (the head moves in the whole photo, at the
    photo's own size). refine: the learned refiner (`decoder.refiner`) goes over mouth and eyes. label: a caption that is burned
    in, with the font of this file (None: one that comes along)."""

    fit: str = "crop"
    size: int = DEFAULT_SIZE
    background: Background = KEEP
    refine: bool = False
    label: str | None = None
    label_font: Path | None = None

    @property
    def encoded_for(self) -> Size:
        """What the photo must be encoded for."""
        return "native" if self.fit == "full" else self.size

    @property
    def alpha(self) -> bool:
        return self.background.kind == "transparent"


def picture_options(
    fit: str | None = None, size: int | None = None, background: Background | None = None, refine: bool | None = None,
    label: str | None = None, label_font: Path | None = None,
) -> PictureOptions:  # fmt: skip
    """Checked options; None is the default. Raises UsageError; InputError for a font that cannot be read."""
    fit = fit or "crop"
    if fit not in FITS:
        raise UsageError(f"--fit {fit!r}: known are {', '.join(FITS)}")
    if size is not None and fit == "full":
        raise UsageError("--size is the side of the crop; --fit full always has the photo's own size, so leave one of them out")
    if size is not None and (size % 2 or not SIZES[0] <= size <= SIZES[1]):
        raise UsageError(f"--size {size}: an even number from {SIZES[0]} to {SIZES[1]} is needed")
    if label_font is not None and label is None:
        raise UsageError("--disclosure-font draws a caption: give its text with --disclosure-label")
    if label is not None:
        from vasa_cli.trust.label import check_label

        label = check_label(label, label_font)
    return PictureOptions(fit, size or DEFAULT_SIZE, background or KEEP, bool(refine), label, label_font)


def check_face(face: FaceLatent, options: PictureOptions, name: str) -> None:
    """Raises UsageError when this face, from a file called `name`, cannot be shown so."""
    if options.fit == "full" and not face.pastes:
        raise UsageError(
            f"{name}: this face file does not hold the whole photo that --fit full needs; "
            "give the photo instead, or write the file with `vasa encode --fit full`"
        )


def soft_note(face: FaceLatent, options: PictureOptions) -> str | None:
    """A line for a face file that was encoded for other pictures than these: smaller ones, though the photo had more, or
    --fit full, whose crop is wider."""
    from vasa_cli.portrait.encode_hash import texture_sides

    if options.fit == "crop" and face.pastes:
        return "the face file was encoded for --fit full: the crop is wider than usual"
    if options.fit == "full" or face.texture >= texture_sides(float(face.crop[2]), options.size)[0]:
        return None
    return f"the face file was encoded for smaller pictures and looks soft; use the photo or `vasa encode --size {options.size}`"


class Picture:
    """Frames of one face. size: (width, height); batch: frames that are drawn at once; pixels: what they are made of, as the
    writer takes it (yuv420p: (B, H * 3 / 2, W) planes); notes: lines for stderr."""

    def __init__(
        self, face: FaceLatent, options: PictureOptions, form: Format, models: Models, device: str, dtype: str,
        pixels: str | None = None,
    ) -> None:  # fmt: skip
        """pixels: what frames are to be made of, by default what costs least on the way into `form`."""
        self.options, self.device = options, device
        self.notes: tuple[str, ...] = ()
        whole = options.fit == "full"
        self.size = frame_size(face, options, form)
        if whole and self.size != face.photo_size:
            self.notes = (f"{self.size[0]}x{self.size[1]}: one row or column less than the photo, H.264 and VP9 need even sizes",)
        self.caption: Caption | None = None
        if options.label is not None:
            from vasa_cli.trust.label import caption

            self.caption = caption(options.label, self.size, options.label_font)
        self.canvas: Canvas | None = None
        self.ground = options.background.picture(*self.size)
        side = options.size
        if whole:
            from vasa_cli.decoder.canvas import Canvas, decoded_side

            side = decoded_side(face)
            self.canvas = Canvas(face, self.size, ground=self.ground, clear=options.alpha, device=device)
        self.decoder = models.decoder(face, device, dtype, side, whole, options.refine)
        if pixels is None:
            planar = not whole and not options.alpha and form.pixels == "yuv420p"
            pixels = "yuv420p" if planar else "rgba" if options.alpha else "rgb24"
        self.pixels = pixels
        self.behind = self._ground()
        most, pixels_at_once = _BLOCK if device == "cpu" else _CARD_BLOCK
        self.batch = max(1, min(most, pixels_at_once // max(side**2, self.size[0] * self.size[1])))

    def decoders(self, count: int) -> list[FaceDecoder]:
        """The decoder for each of `count` threads: one can draw in several at once."""
        return [self.decoder] * count

    def draw(self, decoder: FaceDecoder, part: MotionTrack) -> np.ndarray:
        """At most `batch` frames with one of `decoders`: as `pixels` says, (B, H, W, 3) RGB, (B, H, W, 4) with straight alpha."""
        frames = next(self._drawn(decoder, part))
        return frames if self.caption is None else self.caption.burn(frames, self.pixels)

    def _drawn(self, decoder: FaceDecoder, part: MotionTrack) -> Iterator[np.ndarray]:
        if self.canvas is not None:
            return self.canvas.frames(decoder, part, self.batch)
        return decoder.frames(part, self.batch, self.behind, "yuv420p" if self.pixels == "yuv420p" else "rgb24")

    def _ground(self) -> Ground:
        import torch

        if self.ground is None:
            return None if self.options.alpha else "plate"
        planes = torch.from_numpy(self.ground.transpose(2, 0, 1).copy()).to(self.device)
        return planes.float()[None] / 255


def frame_size(face: FaceLatent, options: PictureOptions, form: Format) -> tuple[int, int]:
    """Width and height of the frames."""
    if options.fit == "full":
        return even_size(*face.photo_size, form)
    return options.size, options.size
