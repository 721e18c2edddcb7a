"""How well do speech features carry lips to strangers? Small regressors learn lips from them and are judged on people never seen.

python scripts/probe_speech.py --data ../shared/data [--sets mel,speech,phonetic,lips] [--corpus DIR] [--out FILE]

With GRID's one mouth alone to learn from ("one"), and with a dozen clips of other people as well ("many"). Before that the lip
coordinates are read off without any regressor, also under hard conditions (--sets none: nothing but this). --corpus: agreement
with the lip teacher on the corpus's judged_* recordings.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

SETS = ("mel", "speech", "phonetic", "lips")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1, strangers, anitalker and liveportrait")
    parser.add_argument("--sets", default="speech", help=f"feature sets, of {', '.join(SETS)}")
    parser.add_argument("--mouths", default="one,many", help="whose lips to learn from: one, many")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--note", default="", help="words for the table, e.g. which weights")
    parser.add_argument("--cache", type=Path, help="file to keep the tracked lips in between runs")
    parser.add_argument("--corpus", type=Path, help="corpus with judged_* recordings")
    parser.add_argument("--out", type=Path, help="append the rows to this file")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    import torch

    torch.set_num_threads(1)
    from vasa_cli.training import speech_compare

    here = speech_compare.stage(args.data, args.cache)
    rows = [f"{datetime.date.today()}: {args.note}", "", speech_compare.HEAD, *speech_compare.read_off(here)]
    print("\n".join(rows), flush=True)
    for kind in [k for k in args.sets.split(",") if k in SETS]:
        for many in [m == "many" for m in args.mouths.split(",")]:
            for seed in range(args.seeds):
                rows += speech_compare.compare(here, kind, many, seed, args.epochs)
                print("\n".join(rows[-2:]), flush=True)
    if args.corpus is not None:
        told = speech_compare.against_teacher(args.corpus, here.encoder)
        rows += ["", "| recording | first lip coordinate, r with the teacher's | second |", "|---|---|---|", *told]
    text = "\n".join(rows) + "\n"
    print(text)
    if args.out is not None:
        with args.out.open("a", encoding="utf-8") as f:
            f.write("\n" + text)


if __name__ == "__main__":
    main()
