"""What the user asks of a motion: gaze, head distance, emotion and the size of each part's movement.

A control is a constant or a list of keyframes in seconds. Between keyframes it eases (smoothstep), outside them it holds; with
`repeat` the keyframes recur every so many seconds. Validation of user input lives in `presets.py`; here values are in range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vasa_cli.motion.behaviour.style import MotionStyle

if TYPE_CHECKING:
    import numpy as np

EMOTIONS = ("happy", "sad", "angry", "surprised", "afraid", "disgusted", "contempt")
SCALES = ("head", "brows", "blink", "mouth")
GAZE_YAW_LIMIT = 30.0  # degrees, + = right of the picture
GAZE_PITCH_LIMIT = 25.0  # degrees, + = up
DISTANCE_RANGE = (0.6, 1.8)  # 1.0 = as in the photo, larger = farther away
SCALE_RANGE = (0.0, 2.0)  # 1.0 = as generated
GUIDANCE = ("audio", "gaze", "distance", "emotion")  # conditions whose guidance can be set
GUIDANCE_RANGE = (0.0, 4.0)
LONGEST = 86400.0  # seconds: of keyframe times and of `repeat`
CURVE_COLUMNS = 2 + 1 + len(EMOTIONS) + len(SCALES)


@dataclass(frozen=True)
class ControlCurves:
    """Controls sampled at frame times, all float32.

    gaze (T, 2) degrees: yaw + = right of the picture, pitch + = up; distance (T,) relative to the photo; emotion (T, 7) weights
    0..1 in the order of EMOTIONS; head, brows, blink, mouth (T,) scales, 1 = as generated.
    """

    gaze: np.ndarray
    distance: np.ndarray
    emotion: np.ndarray
    head: np.ndarray
    brows: np.ndarray
    blink: np.ndarray
    mouth: np.ndarray

    def __len__(self) -> int:
        return len(self.distance)

    def rows(self) -> np.ndarray:
        """(T, CURVE_COLUMNS) float32: all of them side by side, in the order of the fields."""
        import numpy as np

        return np.concatenate([np.reshape(getattr(self, f.name), (len(self), -1)) for f in fields(self)], 1).astype(np.float32)

    @classmethod
    def of_rows(cls, rows: np.ndarray) -> ControlCurves:
        """The inverse of `rows`."""
        gaze, emotion = rows[:, :2], rows[:, 3 : 3 + len(EMOTIONS)]
        return cls(gaze, rows[:, 2], emotion, *rows[:, 3 + len(EMOTIONS) :].T)


@dataclass(frozen=True)
class Curve:
    """A control over time: keyframe times in seconds, strictly rising, and as many value tuples of equal length."""

    times: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.values):
            raise ValueError(f"a curve needs as many values as times, got {len(self.values)} and {len(self.times)}")
        if any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"keyframe times must rise, got {self.times}")

    @classmethod
    def constant(cls, *value: float) -> Curve:
        return cls((0.0,), (tuple(float(v) for v in value),))

    @property
    def is_constant(self) -> bool:
        return len(set(self.values)) == 1

    def sample(self, seconds: np.ndarray, repeat: float | None = None) -> np.ndarray:
        """Values at the given times.  (T,) -> (T, D) float32"""
        import numpy as np

        times = np.asarray(self.times, np.float64)
        values = np.asarray(self.values, np.float64)  # (N, D)
        if repeat is not None and len(times) > 1:
            seconds = np.mod(seconds, repeat)
            times = np.append(times, times[0] + repeat)  # the first keyframe of the next round
            values = np.append(values, values[:1], axis=0)
            seconds = np.where(seconds < times[0], seconds + repeat, seconds)
        right = np.clip(np.searchsorted(times, seconds, side="right"), 1, max(len(times) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(times) - 1)
        span = np.maximum(times[right] - times[left], 1e-9)
        x = np.clip((seconds - times[left]) / span, 0.0, 1.0)
        ease = (x * x * (3.0 - 2.0 * x))[:, None]  # smoothstep: no velocity at the keyframes
        return ((1.0 - ease) * values[left] + ease * values[right]).astype(np.float32)

    def to_json(self) -> list[Any]:
        return [[t, *v] for t, v in zip(self.times, self.values, strict=True)]

    @classmethod
    def from_json(cls, rows: list[Any]) -> Curve:
        if not isinstance(rows, list) or not all(isinstance(r, list) and r for r in rows):
            raise ValueError("a curve is a list of keyframes [seconds, value...]")
        return cls(tuple(float(r[0]) for r in rows), tuple(tuple(float(v) for v in r[1:]) for r in rows))


@dataclass(frozen=True)
class Controls:
    """All controls of one motion. `Controls.default()` asks for nothing: the motion as generated, the gaze at the camera.

    style: the manner of the motion. guidance: strengths of classifier-free guidance by condition (names of GUIDANCE), those
    that are not the weights' own.
    """

    gaze: Curve = field(default_factory=lambda: Curve.constant(0.0, 0.0))
    distance: Curve = field(default_factory=lambda: Curve.constant(1.0))
    emotion: Curve = field(default_factory=lambda: Curve.constant(*(0.0 for _ in EMOTIONS)))
    head: Curve = field(default_factory=lambda: Curve.constant(1.0))
    brows: Curve = field(default_factory=lambda: Curve.constant(1.0))
    blink: Curve = field(default_factory=lambda: Curve.constant(1.0))
    mouth: Curve = field(default_factory=lambda: Curve.constant(1.0))
    repeat: float | None = None  # seconds after which the keyframes recur
    style: MotionStyle = field(default_factory=MotionStyle)
    guidance: tuple[tuple[str, float], ...] = ()

    @classmethod
    def default(cls) -> Controls:
        return cls()

    def curves(self, frames: int, fps: Fraction | float, first: int = 0) -> ControlCurves:
        """Sample at the times of `frames` frames from frame `first` on, at `fps` frames a second."""
        import numpy as np

        seconds = np.arange(first, first + frames, dtype=np.float64) / float(fps)
        sampled = {name: getattr(self, name).sample(seconds, self.repeat) for name in CURVE_NAMES}
        for name in ("distance", *SCALES):
            sampled[name] = sampled[name][:, 0]
        return ControlCurves(**sampled)

    def with_curves(self, **curves: Curve) -> Controls:
        changed: dict[str, Any] = dict(curves)
        return replace(self, **changed)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers: each curve as rows [seconds, value...]."""
        out: dict[str, Any] = {name: getattr(self, name).to_json() for name in CURVE_NAMES}
        return {**out, "repeat": self.repeat, "style": self.style.to_json(), "guidance": dict(self.guidance)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Controls:
        """The inverse of `to_json`. Raises ValueError on unknown names, wrong sizes and numbers that are none."""
        if not isinstance(data, dict) or not isinstance(data.get("guidance") or {}, dict):
            raise ValueError("controls are mappings")
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown controls: {', '.join(sorted(unknown))}")
        default = cls()
        curves: dict[str, Any] = {}
        for name in CURVE_NAMES:
            if name not in data:
                continue
            curve = Curve.from_json(data[name])
            width = len(getattr(default, name).values[0])
            if any(len(v) != width or not all(math.isfinite(x) for x in v) for v in curve.values):
                raise ValueError(f"control {name}: every keyframe needs {width} finite numbers")
            if not all(math.isfinite(t) and abs(t) <= LONGEST for t in curve.times):
                raise ValueError(f"control {name}: a keyframe at no time that can be")
            if any(abs(x) > _largest(name) for v in curve.values for x in v):
                raise ValueError(f"control {name}: a value beyond {_largest(name):g}")
            curves[name] = curve
        guidance = tuple((str(k), float(v)) for k, v in (data.get("guidance") or {}).items())
        if any(k not in GUIDANCE or not math.isfinite(v) for k, v in guidance):
            raise ValueError(f"guidance: known are {', '.join(GUIDANCE)}, found {dict(guidance)}")
        repeat = None if data.get("repeat") is None else float(data["repeat"])
        if repeat is not None and not 0 < repeat <= LONGEST:
            raise ValueError(f"repeat = {repeat}: allowed is above 0, up to {LONGEST:g} seconds")
        return cls(**curves, repeat=repeat, style=MotionStyle.from_json(data.get("style")), guidance=guidance)


def _largest(name: str) -> float:
    """The largest absolute value of a control."""
    return {"gaze": GAZE_YAW_LIMIT, "distance": DISTANCE_RANGE[1], "emotion": 1.0}.get(name, SCALE_RANGE[1]) + 1e-3


CURVE_NAMES = tuple(f.name for f in fields(Controls) if f.name not in ("repeat", "style", "guidance"))
