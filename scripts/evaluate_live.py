"""Is live motion as good as a recording's? Writes the section "live" of docs/results.md.

    python scripts/evaluate_live.py [--data ../shared/data] [--align FOLDER] [--quick]

The same held-out clips and the same measures as scripts/evaluate_motion.py. Rows: the recording heard as a whole; live, as
`vasa stream` makes it (windows that keep a few frames, speech behind them anticipated); live without anticipation; live that
waits longer; live motion for another recording's speech; the real clips. About 6 minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from evaluate_motion import ROOT, align_folder
from results import machine, write_section

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.windows import Online
from vasa_cli.speech.ahead import simulate_ahead
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.training.metrics import judges, report, rows
from vasa_cli.training.metrics.corpus import GRID, STRANGERS, Corpus, Recording

SPEECH = {k: report.SPEECH[k] for k in ("sync", "r", "r_lag", "w_lag", "closures", "silence")}
LIFE = {k: report.LIFE[k] for k in ("delta_p", "head", "jitter", "lip_jitter", "frozen", "blink_rate", "gaze")}
LIVE = Online()
WAYS: dict[str, tuple[Online | None, bool]] = {
    "heard as a whole": (None, False),
    "**live**": (LIVE, True),
    "live, nothing anticipated": (LIVE, False),
    "live, 80 ms later": (replace(LIVE, look=LIVE.look + 2), True),
}


def live_motion(
    generator: rows.Generator, features: np.ndarray, seed: int, online: Online | None, ahead: np.ndarray | None
) -> rows.Motion:
    curves = Controls.default().curves(len(features), 25)
    track = generate_motion(features, curves, seed=seed, model=generator.model, online=online, ahead=ahead)
    return rows.Motion(track.pose, track.dynamics)


def section(recordings: Sequence[Recording], encoder: SpeechEncoder, both: rows.Judges, seeds: Sequence[int]) -> rows.Scores:
    """All ways on one set of clips."""
    basis, generator = DynamicsBasis.load(), rows.Generator.load("default")
    anticipated = [simulate_ahead(encoder, r.samples, heard=1)[: len(r.features)] for r in recordings]
    out: rows.Scores = {}

    def add(name: str, motions: list[rows.Motion], real: bool = False) -> None:
        scores = rows.speech_scores(motions, recordings, both, basis, real)
        for key, value in (scores | rows.life_scores(motions, recordings, both, basis)).items():
            row = out.setdefault(name, {})
            row[key] = (*row.get(key, ()), value)

    add("real", rows.made("real", recordings, generator, basis), real=True)
    for seed in seeds:
        for name, (online, knows) in WAYS.items():
            made = [
                live_motion(generator, r.features, seed, online, a if knows else None).cut(r.frames)
                for r, a in zip(recordings, anticipated, strict=True)
            ]
            add(name, made)
            if online == LIVE and knows:
                add("live, another's speech", rows.shuffled(recordings, made, [], generator, seed))
        print(f"seed {seed} done", flush=True)
    return out


def page(found: dict[str, rows.Scores], seeds: Sequence[int]) -> str:
    frames, wait = LIVE.hop, LIVE.look * 40
    return "\n".join(
        [
            "## Live motion against the recording's",
            "",
            f"{machine()}. Written by `scripts/evaluate_live.py`; measures as in the tables of motion above; seeds "
            f"{', '.join(map(str, seeds))}.",
            f"Live: windows of {LIVE.plan} frames that keep {frames}, {LIVE.steps} steps, no frame waits for more than the "
            f"speech features' own 178 ms{f' and {wait} ms' if wait else ''} of sound behind it.",
            "",
            report.columns_table(found, SPEECH),
            "",
            report.columns_table(found, LIFE),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--align", type=Path)
    parser.add_argument("--cache", type=Path, default=None, help="default: $VASA_METRICS_CACHE or a temporary folder")
    parser.add_argument("--quick", action="store_true", help="one seed, every eighth GRID clip; prints, writes nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache, encoder = args.cache or report.cache_folder(), SpeechEncoder.from_weights("default")
    place = Corpus(args.data, cache, align_folder(args.data, cache, args.align), 8 if args.quick else 4)
    both = rows.Judges(judges.sync_judge(args.data, cache), judges.capp_judge(args.data, cache))
    seeds = (0,) if args.quick else rows.SEEDS
    found = {title: section(place.read(title, encoder), encoder, both, seeds) for title in (STRANGERS, GRID)}
    text = page(found, seeds)
    print(text)
    if not args.quick:
        write_section("live", text)


if __name__ == "__main__":
    main()
