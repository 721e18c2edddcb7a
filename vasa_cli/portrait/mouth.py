"""The mouth's inside: the scene's light, colours of tongue, gums and throat, and the two rows of teeth."""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait import teeth
from vasa_cli.portrait.expression import FaceCodes
from vasa_cli.portrait.photo_teeth import rows_of

_TONGUE = np.array([0.70, 0.38, 0.37])  # albedo under white light
_CAVITY = np.array([0.15, 0.040, 0.038])
BRIGHT = 0.75  # mean light of a well lit face
_SKIN = (50, 280, 205, 425, 152, 151)  # landmarks: cheeks, chin, forehead
_SIDES = ((205, 187, 207, 212, 214), (425, 411, 427, 432, 434))  # cheeks beside the mouth, left and right of the picture
_LIPS = (15, 16, 315, 85)


def scene_light(square: np.ndarray, landmarks: np.ndarray, eye_white: np.ndarray) -> np.ndarray:
    """What white looks like in this photo, RGB 0..1: the whites of the eyes, held between bounds that the skin sets."""
    skin = np.median(_patches(square, landmarks, _SKIN), axis=0)
    white = _brightest(eye_white.reshape(-1, 3)) / 255
    level = float(np.clip(white.mean(), 1.25 * skin.mean(), 1.5 * skin.mean() + 0.1))
    cast = 0.5 * (white / max(white.mean(), 1e-3) + _neutral(skin))
    cast[1] = min(cast[1], max(1.02 * cast[0], (cast[0] + cast[2]) / 2))
    return np.clip(cast / cast.mean() * np.clip(level * 1.1, 0.25, 1.0), 0, 1)


def _patches(square: np.ndarray, landmarks: np.ndarray, which: tuple[int, ...]) -> np.ndarray:
    """(len(which), 3) 0..1: mean colours of small patches at landmarks."""
    k = square.shape[0] / 512
    r = max(2, round(2 * k))
    at = (landmarks[list(which), 1::-1] * k).astype(int).clip(r, square.shape[0] - 1 - r)
    return np.stack([square[y - r : y + r + 1, x - r : x + r + 1].reshape(-1, 3).mean(0) for y, x in at]) / 255


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
    # daylight and lamps run from blue to orange; green means uncommon skin
    cast[1] = min(cast[1], max(cast[0], (cast[0] + cast[2]) / 2))
    return np.asarray(cast / cast.mean())


def sides(square: np.ndarray, landmarks: np.ndarray) -> tuple[float, float]:
    """How bright light is on what faces the picture's left and right, mean 1: from the cheeks beside the mouth."""
    left, right = (np.median(_patches(square, landmarks, s).mean(1)) for s in _SIDES)
    tilt = float(np.clip((right - left) / max(right + left, 1e-3), -0.45, 0.45))
    return 1 - tilt, 1 + tilt


def one_material(square: np.ndarray, landmarks: np.ndarray, eye_white: np.ndarray) -> float:
    """0..1: how much skin, lips and eyes are of one colour (black-and-white photos, stone, clay), whatever that colour is."""
    skin = np.median(_patches(square, landmarks, _SKIN), axis=0)
    lips = np.median(_patches(square, landmarks, _LIPS), axis=0)
    white = _brightest(eye_white.reshape(-1, 3)) / 255
    redder = (lips[0] / max(float(lips[1]), 1e-3)) / (skin[0] / max(float(skin[1]), 1e-3))  # living lips are redder than skin
    apart = np.abs(white / max(float(white.mean()), 1e-3) - skin / max(float(skin.mean()), 1e-3)).max()
    return float(np.clip((1.08 - redder) / 0.05, 0, 1) * np.clip((0.16 - apart) / 0.06, 0, 1))


def mouth_layers(
    square: np.ndarray, landmarks: np.ndarray, eye_white: np.ndarray, codes: FaceCodes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper and lower row of teeth (h, w, 5) uint8 and colours (6, 3) float32: cavity, tongue, gum, light on the left and on
    the right, teeth in a small opening against teeth in a wide one."""
    light = scene_light(square, landmarks, eye_white)
    left, right = sides(square, landmarks)
    # little light from in front finds its way into a mouth: dim faces' mouths are darker still
    light_inside = light * np.clip(light.mean() / BRIGHT, 0.3, 1.0)
    lights = np.clip(np.stack([light_inside * left, light_inside * right]), 0, 1.2)
    rows = rows_of(square, landmarks, codes, lights)
    lips = np.clip(_patches(square, landmarks, _LIPS).mean(0) / np.maximum(light, 0.05), 0, 1)
    tongue, gum, cavity = 0.5 * _TONGUE + 0.45 * lips, teeth.GUM.copy(), _CAVITY.copy()
    stone = one_material(square, landmarks, eye_white)
    if stone > 0:  # the colour of the one material, in the brightness that each part would have
        skin = np.median(_patches(square, landmarks, _SKIN), axis=0) / np.maximum(light, 0.05)
        tint = skin / max(float(skin.mean()), 1e-3)
        tongue, gum, cavity = (c * (1 - stone) + 0.85 * c.mean() * tint * stone for c in (tongue, gum, cavity))
        for row in (rows.upper, rows.lower):
            grey = row[..., :3].mean(-1, keepdims=True) * (1 if rows.own else 0.85)
            row[..., :3] = row[..., :3] * (1 - stone) + grey * (0.5 + 0.5 * tint) * stone
    colours = np.concatenate([[cavity * light.mean(), tongue / rows.gain, gum / rows.gain], lights * rows.gain, [rows.dim]])
    quantised = [np.asarray(np.clip(row * 255 + 0.5, 0, 255), np.uint8) for row in (rows.upper, rows.lower)]
    return quantised[0], quantised[1], colours.astype(np.float32)
