"""VASA-1's ablation with our models: guidance of audio and gaze, steps, objective; section "ablation" of docs/results.md.

    python scripts/ablate_motion.py X0.safetensors FLOW.safetensors [--data ../shared/data] [--quick] [--jobs 2] [--dry]

4 strengths of audio x 3 of gaze x 3 numbers of steps x the weight files given (their objective is stored in them), on the
strangers' seven recordings, each with its own request for gaze (within 20 degrees) and distance. Sync, own-CAPP, mean head
angle between frames, gaze and distance errors are measured on the latents: what the picture adds is in
`scripts/check_controls.py`. About 4 minutes on two idle cores; --quick: the ends of every range, three recordings.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import Controls, Curve
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.training.metrics import eyes, head, judges, report, rows, trends
from vasa_cli.training.metrics.corpus import STRANGERS, Corpus
from vasa_cli.training.metrics.trends import AUDIO, GAZE, STEPS, Cell

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, write_section

ROOT = Path(__file__).resolve().parent.parent
# yaw, pitch in degrees (right, up) and distance: one request a recording
REQUESTS = ((15, 0, 1.0), (-15, 5, 0.9), (0, 12, 1.15), (8, -12, 1.0), (-20, 0, 1.3), (12, 10, 0.85), (-6, -8, 1.0))


@dataclass(frozen=True)
class Job:
    """One weight file and audio strength: all cells of the other axes."""

    weights: str
    corpus: Corpus
    audio: float
    gaze: tuple[float, ...]
    steps: tuple[int, ...]
    clips: int
    seeds: tuple[int, ...]


def request(i: int) -> Controls:
    yaw, pitch, distance = REQUESTS[i % len(REQUESTS)]
    return Controls.default().with_curves(gaze=Curve.constant(yaw, pitch), distance=Curve.constant(distance))


def errors(track: rows.MotionTrack, i: int, basis: DynamicsBasis) -> tuple[float, float]:
    """E_g: mean angle of the eyes (in the head) to the request over frames with open eyes, degrees; E_d: of the mean distance."""
    yaw, pitch, distance = REQUESTS[i % len(REQUESTS)]
    opened = eyes.closure_of(track.dynamics, basis) < 0.3
    angle = eyes.gaze_errors(np.degrees(track.dynamics[opened][:, basis.blocks["gaze"]]), np.array([yaw, pitch], float))
    return float(angle.mean()), abs(float(np.exp(track.pose[:, 5]).mean()) - distance)


def run(job: Job) -> list[Cell]:
    """The cells of one job (in a process of its own)."""
    torch.set_num_threads(1)
    encoder, basis, generator = SpeechEncoder.from_weights("default"), DynamicsBasis.load(), rows.Generator.load(job.weights)
    both = rows.Judges(judges.sync_judge(job.corpus.data, job.corpus.cache), judges.capp_judge(job.corpus.data, job.corpus.cache))
    clips = job.corpus.read(STRANGERS, encoder)[: job.clips]
    heard = [(both.sync.hear(r.sound), both.capp.hear(r.sound)) for r in clips]
    out = []
    for gaze, steps in itertools.product(job.gaze, job.steps):
        values = []
        for (i, r), seed in itertools.product(enumerate(clips), job.seeds):
            guidance = {"audio": job.audio, "gaze": gaze}
            track = generator.track(r.features, seed, request(i), guidance=guidance, steps=steps)
            sync = both.sync.compare(both.sync.see(judges.mouth_of(track.dynamics, basis)), heard[i][0])
            capp = judges.capp_of(both.capp, both.capp.see(judges.head_motion(track.pose)), heard[i][1])
            values.append((sync.confidence, sync.distance, capp, head.delta_p(track.pose), *errors(track, i, basis)))
        out.append(Cell(generator.model.config.objective, job.audio, gaze, steps, *map(float, np.mean(values, 0))))
    return out


def table(cells: list[Cell]) -> str:
    names = ("objective", "audio", "gaze", "steps", "sync", "distance", "capp", "delta_p", "e_g", "e_d")
    lines = ["| objective | λ audio | λ gaze | steps | own-sync | distance | own-CAPP | ΔP ° | E_g ° | E_d |", "|---" * 10 + "|"]
    for c in cells:
        values = asdict(c)
        lines.append("| " + " | ".join(f"{v:.3f}" if isinstance(v := values[n], float) and i > 3 else f"{v:g}" if i else str(v)
                                       for i, n in enumerate(names)) + " |")  # fmt: skip
    return "\n".join(lines)


def section(cells: list[Cell], clips: int, seeds: int) -> str:
    """Markdown with the verdicts, which are computed from the cells."""
    names = {"x0": "x0-prediction, DDIM (the paper's)", "flow": "flow matching"}
    return "\n".join([
        "## Motion: the paper's ablation", "",
        f"{machine()}. Strangers' recordings ({clips}), {seeds} seed(s) a cell, each with its own gaze and distance request;",
        "E_g: the mean angle over frames between the eyes' direction and the request, darts and microsaccades included; E_d: the",
        "error of the mean distance; all on latents. A trend counts as seen when the mean change between the ends of its axis",
        "has the paper's sign, exceeds 1 % and twice its standard error over the grid's lines, and two lines of three agree.", "",
        trends.paragraph(cells, lambda o: names.get(o, o)), "",
        table(cells),
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="weight files (or names) of different objectives")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="do not touch docs/")
    args = parser.parse_args()
    torch.set_num_threads(1)
    place = Corpus(args.data, args.cache or report.cache_folder())
    judges.sync_judge(place.data, place.cache)  # trained once, before the processes start
    judges.capp_judge(place.data, place.cache)
    ends = (lambda x: (x[0], x[-1])) if args.quick else (lambda x: x)
    clips, seeds = (3, (0,)) if args.quick else (7, (0,))
    jobs = [Job(w, place, a, ends(GAZE), ends(STEPS), clips, seeds) for w in args.weights for a in ends(AUDIO)]
    began, cells = time.perf_counter(), []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for done in pool.map(run, jobs):
            cells += done
            print(table(done).split("\n", 2)[2], flush=True)
    text = section(cells, clips, len(seeds))
    print(text, f"\n{time.perf_counter() - began:.0f} s", flush=True)
    if not args.dry:
        write_section("ablation", text)


if __name__ == "__main__":
    main()
