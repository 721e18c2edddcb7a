"""Video-driven rendering, measured: self- and cross-reenactment, steadiness. Writes docs/results.md.

    python scripts/evaluate_reenact.py self      first clear frame = photo, the clip = driver          (about 3 minutes)
    python scripts/evaluate_reenact.py cross     seven motions on seven portraits: identity            (about 4 minutes)
    python scripts/evaluate_reenact.py steady    jitter of landmarks, flicker inside the mouth         (about 2 minutes)
    python scripts/evaluate_reenact.py all

Needs the development data beside the repository (../shared) and `pip install -e '.[test,train]'`. What does not depend on the
decoder (detections in real frames, the baselines) is kept in --cache, so that repeated runs are fast.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import picture_measures as pm
from evaluate import SHARED, measure_tool
from held_out_shading import shading_without
from results import machine, table, write_section

from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import FaceLatent

if TYPE_CHECKING:
    from vasa_cli.decoder.refiner import Refiner

CLIPS = ("d0", "d3", "d6", "d12", "d18", "d19", "d20")
METHODS = ("ours", "still", "thin plate")
MEASURES = ("PSNR", "SSIM", "lips", "eyes", "all", "identity")  # the first two and the last: more is better
CAP = 120  # frames a clip
VERSION = 5  # of the cached cases
BASELINE_VERSION = 2
YAW_BINS = (0.0, 5.0, 10.0, 20.0, 90.0)


@dataclass(frozen=True)
class Case:
    """One clip: pictures (T, 512, 512, 3) of the photo's square in the chosen frames, their landmarks real (T, 478, 3), the
    followed landmarks (all frames, clip pixels) as tracked and as refined, the chosen frames and the photo among all of them."""

    name: str
    pictures: np.ndarray
    real: np.ndarray
    tracked: np.ndarray
    refined: np.ndarray
    seen: np.ndarray
    chosen: np.ndarray
    photo_at: int
    photo: np.ndarray
    crop: np.ndarray
    fps: tuple[int, int]


def first_clear(tracked: np.ndarray, seen: np.ndarray) -> int:
    """The first frame with a face that looks forward with its eyes open."""
    from vasa_cli.motion.basis import DynamicsBasis, euler, lid_opening

    canonical, (rotation, _, _) = DynamicsBasis.load().align(tracked)
    opening = lid_opening(canonical).mean(-1)
    clear = seen & (opening > 0.8 * np.median(opening)) & (np.abs(euler(rotation)[:, 0]) < np.radians(25))
    return int(np.flatnonzero(clear)[0]) if clear.any() else int(np.flatnonzero(seen)[0])


def load_case(name: str, every: int, cache: Path) -> Case:
    """Decode, follow, choose frames, detect: everything that does not depend on encoder and decoder."""
    path = SHARED / "data" / "video" / f"{name}.mp4"
    key = hashlib.sha256(path.read_bytes() + repr((every, CAP, VERSION)).encode()).hexdigest()[:16]
    file = cache / f"case-{name}-{key}.npz"
    if not file.is_file():
        np.savez(file, **_measure_case(path, every))  # type: ignore[arg-type]
    z = np.load(file)
    fields = {k: z[k] for k in z.files}
    fps = (int(fields["fps"][0]), int(fields["fps"][1]))
    return Case(name, **{**fields, "photo_at": int(fields["photo_at"]), "fps": fps})


def _measure_case(path: Path, every: int) -> dict[str, np.ndarray]:
    from vasa_cli.motion.measured import refine_clip, track_clip
    from vasa_cli.portrait.framing import frame_face
    from vasa_cli.portrait.landmarks import find_faces
    from vasa_cli.portrait.layers import cut_square
    from vasa_cli.video.clip import probe, read_frames

    clip = probe(path)
    tracked = track_clip(clip)
    start = first_clear(tracked.landmarks, tracked.seen)
    chosen = np.arange(start + every, len(tracked.seen), every)  # without the photo itself
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, CAP).round().astype(int))]
    frames = list(read_frames(clip))
    crop = frame_face(find_faces(frames[start])[0], *clip.size)
    pictures = np.stack([cut_square(frames[i], crop, 512) for i in chosen])
    with pm.Detector() as detect:
        real = np.stack([detect(p) for p in pictures])
    return {
        "pictures": pictures, "real": real, "tracked": tracked.landmarks,
        "refined": refine_clip(clip, tracked, start).landmarks, "seen": tracked.seen, "chosen": chosen,
        "photo_at": np.array(start), "photo": frames[start], "crop": np.array([crop.x, crop.y, crop.scale], np.float32),
        "fps": np.array([clip.fps.numerator, clip.fps.denominator]),
    }  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """A method on a clip, frame by frame (T,): PSNR, SSIM, identity; errors (T, 478) in IOD, NaN where no face was found."""

    psnr: np.ndarray
    ssim: np.ndarray
    errors: np.ndarray
    identity: np.ndarray

    def means(self) -> dict[str, float]:
        """The six measures of the table."""
        out = {"PSNR": float(self.psnr.mean()), "SSIM": float(self.ssim.mean())}
        out |= {name: float(np.nanmean(self.errors[:, list(points)])) for name, points in pm.GROUPS.items()}
        return {**out, "identity": float(np.nanmean(self.identity))}


def score(case: Case, pictures: np.ndarray, detect: pm.Detector) -> Scores:
    """Compare pictures (T, 512, 512, 3) with the real ones."""
    tool = measure_tool()
    rows = []
    for picture, wanted, marks in zip(pictures, case.pictures, case.real, strict=True):
        if not np.isfinite(marks).all():
            continue
        mask = pm.hull_mask(marks, len(wanted), 0.1 * pm.inter_ocular(marks))
        found = detect(picture)
        seen = np.isfinite(found).all()
        same = float(tool.identity(picture, found) @ tool.identity(wanted, marks)) if seen else np.nan
        rows.append((pm.psnr(picture, wanted, mask), pm.ssim(picture, wanted, mask), pm.point_errors(found, marks), same))
    return Scores(*(np.array(column) for column in zip(*rows, strict=True)))


def baselines(case: Case, detect: pm.Detector, cache: Path) -> dict[str, Scores]:
    """The photo standing still, and plain thin-plate warping of the followed landmarks; from the cache where they are."""
    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square

    file = cache / f"base-{case.name}-{hashlib.sha256(case.real.tobytes()).hexdigest()[:12]}-{BASELINE_VERSION}.npz"
    if not file.is_file():
        x, y, k = case.crop
        points = case.tracked[:, :, :2] / k - np.array([x, y]) / k
        photo = cut_square(case.photo, Crop(float(x), float(y), float(k)), 512)
        warped = np.stack([pm.thin_plate_warp(photo, points[case.photo_at], points[i]) for i in case.chosen])
        still = np.broadcast_to(photo, case.pictures.shape)
        made = {"still": score(case, still, detect), "thin plate": score(case, warped, detect)}
        np.savez(file, **{f"{m}/{k}": getattr(s, k) for m, s in made.items() for k in Scores.__dataclass_fields__})
    z = np.load(file)
    return {m: Scores(*(z[f"{m}/{k}"] for k in Scores.__dataclass_fields__)) for m in METHODS[1:]}


@dataclass(frozen=True)
class Drawn:
    """Our frames (T, 512, 512, 3), where the decoder meant to put the landmarks (T, 478, 2), and the yaw off the photo's."""

    pictures: np.ndarray
    meant: np.ndarray
    yaw: np.ndarray


