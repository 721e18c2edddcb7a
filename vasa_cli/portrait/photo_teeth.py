"""Teeth that the photo shows, rolled off the arch, so that the person's own teeth come back whenever the mouth opens.

What the lips hide is completed: crowns go on under the upper lip in the colour of their visible part, and beyond the outermost
visible tooth drawn teeth follow in the same tone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.portrait import teeth
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.expression import FaceCodes

MAX_TURN = 0.45  # radians of yaw up to which a photo's teeth can be rolled off
LEAST_HEIGHT, LEAST_WIDTH = 0.028, 0.16  # IOD that must be seen of crowns and of the row
LEAST_TEXELS = 60  # that show nothing but tooth
DESHADE = 0.6  # how far the lips' shade is taken off: photos differ, and too much would leave bright seams
RIM = 0.012  # IOD next to the lips that show lip through their wet edge


@dataclass(frozen=True)
class Seen:
    """What the photo shows at the texels of the upper strip. colour (h, w, 3) 0..1, inside (h, w) bool, shade (h, w, 3): how
    much of white comes back there; tooth (h, w) 0..1."""

    colour: np.ndarray
    inside: np.ndarray
    shade: np.ndarray
    tooth: np.ndarray


@dataclass(frozen=True)
class Crowns:
    """The visible run of the upper row, per column of the strip: trust (w,) 0..1, first and last visible y (w,) in IOD, cut
    (w,) 0..1: the lower lip hides the cutting edge."""

    trust: np.ndarray
    first: np.ndarray
    last: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True)
class Rows:
    """upper, lower (h, w, 5) float 0..1; dim (3,) 0..1: what teeth lose of their light in an opening as small as the photo's;
    gain: how much brighter than the scene's light the light must be for them (1 or more: gleaming teeth); own: whether the
    upper row is the photo's."""

    upper: np.ndarray
    lower: np.ndarray
    dim: np.ndarray
    gain: float
    own: bool


def rows_of(square: np.ndarray, landmarks: np.ndarray, codes: FaceCodes, lights: np.ndarray) -> Rows:
    """Both rows of one face. square: the texture, landmarks (478, 3) in crop pixels (512), lights (2, 3): white on what faces
    left and right."""
    seen = _look(square, landmarks, codes, lights)
    crowns = _crowns(seen) if seen is not None else None
    sure = _sure(crowns) if crowns is not None else np.zeros(0, bool)
    if seen is None or crowns is None or sure.sum() < LEAST_TEXELS:
        return Rows(*teeth.drawn_rows(), np.ones(3), 1.0, own=False)
    middle = np.abs(teeth.grid(teeth.UPPER_Y)[0][0]) < 0.09
    edge = np.percentile(crowns.last[middle], 50 + 40 * float(crowns.cut[middle].mean()))
    shift = float(edge) + (0.8 * float(crowns.cut[middle].mean()) - 1.7) * teeth.MM
    upper, lower = teeth.drawn_rows(float(np.clip(shift, -0.03, 0.07)))
    upper, lower, dim = _complete(seen, crowns, sure, upper, lower)
    gain = max(1.0, float(np.percentile(upper[..., :3][upper[..., 3] > 0.5], 98)))
    for row in (upper, lower):
        row[..., :3] /= gain
    return Rows(upper, lower, dim, gain, own=True)


def _look(square: np.ndarray, landmarks: np.ndarray, codes: FaceCodes, lights: np.ndarray) -> Seen | None:
    """The strip as the photo shows it; None where lips are closed or the head is turned too far."""
    import cv2

    gap = float(np.linalg.norm(landmarks[14, :2] - landmarks[13, :2])) / float(codes.scale)
    if gap < LEAST_HEIGHT or abs(float(codes.pose[0])) > MAX_TURN:
        return None
    k = square.shape[0] / 512
    gu, gy = teeth.grid(teeth.UPPER_Y)
    x, z = teeth.place_on_arch(gu)
    seam = (codes.neutral[13] + codes.neutral[14]) / 2
    place = np.stack([x, gy, z + teeth.BEHIND_LIPS], -1) + seam
    at = ((float(codes.scale) * place @ codes.rotation.T + codes.translation)[..., :2] * k - 0.5).astype(np.float32)
    mask = np.zeros(square.shape[:2], np.uint8)
    ring = landmarks[top.ring(top.SLITS[0]), :2] * k
    cv2.fillPoly(mask, [np.round(ring * 8).astype(np.int32)], 255, shift=3)
    inside = cv2.remap(mask, at[..., 0], at[..., 1], cv2.INTER_LINEAR) > 127
    colour = cv2.remap(square, at[..., 0], at[..., 1], cv2.INTER_CUBIC).astype(np.float64) / 255
    shade = _expected(inside, x, gy, codes, lights)
    return Seen(colour, inside, shade, _toothness(colour, inside, square, landmarks, _redness(lights.mean(0))))


