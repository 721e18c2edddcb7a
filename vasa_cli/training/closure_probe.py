"""Fit the probe that hears bilabials in the speech features (`motion.closures`), on speech whose phones are known.

    python -m vasa_cli.training.closure_probe ALIGN [--data ../shared/data]

ALIGN: the folder of `scripts/fit_phones.py` (grid.json, synthetic/, natural/). Two convolutions (as the voice activity
network), half a minute on one core. Prints precision and recall on utterances left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vasa_cli.motion.silence import VoiceActivity
from vasa_cli.training.phones import Phone, bilabials, load_phones

HIDDEN, WIDTH, CROP = 48, 5, 80
Row = tuple[np.ndarray, np.ndarray, float]  # features (T, F) normalised, labels (T,), weight
GRID_SHARE, NATURAL_SHARE = 0.4, 2.0  # weight of a frame; made voices 1


def bilabial_frames(phones: Iterable[Phone], frames: int) -> np.ndarray:
    """(T,) float32: 1 where the middle of the frame lies in a /p b m/ (10 ms either way)."""
    middle = (np.arange(frames) + 0.5) / 25
    out = np.zeros(frames, np.float32)
    for p in bilabials(phones):
        out[(middle >= p.start - 0.01) & (middle <= p.stop + 0.01)] = 1
    return out


def fit_closure(rows: list[Row], steps: int = 1500, seed: int = 0, log: bool = True) -> VoiceActivity:
    """Rows -> probe; every twelfth row is left out and judged."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    held, learned = [rows[i] for i in order[: len(rows) // 12]], [rows[i] for i in order[len(rows) // 12 :]]
    share = np.array([len(y) * w for _, y, w in learned])
    size = rows[0][0].shape[1]
    half = WIDTH // 2
    net = nn.Sequential(
        nn.Conv1d(size, HIDDEN, WIDTH, padding=half), nn.ReLU(), nn.Dropout(0.2), nn.Conv1d(HIDDEN, 1, WIDTH, padding=half)
    )
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.1)
    for i in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - i / steps)
        x, y = _crops([learned[k] for k in rng.choice(len(learned), 32, p=share / share.sum())], rng)
        loss = nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y, pos_weight=torch.tensor(3.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    tensors = [p.detach().numpy() for p in net.parameters()]
    probe = VoiceActivity(tensors[0], tensors[1], tensors[2][0], tensors[3])
    if log:
        for limit in (-1.0, 0.0):
            print(f"logit above {limit:g}: precision %.3f, recall %.3f" % judge(probe, held, limit), flush=True)
    return probe


def judge(probe: VoiceActivity, rows: list[Row], limit: float) -> tuple[float, float]:
    """Precision and recall over the rows' frames."""
    said = np.concatenate([probe(x) > limit for x, _, _ in rows])
    true = np.concatenate([y > 0 for _, y, _ in rows])
    both = (said & true).sum()
    return float(both / max(said.sum(), 1)), float(both / max(true.sum(), 1))


def _crops(rows: list[Row], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random stretches (B, F, CROP) with noise, and labels (B, CROP)."""
    xs, ys = [], []
    for x, y, _ in rows:
        start = int(rng.integers(0, max(len(y) - CROP, 0) + 1))
        x, y = x[start : start + CROP], y[start : start + CROP]
        x = np.pad(x, ((0, CROP - len(x)), (0, 0)), mode="edge")
        xs.append(x + 0.4 * rng.standard_normal(x.shape))
        ys.append(np.pad(y, (0, CROP - len(y))))
    return torch.from_numpy(np.stack(xs).astype(np.float32)).transpose(1, 2), torch.from_numpy(np.stack(ys))


def speech(align: Path, data: Path) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Features (T, F), labels and weight of GRID's training clips and all speech with known phones; each clean and in another
    voice.
    """
    import soundfile

    from vasa_cli.training.motion_clips import clip_paths
    from vasa_cli.training.motion_features import listen, other_voice
    from vasa_cli.training.phones_talks import synthetic_talks

    known = load_phones(align / "grid.json")
    told = [(p.stem, p.with_suffix(".flac")) for p in clip_paths(data, "grid_s1", part="train")]
    said = ((soundfile.read(str(f), dtype="float32")[0], known[name], GRID_SHARE) for name, f in told if name in known)
    folders = [f for f in sorted(align.iterdir()) if f.is_dir() and f.name.startswith(("synthetic", "natural"))]
    weights = {f: NATURAL_SHARE if f.name.startswith("natural") else 1.0 for f in folders}
    made = ((x, phones, weight) for f, weight in weights.items() for x, _, phones in synthetic_talks(f))
    for version, (samples, phones, weight) in enumerate((*said, *made), start=1):
        clean = listen(samples)
        label = bilabial_frames(phones, len(clean))
        yield clean, label, weight
        yield other_voice(clean, samples, version), label, weight


def main() -> None:
    from safetensors.numpy import save_file

    from vasa_cli.weights import registry

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("align", type=Path)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    args = parser.parse_args()
    torch.set_num_threads(1)
    raw = list(speech(args.align, args.data))
    everything = np.concatenate([x for x, _, _ in raw])
    mean, std = everything.mean(0), everything.std(0) + 1e-4
    probe = fit_closure([(np.clip((x - mean) / std, -5, 5), y, w) for x, y, w in raw])
    path = Path(registry.__file__).parent / registry.file_name("closure")
    tensors = {k: np.asarray(v, np.float32) for k, v in (*vars(probe).items(), ("mean", mean), ("std", std))}
    save_file(tensors, str(path), metadata={"format": "vasa-closure/1", "frames": str(len(everything))})
    path.chmod(0o644)
    print(registry.record("closure"))


if __name__ == "__main__":
    main()
