"""One movement at a time, nine steps each: contact sheets to look at, and what a tracker finds again; writes docs/results.md.

    python scripts/sweep_decoder.py [PORTRAIT ...] [--out FOLDER] [--dry]

Without portraits: scikit-image's astronaut, and four of ../shared/data/portraits where they are present. Only the astronaut's
sheet goes into docs/ (it is in the public domain); the others go to --out, by default a folder outside the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.motion.basis import DynamicsBasis, euler, procrustes
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent
from vasa_cli.weights import registry

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, table, write_section

ROOT = Path(__file__).resolve().parents[1]
PORTRAITS = ("halfbody_woman_class", "halfbody_man_dark", "woman_waterfall", "painted_portrait_10")
STEPS = 9
PUCKER = 0.24  # IOD by which the mouth becomes narrower
JAW = 0.34  # IOD of gap between the lips
STRETCH = 9.0  # times the area that the photo shows there: skin that smears
_NOSE = (1, 2, 4, 5, 6, 168, 195, 197, 98, 327, 129, 358, 94, 19, 45, 275, 48, 278, 64, 294)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 46, 53, 52, 65, 55, 285, 295, 282, 283, 276)
FEATURES = {
    i for rows in (top.LIPS_UPPER, top.LIPS_LOWER, top.LID_UPPER, top.LID_LOWER, (_NOSE, _BROWS)) for r in rows for i in r
}
ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True)
class Sweep:
    """One movement: values (STEPS,) in its own unit, pose (STEPS, 6), dynamics (STEPS, K); crop says what the sheet shows."""

    name: str
    unit: str
    values: np.ndarray
    pose: np.ndarray
    dynamics: np.ndarray
    crop: str = "all"


@dataclass(frozen=True)
class Found:
    """What one sweep looks like. frames (STEPS, 512, 512, 3); marks, asked: re-detected (NaN where no face was found) and
    requested landmarks
    (STEPS, 478, 3) in pixels; holes: pixels a frame inside the face that show the background; stretched,
    folded: share of the face's pixels."""

    sweep: Sweep
    frames: np.ndarray
    marks: np.ndarray
    asked: np.ndarray
    holes: np.ndarray
    stretched: np.ndarray
    folded: np.ndarray


def narrowing(basis: DynamicsBasis, by: float) -> np.ndarray:
    """(K,) the likeliest z of the mouth block that makes the mouth narrower by `by` IOD and keeps the lips' gap."""
    mouth = basis.blocks["mouth"]
    d, spread = basis.directions[mouth], basis.std[mouth] ** 2
    rows = np.stack([d[:, 291, 0] - d[:, 61, 0], d[:, 14, 1] - d[:, 13, 1]])  # (2, K_mouth)
    z = np.zeros(basis.size, np.float32)
    z[mouth] = (spread[:, None] * rows.T) @ np.linalg.solve((rows * spread) @ rows.T, [-by, 0.0])
    return z


def sweeps(basis: DynamicsBasis) -> list[Sweep]:
    """The movements of the sheet, top to bottom."""
    blink = basis.blink_direction
    gaze_x, gaze_y = np.eye(basis.size, dtype=np.float32)[:2]
    still = np.zeros((STEPS, 6), np.float32)
    neutral = np.zeros((STEPS, basis.size), np.float32)
    out = []
    for column, (name, limit) in enumerate(zip(ANGLES, (25.0, 15.0, 20.0), strict=True)):
        values = np.linspace(-limit, limit, STEPS)
        pose = still.copy()
        pose[:, column] = np.radians(values)
        out.append(Sweep(name, "°", values, pose, neutral))
    distance = np.geomspace(0.7, 1.4, STEPS)
    pose = still.copy()
    pose[:, 5] = np.log(distance)
    out.append(Sweep("distance", "×", distance, pose, neutral))

    def dynamic(name: str, unit: str, values: np.ndarray, direction: np.ndarray, crop: str, factor: float = 1) -> None:
        out.append(Sweep(name, unit, values, still, (values[:, None] * factor * direction).astype(np.float32), crop))

    rad = float(np.radians(1))
    dynamic("gaze yaw", "°", np.linspace(-25, 25, STEPS), gaze_x, "eyes", rad)
    follow = gaze_y.copy()  # as in the product, the lids go along with the eyes
    follow[basis.blocks["lids"]] = registry.load_tensors("motion")[0]["stats.lids_per_gaze"]
    dynamic("gaze pitch", "°", np.linspace(-18, 18, STEPS), follow, "eyes", rad)
    dynamic("lids", "", np.linspace(0, 1, STEPS), blink, "eyes")
    dynamic("jaw", "IOD", np.linspace(0, JAW, STEPS), basis.mouth_open_direction, "face")
    dynamic("smile", "", np.linspace(0, 1, STEPS), basis.au_directions["AU12"], "face")
    dynamic("pucker", "IOD", np.linspace(0, PUCKER, STEPS), narrowing(basis, 1.0), "face")
    return out


