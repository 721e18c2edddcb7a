"""Train the motion transformer on ../shared/data and write vasa_cli/weights/motion.safetensors.

    python scripts/train_motion.py --data ../shared/data --work ../scratch/motion --features speech --steps 3000

Resumes from its checkpoint in --work when started again with the same --name.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.model import MotionModel, Statistics, to_tensors
from vasa_cli.motion.silence import VoiceActivity
from vasa_cli.motion.transformer import MotionConfig, MotionTransformer, paper_size
from vasa_cli.motion.windows import ControlConditions, SamplerConfig, generate_windows
from vasa_cli.training import motion_features
from vasa_cli.training.lags import lag_of
from vasa_cli.training.motion_batches import BatchConfig
from vasa_cli.training.motion_clips import clip_paths
from vasa_cli.training.motion_data import Sequence, load_sequences, with_features
from vasa_cli.training.motion_eval import score, speak
from vasa_cli.training.motion_pool import POSE, Talk, anchored, build_pool, lip_functionals, lively_motion
from vasa_cli.training.motion_rig import rig_mouths
from vasa_cli.training.motion_taught import fit_mouths, synthetic, taught
from vasa_cli.training.motion_train import TrainConfig, train
from vasa_cli.training.motion_voice import fit_voice, loud_frames, with_silence
from vasa_cli.weights import registry

ROOT = Path(__file__).resolve().parent.parent
TOLD_GAIN = 1.25


def talks(
    clips: list[Sequence],
    extract: motion_features.Extractor,
    versions: int,
    weight: float,
    basis: DynamicsBasis,
    like: np.ndarray | None = None,
) -> list[Talk]:
    """Clips with sound that fits their lips -> training material: motion and `versions` feature tracks; `like`: mouths that
    theirs are brought to.
    """
    out = []
    for s in clips:
        lag = lag_of(s.source, s.name)
        if s.audio is None or lag is None:
            continue
        tracks = [with_features(s, lambda p, v=v: extract(p, v), lag).features for v in range(versions)]
        mouth = basis.blocks["mouth"]
        z = s.dynamics[:, mouth] if like is None else anchored(s.dynamics[:, mouth], like, basis)
        motion = np.concatenate([lively_motion(s, basis, POSE + mouth.start), z], 1)
        out.append(Talk(motion, [t for t in tracks if t is not None], weight, s.source == "grid_s1"))
    return out


def rig_talks(
    folder: Path, spoken: list[Talk], extract: motion_features.Extractor, versions: int, weight: float, basis: DynamicsBasis
) -> list[Talk]:
    """FACEGOOD: another voice, its lip opening and width only."""
    mouth = slice(POSE + basis.blocks["mouth"].start, POSE + basis.blocks["mouth"].stop)
    mouths = np.concatenate([t.motion[:, mouth] for t in spoken])
    lips = mouths @ lip_functionals(basis)[:, basis.blocks["mouth"]].T
    out = []
    for name, z in rig_mouths(folder, mouths, lips).items():
        sound = folder / f"{name}.flac"
        n, lag = len(z), lag_of("facegood", name) or 0
        heard = [extract(sound, v) for v in range(versions)]
        tracks = [f[np.clip(np.arange(n) - lag, 0, len(f) - 1)] for f in heard]
        out.append(Talk(np.concatenate([np.zeros((n, mouth.start), np.float32), z], 1), tracks, weight))
    return out


def taught_talks(args: argparse.Namespace, grid: list[Sequence], basis: DynamicsBasis) -> list[Talk]:
    """Voices of the speech corpus with the teacher's lips. The teacher's regression is timid on strange voices: TOLD_GAIN makes
    up for it.
    """
    mouth = basis.blocks["mouth"]
    names = [p.stem for p in clip_paths(args.data, "grid_s1")]
    slope = fit_mouths(args.taught, grid, names, mouth, args.taught_lips) * TOLD_GAIN
    cache = args.work / f"features_taught{args.feature_cache}"
    pairs = list(taught(args.taught, slope, cache, args.taught_pieces, args.taught_lips))
    for folder in args.phones:
        pairs += list(synthetic(folder, cache))
    still = POSE + mouth.start
    return [Talk(np.pad(z, ((0, 0), (still, 0))).astype(np.float32), versions, 0.7) for z, versions in pairs]


def listen(clips: list[Sequence], extract: motion_features.Extractor) -> list[Sequence]:
    """Clean features for evaluation, no lag taken out: the score finds one lag per source."""
    return [with_features(s, lambda p: extract(p, 0), 0) for s in clips if s.audio is not None]


def hear(
    clips: list[Sequence], extract: motion_features.Extractor, versions: int, stats: Statistics, weights: str, steps: int = 600
) -> VoiceActivity:
    """Fit the voice activity network on the sound alone: every version of it, and a third of the clips with silence around."""
    rng = np.random.default_rng(0)
    groups = []  # one a clip, so that no version of a test clip is trained on
    for s in clips:
        if s.audio is None:
            continue
        tracks = [extract(s.audio, v) for v in range(versions)]
        labels = [loud_frames(s.audio, len(f)) for f in tracks]
        if weights and rng.random() < 0.35:
            sound, label = with_silence(s.audio, len(tracks[0]), rng)
            tracks.append(motion_features.listen(sound, weights))
            labels.append(label)
        normal = [np.clip((f - stats.feature_mean) / stats.feature_std, -5, 5).astype(np.float32) for f in tracks]
        groups.append(list(zip(normal, labels, strict=True)))
    voice, accuracy = fit_voice([pair for i in rng.permutation(len(groups)) for pair in groups[i]], steps)
    print(f"voice activity: accuracy {accuracy:.3f} on clips left out", flush=True)
    return voice


def save(model: MotionModel, path: Path, weights: str) -> None:
    """Half-precision safetensors plus its checksum in the manifest."""
    from safetensors.numpy import save_file

    tensors, meta = to_tensors(model)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, str(path), metadata=meta)
    path.chmod(0o644)
    if path.resolve().parent == ROOT / "vasa_cli" / "weights":
        registry.record("motion", weights)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT.parent / "scratch" / "motion", help="caches and checkpoints")
    parser.add_argument("--name", default="run", help="folder of the checkpoint under --work")
    parser.add_argument("--features", choices=("mel", "speech"), default="speech")
    parser.add_argument("--feature-cache", default="", help="name of the feature cache; change it when the speech weights change")
    parser.add_argument("--versions", type=int, default=4, help="feature versions a clip: the clean one and augmented ones")
    parser.add_argument("--objective", choices=("flow", "x0"), default="x0")
    parser.add_argument("--size", choices=("small", "paper", "smoke"), default="small")
    parser.add_argument(
        "--start",
        type=Path,
        help="checkpoint (last.pt) of another run to start from, where shapes agree, without its audio input",
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--others-weight", type=float, default=1.0, help="weight of the mouths of talkers other than GRID's")
    parser.add_argument("--no-rig", action="store_true", help="leave FACEGOOD out")
    parser.add_argument(
        "--taught", type=Path, help="corpus folder of the speech encoder (pool/, teach_lips/): many voices with told lips"
    )
    parser.add_argument("--taught-lips", default="teach_lips", help="folder of the told lips in --taught")
    parser.add_argument(
        "--phones",
        type=Path,
        action="append",
        default=[],
        help="folder of speech with known phones (scripts/fit_phones.py); repeatable",
    )
    parser.add_argument("--taught-pieces", type=int, default=20, help="pieces a voice")
    parser.add_argument("--limit", type=int, default=0, help="GRID clips to train on; 0 = all (short trials)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="field of TrainConfig")
    parser.add_argument(
        "--sampler", default="{}", help="sampling settings to store with the weights, JSON fields of SamplerConfig"
    )
    parser.add_argument("--evaluate-every", type=int, default=500)
    parser.add_argument("--out", type=Path, help="write the weights here (default: nowhere)")
    return parser.parse_args()


def manner(model: MotionModel, clips: list[Sequence]) -> str:
    """Sizes of the head's and the eyes' own motion, and how well they follow a request, for the log."""
    features = np.concatenate([c.features for c in clips if c.features is not None])
    n = len(features)
    gaze = np.tile(np.radians([[12.0, -8.0]]), (n, 1)).astype(np.float32)
    asked = ControlConditions(gaze, np.full(n, 0.2, np.float32), np.zeros((n, 7), np.float32))
    with torch.no_grad():
        made = generate_windows(model, features, asked, seed=0, config=SamplerConfig())
    std = np.degrees(made[:, :3].std(0))
    speed = np.degrees(np.abs(np.diff(made[:, :3], axis=0))).sum(1).mean()
    seen = np.degrees(made[:, POSE : POSE + 2])
    return (
        f"head std {std[0]:.1f} {std[1]:.1f} {std[2]:.1f} deg, speed {speed:.2f}; "
        f"gaze mean {seen.mean(0).round(1)} of 12, -8, std {seen.std(0).round(1)}; "
        f"distance {made[:, 5].mean():.3f} of 0.2, std {made[:, 5].std():.3f}"
    )


def plan_of(args: argparse.Namespace) -> TrainConfig:
    """--set KEY=VALUE goes to whichever of the two configurations has the field."""
    pairs = dict(pair.split("=") for pair in args.set)
    data = BatchConfig(batch=args.batch)
    for config in (data, TrainConfig()):
        unknown = set(pairs) - {f for c in (data, TrainConfig()) for f in asdict(c)}
        if unknown:
            raise SystemExit(f"--set: unknown {', '.join(sorted(unknown))}")
        changed = {k: type(getattr(config, k))(float(v)) for k, v in pairs.items() if k in asdict(config)}
        if config is data:
            data = replace(data, **changed)
    return replace(TrainConfig(steps=args.steps, data=data), **changed)


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    basis = DynamicsBasis.load()
    weights = "smoke" if args.size == "smoke" else "default"
    raw = motion_features.mel_features if args.features == "mel" else partial(motion_features.speech_features, weights=weights)
    extract = motion_features.cached(raw, args.work / f"features_{args.features}{args.feature_cache}")
    grid = load_sequences(args.data, ("grid_s1",), part="train", cache=args.work)[: args.limit or None]
    lively = load_sequences(args.data, ("anitalker", "liveportrait"), part="train", cache=args.work)
    spoken = talks(grid, extract, args.versions, 1.0, basis)
    mouths = np.concatenate([s.dynamics[:, basis.blocks["mouth"]] for s in grid])
    others = talks(lively, extract, args.versions, args.others_weight, basis, mouths)
    told = taught_talks(args, grid, basis) if args.taught else []
    if not args.no_rig:
        told += 4 * rig_talks(args.data / "facegood", spoken, extract, args.versions, 0.5, basis)
    pool = build_pool(spoken, others, [s for s in lively if not s.name.startswith("s")], basis, told)
    config = MotionConfig(features=len(pool.stats.feature_mean), motion=6 + basis.size, objective=args.objective)
    if args.size == "paper":
        config = paper_size(config)
    if args.size == "smoke":
        config = replace(config, width=32, layers=1, heads=2, hidden=64, trunk=32, trunk_blocks=2)
    torch.manual_seed(0)
    network = MotionTransformer(config)
    plan = plan_of(args)
    print(json.dumps({"parameters": sum(p.numel() for p in network.parameters()), **asdict(config), **asdict(plan)}), flush=True)

    tests = {
        "grid": listen(load_sequences(args.data, ("grid_s1",), part="test", cache=args.work)[::4], extract),
        "strangers": listen(load_sequences(args.data, ("strangers",), part="test", cache=args.work), extract),
    }

    voice = hear(
        grid[::4] + lively,
        extract,
        args.versions,
        pool.stats,
        weights if args.features == "speech" else "",
        600 if weights == "default" else 60,
    )
    settings = {"features": args.features, "sampler": asdict(SamplerConfig(**json.loads(args.sampler)))}

    def evaluate(average: MotionTransformer, step: int) -> None:
        model = MotionModel(average, pool.stats, voice, settings)
        for name, clips in tests.items():
            for cfg in (SamplerConfig(), SamplerConfig(steps=4, audio_guidance=0.0)):
                made = speak(model, clips, basis, cfg, 0)
                real = [c.lips for c in clips]
                own, one = (score(made, real, groups) for groups in ([c.name for c in clips], [name] * len(clips)))
                print(
                    f"  {step} {name:9} steps {cfg.steps} guidance {cfg.audio_guidance}  lag a clip: {own.opening:.3f} "
                    f"{own.width:.3f}; one lag: {one.opening:.3f} {one.width:.3f}; zero {one.opening_zero:.3f}",
                    flush=True,
                )
        print(f"  {step} {manner(model, tests['strangers'])}", flush=True)
        if args.out:
            save(model, args.out, weights)

    start = None
    if args.start:
        start = {k: v for k, v in torch.load(args.start, weights_only=True)["average"].items() if not k.startswith("audio_in")}
    train(network, pool, plan, args.work / args.name, lambda line: print(line, flush=True), evaluate, args.evaluate_every, start)


if __name__ == "__main__":
    main()