def _expected(inside: np.ndarray, x: np.ndarray, y: np.ndarray, codes: FaceCodes, lights: np.ndarray) -> np.ndarray:
    """(h, w, 3): light that the decoder would put on the strip in the photo's own pose and opening (`decoder.mouth_layer`)."""
    high = np.where(inside, y, np.inf).min(0, keepdims=True)
    low = np.where(inside, y, -np.inf).max(0, keepdims=True)
    below, above = (np.clip(np.nan_to_num(d, posinf=0, neginf=0), 0, None) for d in (y - high, low - y))
    t = 2 * teeth.CURVE * x
    facing = np.stack([t, np.zeros_like(t), -np.ones_like(t)], -1) / np.sqrt(1 + t * t)[..., None] @ codes.rotation.T
    side = np.clip(0.5 + 0.6 * facing[..., :1], 0, 1)
    z = np.clip((teeth.CURVE * x * x - 0.03) / 0.22, 0, 1)
    lit = (0.30 + 0.70 * np.clip(-facing[..., 2], 0, 1)) * (1 - 0.70 * z * z * (3 - 2 * z))
    shade = np.clip(teeth.lip_shade(below, above, np.exp) ** DESHADE * lit, 0.3, None)
    return np.asarray((lights[0] * (1 - side) + lights[1] * side) * shade[..., None])


