"""What a file's name asks for: container, codecs, pixel format, with or without transparency."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from vasa_cli.errors import EncoderError, UsageError

SEQUENCE_NAME = "frame_%05d.png"  # of a PNG sequence whose output is given as a folder
ENCODERS = ("auto", "x264", "nvenc")  # of H.264; auto: the graphics card's where it works
ALPHA_HINT = ".mov (ProRes 4444), .webm (VP9) or a folder of PNG pictures such as frames/"


@dataclass(frozen=True)
class Format:
    """container: ffmpeg's name; codec and audio: ffmpeg's encoders (audio None: there is no sound); pixels: ffmpeg's name of the
    stored pixel format; alpha: whether that holds transparency."""

    container: str
    codec: str
    audio: str | None
    pixels: str
    alpha: bool = False

    @property
    def even(self) -> bool:
        """Whether width and height must be even: colours at half resolution."""
        return "420" in self.pixels

    @property
    def sequence(self) -> bool:
        return self.container == "image2"


_NUMBER = re.compile(r"%(0\d+)?d")

_MP4 = Format("mp4", "libx264", "aac", "yuv420p")
_OPAQUE = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": replace(_MP4, container="mov"),
    ".mkv": replace(_MP4, container="matroska"),
    ".webm": Format("webm", "libvpx-vp9", "libopus", "yuv420p"),
    ".png": Format("image2", "png", None, "rgb24"),
}
_CLEAR = {
    ".mov": Format("mov", "prores_ks", "pcm_s24le", "yuva444p10le", alpha=True),
    ".webm": Format("webm", "libvpx-vp9", "libopus", "yuva420p", alpha=True),
    ".png": Format("image2", "png", None, "rgba", alpha=True),
}


def parse_output(text: str | Path) -> Path:
    """The output as the user wrote it: a folder ('frames/') means a PNG sequence in it."""
    written = str(text)
    return Path(written) / SEQUENCE_NAME if written.endswith(("/", "\\")) else Path(written)


def format_of(path: Path, *, alpha: bool = False) -> Format:
    """Raises UsageError when the name asks for nothing that is known, or for nothing that holds transparency."""
    suffix = path.suffix.lower()
    if suffix not in _OPAQUE:
        known = ", ".join(s for s in _OPAQUE if s != ".png")
        raise UsageError(
            f"{path.name}: unknown video format {path.suffix or '(no suffix)'!r}; name the output with one of {known}, "
            "or frames/ for PNG pictures"
        )
    if suffix == ".png" and "%" not in path.name:
        raise UsageError(
            f"{path.name}: one picture cannot hold a video; name a folder such as frames/, or frames/{SEQUENCE_NAME}"
        )
    if suffix == ".png":
        _check_pattern(path)
    if alpha and suffix not in _CLEAR:
        raise UsageError(f"{path.name}: {suffix} holds no transparency; name the output with {ALPHA_HINT}")
    return (_CLEAR if alpha else _OPAQUE)[suffix]


def is_sequence(path: Path) -> bool:
    """Whether an output is a PNG sequence: its pattern, in a folder of its own."""
    return path.suffix.lower() == ".png" and "%" in path.name


def is_picture_of(path: Path, name: str) -> bool:
    """Whether the sequence `path` could hold a picture of this name."""
    before, after = _NUMBER.split(path.name)[0], _NUMBER.split(path.name)[-1]
    return re.fullmatch(re.escape(before) + r"\d+" + re.escape(after), name) is not None


def exists(path: Path) -> bool:
    """Whether an output is there: the file, or the folder of a sequence with anything in it."""
    if not is_sequence(path):
        return path.exists()
    folder = path.parent
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _check_pattern(path: Path) -> None:
    if not _NUMBER.search(path.name) or path.name.count("%") != 1:
        raise UsageError(f"{path.name}: a picture's number is written as in {SEQUENCE_NAME}")
    if path.parent == Path():
        raise UsageError(f"{path.name}: pictures get a folder of their own; name it too, as in frames/{path.name}")


def check_encoder(form: Format) -> None:
    """Raises EncoderError (exit 7) when this ffmpeg lacks what the format needs."""
    from vasa_cli.video.ffmpeg import OPTIONAL, find_ffmpeg, missing_encoders

    ffmpeg = find_ffmpeg()  # has libx264 and aac
    lacks = missing_encoders(ffmpeg, tuple(name for name in (form.codec, form.audio) if name in OPTIONAL))
    if lacks:
        raise EncoderError(
            f"{ffmpeg} lacks {' and '.join(lacks)}, which this format needs; set VASA_FFMPEG to one that has it, or choose .mp4"
        )


def codec_of(form: Format, encoder: str = "x264") -> str:
    """ffmpeg's encoder for this form. Raises UsageError when the name is unknown or the form is not H.264, EncoderError (exit 7)
    when NVENC was asked for and does not work here."""
    from vasa_cli.video.ffmpeg import find_ffmpeg
    from vasa_cli.video.nvenc import NVENC, working_nvenc

    if encoder not in ENCODERS:
        raise UsageError(f"--encoder {encoder!r}: known are {', '.join(ENCODERS)}")
    if encoder == "x264" or (encoder == "auto" and form.codec != "libx264"):
        return form.codec
    if form.codec != "libx264":
        raise UsageError(f"--encoder nvenc makes H.264, and this output is {form.codec}: name one of .mp4, .mov, .mkv")
    if working_nvenc(find_ffmpeg()):
        return NVENC
    if encoder == "auto":
        return form.codec
    raise EncoderError(
        "--encoder nvenc: no frame comes out of it here (an NVIDIA graphics card with its driver is needed); use --encoder auto"
    )


def even_size(width: int, height: int, form: Format) -> tuple[int, int]:
    """The size that this format can store: at most one column and one row less."""
    return (width // 2 * 2, height // 2 * 2) if form.even else (width, height)
