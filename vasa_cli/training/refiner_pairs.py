"""Pairs for the refiner: patches of rendered self-reenactment beside the same patches of the real frames.

Several frames of each clip serve as the photo. The real patch is brought into register with the rendered one by smooth optical
flow, because a network that learns from pairs a pixel apart learns to blur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis, euler, lid_opening

if TYPE_CHECKING:
    import torch

FAR_YAW = np.radians(30)  # photos farther turned than this from a frame say little about it
SMOOTH, FARTHEST = 6.0, 4.0  # patch pixels: of the flow into register
KINDS = ("mouth", "eye")


@dataclass(frozen=True)
class Followed:
    """A clip: frames (T, H, W, 3) and the face in them (`motion.measured.Tracked`); clear: its first clear frame."""

    name: str
    frames: list[np.ndarray]
    landmarks: np.ndarray
    seen: np.ndarray
    fps: Fraction
    clear: int


@dataclass(frozen=True)
class Pairs:
    """N patches of one kind. now, real, raw (N, H, W, 3) uint8: rendered, real in register, real as it was; cover (N, H/2, W/2)
    uint8; read (N, 4); photo (N,): which of the P faces at rest: rest (P, H, W, 3), rest_cover, rest_read; clip (N,): name."""

    now: np.ndarray
    real: np.ndarray
    raw: np.ndarray
    cover: np.ndarray
    read: np.ndarray
    photo: np.ndarray
    rest: np.ndarray
    rest_cover: np.ndarray
    rest_read: np.ndarray
    clip: np.ndarray

    def __len__(self) -> int:
        return len(self.now)

    def only(self, clips: set[str]) -> Pairs:
        """Pairs of these clips."""
        return self.take(np.flatnonzero(np.isin(self.clip, list(clips))))

    def take(self, index: np.ndarray) -> Pairs:
        """Pairs with these indices."""
        return replace(self, **{k: getattr(self, k)[index] for k in ("now", "real", "raw", "cover", "read", "photo", "clip")})


def join(parts: list[Pairs]) -> Pairs:
    """All pairs of several clips."""
    offsets = np.cumsum([0, *(len(p.rest) for p in parts)])
    moved = [replace(p, photo=p.photo + o) for p, o in zip(parts, offsets, strict=False)]
    return Pairs(*(np.concatenate([getattr(p, f.name) for p in moved]) for f in fields(Pairs)))


def follow(path: Path, keep: Path | None = None) -> Followed:
    """Read a clip and follow its face; what was found is kept in folder `keep`."""
    from vasa_cli.motion.measured import refine_clip, track_clip
    from vasa_cli.video.clip import probe, read_frames

    clip = probe(path)
    frames = list(read_frames(clip))
    file = keep / f"follow-{path.stem}-{path.stat().st_size}.npz" if keep is not None else None
    if file is None or not file.is_file():
        tracked = track_clip(clip)
        clear = _clear_frames(tracked.landmarks, tracked.seen)[0]
        found = {"landmarks": refine_clip(clip, tracked, int(clear)).landmarks, "seen": tracked.seen, "clear": clear}
        if file is not None:
            np.savez(file, **found)
    else:
        found = dict(np.load(file))
    return Followed(path.stem, frames, found["landmarks"], found["seen"], clip.fps, int(found["clear"]))


def _clear_frames(landmarks: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Indices of frames that would do as a photo: both eyes open, head and eyes looking about forward."""
    basis = DynamicsBasis.load()
    canonical, (rotation, _, _) = basis.align(landmarks)
    opening = lid_opening(canonical)
    gaze = basis.encode(canonical - np.median(canonical[seen], 0))[:, basis.blocks["gaze"]]
    open_eyed = (opening > 0.7 * np.median(opening[seen], 0)).all(-1)
    forward = (np.abs(euler(rotation)[:, 0]) < np.radians(25)) & (np.abs(gaze) < np.radians(15)).all(-1)
    for clear in (seen & open_eyed & forward, seen & open_eyed, seen):
        if clear.sum() > 5:
            break
    return np.flatnonzero(clear)


def looks(landmarks: np.ndarray) -> np.ndarray:
    """(T, 5): yaw, pitch, opening and width of the mouth, opening of the eyes; each about 1 where it differs a lot."""
    canonical, (rotation, _, _) = DynamicsBasis.load().align(landmarks)
    gap = canonical[:, 14, 1] - canonical[:, 13, 1]
    wide = np.linalg.norm(canonical[:, 61] - canonical[:, 291], axis=-1)
    angles = euler(rotation)
    return np.stack([angles[:, 0] / 0.3, angles[:, 1] / 0.3, gap / 0.12, wide / 0.15, lid_opening(canonical).mean(-1) / 0.06], 1)


