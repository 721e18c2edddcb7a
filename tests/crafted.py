"""Files that want ffmpeg, Pillow or OpenCV to open something else: each names an address of the listener that must stay alone."""

from __future__ import annotations

import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from vasa_cli.video.ffmpeg import find_ffmpeg


class Listener:
    """Counts the connections to a port of this machine, and hangs up."""

    def __init__(self) -> None:
        self.seen = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.seen += 1
            caller.close()

    def close(self) -> None:
        self._socket.close()


def hls(port: int) -> bytes:
    return (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:5.0,\n"
        f"http://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n"
    ).encode()


def concat(port: int) -> bytes:
    return f"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.wav'\nfile '/etc/passwd'\n".encode()


def sdp(port: int) -> bytes:
    return (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:rtsp://127.0.0.1:{port}/\n"
        f"m=audio {port} RTP/AVP/TCP 0\na=rtpmap:0 PCMU/8000\n"
    ).encode()


def dash(port: int) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT5S" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4"><Representation '
        f'id="1" bandwidth="9000" codecs="mp4a.40.2"><BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL></Representation></AdaptationSet>'
        "</Period></MPD>"
    ).encode()


def svg(port: int) -> bytes:
    return (
        f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "http://127.0.0.1:{port}/x">]>'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="512" height="512">'
        f'<image xlink:href="http://127.0.0.1:{port}/a.png" width="512" height="512"/>&x;</svg>'
    ).encode()


def eps(port: int) -> bytes:
    """PostScript: Pillow would start Ghostscript with it."""
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 512 512\n%%EndComments\n(http://127.0.0.1:{port}/) run\n%%EOF\n".encode()


def playlist(port: int) -> bytes:
    return f"[playlist]\nFile1=http://127.0.0.1:{port}/a.mp3\nLength1=-1\nNumberOfEntries=1\nVersion=2\n".encode()


def address(port: int) -> bytes:
    return f"http://127.0.0.1:{port}/a.mp3\n".encode()


def avi(port: int) -> bytes:
    """The classic: an AVI whose GAB2 subtitle chunk holds an HLS playlist."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    text = hls(port)
    gab2 = b"GAB2\0" + struct.pack("<HI", 2, 10) + b"a\0b\0c\0d\0\0\0" + struct.pack("<HI", 4, len(text)) + text
    strh = b"txts" + bytes(4) + struct.pack("<IHHIIIIIII", 0, 0, 0, 0, 1, 25, 0, 100, 0, 0) + bytes(12)
    avih = struct.pack("<14I", 40000, 0, 0, 0x10, 100, 0, 1, 0, 320, 240, 0, 0, 0, 0)
    strl = b"strl" + chunk(b"strh", strh) + chunk(b"strf", b"")
    hdrl = b"hdrl" + chunk(b"avih", avih) + chunk(b"LIST", strl)
    movi = b"movi" + chunk(b"00tx", gab2)
    return chunk(b"RIFF", b"AVI " + chunk(b"LIST", hdrl) + chunk(b"LIST", movi))


def mov(port: int) -> bytes:
    """A QuickTime movie whose samples lie at another address (data reference)."""
    source = "sine=d=0.4:r=16000"
    command = [str(find_ffmpeg()), "-v", "error", "-f", "lavfi", "-i", source, "-c:a", "pcm_s16le", "-f", "mov"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "a.mov"
        subprocess.run([*command, str(out)], check=True)
        data = out.read_bytes()
    place = f"http://127.0.0.1:{port}/a.raw".encode() + b"\0"
    return _with_reference(data, struct.pack(">I4sI", 12 + len(place), b"url ", 0) + place)


def _with_reference(data: bytes, entry: bytes) -> bytes:
    """The same boxes, every data reference replaced; moov lies behind the samples, so that no offset moves."""
    out, at = b"", 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        size = size if size >= 8 else len(data) - at
        body = data[at + 8 : at + size]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            body = _with_reference(body, entry)
        elif kind == b"dref":
            body = body[:4] + struct.pack(">I", 1) + entry
        out += struct.pack(">I4s", 8 + len(body), kind) + body
        at += size
    return out


CRAFTED: dict[str, Callable[[int], bytes]] = {
    f.__name__: f for f in (hls, concat, sdp, dash, svg, eps, playlist, address, avi, mov)
}
