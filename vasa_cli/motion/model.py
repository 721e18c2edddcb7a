"""The trained motion model: network, statistics that bring motion and features to unit size, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from vasa_cli.errors import DeviceError, WeightsError
from vasa_cli.motion.silence import VoiceActivity
from vasa_cli.motion.transformer import MotionConfig, MotionTransformer
from vasa_cli.weights import registry

FORMAT = "vasa-motion-model/1"


@dataclass(frozen=True)
class Statistics:
    """Means and standard deviations: of motion (D,) and of features (F,); lids_per_gaze (K_lids,): how lids follow the gaze's
    pitch, per radian.
    """

    motion_mean: np.ndarray
    motion_std: np.ndarray
    feature_mean: np.ndarray
    feature_std: np.ndarray
    lids_per_gaze: np.ndarray


@dataclass(frozen=True)
class MotionModel:
    """Network in evaluation mode on its device, statistics, voice activity (for the silence gate), sampling settings, sha256 of
    the weight file ("" when not from a file).
    """

    network: MotionTransformer
    stats: Statistics
    voice: VoiceActivity
    settings: dict[str, Any]
    sha256: str = ""

    @property
    def config(self) -> MotionConfig:
        return self.network.config

    def normalise_features(self, features: np.ndarray) -> torch.Tensor:
        """(T, F) -> (T, F) of unit size, clipped to 5 standard deviations."""
        if features.ndim != 2 or features.shape[1] != self.config.features:
            raise WeightsError(
                f"the motion weights expect {self.config.features} speech features a frame, got {features.shape[-1]}; "
                "speech and motion weights do not match"
            )
        x = (features - self.stats.feature_mean) / self.stats.feature_std
        return torch.from_numpy(np.clip(x, -5, 5).astype(np.float32))


def load_model(weights: str = "default", device: str = "cpu") -> MotionModel:
    """Read "default" or "smoke" weights. Raises WeightsError, DeviceError."""
    tensors, meta = registry.load_tensors("motion", weights)
    if meta.get("format") != FORMAT:
        raise WeightsError(f"motion weights of format {meta.get('format')!r} do not match {FORMAT}; reinstall the package")
    model = from_tensors(tensors, meta)
    try:
        model.network.to(torch.device(device))
    except (RuntimeError, AssertionError) as e:
        raise DeviceError(f"device {device!r} cannot be used ({str(e).splitlines()[0]}); try --device cpu") from e
    return replace(model, sha256=registry.sha256_of("motion", weights))


def from_tensors(tensors: dict[str, np.ndarray], meta: dict[str, str]) -> MotionModel:
    """Inverse of `to_tensors`."""
    stats = Statistics(**{k.removeprefix("stats."): v.astype(np.float32) for k, v in tensors.items() if k.startswith("stats.")})
    voice = VoiceActivity(
        **{k.removeprefix("voice."): v.astype(np.float32) for k, v in tensors.items() if k.startswith("voice.")}
    )
    network = MotionTransformer(MotionConfig.from_json(meta["config"]))
    state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items() if not k.startswith(("stats.", "voice."))}
    try:
        network.load_state_dict(state)
    except RuntimeError as e:
        raise WeightsError(
            f"motion weights do not fit this version of the network ({str(e).splitlines()[0]}); reinstall the package"
        ) from e
    return MotionModel(network.eval(), stats, voice, json.loads(meta.get("settings", "{}")))


def to_tensors(model: MotionModel) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Half-precision network, single-precision statistics, config and sampling settings as JSON."""
    out = {k: v.detach().cpu().numpy().astype(np.float16) for k, v in model.network.state_dict().items()}
    out |= {f"stats.{k}": np.asarray(v, np.float32) for k, v in vars(model.stats).items()}
    out |= {f"voice.{k}": np.asarray(v, np.float32) for k, v in vars(model.voice).items()}
    meta = {"format": FORMAT, "config": model.config.to_json(), "settings": json.dumps(model.settings, sort_keys=True)}
    return out, meta
