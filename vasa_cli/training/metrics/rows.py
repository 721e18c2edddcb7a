"""The rows of every table: what each way of making motion makes of a recording, and what that scores."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.generate import generate_motion
from vasa_cli.motion.model import MotionModel, from_tensors, load_model
from vasa_cli.motion.track import MotionTrack
from vasa_cli.training.metrics import eyes, head, lips
from vasa_cli.training.metrics.corpus import Recording
from vasa_cli.training.metrics.judges import capp, mouth_of
from vasa_cli.training.metrics.sync import SyncJudge

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Motion:
    """pose (T, 6), dynamics (T, K), as in a MotionTrack at 25 fps."""

    pose: np.ndarray
    dynamics: np.ndarray

    def cut(self, n: int) -> Motion:
        return Motion(self.pose[:n], self.dynamics[:n])


@dataclass(frozen=True)
class Generator:
    """The product's generation with one set of weights."""

    model: MotionModel
    encoder: str = "default"

    @classmethod
    def load(cls, weights: str = "default") -> Generator:
        """A shipped name, or the path of a file that training wrote."""
        if not weights.endswith(".safetensors"):
            return cls(load_model(weights), weights)
        from safetensors import safe_open

        with safe_open(weights, framework="numpy") as f:
            return cls(from_tensors({k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})))  # noqa: SIM118

    def track(
        self,
        features: np.ndarray,
        seed: int,
        controls: Controls | None = None,
        *,
        guidance: Mapping[str, float] | None = None,
        steps: int | None = None,
    ) -> MotionTrack:
        """Whole path behind the speech features: network, gate, behaviours, controls."""
        curves = (controls or Controls.default()).curves(len(features), 25)
        return generate_motion(features, curves, seed=seed, steps=steps, guidance=guidance, model=self.model)

    def __call__(self, features: np.ndarray, seed: int) -> Motion:
        track = self.track(features, seed)
        return Motion(track.pose, track.dynamics)


def made(kind: str, recordings: Many[Recording], generator: Generator, basis: DynamicsBasis, seed: int = 0) -> list[Motion]:
    """Motions for the recordings: "ours", "static", "jaw" (loudness), "real" (tracked, its source's known lag taken out)."""
    out = []
    for r in recordings:
        n = r.frames
        if kind == "ours":
            out.append(generator(r.features, seed).cut(n))
        elif kind == "real" and r.real is not None:
            at = np.clip(np.arange(n) + r.lag, 0, n - 1)
            out.append(Motion(r.real.pose[at], r.real.dynamics[at]))
        elif kind in ("static", "jaw"):
            z = lips.loudness_jaw(r.prosody.loudness, basis)[:n] if kind == "jaw" else np.zeros((n, basis.size), np.float32)
            out.append(Motion(np.zeros((n, 6), np.float32), z))
        else:
            raise ValueError(f"no {kind!r} motion for {r.name}")
    return out


def another(pool: Many[Recording], i: int, step: int) -> int:
    """Index of the recording `step` places after the i-th, or the next one after it that says something else."""
    for k in range(i + step, i + step + len(pool)):
        other = pool[k % len(pool)].samples
        if len(other) != len(pool[i].samples) or not np.array_equal(other, pool[i].samples):
            return k % len(pool)
    raise ValueError("all recordings hold the same sound")


def shuffled(
    recordings: Many[Recording], ours: Many[Motion], others: Many[Recording], generator: Generator, seed: int
) -> list[Motion]:
    """Ours for another recording, which changes with the seed; its speech is repeated where it is too short."""
    pool, out = [*recordings, *others], []
    for i, r in enumerate(recordings):
        k = another(pool, i, 1 + seed)
        if k < len(ours) and len(ours[k].pose) >= r.frames:
            out.append(ours[k].cut(r.frames))
        else:
            features = pool[k].features
            out.append(generator(features[np.arange(r.frames) % len(features)], seed))
    return out


@dataclass(frozen=True)
class Judges:
    """own-sync and own-CAPP."""

    sync: SyncJudge
    capp: SyncJudge


def speech_scores(
    motions: Many[Motion], recordings: Many[Recording], judges: Judges, basis: DynamicsBasis, real: bool = False
) -> dict[str, float]:
    """Does the mouth belong to the sound? Keys are the columns of the table; nan where there is nothing to measure. real: these
    are the tracked motions (r to themselves means nothing; their lips rest at the clip's smallest opening, not at 0)."""
    scores = [judges.sync.score(mouth_of(m.dynamics, basis), r.sound) for m, r in zip(motions, recordings, strict=True)]
    out = {
        "sync": float(np.mean([s.confidence for s in scores])),
        "distance": float(np.mean([s.distance for s in scores])),
        "offset": float(np.median([s.offset for s in scores])),
        "cosine": float(np.mean([s.cosine for s in scores])),
    }
    curves = [lips.lips_of(m.dynamics, basis) for m in motions]
    if all(r.real is not None for r in recordings) and not real:
        tracked = [r.real.lips[: len(c)] for r, c in zip(recordings, curves, strict=True)]  # type: ignore[union-attr]
        m = lips.match(curves, tracked, [r.source for r in recordings])
        out |= {"r": m.opening_zero, "r_lag": m.opening, "w": m.width_zero, "w_lag": m.width}
    opened = [c[:, 0] - (c[:, 0].min() if real else 0.0) for c in curves]
    silence = lips.silence_of(opened, [r.prosody.speaking for r in recordings])
    return out | {"closures": closures(curves, recordings, real), "silence": silence.opening, "silence_motion": silence.motion}