class Tracker:
    """mediapipe's landmarks of single frames; each frame on its own, so that no memory helps it."""

    def __init__(self, mesh: Any) -> None:
        self.mesh = mesh

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (478, 3) pixels, NaN when no face is found."""
        faces = self.mesh.process(np.ascontiguousarray(frame)).multi_face_landmarks
        if not faces:
            return np.full((478, 3), np.nan, np.float32)
        h, w = frame.shape[:2]
        return np.array([[p.x * w, p.y * h, p.z * w] for p in faces[0].landmark], np.float32)


@contextmanager
def tracker() -> Iterator[Tracker]:
    os.environ.setdefault("GLOG_minloglevel", "3")
    import mediapipe

    options = {"static_image_mode": True, "max_num_faces": 1, "refine_landmarks": True, "min_detection_confidence": 0.3}
    with mediapipe.solutions.face_mesh.FaceMesh(**options) as mesh:
        yield Tracker(mesh)


@contextmanager
def coordinates_for_colours(decoder: FaceDecoder) -> Iterator[None]:
    """Let the person layer show, instead of the photo, where in the photo each pixel comes from: x, y in 0..1, unshaded."""
    person = decoder.person
    shade = person.shading.forward
    kept, side = person.texture, person.texture.shape[-1]
    ramp = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(ramp, ramp, indexing="ij")
    person.texture = torch.stack([x, y, torch.zeros_like(x), torch.ones_like(x)])[None]
    person.shading.forward = lambda *args: torch.zeros_like(shade(*args))  # type: ignore[method-assign]
    try:
        yield
    finally:
        person.texture, person.shading.forward = kept, shade  # type: ignore[method-assign]


def face_pixels(asked: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE) bool: the face where it was asked to be (landmarks (478, 3)), without the openings and what is close to an
    edge."""
    import cv2

    face, holes = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    hull = cv2.convexHull(asked[: top.N_SKIN, :2].astype(np.float32))
    cv2.fillConvexPoly(face, np.round(hull * 16).astype(np.int32), 1, shift=4)
    for slit in top.SLITS:
        cv2.fillPoly(holes, [np.round(asked[top.ring(slit), :2] * 16).astype(np.int32)], 1, shift=4)
    inner = cv2.erode(face, np.ones((7, 7), np.uint8), borderValue=0)
    return np.asarray((inner > 0) & (cv2.dilate(holes, np.ones((7, 7), np.uint8)) == 0))


def surface(decoder: FaceDecoder, pose: torch.Tensor, dynamics: torch.Tensor, asked: np.ndarray) -> tuple[np.ndarray, ...]:
    """Per frame: pixels inside the face that show the background; shares of its pixels that are stretched, and folded."""
    head = decoder.head.pose(pose)
    shift = (decoder.vertices(dynamics) - decoder.photo_shape)[:, : top.N_SKIN]
    with coordinates_for_colours(decoder):
        layer = decoder.person(shift, dynamics, head, SIZE).numpy()
    source, alpha = layer[:, :2] * SIZE, layer[:, 3]
    dx = (source[:, :, 2:-2, 4:] - source[:, :, 2:-2, :-4]) / 4
    dy = (source[:, :, 4:, 2:-2] - source[:, :, :-4, 2:-2]) / 4
    area = np.pad(dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0], ((0, 0), (2, 2), (2, 2)), constant_values=1)
    rows = []
    for i, marks in enumerate(asked):
        face = face_pixels(marks)
        face[:2] = face[-2:] = face[:, :2] = face[:, -2:] = False
        part = area[i][face]
        rows.append(((alpha[i][face] < 0.5).sum(), (part < np.median(part) / STRETCH).mean(), (part < 0).mean()))
    holes, stretched, folded = (np.array(column) for column in zip(*rows, strict=True))
    return holes, stretched, folded


