"""Measure the product's pictures and motion with tools that are not part of it; writes docs/results.md.

    python scripts/evaluate.py decoder          does the picture follow the motion? identity, background     (about 6 minutes)
    python scripts/evaluate.py motion           lips, head, eyes, ten minutes, controls on frames            (about 11 minutes)
    python scripts/evaluate.py all
    python scripts/evaluate.py motion --ablate X0.safetensors FLOW.safetensors     and the paper's ablation      (4 more)

Needs the development data beside the repository (../shared) and `pip install -e '.[test,train]'`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np

from vasa_cli.portrait.latent import FaceLatent

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, table, write_section

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PORTRAITS = ("halfbody_woman_class", "halfbody_man_dark", "woman_waterfall", "painted_portrait_10")
MAX_TURN = 12.0  # degrees of yaw that every evaluated motion reaches to both sides
BACKGROUND_REACH = 41  # px around head, hair and shoulders that the moving silhouette may touch


@dataclass(frozen=True)
class Scores:
    """One row. lip, eye: Pearson r of requested against re-detected opening; angles: rms error in degrees after the tracker's
    own bias;
    identity: cosine of photo and frames; background: mean absolute difference in levels."""

    name: str
    lip: float
    eye: float
    angles: tuple[float, float, float]
    identity: tuple[float, float]
    background: float


def measure_tool() -> ModuleType:
    """The independent measures beside the data."""
    path = SHARED / "tools" / "measure.py"
    if not path.is_file():
        sys.exit(f"the development data is not at {SHARED}: nothing to evaluate against")
    os.environ.setdefault("GLOG_minloglevel", "3")
    spec = importlib.util.spec_from_file_location("measure", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def acted_motion(name: str, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Pose (T, 6) and dynamics (T, K) of a tracked clip, its head turns scaled to reach +-MAX_TURN degrees."""
    from vasa_cli.training.motion_data import load_sequences

    both = [s for part in ("train", "test") for s in load_sequences(SHARED / "data", ("liveportrait",), part=part)]
    clip = next(s for s in both if s.name == name)
    pose = clip.pose[:frames].copy()
    turn = np.degrees(np.abs(pose[:, 0]).max())
    pose[:, :5] *= MAX_TURN / turn
    return pose, clip.dynamics[:frames]


def spoken_motion(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Our own motion for a recording, with a slow turn of +-MAX_TURN degrees added."""
    from vasa_cli.motion.controls import Controls
    from vasa_cli.motion.generate import generate_motion
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.speech.features import SpeechEncoder

    speech = load_speech(SHARED / "data" / "speech" / "english_radio_31.flac")
    features = SpeechEncoder.from_weights("default").features(speech.samples)[:frames]
    track = generate_motion(features, Controls.default().curves(len(features), Fraction(25)), seed=0)
    pose = track.pose.copy()
    swing = np.radians(MAX_TURN) - np.abs(pose[:, 0]).max() / 2
    pose[:, 0] = pose[:, 0] / 2 + swing * np.sin(np.arange(len(pose)) / 25 * 2 * np.pi / 4)
    return pose, track.dynamics


def render(face: FaceLatent, pose: np.ndarray, dynamics: np.ndarray, path: Path) -> np.ndarray:
    """Write the video as the product does; returns the canonical vertices (T, 478, 3) that were asked for."""
    import torch

    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.video.writer import VideoWriter

    decoder = FaceDecoder(face)
    track = MotionTrack(pose.astype(np.float32), dynamics.astype(np.float32))
    with VideoWriter(path, (512, 512), Fraction(25), len(track)) as writer:
        for batch in decoder.frames(track):
            writer.write(batch)
    with torch.inference_mode():
        return np.asarray(decoder.vertices(torch.from_numpy(track.dynamics)).numpy())


def angles_of(marks: np.ndarray) -> np.ndarray:
    """(T, 3) degrees from landmarks (T, 478, 3), aligned to the clip's own median shape."""
    from vasa_cli.motion.basis import DynamicsBasis, euler

    _, (rotation, _, _) = DynamicsBasis.load().align_clip(marks)
    return np.degrees(euler(rotation))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    ok = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[ok], b[ok])[0, 1])


def background_difference(video: Path, photo: np.ndarray, person: np.ndarray, tool: ModuleType) -> float:
    """Mean absolute difference between decoded frames and the photo's square, away from the person. Levels of 255."""
    import cv2

    away = cv2.dilate(cv2.resize(person, (512, 512)), np.ones((BACKGROUND_REACH * 2 + 1,) * 2, np.uint8)) == 0
    if away.sum() < 500:
        return float("nan")
    return float(np.mean([np.abs(f[away].astype(int) - photo[away]).mean() for f in tool.frames(str(video))]))


