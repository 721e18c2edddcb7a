"""Matroska for live use: clusters without a known size, a block a packet, nothing held back (RFC 9559, RFC 8794)."""

from __future__ import annotations

import struct

from vasa_cli import __version__
from vasa_cli.stream.flv import AAC_FRAME, Shape, sound_rate
from vasa_cli.video import provenance

TICK = 100_000  # nanoseconds; a block's time is 16 bits of them around its cluster's, 3.2 s
VIDEO, AUDIO = 1, 2
_UNKNOWN = b"\x01" + b"\xff" * 7
_EBML, _SEGMENT, _INFO, _TRACKS, _TAGS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1254C367, 0x1F43B675


def element(ident: int, *parts: bytes | int | float | str) -> bytes:
    """An element with its size; whole numbers and floats as EBML stores them."""
    body = b"".join(map(_value, parts))
    return _ident(ident) + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _ident(ident: int) -> bytes:
    return ident.to_bytes((ident.bit_length() + 7) // 8, "big")


def _value(part: bytes | int | float | str) -> bytes:
    if isinstance(part, int):
        return part.to_bytes(max(1, (part.bit_length() + 7) // 8), "big")
    if isinstance(part, float):
        return struct.pack(">d", part)
    return part.encode() if isinstance(part, str) else part


class MkvMuxer:
    """Packets in, bytes of the file out. `header` comes first."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._rate = 0
        self._cluster: int | None = None  # ticks

    def header(self, avcc: bytes, asc: bytes) -> bytes:
        """EBML head, and the start of a segment of unknown length. avcc and asc: the decoders' configurations."""
        self._rate = sound_rate(asc)
        head = element(_EBML, element(0x4286, 1), element(0x42F7, 1), element(0x42F2, 4), element(0x42F3, 8),
                       element(0x4282, "matroska"), element(0x4287, 4), element(0x4285, 2))  # fmt: skip
        tool = f"vasa_cli {__version__}"
        info = element(_INFO, element(0x2AD7B1, TICK), element(0x4D80, tool), element(0x5741, tool))
        return head + _ident(_SEGMENT) + _UNKNOWN + info + self._tracks(avcc, asc) + (_tags() if self.shape.mark else b"")

    def _tracks(self, avcc: bytes, asc: bytes) -> bytes:
        width, height = self.shape.size
        colour = element(0x55B0, element(0x55B1, 1), element(0x55B9, 1), element(0x55BA, 1), element(0x55BB, 1))
        frame = round(1_000_000_000 / self.shape.fps)
        video = element(0xE0, element(0xB0, width), element(0xBA, height), element(0x9A, 2), colour)  # not interlaced
        audio = element(0xE1, element(0xB5, float(self._rate)), element(0x9F, self.shape.channels))
        return element(
            _TRACKS,
            element(0xAE, element(0xD7, VIDEO), element(0x73C5, VIDEO), element(0x83, 1), element(0x9C, 0),
                    element(0x86, "V_MPEG4/ISO/AVC"), element(0x63A2, avcc), element(0x23E383, frame), video),
            element(0xAE, element(0xD7, AUDIO), element(0x73C5, AUDIO), element(0x83, 2), element(0x9C, 0),
                    element(0x86, "A_AAC"), element(0x63A2, asc), audio),
        )  # fmt: skip

    def picture(self, index: int, data: bytes, key: bool) -> bytes:
        time = round(index * 1_000_000_000 / self.shape.fps / TICK)
        start = self._begin(time) if key else b""  # players begin at clusters
        return start + self._block(VIDEO, time, data, key)

    def sound(self, index: int, data: bytes) -> bytes:
        return self._block(AUDIO, round(index * AAC_FRAME * 1_000_000_000 / self._rate / TICK), data, True)

    def _begin(self, time: int) -> bytes:
        self._cluster = time
        return _ident(_CLUSTER) + _UNKNOWN + element(0xE7, time)

    def _block(self, track: int, time: int, data: bytes, key: bool) -> bytes:
        start = b""
        if self._cluster is None or not -0x8000 <= time - self._cluster < 0x8000:
            start = self._begin(time)
        assert self._cluster is not None
        return start + element(0xA3, struct.pack(">BhB", 0x80 | track, time - self._cluster, 0x80 if key else 0), data)


def _tags() -> bytes:
    """The AI mark as tags of the whole file, named as ffmpeg names them."""
    tags = (element(0x67C8, element(0x45A3, name.upper()), element(0x4487, value)) for name, value in provenance.tags().items())
    return element(_TAGS, element(0x7373, element(0x63C0), *tags))
