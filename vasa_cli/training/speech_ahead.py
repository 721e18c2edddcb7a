"""Training of what tells the next rows of features ahead (`vasa_cli/speech/ahead.py`): plain rows and what came instead.

A reduced-rank ridge regression gives the linear units, then all units learn together. Whole speakers are held out to choose by;
the network's own validation speakers, GRID's held-out tenth and strangers only judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vasa_cli.speech.ahead import AHEAD, FORMAT, KNOWN, Mender, anticipate, moments
from vasa_cli.speech.audio import RATE
from vasa_cli.speech.features import PHONETIC, SpeechEncoder
from vasa_cli.training.speech_corpus import VALIDATION, _pieces_of
from vasa_cli.training.speech_data import is_heldout
from vasa_cli.training.speech_teachers import LIP_COORDINATES

GROUPS = {
    "phonetic": slice(0, PHONETIC - LIP_COORDINATES),
    "lips": slice(PHONETIC - LIP_COORDINATES, PHONETIC),
    "loudness": slice(PHONETIC, PHONETIC + 1),
    "pitch": slice(PHONETIC + 1, PHONETIC + 2),
    "voicing": slice(PHONETIC + 2, PHONETIC + 3),
}


@dataclass(frozen=True)
class AheadConfig:
    """Sizes and training. lips, prosody: weight of those columns' squared errors, the phonetic ones' being 1."""

    minutes: float = 180.0  # of speech, drawn from the corpus
    straight: int = 96
    bent: int = 192
    ridge: float = 100.0
    epochs: int = 10
    batch: int = 256
    rate: float = 1e-3
    dropout: float = 0.1
    lips: float = 4.0
    prosody: float = 4.0
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """inputs (N, I), what the plain rows lack (N, AHEAD F): half precision."""

    inputs: torch.Tensor
    lacking: torch.Tensor


def speakers(corpus: Path) -> tuple[list[Path], list[Path]]:
    """Pool files to learn from, and every tenth to choose by; speakers that judge are in neither."""
    files = [p for p in sorted((corpus / "pool").glob("*.npz")) if ".tmp" not in p.name and p.stat().st_size > 10_000]
    files = [p for p in files if not p.stem.startswith(VALIDATION)]
    held = [p for i, p in enumerate(files) if is_heldout(i) and p.stem != "grid"]
    return [p for p in files if p not in held], held


def sounds(files: Sequence[Path], minutes: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Pieces (N,) float32 of files drawn at random, some with a pause in them, some with hiss, at all levels."""
    heard = 0.0
    while heard < minutes * 60:
        path = files[int(rng.integers(len(files)))]
        pieces = {i: p for i, p in _pieces_of(path).items() if not (path.stem == "grid" and is_heldout(i))}
        for i in rng.choice(list(pieces), min(4, len(pieces)), replace=False):
            x = pieces[int(i)].astype(np.float32) / 32768.0
            if rng.random() < 0.5:
                at = int(rng.integers(0, len(x)))
                x = np.concatenate([x[:at], np.zeros(int(rng.uniform(0.2, 1.5) * RATE), np.float32), x[at:]])
            if rng.random() < 0.4:
                x = x + np.sqrt(np.mean(x**2)) * 10 ** (-rng.uniform(8, 35) / 20) * rng.standard_normal(len(x))
            heard += len(x) / RATE
            yield np.asarray(x * 10 ** (rng.uniform(-20, 0) / 20), dtype=np.float32)


def gather(encoder: SpeechEncoder, heard: Iterator[np.ndarray], rng: np.random.Generator) -> Examples:
    """All moments of the sounds, with 1 to 4 mel rows of the fourth frame known, mostly 3 (blocks of 40 ms)."""
    inputs, lacking = [], []
    for x in heard:
        for found, came in moments(encoder, x, int(rng.choice([1, 2, 3, 4], p=[0.15, 0.15, 0.55, 0.15]))):
            inputs.append(found.inputs().half())
            lacking.append((came - found.plain(encoder)).flatten(1).half())
    return Examples(torch.cat(inputs), torch.cat(lacking))


def importance(config: AheadConfig) -> torch.Tensor:
    """(AHEAD F,) weight of each number's squared error; what is known already counts nothing."""
    weight = torch.ones(AHEAD, GROUPS["voicing"].stop)
    weight[:, GROUPS["lips"]] = config.lips
    weight[:, PHONETIC:] = config.prosody
    weight[:KNOWN, PHONETIC:] = 0.0
    return weight.flatten()


