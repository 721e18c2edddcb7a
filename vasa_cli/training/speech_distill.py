"""Training of the phonetic network: it hears spoilt speech and must say what the teachers said about the clean one."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from vasa_cli.speech.mel import follow_level, normalise
from vasa_cli.speech.student import SpeechStudent, StudentConfig
from vasa_cli.training.speech_augment import AugmentConfig, augment, mask
from vasa_cli.training.speech_corpus import TEACHERS, VALIDATION, Batch, Crops, Piece, Projection, load_pieces


@dataclass(frozen=True)
class DistillConfig:
    """All that decides a training run."""

    minutes: float = 35.0
    batch: int = 24
    rate: float = 2e-3
    warmup: int = 200
    stretch: float = 0.16
    slow: float = 0.05  # chance of a crop at 0.4-0.7 of its speed: drawn-out vowels, as in singing
    clean: float = 0.15  # share of crops left as they are
    weights: dict[str, float] = field(default_factory=lambda: {"whisper": 1.0, "hama": 1.0, "lips": 12.0})
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    student: StudentConfig = field(default_factory=StudentConfig)


def warm_start(model: SpeechStudent, before: dict[str, torch.Tensor]) -> None:
    """Take over a smaller or equal network's weights; what was not there before adds nothing at first (new inputs weigh 0)."""
    for name, value in model.state_dict().items():
        old = before.get(name)
        if old is None or old.dim() != value.dim() or any(a > b for a, b in zip(old.shape, value.shape, strict=True)):
            continue
        if value.dim() > 1 and old.shape[1] < value.shape[1]:
            value[:, old.shape[1] :] = 0.0
        value[tuple(slice(0, n) for n in old.shape)] = old


def distill(root: Path, out: Path, config: DistillConfig, log_every: int = 100, start: Path | None = None) -> None:
    """Train for `minutes` of wall time (a resumed run goes on where its checkpoint `out` stands; a new one may begin with the
    weights of the checkpoint `start`); one line of scores every `log_every` steps."""
    torch.manual_seed(config.seed)
    projection = Projection(root)
    pieces = load_pieces(root, projection)
    train = Crops([p for p in pieces if not p.speaker.startswith(VALIDATION)], projection, config.seed)
    held = [p for p in pieces if p.speaker.startswith(VALIDATION)]
    hours = sum(len(p.mel) for p in train.pieces) / 360000
    print(f"{len(train.pieces)} pieces, {hours:.2f} h; validation {len(held)} pieces; outputs {train.size}", flush=True)
    model = SpeechStudent(config.student)
    if start is not None:
        warm_start(model, torch.load(start, weights_only=True)["average"])
    optimiser = torch.optim.AdamW(model.parameters(), config.rate, weight_decay=0.02, betas=(0.9, 0.98))
    average = {k: v.clone() for k, v in model.state_dict().items()}
    step, spent = 0, 0.0
    if out.is_file():
        state = torch.load(out, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average, step, spent = state["average"], int(state["step"]), float(state["spent"])
    rng = torch.Generator().manual_seed(config.seed + step)
    began, losses = time.monotonic() - spent, []
    while (spent := time.monotonic() - began) < config.minutes * 60:
        done = spent / (config.minutes * 60)
        rate = config.rate * min(1.0, (step + 1) / config.warmup) * max(0.02, 1.0 - done) ** 0.8
        for group in optimiser.param_groups:
            group["lr"] = rate
        losses.append(_step(model, optimiser, train, config, rng))
        step += 1
        keep = min(0.998, step / (step + 50))
        for k, v in model.state_dict().items():
            average[k].lerp_(v, 1 - keep)
        if step % log_every == 0:
            scores = validate(average, held, train, config)
            text = " ".join(f"{t} {v:.3f}" for t, v in scores.items())
            print(f"step {step} {spent / 60:.1f} min loss {np.mean(losses):.4f} R2 {text}", flush=True)
            losses = []
            _save(out, model, optimiser, average, step, spent, config)
    _save(out, model, optimiser, average, step, spent, config)


def _step(
    model: SpeechStudent, optimiser: torch.optim.Optimizer, train: Crops, config: DistillConfig, rng: torch.Generator
) -> float:
    batch = train.batch(config.batch, config.stretch, config.slow)
    clean = max(1, round(config.clean * config.batch))
    spoilt = augment(batch.mel[clean:], config.augment, rng)
    level = -30.0 * torch.rand(clean, 1, 1, generator=rng) ** 2
    mel = torch.cat([batch.mel[:clean] + level, spoilt])
    x = normalise(mel, follow_level(mel))
    x[clean:] = mask(x[clean:], config.augment, train.rng)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    loss = _loss(y.float(), batch, train, config)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _loss(y: torch.Tensor, batch: Batch, train: Crops, config: DistillConfig) -> torch.Tensor:
    """Mean squared error of every teacher's coordinates, weighted by teacher; the first 0.2 s of a crop, which have no past,
    do not count."""
    error = ((y - batch.target).square() * batch.known)[:, 5:]
    known = batch.known[:, 5:]
    total = torch.zeros(())
    for teacher in TEACHERS:
        part = train.slices[teacher]
        if known[..., part].any():
            total = total + config.weights[teacher] * error[..., part].sum() / known[..., part].sum().clamp(min=1.0)
    return total


@torch.no_grad()
def validate(weights: dict[str, torch.Tensor], held: list[Piece], train: Crops, config: DistillConfig) -> dict[str, float]:
    """R2 by teacher on speakers that the student never heard, clean sound."""
    model = SpeechStudent(config.student)
    model.load_state_dict(weights)
    model.eval()
    wrong = dict.fromkeys(TEACHERS, 0.0)
    spread = dict.fromkeys(TEACHERS, 1e-09)
    for piece in held:
        mel = piece.mel.float()
        y = model(normalise(mel, follow_level(mel))[None])[0]
        for teacher, target in piece.targets.items():
            t = target.float()
            wrong[teacher] += float((y[:, train.slices[teacher]] - t).square().sum())
            spread[teacher] += float((t - t.mean(0)).square().sum())
    return {t: 1 - wrong[t] / spread[t] for t in TEACHERS if spread[t] > 1e-6}


def _save(
    out: Path,
    model: SpeechStudent,
    optimiser: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
    step: int,
    spent: float,
    config: DistillConfig,
) -> None:
    part = out.with_suffix(".part")
    meta = {"step": step, "spent": spent, "config": json.dumps(asdict(config))}
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average, **meta}, part)
    part.replace(out)
