"""Where an eye really ends in the photo, the skin without it, and its lashes: so that lids can close over anything drawn or
photographed.

A tracker's lids lie a little inside or outside the eye of a photo, and far inside a drawn one. All of this works in the eye's
own frame: u along the line of corners, v down, both in eye widths from the middle between the corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.portrait import topology as top
from vasa_cli.portrait.eye_frame import REACH_U, REACH_V, UNIT, EyeFrame, columns, grid, sample
from vasa_cli.portrait.layers import fill_holes

GROW = (0.20, 0.20, 0.22)  # how far the eye may reach beyond the tracker's: up, down, sideways
LASHES = (0.24, 0.14)  # how far lashes and lid lines reach from the edge: up, down
MISSED = 0.035  # of white beyond the tracker's lid that makes us doubt it
INWARD = 0.035  # of the lash strip that lies inside the eye: the lid's own thickness
STRIP = (40, 160)  # texels of a lash strip: outwards, along


@dataclass(frozen=True)
class Lids:
    """One eye off the photo.

    edges (2, COLUMNS): v of the upper and lower edge at u = -REACH_U..REACH_U; equal where there is no eye.
    strips (2, *STRIP, 4) uint8: lashes and lid lines of the upper and lower edge, colour and how much of it; rows run from
    INWARD inside the eye to LASHES outside.
    clean (2 REACH_V UNIT, 2 REACH_U UNIT, 3): the frame without the eye, mask (same) 0..1: what of it is new.
    skin (same) uint8: the frame as a smooth lid, without its crease, with the grain of the skin below the eye.
    """

    edges: np.ndarray
    strips: np.ndarray
    clean: np.ndarray
    mask: np.ndarray
    skin: np.ndarray


def eye_photos(square: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(2, h, w, 3) uint8: both frames as the photo shows them, as fine as the texture (T, T, 3) is."""
    frames = [EyeFrame.of(landmarks, eye) for eye in (0, 1)]
    unit = int(np.clip(1.3 * max(f.width for f in frames) * square.shape[0] / 512, UNIT, 3 * UNIT)) // 4 * 4
    both = [sample(square, f, grid(unit)) for f in frames]
    return np.asarray(np.clip(np.stack(both) + 0.5, 0, 255), np.uint8)


def _disc(radius: float) -> np.ndarray:
    import cv2

    r = max(round(radius), 0)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)))


def _reaching(mask: np.ndarray, up: float, down: float, side: float) -> np.ndarray:
    """Dilate by different amounts (in eye widths) up, down and to both sides."""
    import cv2

    u, d, s = (round(x * UNIT) for x in (up, down, side))
    kernel = np.zeros((2 * max(u, d) + 1, 2 * s + 1), np.uint8)
    y, x = np.mgrid[-max(u, d) : max(u, d) + 1, -s : s + 1]
    kernel[(x / max(s, 1)) ** 2 + np.where(y < 0, y / max(u, 1), y / max(d, 1)) ** 2 <= 1] = 1
    return np.asarray(cv2.dilate(mask, kernel[::-1, ::-1]))  # dilation mirrors its kernel


