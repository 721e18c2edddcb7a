"""Train what tells the next rows of speech features ahead (weights `ahead`), and say what it is worth.

python scripts/train_ahead.py --corpus DIR --data ../shared/data [--minutes 180] [--judge-only]

Corpus: that of scripts/train_speech.py (only its pool is needed); to be run again after that script. One core: 5 minutes to
listen to an hour of speech, some 5 to learn, 2 to judge. Writes weights/ahead.safetensors and a section of
docs/results_speech.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import results


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with pool/")
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1 and strangers (they judge only)")
    parser.add_argument("--minutes", type=float, default=180.0, help="speech to learn from")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge-only", action="store_true", help="judge the weights that are there")
    return parser.parse_args()


def train(args: argparse.Namespace) -> str:
    """Gather, learn, export."""
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.training import speech_ahead as sa

    config = sa.AheadConfig(minutes=args.minutes, epochs=args.epochs, seed=args.seed)
    rng = np.random.default_rng(config.seed)
    encoder = SpeechEncoder.from_weights("default")
    learn, choose = sa.speakers(args.corpus)
    held = sa.gather(encoder, sa.sounds(choose, config.minutes / 15, rng), rng)
    examples = sa.gather(encoder, sa.sounds(learn, config.minutes, rng), rng)
    print(f"{len(examples.inputs)} moments of {len(learn)} files, {len(held.inputs)} of {len(choose)} others", flush=True)
    return sa.export(sa.fit(examples, held, config))


def judged(args: argparse.Namespace) -> dict[str, list[np.ndarray]]:
    """Sounds that neither this nor the network ever learned from, by name."""
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.training.speech_corpus import _pieces_of
    from vasa_cli.training.speech_data import is_heldout

    grid = sorted((args.data / "grid_s1").glob("*.flac"))
    files = [p for p in sorted((args.corpus / "pool").glob("*.npz")) if p.stem.startswith(("liveportrait", "anitalker"))]
    return {
        "strangers": [load_speech(p).samples for p in sorted((args.data / "strangers").glob("*.flac"))],
        "GRID's held-out tenth": [load_speech(p).samples for i, p in enumerate(grid) if is_heldout(i)],
        "liveportrait, anitalker": [s.astype("float32") / 32768.0 for p in files for s in _pieces_of(p).values()],
    }


def section(args: argparse.Namespace, cost: str) -> str:
    """The page's section."""
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.training import speech_ahead as sa

    encoder = SpeechEncoder.from_weights("default")
    head = ["heard by", "way", "frames ahead", *sa.GROUPS]
    rows: list[list[object]] = []
    for name, sounds in judged(args).items():
        for way, r2 in sa.judge(encoder, sounds).items():
            rows += [[name, way, m + 1, *(float(v) for v in r2[m])] for m in range(len(r2))]
    return f"""## Rows told ahead (`scripts/train_ahead.py`)

{results.machine()}. Share of variance explained (R2) of the rows 1 to 5 frames after the last final one, in blocks of 40 ms; row
t + m lacks 40 m ms of what it needs. zeros: the network with zeros for what it has not heard yet; held: with the last row of mel
repeated; mended: that, and the small net `ahead`. Loudness, pitch and voicing of the first three rows are known. {cost}

{results.table(head, rows)}"""


def cost() -> str:
    """CPU time of a push of 80 ms and of a look ahead."""
    import time

    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.speech.stream import FeatureStream

    stream = FeatureStream(SpeechEncoder.from_weights("default"))
    rng = np.random.default_rng(0)
    push, ahead = [], []
    for _ in range(300):
        block = (0.1 * rng.standard_normal(1280)).astype(np.float32)
        times = [time.process_time()]
        stream.push(block)
        times.append(time.process_time())
        stream.ahead()
        times.append(time.process_time())
        push.append(times[1] - times[0])
        ahead.append(times[2] - times[1])
    one, other = 1e3 * np.median(push), 1e3 * np.median(ahead)
    return (
        f"CPU time on one thread: {one:.1f} ms for 80 ms of sound with a look ahead in the same pass, {other:.1f} ms to mend it; "
        f"{os.getloadavg()[0]:.0f} processes shared the machine meanwhile."
    )


def main() -> None:
    args = arguments()
    import torch

    torch.set_num_threads(1)
    if not args.judge_only:
        print(train(args), flush=True)
    text = section(args, cost())
    print(text)
    results.write_section("ahead", text, results.RESULTS.with_name("results_speech.md"))


if __name__ == "__main__":
    main()
