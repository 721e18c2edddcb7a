"""Train and judge the refiner of mouth and eyes, leave-people-out; writes docs/results_refiner.md.

    python scripts/train_refiner.py pairs ../shared/data/video     rendered and real patches            (about 6 minutes)
    python scripts/train_refiner.py train ../shared/data/video     one refiner a split, one of all      (about 3 minutes each)
    python scripts/train_refiner.py judge ../shared/data/video     patches and whole frames, tables     (about 3 minutes)
    python scripts/train_refiner.py all ../shared/data/video
    python scripts/train_refiner.py install                        the one of all clips into vasa_cli/weights, for --refine

Clips show one person each. Everything is kept in --work: a stopped run goes on where it was. Times are of one idle core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, table

if TYPE_CHECKING:
    from evaluate_reenact import Case

    from vasa_cli.decoder.refiner import Refiner
    from vasa_cli.training.refiner_pairs import Pairs
    from vasa_cli.training.refiner_train import Recipe

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("mouth", "eye")
EVERYBODY = "all"  # no split: nobody is held out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("pairs", "train", "judge", "all", "install"))
    parser.add_argument("clips", type=Path, nargs="?", help="folder of .mp4 clips, one person each")
    parser.add_argument("--work", type=Path, default=ROOT.parent / "scratch" / "refiner", help="pairs, checkpoints, networks")
    parser.add_argument("--photos", type=int, default=4, help="frames of a clip that serve as the photo")
    parser.add_argument("--frames", type=int, default=45, help="frames rendered from each photo")
    parser.add_argument(
        "--splits",
        nargs="+",
        default=["d19,d20", "d3,d12", EVERYBODY],
        help="people held out, clip names with commas; all: nobody",
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--every", type=int, default=6, help="judge: every n-th frame of the clips held out")
    options = parser.parse_args()
    if options.stage != "install" and (options.clips is None or not list(options.clips.glob("*.mp4"))):
        sys.exit(f"{options.clips}: no .mp4 clips there")
    import torch

    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.stage in ("pairs", "all"):
        make_pairs(options)
    if options.stage in ("train", "all"):
        train(options)
    if options.stage in ("judge", "all"):
        judge(options)
    if options.stage == "install":
        install(options.work / f"refiner-{EVERYBODY}.safetensors")


# ---------------------------------------------------------------------------------------------------- pairs


def make_pairs(options: argparse.Namespace) -> None:
    from vasa_cli.training import refiner_pairs as rp

    for path in sorted(options.clips.glob("*.mp4")):
        if all(_pairs_file(options.work, k, path.stem).is_file() for k in KINDS):
            continue
        clip = rp.follow(path, options.work)
        for kind, pairs in rp.make_pairs(clip, options.photos, options.frames, say=lambda s: print(s, flush=True)).items():
            np.savez(_pairs_file(options.work, kind, path.stem), **{f: getattr(pairs, f) for f in pairs.__dataclass_fields__})


def _pairs_file(work: Path, kind: str, clip: str) -> Path:
    return work / f"pairs-{kind}-{clip}.npz"


def load_pairs(options: argparse.Namespace, kind: str) -> Pairs:
    """Those of all clips."""
    from vasa_cli.training import refiner_pairs as rp

    parts = []
    for path in sorted(options.clips.glob("*.mp4")):
        file = _pairs_file(options.work, kind, path.stem)
        if not file.is_file():
            sys.exit(f"{file} is missing; run the stage 'pairs' first")
        z = np.load(file)
        parts.append(rp.Pairs(**{name: z[name] for name in z.files}))
    return rp.join(parts)


# ---------------------------------------------------------------------------------------------------- training


def train(options: argparse.Namespace) -> None:
    for split in options.splits:
        train_one(options, split)


def recipe(options: argparse.Namespace) -> Recipe:
    from vasa_cli.training.refiner_train import Recipe

    return Recipe(steps=options.steps)


def train_one(options: argparse.Namespace, held_out: str) -> None:
    """One refiner for everybody but the people held out."""
    from vasa_cli.decoder.refiner import Refiner
    from vasa_cli.training import refiner_train as rt

    file = _weights_file(options.work, held_out)
    if file.is_file():
        return
    refiner = Refiner(recipe(options).width)
    for kind in KINDS:
        pairs = load_pairs(options, kind)
        learned = pairs.only(set(pairs.clip.tolist()) - set(held_out.split(",")))
        checkpoint = options.work / f"checkpoint-{held_out}-{kind}.pt"
        net = rt.train(kind, learned, recipe(options), checkpoint, lambda s: print(f"without {held_out}: {s}", flush=True))
        getattr(refiner, kind).load_state_dict(net.state_dict())
    refiner.save(file)


def _weights_file(work: Path, held_out: str) -> Path:
    return work / f"refiner-{held_out}.safetensors"


def load_refiner(file: Path) -> Refiner:
    from safetensors.torch import load_file

    from vasa_cli.decoder.refiner import Refiner

    if not file.is_file():
        sys.exit(f"{file} is missing; run the stage 'train' first")
    return Refiner.load(load_file(str(file)))


def install(file: Path) -> None:
    """Where --refine looks for it."""
    from vasa_cli.weights import registry

    target = Path(registry.__file__).parent / registry.file_name("refiner")
    target.write_bytes(file.read_bytes())
    print(target.name, registry.record("refiner")[:12], target.stat().st_size // 1024, "KiB")


# ---------------------------------------------------------------------------------------------------- judging


def judge(options: argparse.Namespace) -> None:
    patches, frames, constants = [], [], []
    splits = [s for s in options.splits if s != EVERYBODY]
    for split in splits:
        refiner = load_refiner(_weights_file(options.work, split)).eval()
        for kind in KINDS:
            rows, said = judge_patches(load_pairs(options, kind), kind, set(split.split(",")), refiner)
            patches += rows
            constants += [f"- {kind}, without {split}: {line}" for line in said]
        frames += judge_frames(split.split(","), options, refiner)
    text = [
        "# The refiner: what a small network adds on people it never saw",
        "",
        f"Written by `scripts/train_refiner.py`; do not edit, except the verdict. {machine()}.",
        f"Splits: {'; '.join(splits)} held out, trained on the other clips, {options.steps} steps of batches of",
        f"{recipe(options).batch}, {options.photos} photos a clip. The networks never saw the people held out; the recipe was",
        "chosen after trials judged on the same people, so that these numbers flatter it a little.",
        "",
        "## Patches",
        "Rendered, refined, and two corrections that need no network, fitted on the same training clips (inside the opening",
        "one factor; one linear map of colours). PSNR in an ellipse around it, PSNR inside the opening, SSIM, and the",
        "strength of the gradients against the real ones (1 = as sharp).",
        "",
        table(["clip", "patch", "method", "PSNR", "inside", "SSIM", "sharpness"], patches),
        "",
        *constants,
        "",
        "## Frames",
        "Self-reenactment of the clips held out as in `scripts/evaluate_reenact.py` (PSNR, SSIM in the face; landmarks of lips,",
        "eyes, all in IOD; MobileFaceNet cosine); flicker: mean change inside an open mouth from frame to frame, levels.",
        "",
        table(["clip", "method", "PSNR", "SSIM", "lips", "eyes", "all", "identity", "flicker"], frames),
    ]
    out = ROOT / "docs" / "results_refiner.md"
    verdict = out.read_text(encoding="utf-8").split("## Verdict", 1)[1:] if out.is_file() else []
    out.write_text("\n".join(text) + "\n" + "".join(f"\n## Verdict{v}" for v in verdict), encoding="utf-8")


def judge_patches(pairs: Pairs, kind: str, held_out: set[str], refiner: Refiner) -> tuple[list[list[object]], list[str]]:
    """Rows of the table, and what the simple corrections came to."""
    from vasa_cli.training import refiner_eval as re
    from vasa_cli.training import refiner_train as rt

    learned = pairs.only(set(pairs.clip.tolist()) - held_out)
    simple = {"one factor": re.fit_gain(learned), "one colour map": re.fit_colours(learned)}
    rows: list[list[object]] = []
    for clip in sorted(held_out):
        own = pairs.only({clip})
        now, refined, real = rt.apply(getattr(refiner, kind), kind, own)
        for name, made in {"rendered": now, **{k: f(own) for k, f in simple.items()}, "refined": refined}.items():
            q = re.quality(made, real, re.opened(own), re.border(kind))
            rows.append([clip, kind, name, q.psnr, q.inside, q.ssim, q.sharp])
            print(*rows[-1], flush=True)
    return rows, [f"{name}: {f.__doc__}" for name, f in simple.items()]


def judge_frames(clips: list[str], options: argparse.Namespace, refiner: Refiner) -> list[list[object]]:
    """Whole frames without and with the refiner."""
    import evaluate_reenact as er
    import picture_measures as pm

    from vasa_cli.decoder.render import FaceDecoder

    rows: list[list[object]] = []
    with pm.Detector() as detect:
        for name in clips:
            case = er.load_case(name, options.every, options.work)
            face, track = er.motion_of(case)
            kept = {"real": case.pictures}
            near = neighbours(case)
            marks = None
            for method, use in (("rendered", False), ("refined", refiner)):
                decoder = FaceDecoder(face, refine=use)
                kept[method] = np.concatenate(list(decoder.frames(track.select(case.chosen))))
                means = er.score(case, kept[method], detect).means()
                moving = np.concatenate(list(decoder.frames(track.select(near)))) if len(near) else np.zeros((0, 512, 512, 3))
                marks = [detect(p) for p in moving] if marks is None else marks
                rows.append([name, method, *(f"{means[k]:.4f}" for k in er.MEASURES), flicker(moving, marks)])
                print(*rows[-1], flush=True)
            np.savez(options.work / f"frames-{name}.npz", **kept)
    return rows


def neighbours(case: Case) -> np.ndarray:
    """Frames (2 N,): pairs of neighbours in which the mouth is open."""
    gap = np.linalg.norm(case.tracked[:, 14] - case.tracked[:, 13], axis=-1)
    gap /= np.linalg.norm(case.tracked[:, 33] - case.tracked[:, 263], axis=-1)
    first = np.flatnonzero((gap[:-1] > 0.06) & (gap[1:] > 0.06) & case.seen[:-1] & case.seen[1:])
    first = first[np.unique(np.linspace(0, len(first) - 1, 16).round().astype(int))] if len(first) else first
    return np.stack([first, first + 1], 1).reshape(-1)


def flicker(pictures: np.ndarray, marks: list[np.ndarray]) -> object:
    """Mean change inside the mouth between neighbours, levels, as in `reenact_steady`; the same landmarks for all methods."""
    from reenact_steady import mouth_change

    pairs = zip(pictures[::2], pictures[1::2], marks[::2], marks[1::2], strict=True)
    found = [mouth_change(*pair) for pair in pairs if all(np.isfinite(m).all() for m in pair[2:])]
    seen = [v for v in found if v is not None]
    return float(np.mean(seen)) if seen else "-"


if __name__ == "__main__":
    main()
