"""A person's manner: how large and how fast each part of a motion is, relative to the default manner (1 everywhere).

A style is drawn at random (`random_style`), measured on somebody's motion (`style_of`), or written in a preset. It scales; it
never says when something happens: that is the speech's and the seed's.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.motion.track import MotionTrack

STYLE_RANGE = (0.0, 3.0)
PACE_RANGE = (0.5, 2.0)
SPREAD = 0.35  # of the logarithm, of a random manner
RANDOM_RANGE = (0.45, 2.0)


@dataclass(frozen=True)
class MotionStyle:
    """Factors, 1 = the default manner.

    head_yaw, head_pitch, head_roll: size of the head's turns; sway: of its shifts and of the breath; pace: how fast the head
    moves; nods: size of nods and tilts with the speech; brows: size of brow movement; blinks: how many a minute; darts and
    dart_size: how often and how far the eyes leave the viewer; mouth: size of the mouth's movement; listening: how much the
    face answers while nobody speaks.
    """

    head_yaw: float = 1.0
    head_pitch: float = 1.0
    head_roll: float = 1.0
    sway: float = 1.0
    pace: float = 1.0
    nods: float = 1.0
    brows: float = 1.0
    blinks: float = 1.0
    darts: float = 1.0
    dart_size: float = 1.0
    mouth: float = 1.0
    listening: float = 1.0

    def __post_init__(self) -> None:
        for name in STYLE_NAMES:
            value = getattr(self, name)
            low, high = range_of(name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"style {name} = {value}: allowed is {low:g} to {high:g}")

    @classmethod
    def default(cls) -> MotionStyle:
        return cls()

    def to_json(self) -> dict[str, float]:
        """Name to factor, the defaults left out: the default manner is {}."""
        return {name: round(float(value), 4) for name, value in asdict(self).items() if value != 1.0}

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> MotionStyle:
        """The inverse of `to_json`. Raises ValueError on unknown names and values out of range."""
        if not isinstance(data or {}, dict):
            raise ValueError("a style is a mapping")
        unknown = set(data or {}) - set(STYLE_NAMES)
        if unknown:
            raise ValueError(f"unknown style: {', '.join(sorted(unknown))}")
        return cls(**{name: float(value) for name, value in (data or {}).items()})


STYLE_NAMES = tuple(f.name for f in fields(MotionStyle))


def range_of(name: str) -> tuple[float, float]:
    """Smallest and largest value of a factor."""
    return PACE_RANGE if name == "pace" else STYLE_RANGE


def random_style(seed: int) -> MotionStyle:
    """One person's manner: factors log-normal around 1, the same for the same seed. The mouth varies less: it has to speak."""
    import numpy as np

    rng = np.random.default_rng([seed & 0xFFFFFFFF, 0x57E1E])
    draws = np.exp(rng.normal(0.0, SPREAD, len(STYLE_NAMES)))
    out = {}
    for name, value in zip(STYLE_NAMES, draws, strict=True):
        calm = value**0.3 if name in ("mouth", "pace") else value
        out[name] = round(float(np.clip(calm, *RANDOM_RANGE)), 3)
    return MotionStyle(**out)


# What the default manner shows, measured on 200 s of mixed speech (two seeds) with `manner_of`. A clip's
# manner is its own measure over these.
REFERENCE = {
    "head_yaw": 2.35,  # standard deviation within 10 s, degrees
    "head_pitch": 1.95,
    "head_roll": 1.6,
    "sway": 0.0245,  # face widths, the same
    "pace": 0.119,  # degrees a frame, over the standard deviation of all three turns
    "nods": 0.45,  # degrees, standard deviation of pitch faster than 0.8 s
    "brows": 0.0325,  # IOD, standard deviation within 10 s
    "blinks": 18.5,  # a minute
    "darts": 43.0,  # a minute: gaze moves of more than DART_DEGREES in 80 ms
    "dart_size": 4.8,  # degrees, their median
    "mouth": 0.046,  # IOD, standard deviation of the lip opening
}
DART_DEGREES = 3.0  # in 80 ms: what the tracker's noise does not reach
BLINK = 9  # frames around a closed eye in which nothing can be said about the gaze
PRIOR_SECONDS = 6.0  # a clip of this length moves the manner half way from the default