def _attached(candidate: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The pieces of candidate | seed that touch the seed."""
    import cv2

    _, labels = cv2.connectedComponents(((candidate | seed) > 0).astype(np.uint8), connectivity=4)
    keep = np.unique(labels[seed > 0])
    return (np.isin(labels, keep[keep > 0])).astype(np.uint8)


def _ring_mask(frame: EyeFrame, landmarks: np.ndarray, eye: int) -> np.ndarray:
    import cv2

    at = grid()
    mask = np.zeros(at.shape[:2], np.uint8)
    outline = frame.local(landmarks[top.ring(top.SLITS[1 + eye]), :2])
    ring = (outline + np.array([REACH_U, REACH_V])) * UNIT
    cv2.fillPoly(mask, [np.round(ring * 16).astype(np.int32)], 1, shift=4)
    return mask


def _lab(rgb: np.ndarray) -> np.ndarray:
    import cv2

    return np.asarray(cv2.cvtColor((rgb / 255).clip(0, 1).astype(np.float32), cv2.COLOR_RGB2LAB))


def white_beside(patch: np.ndarray, ring: np.ndarray, iris: np.ndarray) -> np.ndarray:
    """The tracker's ring (H, W) and what beside it in a frame's patch (H, W, 3) looks like more white of the same eye; iris
    (H, W) bool. -> (H, W) uint8."""
    import cv2

    lab = _lab(cv2.GaussianBlur(patch, (0, 0), 1.5))
    white_seen = (cv2.erode(ring, _disc(0.03 * UNIT)) > 0) & ~(cv2.dilate(iris.astype(np.uint8), _disc(0.03 * UNIT)) > 0)
    if white_seen.sum() < 60:
        return ring
    seen = lab[white_seen]
    white = np.median(seen[seen[:, 0] >= np.median(seen[:, 0])], axis=0)
    zone = _reaching(ring, 0.26, 0.24, 0.24) > 0
    skin = cv2.GaussianBlur(fill_holes(lab, (~zone).astype(np.float32)), (0, 0), 4)  # beside the eye, spread under it
    axis = white - skin
    span = np.linalg.norm(axis, axis=-1)
    along = ((lab - skin) * axis).sum(-1) / np.maximum(span, 1) ** 2
    off = np.linalg.norm(lab - skin - along[..., None] * axis, axis=-1)
    # a statue's eye, a dark painting: nothing tells white from skin
    near = (span > 16) & (along > 0.55) & (along < 1.5) & (off < 0.5 * span)
    band = (_reaching(ring, 0.36, 0.34, 0.34) > 0) & ~zone
    at = grid()
    if white[0] < np.median(lab[band][:, 0]) - 5:  # darker than skin: too small or too dark an eye to show any white
        return ring
    to_white = np.linalg.norm(lab - white, axis=-1)
    for side in (at[..., 1] < -0.1, at[..., 1] > 0.1, at[..., 0] < -0.5, at[..., 0] > 0.5):  # closer to white than to skin
        if (band & side).any():
            near &= to_white < np.linalg.norm(lab - np.median(lab[band & side], axis=0), axis=-1)
    grown = _attached(((_reaching(ring, *GROW) > 0) & near).astype(np.uint8), ring)
    grown = cv2.morphologyEx(grown, cv2.MORPH_OPEN, _disc(0.03 * UNIT)) | ring
    return np.asarray(cv2.morphologyEx(grown, cv2.MORPH_CLOSE, _disc(0.06 * UNIT)))


def true_edges(ring: np.ndarray, grown: np.ndarray, iris: np.ndarray) -> np.ndarray:
    """(2, COLUMNS) v of the eye's edges: the tracker's, moved outwards and stretched to the sides as smoothly as one lid goes,
    where beside the iris more white was found."""
    inside, more = ring > 0, grown > 0
    present, wide = np.flatnonzero(inside.any(0)), np.flatnonzero(more.any(0))
    ends = np.array([present[0], present[-1]])
    stretch = np.maximum(np.abs(np.array([wide[0], wide[-1]]) - ends) - 0.03 * UNIT, 0)  # pixels at both ends
    middle = ends.mean()
    x = np.arange(ring.shape[1])
    free = np.zeros(ring.shape[1], bool)
    free[present[0] + 6 : present[-1] - 5] = True
    free &= ~(iris & inside).any(0)
    half = (ends[1] - ends[0]) / 2
    at = (columns() + REACH_U) * UNIT - 0.5
    squeeze = np.where(at < middle, half / (half + stretch[0]), half / (half + stretch[1]))
    from_x = middle + (at - middle) * squeeze
    edges = []
    for flip, sign in ((False, -1.0), (True, 1.0)):
        a, b = (inside[::-1], more[::-1]) if flip else (inside, more)
        edge, growth = a.argmax(0).astype(float), (a.argmax(0) - b.argmax(0)).astype(float)
        edge = (ring.shape[0] - edge if flip else edge) / UNIT - REACH_V
        bump = np.zeros_like(x, float)
        if free.sum() >= 8 and np.median(growth[free]) > MISSED * UNIT:
            basis = np.stack([np.ones_like(x), (x - middle) / half, ((x - middle) / half) ** 2], -1)
            fit = np.linalg.lstsq(basis[free], growth[free], rcond=None)[0]
            bump = np.clip(basis @ fit, 0, growth[free].max()) / UNIT * np.sqrt(np.clip(1 - ((x - middle) / half) ** 2, 0, 1))
        level = np.interp(x, present, edge[present])
        edges.append(np.interp(from_x, x, level + sign * bump))
    corner = [float(np.interp(e, present, (edges_of(inside))[present])) for e in ends]
    outside = (from_x < ends[0]) | (from_x > ends[1])
    base = np.where(from_x < middle, corner[0], corner[1])
    out = np.where(outside, base, np.stack(edges))
    kernel = np.hanning(7)[1:-1] / np.hanning(7)[1:-1].sum()
    out = np.stack([np.convolve(np.pad(e, 2, mode="edge"), kernel, mode="valid") for e in out])
    return np.asarray(np.stack([out.min(0), out.max(0)]), np.float32)


def edges_of(inside: np.ndarray) -> np.ndarray:
    """(W,) v of the middle of a mask's columns."""
    first, last = inside.argmax(0), inside.shape[0] - inside[::-1].argmax(0)
    return np.asarray((first + last) / 2 / UNIT - REACH_V)


def _darkness(patch: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(H, W) 0..1: how much of what is seen is lash or line, compared with skin."""
    grey, skin = patch.mean(-1), np.maximum(without.mean(-1), 12)
    x = np.clip(((skin - grey) / skin - 0.08) / 0.42, 0, 1)
    return np.asarray(x * (2 - x), np.float32)


def _outwards(frame_uv: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance above the upper and below the lower edge at (..., 2) u, v; negative inside."""
    u, v = frame_uv[..., 0], frame_uv[..., 1]
    return np.interp(u, columns(), edges[0]) - v, v - np.interp(u, columns(), edges[1])


def find_lids(square: np.ndarray, landmarks: np.ndarray, eye: int, iris: tuple[np.ndarray, float]) -> Lids:
    """Everything of one eye's lids. square (T, T, 3) texture, landmarks (478, 3) crop pixels, iris: the tracker's centre and
    radius in crop pixels."""
    import cv2

    frame = EyeFrame.of(landmarks, eye)
    at = grid()
    patch = sample(square, frame, at).clip(0, 255)
    ring = _ring_mask(frame, landmarks, eye)
    centre, radius = frame.local(iris[0]), iris[1] / frame.width
    disc = np.linalg.norm(at - centre, axis=-1) < 1.04 * radius
    white = white_beside(patch, ring, disc)
    edges = true_edges(ring, white, disc)
    above, below = _outwards(at, edges)
    eye_mask = ((above < 0) & (below < 0)).astype(np.uint8) | ring | white
    eye_mask |= (disc & (_reaching(eye_mask, 0.10, 0.06, 0) > 0)).astype(np.uint8)  # of an iris nothing must stay on the lid
    zone = _reaching(eye_mask, LASHES[0], LASHES[1], 0.12) > 0
    rough = fill_holes(patch, (~zone).astype(np.float32))
    fade = np.clip((LASHES[0] - above) / (0.4 * LASHES[0]), 0, 1) * np.clip((LASHES[1] - below) / (0.4 * LASHES[1]), 0, 1)
    dark = _darkness(patch, rough) * fade
    dark = dark * cv2.GaussianBlur(_attached((dark > 0.25).astype(np.uint8), eye_mask).astype(np.float32), (0, 0), 1.5)
    lash = dark * ~_is_iris(patch, at, eye_mask, centre, radius)
    removed = cv2.dilate(((dark > 0.12) & zone).astype(np.uint8) | eye_mask, _disc(0.04 * UNIT))
    clean = fill_holes(patch, (1 - removed).astype(np.float32))
    mask = cv2.GaussianBlur(cv2.dilate(removed, _disc(2)).astype(np.float32), (0, 0), 1.5)
    strips = np.stack([_strip(patch, lash, clean, edges, side) for side in (0, 1)])
    strips[1] = _bridge(strips[1], float(centre[0]), 1.3 * radius)
    return Lids(edges, strips, clean, mask, _lid_skin(patch, zone))


def _lid_skin(patch: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """The frame with everything in the zone (H, W) bool replaced by what surrounds it: a closed lid."""
    import cv2

    smooth = cv2.GaussianBlur(fill_holes(patch, (~zone).astype(np.float32)), (0, 0), 0.05 * UNIT)
    grain = patch - cv2.GaussianBlur(patch, (0, 0), 0.04 * UNIT)
    height = zone.shape[0]
    rows = np.arange(height)
    bottom = np.where(zone.any(0), height - zone[::-1].argmax(0), height // 2)  # (W,) first row below the zone
    depth = np.maximum(height - bottom - 2, 4)
    away = np.abs(bottom[None] - rows[:, None])  # mirrored at the zone's lower end, again and again
    turn = away % (2 * depth)
    at = (bottom + np.minimum(turn, 2 * depth - turn)).clip(0, height - 1)
    rough = np.take_along_axis(grain, at[..., None].repeat(3, 2), 0)
    calm = np.abs(rough).mean(-1, keepdims=True) < 14  # lines and shadows are no grain
    lid = smooth + rough * calm * zone[..., None]
    return np.asarray(np.clip(lid + 0.5, 0, 255), np.uint8)


def _is_iris(patch: np.ndarray, at: np.ndarray, eye_mask: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """(H, W) bool: what is dark beside the eye's edge and yet no lash: below the pupil everything near the iris, above it what
    has a light iris' colour."""
    far = np.linalg.norm(at - centre, axis=-1) / radius
    seen = (far < 0.9) & (eye_mask > 0)
    if not seen.any():
        return far < 0
    lab = _lab(patch)
    colour = np.median(lab[seen], axis=0)
    like = (np.linalg.norm(lab - colour, axis=-1) < 30) & (float(np.linalg.norm(colour)) > 45)
    return np.asarray((far < 1.25) & ((at[..., 1] > centre[1]) | like))


def _strip(patch: np.ndarray, lash: np.ndarray, clean: np.ndarray, edges: np.ndarray, side: int) -> np.ndarray:
    """(*STRIP, 4) uint8: lashes along the upper (0) or lower (1) edge."""
    import cv2

    h, w = STRIP
    u = ((np.arange(w) + 0.5) / w * 2 - 1) * REACH_U
    out = -INWARD + (np.arange(h) + 0.5) / h * (INWARD + LASHES[side])
    uu, tt = np.meshgrid(u, np.maximum(out, 0.012))
    v = np.interp(uu, columns(), edges[side]) + (-tt if side == 0 else tt)
    place = np.stack([(uu + REACH_U) * UNIT - 0.5, (v + REACH_V) * UNIT - 0.5], -1).astype(np.float32)

    def look(a: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.remap(a, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    colour, skin, dark = look(patch), look(clean), look(lash.astype(np.float32))
    share = (np.minimum(dark, _darkness(colour, skin)) * np.clip(1 - (np.abs(u) - 0.5) / 0.2, 0, 1))[..., None]
    own = np.where(share > 0.05, (colour - (1 - share) * skin) / np.maximum(share, 0.15), colour * 0.5)  # its own colour, unmixed
    for row in range(int(np.searchsorted(out, 0.4 * LASHES[side])), -1, -1):  # lashes grow from the edge: no gap at their roots
        rooted = share[row + 1] > share[row]
        own[row], share[row] = np.where(rooted, own[row + 1], own[row]), np.maximum(share[row], share[row + 1])
    share = share * np.clip((out + INWARD) / INWARD, 0, 1)[:, None, None]
    return np.asarray(np.concatenate([own, share * 255], -1) + 0.5).clip(0, 255).astype(np.uint8)


def _bridge(strip: np.ndarray, middle: float, half: float) -> np.ndarray:
    """Lashes below an iris cannot be seen against it: go on there as they are beside it."""
    u = ((np.arange(strip.shape[1]) + 0.5) / strip.shape[1] * 2 - 1) * REACH_U
    off = np.abs(u - middle) - half
    near = (off > 0) & (off < 0.12)
    beside = [np.flatnonzero(near & (u < middle)), np.flatnonzero(near & (u > middle))]
    under = np.abs(u - middle) <= half
    if not all(len(b) for b in beside):
        return strip
    left, right = (strip[:, b].astype(np.float32).mean(1) for b in beside)
    t = ((u[under] - middle) / half * 0.5 + 0.5)[None, :, None]
    out = strip.copy()
    out[:, under] = (left[:, None] * (1 - t) + right[:, None] * t + 0.5).astype(np.uint8)
    return out


def put_clean(square: np.ndarray, lids: Lids, frame: EyeFrame) -> np.ndarray:
    """The texture (T, T, C >= 3) with one eye replaced by skin: float32 colours and the rest as they are."""
    import cv2

    k = square.shape[0] / 512
    linear = np.stack([frame.along, frame.down]) / (frame.width * k) * UNIT
    shift = np.array([REACH_U, REACH_V]) * UNIT - linear @ (frame.centre * k - 0.5) - 0.5
    to_frame = np.concatenate([linear, shift[:, None]], 1)  # texels -> pixels of the frame
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (square.shape[1], square.shape[0])
    mask = cv2.warpAffine(lids.mask, to_frame, size, flags=flags, borderValue=0)[..., None]
    clean = cv2.warpAffine(lids.clean.astype(np.float32), to_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    out = square.astype(np.float32).copy()
    out[..., :3] = out[..., :3] * (1 - mask) + clean * mask
    return out


def without_eyes(square: np.ndarray, landmarks: np.ndarray, both: list[Lids]) -> np.ndarray:
    """The texture (T, T, 3) uint8 with skin in the place of both eyes: what lids show when they close."""
    out = square.astype(np.float32)
    for eye, lids in enumerate(both):
        out = put_clean(out, lids, EyeFrame.of(landmarks, eye))
    return np.asarray(np.clip(out + 0.5, 0, 255), np.uint8)