class Net(nn.Module):
    """`Mender` while it learns."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, examples: Examples, config: AheadConfig) -> None:
        super().__init__()
        x = examples.inputs.float()
        self.straight = config.straight
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("scale", x.std(0).clamp(min=0.05))
        self.first = nn.Linear(x.shape[1], config.straight + config.bent)
        self.second = nn.Linear(config.straight + config.bent, examples.lacking.shape[1])
        self.drop = nn.Dropout(config.dropout)
        with torch.no_grad():
            self._begin_with_ridge((x - self.mean) / self.scale, examples.lacking.float(), config)

    def _begin_with_ridge(self, x: torch.Tensor, y: torch.Tensor, config: AheadConfig) -> None:
        """Linear units from the reduced-rank solution, standard deviation 1 each; the bent ones weigh nothing at first."""
        weight = importance(config).clamp(min=1e-3).sqrt()
        square = x.T @ x
        solved = torch.linalg.solve(square + config.ridge * torch.eye(len(square)), x.T @ ((y - y.mean(0)) * weight))  # (I, O)
        axes = torch.linalg.eigh(solved.T @ square @ solved)[1].flip(1)[:, : self.straight]  # (O, r)
        down = solved @ axes
        size = (x @ down).std(0).clamp(min=1e-6)
        self.second.weight.zero_()
        self.first.weight[: self.straight] = (down / size).T
        self.first.bias[: self.straight] = 0.0
        self.second.weight[:, : self.straight] = axes / weight[:, None] * size
        self.second.bias.copy_(y.mean(0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.first((inputs.float() - self.mean) / self.scale)
        return self.second(self.drop(torch.cat([x[:, : self.straight], nn.functional.gelu(x[:, self.straight :])], dim=1)))


def fit(train: Examples, held: Examples, config: AheadConfig) -> Net:
    """Learn; the state with the least error on the held-out speakers is kept."""
    torch.manual_seed(config.seed)
    net, weight = Net(train, config), importance(config)
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=1e-2)
    steps = len(train.inputs) // config.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.epochs * steps, pct_start=0.1)
    best = _error(net.eval(), held, weight)
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    print(f"ridge of rank {config.straight}: held-out error {best:.4f}", flush=True)
    for epoch in range(config.epochs):
        net.train()
        for chosen in torch.randperm(len(train.inputs))[: steps * config.batch].split(config.batch):
            error = net(train.inputs[chosen]) - train.lacking[chosen].float()
            loss = (error.square() * weight).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        now = _error(net.eval(), held, weight)
        print(f"epoch {epoch + 1}: held-out error {now:.4f}", flush=True)
        if now < best:
            best, kept = now, {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(kept)
    return net.eval()


@torch.no_grad()
def _error(net: Net, examples: Examples, weight: torch.Tensor) -> float:
    """Mean weighted squared error."""
    parts = zip(examples.inputs.split(4096), examples.lacking.split(4096), strict=True)
    total = sum(float(((net(x) - y.float()).square() * weight).mean(1).sum()) for x, y in parts)
    return total / len(examples.inputs)


def mender_of(net: Net) -> Mender:
    """As it will be shipped."""
    t = {k: v.half().float() for k, v in net.state_dict().items()}
    layers = (t["first.weight"], t["first.bias"], t["second.weight"], t["second.bias"])
    return Mender(t["mean"], t["scale"], *layers, net.straight)


def export(net: Net) -> str:
    """Write vasa_cli/weights/ahead.safetensors; returns a line about it."""
    from safetensors.torch import save_file

    from vasa_cli.weights import registry

    m = mender_of(net)
    names = ("mean", "scale", "first", "first_bias", "second", "second_bias")
    path = Path(registry.__file__).parent / registry.file_name("ahead")
    meta = {"format": FORMAT, "straight": str(m.straight), "speech": registry.sha256_of("speech")}
    save_file({n: getattr(m, n).half().contiguous() for n in names}, str(path), metadata=meta)
    path.chmod(0o644)
    registry.record("ahead")
    return f"ahead: {sum(getattr(m, n).numel() for n in names) / 1e6:.2f} M numbers, {path.stat().st_size / 1e6:.2f} MB"


WAYS = ("zeros", "held", "mended")


def judge(encoder: SpeechEncoder, heard: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Share of variance explained (R2) of the next rows by way, (AHEAD, groups): the network with zeros for what it has not
    heard, with the last row of mel held, and as shipped."""
    names = list(GROUPS)
    errors = {w: np.zeros((AHEAD, len(names))) for w in WAYS}
    rows = np.concatenate([encoder.features(x) for x in heard])
    mean = torch.from_numpy(rows.mean(0))
    spread = np.zeros((AHEAD, len(names)))
    for x in heard:
        silent = (found for found, _ in moments(encoder, x, 3, zeros=True))
        for (found, came), nothing in zip(moments(encoder, x, 3), silent, strict=True):
            told = {"zeros": nothing.plain(encoder), "held": found.plain(encoder), "mended": anticipate(encoder, found)}
            for k, columns in enumerate(GROUPS.values()):
                spread[:, k] += (came - mean)[..., columns].square().sum((0, 2)).numpy()
                for way, said in told.items():
                    errors[way][:, k] += (came - said)[..., columns].square().sum((0, 2)).numpy()
    return {w: 1 - e / spread for w, e in errors.items()}
