"""Sound as bytes: sample formats, WAV streams whose header cannot know their length, and pieces that end anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.errors import InputError

RAW_FORMATS = ("s16le", "f32le")  # what --format offers
MAX_CHANNELS = 8
RATE_RANGE = (4000, 384000)  # Hz
HEADER_LIMIT = 1 << 20  # bytes before the sound; pictures in LIST chunks may be large, but not endless
_SAMPLES = {"u8": ("u1", 1), "s16le": ("<i2", 2), "s24le": ("", 3), "s32le": ("<i4", 4), "f32le": ("<f4", 4), "f64le": ("<f8", 8)}
_INTEGERS = {8: "u8", 16: "s16le", 24: "s24le", 32: "s32le"}
_FLOATS = {32: "f32le", 64: "f64le"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# what writers put behind the sound; anything else there is more sound than the header announced
_TRAILERS = (b"LIST", b"id3 ", b"ID3 ", b"JUNK", b"bext", b"cue ", b"smpl", b"fact", b"PEAK", b"iXML", b"_PMX", b"afsp", b"inst",
             b"acid", b"plst", b"ltxt", b"axml", b"chna", b"PAD ", b"FLLR", b"DISP")  # fmt: skip


@dataclass(frozen=True)
class PcmFormat:
    """sample: u8, s16le, s24le, s32le, f32le or f64le; rate in Hz; channels interleaved."""

    sample: str
    rate: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return _SAMPLES[self.sample][1] * self.channels


def check_format(form: PcmFormat, where: str) -> PcmFormat:
    """The format itself. Raises InputError when nothing sensible has this rate or so many channels."""
    low, high = RATE_RANGE
    if not low <= form.rate <= high:
        raise InputError(f"{where}: a rate of {form.rate} Hz; allowed is {low} to {high}")
    if not 1 <= form.channels <= MAX_CHANNELS:
        raise InputError(f"{where}: {form.channels} channels; allowed is 1 to {MAX_CHANNELS}")
    return form


class PcmDecoder:
    """Bytes in any pieces -> samples. What is not a whole sample yet waits for the next piece."""

    def __init__(self, form: PcmFormat) -> None:
        self.form = form
        self._rest = b""

    def push(self, data: bytes) -> np.ndarray:
        """-> (n, channels) float32, full scale 1; floats that are no numbers become 0."""
        data = self._rest + data if self._rest else data
        whole = len(data) - len(data) % self.form.frame_bytes
        self._rest = bytes(data[whole:])
        return _decode(data[:whole], self.form.sample).reshape(-1, self.form.channels)


def _decode(data: bytes, sample: str) -> np.ndarray:
    """Bytes of whole samples -> (n,) float32."""
    if sample == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2**31).astype(np.float32)
    values = np.frombuffer(data, _SAMPLES[sample][0])
    if sample == "u8":
        return (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return (values / 2 ** (8 * values.itemsize - 1)).astype(np.float32)
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


class WavReader:
    """The sound in a WAV stream. `form` is None until the header is complete.

    Writers on pipes cannot know the length, so the header's is only believed where a known chunk stands behind the sound.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.form: PcmFormat | None = None
        self._head = b""
        self._left: int | None = None  # bytes that the header still promises; None: all that comes is sound
        self._tail = b""
        self._done = False

    def push(self, data: bytes) -> bytes:
        """Further bytes of the stream -> bytes of sound among them. Raises InputError when this is no WAV that can be read."""
        if self.form is None:
            self._head += data
            found = self._header()
            if found is None:
                return b""
            data, self._head = self._head[found:], b""
        if self._done or self._left is None:
            return b"" if self._done else data
        sound, data = data[: self._left], data[self._left :]
        self._left -= len(sound)
        return sound if self._left else sound + self._behind(data)

    def finish(self) -> bytes:
        """The stream has ended: the last bytes of sound. Raises InputError when not even the header came."""
        if self.form is None:
            raise InputError(f"{self.name}: ended within the WAV header" if self._head else f"{self.name}: no sound came")
        tail, self._tail = self._tail, b""
        return b"" if self._done else tail

    def _behind(self, data: bytes) -> bytes:
        """What follows the announced sound: a known chunk (then this is the end), or simply more sound."""
        self._tail += data
        for start in (0, 1):  # chunks begin at even addresses
            if any(name.startswith(self._tail[start : start + 4]) for name in _TRAILERS):
                if len(self._tail) < start + 4:
                    return b""  # not yet known
                self._done = True
                return b""
        self._left = None
        out, self._tail = self._tail, b""
        return out

    def _header(self) -> int | None:
        """Where the sound begins, once the header is complete."""
        head = self._head
        if len(head) >= 4 and head[:4] not in (b"RIFF", b"RF64", b"BW64"):
            raise InputError(f"{self.name}: no WAV header; raw sound needs --format s16le or f32le, --rate and --channels")
        if len(head) >= 12 and head[8:12] != b"WAVE":
            raise InputError(f"{self.name}: a RIFF file, but not WAV")
        at, form = 12, None
        while len(head) >= at + 8:
            kind, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if kind == b"data":
                if form is None:
                    raise InputError(f"{self.name}: a WAV stream without a format before its sound")
                self.form, self._left = form, self._announced(size)
                return at + 8
            if kind == b"fmt " and len(head) >= at + 8 + size:
                form = _wav_format(head[at + 8 : at + 8 + size], self.name)
            at += 8 + size + size % 2
        if max(at, len(head)) > HEADER_LIMIT:
            raise InputError(f"{self.name}: no sound within the first megabyte of the WAV stream")
        return None

    @staticmethod
    def _announced(size: int) -> int | None:
        """The length in the header, None where it says nothing."""
        return None if size in (0, 0xFFFFFFFF) else size


def _wav_format(chunk: bytes, name: str) -> PcmFormat:
    if len(chunk) < 16:
        raise InputError(f"{name}: the WAV format chunk is cut short")
    code, channels, rate = (int.from_bytes(chunk[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8)))
    bits = int.from_bytes(chunk[14:16], "little")
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    sample = {_PCM: _INTEGERS, _FLOAT: _FLOATS}.get(code, {}).get(bits)
    if sample is None:
        raise InputError(f"{name}: WAV of code {code} with {bits} bits; PCM of 8, 16, 24, 32 bits or float is needed")
    return check_format(PcmFormat(sample, rate, channels), name)
