"""The built-in speech encoder against the optional recogniser (`--speech phonetics`); section "speech" of docs/results.md.

    python scripts/compare_speech.py [--data ../shared/data]

The whole product path on the strangers' seven recordings, three seeds, one lag for each of their origins. Half a minute; needs
the packages of the extra `phonetics`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, table, write_section

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (0, 1, 2)
METHOD = (
    "The whole product path on the strangers' seven recordings, three seeds (mean, lowest to highest), one lag for each origin."
)


class Encoder(Protocol):
    def features(self, samples: np.ndarray) -> np.ndarray: ...


def row(name: str, encoder: Encoder, data: Path) -> list[object]:
    """Opening and width r (mean, lowest to highest seed), and how many times real time the encoder runs."""
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.motion.controls import Controls
    from vasa_cli.motion.generate import generate_motion
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.training.lags import STRANGER_GROUPS
    from vasa_cli.training.motion_data import load_sequences
    from vasa_cli.training.motion_eval import curves_of, score

    basis = DynamicsBasis.load()
    clips = [c for c in load_sequences(data, ("strangers",), part="test") if c.audio]
    sounds = [load_speech(c.audio).samples for c in clips if c.audio]
    encoder.features(sounds[0])
    began = time.perf_counter()
    heard = [encoder.features(s) for s in sounds]
    speed = sum(map(len, sounds)) / 16000 / (time.perf_counter() - began)
    heard = [f[np.minimum(np.arange(len(c.pose)), len(f) - 1)] for f, c in zip(heard, clips, strict=True)]
    scores = []
    for seed in SEEDS:
        tracks = [generate_motion(f, Controls.default().curves(len(f), 25), seed=seed) for f in heard]
        made = [curves_of(t.dynamics, basis) for t in tracks]
        scores.append(score(made, [c.lips for c in clips], [STRANGER_GROUPS[c.name] for c in clips]))
    cells = []
    for values in ([s.opening for s in scores], [s.width for s in scores]):
        cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return [name, *cells, f"{speed:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    args = parser.parse_args()
    import torch

    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.speech.phonetic_teacher import PhoneticEncoder

    torch.set_num_threads(1)
    encoders = {"built in": SpeechEncoder.from_weights(), "`--speech phonetics`": PhoneticEncoder.from_weights()}
    rows = [row(name, encoder, args.data) for name, encoder in encoders.items()]
    text = f"## Speech: built in, and the optional recogniser\n\n{machine()}. {METHOD}\n\n"
    head = ["speech", "lip opening r", "mouth width r", "encoder, × real time (1 thread)"]
    write_section("speech", text + table(head, rows))
    print(table(head, rows))


if __name__ == "__main__":
    main()
