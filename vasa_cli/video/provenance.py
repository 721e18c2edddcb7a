"""Say in the file itself, in a way machines read, that the video is made by AI (EU AI Act, Article 50(2)).

MP4 and MOV carry an XMP packet in the `uuid` box that the XMP specification (part 3, 1.1.4) reserves for it, with IPTC's
DigitalSourceType; PNG pictures carry the packet in the text chunk that it names for it (1.1.5); every other format
carries a comment tag.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from pathlib import Path
from xml.sax.saxutils import escape

from vasa_cli import __version__

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_PNG_HEADER = 8 + 25  # bytes: signature and IHDR
XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
COMMENT = (
    f"AI-generated video: a portrait photo animated to a speech recording by vasa_cli {__version__}; "
    f"digital source type: {SOURCE_TYPE}"
)

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
    return {"comment": COMMENT, "digital_source_type": SOURCE_TYPE}


def xmp_packet() -> bytes:
    return _PACKET.format(tool=escape(f"vasa_cli {__version__}"), source=escape(SOURCE_TYPE), comment=escape(COMMENT)).encode()


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
    with path.open("rb") as f:
        while len(head := f.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            body = size - 8
            if size == 1:
                body = struct.unpack(">Q", f.read(8))[0] - 16
            if size == 0 or body < 0:
                return None
            if kind == b"uuid":
                box = f.read(body)
                if box[:16] == XMP_BOX.bytes:
                    return box[16:]
            else:
                f.seek(body, 1)
    return None
