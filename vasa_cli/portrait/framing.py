"""Which face, and which square of the photo becomes the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vasa_cli.errors import FaceError, UsageError
from vasa_cli.portrait.landmarks import MIN_FACE, FaceMesh

CROP_SIZE = 512  # px; the coordinate unit of everything behind the crop: "crop pixels"
FRAME_IODS = 4.3  # side of the frame in inter-ocular distances: head, hair and shoulders
CENTRE_DOWN = 0.22  # of an inter-ocular distance from the nose bridge to the middle of the frame
PASTE_IODS, PASTE_DOWN = 5.2, 0.05  # pasting back: more room around the head, above all over it, for its motion to die out in
MAX_YAW = np.radians(50.0)  # beyond this the far eye is a guess
CHOICES = ("largest", "left", "right")


@dataclass(frozen=True)
class Crop:
    """A square of the photo: photo = offset + scale * crop (crop in 0..512 px). offset (x, y) and scale in photo pixels."""

    x: float
    y: float
    scale: float

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Photo landmarks (N, 3) to crop pixels (N, 3)."""
        out = points / self.scale
        out[:, :2] -= np.array([self.x, self.y]) / self.scale
        return out


def parse_choice(face: str) -> str | int:
    """`largest`, `left`, `right` or an index counted from the left, starting at 0. Raises UsageError."""
    if face in CHOICES:
        return face
    if face.isdigit():
        return int(face)
    raise UsageError(f"--face {face!r}: use largest, left, right or an index such as 0 (counted from the left)")


def choose_face(faces: list[FaceMesh], face: str, path: Path) -> tuple[FaceMesh, tuple[str, ...]]:
    """Pick one face; the notes say what else was there. Raises FaceError when there is none or the index is too high."""
    choice = parse_choice(face)
    if not faces:
        raise FaceError(
            f"{path}: no face found; use a photo that shows one face from the front, or give its place with --crop X,Y,W,H"
        )
    across = sorted(faces, key=lambda f: float(f.landmarks[4, 0]))
    if isinstance(choice, int):
        if choice >= len(across):
            raise FaceError(f"{path}: --face {choice} asked for, but only {len(across)} found; use 0..{len(across) - 1}")
        picked = across[choice]
    else:
        picked = {"largest": max(faces, key=lambda f: f.inter_ocular), "left": across[0], "right": across[-1]}[choice]
    notes: tuple[str, ...] = ()
    if len(faces) > 1:
        at = picked.landmarks[4]
        place = f"face {next(i for i, f in enumerate(across) if f is picked)} at x={at[0]:.0f}, y={at[1]:.0f}"
        how = "took the largest" if choice == "largest" else f"took --face {face}"
        notes = (f"{len(faces)} faces found; {how} ({place}); choose another with --face INDEX|left|right",)
    return picked, notes


def check_usable(mesh: FaceMesh, yaw: float, path: Path) -> tuple[str, ...]:
    """Refuse faces too small or turned too far (FaceError); warn about borderline ones. yaw in radians."""
    if mesh.inter_ocular < MIN_FACE:
        raise FaceError(
            f"{path}: the face is too small ({mesh.inter_ocular:.0f} px between the eyes); at least {MIN_FACE} px are needed"
        )
    if abs(yaw) > MAX_YAW:
        raise FaceError(f"{path}: the face is turned too far ({np.degrees(abs(yaw)):.0f} degrees); use a photo turned less")
    if mesh.inter_ocular < 60:
        return (f"small face ({mesh.inter_ocular:.0f} px between the eyes): the video will look soft",)
    return ()


def frame_face(mesh: FaceMesh, width: int, height: int, *, paste: bool = False) -> Crop:
    """The square around head and shoulders, kept inside the photo where it fits; photos that are too tight are used as wide as
    they are. paste: the larger one, to be pasted back into the photo."""
    iods, down = (PASTE_IODS, PASTE_DOWN) if paste else (FRAME_IODS, CENTRE_DOWN)
    # whole pixels: an unscaled crop is copied, not blurred
    side = float(round(min(iods * mesh.inter_ocular, min(width, height))))
    centre = mesh.landmarks[168, :2].astype(float) + np.array([0.0, down * mesh.inter_ocular])
    x = float(np.clip(np.round(centre[0] - side / 2), 0, width - side))
    y = float(np.clip(np.round(centre[1] - side / 2), 0, height - side))
    return Crop(x, y, side / CROP_SIZE)


def crop_from_option(crop: tuple[int, int, int, int], width: int, height: int, path: Path) -> Crop:
    """A user's --crop X,Y,W,H, made square around its middle. Raises UsageError when it lies outside the photo."""
    x, y, w, h = crop
    if w < 32 or h < 32 or x < 0 or y < 0 or x + w > width or y + h > height:
        raise UsageError(
            f"--crop {x},{y},{w},{h} does not fit {path} of {width}x{height} px; X,Y is the top left corner, W and H at least 32"
        )
    side = float(min(max(w, h), width, height))
    left = float(np.clip(x + w / 2 - side / 2, 0, width - side))
    top = float(np.clip(y + h / 2 - side / 2, 0, height - side))
    return Crop(left, top, side / CROP_SIZE)
