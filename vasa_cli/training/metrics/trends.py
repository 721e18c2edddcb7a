"""The paper's ablation: what a grid of guidance strengths and steps says about each of the trends that VASA-1 reports."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

LEAST = 0.01  # share of a measure's mean size below which a change is none
AUDIO, GAZE, STEPS = (0.0, 0.5, 1.0, 2.0), (0.0, 1.0, 2.0), (4, 10, 50)


@dataclass(frozen=True)
class Cell:
    """One setting and what it scored: sync confidence and distance, own-CAPP, mean head angle between frames (deg), gaze error
    (deg) and distance error."""

    objective: str
    audio: float
    gaze: float
    steps: int
    sync: float
    distance: float
    capp: float
    delta_p: float
    e_g: float
    e_d: float


@dataclass(frozen=True)
class Trend:
    """A claim: along `axis` from small to large, `measure` goes `sign`-wards (steps: fewer is the direction claimed)."""

    axis: str
    measure: str
    sign: int
    words: str


TRENDS = (
    Trend("audio", "sync", 1, "stronger audio guidance syncs better"),
    Trend("audio", "delta_p", 1, "stronger audio guidance moves the head more"),
    Trend("gaze", "e_g", -1, "stronger gaze guidance looks more exactly where it was asked to"),
    Trend("steps", "sync", -1, "fewer steps sync better"),
    Trend("steps", "delta_p", 1, "fewer steps move the head less"),
)


def lines(cells: Many[Cell], axis: str) -> list[list[Cell]]:
    """Cells that differ in `axis` alone, sorted by it."""
    rest = [a for a in ("objective", "audio", "gaze", "steps") if a != axis]
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for c in cells:
        groups.setdefault(tuple(getattr(c, a) for a in rest), []).append(c)
    return [sorted(g, key=lambda c: float(getattr(c, axis))) for g in groups.values() if len(g) > 1]


@dataclass(frozen=True)
class Verdict:
    """change: mean difference of the measure between the largest and the smallest value of the axis; agree: share of lines whose
    ends differ in the claimed direction; scatter: standard deviation of that difference over lines; seen: the claim holds; level:
    there is hardly any change."""

    trend: Trend
    change: float
    scatter: float
    agree: float
    seen: bool
    level: bool


def judge(cells: Many[Cell], trend: Trend, least: float = LEAST) -> Verdict:
    """Seen: the mean change has the claimed sign, at least two lines of three agree, and the change is larger than the standard
    error of its mean (twice) and than `least` of the measure's mean size."""
    ends = np.array([getattr(g[-1], trend.measure) - getattr(g[0], trend.measure) for g in lines(cells, trend.axis)])
    if not len(ends):
        return Verdict(trend, float("nan"), float("nan"), float("nan"), False, True)
    toward = trend.sign * ends
    error = float(ends.std() / np.sqrt(len(ends)))
    floor = least * float(np.mean([abs(getattr(c, trend.measure)) for c in cells]))
    seen = bool(toward.mean() > max(2 * error, floor) and (toward > 0).mean() >= 2 / 3)
    level = bool(abs(ends.mean()) <= floor)
    return Verdict(trend, float(ends.mean()), float(ends.std()), float((toward > 0).mean()), seen, level)


def means(cells: Many[Cell], axis: str, measure: str) -> dict[float, float]:
    """Mean of a measure at each value of an axis."""
    values = sorted({float(getattr(c, axis)) for c in cells})
    return {v: float(np.mean([getattr(c, measure) for c in cells if float(getattr(c, axis)) == v])) for v in values}


def paragraph(cells: Many[Cell], note: Callable[[str], str] = str) -> str:
    """What the grid says, trend by trend and objective by objective; every word that judges is computed."""
    out = []
    for objective in dict.fromkeys(c.objective for c in cells):
        mine = [c for c in cells if c.objective == objective]
        out.append(f"**{note(objective)}**")
        for trend in TRENDS:
            v = judge(mine, trend)
            path = " → ".join(f"{x:.3f}" for x in means(mine, trend.axis, trend.measure).values())
            at = ", ".join(f"{k:g}" for k in means(mine, trend.axis, trend.measure))
            against = trend.sign * v.change < 0 and v.agree < 0.5
            verdict = "seen" if v.seen else "no difference" if v.level else "not seen, the opposite" if against else "not seen"
            out.append(
                f"- {trend.words} ({trend.measure} at {trend.axis} {at}: {path}; {v.agree:.0%} of the lines agree): **{verdict}**"
            )
        out.append("")
    return "\n".join(out).strip()