def closures(curves: Many[np.ndarray], recordings: Many[Recording], real: bool) -> float:
    """Share of all /p b m/ at which the lips shut, pooled; nan where no phones are known. Shut is judged by the real clip's range
    of openings where there is one, else by the motion's own."""
    from vasa_cli.training import phones

    found = []
    for c, r in zip(curves, recordings, strict=True):
        if r.phones is None:
            continue
        reach = None
        if r.real is not None and not real:
            low, high = np.percentile(r.real.lips[:, 0], (2, 95))
            reach = float(high - low)
        found.append(phones.closures(c[:, 0], r.phones, 25.0, closed=None if real else 0.0, reach=reach))
    every = np.concatenate(found) if found else np.zeros(0)
    return float(every.mean()) if len(every) else float("nan")


def life_scores(motions: Many[Motion], recordings: Many[Recording], judges: Judges, basis: DynamicsBasis) -> dict[str, float]:
    """How alive is it? Means over clips weighted by their length; blinks pooled."""
    rows, weights, blinks = [], [], eyes.BlinkCount()
    for m, r in zip(motions, recordings, strict=True):
        n = len(m.pose)
        on = r.prosody.speaking[:n]
        gaze = eyes.gaze_statistics(m.dynamics, basis)
        nothing, held = head.still_seconds(m.pose, m.dynamics, on, basis)
        aligned, chance = head.beat_alignment(m.pose, m.dynamics, r.prosody, basis)
        std = head.head_std(m.pose)
        rows.append(
            {
                "capp": capp(judges.capp, m.pose, r.sound),
                "voice": head.follows_voice(m.pose, r.prosody)[0],
                "beat": aligned - chance,
                "delta_p": head.delta_p(m.pose),
                "yaw": std[0],
                "pitch": std[1],
                "roll": std[2],
                "head": std[3],
                "jitter": head.jitter(np.degrees(m.pose[:, :3])),
                "lip_jitter": 100 * head.jitter(lips.lips_of(m.dynamics, basis)),
                "frozen": nothing,
                "held": held,
                "gaze": float(np.hypot(gaze.yaw, gaze.pitch)),
                "darts": gaze.darts,
                "away": gaze.away,
            }
        )
        weights.append(n)
        blinks += eyes.count_blinks(eyes.closure_of(m.dynamics, basis), on)
    out = {k: _mean(np.array([row[k] for row in rows], float), np.array(weights, float)) for k in rows[0]}
    return out | {f"blink_{k}": v for k, v in blinks.statistics().items()}


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    ok = np.isfinite(values)
    return float((values[ok] * weights[ok]).sum() / weights[ok].sum()) if ok.any() else float("nan")


Scores = dict[str, dict[str, tuple[float, ...]]]  # row -> column -> one value a seed


def section(
    recordings: Many[Recording],
    generator: Generator,
    judges: Judges,
    basis: DynamicsBasis,
    others: Many[Recording] = (),
    seeds: Many[int] = SEEDS,
) -> Scores:
    """All rows of a section. others: recordings to borrow speech from where the section is too small to shuffle."""
    out: Scores = {}

    def add(kind: str, motions: Many[Motion]) -> None:
        scores = speech_scores(motions, recordings, judges, basis, kind == "real")
        for k, v in (scores | life_scores(motions, recordings, judges, basis)).items():
            row = out.setdefault(kind, {})
            row[k] = (*row.get(k, ()), v)

    if recordings[0].real is not None:
        add("real", made("real", recordings, generator, basis))
    for seed in seeds:
        ours = made("ours", recordings, generator, basis, seed)
        add("ours", ours)
        add("shuffled", shuffled(recordings, ours, others, generator, seed))
    for kind in ("jaw", "static"):
        add(kind, made(kind, recordings, generator, basis))
    if recordings[0].real is not None:
        out["real, other sound"] = {"sync": (wrong_sound(recordings, judges, basis),)}
    return out


def wrong_sound(recordings: Many[Recording], judges: Judges, basis: DynamicsBasis) -> float:
    """own-sync confidence of real mouths against the next recordings' sound: the floor of the section."""
    out = []
    for i, r in enumerate(recordings):
        assert r.real is not None
        seen = judges.sync.see(mouth_of(r.real.dynamics[: r.frames], basis))
        for step in range(1, min(4, len(recordings))):
            other = recordings[another(recordings, i, step)]
            out.append(judges.sync.compare(seen, judges.sync.hear(other.sound)).confidence)
    return float(np.mean(out))
