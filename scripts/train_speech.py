"""Make the phonetic network: gather a corpus, let the teachers hear it, distil, export (our data: docs/model_card_speech.md).

python scripts/train_speech.py pool   --corpus DIR --recordings FOLDER   one subfolder a speaker; GRID's clips in FOLDER/grid
python scripts/train_speech.py teach  --corpus DIR --data ../shared/data  whisper, hama, their projections, lips
python scripts/train_speech.py train  --corpus DIR --out speech.pt        goes on where a stopped run left off
python scripts/train_speech.py export --corpus DIR --out speech.pt        writes weights/speech and weights/phonetics
python scripts/probe_speech.py --data ../shared/data --corpus DIR         what the features are worth

Folder names: anitalker_NAME and liveportrait_NAME (clips whose lips teach the lip teacher; the network never hears them),
judged_NAME (for tests only). Times on one core for 16 h: whisper 15 min (70 times real time), hama 10 times real time, GRID at
other speeds 1 min, three lip teachers 1 min each, their opinion on everything 2.5 min, distillation 45-60 min, export and probe
5 min.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("pool", "teach", "train", "export"))
    parser.add_argument(
        "--corpus", type=Path, required=True, help="folder of the corpus (format: vasa_cli/training/speech_corpus.py)"
    )
    parser.add_argument("--recordings", type=Path, help="pool: folder of folders of recordings")
    parser.add_argument("--data", type=Path, help="teach: folder with grid_s1 (tracked clips)")
    parser.add_argument("--hama-every", type=int, default=4, help="teach: hama is slow; it hears every n-th piece")
    parser.add_argument("--out", type=Path, default=Path("speech.pt"), help="train, export: the checkpoint")
    parser.add_argument("--minutes", type=float, default=50.0, help="train: wall time of the whole run, resumed parts included")
    parser.add_argument("--start", type=Path, help="train: begin with this checkpoint's weights (it may be a smaller network)")
    parser.add_argument(
        "--anew", action="store_true", help="export: fresh axes and scales (the motion model must be trained again)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    import torch

    torch.set_num_threads(args.threads)
    if args.stage == "pool":
        from vasa_cli.training.speech_listen import build_pool

        print("new:", ", ".join(build_pool(args.recordings, args.corpus, args.seed)) or "nothing")
    elif args.stage == "teach":
        from vasa_cli.training.speech_listen import teach, whisper_teacher
        from vasa_cli.training.speech_mouths import change_voices, teach_lips
        from vasa_cli.training.speech_teachers import fit_teachers

        teach(args.corpus, "whisper")
        teach(args.corpus, "hama", args.hama_every)
        print("variance kept:", fit_teachers(args.corpus))
        change_voices(args.corpus, whisper_teacher(), args.seed)
        teach_lips(args.corpus, args.data)
    elif args.stage == "train":
        from vasa_cli.training.speech_distill import DistillConfig, distill

        distill(args.corpus, args.out, DistillConfig(minutes=args.minutes, seed=args.seed), start=args.start)
    else:
        from vasa_cli.training.speech_export import export
        from vasa_cli.training.speech_phonetics import export_phonetics

        print(export(args.corpus, args.out, args.anew))
        if (args.corpus / "lip_teachers.pt").is_file():
            print(export_phonetics(args.corpus))


if __name__ == "__main__":
    main()
