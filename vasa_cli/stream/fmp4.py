"""Fragmented MP4, a fragment a packet: every picture can be played as soon as it is coded, and what was written stays playable.

ISO/IEC 14496-12 (boxes), -14 (mp4a, esds) and -15 (avc1). ffmpeg's own muxer holds a frame back to know its duration, and more to
interleave; here the duration is known: pictures come at a constant rate and AAC frames are 1024 samples.
"""

from __future__ import annotations

import struct

from vasa_cli.stream.flv import AAC_FRAME, Shape, sound_rate
from vasa_cli.video import provenance

VIDEO, AUDIO = 1, 2  # track numbers
TICKS = 512  # of the video's clock a frame
_MATRIX = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_KEY, _DEPENDS = 0x02000000, 0x01010000  # sample flags: depends on no other; depends, and is no place to begin


class Mp4Muxer:
    """Packets in, bytes of the file out. `header` comes first."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self._number = shape, 0

    def header(self, avcc: bytes, asc: bytes) -> bytes:
        return header(self.shape, avcc, asc)

    def picture(self, index: int, data: bytes, key: bool) -> bytes:
        self._number += 1
        return fragment(self._number, VIDEO, index, data, key)

    def sound(self, index: int, data: bytes) -> bytes:
        self._number += 1
        return fragment(self._number, AUDIO, index, data)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def header(shape: Shape, avcc: bytes, asc: bytes) -> bytes:
    """ftyp, moov and the XMP mark. avcc: the decoder configuration record of H.264; asc: the AudioSpecificConfig of AAC."""
    movie = full(b"mvhd", 0, 0, struct.pack(">4I", 0, 0, 1000, 0), struct.pack(">IH10x", 1 << 16, 1 << 8), _MATRIX, bytes(24),
                 struct.pack(">I", 3))  # fmt: skip
    tracks = _video_track(shape, avcc) + _audio_track(shape, asc)
    extends = box(b"mvex", *(full(b"trex", 0, 0, struct.pack(">5I", track, 1, 0, 0, 0)) for track in (VIDEO, AUDIO)))
    out = box(b"ftyp", b"iso6", struct.pack(">I", 512), b"iso6mp41isomavc1")
    out += box(b"moov", movie, tracks, extends, _comment() if shape.mark else b"")
    return out + (box(b"uuid", provenance.XMP_BOX.bytes, provenance.xmp_packet()) if shape.mark else b"")


def fragment(number: int, track: int, index: int, data: bytes, key: bool = True) -> bytes:
    """moof and mdat of one packet. number: of the fragment, from 1; index: of the picture, or of the AAC frame."""
    duration = TICKS if track == VIDEO else AAC_FRAME
    head = full(b"tfhd", 0, 0x020000, struct.pack(">I", track))  # offsets count from the moof
    time = full(b"tfdt", 1, 0, struct.pack(">Q", index * duration))
    sizes = struct.pack(">3I", duration, len(data), _KEY if key else _DEPENDS)
    length = 8 + 16 + 8 + len(head) + len(time) + 12 + 8 + len(sizes)  # of the moof
    run = full(b"trun", 0, 0x701, struct.pack(">Ii", 1, length + 8), sizes)
    moof = box(b"moof", full(b"mfhd", 0, 0, struct.pack(">I", number)), box(b"traf", head, time, run))
    assert len(moof) == length
    return moof + box(b"mdat", data)


# ---------------------------------------------------------------------------------------------------- tracks


def _track(number: int, kind: bytes, timescale: int, size: tuple[int, int], media: bytes, sample: bytes) -> bytes:
    volume = 0 if kind == b"vide" else 1 << 8
    width, height = size
    head = full(b"tkhd", 0, 3, struct.pack(">5I8x", 0, 0, number, 0, 0), struct.pack(">4H", 0, 0, volume, 0), _MATRIX,
                struct.pack(">2I", width << 16, height << 16))  # fmt: skip
    clock = full(b"mdhd", 0, 0, struct.pack(">4I2H", 0, 0, timescale, 0, 0x55C4, 0))  # und
    handler = full(b"hdlr", 0, 0, bytes(4), kind, bytes(12), b"vasa\0")
    data = box(b"dinf", full(b"dref", 0, 0, struct.pack(">I", 1), full(b"url ", 0, 1)))
    none = struct.pack(">I", 0)
    table = box(b"stbl", full(b"stsd", 0, 0, struct.pack(">I", 1), sample), full(b"stts", 0, 0, none), full(b"stsc", 0, 0, none),
                full(b"stsz", 0, 0, none, none), full(b"stco", 0, 0, none))  # fmt: skip
    return box(b"trak", head, box(b"mdia", clock, handler, box(b"minf", media, data, table)))


def _video_track(shape: Shape, avcc: bytes) -> bytes:
    width, height = shape.size
    colour = box(b"colr", b"nclx", struct.pack(">3HB", 1, 1, 1, 0))  # BT.709, limited range
    entry = box(b"avc1", struct.pack(">6xH16x2H2I4xH", 1, width, height, 72 << 16, 72 << 16, 1), bytes(32),
                struct.pack(">Hh", 24, -1), box(b"avcC", avcc), colour)  # fmt: skip
    ticks = shape.fps * TICKS
    if ticks.denominator != 1:
        raise ValueError(f"{shape.fps} frames a second have no whole clock")
    return _track(VIDEO, b"vide", int(ticks), shape.size, full(b"vmhd", 0, 1, bytes(8)), entry)


def _audio_track(shape: Shape, asc: bytes) -> bytes:
    def descriptor(tag: int, *parts: bytes) -> bytes:  # ISO/IEC 14496-1, 7.2.6
        body = b"".join(parts)
        return bytes((tag, 0x80, 0x80, 0x80, len(body))) + body

    config = descriptor(4, struct.pack(">BB3xII", 0x40, 0x15, 0, 0), descriptor(5, asc))
    stream = full(b"esds", 0, 0, descriptor(3, struct.pack(">HB", AUDIO, 0), config, descriptor(6, b"\2")))
    rate = sound_rate(asc)
    stored = min(rate, 0xFFFF)  # the field has 16 bits; decoders read the true rate from the config
    entry = box(b"mp4a", struct.pack(">6xH8x2H4xI", 1, shape.channels, 16, stored << 16), stream)
    return _track(AUDIO, b"soun", rate, (0, 0), full(b"smhd", 0, 0, bytes(4)), entry)


def _comment() -> bytes:
    """The comment tag where players show it (iTunes metadata)."""
    value = box(b"data", struct.pack(">II", 1, 0), provenance.COMMENT.encode())
    handler = full(b"hdlr", 0, 0, bytes(4), b"mdirappl", bytes(9))
    return box(b"udta", full(b"meta", 0, 0, handler, box(b"ilst", box(b"\xa9cmt", value))))
