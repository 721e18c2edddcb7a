"""How well do speech features carry lips to strangers? Trains small regressors on GRID's speaker alone and judges them on others.

python scripts/probe_speech.py --data ../shared/data [--sets mel,speech,phonetic] [--out docs/results_speech.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path

SETS = ("mel", "speech", "phonetic", "lips")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1 and strangers")
    parser.add_argument("--sets", default="mel,speech", help=f"feature sets, of {', '.join(SETS)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--note", default="", help="words for the table, e.g. which weights")
    parser.add_argument("--cache", type=Path, help="file to keep the tracked lips in between runs")
    parser.add_argument("--out", type=Path, help="append the rows to this file")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    from vasa_cli.training.speech_compare import compare

    rows = compare(args.data, args.sets.split(","), args.seeds, args.epochs, args.note, args.cache)
    text = "\n".join(rows) + "\n"
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.open("a", encoding="utf-8") as f:
            f.write("\n" + text)


if __name__ == "__main__":
    main()
