"""The schema of preset files: every control's constant form and keyframe form, and their way to `Controls`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vasa_cli.motion.behaviour.style import PACE_RANGE, STYLE_NAMES, STYLE_RANGE, MotionStyle, random_style
from vasa_cli.motion.controls import (
    DISTANCE_RANGE,
    EMOTIONS,
    GAZE_PITCH_LIMIT,
    GAZE_YAW_LIMIT,
    GUIDANCE,
    GUIDANCE_RANGE,
    SCALE_RANGE,
    SCALES,
    Controls,
    Curve,
)

Weight = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0.0, le=86400.0, allow_inf_nan=False)]
Yaw = Annotated[float, Field(ge=-GAZE_YAW_LIMIT, le=GAZE_YAW_LIMIT, allow_inf_nan=False)]
Pitch = Annotated[float, Field(ge=-GAZE_PITCH_LIMIT, le=GAZE_PITCH_LIMIT, allow_inf_nan=False)]
Distance = Annotated[float, Field(ge=DISTANCE_RANGE[0], le=DISTANCE_RANGE[1], allow_inf_nan=False)]
Scale = Annotated[float, Field(ge=SCALE_RANGE[0], le=SCALE_RANGE[1], allow_inf_nan=False)]
Strength = Annotated[float, Field(ge=GUIDANCE_RANGE[0], le=GUIDANCE_RANGE[1], allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=STYLE_RANGE[0], le=STYLE_RANGE[1], allow_inf_nan=False)]
Pace = Annotated[float, Field(ge=PACE_RANGE[0], le=PACE_RANGE[1], allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gaze(_Strict):
    yaw: Yaw = 0.0
    pitch: Pitch = 0.0


class GazeKey(Gaze):
    t: Seconds


class DistanceKey(_Strict):
    t: Seconds
    value: Distance


class ScaleKey(_Strict):
    t: Seconds
    value: Scale


class Emotion(_Strict):
    happy: Weight = 0.0
    sad: Weight = 0.0
    angry: Weight = 0.0
    surprised: Weight = 0.0
    afraid: Weight = 0.0
    disgusted: Weight = 0.0
    contempt: Weight = 0.0


class EmotionKey(Emotion):
    t: Seconds


class Guidance(_Strict):
    """Strengths of classifier-free guidance; None is the weights' own."""

    audio: Strength | None = None
    gaze: Strength | None = None
    distance: Strength | None = None
    emotion: Strength | None = None

    def pairs(self) -> tuple[tuple[str, float], ...]:
        return tuple((name, value) for name in GUIDANCE if (value := getattr(self, name)) is not None)


class Style(_Strict):
    """A manner: factors around that of `seed`, or around the default manner."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    head_yaw: Factor | None = None
    head_pitch: Factor | None = None
    head_roll: Factor | None = None
    sway: Factor | None = None
    pace: Pace | None = None
    nods: Factor | None = None
    brows: Factor | None = None
    blinks: Factor | None = None
    darts: Factor | None = None
    dart_size: Factor | None = None
    mouth: Factor | None = None
    listening: Factor | None = None

    def to_style(self) -> MotionStyle:
        base = MotionStyle() if self.seed is None else random_style(self.seed)
        return replace(base, **{name: value for name in STYLE_NAMES if (value := getattr(self, name)) is not None})


# Which model a value is checked against: its constant form and its keyframe form.
FORMS: dict[str, tuple[Any, type[_Strict]]] = {
    "gaze": (Gaze, GazeKey),
    "distance": (Distance, DistanceKey),
    "emotion": (Emotion, EmotionKey),
    **dict.fromkeys(SCALES, (Scale, ScaleKey)),
}


EXTRAS: dict[str, type[_Strict]] = {"guidance": Guidance, "style": Style}  # never keyframes


class PresetFile(_Strict):
    """The schema of a preset file. Every control may be a constant or a list of keyframes, each with `t` in seconds."""

    name: str | None = None
    description: str = ""
    repeat: Annotated[float, Field(gt=0.0, le=86400.0, allow_inf_nan=False)] | None = None
    gaze: Gaze | list[GazeKey] | None = None
    distance: Distance | list[DistanceKey] | None = None
    emotion: Emotion | list[EmotionKey] | None = None
    head: Scale | list[ScaleKey] | None = None
    brows: Scale | list[ScaleKey] | None = None
    blink: Scale | list[ScaleKey] | None = None
    mouth: Scale | list[ScaleKey] | None = None
    guidance: Guidance | None = None
    style: Style | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_form_each(cls, data: Any) -> Any:
        """Check each control against the one form it is written in, so that messages name one range, not every alternative."""
        if not isinstance(data, Mapping):
            return data
        out = dict(data)
        for key, (_constant, _keyframe) in FORMS.items():
            value = out.get(key)
            if value is None:
                continue
            holder = _KEYFRAMES[key] if isinstance(value, list) else _CONSTANTS[key]
            out[key] = getattr(holder.model_validate({key: value}), key)
        return out

    @model_validator(mode="after")
    def _times_rise(self) -> PresetFile:
        for key in FORMS:
            value = getattr(self, key)
            if not isinstance(value, list):
                continue
            times = [k.t for k in value]
            if not times or any(b <= a for a, b in itertools.pairwise(times)):
                raise ValueError(f"{key}: keyframes need rising times t, found {times}")
            if self.repeat is not None and times[-1] - times[0] >= self.repeat:
                raise ValueError(
                    f"{key}: keyframes span {times[-1] - times[0]:g} s, which must be less than repeat = {self.repeat:g} s"
                )
        return self

    def to_controls(self) -> Controls:
        curves = {key: _curve(key, value) for key in FORMS if (value := getattr(self, key)) is not None}
        style = MotionStyle() if self.style is None else self.style.to_style()
        return Controls(**curves, repeat=self.repeat, style=style, guidance=self.guidance.pairs() if self.guidance else ())


def _holder(key: str, form: Any) -> type[BaseModel]:
    from pydantic import create_model

    return create_model(f"_{key}", __config__=ConfigDict(extra="forbid"), **{key: (form, ...)})  # type: ignore[call-overload, no-any-return]


_CONSTANTS = {key: _holder(key, constant) for key, (constant, _) in FORMS.items()}
_KEYFRAMES = {key: _holder(key, list[keyframe]) for key, (_, keyframe) in FORMS.items()}  # type: ignore[valid-type]


def _row(value: Any) -> tuple[float, ...]:
    if isinstance(value, Gaze):
        return (value.yaw, value.pitch)
    if isinstance(value, Emotion):
        return tuple(getattr(value, name) for name in EMOTIONS)
    return (float(value.value),) if isinstance(value, (DistanceKey, ScaleKey)) else (float(value),)


def _curve(key: str, value: Any) -> Curve:
    if isinstance(value, list):
        return Curve(tuple(float(k.t) for k in value), tuple(_row(k) for k in value))
    return Curve((0.0,), (_row(value),))
