"""Measure the shipped motion on held-out clips; writes docs/results_motion.md.

    python scripts/evaluate_motion.py [--data ../shared/data] [--align FOLDER] [--weights NAME_OR_FILE] [--quick] [--jobs 2]

Whole path: speech encoder, network, silence gate, behaviours, default controls. The two judges (own-sync, own-CAPP) are trained
first where the cache folder (VASA_METRICS_CACHE) does not hold them, on clips that are not judged. --align: a folder with
grid.json and heard.json (phones with their times, see scripts/fit_phones.py); without it GRID is aligned here and other
recordings have no closure rates. About 6 minutes on two idle cores; --quick: every eighth GRID clip, one seed, no rendering.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.training.metrics import corpus, judges, report, rows
from vasa_cli.training.metrics.corpus import GRID, LIVELY, STRANGERS, Corpus
from vasa_cli.training.motion_data import load_sequences

ROOT = Path(__file__).resolve().parent.parent
STAGE = "halfbody_woman_class.jpg"  # the portrait on which motions are rendered and tracked again
SHOWN = {GRID: 3, STRANGERS: 4}  # clips of each section that are


@dataclass(frozen=True)
class Settings:
    """What a worker needs to know."""

    corpus: Corpus
    weights: str
    seeds: tuple[int, ...]


def load_judges(s: Settings) -> rows.Judges:
    return rows.Judges(judges.sync_judge(s.corpus.data, s.corpus.cache), judges.capp_judge(s.corpus.data, s.corpus.cache))


def section(job: tuple[Settings, str]) -> rows.Scores:
    """All rows of one section (in a process of its own)."""
    settings, title = job
    torch.set_num_threads(1)
    encoder, generator = SpeechEncoder.from_weights("default"), rows.Generator.load(settings.weights)
    recordings = settings.corpus.read(title, encoder)
    others = [r for t in corpus.UNPAIRED if t != title for r in settings.corpus.read(t, encoder)] if len(recordings) < 4 else []
    began = time.perf_counter()
    out = rows.section(recordings, generator, load_judges(settings), DynamicsBasis.load(), others, settings.seeds)
    print(f"{title}: {len(recordings)} recordings, {time.perf_counter() - began:.0f} s", flush=True)
    return out


def rendered(job: tuple[Settings, str]) -> rows.Scores:
    """A few real clips shown by our decoder and tracked again; and ours; and the real mouth on a head held still."""
    from vasa_cli.training.metrics.retrack import Stage

    settings, title = job
    torch.set_num_threads(1)
    encoder, basis = SpeechEncoder.from_weights("default"), DynamicsBasis.load()
    recordings = settings.corpus.read(title, encoder)[: SHOWN[title]]
    both, generator = load_judges(settings), rows.Generator.load(settings.weights)
    stage = Stage.open(settings.corpus.data / "portraits" / STAGE, settings.corpus.cache)
    real = rows.made("real", recordings, generator, basis)
    plans = {"some": real, "ours_rerendered": rows.made("ours", recordings, generator, basis)}
    plans |= {"rerendered": real, "still": [rows.Motion(np.zeros_like(m.pose), m.dynamics) for m in real]}
    out: rows.Scores = {}
    for name in ("some", "rerendered", "still", "ours_rerendered"):
        motions = plans[name]
        if name != "some":
            again = [stage.again(r.name, m.pose, m.dynamics) for r, m in zip(recordings, motions, strict=True)]
            motions = [rows.Motion(s.pose[: r.frames], s.dynamics[: r.frames]) for s, r in zip(again, recordings, strict=True)]
        scores = rows.speech_scores(motions, recordings, both, basis, real=name == "some")
        scores |= rows.life_scores(motions, recordings, both, basis)
        out[name] = {k: (v,) for k, v in scores.items()}
    print(f"{title}: rendered and tracked again", flush=True)
    return out


def trust(settings: Settings) -> str:
    """Tables of how well the judges judge."""
    data, cache, basis = settings.corpus.data, settings.corpus.cache, DynamicsBasis.load()
    both = load_judges(settings)

    def mouths(source: str, lagged: bool = False) -> list[judges.Heard]:
        clips = load_sequences(data, (source,), part="test", cache=cache)
        return judges.read_heard(clips[:: max(1, len(clips) // 30)], lambda s: judges.mouth_of(s.dynamics, basis), lagged)

    lines = ["| own-sync on real clips | true sound | another's | true wins | offset found ±1 | after a delay of 5 frames |"]
    lines += ["|---|---|---|---|---|---|"]
    for title, clips in ((GRID, mouths("grid_s1")), (STRANGERS, mouths("strangers", True))):
        c = judges.check_sync(both.sync, clips)
        lines.append(
            f"| {title} ({c.clips}) | {c.true:.3f} | {c.wrong:.3f} | {c.wins:.1%} | {c.found:.0%} | {c.found_shifted:.0%} |"
        )
    train, left = judges.capp_clips(data, cache)
    grid = load_sequences(data, ("grid_s1",), part="test", cache=cache)[::3]
    sets = {f"left out ({len(left)})": left, f"trained on ({len(train)})": train}
    sets["GRID, held out (a still head)"] = judges.read_heard(grid, lambda s: judges.head_motion(s.pose))
    head = ["own-CAPP on real clips", "another's sound", "true wins"]
    head += [f"shift {'±' if k else ''}{k}" for k in (0, 1, 2, 3, 4)] + [f"motion ×{k:g}" for k in (0.2, 0.5, 1.0, 1.5, 3.0)]
    lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for title, clips in sets.items():
        _, other, wins = judges.wins(both.capp, clips)
        numbers = [*judges.shift_test(both.capp, clips).values(), *judges.size_test(both.capp, clips).values()]
        lines.append(f"| {title} | {other:.3f} | {wins:.0%} | " + " | ".join(f"{x:.3f}" for x in numbers) + " |")
    paper = (0.608, 0.462, 0.206, 0.069, 0.082, 0.368, 0.584, 0.608, 0.587, 0.505)
    lines.append("| VASA-1's CAPP (its own data) | – | – | " + " | ".join(f"{x:.3f}" for x in paper) + " |")
    return "\n".join(lines)


INTRO = """# Motion: results

