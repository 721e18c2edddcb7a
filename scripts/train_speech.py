"""Train the phonetic network on a corpus that teachers have labelled (see docs/model_card_speech.md for how ours was gathered).

    python scripts/train_speech.py --corpus DIR --out speech.pt --minutes 35        train, or go on with a stopped run
    python scripts/train_speech.py --corpus DIR --out speech.pt --export            write vasa_cli/weights/speech.safetensors

The format of the corpus folder is described in vasa_cli/training/speech_corpus.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with pool/, teach_*/ and teachers.npz")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint; training resumes when it exists")
    parser.add_argument("--minutes", type=float, default=35.0, help="wall time of the whole run, resumed parts included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fit-teachers", action="store_true", help="fit the teachers' projections (teachers.npz) first")
    parser.add_argument("--export", action="store_true", help="write the shipped weights from the checkpoint instead of training")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    if args.fit_teachers:
        from vasa_cli.training.speech_teachers import fit_teachers

        print("variance kept:", fit_teachers(args.corpus))
    if args.export:
        from vasa_cli.training.speech_export import export

        print(export(args.corpus, args.out))
        return
    from vasa_cli.training.speech_distill import DistillConfig, distill

    distill(args.corpus, args.out, DistillConfig(minutes=args.minutes, seed=args.seed))


if __name__ == "__main__":
    main()
