"""FaceLatent: everything that rendering needs to know of one photo, in one file.

Coordinates: "crop pixels", a square of 512 x 512 cut from the photo (x right, y down, pixel edges at integers), z in the same
unit, smaller
= nearer. Canonical shapes are in inter-ocular distances (docstring of `motion.track`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.limits import FACE_BYTES
from vasa_cli.parsing import check_safetensors, load_json

FORMAT = "vasa-face/2"
SIZE = 512  # crop pixels
TEXTURE = 768  # least texels a side of the person layer: 1.5 a crop pixel, so that small motions do not blur
MIN_SQUARE = 32  # texels
GRID = 256  # cells a side of the depth and follow maps

# name -> (shape, dtype); None = any length
_TENSORS: dict[str, tuple[tuple[int | None, ...], str]] = {
    "person": ((None, None, 4), "uint8"),
    "surround": ((None, None, 4), "uint8"),
    "plate": ((None, None, 3), "uint8"),
    "depth": ((GRID, GRID), "float32"),
    "follow": ((GRID, GRID), "float32"),
    "eye_white": ((2, None, None, 3), "uint8"),
    "eye_iris": ((2, None, None, 4), "uint8"),
    "eye_glint": ((2, None, None, 4), "uint8"),
    "eye_edges": ((2, 2, None), "float32"),
    "eye_lashes": ((2, 2, None, None, 4), "uint8"),
    "eye_lids": ((2, None, None, 3), "uint8"),
    "eye_photo": ((2, None, None, 3), "uint8"),
    "glasses": ((2,), "float32"),
    "mouth_upper": ((None, None, 5), "uint8"),
    "mouth_lower": ((None, None, 5), "uint8"),
    "mouth_colours": ((6, 3), "float32"),
    "landmarks": ((478, 3), "float32"),
    "neutral": ((478, 3), "float32"),
    "identity": ((None,), "float32"),
    "pose": ((6,), "float32"),
    "dynamics": ((None,), "float32"),
    "rotation": ((3, 3), "float32"),
    "scale": ((), "float32"),
    "translation": ((3,), "float32"),
    "crop": ((3,), "float32"),
    "photo": ((None, None, 3), "uint8"),
    "body": ((None, None), "uint8"),
}


@dataclass(frozen=True)
class FaceLatent:
    """One portrait, encoded.

    The 3D appearance volume, as layers from back to front (colours 0..255, alpha 0..255):
      plate (P, P, 3)                the background without the person, uncovered parts filled in
      person (T, T, 4), T >= 768     head, hair, neck, shoulders with matte; depth (256, 256) and follow (256, 256) lift it to
      3D: z in crop pixels, and how far each place goes along with the head (1 head, 0 stands still)
      surround (512, 512, 4)         the person in a square twice as wide around the crop: what distance brings into the picture
      eye_white (2, h, w, 3), eye_iris (2, d, d, 4)   eyeballs behind the lids, left and right of the picture; eye_glint
                                     (2, d, d, 4) the light's reflection on the iris; eye_edges (2, 2, n) upper and lower edge of
                                     the eye, eye_lashes (2, 2, h, w, 4) the lashes along them, eye_lids (2, h, w, 3) the skin
                                     of closed lids, eye_photo (2, h, w, 3) the eyes as in the photo (`portrait.lids`)
      glasses (2,)                   how deep the rims hang below both eyes, in eye widths; 0, 0 without glasses
      mouth_upper, mouth_lower (h, w, 5)   rows of teeth under white light, off their arch: colour, coverage, coverage of gum
      mouth_colours (6, 3) 0..1: cavity, tongue and gum under white light, light on what faces left and right, and what of it
                                     reaches the teeth in a small opening
    Geometry: landmarks (478, 3) of the photo in crop pixels, which are also the texture coordinates (divide by 512);
      neutral (478, 3) canonical vertices without the photo's expression;
      landmarks = scale * rotation @ (neutral + dynamics) + translation.
    Codes: identity z_id (M,), pose z_pose (6,) and dynamics z_dyn (K,) of the photo itself.
    crop: x, y, scale of the square in the photo (photo = xy + scale * crop pixel).
    For pasting back: photo (H, W, 3), the photo itself, and body (H, W) 0..255, its person matte; both empty (0, 0) in faces
    that were not encoded for it (`encode_portrait(size="native")`).
    """

    person: np.ndarray
    surround: np.ndarray
    plate: np.ndarray
    depth: np.ndarray
    follow: np.ndarray
    eye_white: np.ndarray
    eye_iris: np.ndarray
    eye_glint: np.ndarray
    eye_edges: np.ndarray
    eye_lashes: np.ndarray
    eye_lids: np.ndarray
    eye_photo: np.ndarray
    glasses: np.ndarray
    mouth_upper: np.ndarray
    mouth_lower: np.ndarray
    mouth_colours: np.ndarray
    landmarks: np.ndarray
    neutral: np.ndarray
    identity: np.ndarray
    pose: np.ndarray
    dynamics: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    translation: np.ndarray
    crop: np.ndarray
    photo: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    body: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    pixel_hash: str = ""
    encoder_hash: str = ""
    photo_size: tuple[int, int] = (0, 0)  # width, height
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name, (shape, dtype) in _TENSORS.items():
            a = getattr(self, name)
            fits = a.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, a.shape, strict=True))
            if not fits or str(a.dtype) != dtype:
                raise ValueError(f"{name} must be {dtype} {shape}, got {a.dtype} {a.shape}")
        for name in ("person", "plate"):
            height, width = getattr(self, name).shape[:2]
            if height != width or height < MIN_SQUARE:
                raise ValueError(f"{name} must be a square of at least {MIN_SQUARE} texels, got {width}x{height}")
        if self.photo.shape[:2] != self.body.shape:
            raise ValueError(f"photo {self.photo.shape} and body {self.body.shape} must have one size")

    @property
    def size(self) -> int:
        """Side of the picture that is rendered by default, in pixels."""
        return SIZE

    @property
    def texture(self) -> int:
        """Texels a side of the person layer."""
        return int(self.person.shape[0])

    @property
    def pastes(self) -> bool:
        """Whether the photo itself is here, so that the head can be pasted back into it."""
        return self.photo.size > 0

    @property
    def cut_above(self) -> bool:
        """Whether the photo's upper border cuts through hair or hat."""
        return float((self.person[:4, :, 3] > 127).mean()) > 0.08

    @property
    def zoom_anchor(self) -> np.ndarray:
        """(2,) crop pixels: the place about which head distance scales the person, where the photo's border cuts the body."""
        return np.array([float(self.translation[0]), 0.0 if self.cut_above else float(SIZE)], np.float32)

    def shrunk(self, size: int) -> FaceLatent:
        """The same face with a person layer no finer than pictures of this size can show: sampling a finer one would alias."""
        step = self.texture * SIZE // (TEXTURE * max(size, 1))
        if step < 2:
            return self
        side = self.texture // step
        cut = self.person[: side * step, : side * step].reshape(side, step, side, step, 4)
        return replace(self, person=np.asarray(cut.mean((1, 3)) + 0.5, np.uint8))

    def save(self, path: Path) -> None:
        """Write one .safetensors file (the caller handles .part and rename). Raises OSError."""
        from safetensors.numpy import save

        meta = {
            "format": FORMAT,
            "pixel_hash": self.pixel_hash,
            "encoder_hash": self.encoder_hash,
            "photo_size": json.dumps(list(self.photo_size)),
            "notes": json.dumps(list(self.notes)),
        }
        tensors = {name: np.ascontiguousarray(getattr(self, name)).reshape(getattr(self, name).shape) for name in _TENSORS}
        path.write_bytes(save(tensors, metadata=meta))  # save_file has an error of its own for a full disk

    @classmethod
    def load(cls, path: Path) -> FaceLatent:
        """Read a face file. Raises InputError when it is missing, damaged, or of another format version."""
        from safetensors import SafetensorError, safe_open

        try:
            check_safetensors(path, FACE_BYTES)
            with safe_open(str(path), framework="numpy") as f:
                meta = f.metadata() or {}
                if meta.get("format") != FORMAT:
                    raise InputError(
                        f"{path}: not a face file of format {FORMAT} (found {meta.get('format')!r}); run `vasa encode` again"
                    )
                tensors = {name: f.get_tensor(name) for name in _TENSORS}
            width, height = load_json(meta["photo_size"])
            face = cls(
                **tensors,
                pixel_hash=meta["pixel_hash"],
                encoder_hash=meta["encoder_hash"],
                photo_size=(width, height),
                notes=tuple(load_json(meta["notes"])),
            )
        except FileNotFoundError as e:
            raise InputError(f"{path}: no such face file") from e
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as e:
            raise InputError(f"{path}: damaged or not a face file ({e}); run `vasa encode` again") from e
        if not all(np.isfinite(a).all() for a in tensors.values() if a.dtype.kind == "f"):
            raise InputError(f"{path}: the face file holds values that are not numbers; run `vasa encode` again")
        return face
