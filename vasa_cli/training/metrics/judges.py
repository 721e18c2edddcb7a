"""Training and checking the two judges: own-sync (mouth against sound) and own-CAPP (head against sound).

own-sync is trained on GRID's "sync" part, which the generator never sees. own-CAPP (after VASA-1's contrastive audio and pose
pretraining: 3-second windows of head pose against sound) needs heads that move: AniTalker's and LivePortrait's clips with sound,
which the generator was trained on too; Einstein, Mona Lisa, d11 and the strangers are left out and judge the judge.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.speech.mel import follow_level, normalise
from vasa_cli.training.lags import CLIP_LAGS, lag_of
from vasa_cli.training.metrics.sync import SyncConfig, SyncJudge, SyncNet, contrastive_loss
from vasa_cli.training.motion_clips import smooth
from vasa_cli.training.motion_data import Sequence, load_sequences
from vasa_cli.training.speech_augment import AugmentConfig, augment, mask
from vasa_cli.training.speech_data import mel_of

MOUTH_NUMBERS = 8  # decided on strangers: 2, 4 and 16 tell true from shuffled speech less often
CAPP_LEFT_OUT = ("Einstein-english_male", "monalisa-monalisa", "d11")
CAPP_WINDOW = 75  # frames, 3 s
MIRROR = np.array([-1, 1, -1, -1, 1, 1], np.float32)  # of a head's velocities
SILENT = 1e-3  # rms below which a recording holds nothing


@dataclass(frozen=True)
class Heard:
    """What a judge learns from: motion (T, M), mel power in dB (4 T, 80)."""

    name: str
    motion: np.ndarray
    mel: np.ndarray


@dataclass(frozen=True)
class JudgeConfig:
    """size, tilt, noise: random changes of the motion in standard deviations: so that neither amplitude nor a tracker's noise nor
    a person's resting mouth tells anything."""

    net: SyncConfig = field(default_factory=SyncConfig)
    steps: int = 400
    batch: int = 24
    frames: int = 60
    rate: float = 2e-3
    size: float = 0.25
    tilt: float = 0.15
    shift: float = 0.3
    noise: float = 0.15
    mirror: bool = False
    seeds: tuple[int, ...] = (0, 1)


SYNC = JudgeConfig(net=SyncConfig(motion=MOUTH_NUMBERS))
CAPP = JudgeConfig(net=SyncConfig(motion=6), steps=350, frames=70, shift=0.0, noise=0.2, size=0.4, mirror=True)


def sound_of(mel: np.ndarray) -> np.ndarray:
    """Mel dB (K, 80) -> what the judges hear: relative to the speaker's level, of unit size."""
    x = torch.from_numpy(mel)[None]
    return np.asarray(normalise(x, follow_level(x))[0].numpy())


def head_motion(pose: np.ndarray) -> np.ndarray:
    """(T, 6) pose of a track -> (T, 6) velocities: degrees, hundredths of a face width and of log distance, a frame."""
    units = np.degrees([1.0, 1.0, 1.0]).tolist() + [100.0] * 3
    return np.gradient(smooth(pose * np.array(units), 7), axis=0).astype(np.float32)


def mouth_of(dynamics: np.ndarray, basis: DynamicsBasis) -> np.ndarray:
    """(T, K) -> (T, MOUTH_NUMBERS), the mouth block's first numbers."""
    start = basis.blocks["mouth"].start
    return dynamics[:, start : start + MOUTH_NUMBERS]