def run(decoder: FaceDecoder, sweep: Sweep, track: Tracker) -> Found:
    """Render one sweep and look at it."""
    frames = np.concatenate(list(decoder.frames(MotionTrack(sweep.pose, sweep.dynamics), STEPS)))
    with torch.inference_mode():
        pose, z = torch.from_numpy(sweep.pose), torch.from_numpy(sweep.dynamics)
        head = decoder.head.pose(pose)
        placed = decoder.head.place(decoder.vertices(z), head)
        asked = torch.cat([head.zoomed(placed[..., :2]), placed[..., 2:]], -1).numpy()
        holes, stretched, folded = surface(decoder, pose, z, asked)
    return Found(sweep, frames, np.stack([track(f) for f in frames]), asked, holes, stretched, folded)


def gaze_of(marks: np.ndarray) -> np.ndarray:
    """(T, 478, 3) -> (T, 2): irises from the middle of their corners, along and across the line of corners, in eye widths."""
    out = []
    for eye in (0, 1):
        a, b = marks[:, top.LID_UPPER[eye][0], :2], marks[:, top.LID_UPPER[eye][-1], :2]
        axis = (b - a) * (1 if eye == 0 else -1)
        width = np.linalg.norm(axis, axis=-1, keepdims=True)
        axis = axis / width
        off = (marks[:, top.IRIS[eye][0], :2] - (a + b) / 2) / width
        out.append(np.stack([(off * axis).sum(-1), off[:, 1] * axis[:, 0] - off[:, 0] * axis[:, 1]], -1))
    return np.mean(out, 0)


def eye_opening(marks: np.ndarray, across: bool = True) -> np.ndarray:
    """(T, 478, 3) -> (T,) gap between the middles of the lids in eye widths, mean of both eyes: across the line of corners, or
    their plain distance (which stays above 0 when the lids' middles do not meet side by side)."""
    out = []
    for eye, (a, b) in enumerate(((159, 145), (386, 374))):
        axis = marks[:, top.LID_UPPER[eye][-1], :2] - marks[:, top.LID_UPPER[eye][0], :2]
        gap = marks[:, b, :2] - marks[:, a, :2]
        plain = np.linalg.norm(gap, axis=-1) * np.linalg.norm(axis, axis=-1)
        out.append((np.abs(axis[:, 0] * gap[:, 1] - axis[:, 1] * gap[:, 0]) if across else plain) / (axis**2).sum(-1))
    return np.asarray(np.mean(out, 0))


def distance_of(marks: np.ndarray, a: int, b: int) -> np.ndarray:
    """(T, 478, 3) -> (T,) in inter-ocular distances."""
    return np.asarray(np.linalg.norm(marks[:, a] - marks[:, b], axis=-1) / np.linalg.norm(marks[:, 33] - marks[:, 263], axis=-1))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson; 0 where one of them does not move."""
    ok = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[ok], b[ok])[0, 1]) if ok.sum() > 2 and a[ok].std() > 1e-9 and b[ok].std() > 1e-9 else 0.0


def flat_angles(marks: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(T, 478, 3) -> (T, 3) degrees, from x and y of lids, brows, nose and lips alone and the requested shape (478, 3): on
    forehead and cheeks a tracker sees nothing to hold on to, and its depth is a guess, so depth is replaced by the fitted
    shape's until nothing changes (DeMenthon & Davis, "Model-Based Object Pose", 1995)."""
    weights = np.zeros(len(shape))
    weights[sorted(FEATURES)] = 1
    points = marks.copy()
    for _ in range(150):
        rotation, scale, shift = procrustes(points, shape, weights)
        points[..., 2] = (scale[:, None, None] * (shape @ rotation.transpose(0, 2, 1)) + shift[:, None])[..., 2]
    return np.asarray(np.degrees(euler(rotation)))


def angle_errors(found: Found, face: FaceLatent, shape: np.ndarray, basis: DynamicsBasis) -> tuple[float, ...]:
    """Of the swept angle up to ±20°: largest error as tracked, the same without the sweep's mean error, slope of found over
    asked; then the last two from the flat landmarks."""
    column = ANGLES.index(found.sweep.name)
    ok = (np.abs(found.sweep.values) <= 20.01) & np.isfinite(found.marks[:, 0, 0])
    asked, rest = found.sweep.values[ok], np.degrees(face.pose[column])
    _, (rotation, _, _) = basis.align(found.marks[ok], face.neutral)
    deep = np.degrees(euler(rotation))[:, column] - rest - asked
    flat = flat_angles(found.marks[ok], shape)[:, column] - rest - asked
    out = [float(np.abs(deep).max())]
    for error in (deep, flat):
        out += [float(np.abs(error - error.mean()).max()), float(1 + np.polyfit(asked, error, 1)[0])]
    return tuple(out)