def motion_of(case: Case) -> tuple[FaceLatent, MotionTrack]:
    """The encoded photo and the absolute motion of the whole clip."""
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.motion.measured import Tracked, absolute_motion
    from vasa_cli.portrait.encode import encode_pixels

    face = encode_pixels(case.photo, Path(case.name))
    if not np.allclose(face.crop, case.crop, atol=1.5):
        sys.exit(f"{case.name}: the encoder frames the photo otherwise now ({face.crop} instead of {case.crop}); raise VERSION")
    size = (case.photo.shape[1], case.photo.shape[0])
    followed = Tracked(case.refined, case.seen, Fraction(*case.fps), size)
    return face, absolute_motion(followed, face, DynamicsBasis.load(), case.photo_at)


def draw(case: Case, refine: bool | Refiner = False) -> Drawn:
    """Encode the photo, measure the motion, render the chosen frames; refine as of `FaceDecoder`."""
    import torch

    from vasa_cli.decoder.render import FaceDecoder

    face, track = motion_of(case)
    track = track.select(case.chosen)
    decoder = FaceDecoder(face, refine=refine)
    pictures = np.concatenate(list(decoder.frames(track)))
    with torch.inference_mode():
        head = decoder.head.pose(torch.from_numpy(track.pose))
        shape = decoder.vertices(torch.from_numpy(track.dynamics))
        meant = head.zoomed(decoder.head.place(shape, head)[..., :2]).numpy()
    return Drawn(pictures, meant, np.degrees(np.abs(track.pose[:, 0])))


def better(name: str, ours: float, other: float) -> bool:
    return ours < other if name in ("lips", "eyes", "all") else ours > other