def score(name: str, pose: np.ndarray, dynamics: np.ndarray, tool: ModuleType, folder: Path, *, still: bool = False) -> Scores:
    """Render one portrait with one motion and measure the decoded video. still: the baseline that shows the photo all the
    time."""
    from vasa_cli.portrait.encode import encode_portrait
    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square

    photo_path = SHARED / "data" / "portraits" / f"{name}.jpg"
    face, photo = encode_portrait(photo_path), tool.photo(str(photo_path))
    video = folder / f"{name}.mp4"
    shown = (np.zeros_like(pose), np.repeat(face.dynamics[None], len(pose), 0)) if still else (pose, dynamics)
    wanted = render(face, pose, dynamics, folder / "asked.mp4") if still else None
    vertices = render(face, *shown, video)
    vertices = vertices if wanted is None else wanted
    marks = tool.landmarks(str(video))
    marks = marks[np.isfinite(marks[:, 0, 0])]
    lip = np.linalg.norm(vertices[:, 13] - vertices[:, 14], axis=-1)
    lids = sum(np.linalg.norm(vertices[:, a] - vertices[:, b], axis=-1) for a, b in ((159, 145), (386, 374)))
    error = angles_of(marks) - np.degrees(pose[: len(marks), :3])
    rms = np.sqrt(((error - error.mean(0)) ** 2).mean(0))
    cosines = tool.identity_cosines(photo, str(video))
    square = cut_square(photo, Crop(*map(float, face.crop)), 512)
    return Scores(
        name,
        correlation(lip, tool.lip_opening(marks)),
        correlation(np.asarray(lids), tool.eye_opening(marks)),
        (float(rms[0]), float(rms[1]), float(rms[2])),
        (float(cosines.mean()), float(cosines.min())),
        background_difference(video, square, face.person[..., 3], tool),
    )


def evaluate_decoder(frames: int) -> str:
    """Markdown: portraits x two motions, and the static baseline."""
    tool = measure_tool()
    motions: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
        "acted (d11)": lambda: acted_motion("d11", frames),
        "spoken + turns": lambda: spoken_motion(frames),
    }
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for label, make in motions.items():
            pose, dynamics = make()
            cases = [(n, False) for n in PORTRAITS] + [(PORTRAITS[0], True)]
            for name, still in cases:
                s = score(name, pose, dynamics, tool, Path(temporary), still=still)
                rows.append(
                    [label, ("static photo: " if still else "") + name, s.lip, s.eye, *s.angles, *s.identity, s.background]
                )
                print(rows[-1], flush=True)
    head = ["motion", "portrait", "lip r", "eye r", "yaw °", "pitch °", "roll °", "identity mean", "identity min", "background"]
    return "\n".join(
        [
            "## Decoder: does the picture follow the motion?",
            "",
            f"{machine()}. {frames} frames, head turns of ±{MAX_TURN:.0f}°; landmarks re-detected in the decoded H.264 video.",
            "r of requested against found opening; rms error of the head angles without constant bias; MobileFaceNet",
            "cosine of photo and frames; mean absolute difference to the photo away from the person (levels of 255).",
            "Bounds: 0.95, 0.8, 2°, 0.80 mean, 1.5. The static rows show the photo throughout.",
            "",
            table(head, rows),
        ]
    )


def evaluate_motion(align: Path | None, ablate: list[str]) -> str:
    """Run the scripts that measure motion (each writes its own page or section) and take over the tables of the first."""
    given = ["--data", str(SHARED / "data")]
    jobs = [["evaluate_motion.py", *given, *(["--align", str(align)] if align else [])], ["long_motion.py", *given]]
    jobs += [["check_controls.py", *given], *([["ablate_motion.py", *ablate, *given]] if ablate else [])]
    for name, *arguments in jobs:
        subprocess.run([sys.executable, str(ROOT / "scripts" / name), *arguments], check=True)
    text = (ROOT / "docs" / "results_motion.md").read_text(encoding="utf-8")
    body = text.split("\n", 1)[1].replace("Written by `scripts/evaluate_motion.py`; do not edit.", machine() + ".")
    return "## Motion: does it follow the speech, and is it alive?\n" + body.replace("\n## ", "\n### ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("decoder", "motion", "all"))
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--align", type=Path, help="folder with grid.json and heard.json, see evaluate_motion.py")
    parser.add_argument("--ablate", nargs="+", default=[], metavar="WEIGHTS", help="weight files for the ablation")
    options = parser.parse_args()
    if options.what in ("decoder", "all"):
        write_section("decoder", evaluate_decoder(options.frames))
    if options.what in ("motion", "all"):
        write_section("motion", evaluate_motion(options.align, options.ablate))


if __name__ == "__main__":
    main()
