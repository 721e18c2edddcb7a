"""The mouth's inside: teeth drawn to measure and coloured to the photo's light; tongue and cavity colours.

Patches lie in the plane behind the lips. Their unit is the inter-ocular distance (88 mm on an average adult), their origin the
middle of
the closed lips; x right, y down. Tooth sizes: Ash & Nelson, "Wheeler's Dental Anatomy", table of mesiodistal crown widths.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait import topology as top

SPAN = (0.42, 0.26)  # half width and half height of a patch in IOD
SHAPE = (144, 232)  # texels (h, w)
_MM = 1 / 88.0  # IOD
_UPPER = (8.6, 6.6, 7.6, 7.0, 6.8, 10.0)  # mm from the middle: incisors, canine, premolars, molar
_LOWER = (5.3, 5.7, 6.8, 7.0, 7.1, 11.0)
_ARCH = 27.0 * _MM  # radius of the dental arch: teeth to the side turn away and crowd together
_TOOTH = np.array([0.95, 0.91, 0.84])  # against a white sclera
_GUM = np.array([0.74, 0.42, 0.40])
_TONGUE = np.array([0.70, 0.38, 0.37])
_CAVITY = np.array([0.13, 0.055, 0.05])


def scene_light(square: np.ndarray, landmarks: np.ndarray, eye_white: np.ndarray) -> np.ndarray:
    """What white looks like in this photo, RGB 0..1: the whites of the eyes, held between bounds that the skin sets."""
    k = square.shape[0] / 512
    at = (landmarks[[50, 280, 205, 425, 152, 151], 1::-1] * k).astype(int).clip(3, square.shape[0] - 4)
    skin = np.median([square[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0) for y, x in at], axis=0) / 255
    white = _brightest(eye_white.reshape(-1, 3)) / 255
    level = float(np.clip(white.mean(), 1.25 * skin.mean(), 1.5 * skin.mean() + 0.1))
    cast = 0.35 * white / max(white.mean(), 1e-3) + 0.65 * _neutral(skin)
    cast[1] = min(cast[1], 1.02 * cast[0])
    return np.clip(cast / cast.mean() * np.clip(level * 1.1, 0.25, 1.0), 0, 1)


def _brightest(pixels: np.ndarray) -> np.ndarray:
    """Mean colour of the brightest tenth: the part of the white that no lid shades."""
    brightness = pixels.mean(1)
    return np.asarray(pixels[brightness >= np.percentile(brightness, 90)].mean(0))


def _neutral(skin: np.ndarray) -> np.ndarray:
    """The light's colour as skin shows it: skin's own warmth (measured on neutral light: 1.22, .95, .83) divided out; grey
    photos stay grey."""
    ratio = skin / max(skin.mean(), 1e-3)
    saturation = float(ratio.max() - ratio.min())
    own = 1 + (np.array([1.22, 0.95, 0.83]) - 1) * min(1.0, saturation / 0.39)
    cast = ratio / own
    cast[1] = min(cast[1], cast[0])  # daylight and lamps run from blue to orange; green only means that the skin was not average
    return np.asarray(cast / cast.mean())


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """x, y in IOD at the texels of a patch, each (h, w)."""
    y = ((np.arange(SHAPE[0]) + 0.5) / SHAPE[0] * 2 - 1) * SPAN[1]
    x = ((np.arange(SHAPE[1]) + 0.5) / SHAPE[1] * 2 - 1) * SPAN[0]
    gx, gy = np.meshgrid(x, y)
    return gx, gy


def _tooth(gx: np.ndarray, gy: np.ndarray, x0: float, x1: float, root: float, edge: float, taper: float) -> np.ndarray:
    """Coverage (h, w) 0..1 of one crown between x0 and x1, from the root (far from the lips' line) to its edge; rounded
    corners."""
    w, h = (x1 - x0) / 2, abs(edge - root)
    u = (gx - (x0 + x1) / 2) / w
    v = (gy - root) / (edge - root)  # 0 at the gum, 1 at the edge
    narrow = 1 - taper * (1 - np.clip(v, 0, 1))  # crowns are narrower at the gum
    side = (1 - np.abs(u) / narrow) * w
    corner = np.hypot(np.maximum(np.abs(u) - 0.62, 0) / 0.38, np.maximum(v - 0.86, 0) / 0.14)
    tip = (1 - corner) * 0.14 * h
    texel = 2 * SPAN[0] / SHAPE[1]
    return np.clip(np.minimum(side, tip) / (1.2 * texel) + 0.5, 0, 1) * np.clip(v / 0.02 + 0.5, 0, 1)


def _row(widths: tuple[float, ...], edges: tuple[float, ...], root: float, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Shade (h, w) and coverage (h, w) of one row. edges: each tooth's edge along y in mm from the lips' line; sign +1 upper,
    -1 lower row."""
    gx, gy = _grid()
    shade, total, cover = np.zeros(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE)
    for side in (-1, 1):
        arc = 0.0
        for width, edge in zip(widths, edges, strict=True):
            a0, a1 = arc / _ARCH, (arc + width * _MM) / _ARCH
            arc += width * _MM
            x0, x1 = _ARCH * np.sin(min(a0, 1.45)), _ARCH * np.sin(min(a1, 1.45))
            if x1 - x0 < 0.004:
                continue
            left, right = (x0, x1) if side > 0 else (-x1, -x0)
            c = _tooth(gx, gy, left, right, root * _MM, edge * _MM, 0.16)
            u = (gx - (left + right) / 2) / ((right - left) / 2)
            v = np.clip((gy - root * _MM) / ((edge - root) * _MM), 0, 1)
            form = 1 - 0.10 * np.abs(u) ** 3 - 0.10 * (1 - v) ** 2 - 0.07 * np.clip((v - 0.8) / 0.2, 0, 1) ** 2
            turn = 0.50 + 0.50 * np.cos((a0 + a1) / 2 * 1.15)  # side teeth sit deeper, in the cheek's shadow
            shade += form * turn * c
            total += c
            cover = np.maximum(cover, c)
    shade /= np.maximum(total, 1e-3)  # half-covered texels at a crown's edge are tooth, not shadow
    return _close_gaps(shade, cover, root, min(edges, key=abs) if sign > 0 else max(edges))


def _close_gaps(shade: np.ndarray, cover: np.ndarray, root: float, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring teeth touch: between them is a soft shadow on tooth, not a view into the throat."""
    import cv2

    _, gy = _grid()
    v = (gy - root * _MM) / ((edge - root) * _MM)
    row = cv2.morphologyEx(cover.astype(np.float32), cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8)) * ((v > 0) & (v < 0.8))
    wide = cv2.blur((shade * cover).astype(np.float32), (13, 1)) / np.maximum(cv2.blur(cover.astype(np.float32), (13, 1)), 1e-3)
    shade = np.where(cover > 0.01, shade * cover + 0.78 * wide * (1 - cover), 0.78 * wide)
    return shade, np.maximum(cover, row)


def teeth_patches(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower row with gums, (h, w, 4) uint8, in the colour of `light` (3,)."""
    upper = _row(_UPPER, (1.9, 1.2, 1.7, 0.9, 0.6, 0.3), -8.6, 1.0)
    lower = _row(_LOWER, (2.2, 2.2, 2.0, 2.4, 2.6, 2.8), 10.2, -1.0)
    gx, gy = _grid()
    out = []
    for (shade, cover), beyond, lit in (
        (upper, gy < -6.6 * _MM, 1.0),
        (lower, gy > 8.4 * _MM, 0.84),
    ):  # the lower row is in the lip's shade
        depth = np.clip(1 - (np.abs(gx) / 0.36) ** 2, 0, 1)
        gum = _GUM * (0.35 + 0.55 * depth[..., None])
        inside = (np.abs(gx) < 0.33) & beyond
        alpha = np.maximum(cover, inside * np.clip(depth * 3, 0, 1))
        colour = np.where(cover[..., None] > 0.02, _TOOTH * shade[..., None], gum)
        mixed = colour * cover[..., None] + gum * (1 - cover[..., None])
        rgba = np.concatenate([np.clip(mixed * light * lit, 0, 1), alpha[..., None]], -1)
        out.append(np.asarray(np.clip(rgba * 255 + 0.5, 0, 255), np.uint8))
    return out[0], out[1]


def photo_teeth(square: np.ndarray, landmarks: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Teeth in the photo set the colour: the bright, pale pixels between open lips replace the guess in `light` (3,)."""
    import cv2

    k = square.shape[0] / 512
    opening = float(np.linalg.norm(landmarks[13, :2] - landmarks[14, :2]))
    iod = float(np.linalg.norm(landmarks[33] - landmarks[263]))
    if opening < 0.05 * iod:
        return light
    ring = landmarks[top.ring(top.SLITS[0]), :2] * k
    mask = np.zeros(square.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(ring).astype(np.int32)], 255)
    pixels = square[mask > 0].astype(np.float32) / 255
    pale = pixels[(pixels.max(1) - pixels.min(1) < 0.28) & (pixels.mean(1) > 0.45 * light.mean())]
    if len(pale) < 0.12 * len(pixels):
        return light
    return np.clip(np.maximum(np.percentile(pale, 90, axis=0) / _TOOTH, 0.95 * light), 0, 1)


def mouth_layers(square: np.ndarray, landmarks: np.ndarray, eye_white: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper teeth, lower teeth (h, w, 4) uint8 and colours (3, 3) float32 0..1: cavity, tongue, light."""
    light = photo_teeth(square, landmarks, scene_light(square, landmarks, eye_white))
    upper, lower = teeth_patches(light)
    k = square.shape[0] / 512
    lip = [square[y, x] for y, x in (landmarks[[15, 16, 315, 85], 1::-1] * k).astype(int).clip(0, square.shape[0] - 1)]
    lips = np.mean(lip, axis=0) / 255
    tongue = np.clip(0.5 * _TONGUE * light + 0.5 * lips * 0.9, 0, 1)
    colours = np.stack([_CAVITY * light.mean() / max(_CAVITY.max(), 1e-3) * 0.13, tongue, light])
    return upper, lower, colours.astype(np.float32)