def _toothness(
    colour: np.ndarray, inside: np.ndarray, square: np.ndarray, landmarks: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """(h, w) 0..1: paler than the lips and not dark; in pictures without colour, brighter than the lips."""
    k = square.shape[0] / 512
    at = (landmarks[[12, 15, 38, 268, 86, 316], 1::-1] * k).astype(int).clip(0, square.shape[0] - 1)
    lips = square[at[:, 0], at[:, 1]].astype(np.float64) / 255
    red, bright = _redness(colour), colour.mean(-1)
    if inside.sum() < 40:
        return np.zeros(inside.shape)
    lip_red, lip_bright = float(np.median(_redness(lips))), float(np.median(lips.mean(-1)))
    palest, level = float(np.percentile(red[inside], 8)), float(np.percentile(bright[inside], 90))
    if abs(lip_red) < 0.04 and float(np.abs(red[inside]).mean()) < 0.04 and level > 1.15 * lip_bright:
        pale = np.clip((bright - lip_bright) / (level - lip_bright) * 2 - 0.1, 0, 1)
    elif lip_red - palest < 0.12 or palest > float(light) + 0.28:  # nothing there but lip and tongue
        return np.zeros(inside.shape)
    else:
        pale = np.clip((lip_red - red) / (lip_red - palest) * 2 - 0.5, 0, 1)
    lit = np.clip((bright / max(level, 1e-3) - 0.45) / 0.2, 0, 1)
    return np.asarray(pale * lit * inside)


def _redness(colour: np.ndarray) -> np.ndarray:
    return np.asarray((colour[..., 0] - (colour[..., 1] + colour[..., 2]) / 2) / np.maximum(colour.mean(-1), 0.05))


def _crowns(seen: Seen) -> Crowns | None:
    """Per column the run of tooth under the upper lip, calmed along the row; None where too little is seen."""
    import cv2

    tooth = cv2.GaussianBlur(seen.tooth.astype(np.float32), (0, 0), 1.0) > 0.5
    y = teeth.grid(teeth.UPPER_Y)[1][:, 0]
    texel = float(y[1] - y[0])
    start = tooth.argmax(0)
    falls = ~tooth & (np.arange(len(y))[:, None] > start)
    end = np.where(falls.any(0), falls.argmax(0), len(y)) - 1
    length = np.where(tooth.any(0), (end - start + 1) * texel, 0)
    good = length > 0.6 * LEAST_HEIGHT
    labels, lengths = np.unique(np.cumsum(~good)[good], return_counts=True)
    if not len(labels):
        return None
    good &= np.cumsum(~good) == labels[lengths.argmax()]  # one row without gaps
    u = teeth.grid(teeth.UPPER_Y)[0][0]
    seen_width = float(good.sum() * (u[1] - u[0]))
    if seen_width < LEAST_WIDTH or float(np.median(length[good])) < LEAST_HEIGHT or not good[len(u) // 2]:
        return None
    columns = np.arange(len(u))
    first, last = (np.interp(columns, columns[good], y[e][good]) for e in (start, end))
    first = cv2.GaussianBlur(cv2.blur(first[None], (9, 1)), (0, 0), 3)[0]
    last = cv2.GaussianBlur(last[None], (0, 0), 1.5)[0] + texel / 2
    inner = cv2.erode(good[None].astype(np.uint8), np.ones((1, 7), np.uint8))[0]
    trust = np.clip(cv2.GaussianBlur(inner.astype(np.float32)[None], (0, 0), 5)[0] * 1.6 - 0.4, 0, 1) * good
    return Crowns(*(np.asarray(a, np.float64) for a in (trust, first, last, _cut(seen, end, good))))


def _cut(seen: Seen, end: np.ndarray, good: np.ndarray) -> np.ndarray:
    """(w,) 0..1: below the tooth's last texel follows the bright lip, not the dark of the mouth: where its edge is, is not
    seen."""
    import cv2

    columns = np.arange(len(end))
    bright = seen.colour.mean(-1)
    here = np.max([bright[np.clip(end - i, 0, None), columns] for i in (2, 4, 6)], 0)
    under = np.min([bright[np.clip(end + i, 0, len(bright) - 1), columns] for i in (2, 3, 4, 5, 6)], 0)
    ratio = np.interp(columns, columns[good], (under / np.maximum(here, 1e-3))[good])
    return np.asarray(cv2.GaussianBlur(np.clip((ratio - 0.4) / 0.2, 0, 1)[None], (0, 0), 4)[0])


def _ends(crowns: Crowns) -> tuple[np.ndarray, np.ndarray]:
    """(w,) each: from where to where (y) a column shows nothing but tooth."""
    return crowns.first + RIM, crowns.last - (0.4 + 0.8 * crowns.cut) * RIM


def _sure(crowns: Crowns) -> np.ndarray:
    """(h, w) bool: texels that show nothing but tooth."""
    y = teeth.grid(teeth.UPPER_Y)[1]
    start, end = _ends(crowns)
    return np.asarray((y > start) & (y < end) & (crowns.trust > 0.5))


def _complete(
    seen: Seen, crowns: Crowns, sure: np.ndarray, upper: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photo teeth over the drawn upper row, both rows in the photo teeth's tone; and that tone (3,) as far as it is only
    shade."""
    white = seen.colour / seen.shade
    tone = np.median(white[sure], 0) / np.median(upper[sure][:, :3], 0)
    dim = np.clip(tone / 0.92, 0.4, 1)  # darker and redder than teeth are: the lips' shade and reflection, gone in a wide mouth
    white, tone = white / dim, tone / dim
    upper, lower = upper.copy(), lower.copy()
    upper[..., :3] *= tone
    lower[..., :3] *= tone
    trust = crowns.trust[None, :, None]
    upper[..., :3] = _extend(white, crowns, sure) * trust + upper[..., :3] * (1 - trust)
    upper[..., 3] = _cover(crowns, upper[..., 3])
    return upper, lower, dim


def _extend(white: np.ndarray, crowns: Crowns, sure: np.ndarray) -> np.ndarray:
    """(h, w, 3): above and below what is seen, a column goes on in the mean colour of its end, calmer the farther away."""
    import cv2

    y = teeth.grid(teeth.UPPER_Y)[1]
    top_y, end_y = _ends(crowns)
    middle = np.median(white[sure], 0)
    weight = sure[..., None].astype(np.float64)
    ends = []
    for part in (weight * (y < top_y + 0.02)[..., None], weight * (y > end_y - 0.012)[..., None]):
        sharp, soft = (
            (cv2.GaussianBlur((white * part).sum(0)[None], (0, 0), s)[0] + 0.3 * middle)
            / (cv2.GaussianBlur(part.sum(0)[None], (0, 0), s)[0].reshape(-1, 1) + 0.3)
            for s in (0.8, 7.0)
        )
        ends.append((sharp, soft))
    far = np.clip((top_y - y) / 0.04, 0, 1)[..., None]
    above = ends[0][0] * (1 - far) + ends[0][1] * far
    fade = np.clip((y - top_y) / 0.012 + 0.5, 0, 1)[..., None] * np.clip((end_y - y) / 0.006 + 0.5, 0, 1)[..., None]
    beyond = np.where((y < (top_y + end_y) / 2)[..., None], above * (1 - 0.10 * far), ends[1][0])
    return np.asarray(white * fade + beyond * (1 - fade))


def _cover(crowns: Crowns, drawn: np.ndarray) -> np.ndarray:
    """(h, w) coverage: the photo's cutting edges where they are seen, drawn ones where the lower lip hides them."""
    import cv2

    y = teeth.grid(teeth.UPPER_Y)[1]
    texel = float(y[1, 0] - y[0, 0])
    drawn_edge = np.where(drawn > 0.5, y, -1).max(0) + texel / 2
    calm = cv2.GaussianBlur(crowns.last[None], (0, 0), 8)[0]
    edge = crowns.last * (1 - crowns.cut) + np.maximum(calm + 0.8 * teeth.MM, drawn_edge) * crowns.cut
    edge = cv2.GaussianBlur(edge[None], (0, 0), 1.8)[0]
    return np.asarray(np.clip((edge - y) / texel + 0.5, 0, 1) * crowns.trust + drawn * (1 - crowns.trust))