Written by `scripts/evaluate_motion.py`; do not edit.

Rows: **real** is the tracked clip; **ours** the whole product path from the sound alone, {seeds} (mean, lowest to highest);
**shuffled speech** is ours made from another recording and judged against this one; the **loudness-driven jaw** opens with the
last 30 dB of loudness. Columns: own-sync confidence (median over ±15 frames of the mean distance of mouth and sound, less the
smallest; larger is better), that smallest distance, and the offset at which it lies (frames, > 0: mouth late); Pearson's r
of lip opening and mouth width with the tracked ones, frame-locked and at one lag a source (within 3 frames); closures: share of
/p b m/ at which the lips shut (a static face always does; phones of GRID are aligned to its known words, those of the others
recognised, so part of their misses are the recogniser's); silence: mean lip opening in silences of 320 ms and more over
the speaking range, and how much the lips move in them compared with speech.

own-sync is a small SyncNet-like net in motion space and own-CAPP a contrastive net of head velocities and sound over 3 seconds;
their numbers are comparable with no other paper's, and only within a section. How far they can be trusted is in the last tables.
"""

LIFE_NOTE = """## How alive is it?

own-CAPP: mean cosine of head and sound over 3 seconds, less that with sound 8 to 15 frames off (0 is chance; more below). Head
follows voice: largest correlation of head speed and loudness within 0.4 s, less its mean over shifted sound, in standard
deviations of that. On beat: how near nods and brow raises lie to accents of loudness and pitch (Gaussian, 0.1 s), less chance.
ΔP: mean angle between neighbouring frames' head rotations; head std: root of the summed
variances; jitter: mean second difference of the angles (° a frame²), lip jitter: of opening and width (% IOD); frozen: seconds
of speech in which no landmark moves by 1 % of the eyes' distance, head still: in which the head does not. Blinks at phrase
ends: their share near starts and ends of phrases over the share of such time (1 is chance). Real clips carry their tracker's
trembling, smoothed as in training.
"""

TRUST_NOTE = """## How far the judges can be trusted

own-sync was trained on {sync} clips of GRID's one speaker that the generator never saw, with other voices made by
augmentation, and hears log-mel only. own-CAPP was trained on clips with moving heads, most of them another model's output,
which the generator was trained on too; the strangers, d11, Einstein and Mona Lisa were left out. "Real mouth, head held"
above shows what the tracker's own jaw-to-head leakage contributes to own-CAPP. True wins: how often a clip's own sound
scores higher than another's (50 % is chance).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--align", type=Path)
    parser.add_argument("--cache", type=Path, default=None, help="default: $VASA_METRICS_CACHE or a temporary folder")
    parser.add_argument("--weights", default="default", help="default, smoke, or a .safetensors file")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results_motion.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache = args.cache or report.cache_folder()
    place = Corpus(args.data, cache, align_folder(args.data, cache, args.align), 8 if args.quick else 2)
    settings = Settings(place, args.weights, (0,) if args.quick else rows.SEEDS)
    load_judges(settings)  # trained once, before the processes start
    titles = [LIVELY, *(t for t in place.titles if t != LIVELY)]  # the longest first
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        shown = {} if args.quick else {t: pool.submit(rendered, (settings, t)) for t in SHOWN}
        jobs = {t: pool.submit(section, (settings, t)) for t in titles}
        found = {t: jobs[t].result() for t in place.titles}
        for title, job in shown.items():
            found[title] |= job.result()
        judged = trust(settings)
    args.out.write_text(page(found, judged, settings), encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


def align_folder(data: Path, cache: Path, given: Path | None) -> Path:
    """The folder with alignments; GRID's are made in the cache folder where none is given."""
    if given:
        return given
    from vasa_cli.training.phones import align_grid

    align_grid(data / "grid_s1", cache / "grid.json")
    return cache


def page(found: dict[str, rows.Scores], judged: str, settings: Settings) -> str:
    seeds = f"seeds {', '.join(map(str, settings.seeds))}"
    trained = len(list((settings.corpus.data / "grid_s1").glob("*.npz"))) // 5
    parts = [
        INTRO.format(seeds=seeds),
        "## Do the lips follow the speech?\n",
        report.columns_table(found, report.SPEECH),
        "\nown-sync: the gap between true and other sound, ours against real clips':\n",
        report.gap_table(found, STRANGERS),
        "",
        LIFE_NOTE,
        report.columns_table(found, report.LIFE),
        "",
        TRUST_NOTE.format(sync=trained),
        judged,
    ]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    main()