def read_heard(sequences: Many[Sequence], see: Callable[[Sequence], np.ndarray], lagged: bool = False) -> list[Heard]:
    """Clips with sound. lagged: take the source's known lag out, and leave clips out whose picture and sound do not belong
    together."""
    import soundfile

    out = []
    for s in sequences:
        lag = lag_of(s.source, s.name) if lagged else 0
        if s.audio is None or lag is None:
            continue
        samples, _ = soundfile.read(str(s.audio), dtype="float32")
        if len(samples) < 16000 or np.sqrt((samples**2).mean()) < SILENT:
            continue
        n = min(len(s.pose), -(-len(samples) // 640))
        motion, mel = see(s)[:n], mel_of(samples, n).numpy()
        first, last = max(0, -lag), n - max(0, lag)
        out.append(Heard(s.name, motion[first + lag : last + lag], mel[4 * first : 4 * last]))
    return out


def _batch(clips: list[Heard], std: np.ndarray, c: JudgeConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Motion (B, T, M) of unit size with its random changes, mel (B, 4 T, 80)."""
    weight = np.array([max(len(h.motion) - c.frames, 1) for h in clips], np.float64)
    motion, mel = [], []
    m = c.net.motion
    for i in rng.choice(len(clips), c.batch, p=weight / weight.sum()):
        x = clips[i].motion
        start = int(rng.integers(0, max(len(x) - c.frames, 0) + 1))
        x = x[start : start + c.frames, :m] / std
        x = x * np.exp(c.size * rng.standard_normal() + c.tilt * rng.standard_normal(m))
        x = x + c.shift * rng.standard_normal(m) + c.noise * rng.standard_normal(x.shape)
        motion.append(x * MIRROR if c.mirror and rng.random() < 0.5 else x)
        mel.append(clips[i].mel[4 * start : 4 * (start + c.frames)])
    return np.stack(motion).astype(np.float32), np.stack(mel)


def train_net(clips: list[Heard], std: np.ndarray, config: JudgeConfig, seed: int) -> SyncNet:
    """One net; every clip must have at least `config.frames` frames."""
    torch.manual_seed(seed)
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    net, change = SyncNet(config.net), AugmentConfig()
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.steps, pct_start=0.1)
    for _ in range(config.steps):
        motion, mel = _batch(clips, std, config, rng)
        sound = augment(torch.from_numpy(mel), change, noise)
        sound = mask(normalise(sound, follow_level(sound)), change, rng)
        loss = contrastive_loss(net.embed_motion(torch.from_numpy(motion)), net.embed_sound(sound), net.log_scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def train_judge(clips: list[Heard], config: JudgeConfig) -> SyncJudge:
    """Nets of all seeds."""
    usable = [h for h in clips if len(h.motion) >= config.frames]
    std = np.concatenate([h.motion for h in usable])[:, : config.net.motion].std(0) + 1e-6
    return SyncJudge(tuple(train_net(usable, std, config, seed) for seed in config.seeds), std.astype(np.float32))


def sync_judge(data: Path, cache: Path) -> SyncJudge:
    """own-sync from the cache folder, trained first (about a minute on one core) where it is not there."""
    file = cache / "own_sync.pt"
    if not file.is_file():
        basis = DynamicsBasis.load()
        clips = load_sequences(data, ("grid_s1",), part="sync", cache=cache)
        train_judge(read_heard(clips, lambda s: mouth_of(s.dynamics, basis)), SYNC).save(file)
    return SyncJudge.load(file)


def capp_clips(data: Path, cache: Path) -> tuple[list[Heard], list[Heard]]:
    """Training clips, and those left out: three known ones and the strangers."""
    lively = [
        s
        for part in ("train", "test")
        for s in load_sequences(data, ("anitalker", "liveportrait"), part=part, cache=cache)
        if s.source == "anitalker" or s.name in CLIP_LAGS
    ]
    strangers = load_sequences(data, ("strangers",), part="test", cache=cache)
    heard = read_heard(lively, lambda s: head_motion(s.pose), lagged=True)
    train = [h for h in heard if h.name not in CAPP_LEFT_OUT]
    left = [h for h in heard if h.name in CAPP_LEFT_OUT]
    return train, left + read_heard(strangers, lambda s: head_motion(s.pose), lagged=True)


def capp_judge(data: Path, cache: Path) -> SyncJudge:
    """own-CAPP from the cache folder, trained first where it is not there."""
    file = cache / "own_capp.pt"
    if not file.is_file():
        train_judge(capp_clips(data, cache)[0], CAPP).save(file)
    return SyncJudge.load(file)


def capp(judge: SyncJudge, pose: np.ndarray, sound: np.ndarray, shift: int = 0) -> float:
    """Mean over 3-second windows (a second apart) of the mean cosine of head (T, 6) and sound; head `shift` frames late."""
    return capp_of(judge, judge.see(head_motion(pose)), judge.hear(sound), shift)


def capp_of(judge: SyncJudge, seen: list[np.ndarray], heard: list[np.ndarray], shift: int = 0) -> float:
    """The same from embeddings. A still head would agree a little with everything: what counts is how much better the head fits
    the sound of its own moment than that of 8 to 15 frames earlier and later."""
    apart = [judge.agreement(seen, heard, s * k).mean() for k in range(8, 16) for s in (-1, 1)]
    cosine = judge.agreement(seen, heard, shift)
    starts = range(0, max(len(cosine) - CAPP_WINDOW, 0) + 1, 25)
    return float(np.mean([cosine[s : s + CAPP_WINDOW].mean() for s in starts]) - np.mean(apart))


@dataclass(frozen=True)
class SyncCheck:
    """How far own-sync can be trusted on a set of clips: confidence of true pairs and of all wrong ones, how often the true sound
    beats a wrong one, share of true pairs whose offset is found within a frame of the clip's known lag, and the same after the
    motion was delayed by 5 frames."""

    clips: int
    true: float
    wrong: float
    wins: float
    found: float
    found_shifted: float


def check_sync(judge: SyncJudge, clips: list[Heard], lags: list[int] | None = None) -> SyncCheck:
    """All pairs of the clips; lags: by how many frames each clip's picture is known to be late (None: not at all)."""
    seen, heard = [judge.see(h.motion) for h in clips], [judge.hear(sound_of(h.mel)) for h in clips]
    table = [[judge.compare(a, b) for b in heard] for a in seen]
    late = [judge.compare([e[:-5] for e in a], [e[5:] for e in b]) for a, b in zip(seen, heard, strict=True)]
    confidence = np.array([[s.confidence for s in row] for row in table])
    own, n = np.eye(len(clips), dtype=bool), len(clips)
    wins = [confidence[i, i] > confidence[i, j] for i in range(n) for j in range(n) if i != j]
    lags = lags or [0] * n
    found = [abs(table[i][i].offset - lags[i]) <= 1 for i in range(n)]
    shifted = [abs(late[i].offset - lags[i] - 5) <= 1 for i in range(n)]
    return SyncCheck(n, float(confidence[own].mean()), float(confidence[~own].mean()) if n > 1 else float("nan"),
                     float(np.mean(wins)) if wins else float("nan"), float(np.mean(found)), float(np.mean(shifted)))  # fmt: skip


def shift_test(judge: SyncJudge, clips: list[Heard], shifts: Many[int] = (0, 1, 2, 3, 4)) -> dict[int, float]:
    """VASA-1's validation of CAPP: the score when head and sound are moved apart by +-k frames."""
    pairs = [(judge.see(h.motion), judge.hear(sound_of(h.mel))) for h in clips]
    return {k: float(np.mean([capp_of(judge, a, b, s * k) for a, b in pairs for s in (-1, 1)])) for k in shifts}


def size_test(judge: SyncJudge, clips: list[Heard], sizes: Many[float] = (0.2, 0.5, 1.0, 1.5, 3.0)) -> dict[float, float]:
    """VASA-1's other one: head motion made smaller and larger."""
    return {
        k: float(np.mean([capp_of(judge, judge.see(h.motion * k), judge.hear(sound_of(h.mel))) for h in clips])) for k in sizes
    }


def wins(judge: SyncJudge, clips: list[Heard]) -> tuple[float, float, float]:
    """Score of true pairs, of wrong pairs, and how often the true sound wins."""
    seen, heard = [judge.see(h.motion) for h in clips], [judge.hear(sound_of(h.mel)) for h in clips]
    table = np.array([[capp_of(judge, a, b) for b in heard] for a in seen])
    own = np.eye(len(clips), dtype=bool)
    beaten = [table[i, i] > table[i, j] for i in range(len(clips)) for j in range(len(clips)) if i != j]
    return float(table[own].mean()), float(table[~own].mean()), float(np.mean(beaten))
