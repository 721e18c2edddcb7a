"""Read back what a file says about its making: the IPTC digital source type, and the tool. The writing is in `video.provenance`
and, for streams, in `stream`."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.errors import InputError
from vasa_cli.video import provenance
from vasa_cli.video.ffmpeg import file_url, find_ffmpeg, safe_words

_HEAD = 1 << 16  # bytes at the start that are looked at
_XMP_SOURCE = re.compile(rb"""DigitalSourceType(?:\s*=\s*["']|\s*>\s*|\s[^<>]*?resource\s*=\s*["'])\s*([^"'<>\s]{1,200})""")
_XMP_TOOL = re.compile(rb"""CreatorTool(?:\s*=\s*["']|\s*>\s*)([^"'<>]{1,200})""")
_COMMENT_SOURCE = re.compile(r"digital source type: (\S{1,200})")
_COMMENT_TOOL = re.compile(r"by (vasa_cli \S{1,60}?)[;,\s]")
_TS_PACKET = 188


@dataclass(frozen=True)
class Mark:
    """source: IPTC's URI, as found; tool: name and version; place: where in the file. None where the file does not say."""

    source: str | None = None
    tool: str | None = None
    place: str | None = None

    @property
    def says_ai(self) -> bool:
        """Whether the source type is one of those that IPTC has for generated media."""
        return self.source is not None and "rainedAlgorithmicMedia" in self.source.rpartition("/")[2]


NO_MARK = Mark()


def container_of(path: Path) -> str | None:
    """'mp4' (MOV too), 'matroska' (WebM too), 'ts', 'y4m', 'picture', 'safetensors' or 'json', by the first bytes; else None."""
    with path.open("rb") as f:
        head = f.read(2 * _TS_PACKET + 1)
    if head[4:8] in (b"ftyp", b"moov", b"wide"):
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:1] == b"G" and head[_TS_PACKET : _TS_PACKET + 1] == b"G":
        return "ts"
    if head[:9] == b"YUV4MPEG2":
        return "y4m"
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 1 << 27:
        return "safetensors"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return "json"
    return "picture" if head[:4] in (b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*") or head[:3] == b"\xff\xd8\xff" else None


def mark_of(path: Path, container: str) -> Mark:
    """The mark of a video stream or picture. Raises OSError."""
    if container == "mp4":
        packet = provenance.read_xmp(path)
        return _of_xmp(packet, "XMP packet") if packet else _of_tags(tags_of(path))
    if container == "matroska":
        return _of_tags(tags_of(path))
    if container == "ts":
        return _of_service(path)
    if container == "y4m":
        with path.open("rb") as f:
            words = f.readline(_HEAD).decode(errors="replace").split()
        found = {key: value for word in words for key, value in [word.partition("=")[::2]]}
        term = found.get("XDST")  # the header has room for the last word of the source type alone
        source = f"{provenance.SOURCE_TYPE.rpartition('/')[0]}/{term}" if term else None
        return Mark(source, found.get("XAI_GENERATED"), "header")
    return _of_picture(path)


def _of_xmp(packet: bytes, place: str) -> Mark:
    source, tool = (
        m.group(1).decode(errors="replace").strip() if m else None for m in (_XMP_SOURCE.search(packet), _XMP_TOOL.search(packet))
    )
    return NO_MARK if source is None and tool is None else Mark(source, tool, place)


def _of_tags(tags: dict[str, str]) -> Mark:
    comment = tags.get("comment", "")
    source, tool = _COMMENT_SOURCE.search(comment), _COMMENT_TOOL.search(comment)
    found = tags.get("digital_source_type") or (source.group(1) if source else None)
    if found is None:
        return NO_MARK
    return Mark(found, tags.get("tool") or (tool.group(1) if tool else None), "tags")


def tags_of(path: Path) -> dict[str, str]:
    """Tags of the whole file, names in small letters, as ffmpeg reads them; none where it reads none. Raises EncoderError."""
    command = [str(find_ffmpeg()), "-v", "error", "-nostdin", *safe_words(), "-i", file_url(path)]
    done = subprocess.run([*command, "-f", "ffmetadata", "pipe:1"], capture_output=True, stdin=subprocess.DEVNULL)
    return tags_in(done.stdout)


def tags_in(metadata: bytes) -> dict[str, str]:
    """Tags of the whole file in the text of ffmpeg's ffmetadata format."""
    text = metadata.decode(errors="replace").split("\n[", 1)[0].replace("\\\n", "\n")
    lines = (line.partition("=") for line in re.split(r"(?<!\\)\n", text) if not line.startswith(";"))
    return {key.lower(): re.sub(r"\\(.)", r"\1", value) for key, sign, value in lines if sign}


def _of_service(path: Path) -> Mark:
    """Name and provider of the first service in an MPEG-TS (EN 300 468, 5.2.3: the SDT has PID 0x11; 6.2.35: descriptor 0x48)."""
    with path.open("rb") as f:
        data = f.read(_HEAD)
    for start in range(0, len(data) - _TS_PACKET + 1, _TS_PACKET):
        packet = data[start : start + _TS_PACKET]
        if packet[0] != 0x47 or ((packet[1] & 0x1F) << 8 | packet[2]) != 0x11:
            continue
        at = packet.find(b"\x48", 5)
        texts: list[str] = []
        while 0 <= at < len(packet) - 4 and len(texts) < 2:
            begin = at + 3 if not texts else at
            length = packet[begin]
            texts.append(packet[begin + 1 : begin + 1 + length].decode(errors="replace"))
            at = begin + 1 + length
        provider, name = [*texts, "", ""][:2]
        tool = re.search(r"\((vasa_cli [^)]+)\)", name)
        if "digitalsourcetype" in provider:
            return Mark(provider, tool.group(1) if tool else None, "name of the service")
    return NO_MARK


def _of_picture(path: Path) -> Mark:
    """XMP of a photo or a picture of a sequence (JPEG, PNG, WebP, TIFF)."""
    from vasa_cli.portrait.pixels import DAMAGED, opened, quiet

    try:
        with quiet(), opened(path) as picture:
            packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    except (*DAMAGED, InputError):
        return NO_MARK
    if isinstance(packet, str):
        packet = packet.encode(errors="replace")
    return _of_xmp(packet, "XMP packet") if isinstance(packet, bytes) else NO_MARK  # TIFF's may be a number of any size
