"""The probe's comparison: feature sets side by side, with the row of shuffled sound that says what chance gives."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vasa_cli.speech.features import PHONETIC, SpeechEncoder, loudness
from vasa_cli.speech.mel import follow_level, normalise
from vasa_cli.speech.pitch import FRAME, LEFT, pitch_and_voicing
from vasa_cli.training.speech_augment import AugmentConfig, augment
from vasa_cli.training.speech_data import LipClip, is_heldout, mel_of, read_lip_clips
from vasa_cli.training.speech_probe import Probe, ProbeConfig, curves, fit_probe, score
from vasa_cli.training.speech_teachers import LIP_COORDINATES

COPIES = 3
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


def compare(data: Path, sets: Sequence[str], seeds: int, epochs: int, note: str, cache: Path | None) -> list[str]:
    """Markdown rows: one a feature set and seed, and one of shuffled sound each.

    An epoch visits a quarter of the four-voiced clips.
    """
    clips = _load(data, cache)
    grid, strangers = clips["grid_s1"], clips["strangers"]
    train = [c for i, c in enumerate(grid) if not is_heldout(i)]
    held = [c for i, c in enumerate(grid) if is_heldout(i)]
    axes = lip_axes(train)
    encoder = SpeechEncoder.from_weights("default")
    voices = [[clip_features(c, encoder, v * 10007 + i if v else 0) for i, c in enumerate(train)] for v in range(COPIES + 1)]
    inside = [clip_features(c, encoder, 0) for c in held]
    outside = [clip_features(c, encoder, 0) for c in strangers]
    wanted = [targets(c, axes) for c in train]
    places = ((held, inside, ["grid"] * len(held)), (strangers, outside, stranger_groups(strangers)))
    rows = [f"{datetime.date.today()}: {note}", "", HEAD]
    for kind in sets:
        pairs = [(f[kind], y) for voice in voices for f, y in zip(voice, wanted, strict=True)]
        for seed in range(seeds):
            probe = fit_probe(pairs, ProbeConfig(epochs=epochs, share=1 / (COPIES + 1), seed=seed))
            for shift, name in ((0, f"{kind} ({pairs[0][0].shape[1]})"), (1, f"{kind}, shuffled sound")):
                cells = [_judge(probe, [f[kind] for f in s[shift:] + s[:shift]], c, g) for c, s, g in places]
                rows.append(f"| {name} | {seed} | {' | '.join(cells)} |")
                print(rows[-1], flush=True)
    return rows
