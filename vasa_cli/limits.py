"""How much a file from a stranger may ask of this machine. Checked from headers, before memory or time is spent.

--max-pixels and --max-duration raise the two that honest files reach; they travel in the environment, so that worker processes
know them too.
"""

from __future__ import annotations

import os

from vasa_cli.errors import InputError, UsageError

PIXELS_ENV = "VASA_MAX_PIXELS"
DURATION_ENV = "VASA_MAX_DURATION"
MAX_PIXELS = 120_000_000  # of a photo or of a clip's frame: phones of 108 megapixels fit; decoding takes about 7 bytes each
BLANK_PIXELS = 16_000_000  # that any picture may have, and so many more for each of its bytes: no photo is that empty
PIXELS_A_BYTE = 4096
MAX_DURATION = 6 * 3600.0  # seconds of a recording, clip or motion
PIXELS_RANGE = (1, 2**31 - 1)
DURATION_RANGE = (0.001, 30 * 86400.0)
MAX_CHANNELS = 64
RATE_RANGE = (1000, 768_000)  # Hz of a recording: below 1000 nothing is speech, and 16 kHz of it would take much memory
FPS_RANGE = (1, 240)
TEXT_BYTES = 1 << 20  # presets: a keyframe a second for ten hours
RECEIPT_BYTES = 16 << 20  # controls of hours lie in it
FACE_BYTES = 1 << 29  # face file: the largest that `encode` writes is about a quarter of it
MOTION_BYTES = 1 << 30  # motion file: six hours at 60 frames a second


def max_pixels() -> int:
    """Pixels that a picture may have. Raises UsageError when the environment says nonsense."""
    return int(_asked(PIXELS_ENV, MAX_PIXELS, PIXELS_RANGE))


def max_duration() -> float:
    """Seconds that a recording may last. Raises UsageError when the environment says nonsense."""
    return _asked(DURATION_ENV, MAX_DURATION, DURATION_RANGE)


def _asked(name: str, default: float, allowed: tuple[float, float]) -> float:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not allowed[0] <= value <= allowed[1]:
        raise UsageError(f"{name}={text}: allowed is {allowed[0]:g} to {allowed[1]:g}")
    return value


def raise_limits(pixels: int | None, duration: float | None) -> None:
    """What the flags ask, for this process and those started from it."""
    for name, value in ((PIXELS_ENV, pixels), (DURATION_ENV, duration)):
        if value is not None:
            os.environ[name] = str(value)


def check_pixels(where: str, width: int, height: int, bytes_: int | None = None) -> None:
    """Raises InputError for a picture that is too large, or that announces far more than its `bytes_` can show."""
    if width * height > (most := max_pixels()):
        raise InputError(
            f"{where}: {width}x{height} px are more than {most / 1e6:g} megapixels; scale it down, or raise --max-pixels"
        )
    if bytes_ is not None and width * height > BLANK_PIXELS + PIXELS_A_BYTE * bytes_:
        raise InputError(f"{where}: {width}x{height} px in {bytes_} bytes: cut short, or empty; save a smaller picture")


def check_duration(where: str, seconds: float) -> None:
    """Raises InputError for a recording that is too long."""
    if seconds > (most := max_duration()):
        raise InputError(
            f"{where}: lasts {seconds:.0f} s, more than the {most:g} s that are allowed; cut it, or raise --max-duration"
        )


def check_sound(where: str, rate: int, channels: int = 1) -> None:
    """Raises InputError for a rate or number of channels that no recording has."""
    if not RATE_RANGE[0] <= rate <= RATE_RANGE[1]:
        raise InputError(f"{where}: a sample rate of {rate} Hz; allowed is {RATE_RANGE[0]} to {RATE_RANGE[1]}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise InputError(f"{where}: {channels} channels; allowed is 1 to {MAX_CHANNELS}")
