"""Controls that change while the stream runs: what a line may say, and curves that ease from what was to what is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vasa_cli.errors import UsageError
from vasa_cli.motion.controls import (
    CURVE_NAMES,
    DISTANCE_RANGE,
    GAZE_PITCH_LIMIT,
    GAZE_YAW_LIMIT,
    SCALE_RANGE,
    SCALES,
    ControlCurves,
    Controls,
    Curve,
)
from vasa_cli.motion.presets import load_preset, nearest, validate

if TYPE_CHECKING:
    import numpy as np

BLEND = 0.4  # seconds from one control to the next
BLEND_RANGE = (0.0, 60.0)
WORDS = (*CURVE_NAMES, "preset", "blend", "reset")
REMEMBERED = 60.0  # seconds for which curves behind the newest frame can be asked again
_LIMITS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "gaze": ((-GAZE_YAW_LIMIT, -GAZE_PITCH_LIMIT), (GAZE_YAW_LIMIT, GAZE_PITCH_LIMIT)),
    "distance": ((DISTANCE_RANGE[0],), (DISTANCE_RANGE[1],)),
    "emotion": ((0.0,), (1.0,)),
    **dict.fromkeys(SCALES, ((SCALE_RANGE[0],), (SCALE_RANGE[1],))),
}


@dataclass(frozen=True)
class Change:
    """What one line asks. curves: a control's name to its new curve; its keyframes count from the change. reset: first all go
    back to the controls of the start. blend: seconds; None for those of the stream."""

    curves: Mapping[str, Curve]
    repeat: float | None = None
    reset: bool = False
    blend: float | None = None


def parse_change(line: str) -> Change:
    """A JSON line, such as {"gaze": [10, 0], "blend": 0.8}, with the words and ranges of presets. Raises UsageError, one line."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as e:  # also numbers of thousands of digits
        raise UsageError(f"control {line.strip()[:60]!r}: not JSON ({getattr(e, 'msg', 'too deep or too long')})") from e
    if not isinstance(data, dict):
        raise UsageError(f'control {line.strip()[:60]!r}: expected an object such as {{"gaze": [10, 0]}}')
    for word in data:
        if word not in WORDS:
            raise UsageError(f"control: unknown word {word[:40]}{nearest(word, WORDS)}; known: {', '.join(WORDS)}")
    blend, reset = _blend(data.pop("blend", None)), data.pop("reset", False)
    if not isinstance(reset, bool):
        raise UsageError(f"control: reset = {reset!r}: expected true")
    curves, repeat = _preset(data.pop("preset", None))
    if isinstance(data.get("gaze"), list):
        data["gaze"] = _pair(data["gaze"])
    for word, value in data.items():
        if value is None or isinstance(value, list):
            raise UsageError(f"control: {word} = {value!r}: expected one value; keyframes belong to presets")
    given = validate(data, "control").to_controls()
    curves |= {word: getattr(given, word) for word in data}
    return Change(curves, repeat, reset, blend)


def _blend(value: Any) -> float | None:
    low, high = BLEND_RANGE
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UsageError(f"control: blend = {value!r}: expected {low:g} to {high:g} seconds")
    return float(value)


def _preset(name: Any) -> tuple[dict[str, Curve], float | None]:
    """All curves of a preset: what it does not name is as in the default."""
    if name is None:
        return {}, None
    if not isinstance(name, str):
        raise UsageError(f"control: preset = {name!r}: expected a name or a file")
    controls = load_preset(name).spec.to_controls()
    return {word: getattr(controls, word) for word in CURVE_NAMES}, controls.repeat


def _pair(value: list[Any]) -> dict[str, Any]:
    if len(value) != 2:
        raise UsageError(f"control: gaze = {value!r}: expected [yaw, pitch] in degrees")
    return {"yaw": value[0], "pitch": value[1]}


# ---------------------------------------------------------------------------------------------------- curves


