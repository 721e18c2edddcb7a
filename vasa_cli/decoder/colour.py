"""Pictures to the bytes that a video encoder takes, on the picture's own device.

BT.709 (ITU-R BT.709-6, 3.2 to 3.5), limited range: luma 16..235, chroma 16..240. Chroma is the mean of 2 x 2 pixels, in the
middle between them, as swscale makes it.
"""

from __future__ import annotations

import numpy as np
import torch

from vasa_cli.decoder.splat import halved

_RED, _BLUE = 0.2126, 0.0722  # of luma
_GREEN = 1 - _RED - _BLUE
_CB = (-_RED / (1 - _BLUE) / 2, -_GREEN / (1 - _BLUE) / 2, 0.5)
_CR = (0.5, -_GREEN / (1 - _RED) / 2, -_BLUE / (1 - _RED) / 2)
_ROWS = (((_RED, _GREEN, _BLUE), 219, 16), (_CB, 224, 128), (_CR, 224, 128))
_MATRIX = np.array([[*(span * w / 255 for w in weights), zero] for weights, span, zero in _ROWS])  # of bytes


def to_bytes(picture: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) 0..1 -> (B, H, W, C) uint8."""
    planes = torch.add(picture.new_tensor(0.5), picture, alpha=255).clamp_(0, 255)
    out = torch.empty_like(planes.permute(0, 2, 3, 1), dtype=torch.uint8, memory_format=torch.contiguous_format)
    for c in range(planes.shape[1]):  # a third faster than a permuted copy
        out[..., c] = planes[:, c]
    return out


def to_yuv420(picture: torch.Tensor) -> torch.Tensor:
    """picture (B, 3, H, W) 0..1, H and W even -> (B, H * 3 // 2, W) uint8: planar I420, the luma plane, then those of blue and
    red difference, each H/2 x W/2, as ffmpeg's `yuv420p` has them in memory."""
    b, _, h, w = picture.shape
    if h % 2 or w % 2:
        raise ValueError(f"pictures of {w}x{h} have no 4:2:0 chroma: width and height must be even")
    out = torch.empty(b, h * 3 // 2, w, dtype=torch.uint8, device=picture.device)
    out[:, :h] = _mixed(picture, (_RED, _GREEN, _BLUE), 219, 16)
    small = halved(picture)
    chroma = out.view(b, -1)[:, h * w :].view(b, 2, h // 2, w // 2)
    chroma[:, 0] = _mixed(small, _CB, 224, 128)
    chroma[:, 1] = _mixed(small, _CR, 224, 128)
    return out


def bytes_to_yuv420(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, H and W even -> (H * 3 // 2, W) uint8: `to_yuv420` of one picture of bytes, to a level, by OpenCV."""
    import cv2

    h, w = picture.shape[:2]
    if h % 2 or w % 2:
        raise ValueError(f"pictures of {w}x{h} have no 4:2:0 chroma: width and height must be even")
    out = np.empty((h * 3 // 2, w), np.uint8)
    cv2.extractChannel(cv2.transform(picture, _MATRIX), 0, out[:h])
    small = cv2.transform(cv2.resize(picture, (w // 2, h // 2), interpolation=cv2.INTER_AREA), _MATRIX)
    chroma = out[h:].reshape(2, h // 2, w // 2)
    for plane in (0, 1):
        cv2.extractChannel(small, 1 + plane, chroma[plane])
    return out


def _mixed(planes: torch.Tensor, weights: tuple[float, float, float], span: int, zero: int) -> torch.Tensor:
    """zero + span * (weights . planes), (B, 3, h, w) -> (B, h, w), half a level up for rounding; within the legal range."""
    out = planes[:, 0] * (span * weights[0])
    for c in (1, 2):
        out.add_(planes[:, c], alpha=span * weights[c])
    return out.add_(zero + 0.5).clamp_(16.5, 235.5 if zero == 16 else 240.5)