def style_of(track: MotionTrack, basis: DynamicsBasis) -> MotionStyle:
    """The manner of a motion file, measured or generated. Short clips say little: the shorter, the nearer to the default."""
    import numpy as np

    seconds = len(track) / float(track.fps)
    trust = seconds / (seconds + PRIOR_SECONDS)
    out = {}
    for name, value in manner_of(track, basis).items():
        low, high = range_of(name)
        factor = math.exp(trust * math.log(max(value / REFERENCE[name], 0.05)))
        out[name] = round(float(np.clip(factor, max(low, 0.2), min(high, 2.5))), 3)
    return MotionStyle(**out)


def manner_of(track: MotionTrack, basis: DynamicsBasis) -> dict[str, float]:
    """The measures of `REFERENCE` on a track of any frame rate."""
    import numpy as np

    from vasa_cli.motion.apply import smooth_track

    pose, z = _at_25(track)
    head = np.degrees(pose[:, :3]).astype(np.float32)
    wander = head - smooth_track(head, 125)
    shift = pose[:, 3:5] - smooth_track(pose[:, 3:5], 125)
    speed = np.linalg.norm(np.diff(smooth_track(head, 1), axis=0), axis=-1).mean() if len(head) > 1 else 0.0
    quick = head[:, 1:2] - smooth_track(head[:, 1:2], 10)
    brows = z[:, basis.blocks["brows"]]
    gaps = basis.decode(z)[:, [13, 14], 1]
    rate, size = _darts(np.degrees(z[:, basis.blocks["gaze"]]), head, z[:, basis.blocks["lids"]])
    turns = float(np.sqrt((wander.std(0) ** 2).sum()))
    return {
        "head_yaw": float(wander[:, 0].std()),
        "head_pitch": float(wander[:, 1].std()),
        "head_roll": float(wander[:, 2].std()),
        "sway": float(np.sqrt((shift.std(0) ** 2).sum())),
        "pace": float(speed) / max(turns, 0.1),
        "nods": float(quick.std()),
        "brows": float((brows - smooth_track(brows, 125)).std()),
        "blinks": 1500.0 * _blinks(z[:, basis.blocks["lids"]]) / max(len(z), 1),
        "darts": 1500.0 * rate,
        "dart_size": size,
        "mouth": float((gaps[:, 1] - gaps[:, 0]).std()),
    }


def _at_25(track: MotionTrack) -> tuple[Any, Any]:
    """Pose and dynamics at 25 frames a second."""
    import numpy as np

    n = max(round(len(track) / float(track.fps) * 25), 1)
    at = np.minimum(np.arange(n) * float(track.fps) / 25, len(track) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(track) - 1)
    u = (at - low)[:, None].astype(np.float32)
    return tuple((1 - u) * x[low] + u * x[high] for x in (track.pose, track.dynamics))


def _blinks(lids: Any) -> int:
    """Events in which both lids close by more than 0.45 for at most 0.6 s."""
    import numpy as np

    closure = lids[:, :2].mean(1)
    edges = np.flatnonzero(np.diff(np.r_[0, (closure - np.median(closure) > 0.45).astype(int), 0]))
    return int((edges[1::2] - edges[::2] <= 15).sum())


def _darts(eyes: Any, head: Any, lids: Any) -> tuple[float, float]:
    """Share of frames in which a dart of the eyes begins, and the darts' median size in degrees: gaze (T, 2) less what makes up
    for the head's turns (T, 3), held where blinks hide the irises."""
    import numpy as np

    from vasa_cli.motion.behaviour.gaze import STAY

    if len(eyes) < BLINK:
        return 0.0, REFERENCE["dart_size"]
    gaze = eyes - head[:, :2] * STAY
    shut = np.convolve(lids[:, :2].mean(1) > 0.3, np.ones(BLINK), mode="same") > 0
    held = np.maximum.accumulate(np.where(shut, 0, np.arange(len(gaze))))
    gaze = gaze[held]
    moved = np.linalg.norm(gaze[2:] - gaze[:-2], axis=-1)
    peaks = np.flatnonzero((moved[1:-1] > DART_DEGREES) & (moved[1:-1] >= moved[:-2]) & (moved[1:-1] > moved[2:])) + 1
    return len(peaks) / len(gaze), float(np.median(moved[peaks])) if len(peaks) else REFERENCE["dart_size"]
