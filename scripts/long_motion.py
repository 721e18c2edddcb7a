"""Ten minutes of mixed speech: statistics, drift, window joints, memory and speed; section "long" of docs/results.md.

    python scripts/long_motion.py [--data ../shared/data] [--minutes 10] [--weights default] [--dry]

The speech: recordings of many voices and languages in random order with pauses of 0.3 to 6 s. Bounds are the issue's. Memory is
the peak of a process of its own, for one minute and for all of them. About 2 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.generate import sampler_config
from vasa_cli.motion.windows import window_starts
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.training.metrics import eyes, head, joints, lips, report, rows
from vasa_cli.training.motion_data import load_sequences

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, table, write_section

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000


def mixed_speech(data: Path, minutes: float, seed: int = 0) -> np.ndarray:
    """(N,) 16 kHz: strangers, other languages, singing, held-out GRID, talk of the lively clips, Mandarin, with pauses."""
    from vasa_cli.speech.audio import load_speech

    rng = np.random.default_rng(seed)
    files = [p for f in ("strangers", "speech", "anitalker", "facegood") for p in sorted((data / f).glob("*.flac"))]
    files += sorted((data / "grid_s1").glob("*.flac"))[9::80] + [data / "liveportrait" / f"{n}.flac" for n in ("d6", "d11")]
    pieces: list[np.ndarray] = []
    total, need = 0, round(minutes * 60 * RATE)
    while total < need:
        for i in rng.permutation(len(files)):
            sound = load_speech(files[i]).samples
            start = int(rng.integers(0, max(len(sound) - 20 * RATE, 0) + 1))
            sound = sound[start : start + 20 * RATE]
            level = 0.06 / max(float(np.sqrt((sound**2).mean())), 1e-4)
            pause = float(np.clip(rng.exponential(0.8) + 0.3, 0.3, 6.0))
            pieces += [(sound * level).clip(-1, 1).astype(np.float32), np.zeros(round(pause * RATE), np.float32)]
            total += len(pieces[-1]) + len(pieces[-2])
            if total >= need:
                break
    return np.concatenate(pieces)[:need]


def measured_once(samples: Path, seconds: int, weights: str) -> dict[str, float]:
    """Peak memory (MB) and times of features and motion, in a process of its own that does nothing else."""
    command = [sys.executable, __file__, "--one", str(samples), str(seconds), "--weights", weights]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(out.strip().splitlines()[-1]))


def one(samples: Path, seconds: int, weights: str) -> None:
    """The process that `measured_once` starts."""
    sound = np.load(samples, mmap_mode="r")[: seconds * RATE]
    encoder, generator = SpeechEncoder.from_weights("default"), rows.Generator.load(weights)
    generator.track(encoder.features(np.asarray(sound[: 4 * RATE])), 0)  # everything is loaded and warm
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    t0 = time.perf_counter()
    features = encoder.features(np.asarray(sound))
    t1 = time.perf_counter()
    generator.track(features, 0)
    t2 = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"before": before, "peak": peak, "features": t1 - t0, "motion": t2 - t1}))


@dataclass(frozen=True)
class Line:
    """One statistic with its bound."""

    name: str
    value: str
    bound: str
    ok: bool | None

    def row(self) -> list[object]:
        return [self.name, self.value, self.bound, "–" if self.ok is None else "yes" if self.ok else "**no**"]


def real_jitter(data: Path, cache: Path, basis: DynamicsBasis) -> tuple[float, float]:
    """Median over real people who speak (strangers, d6, d11): head (deg a frame^2) and lips (% IOD a frame^2), as tracked and
    smoothed for training."""
    lively = load_sequences(data, ("liveportrait",), part="train", cache=cache)
    clips = [s for s in lively if s.name in ("d6", "d11")] + load_sequences(data, ("strangers",), part="test", cache=cache)
    both = [(head.jitter(np.degrees(s.pose[:, :3])), 100 * head.jitter(lips.lips_of(s.dynamics, basis))) for s in clips]
    return float(np.median([r[0] for r in both])), float(np.median([r[1] for r in both]))


def joint_lines(motion: rows.Motion, generator: rows.Generator, basis: DynamicsBasis) -> list[Line]:
    config = sampler_config(generator.model, None)
    starts = window_starts(len(motion.pose), generator.model.config.window, config.overlap)
    curves = {
        "head angles, ° a frame²": np.degrees(motion.pose[:, :3]),
        "lips, % IOD a frame²": 100 * lips.lips_of(motion.dynamics, basis),
        "mouth numbers": motion.dynamics[:, basis.blocks["mouth"]],
        "brows": motion.dynamics[:, basis.blocks["brows"]],
    }
    out = []
    for name, values in curves.items():
        t = joints.joint_test(values, starts, config.overlap)
        out.append(
            Line(
                f"acceleration at {len(starts) - 1} window joints, {name}",
                f"{t.at_joints:.4f} (elsewhere {t.elsewhere:.4f}; {t.above:.1%} of joint frames above)",
                f"≤ {t.limit:.4f} (95th percentile elsewhere)",
                t.passed,
            )
        )
    return out


def statistics(
    motion: rows.Motion, sound: head.Prosody, generator: rows.Generator, basis: DynamicsBasis, real: tuple[float, float]
) -> list[Line]:
    pose, z = motion.pose, motion.dynamics
    blinks = eyes.count_blinks(eyes.closure_of(z, basis), sound.speaking).statistics()
    std, delta = head.head_std(pose), head.delta_p(pose)
    nothing, held = head.still_seconds(pose, z, sound.speaking, basis)
    gaze = eyes.gaze_statistics(z, basis)
    curves = lips.lips_of(z, basis)
    jitter, trembling = head.jitter(np.degrees(pose[:, :3])), 100 * head.jitter(curves)
    quiet = lips.silence_of([curves[:, 0]], [sound.speaking])
    away, trend = head.drift(pose)
    aligned, chance = head.beat_alignment(pose, z, sound, basis)
    minute = np.array_split(np.abs(curves[:, 0]), 10)
    return [
        Line("blinks a minute", f"{blinks['rate']:.1f}", "8 to 30", 8 <= blinks["rate"] <= 30),
        Line("blink duration at half height, s", f"{blinks['duration']:.3f}", "", None),
        Line("double blinks, share", f"{blinks['doubles']:.1%}", "", None),
        Line("blinks at phrase ends, times chance", f"{blinks['bounds']:.2f}", "", None),
        Line("ΔP, °", f"{delta:.3f}", "0.15 to 0.5", 0.15 <= delta <= 0.5),
        Line(
            "head std: yaw, pitch, roll, together, °", ", ".join(f"{x:.2f}" for x in std), "2 to 6 (together)", 2 <= std[3] <= 6
        ),
        Line("head jitter, ° a frame²", f"{jitter:.3f}", f"≤ {real[0]:.3f} (real speakers)", jitter <= real[0]),
        Line("lip jitter, % IOD a frame²", f"{trembling:.3f}", f"≤ {real[1]:.3f} (real speakers)", trembling <= real[1]),
        Line("frozen seconds of speech: nothing moves", f"{nothing:.2%}", "0", nothing == 0),
        Line("seconds of speech with a still head", f"{held:.2%}", "", None),
        Line(
            "gaze std yaw, pitch, °; darts a minute; hold, s",
            f"{gaze.yaw:.2f}, {gaze.pitch:.2f}; {gaze.darts:.0f}; {gaze.hold:.2f}",
            "",
            None,
        ),
        Line("nods and brow raises on beat, and chance", f"{aligned:.3f}, {chance:.3f}", "above chance", aligned > chance),
        Line("head follows voice, standard deviations above chance", f"{head.follows_voice(pose, sound)[0]:.2f}", "", None),
        Line("lip opening in silence, share of speaking range", f"{quiet.opening:.1%}", "", None),
        Line("lip motion in silence, share of that in speech", f"{quiet.motion:.1%}", "", None),
        Line("drift: farthest minute's mean head angle from the first's, °", f"{away:.2f}", "", None),
        Line("drift: trend of the head over all minutes, °", f"{trend:.2f}", "", None),
        Line("mean lip opening of first and last minute, IOD", f"{minute[0].mean():.4f}, {minute[-1].mean():.4f}", "", None),
        *joint_lines(motion, generator, basis),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--dry", action="store_true", help="do not touch docs/")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(Path(args.one[0]), int(args.one[1]), args.weights)
    torch.set_num_threads(1)
    cache, basis = args.cache or report.cache_folder(), DynamicsBasis.load()
    sound = mixed_speech(args.data, args.minutes)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.npy"
        np.save(file, sound)
        short, long = (measured_once(file, s, args.weights) for s in (60, round(args.minutes * 60)))
    encoder, generator = SpeechEncoder.from_weights("default"), rows.Generator.load(args.weights)
    features = encoder.features(sound)
    motion = generator(features, 0)
    lines = statistics(motion, head.prosody(sound, len(features)), generator, basis, real_jitter(args.data, cache, basis))
    seconds = long["features"] + long["motion"]
    grown = long["peak"] - short["peak"]
    own = (motion.pose.nbytes + motion.dynamics.nbytes + features.nbytes + sound.nbytes) / 2**20
    lines += [
        Line(
            "generation (features and motion), × real time",
            f"{args.minutes * 60 / seconds:.1f}",
            "≥ 5",
            args.minutes * 60 >= 5 * seconds,
        ),
        Line(
            "– features alone; motion alone",
            f"{args.minutes * 60 / long['features']:.0f}; {args.minutes * 60 / long['motion']:.1f}",
            "",
            None,
        ),
        Line(
            f"peak memory, 1 and {args.minutes:g} minutes, MB",
            f"{short['peak']:.0f}, {long['peak']:.0f}",
            f"flat but for sound, features and track themselves ({own:.0f} MB, held in up to three copies)",
            grown <= 3 * own + 30,
        ),
    ]
    text = "\n".join(
        [
            "## Motion: ten minutes of mixed speech",
            "",
            f"{machine()}. {args.minutes:g} minutes: strangers, English, German, Mandarin, singing, held-out GRID,",
            "AniTalker's and LivePortrait's talk, pauses of 0.3 to 6 s; seed 0.",
            "",
            table(["statistic", "value", "bound", "kept"], [line.row() for line in lines]),
        ]
    )
    print(text)
    if not args.dry:
        write_section("long", text)


if __name__ == "__main__":
    main()
