"""Rows of teeth on the dental arch: the arch's geometry and teeth drawn to measure.

A row is a strip rolled off its arch. Coordinates in inter-ocular distances (IOD, 88 mm on an average adult): u along the arch
from the middle, + = right of the picture; y down from the line where the closed lips meet. The arch lies level: a place (u, y)
stands at (x, y, z) behind the middle incisors, x = x(u), z = CURVE x^2 (dental arches are close to parabolas; Currier, 1969).
Tooth sizes: Ash & Nelson, "Wheeler's Dental Anatomy", mesiodistal crown widths and crown lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

MM = 1 / 88.0  # IOD
CURVE = 2.64  # of the arch, per IOD: 9 mm deep at the canines
BEHIND_LIPS = 0.06  # IOD from the lips' inner edge back to the upper incisors' face
LOWER_BEHIND = 0.03  # IOD the lower incisors stand behind the upper ones
HALF_ARC = 0.46  # IOD along the arch that a strip reaches to each side
UPPER_Y, LOWER_Y = (-0.17, 0.13), (-0.09, 0.21)  # IOD: what a strip shows
SHAPE = (80, 240)  # texels (h, w)
CHANNELS = 5  # red, green, blue, coverage of teeth, coverage of gum over them

_UPPER_WIDTHS = (8.6, 6.6, 7.6, 7.0, 6.8, 10.0)  # mm from the middle: incisors, canine, premolars, molar
_LOWER_WIDTHS = (5.3, 5.7, 6.8, 7.0, 7.1, 11.0)
_UPPER_EDGES = (1.9, 1.3, 1.7, 0.9, 0.5, 0.2)  # mm below the lips' line
_LOWER_EDGES = (2.2, 2.2, 2.0, 2.3, 2.6, 2.8)
_UPPER_GUM = (-8.4, -7.4, -8.8, -7.6, -7.0, -6.6)  # mm: where the gum begins
_LOWER_GUM = (10.6, 10.8, 11.4, 11.0, 10.6, 10.4)
TOOTH = np.array([0.90, 0.86, 0.79])  # albedo under white light
GUM = np.array([0.66, 0.36, 0.35])


Numbers = TypeVar("Numbers", np.ndarray, "torch.Tensor")


def lip_shade(below: Numbers, above: Numbers, exp: Callable[[Numbers], Numbers]) -> Numbers:
    """Share of the light that reaches teeth `below` the upper and `above` the lower lip's edge (IOD, >= 0): lips shade what is
    close behind them, the upper one more, and a slit lets little light in."""
    shade = (1 - 0.40 * exp(-below / 0.022)) * (1 - 0.22 * exp(-above / 0.02))
    return shade * (1 - 0.4 * exp(-(below + above) / 0.045))


def arc_of(x: np.ndarray) -> np.ndarray:
    """Length along the arch from its middle to x, IOD."""
    t = 2 * CURVE * np.asarray(x, np.float64)
    return np.asarray((t * np.sqrt(1 + t * t) + np.arcsinh(t)) / (4 * CURVE))


def place_on_arch(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and depth z (IOD) of places u along the arch."""
    x = np.linspace(-HALF_ARC, HALF_ARC, 513)
    at = np.interp(u, arc_of(x), x)
    return at, CURVE * at**2


def grid(span: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """u, y in IOD at the texels of a strip that shows y in `span`; each (h, w)."""
    y = span[0] + (np.arange(SHAPE[0]) + 0.5) / SHAPE[0] * (span[1] - span[0])
    u = ((np.arange(SHAPE[1]) + 0.5) / SHAPE[1] * 2 - 1) * HALF_ARC
    gu, gy = np.meshgrid(u, y)
    return gu, gy


def _smooth(a: np.ndarray, lo: float, hi: float) -> np.ndarray:
    t = np.clip((a - lo) / (hi - lo), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _row(
    span: tuple[float, float], shift: float, widths: tuple[float, ...], edges: tuple[float, ...], gums: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shade, coverage of the crowns, coverage of the gum, each (h, w). Crowns go on under the gum, so that gums can stay
    hidden."""
    gu, gy = grid(span)
    away = -1.0 if span[0] < -span[1] else 1.0  # from the edge to the root: up in the upper row
    texel = (span[1] - span[0]) / SHAPE[0]
    ends = np.concatenate([[0], np.cumsum(widths)]) * MM
    which = np.clip(np.searchsorted(ends, np.abs(gu), side="right") - 1, 0, len(widths) - 1)
    half = np.asarray(widths)[which] * MM / 2
    s = (np.abs(gu) - ends[which]) / half - 1  # -1..1 across a crown
    edge, gum = np.asarray(edges)[which] * MM + shift, np.asarray(gums)[which] * MM + 0.3 * shift
    v = (gy - edge) / (gum - edge)  # 0 at the cutting edge, 1 at the gum
    pointed = np.asarray([0, 0.25, 1.0, 0.7, 0.5, 0.2])[which] * 0.9 * MM
    rounding = 0.9 * MM * np.maximum(np.abs(s) - 0.55, 0) ** 2 / 0.2 + pointed * s**2  # how far the edge draws back
    cover = np.clip(((gy - edge) * away - rounding) / texel + 0.5, 0, 1) * (np.abs(gu) < ends[-1])
    seam = half * (1 - np.abs(s))  # from the crown's own side
    seam += 0.35 * MM * np.clip(1 - v * 4, 0, 1)
    groove = np.exp(-((seam / (0.55 * MM)) ** 2))  # a soft shadow between neighbours
    form = 1 - 0.05 * np.abs(s) ** 3 - 0.10 * _smooth(v, 0.45, 1.2) - 0.05 * np.clip(1 - v / 0.15, 0, 1)
    shade = form * (1 - 0.12 * groove)
    scallop = gum + away * -1.1 * MM * (np.abs(s) ** 2.2)  # papillae reach down between the crowns
    gum_cover = np.clip((gy - scallop) * away / (1.5 * texel) + 0.5, 0, 1) * (np.abs(gu) < ends[-1])
    return shade, cover, gum_cover


def drawn_rows(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower row under white light, `shift` IOD lower than usual, (h, w, 5) float 0..1: colour, coverage of teeth,
    coverage of gum."""
    out = []
    for span, widths, edges, gums, level in (
        (UPPER_Y, _UPPER_WIDTHS, _UPPER_EDGES, _UPPER_GUM, 1.0),
        (LOWER_Y, _LOWER_WIDTHS, _LOWER_EDGES, _LOWER_GUM, 0.90),
    ):
        shade, cover, gum = _row(span, shift, widths, edges, gums)
        warm = _smooth(np.abs(grid(span)[0]), 0.12, 0.35)[..., None] * np.array([0.02, 0.05, 0.09])  # back teeth are yellower
        colour = TOOTH * (1 - warm) * shade[..., None] * level
        out.append(np.concatenate([colour, cover[..., None], gum[..., None]], -1))
    return out[0], out[1]
