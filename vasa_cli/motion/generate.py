"""Speech features and controls in, motion track out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vasa_cli.motion.apply import Parts, add_controls, close_lids, control_offsets, scale_parts, smooth_track
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.behave import behave, enliven
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.closures import closing, shut_lips
from vasa_cli.motion.controls import ControlCurves
from vasa_cli.motion.emotion import give_way, lip_gap
from vasa_cli.motion.model import MotionModel, load_model
from vasa_cli.motion.silence import GateConfig, gate
from vasa_cli.motion.tongue import tongue_track
from vasa_cli.motion.track import MotionTrack
from vasa_cli.motion.windows import ControlConditions, SamplerConfig, generate_windows
from vasa_cli.weights import registry

FPS = 25
POSE = 6
# no generated head goes farther: 20, 15, 12 degrees, a quarter of the face's width, 15 % nearer or farther
HEAD_LIMIT = np.array([0.35, 0.26, 0.21, 0.25, 0.25, 0.15], np.float32)
DART_LIMIT = 0.21  # radians, 12 degrees: generated eyes wander, they do not stare aside
HEAD_SMOOTH, GAZE_SMOOTH, FACE_SMOOTH = 6, 1, 2  # half widths in frames: heads are heavy, eyes dart


def generate_motion(
    features: np.ndarray,
    curves: ControlCurves,
    *,
    seed: int,
    weights: str = "default",
    steps: int | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    guidance: Mapping[str, float] | None = None,
    style: MotionStyle | None = None,
    model: MotionModel | None = None,
) -> MotionTrack:
    """Speech features (T, F) at 25 fps and controls sampled at the same T frames -> MotionTrack of T frames.

    The same seed, weights, features and controls give the same track; `steps` overrides the number of network evaluations a
    window, `guidance` ("audio", "gaze", "distance", "emotion": 0..4) the strengths stored with the weights; `style` is the
    manner (None: the default one); `model` is used instead of loading `weights`. Raises WeightsError when weights are missing
    or do not fit the features, DeviceError when the device cannot be used, ValueError on unequal lengths.
    """
    if len(features) != len(curves) or len(features) == 0:
        raise ValueError(
            f"features and controls must have the same length of at least 1 frame, got {len(features)} and {len(curves)}"
        )
    basis = DynamicsBasis.load()
    model = model or load_model(weights, device)
    config = sampler_config(model, steps, guidance)
    parts = sample_parts(model, basis, features, curves, seed=seed, config=config, progress=progress)
    parts = finish(parts, features, curves, model, basis, seed, style or MotionStyle())
    tongue = tongue_track(features)
    return MotionTrack(
        parts.pose.astype(np.float32),
        parts.dynamics.astype(np.float32),
        Fraction(FPS),
        seed,
        hashes={"weights": model.sha256, "basis": registry.sha256_of("basis")},
        tongue=None if tongue is None else tongue * np.clip(curves.mouth, 0, 1).astype(np.float32),
    )


def sampler_config(model: MotionModel, steps: int | None, guidance: Mapping[str, float] | None = None) -> SamplerConfig:
    """Sampling settings stored with the weights; `steps` and `guidance` (by condition: "audio", "gaze", ...) override."""
    config = SamplerConfig(**model.settings.get("sampler", {}))
    if steps is not None:
        config = replace(config, steps=max(1, steps))
    strengths: dict[str, Any] = {f"{name}_guidance": float(value) for name, value in (guidance or {}).items()}
    return replace(config, **strengths)


def sample_parts(
    model: MotionModel,
    basis: DynamicsBasis,
    features: np.ndarray,
    curves: ControlCurves,
    *,
    seed: int,
    config: SamplerConfig,
    progress: Callable[[int, int], None] | None = None,
) -> Parts:
    """The network's motion under the controls, less what the controls ask (`finish` adds that again, exactly), smoothed.

    What is left is how the face moves about what was asked, so that sizes and the silence gate can scale it without touching
    gaze, distance and emotion.
    """
    asked = ControlConditions(
        np.radians(curves.gaze).astype(np.float32), np.log(curves.distance).astype(np.float32), curves.emotion
    )
    motion = generate_windows(model, features, asked, seed=seed, config=config)
    motion -= control_offsets(curves, basis, model.stats.lids_per_gaze)
    pose, z = motion[:, :POSE], motion[:, POSE:].copy()
    pose = smooth_track(pose, HEAD_SMOOTH)
    pose = HEAD_LIMIT * np.tanh(pose / HEAD_LIMIT)
    z[:, basis.blocks["gaze"]] = smooth_track(z[:, basis.blocks["gaze"]], GAZE_SMOOTH)
    for block in ("lids", "brows"):
        z[:, basis.blocks[block]] = smooth_track(z[:, basis.blocks[block]], FACE_SMOOTH)
    z[:, basis.blocks["gaze"]] = DART_LIMIT * np.tanh(z[:, basis.blocks["gaze"]] / DART_LIMIT)
    return Parts(pose, z)


def finish(
    parts: Parts, features: np.ndarray, curves: ControlCurves, model: MotionModel, basis: DynamicsBasis, seed: int,
    style: MotionStyle,
) -> Parts:  # fmt: skip
    """Silence gate, part sizes, behaviours, lips shut at bilabials, controls, blinks. Blinks come last, so that shut eyes are
    shut whatever the gaze and the emotion ask.
    """
    activity = model.voice(model.normalise_features(features).numpy())
    config, follow = GateConfig(**model.settings.get("gate", {})), model.stats.lids_per_gaze
    acts = behave(features, curves, style, seed, basis, activity > 0)
    opened = gate(activity, config)
    parts = enliven(scale_parts(parts, curves, basis, opened), acts, curves, style, basis, follow)
    parts = Parts(parts.pose, shut_lips(parts.dynamics, closing(features), basis))
    spoken = lip_gap(parts.dynamics, basis)
    parts = add_controls(parts, curves, basis, follow)
    z = give_way(parts.dynamics, spoken, curves.emotion, opened, basis)
    return Parts(parts.pose, close_lids(z, acts.blink, basis))
