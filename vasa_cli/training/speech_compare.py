"""The probe's comparison: feature sets side by side, with the row of shuffled sound that says what chance gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vasa_cli.speech.features import PHONETIC, SpeechEncoder
from vasa_cli.speech.mel import follow_level, loudness, normalise
from vasa_cli.speech.pitch import FRAME, LEFT, pitch_and_voicing
from vasa_cli.training.lags import lag_of
from vasa_cli.training.speech_augment import AugmentConfig, augment
from vasa_cli.training.speech_conditions import conditions, with_pause
from vasa_cli.training.speech_corpus import Projection, _pieces_of
from vasa_cli.training.speech_data import LipClip, is_heldout, mel_of, read_lip_clips
from vasa_cli.training.speech_mouths import CROP, OTHERS, STEP
from vasa_cli.training.speech_probe import Probe, ProbeConfig, curves, fit_probe, lagged_r, score
from vasa_cli.training.speech_teachers import LIP_COORDINATES

COPIES = 3
REPEAT = 4  # with which others' crops make up two fifths
HEAD = (
    "| features | seed | GRID held out: open r0 | max3 | one lag | width r0 | max3 | one lag "
    "| strangers: open r0 | max3 | one lag | width r0 | max3 | one lag |\n|" + "---|" * 14
)


# One lag for clips of one origin, told by picture size and frame rate: 700 px at 22 and 30 fps; odd sizes at 25 fps;
# 512 px at 25 fps, 8 s long.
STRANGER_GROUPS = {1: "a", 4: "a", 2: "b", 3: "b", 5: "b", 6: "c", 7: "c"}


def stranger_groups(clips: Sequence[LipClip]) -> list[str]:
    """Group of each clip."""
    return [STRANGER_GROUPS.get(int(c.name.rpartition("_")[2]), c.name) for c in clips]


def clip_features(clip: LipClip, encoder: SpeechEncoder, voice: int) -> dict[str, np.ndarray]:
    """Every feature set of a clip, (T, F) each; voice 0 as recorded, else a spoilt copy (other vocal tract, room, microphone)."""
    mel = mel_of(clip.samples, clip.frames)[None]
    if voice > 0:
        mel = augment(mel, AugmentConfig(noise=0.3, babble=0.0, telephone=0.0), torch.Generator().manual_seed(voice))
    level = follow_level(mel)
    sound = torch.from_numpy(clip.samples)
    sound = torch.nn.functional.pad(sound, (LEFT, clip.frames * FRAME + LEFT - len(sound)))
    raw = torch.cat([encoder.mel_features(mel)[0], loudness(mel, level)[0][:, None], pitch_and_voicing(sound)], dim=1)
    values = ((raw - encoder.mean) / encoder.std).numpy()
    phones = PHONETIC - LIP_COORDINATES
    return {
        "mel": normalise(mel, level)[0].reshape(clip.frames, -1).numpy(),
        "speech": values,
        "phonetic": values[:, :phones],
        "lips": values[:, phones:PHONETIC],
    }


def lip_axes(clips: Sequence[LipClip], keep: int = 12) -> np.ndarray:
    """(D, keep) principal axes of the training clips' lips: fitting them beside the two judged curves steadies the regressor."""
    moved = np.concatenate([c.lips - np.median(c.lips, axis=0) for c in clips[::2]])
    return np.asarray(np.linalg.svd(moved - moved.mean(0), full_matrices=False)[2][:keep].T)


def targets(clip: LipClip, axes: np.ndarray) -> np.ndarray:
    """(T, 2 + keep): opening, width, lip axes."""
    lips = (clip.lips - np.median(clip.lips, axis=0)) @ axes
    return np.concatenate([np.stack([clip.opening, clip.width], axis=1), lips], axis=1)[: clip.frames]


def _load(data: Path, cache: Path | None) -> dict[str, list[LipClip]]:
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as z:
            n = int(z["count"])
            clips = [LipClip(str(z[f"{i}n"]), str(z[f"{i}s"]), z[f"{i}a"], z[f"{i}o"], z[f"{i}w"], z[f"{i}l"]) for i in range(n)]
        return {s: [c for c in clips if c.source == s] for s in ("grid_s1", "strangers")}
    out = {s: read_lip_clips(data, s) for s in ("grid_s1", "strangers")}
    if cache is not None:
        arrays: dict[str, np.ndarray] = {}
        everyone = [c for clips in out.values() for c in clips]
        for i, c in enumerate(everyone):
            arrays |= {f"{i}n": np.array(c.name), f"{i}s": np.array(c.source), f"{i}a": c.samples}
            arrays |= {f"{i}o": c.opening, f"{i}w": c.width, f"{i}l": c.lips}
        np.savez(cache, count=np.array(len(everyone)), **arrays)  # type: ignore[arg-type]
    return out


def _judge(probe: Probe, sounds: Sequence[np.ndarray], clips: Sequence[LipClip], groups: Sequence[str]) -> str:
    """Cells for the predictions from (T, F) sounds, given in the order of the clips."""
    return score([probe.predict(s)[:, :2] for s in sounds], curves(clips), groups).row()


