"""Writes the corpus: small valid files of every kind, made by the writers themselves, and a few that are wrong in one place."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image
from targets import CORPUS, FACE_DATA

from vasa_cli.motion.controls import Controls
from vasa_cli.motion.track import MotionTrack
from vasa_cli.pipeline import PARTS, weight_hashes
from vasa_cli.portrait.latent import _TENSORS, FaceLatent
from vasa_cli.trust.sign import _BOX as C2PA_BOX
from vasa_cli.video.ffmpeg import find_ffmpeg
from vasa_cli.video.provenance import SERVICE, SOURCE_TYPE, XMP_BOX, mark_png, xmp_packet
from vasa_cli.video.provenance import tags as tags_of_mark
from vasa_cli.video.receipt import FORMAT

PRESETS = (
    "name: calm\ndescription: small\ngaze: {yaw: 10, pitch: -3}\ndistance: 1.1\nemotion: {happy: 0.6}\nhead: 0.5\nblink: 1.5\n",
    "repeat: 6\ngaze:\n- {t: 0, yaw: 0, pitch: 0}\n- {t: 2.5, yaw: -20, pitch: 5}\nmouth:\n- {t: 0, value: 1}\n",
    "style: {seed: 7, nods: 1.5, pace: 0.8}\nguidance: {audio: 0.5, gaze: 1.0}\nbrows: &x 1.2\nhead: *x\n",
    "emotion: {happy: 2}\n", "gaze: [1, 2\n", "a: &a [1]\nb: [*a, *a]\n", "name: 2024-01-02\nrepeat: 1e3\n", "distance: 1:20\n",
)  # fmt: skip
MANIFESTS = (
    b"\x01- {portrait: a.png, audio: a.wav, preset: calm, seed: 3}\n- {id: two, portrait: a.png, motion: m.safetensors}\n",
    b"\x01defaults: &d {portrait: a.png, size: 256}\njobs:\n- {audio: a.wav, gaze: [3, 4], output: x.mp4}\n",
    b'\x02{"portrait": "a.png", "audio": "a.wav", "emotion": {"happy": 0.5}, "style": {"seed": 3}}\n{"portrait": "b.png"}\n',
    b"\x03id,portrait,audio,gaze,emotion\none,a.png,a.wav,\"3,4\",happy=0.5\ntwo,b.png,b.wav,,\n",
    b"\x00portrait,audio\na.png,a.wav\n", b"\x01- {portrait: a.png, audio: a.wav, output: ../x.mp4}\n",
    b'\x01- {portrait: a.png, audio: a.wav, output: "{id}-{seed}.mp4"}\n', b"\x01jobs: []\n", b"\x02[1]\n",
)  # fmt: skip
CONTROLS = (
    b'{"gaze": [10, 0], "blend": 0.8}\n{"emotion": {"happy": 0.6}, "head": 0}\n', b'{"preset": "friendly"}\n{"reset": true}\n',
    b'{"distance": 1.2, "brows": 2, "blink": 0, "mouth": 1}\n',
    b'{"blend": 2}\n\n{"gaze": {"yaw": 1}}', b'{"gaze": [1]}\n[]\nnull\n',
)  # fmt: skip
PHOTOS = (
    ("rgb", "RGB", "PNG"), ("alpha", "RGBA", "PNG"), ("palette", "P", "PNG"), ("photo", "RGB", "JPEG"), ("moving", "P", "GIF"),
    ("scan", "L", "TIFF"), ("web", "RGB", "WEBP"), ("old", "RGB", "BMP"), ("ink", "CMYK", "TIFF"), ("deep", "I;16", "PNG"),
    ("icon", "RGBA", "ICO"), ("plain", "RGB", "PPM"), ("targa", "RGB", "TGA"), ("pcx", "RGB", "PCX"), ("qoi", "RGB", "QOI"),
    ("dds", "RGB", "DDS"),
)  # fmt: skip


def save(name: str, contents: dict[str, bytes] | tuple[bytes, ...]) -> None:
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    named = contents if isinstance(contents, dict) else {f"{i:02}": c for i, c in enumerate(contents)}
    for key, data in named.items():
        (folder / key).write_bytes(data)


def face_header(folder: Path) -> bytes:
    """The header alone: what stands behind it are zeros, which the target adds."""
    sides = {"person": (32, 32), "plate": (32, 32)}

    def blank(name: str) -> np.ndarray:
        shape, dtype = _TENSORS[name]
        free = iter(sides.get(name, (0, 0) if name in ("photo", "body") else (2, 2)))
        return np.zeros([n if n is not None else next(free) for n in shape], dtype)

    face = FaceLatent(**{name: blank(name) for name in _TENSORS}, pixel_hash="0", encoder_hash="0", photo_size=(64, 64))
    face.save(folder / "f.safetensors")
    raw = (folder / "f.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    assert len(raw) - 8 - size == FACE_DATA, len(raw) - 8 - size
    return raw[: 8 + size]


def motion_file(folder: Path, frames: int, more: bool) -> bytes:
    extra = {"tongue": np.zeros(frames, np.float32), "vergence": np.zeros(frames, np.float32)} if more else {}
    pose, dynamics = np.zeros((frames, 6), np.float32), np.zeros((frames, 3), np.float32)
    MotionTrack(pose, dynamics, controls=Controls.default().to_json(), hashes={"basis": "0"}, **extra).save(
        folder / "m.safetensors"
    )
    return (folder / "m.safetensors").read_bytes()


def receipt(**changes: object) -> bytes:
    digest = hashlib.sha256(b"x").hexdigest()
    entry = {"path": "p.png", "sha256": digest}
    data = {
        "format": FORMAT, "output": "a.mp4", "frames": 6, "fps": "25/1", "size": [512, 512], "frame_hash": "0", "seed": 3,
        "device": "cpu", "dtype": "float32", "preset": "neutral", "controls": Controls.default().to_json(), "steps": None,
        "speech": "builtin", "weights": {"name": "smoke", **weight_hashes("smoke", PARTS), "encoder": "0"},
        "inputs": {"portrait": {**entry, "pixels": "0"}, "audio": {**entry, "samples": 3840, "rate": 16000}},
        "options": {"face": "largest", "crop": None, "crf": 14, "provenance": True, "fit": "crop", "size": 512, "refine": False,
                    "encoder": "x264", "background": "keep"},
    }  # fmt: skip
    return json.dumps({**data, **changes}).encode()


def wav_file(bits: int, channels: int, rate: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(channels)
        f.setsampwidth(bits // 8)
        f.setframerate(rate)
        f.writeframes(bytes(bits // 8 * channels * 16))
    return out.getvalue()


def wav_files() -> dict[str, bytes]:
    floats = b"RIFF\xff\xff\xff\xffWAVE" + b"LIST" + struct.pack("<I", 4) + b"INFO"
    floats += (
        b"fmt " + struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32) + b"data" + struct.pack("<I", 0xFFFFFFFF) + bytes(64)
    )
    plain = {f"{b}-{c}-{r}": wav_file(b, c, r) for b, c, r in ((8, 1, 8000), (16, 2, 44100), (24, 1, 48000), (32, 6, 96000))}
    return {**plain, "float-endless": floats, "trailer": plain["16-2-44100"] + b"LIST\x04\0\0\0INFO"}


def photos() -> dict[str, bytes]:
    rgb = Image.fromarray(np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3))
    out = {}
    for name, mode, form in PHOTOS:
        buffer = io.BytesIO()
        try:
            rgb.convert("L" if mode == "I;16" else mode).convert(mode).save(buffer, form)
        except (OSError, KeyError, ValueError):
            continue
        out[f"{name}.{form.lower()}"] = buffer.getvalue()
    return out


JOURNALS = (
    b'\x01{"event": "batch", "format": "vasa-journal/1", "jobs": 1, "pid": 7}\n{"event": "start", "id": "a", "output": "OUT", '
    b'"attempt": 1}\n{"event": "retry", "id": "a", "attempt": 1, "error": "x"}\n{"event": "end", "id": "a", "status": "done", '
    b'"output": "OUT", "key": "KEY", "frame_hash": "sha256:1", "size": 1, "seconds": 1.5}\n{"event": "finish", "counts": {}}\n',
    b'\x01{"event": "end", "id": "a", "status": "failed", "output": "OUT", "exit_code": 3}\n{"event": "start", "id": "b", "outp',
    b'\x00{"pid": 1, "host": "h", "key": "k"}', b'\x00{"pid": -1}', b'\x01{"event": "start", "id": "a", "output": ""}\n[]\n7\n',
)  # fmt: skip


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def stream_ts() -> bytes:
    """The first packets of an MPEG-TS stream with the mark in its service."""
    picture = ("-f", "lavfi", "-i", "color=s=16x16:d=0.04:r=25", "-f", "mpegts", "-metadata", f"service_name={SERVICE}")
    command = [find_ffmpeg(), "-v", "error", *picture, "-metadata", f"service_provider={SOURCE_TYPE}", "pipe:1"]
    return subprocess.run(command, check=True, capture_output=True).stdout[: 4 * 188]


def marked() -> dict[str, bytes]:
    """One file of every kind that `vasa inspect` reads the mark of."""
    packet, rgb = xmp_packet(), Image.new("RGB", (8, 8))
    uuids = box(b"uuid", XMP_BOX.bytes + packet) + box(b"uuid", C2PA_BOX.bytes + bytes(40))
    wide = struct.pack(">I4sQ", 1, b"free", 24) + bytes(8)
    tags = "".join(f"{key}={value}\n" for key, value in tags_of_mark().items())
    pictures = {}
    for form, more in (("JPEG", {"xmp": packet}), ("WEBP", {"xmp": packet}), ("TIFF", {"tiffinfo": {700: packet}})):
        buffer = io.BytesIO()
        rgb.save(buffer, form, **more)  # type: ignore[arg-type]
        pictures[f"picture.{form.lower()}"] = buffer.getvalue()
    with tempfile.TemporaryDirectory() as name:
        rgb.save(Path(name) / "a.png")
        mark_png(Path(name) / "a.png")
        pictures["picture.png"] = (Path(name) / "a.png").read_bytes()
        motion = motion_file(Path(name), 2, False)
    return {
        **pictures, "video.mp4": box(b"ftyp", b"isom\0\0\2\0isom") + wide + uuids,
        "video.mov": box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"mdat", bytes(16)) + uuids,
        "video.mkv": b"\x1a\x45\xdf\xa3;FFMETADATA1\n" + tags.encode() + b"\n[STREAM]\n", "video.ts": stream_ts(),
        "video.y4m": b"YUV4MPEG2 W16 H16 F25:1 XAI_GENERATED=vasa_cli XDST=trainedAlgorithmicMedia\nFRAME\n",
        "receipt.json": receipt(), "motion.safetensors": motion,
    }  # fmt: skip


def main() -> None:
    save("preset", tuple(t.encode() for t in PRESETS))
    save("manifest", MANIFESTS)
    save("control", CONTROLS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = face_header(folder)
        save("face", (header,))
        save("cache", (b"\0" + header, b"\x01" + b"4242", b"\x01" + b"9" * 40, b"\x02half"))
        motions = (motion_file(folder, 4, False), motion_file(folder, 2, True))
        save("motion", motions)
        save("weights", motions)
    save("receipt", (receipt(), receipt(output="../a.mp4"), receipt(controls=3), receipt(steps=4, seed=-1)))
    save("journal", JOURNALS)
    save("inspected", marked())
    save("wav", wav_files())
    save("photo", photos())


if __name__ == "__main__":
    main()
