"""Coded packets out of an ffmpeg pipe: FLV says how long each packet is, and its muxer keeps none back.

Adobe Flash Video File Format Specification 10.1, annex E. Only what ffmpeg writes for H.264 and AAC is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

HEADER = 9 + 4  # bytes: the file header and the first back pointer
_TAG, _BACK = 11, 4  # bytes before and behind the data of a tag
AAC_FRAME = 1024  # samples; also what ffmpeg's encoder puts before the sound
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # ISO/IEC 14496-3, 1.6.3.4
_AUDIO, _VIDEO = 8, 9
_AVC, _AAC = 7, 10


@dataclass(frozen=True)
class Shape:
    """What does not change during a stream. size: (width, height); channels: of the sound; mark: say that AI made it."""

    size: tuple[int, int]
    fps: Fraction
    channels: int
    mark: bool = True


@dataclass(frozen=True)
class Packet:
    """data: a coded picture (NAL units, each with its length before it) or an AAC frame; with `config` the decoder's set-up
    instead: the avcC record or the AudioSpecificConfig."""

    data: bytes
    video: bool
    config: bool = False
    key: bool = False


class FlvReader:
    """Bytes in any pieces -> whole packets, in order."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def push(self, data: bytes) -> list[Packet]:
        """Raises ValueError on what is not FLV of H.264 or AAC."""
        self._rest += data
        at, out = 0, []
        if not self._started:
            if len(self._rest) < HEADER:
                return []
            if self._rest[:3] != b"FLV":
                raise ValueError("ffmpeg wrote no FLV")
            self._started, at = True, HEADER
        while len(self._rest) >= at + _TAG:
            size = int.from_bytes(self._rest[at + 1 : at + 4], "big")
            end = at + _TAG + size + _BACK
            if len(self._rest) < end:
                break
            packet = _packet(self._rest[at] & 31, self._rest[at + _TAG : at + _TAG + size])
            if packet is not None:
                out.append(packet)
            at = end
        self._rest = self._rest[at:]
        return out


def _packet(kind: int, body: bytes) -> Packet | None:
    """The packet in a tag's body; None for tags that carry none."""
    if kind == _AUDIO and len(body) > 2:
        if body[0] >> 4 != _AAC:
            raise ValueError(f"FLV sound of kind {body[0] >> 4}, not AAC")
        return Packet(body[2:], False, config=body[1] == 0)
    if kind == _VIDEO and len(body) > 5:
        if body[0] & 0x8F != _AVC:
            raise ValueError(f"FLV video of kind {body[0] & 0x8F}, not H.264")
        return Packet(body[5:], True, config=body[1] == 0, key=body[0] >> 4 == 1) if body[1] < 2 else None
    return None


def sound_rate(asc: bytes) -> int:
    """Samples a second of an AudioSpecificConfig. Raises ValueError when it names none of AAC's own rates."""
    index = (asc[0] & 7) << 1 | asc[1] >> 7
    if index >= len(_RATES):
        raise ValueError(f"AAC of rate index {index}")
    return _RATES[index]
