"""Say in the file itself, in a way machines read, that the video is made by AI (EU AI Act, Article 50(2)).

The mark is IPTC's digital source type "trained algorithmic media", with the tool and its version. MP4 and MOV carry it as an XMP
packet in the `uuid` box that the XMP specification (part 3, 1.1.4) reserves for it; PNG pictures in the text chunk that it names
for it (1.1.5); Matroska and WebM as tags; MPEG-TS, which has no tags, in the name and provider of the service. `trust.marks`
reads all of them back.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from pathlib import Path
from xml.sax.saxutils import escape

from vasa_cli import __version__

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TOOL = f"vasa_cli {__version__}"
SERVICE = f"AI-generated video ({TOOL})"  # in MPEG-TS; its provider is SOURCE_TYPE
MOST_XMP = 1 << 20  # bytes that are read of a packet
_PNG_HEADER = 8 + 25  # bytes: signature and IHDR
XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
COMMENT = f"AI-generated video: a portrait photo animated to a speech recording by {TOOL}; digital source type: {SOURCE_TYPE}"

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def tags() -> dict[str, str]:
    """Container tags for ffmpeg's -metadata."""
    return {"comment": COMMENT, "digital_source_type": SOURCE_TYPE, "tool": TOOL}


def xmp_packet() -> bytes:
    return _PACKET.format(tool=escape(TOOL), source=escape(SOURCE_TYPE), comment=escape(COMMENT)).encode()


def append_xmp(path: Path) -> None:
    """Add the XMP box to the end of a finished MP4 or MOV file."""
    packet = xmp_packet()
    with path.open("ab") as f:
        f.write(struct.pack(">I4s16s", 8 + 16 + len(packet), b"uuid", XMP_BOX.bytes) + packet)


def mark_png(path: Path) -> None:
    """Put the XMP packet into a PNG picture, behind its header chunk (PNG specification, 11.3.3.4 iTXt)."""
    data = path.read_bytes()
    body = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + xmp_packet()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:_PNG_HEADER] + chunk + data[_PNG_HEADER:])


def read_xmp(path: Path) -> bytes | None:
    """The XMP packet of an MP4 or MOV file; None when it has none."""
    return read_box(path, XMP_BOX)


def read_box(path: Path, ident: uuid.UUID, most: int = MOST_XMP) -> bytes | None:
    """Content of the first top-level `uuid` box of this kind in an MP4 or MOV file, at most `most` bytes; None without one."""
    end = path.stat().st_size
    with path.open("rb") as f:
        while len(head := f.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            body = size - 8
            if size == 1:
                wide = f.read(8)
                if len(wide) < 8:
                    return None
                body = int(struct.unpack(">Q", wide)[0]) - 16
            if size == 0 or not 0 <= body <= end - f.tell():
                return None
            if kind == b"uuid" and body >= 16 and f.read(16) == ident.bytes:
                return f.read(min(body - 16, most))
            f.seek(body - (16 if kind == b"uuid" and body >= 16 else 0), 1)
    return None
