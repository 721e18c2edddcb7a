"""Errors a user can cause or mend, each with the exit code that scripts rely on.

The table of exit codes is part of the public contract (README): a number never changes its meaning.
"""


class VasaError(Exception):
    """Base of all expected failures. The message is one line: what was found, and what to do."""

    exit_code = 1


class UsageError(VasaError):
    """Options, presets or manifests that cannot be right."""

    exit_code = 2


class InputError(VasaError):
    """A photo, recording or latent file that is missing, unreadable or invalid."""

    exit_code = 3


class FaceError(VasaError):
    """No usable face in the photo, or an impossible choice among several."""

    exit_code = 4


class WeightsError(VasaError):
    """Model weights that are missing or do not match this version."""

    exit_code = 5


class DeviceError(VasaError):
    """The requested device is absent or ran out of memory."""

    exit_code = 6


class MemoryShortage(DeviceError):
    """Memory ran out, of the device or of the machine: less at once, or later, may well work."""


class EncoderError(VasaError):
    """ffmpeg is missing, failed or was killed."""

    exit_code = 7


class BatchError(VasaError):
    """The batch ran to its end, but some of its jobs failed."""

    exit_code = 8


class DiffersError(VasaError):
    """`vasa verify`: a video, its mark, an input or a weight file is not what the receipt says."""

    exit_code = 9


EXIT_INTERRUPTED = 130