def evaluate_self(clips: tuple[str, ...], every: int, cache: Path, save: Path | None) -> str:
    """Markdown: the table, and where the errors come from."""
    rows: list[list[object]] = []
    lost: list[str] = []
    causes: list[list[object]] = []
    with pm.Detector() as detect:
        for name in clips:
            case = load_case(name, every, cache)
            with shading_without(name, SHARED / "data" / "video", cache):
                drawn = draw(case)
            found = {"ours": score(case, drawn.pictures, detect), **baselines(case, detect, cache)}
            means = {m: found[m].means() for m in METHODS}
            for method in METHODS:
                rows.append([name, method, *(means[method][k] for k in MEASURES)])
                print(*(f"{v:.4f}" if isinstance(v, float) else f"{v:10s}" for v in rows[-1]), flush=True)
            for other in METHODS[1:]:
                lost += [f"{name} {k} ({other})" for k in MEASURES if not better(k, means["ours"][k], means[other][k])]
            causes += _causes(case, drawn, found)
            if save is not None:
                _save(case, drawn, found, save)
    verdict = "Ours beats both on every clip and measure." if not lost else f"Ours does not win: {', '.join(lost)}."
    print(verdict)
    cause_table = table(["clip", "yaw off the photo", "frames", "what", *pm.PARTS, "all"], causes)
    print(cause_table)
    return "\n".join(
        [
            "## Self-reenactment: the first clear frame as the photo, the clip as the driver",
            "",
            f"{machine()}. Every {every}th frame, at most {CAP} a clip, straight from the decoder, in the photo's square at",
            "512 × 512. PSNR (dB) and SSIM inside the grown hull of the real frame's landmarks; landmarks re-detected in each",
            "rendered frame against those detected in the real one (mean distance in IOD); MobileFaceNet cosine of rendered and",
            "real frame. The skin's folds are those fitted without the clip. Baselines: the photo standing still; plain",
            "thin-plate warping of the followed landmarks.",
            "",
            table(["clip", "method", *MEASURES], rows),
            "",
            verdict,
        ]
    )


def _causes(case: Case, drawn: Drawn, found: dict[str, Scores]) -> list[list[object]]:
    """Rows per yaw bin: error of the geometry (where the decoder meant the landmarks), of our pictures, of the thin plate."""
    real = case.real[np.isfinite(case.real).all((1, 2))]
    ok = np.isfinite(case.real).all((1, 2))
    meant = np.stack([pm.point_errors(m, r) for m, r in zip(drawn.meant[ok], real, strict=True)])
    yaw = drawn.yaw[ok]
    out: list[list[object]] = []
    for low, high in itertools.pairwise(YAW_BINS):
        inside = (yaw >= low) & (yaw < high)
        if inside.sum() < 3:
            continue
        for what, errors in (("geometry", meant), ("ours", found["ours"].errors), ("thin plate", found["thin plate"].errors)):
            groups = [float(np.nanmean(errors[inside][:, list(p)])) for p in (*pm.PARTS.values(), pm.GROUPS["all"])]
            out.append([case.name, f"{low:.0f}-{high:.0f}", int(inside.sum()), what, *groups])
    return out


def _save(case: Case, drawn: Drawn, found: dict[str, Scores], folder: Path) -> None:
    """Frames and scores for looking at."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"{m}/{k}": getattr(s, k) for m, s in found.items() for k in Scores.__dataclass_fields__}
    np.savez(folder / f"self-{case.name}.npz", pictures=drawn.pictures, meant=drawn.meant, yaw=drawn.yaw, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("self", "cross", "steady", "all"))
    parser.add_argument("--clips", nargs="+", default=list(CLIPS), choices=CLIPS)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames; docs/results.md is left alone")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "vasa-reenact")
    parser.add_argument("--save", type=Path, help="folder for frames and scores, to look at")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    clips, every = tuple(options.clips), options.every * (10 if options.quick else 1)
    whole = not options.quick and clips == CLIPS
    if options.what in ("self", "all"):
        text = evaluate_self(clips, every, options.cache, options.save)
        if whole:
            write_section("self-reenactment", text)
    if options.what in ("cross", "all"):
        import reenact_cross

        portraits = reenact_cross.PORTRAITS[:2] if options.quick else reenact_cross.PORTRAITS
        text = reenact_cross.evaluate(clips, portraits, options.cache, options.save)
        if whole:
            write_section("cross-reenactment", text)
    if options.what in ("steady", "all"):
        import reenact_steady

        text = reenact_steady.evaluate(clips, options.cache)
        if whole:
            write_section("steadiness", text)


if __name__ == "__main__":
    main()
