"""Fit the basis of facial dynamics on tracked clips and write vasa_cli/weights/basis.safetensors and docs/results_basis.md.

python scripts/fit_basis.py --data ../shared/data
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vasa_cli.motion import rest
from vasa_cli.motion.basis import DynamicsBasis, lid_opening
from vasa_cli.training import motion_basis as fit
from vasa_cli.training.motion_actions import measure_scores, with_actions
from vasa_cli.training.motion_clips import Clip, clip_paths, read_clip, smooth
from vasa_cli.weights import registry

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = {
    "aiface1-speech4",
    "aiface2-english_female",
    "aiface3-speech4",
    "aiface4-speech4",
    "girl-lianliru",
    "monalisa-monalisa",
    "sad-lianliru_SR",
}


@dataclass(frozen=True)
class Person:
    """One aligned clip: displacement (T, 478, 3) from its neutral (478, 3), both canonical."""

    clip: Clip
    neutral: np.ndarray
    displacement: np.ndarray


def read_sources(data: Path, part: str, grid_step: int) -> list[Clip]:
    """Clips of all landmark sources; GRID, one person, is thinned to every grid_step-th clip."""
    out = []
    for source in ("grid_s1", "anitalker", "liveportrait", "strangers"):
        out += [read_clip(p) for p in clip_paths(data, source, part=part)[:: grid_step if source == "grid_s1" else 1]]
    return out


def aligned(clips: list[Clip], basis: DynamicsBasis, masks: dict[str, np.ndarray], field: np.ndarray | None) -> list[Person]:
    """Align, smooth, take the neutral away. `field` closes lips that never met."""
    people = []
    for clip in clips:
        canonical, _ = basis.align_clip(clip.landmarks)
        canonical = smooth(canonical)
        neutral = rest.neutral_of(canonical, masks)
        if field is not None:
            neutral = rest.close_lips(neutral, field)
        people.append(Person(clip, neutral, canonical - neutral))
    return people


def balanced(people: list[Person], per_source: int, seed: int = 0) -> list[tuple[Person, np.ndarray]]:
    """About per_source frames from every source: (person, frame indices)."""
    rng = np.random.default_rng(seed)
    total: dict[str, int] = {}
    for p in people:
        total[p.clip.source] = total.get(p.clip.source, 0) + len(p.displacement)
    picks = []
    for p in people:
        n = len(p.displacement)
        keep = min(n, round(per_source * n / total[p.clip.source]))
        picks.append((p, np.sort(rng.choice(n, keep, replace=False))))
    return picks


def mean_blink(people: list[Person]) -> np.ndarray:
    """(478, 3) mean displacement over the most closed frames of clips whose eyes do close."""
    found = []
    for p in people:
        opening = lid_opening(p.neutral + p.displacement).mean(-1) / lid_opening(p.neutral).mean()
        closed = opening < 0.3
        if closed.sum() >= 2:
            found.append(p.displacement[closed].mean(0) / lid_opening(p.neutral).mean())
    return np.median(found, 0)


def measure_portraits(folder: Path) -> list[np.ndarray]:
    """(478, 3) landmarks in image widths of the first face in every photo of a folder (FaceMesh, static mode)."""
    import mediapipe as mp
    from PIL import Image, ImageOps

    marks = []
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3
    ) as mesh:
        for path in sorted(folder.glob("*.jpg")):
            image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
            ratio = image.shape[0] / image.shape[1]
            found = mesh.process(image).multi_face_landmarks
            if found:
                marks.append(np.array([[p.x, p.y * ratio, p.z] for p in found[0].landmark], np.float32))
    return marks


def neutral_portraits(marks: list[np.ndarray], basis: DynamicsBasis) -> list[np.ndarray]:
    """Neutrals of photos, their expression fitted and taken away."""
    return [basis.split_identity(basis.align(m[None])[0][0])[0] for m in marks]


def residuals(people: list[Person], basis: DynamicsBasis) -> dict[str, dict[str, tuple[float, float]]]:
    """source -> region -> (rms motion, rms residual) in IOD, over x and y."""
    out: dict[str, dict[str, tuple[float, float]]] = {}
    for source in dict.fromkeys(p.clip.source for p in people):
        group = [p for p in people if p.clip.source == source]
        left = [p.displacement - basis.decode_person(basis.encode_person(p.displacement, p.neutral), p.neutral) for p in group]
        rows = {}
        for region, points in rest.REGIONS.items():
            motion = np.concatenate([p.displacement[:, list(points), :2].reshape(-1, 2) for p in group])
            missed = np.concatenate([r[:, list(points), :2].reshape(-1, 2) for r in left])
            rows[region] = (float(np.sqrt((motion**2).sum(-1).mean())), float(np.sqrt((missed**2).sum(-1).mean())))
        out[source] = rows
    return out


def report(basis: DynamicsBasis, scores: dict[str, dict[str, tuple[float, float]]], gap: float, path: Path) -> None:
    """docs/results_basis.md."""
    blocks = ", ".join(f"{k} {s.stop - s.start}" for k, s in basis.blocks.items())
    lines = [
        "# The basis of facial dynamics: what it is and what error remains",
        "",
        "Written by `scripts/fit_basis.py`; do not edit.",
        "",
        f"z_dyn has **{basis.size} numbers**: {blocks}. Identity directions: {len(basis.identity_std)}.",
        f"Mean face: lid opening {lid_opening(basis.mean_shape).mean():.3f}, gap of the inner lips {gap:.4f} "
        "(units of inter-ocular distance, IOD).",
        "",
        "Root mean square over landmarks and frames, x and y, in IOD: motion about the neutral ->",
        "what the basis cannot say. Held-out clips:",
        "a tenth of GRID, three LivePortrait and one AniTalker clip, and all strangers (no clip of theirs was used in the fit).",
        "The irises' residual is by design: gaze is two angles for both eyes; the rest of the iris landmarks' motion is",
        "vergence and tracking noise.",
        "",
        "| held-out source | " + " | ".join(rest.REGIONS) + " |",
        "|---|" + "---|" * len(rest.REGIONS),
    ]
    for source, rows in scores.items():
        lines.append(f"| {source} | " + " | ".join(f"{m:.4f} -> {r:.4f}" for m, r in rows.values()) + " |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--per-source", type=int, default=3500)
    parser.add_argument("--grid-step", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "vasa_cli" / "weights")
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder that keeps the blendshape scores measured on the video clips; none: no action directions",
    )
    args = parser.parse_args()
    config = fit.BasisConfig()

    clips = read_sources(args.data, "train", args.grid_step)
    first = clips[0].landmarks.mean(0)
    mirror = fit.mirror_map((first - first.mean(0)) / np.linalg.norm(first[33] - first[263]))
    shape = fit.align_people(
        [np.median(c.landmarks, 0) for c in clips if c.source != "grid_s1"] + [np.median(clips[0].landmarks, 0)], mirror
    )
    basis, masks = fit.empty_basis(shape, mirror), rest.region_masks(shape, config.softness)
    people = aligned(clips, basis, masks, None)
    picks = balanced(people, args.per_source)
    field = fit.opening_field(np.concatenate([p.displacement[i] for p, i in picks]), masks["mouth"], mirror)

    distinct = [p for p in people if p.clip.source == "liveportrait" or p.clip.name in PEOPLE] + [people[0]]
    shape = fit.symmetric_frame(fit.align_people([rest.close_lips(p.neutral, field) for p in distinct], mirror), mirror)
    shape = rest.close_lips(shape, field).astype(np.float64)
    basis, masks = fit.empty_basis(shape, mirror), rest.region_masks(shape, config.softness)
    people = aligned(clips, basis, masks, field)
    picks = balanced(people, args.per_source)
    lids = masks["lids"][:, None]
    data = np.concatenate([p.displacement[i] * (1 + lids * (1 / basis.lid_scale(p.neutral) - 1)) for p, i in picks])
    blinks = mean_blink(people) * lid_opening(shape).mean()
    directions, blocks, weights = fit.fit_directions(data, shape, blinks, mirror, config)
    basis = replace(basis, directions=directions.astype(np.float16).astype(np.float32), blocks=blocks, importance=weights)
    basis = replace(basis, std=basis.encode(data).std(0), mouth_open_direction=basis.encode(field))

    distinct = [p.neutral for p in people if p.clip.source == "liveportrait" or p.clip.name in PEOPLE] + [people[0].neutral]
    photos = measure_portraits(args.data / "portraits")
    for _ in range(2):  # the photos' neutrals need identity directions, the identity directions gain from the photos
        neutrals = distinct + (neutral_portraits(photos, basis) if len(basis.identity_std) else [])
        found, spread = fit.fit_identity(np.stack(neutrals), basis.mean_shape, mirror, config.identity)
        basis = replace(basis, identity_directions=found.astype(np.float32), identity_std=spread.astype(np.float32))

    if args.cache:
        model = args.data.parent / "models" / "face_landmarker_v2_with_blendshapes.task"
        basis = with_actions(basis, measure_scores(args.data / "video", model, args.cache))

    from safetensors.numpy import save_file

    tensors, meta = basis.tensors()
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, str(args.out / "basis.safetensors"), metadata=meta)
    (args.out / "basis.safetensors").chmod(0o644)
    registry.record("basis", root=args.out)
    scores = residuals(aligned(read_sources(args.data, "test", 2), basis, masks, field), basis)
    report(basis, scores, float(shape[14, 1] - shape[13, 1]), ROOT / "docs" / "results_basis.md")
    print((ROOT / "docs" / "results_basis.md").read_text())


if __name__ == "__main__":
    main()
