"""Cross-reenactment: seven motions on seven portraits; is it still the person of the photo? (part of evaluate_reenact.py)"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import picture_measures as pm
from evaluate import SHARED, measure_tool
from results import machine, table

from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import FaceLatent

PORTRAITS = (
    *("halfbody_man_dark", "halfbody_man_window", "halfbody_woman_class", "halfbody_woman_smile"),
    *("woman_waterfall", "mona_lisa", "painted_portrait_10"),
)
FRAMES = 30  # a motion
WORST = 5
BOUND_MEAN, BOUND_MIN = 0.80, 0.60


def relative_track(name: str, cache: Path) -> MotionTrack:
    """The motion of a clip around its own rest, from the cache where it is."""
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.motion.measured import measure
    from vasa_cli.video.clip import probe

    file = cache / f"motion-{name}-{_key()}.safetensors"
    if not file.is_file():
        clip = probe(SHARED / "data" / "video" / f"{name}.mp4")
        measure(clip, None, "relative", DynamicsBasis.load())[0].save(file)
    return MotionTrack.load(file)


def _key() -> str:
    """Changes when measuring does."""
    import hashlib

    from vasa_cli.motion import flow, measured, rest

    code = b"".join(Path(m.__file__).read_bytes() for m in (flow, measured, rest))
    return hashlib.sha256(code).hexdigest()[:12]


@dataclass(frozen=True)
class Shot:
    """One rendered frame. cosine: NaN where no face was found."""

    motion: str
    portrait: str
    frame: int
    cosine: float
    picture: np.ndarray
    pose: np.ndarray
    mouth: float

    @property
    def words(self) -> str:
        yaw, pitch, roll = np.degrees(self.pose[:3])
        far = np.exp(self.pose[5])
        return f"yaw {yaw:.0f}°, pitch {pitch:.0f}°, roll {roll:.0f}°, distance {far:.2f}, lips {self.mouth:.2f} IOD"


def encode(name: str) -> tuple[FaceLatent, np.ndarray]:
    """The face and its square of the photo at 512."""
    from vasa_cli.portrait.encode import encode_pixels
    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square
    from vasa_cli.portrait.pixels import read_photo

    path = SHARED / "data" / "portraits" / f"{name}.jpg"
    photo = read_photo(path)
    face = encode_pixels(photo, path)
    x, y, k = map(float, face.crop)
    return face, cut_square(photo, Crop(x, y, k), 512)


def shots(
    motion: str, track: MotionTrack, portrait: str, face: FaceLatent, square: np.ndarray, detect: pm.Detector
) -> list[Shot]:
    """FRAMES frames of a motion on a portrait."""
    from vasa_cli.decoder.render import FaceDecoder

    tool = measure_tool()
    at = np.linspace(0, len(track) - 1, FRAMES).round().astype(int)
    decoder = FaceDecoder(face)
    part = track.select(at)
    pictures = np.concatenate(list(decoder.frames(part)))
    shape = face.neutral + decoder.basis.decode_person(part.dynamics, face.neutral)
    open_by = np.linalg.norm(shape[:, 14] - shape[:, 13], axis=-1)
    wanted = tool.identity(square, detect(square))
    out = []
    for i, picture in enumerate(pictures):
        marks = detect(picture)
        cosine = float(wanted @ tool.identity(picture, marks)) if np.isfinite(marks).all() else np.nan
        out.append(Shot(motion, portrait, int(at[i]), cosine, picture, part.pose[i], float(open_by[i])))
    return out


def own_faces(name: str, cache: Path) -> str:
    """The driver's own frames against their first clear one: what the measure says of a real face that moves so."""
    from evaluate_reenact import load_case

    tool, case = measure_tool(), load_case(name, 3, cache)
    with pm.Detector() as detect:
        wanted = tool.identity(case.photo, detect(case.photo))
    pairs = zip(case.pictures, case.real, strict=True)
    values = np.array([wanted @ tool.identity(p, m) for p, m in pairs if np.isfinite(m).all()])
    return f"{values.mean():.3f} ({values.min():.2f})"


def evaluate(clips: tuple[str, ...], portraits: tuple[str, ...], cache: Path, save: Path | None) -> str:
    """Markdown: a table of means and minima, the worst frames."""
    tracks = {name: relative_track(name, cache) for name in clips}
    rows: list[list[object]] = []
    everything: list[Shot] = []
    with pm.Detector() as detect:
        for portrait in portraits:
            face, square = encode(portrait)
            row: list[object] = [portrait]
            for name, track in tracks.items():
                found = shots(name, track, portrait, face, square, detect)
                values = np.array([s.cosine for s in found])
                row.append(f"{np.nanmean(values):.3f} ({np.nanmin(values):.2f})" + (" lost!" if np.isnan(values).any() else ""))
                everything += found
            rows.append(row)
            print(*row, flush=True)
    rows.append(["the driver, really", *(own_faces(name, cache) for name in clips)])
    values = np.array([s.cosine for s in everything])
    worst = sorted((s for s in everything if np.isfinite(s.cosine)), key=lambda s: s.cosine)
    if save is not None:
        save_shots(worst[:20], save)
    lost = int(np.isnan(values).sum())
    verdict = (
        f"Mean {np.nanmean(values):.3f} (bound {BOUND_MEAN}), lowest {np.nanmin(values):.3f} (bound {BOUND_MIN}), "
        f"{int((values < BOUND_MIN).sum())} of {len(values)} frames below the bound, {lost} frames without a detected face."
    )
    print(verdict)
    few = [[s.motion, s.portrait, s.frame, s.cosine, s.words] for s in worst[:WORST]]
    for line in few:
        print(*line)
    return "\n".join(
        [
            "## Cross-reenactment: seven motions on seven portraits",
            "",
            f"{machine()}. `--drive-mode relative`, {FRAMES} frames a pair; MobileFaceNet cosine of the photo",
            "and each frame: mean (lowest). Last row: the real clip's own frames against its first clear frame.",
            "",
            table(["portrait", *clips], rows),
            "",
            verdict,
            "",
            "The worst frames:",
            "",
            table(["motion", "portrait", "frame", "cosine", "what it shows"], few),
        ]
    )


def save_shots(worst: list[Shot], folder: Path) -> None:
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for i, shot in enumerate(worst):
        name = f"worst{i:02d}_{shot.cosine:.2f}_{shot.motion}_{shot.portrait}_{shot.frame}.png"
        cv2.imwrite(str(folder / name), shot.picture[..., ::-1])
