"""The person beyond the crop: what comes into the picture at its sides when the head goes away from the camera."""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait import landmarks, layers
from vasa_cli.portrait.framing import Crop
from vasa_cli.portrait.latent import SIZE, TEXTURE

SIDE = 512  # texels of a square twice as wide as the crop, around it


REACH = 40  # texels beyond the crop's own person in which the wider look may see more of it


def surround(rgb: np.ndarray, crop: Crop, alpha_inside: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 4) uint8 clean colours and matte of the photo rgb (H, W, 3); alpha_inside (T, T) 0..1 is the crop's.

    Where the photo ends, shoulders go on sideways as its border does, clothes go on down, softer and softer, and nothing goes on
    above."""
    import cv2

    half = crop.scale * SIZE / 2
    wide = Crop(crop.x - half, crop.y - half, 2 * crop.scale)
    square = layers.cut_square(rgb, wide, SIDE)
    alpha = layers.refine_matte(square, landmarks.person_matte(square), SIDE / TEXTURE / 2)
    inside = np.pad(cv2.resize(alpha_inside, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA), SIDE // 4, mode="edge")
    # frames of paintings and other people are not this person
    alpha *= cv2.blur(cv2.dilate((inside > 0.1).astype(np.float32), np.ones((2 * REACH + 1,) * 2, np.uint8)), (9, 9))
    layer = layers.person_layer(square, alpha, np.zeros((SIDE, SIDE), np.uint8))
    texel = wide.scale * SIZE / SIDE  # photo pixels
    height, width = rgb.shape[:2]
    x0, x1 = (int(np.clip((v - wide.x) / texel, 2, SIDE - 3)) for v in (3 * texel, width - 3 * texel))
    y0, y1 = (int(np.clip((v - wide.y) / texel, 2, SIDE - 3)) for v in (3 * texel, height - 3 * texel))
    layer = layer[np.arange(SIDE).clip(y0, y1)][:, np.arange(SIDE).clip(x0, x1)]
    layer[:y0, :, 3] = 0
    if y1 < SIDE - 3:
        hem = layer[y1 - 6 : y1 + 1].mean(0, keepdims=True)
        layer[y1 + 1 :] = cv2.GaussianBlur(hem, (0, 0), 3)
        below = cv2.GaussianBlur(np.repeat(layer[y1 + 1 : y1 + 2], SIDE, 0), (0, 0), 9)[0]
        far = np.linspace(0, 1, SIDE - 1 - y1)[:, None, None]
        layer[y1 + 1 :] = layer[y1 + 1 :] * (1 - far) + below * far
    return np.ascontiguousarray(layer)