@dataclass(frozen=True)
class _Aim:
    """Where a control goes from frame `since` on: along `curve`, whose time counts from frame `origin`, after an easing over
    `blend` frames away from an offset and a velocity (a frame) that it had beside the curve."""

    curve: Curve
    origin: int
    repeat: float | None
    since: int = 0
    blend: float = 0.0
    offset: tuple[float, ...] = ()  # in the frame before `since`
    velocity: tuple[float, ...] = ()

    def along(self, frames: np.ndarray, fps: float) -> np.ndarray:
        """The curve alone.  (T,) -> (T, D) float64"""
        import numpy as np

        return self.curve.sample((frames - self.origin) / fps, self.repeat).astype(np.float64)

    def at(self, frames: np.ndarray, fps: float) -> np.ndarray:
        """(T,) -> (T, D): a cubic Hermite takes offset and velocity to zero, so that value and velocity never jump."""
        import numpy as np

        values = self.along(frames, fps)
        if self.blend <= 0 or not self.offset:
            return values
        s = np.clip((frames - self.since + 1) / self.blend, 0.0, 1.0)[:, None]
        stay = 1.0 - s * s * (3.0 - 2.0 * s)
        go = s * (1.0 - s) ** 2 * self.blend
        return values + stay * np.asarray(self.offset) + go * np.asarray(self.velocity)


class LiveControls:
    """Controls over time, changed by lines. Thread-safe.

    `curves` may be asked for any frames, ahead too. A change begins at the first frame of the next call of `curves` (or later,
    where `commit` said that frames are final): a caller re-asks from its first frame that is not final.
    """

    def __init__(self, controls: Controls, fps: Fraction) -> None:
        self.start, self.fps = controls, float(fps)
        self.changes = 0  # accepted so far
        self._lock = threading.Lock()
        self._pending: list[Change] = []
        self._blend = BLEND
        self._final = 0
        self._aims: dict[str, list[_Aim]] = {word: [self._from_start(word)] for word in CURVE_NAMES}

    def _from_start(self, word: str) -> _Aim:
        return _Aim(getattr(self.start, word), 0, self.start.repeat)

    def change(self, change: Change) -> None:
        """Ask for this from the next frame on. A line with a blend alone sets that of all later lines."""
        with self._lock:
            self.changes += 1
            if change.blend is not None and not change.curves and not change.reset:
                self._blend = change.blend
            else:
                self._pending.append(change)

    def line(self, text: str) -> None:
        """Ask for what this JSON line says. Raises UsageError, and then nothing changes."""
        self.change(parse_change(text))

    def commit(self, upto: int) -> None:
        """Frames before `upto` are final: later changes leave them as they are."""
        with self._lock:
            self._final = max(self._final, upto)

    def curves(self, first: int, last: int) -> ControlCurves:
        """Controls of the frames first .. last - 1."""
        import numpy as np

        frames = np.arange(first, last)
        with self._lock:
            at = max(first, self._final)
            for change in self._pending:
                self._begin(change, at)
            self._pending.clear()
            self._final = max(self._final, first)
            sampled: dict[str, Any] = {word: self._sample(word, frames) for word in CURVE_NAMES}
        for word in ("distance", *SCALES):
            sampled[word] = sampled[word][:, 0]
        return ControlCurves(**sampled)

    def _begin(self, change: Change, at: int) -> None:
        blend = (self._blend if change.blend is None else change.blend) * self.fps
        for word in CURVE_NAMES:
            if word in change.curves:
                self._aim(word, _Aim(change.curves[word], at, change.repeat, at, blend))
            elif change.reset:
                start = self._from_start(word)
                self._aim(word, _Aim(start.curve, 0, start.repeat, at, blend))

    def _aim(self, word: str, aim: _Aim) -> None:
        """Leave what was in the last frame without a jump in value or velocity; before the first frame there was nothing."""
        import numpy as np

        now, was = self._aims[word][-1], np.array([aim.since - 2, aim.since - 1], np.float64)
        if aim.since > 0:
            before, goal = now.at(was, self.fps), aim.along(np.array([aim.since - 1, aim.since], np.float64), self.fps)
            moved = (before[1] - before[0]) - (goal[1] - goal[0])
            aim = replace(aim, offset=tuple(before[1] - goal[0]), velocity=tuple(moved))
        kept = [a for a in self._aims[word] if a.since < aim.since]
        old = sum(a.since <= aim.since - REMEMBERED * self.fps for a in kept)
        self._aims[word] = [*kept[max(0, old - 1) :], aim]

    def _sample(self, word: str, frames: np.ndarray) -> np.ndarray:
        """(T,) -> (T, D) float32 within the control's range."""
        import numpy as np

        out = self._aims[word][0].at(frames, self.fps)
        for aim in self._aims[word][1:]:
            later = frames >= aim.since
            if later.any():
                out[later] = aim.at(frames[later], self.fps)
        low, high = _LIMITS[word]
        return np.clip(out, low, high).astype(np.float32)