def measures(found: dict[str, Found], face: FaceLatent, decoder: FaceDecoder, photo_marks: np.ndarray) -> dict[str, list[object]]:
    """Rows of the results page for one portrait."""
    both = {n: found[n] for n in ("gaze yaw", "gaze pitch")}
    gaze = [correlation(gaze_of(f.marks)[:, i], gaze_of(f.asked)[:, i]) for i, f in enumerate(both.values())]
    slope = [
        float(np.polyfit(gaze_of(f.asked)[:, i], np.nan_to_num(gaze_of(f.marks)[:, i]), 1)[0])
        for i, f in enumerate(both.values())
    ]
    opening, plain = (
        float(eye_opening(found["lids"].marks[-1:], a)[0] / eye_opening(photo_marks[None], a)[0]) for a in (True, False)
    )
    lips = {n: correlation(distance_of(found[n].marks, 13, 14), distance_of(found[n].asked, 13, 14)) for n in ("jaw",)}
    width = {
        n: correlation(distance_of(found[n].marks, 61, 291), distance_of(found[n].asked, 61, 291)) for n in ("smile", "pucker")
    }
    basis = decoder.basis
    shape = decoder.vertices(torch.zeros(1, basis.size))[0].numpy()
    every = list(found.values())
    holes = max(every, key=lambda f: int(f.holes.max()))
    return {
        "follows": [*gaze, *slope, opening, plain, lips["jaw"], width["smile"], width["pucker"]],
        "angles": [x for n in ANGLES for x in angle_errors(found[n], face, shape, basis)],
        "surface": [
            int(holes.holes.max()),
            holes.sweep.name if holes.holes.max() else "–",
            *(f"{100 * max(f.stretched.max() for f in every if f.sweep.name == n):.2f}" for n in ("yaw", "pitch", "roll")),
            f"{100 * max(f.stretched.max() for f in every if f.sweep.name not in ANGLES):.2f}",
            *(f"{100 * max(f.folded.max() for f in every if f.sweep.name == n):.2f}" for n in ("yaw", "pitch", "roll")),
            f"{100 * max(f.folded.max() for f in every if f.sweep.name not in ANGLES):.2f}",
            sum(int(np.isnan(f.marks[:, 0, 0]).sum()) for f in every),
        ],
    }  # fmt: skip


def tile(frame: np.ndarray, asked: np.ndarray, crop: str) -> np.ndarray:
    """The part of a frame that a sheet shows: everything (160 x 160), the face (160 x 160) or the eyes (160 x 80)."""
    import cv2

    unit = float(np.linalg.norm(asked[33] - asked[263]))
    if crop == "all":
        return np.asarray(cv2.resize(frame, (160, 160), interpolation=cv2.INTER_AREA))
    width, height, down = {"eyes": (1.5 * unit, 0.75 * unit, 0.1), "face": (1.7 * unit, 1.7 * unit, 0.62)}[crop]
    x, y = asked[168, 0] - width / 2, asked[168, 1] + down * unit - height / 2
    size = (160, round(160 * height / width))
    k = width / 160
    return np.asarray(cv2.warpAffine(frame, np.array([[k, 0, x], [0, k, y]]), size, flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP,
                                     borderMode=cv2.BORDER_REPLICATE))  # fmt: skip


