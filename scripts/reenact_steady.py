"""Steadiness: jitter of the landmarks, flicker inside the mouth, both against real clips (part of evaluate_reenact.py)."""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import picture_measures as pm
from evaluate import SHARED, measure_tool, render
from reenact_cross import encode
from results import machine, table

GRID_CLIPS = 20
STILL = ("halfbody_woman_class", "woman_waterfall", "painted_portrait_10")
PAIRS = 40  # pairs of neighbouring frames a clip
OPEN = 0.06  # IOD between the lips: from here on there is an inside


def second_difference(marks: np.ndarray) -> float:
    """Landmarks (T, 478, 3) -> mean |x[t-1] - 2 x[t] + x[t+1]| of the 468 skin points in the picture, in IOD."""
    flat = marks[:, :468, :2] / np.linalg.norm(marks[:, 33] - marks[:, 263], axis=-1)[:, None, None]
    return float(np.linalg.norm(np.diff(flat, n=2, axis=0), axis=-1).mean())


def real_jitter() -> list[float]:
    """Of GRID's clips: a speaker who sits still, 25 frames a second, followed by the same tracker."""
    out = []
    paths = sorted((SHARED / "data" / "grid_s1").glob("*.npz"))
    for path in paths[:: max(1, len(paths) // GRID_CLIPS)][:GRID_CLIPS]:
        z = np.load(path)
        if z["ok"].all():
            out.append(second_difference((np.cumsum(z["delta"].astype(np.int32), axis=0) * z["step"]).astype(np.float32)))
    return out


def our_jitter(portrait: str, speech: Path) -> float:
    """Of our own video of a recording, the head held still, decoded and followed by the same tracker."""
    from vasa_cli.motion.controls import Controls, Curve
    from vasa_cli.motion.generate import generate_motion
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.speech.features import SpeechEncoder

    features = SpeechEncoder.from_weights("default").features(load_speech(speech).samples)
    controls = Controls.default().with_curves(head=Curve.constant(0.0))
    track = generate_motion(features, controls.curves(len(features), Fraction(25)), seed=0)
    face, _ = encode(portrait)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "still.mp4"
        render(face, track.pose, track.dynamics, video)
        marks = measure_tool().landmarks(str(video))
    return second_difference(marks[np.isfinite(marks[:, 0, 0])])


def mouth_change(first: np.ndarray, second: np.ndarray, marks: np.ndarray, later: np.ndarray) -> float | None:
    """Mean absolute change of luma inside the lips between neighbours, the second laid on the first by the inner lips (affine).

    None when the mouth is not open in both."""
    import cv2

    if any(np.linalg.norm(m[14] - m[13]) < OPEN * pm.inter_ocular(m) for m in (marks, later)):
        return None
    ring, there = (m[list(pm.INNER_LIPS), :2] for m in (marks, later))
    ones = np.ones((len(ring), 1))
    move = np.linalg.lstsq(np.concatenate([there, ones], 1), ring, rcond=None)[0].T
    size = first.shape[:2]
    laid = cv2.warpAffine(pm.luma(second), move, size[::-1], flags=cv2.INTER_LINEAR)
    inside = np.zeros(size, np.uint8)
    cv2.fillPoly(inside, [np.round(ring).astype(np.int32)], 1)
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8))
    if inside.sum() < 30:
        return None
    return float(np.abs(laid - pm.luma(first))[inside > 0].mean())


def flicker(name: str, cache: Path, detect: pm.Detector) -> tuple[float, float, int] | None:
    """(real, ours, pairs): the same neighbouring frames of a clip and of our rendering of it; None without an open mouth."""

    from evaluate_reenact import load_case, motion_of

    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.portrait.framing import Crop
    from vasa_cli.portrait.layers import cut_square
    from vasa_cli.video.clip import probe, read_frames

    case = load_case(name, 3, cache)
    gap = np.linalg.norm(case.tracked[:, 14] - case.tracked[:, 13], axis=-1)
    gap /= np.linalg.norm(case.tracked[:, 33] - case.tracked[:, 263], axis=-1)
    open_now = np.flatnonzero((gap[:-1] > OPEN) & (gap[1:] > OPEN) & case.seen[:-1] & case.seen[1:])
    if len(open_now) < 5:
        return None
    at = open_now[np.unique(np.linspace(0, len(open_now) - 1, PAIRS).round().astype(int))]
    wanted = {int(i) for i in at} | {int(i) + 1 for i in at}
    x, y, k = map(float, case.crop)
    frames = read_frames(probe(SHARED / "data" / "video" / f"{name}.mp4"))
    real = {i: cut_square(f, Crop(x, y, k), 512) for i, f in enumerate(frames) if i in wanted}
    order = sorted(real)
    face, track = motion_of(case)
    drawn = np.concatenate(list(FaceDecoder(face).frames(track.select(np.array(order)))))
    ours = dict(zip(order, drawn, strict=True))
    changes = []
    for pictures in (real, ours):
        marks = {i: detect(p) for i, p in pictures.items()}
        pairs = [(i, mouth_change(pictures[i], pictures[i + 1], marks[i], marks[i + 1])) for i in map(int, at)]
        changes.append({i: v for i, v in pairs if v is not None and np.isfinite(v)})
    both = sorted(set(changes[0]) & set(changes[1]))
    if len(both) < 5:
        return None
    return float(np.mean([changes[0][i] for i in both])), float(np.mean([changes[1][i] for i in both])), len(both)


def evaluate(clips: tuple[str, ...], cache: Path) -> str:
    """Markdown."""
    real = real_jitter()
    speech = sorted((SHARED / "data" / "grid_s1").glob("*.flac"))[9]
    jitter: list[list[object]] = [
        ["GRID, real", 1000 * float(np.mean(real)), f"{1000 * min(real):.2f} to {1000 * max(real):.2f}"]
    ]
    for portrait in STILL:
        jitter.append([f"{portrait}, ours", 1000 * our_jitter(portrait, speech), ""])
        print(*jitter[-1], flush=True)
    rows: list[list[object]] = []
    with pm.Detector() as detect:
        for name in clips:
            found = flicker(name, cache, detect)
            if found is not None:
                rows.append([name, *found])
                print(*rows[-1], flush=True)
    worst = max(float(str(row[1])) for row in jitter[1:])
    more = [str(row[0]) for row in rows if float(str(row[2])) > float(str(row[1]))]
    verdict = [
        f"Jitter: ours at most {worst:.2f}, real {1000 * np.mean(real):.2f} on the average.",
        f"Flicker: ours above real on {', '.join(more)}." if more else "Flicker: ours is below the real clip's on every motion.",
    ]
    print(*verdict, sep="\n")
    return "\n".join(
        [
            "## Steadiness",
            "",
            f"{machine()}. Jitter: mean second difference of the 468 followed landmarks, thousandths of an IOD, on speech",
            f"with a head held still; real: {len(real)} GRID clips (25 frames a second, as ours), mean and range.",
            "",
            table(["clip", "jitter", "range"], jitter),
            "",
            "Flicker: mean absolute change of luma (levels of 255) inside the inner lips between neighbouring frames, laid on",
            "each other by the inner lips; the same frames of the real clip and of our rendering of it (self-reenactment).",
            "",
            table(["clip", "real", "ours", "pairs"], rows),
            "",
            *verdict,
        ]
    )  # fmt: skip