def spread(candidates: np.ndarray, look: np.ndarray, count: int, first: int) -> list[int]:
    """`count` of the candidates that differ most, by farthest-point sampling from `first` on."""
    chosen = [first]
    gap = np.linalg.norm(look[candidates] - look[first], axis=-1)
    while len(chosen) < min(count, len(candidates)):
        chosen.append(int(candidates[gap.argmax()]))
        gap = np.minimum(gap, np.linalg.norm(look[candidates] - look[chosen[-1]], axis=-1))
    return chosen


def make_pairs(
    clip: Followed, photos: int, frames: int, seed: int = 0, say: Callable[[str], None] = lambda line: None
) -> dict[str, Pairs]:
    """Render `frames` frames of the clip from each of `photos` of its frames -> kind -> Pairs."""
    look = looks(clip.landmarks)
    random = np.random.default_rng(seed)
    parts: dict[str, list[Pairs]] = {kind: [] for kind in KINDS}
    for at in spread(_clear_frames(clip.landmarks, clip.seen), look, photos, clip.clear):
        near = np.flatnonzero(clip.seen & (np.abs(look[:, 0] - look[at, 0]) * 0.3 < FAR_YAW))
        near = near[near != at]
        some = random.permutation(near)[: frames * 2 // 3]
        telling = spread(near, look, frames - len(some), int(near[look[near, 2].argmax()]))
        chosen = np.unique([*some, *telling])
        made = pairs_of(clip, at, chosen)
        for kind in KINDS:
            parts[kind].append(made[kind])
        say(f"{clip.name} photo {at}: {len(chosen)} frames")
    return {kind: join(parts[kind]) for kind in KINDS}


def pairs_of(clip: Followed, at: int, chosen: np.ndarray) -> dict[str, Pairs]:
    """Frames `chosen` of a clip from its frame `at`."""
    import torch

    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.motion.measured import Tracked, absolute_motion
    from vasa_cli.portrait.encode import encode_pixels
    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square

    face = encode_pixels(clip.frames[at], Path(clip.name))
    height, width = clip.frames[at].shape[:2]
    track = absolute_motion(Tracked(clip.landmarks, clip.seen, clip.fps, (width, height)), face, DynamicsBasis.load(), at)
    recorder = _recorder()
    decoder = FaceDecoder(face, refine=recorder)
    crop = Crop(*(float(v) for v in face.crop))
    rows = []
    for i in chosen:
        real = cut_square(clip.frames[i], crop, decoder.size)[None]
        next(decoder.pictures(track.select(np.array([i])), 1))
        rows.append([(*now, frame.cut(torch.from_numpy(real).permute(0, 3, 1, 2) / 255)) for frame, *now in recorder.last])
    out = {}
    for kind, slits in (("mouth", (0,)), ("eye", (1, 2))):
        parts = []
        for slit in slits:
            now, cover, read, raw = (torch.cat([r[slit][k] for r in rows]) for k in range(4))
            pictures, truth = _bytes(now), _bytes(raw)
            real = np.stack([into_register(a, b) for a, b in zip(truth, pictures, strict=True)])
            photo, name = np.zeros(len(now), np.int64), np.full(len(now), clip.name)
            then, rest_cover, rest_read = recorder.rest[slit]
            parts.append(
                Pairs(
                    pictures, real, truth, _bytes(cover)[..., 0], read.numpy(), photo,
                    _bytes(then), _bytes(rest_cover)[..., 0], rest_read.numpy(), name,
                )
            )  # fmt: skip
        out[kind] = join(parts)
    return out


def _recorder() -> Any:
    """A refiner that changes nothing and keeps what it was shown."""
    from vasa_cli.decoder.face_patches import frames_of, readings
    from vasa_cli.decoder.geometry import HeadPose
    from vasa_cli.decoder.refiner import Refiner

    class Kept(Refiner):
        def forward(self, picture: torch.Tensor, flat: torch.Tensor, shape: torch.Tensor, head: HeadPose, unit: float) -> None:
            self.last = [
                (f, f.cut(picture), self.covers(slit, f, flat), readings(slit, shape, head))
                for slit, f in enumerate(frames_of(flat, head, unit))
            ]

    return Kept(8)


def _bytes(planes: torch.Tensor) -> np.ndarray:
    """(B, C, H, W) 0..1 -> (B, H, W, C) uint8."""
    return np.asarray((planes.permute(0, 2, 3, 1) * 255 + 0.5).clamp(0, 255).byte().numpy())


def into_register(real: np.ndarray, rendered: np.ndarray) -> np.ndarray:
    """The real patch (H, W, 3) moved smoothly onto the rendered one, at most FARTHEST pixels."""
    import cv2

    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = (cv2.createCLAHE(2.0, (4, 4)).apply(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)) for p in (rendered, real))
    found = cv2.GaussianBlur(search.calc(a, b, None), (0, 0), SMOOTH)
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    found *= np.minimum(1, FARTHEST / np.maximum(length, 1e-3))
    y, x = np.mgrid[: real.shape[0], : real.shape[1]].astype(np.float32)
    return np.asarray(cv2.remap(real, x + found[..., 0], y + found[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