def sheet(found: list[Found]) -> np.ndarray:
    """Rows are sweeps, columns steps."""
    import cv2

    rows = []
    for f in found:
        tiles = [tile(frame, asked, f.sweep.crop) for frame, asked in zip(f.frames, f.asked, strict=True)]
        label = np.full((tiles[0].shape[0], 92, 3), 255, np.uint8)
        lines = (
            f.sweep.name,
            f"{f.sweep.values[0]:.3g} to",
            f"{f.sweep.values[-1]:.3g} {f.sweep.unit.replace('°', 'deg').replace('×', 'x')}",
        )
        for i, line in enumerate(lines):
            cv2.putText(label, line, (4, 24 + 19 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.44, (20, 20, 20), 1, cv2.LINE_AA)
        rows.append(np.hstack([label, *tiles]))
    return np.vstack(rows)


def save_sheet(picture: np.ndarray, path: Path) -> None:
    """WebP, at most 400 kB."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in (85, 75, 65, 55, 40):
        Image.fromarray(picture).save(path, quality=quality, method=6)
        if path.stat().st_size <= 400_000:
            return


def report(rows: dict[str, dict[str, list[object]]]) -> str:
    """The section of the results page."""
    spread = [f"{a} {what}" for a in ANGLES for what in ("raw °", "°", "slope", "flat °", "flat slope")]
    parts = ["yaw", "pitch", "roll", "rest"]
    follows = [
        "gaze yaw r",
        "gaze pitch r",
        "yaw slope",
        "pitch slope",
        "closed lids",
        "plain distance",
        "jaw r",
        "smile r",
        "pucker r",
    ]
    surfaces = ["holes px", "worst in", *(f"stretched {p} %" for p in parts), *(f"folded {p} %" for p in parts), "no face found"]
    intro = f"""## Decoder: one movement at a time

{machine()}. Nine steps a sweep: yaw ±25°, pitch ±15°, roll ±20°, distance 0.7 to 1.4,
gaze ±25° and ±18° (lids follow), lids, jaw, smile, pucker. Every frame is tracked again on its own, uncompressed. The sheet
of the public-domain portrait: [sweep_astronaut.webp](sweep_astronaut.webp).

What was asked against what is seen: Pearson r and slope of the irises' place between the eye corners against the same
measure of the requested vertices (bound 0.95); the eyes' opening at lids = 1 as a share of the photo's: the gap
between the middles of the lids across the line of corners (bound 0.15), and their plain distance, which does not reach 0 (real
people's clear blinks read 0.18 to 0.30 on the development clips);
r of lip opening and mouth width.
"""
    angles = """
Head angles up to ±20°: largest error of the swept angle, first raw (tracked angle less the photo's own tracked angle plus
what was asked), then with the mean error of the sweep taken off (the tracker's constant bias for this picture; bound 2°),
and the slope of found over asked, which is not corrected for. "flat": the same error and slope when the angle is fitted
to x and y of the re-detected lids, brows, nose and lips with the requested shape; the tracker's depth and the places where a
face shows nothing to hold on to (forehead, cheeks), both of which it draws towards its average face, then play no part.
"""
    cells = f"""
The surface, worst frame of each sweep, from a picture that shows instead of colours where in the photo each pixel comes from:
pixels inside the face that show the background (bound 0) and where; share of the face's pixels that are enlarged more than
{STRETCH:.0f} times the face's median in area; share whose source map is turned inside out (negative Jacobian over 4 px; bound 0).
"""
    return "\n".join(
        [
            intro,
            table(["portrait", *follows], [[n, *r["follows"]] for n, r in rows.items()]),
            angles,
            table(["portrait", *spread], [[n, *r["angles"]] for n, r in rows.items()]),
            cells,
            table(["portrait", *surfaces], [[n, *r["surface"]] for n, r in rows.items()]),
        ]
    )


def default_portraits(folder: Path) -> list[Path]:
    from PIL import Image
    from skimage import data

    astronaut = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(astronaut)
    shared = [ROOT.parent / "shared" / "data" / "portraits" / f"{n}.jpg" for n in PORTRAITS]
    return [astronaut, *(p for p in shared if p.is_file())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "vasa_sweeps", help="for sheets not published")
    parser.add_argument("--dry", action="store_true", help="do not touch docs/")
    options = parser.parse_args()
    from vasa_cli.portrait.encode import encode_portrait
    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square
    from vasa_cli.portrait.pixels import read_photo

    torch.set_num_threads(min(2, os.cpu_count() or 1))
    basis = DynamicsBasis.load()
    rows: dict[str, dict[str, list[object]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for path in options.portraits or default_portraits(Path(temporary)):
            face = encode_portrait(path)
            decoder = FaceDecoder(face)
            photo = cut_square(read_photo(path), Crop(*map(float, face.crop)), SIZE)
            with tracker() as track:
                found = {s.name: run(decoder, s, track) for s in sweeps(basis)}
                rows[path.stem] = measures(found, face, decoder, track(photo))
            print(path.stem, *(f"\n  {k}: {v}" for k, v in rows[path.stem].items()), flush=True)
            public = path.stem == "astronaut" and not options.dry
            save_sheet(sheet(list(found.values())), (ROOT / "docs" if public else options.out) / f"sweep_{path.stem}.webp")
    if not options.dry:
        write_section("sweeps", report(rows))


if __name__ == "__main__":
    main()
