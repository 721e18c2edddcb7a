"""The motion track: what `generate` writes and `render` plays.

Axes of the canonical face space (units: inter-ocular distance, outer eye corner to outer eye corner, landmarks 33 and 263):
x to the right of the picture, y down, z away from the camera. Head rotation is R = Ry(yaw) Rx(pitch) Rz(roll) applied to
canonical vertices, so yaw > 0 turns the face to the left of the picture, pitch > 0 lowers it, roll > 0 tilts it clockwise.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vasa_cli.errors import InputError
from vasa_cli.limits import FPS_RANGE, MOTION_BYTES, check_duration
from vasa_cli.parsing import check_safetensors, load_json

FORMAT = "vasa-motion/1"
_OPTIONAL = ("tongue", "vergence")
_RATE = re.compile(r"([0-9]{1,9})(?:/([0-9]{1,9}))?")
_SEED = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class MotionTrack:
    """Head pose and facial dynamics, frame by frame; independent of the face that plays it.

    pose      (T, 6) float32: yaw, pitch, roll in radians; x, y in face widths (landmarks 234 to 454; right, down); log head
    distance.
              Every column is an offset from the portrait's own rest pose: zeros leave the head where the photo has it.
    dynamics  (T, K) float32: z_dyn, coefficients of the dynamics basis; zeros are the neutral face (lips closed, eyes open,
    gaze ahead).
    tongue    (T,) float32 0..1: how high the tongue's tip is, 1 at the upper teeth; None where nothing was heard (measured
    motion).
    vergence  (T,) float32 radians: how far each eye turns towards the nose, more than at rest; None for eyes that look far.
    fps       exact frame rate.
    seed      seed that the motion was generated from; -1 when it was measured, not generated.
    controls  the resolved controls, JSON-serialisable.
    hashes    names to hex digests: "weights", "basis", "audio", ...
    """

    pose: np.ndarray
    dynamics: np.ndarray
    fps: Fraction = Fraction(25)
    seed: int = 0
    controls: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    tongue: np.ndarray | None = None
    vergence: np.ndarray | None = None

    def __post_init__(self) -> None:
        if any(a is not None and a.dtype.kind != "f" for a in (self.pose, self.dynamics, self.tongue, self.vergence)):
            raise ValueError("a motion is made of floating-point numbers")
        if self.pose.ndim != 2 or self.pose.shape[1] != 6:
            raise ValueError(f"pose must be (T, 6), got {self.pose.shape}")
        if self.dynamics.ndim != 2 or len(self.dynamics) != len(self.pose):
            raise ValueError(f"dynamics must be ({len(self.pose)}, K), got {self.dynamics.shape}")
        for name in _OPTIONAL:
            if (values := getattr(self, name)) is not None and values.shape != (len(self.pose),):
                raise ValueError(f"{name} must be ({len(self.pose)},), got {values.shape}")

    def __len__(self) -> int:
        return len(self.pose)

    def select(self, frames: np.ndarray | slice) -> MotionTrack:
        """The track of these frames alone (indices, or a slice)."""
        kept = {name: values[frames] for name in _OPTIONAL if (values := getattr(self, name)) is not None}
        return replace(self, pose=self.pose[frames], dynamics=self.dynamics[frames], **kept)

    def save(self, path: Path) -> None:
        """Write one .safetensors file (the caller handles .part and rename). Raises OSError."""
        from safetensors.numpy import save

        meta = {
            "format": FORMAT,
            "fps": f"{self.fps.numerator}/{self.fps.denominator}",
            "seed": str(self.seed),
            "controls": json.dumps(self.controls, sort_keys=True),
            "hashes": json.dumps(self.hashes, sort_keys=True),
        }
        tensors = {
            "pose": np.ascontiguousarray(self.pose, np.float32),
            "dynamics": np.ascontiguousarray(self.dynamics, np.float32),
        }
        for name in _OPTIONAL:
            if (values := getattr(self, name)) is not None:
                tensors[name] = np.ascontiguousarray(values, np.float32)
        path.write_bytes(save(tensors, metadata=meta))  # save_file has an error of its own for a full disk

    @classmethod
    def load(cls, path: Path) -> MotionTrack:
        """Read a motion file. Raises InputError when it is not one, is damaged, or is of another format version."""
        from safetensors import SafetensorError, safe_open

        try:
            check_safetensors(path, MOTION_BYTES)
            with safe_open(str(path), framework="numpy") as f:
                meta = f.metadata() or {}
                if meta.get("format") != FORMAT:
                    raise InputError(
                        f"{path}: not a motion file of format {FORMAT} (found {meta.get('format')!r}); run `vasa generate` again"
                    )
                pose, dynamics = f.get_tensor("pose"), f.get_tensor("dynamics")
                more = {name: f.get_tensor(name) for name in _OPTIONAL if name in f.keys()}  # noqa: SIM118  (not a dict)
            if not all(np.isfinite(a).all() for a in (pose, dynamics, *more.values())):
                raise InputError(f"{path}: the motion holds values that are not numbers; run `vasa generate` again")
            fps, seed = parse_rate(meta["fps"]), _seed(meta["seed"])
            controls, hashes = (_mapping(meta[key]) for key in ("controls", "hashes"))
            check_duration(str(path), float(len(pose) / fps))
            return cls(pose, dynamics, fps, seed, controls, hashes, **more)
        except FileNotFoundError as e:
            raise InputError(f"{path}: no such motion file") from e
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as e:
            raise InputError(f"{path}: damaged or not a motion file ({e}); run `vasa generate` again") from e


def parse_rate(text: str) -> Fraction:
    """'25' or '30000/1001'. Raises ValueError: also for '1e999999999', which Fraction would write out."""
    found = _RATE.fullmatch(text)
    below = int(found[2] or 1) if found else 0
    if found is None or below == 0 or not FPS_RANGE[0] <= Fraction(int(found[1]), below) <= FPS_RANGE[1]:
        raise ValueError(f"a frame rate of {text[:30]!r}; allowed is {FPS_RANGE[0]} to {FPS_RANGE[1]}")
    return Fraction(int(found[1]), below)


def _seed(text: str) -> int:
    if not _SEED.fullmatch(text):
        raise ValueError(f"a seed of {text[:30]!r}")
    return int(text)


def _mapping(text: str) -> dict[str, Any]:
    data = load_json(text)
    if not isinstance(data, dict):
        raise ValueError(f"expected a mapping, found {type(data).__name__}")
    return data


def joined(blocks: list[MotionTrack]) -> MotionTrack:
    """Consecutive blocks, of which there is at least one, as one track; seed, controls and hashes are the first one's."""
    if len(blocks) == 1:
        return blocks[0]
    names = [name for name in ("pose", "dynamics", *_OPTIONAL) if getattr(blocks[0], name) is not None]
    return replace(blocks[0], **{name: np.concatenate([getattr(block, name) for block in blocks]) for name in names})
