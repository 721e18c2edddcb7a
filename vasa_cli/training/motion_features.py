"""Speech features of training clips, in several augmented versions, cached on disk.

Stage "mel" is a stand-in that needs no trained speech weights: 40 ms log-mel bands and loudness. Stage "speech" is the
product's own encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vasa_cli.speech.features import SpeechEncoder

Extractor = Callable[[Path, int], np.ndarray]  # (sound file, version) -> (T, F); version 0 is the clean sound


def mel_features(path: Path, version: int = 0) -> np.ndarray:
    """(T, 81): 80 normalised log-mel bands (mean over a video frame) and loudness in dB / 20."""
    import soundfile
    import torch

    from vasa_cli.speech import mel
    from vasa_cli.training.speech_augment import AugmentConfig, augment

    samples, _ = soundfile.read(str(path), dtype="float32")
    frames = -(-len(samples) * 25 // mel.RATE)
    power = mel.mel_power_db(mel.pad_whole(torch.from_numpy(samples), frames * mel.MELS_PER_FRAME))
    if version:
        rng = torch.Generator().manual_seed(version * 100_003 + len(samples))
        power = augment(power[None], AugmentConfig(), rng)[0]
    level = mel.follow_level(power[None])[0]
    bands = mel.normalise(power, level)
    loud = 10 * torch.log10(torch.pow(10.0, power / 10).sum(-1) + 1e-10)
    x = torch.cat([bands, (loud - level)[:, None] / 20], 1)
    return x.view(frames, mel.MELS_PER_FRAME, -1).mean(1).numpy()


def cached(extract: Extractor, folder: Path) -> Extractor:
    """The same extractor with a file per (sound, version) in `folder`, half precision."""

    def run(path: Path, version: int) -> np.ndarray:
        file = folder / f"{path.parent.name}_{path.stem}_{version}.npy"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            np.save(file, extract(path, version).astype(np.float16))
        return np.load(file).astype(np.float32)

    return run


def speech_features(path: Path, version: int = 0, weights: str = "default") -> np.ndarray:
    """(T, F) of the product's speech encoder. Versions above 0 hear other voices, rooms and microphones (timing kept)."""
    clean, samples = _clean(path, weights)
    return other_voice(clean, samples, version, weights) if version else clean


def other_voice(clean: np.ndarray, samples: np.ndarray, version: int, weights: str = "default") -> np.ndarray:
    """Features of the sound changed in the mel domain: phonetics and loudness anew, pitch as it was. clean (T, F), samples
    (N,).
    """
    import torch

    from vasa_cli.speech import mel
    from vasa_cli.speech.features import PHONETIC
    from vasa_cli.training.speech_augment import AugmentConfig, augment

    encoder = _encoder(weights)
    rng = torch.Generator().manual_seed(version * 100_003 + len(samples))
    power = mel.mel_power_db(mel.pad_whole(torch.from_numpy(samples), len(clean) * mel.MELS_PER_FRAME))
    power = augment(power[None], AugmentConfig(), rng)
    raw = torch.cat([encoder.mel_features(power)[0], mel.loudness(power[0], mel.follow_level(power[0]))[:, None]], 1)
    n = PHONETIC + 1
    out = clean.copy()
    out[:, :n] = ((raw - encoder.mean[:n]) / encoder.std[:n]).numpy()
    return out


@lru_cache(maxsize=1)
def _clean(path: Path, weights: str) -> tuple[np.ndarray, np.ndarray]:
    """Clean features and samples of the file that was asked for last (its versions come one after another)."""
    from vasa_cli.speech.audio import load_speech

    samples = load_speech(path).samples
    return _encoder(weights).features(samples), samples


@lru_cache(maxsize=2)
def _encoder(weights: str) -> SpeechEncoder:
    from vasa_cli.speech.features import SpeechEncoder

    return SpeechEncoder.from_weights(weights)


def listen(samples: np.ndarray, weights: str = "default") -> np.ndarray:
    """Features (T, F) of samples that are no file."""
    return _encoder(weights).features(samples)