@dataclass(frozen=True)
class Stage:
    """All that the probes learn from and are judged on."""

    train: list[LipClip]
    held: list[LipClip]
    strangers: list[LipClip]
    others: list[tuple[LipClip, int]]  # with their lags
    axes: np.ndarray
    encoder: SpeechEncoder

    def judged(self) -> tuple[tuple[list[LipClip], list[str]], ...]:
        """GRID's held-out tenth and the strangers, with the groups that share a lag."""
        return (self.held, ["grid"] * len(self.held)), (self.strangers, stranger_groups(self.strangers))

    def pairs(self, kind: str, many: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features and lips: GRID in four voices and, if `many`, crops of other people's clips in as many (REPEAT times)."""
        for voice in range(COPIES + 1):
            for i, clip in enumerate(self.train):
                values = clip_features(clip, self.encoder, voice * 10007 + i if voice else 0)[kind]
                yield values, targets(clip, self.axes)
            for i, (clip, lag) in enumerate(self.others if many else ()):
                x = clip_features(clip, self.encoder, voice * 7919 + i if voice else 0)[kind][max(0, -lag) :]
                y = targets(clip, self.axes)[max(0, lag) :]
                for start in range(0, min(len(x), len(y)) - CROP + 1, STEP):
                    yield from [(x[start : start + CROP], y[start : start + CROP])] * REPEAT


def stage(data: Path, cache: Path | None) -> Stage:
    """Read all clips."""
    clips = _load(data, cache)
    train = [c for i, c in enumerate(clips["grid_s1"]) if not is_heldout(i)]
    held = [c for i, c in enumerate(clips["grid_s1"]) if is_heldout(i)]
    others = [(c, lag_of(s, c.name)) for s in OTHERS if (data / s).is_dir() for c in read_lip_clips(data, s)]
    known = [(c, lag) for c, lag in others if lag is not None]
    return Stage(train, held, clips["strangers"], known, lip_axes(train), SpeechEncoder.from_weights("default"))


def compare(here: Stage, kind: str, many: bool, seed: int, epochs: int) -> list[str]:
    """A probe's Markdown rows: as it is, and with shuffled sound. An epoch visits a quarter of the four-voiced clips."""
    pairs = list(here.pairs(kind, many))
    probe = fit_probe(pairs, ProbeConfig(epochs=epochs, share=1 / (COPIES + 1), seed=seed))
    sounds = [[clip_features(c, here.encoder, 0)[kind] for c in clips] for clips, _ in here.judged()]
    rows = []
    name = f"{kind} ({pairs[0][0].shape[1]}), {'GRID and others' if many else 'GRID alone'}"
    for shift, title in ((0, name), (1, f"{name}, shuffled sound")):
        cells = [_judge(probe, f[shift:] + f[:shift], c, g) for f, (c, g) in zip(sounds, here.judged(), strict=True)]
        rows.append(f"| {title} | {seed} | {' | '.join(cells)} |")
    return rows


def reader(here: Stage) -> Callable[[LipClip], np.ndarray]:
    """Opening and width (T, 2) read off the twelve lip coordinates alone: a linear map, from GRID's tracked lips."""
    known = np.concatenate([targets(c, here.axes) for c in here.train])
    slope = np.linalg.lstsq(np.c_[known[:, 2:], np.ones(len(known))], known[:, :2], rcond=None)[0]
    scale = known[:, 2:].std(0) ** -0.5 / np.sqrt(np.mean(known[:, 2:].std(0)))  # as teachers.npz has it

    def read(clip: LipClip) -> np.ndarray:
        lips = lips_of(here.encoder, clip.samples)[: clip.frames] / scale
        return np.asarray(np.c_[lips, np.ones(len(lips))] @ slope)

    return read


def read_off(here: Stage) -> list[str]:
    """Rows of what is read off, from the recordings as they are and under each hard condition."""
    read = reader(here)
    cells: dict[str, list[str]] = {}
    for clips, groups in here.judged():

        def judge(predicted: list[np.ndarray], clips: list[LipClip] = clips, groups: list[str] = groups) -> str:
            return score(predicted, curves(clips), groups).row()

        cells.setdefault("as recorded", []).append(judge([read(c) for c in clips]))
        for name, heard in conditions(clips).items():
            cells.setdefault(name, []).append(judge([read(c) for c in heard]))
        cells.setdefault("1 s of silence inserted", []).append(judge([_across_pause(read, c) for c in clips]))
    return [f"| lips (12) read off, {name} | | {' | '.join(row)} |" for name, row in cells.items()]


def _across_pause(read: Callable[[LipClip], np.ndarray], clip: LipClip) -> np.ndarray:
    """(T, 2) for a clip with a second of silence put into its middle, that second left out again."""
    at = clip.frames // 2

    def longer(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[:at], np.repeat(x[at : at + 1], 25, axis=0), x[at:]])

    out = read(replace(clip, samples=with_pause(clip.samples, at), opening=longer(clip.opening), width=longer(clip.width)))
    return np.concatenate([out[:at], out[at + 25 :]])


def lips_of(encoder: SpeechEncoder, samples: np.ndarray) -> np.ndarray:
    """(T, 12) lip coordinates, up to one factor for each (`lips_scale` of the corpus)."""
    part = slice(PHONETIC - LIP_COORDINATES, PHONETIC)
    values = encoder.features(samples)[:, part]
    return np.asarray(values * encoder.std[part].numpy() + encoder.mean[part].numpy())


def against_teacher(corpus: Path, encoder: SpeechEncoder) -> list[str]:
    """Rows for the corpus's judged_* recordings: r of the first two lip coordinates with those the teacher told."""
    rows = []
    scale = Projection(corpus).tensors["lips_scale"]
    for path in sorted((corpus / "teach_lips").glob("judged_*.npz")):
        told = _pieces_of(path)
        sounds = _pieces_of(corpus / "pool" / path.name)
        r = []
        for i, y in told.items():
            x = lips_of(encoder, sounds[i].astype(np.float32) / 32768.0) / scale
            r.append([lagged_r(x[:, k], y[:, k].astype(np.float64), 0) for k in (0, 1)])
        first, second = np.mean(r, axis=0)
        rows.append(f"| {path.stem.removeprefix('judged_')} | {first:.2f} | {second:.2f} |")
    return rows
