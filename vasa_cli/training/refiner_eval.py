"""Is the refiner worth it? Patches of people it never saw: rendered, refined, and the simple corrections that need no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vasa_cli.decoder.face_patches import EYE, MOUTH
from vasa_cli.training.refiner_pairs import Pairs


@dataclass(frozen=True)
class Quality:
    """Of N patches against the real ones: PSNR (dB) in an ellipse around and inside the opening, SSIM in the
    ellipse, and how much of the real gradients' strength there is."""

    psnr: float
    inside: float
    ssim: float
    sharp: float


def border(kind: str) -> np.ndarray:
    """(H, W) bool: where a patch may change."""
    return np.asarray((MOUTH if kind == "mouth" else EYE).border()[0, 0].numpy() > 0.05)


def opened(pairs: Pairs) -> np.ndarray:
    """(N, H, W) bool: inside the opening."""
    return np.asarray(pairs.cover.repeat(2, 1).repeat(2, 2) > 127)


def quality(made: np.ndarray, real: np.ndarray, inside: np.ndarray, ellipse: np.ndarray) -> Quality:
    """made, real (N, H, W, 3) 0..1, inside (N, H, W) bool, ellipse (H, W) bool."""
    error = ((made - real) ** 2).mean(-1)
    shown = inside.sum((1, 2)) > 40
    within = [float(e[m].mean()) for e, m in zip(error[shown], inside[shown], strict=True)]
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    a, b = made @ luma, real @ luma
    edges = [float(np.abs(np.diff(x, axis=2))[:, ellipse[:, 1:]].mean()) for x in (a, b)]
    return Quality(
        float((-10 * np.log10(error[:, ellipse].mean(1).clip(1e-6))).mean()),
        float((-10 * np.log10(np.clip(within, 1e-6, None))).mean()) if within else float("nan"),
        float(np.mean([_ssim(x, y)[ellipse].mean() for x, y in zip(a, b, strict=True)])),
        edges[0] / edges[1],
    )


def _ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W) map of SSIM of pictures 0..1 (Wang et al. 2004)."""
    import cv2

    def mean(v: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(v, (11, 11), 1.5))

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    return np.asarray((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4)))


def fit_gain(pairs: Pairs) -> Callable[[Pairs], np.ndarray]:
    """One factor for all that is inside the opening, fitted on these pairs."""
    x, y = _inner_colours(pairs)
    gain = float((x * y).sum() / (x * x).sum())

    def correct(p: Pairs) -> np.ndarray:
        share = _share(p)
        return np.asarray((p.now / np.float32(255) * (1 + (gain - 1) * share)).clip(0, 1))

    correct.__doc__ = f"inside x {gain:.2f}"
    return correct


def fit_colours(pairs: Pairs) -> Callable[[Pairs], np.ndarray]:
    """One linear map of colours (3 x 4, exposure of the face at rest taken out) inside the opening, fitted on these pairs."""
    x, y = _inner_colours(pairs)
    ones = np.concatenate([x, np.ones_like(x[:, :1])], 1)
    matrix = np.linalg.lstsq(ones, y, rcond=None)[0].astype(np.float32)

    def correct(p: Pairs) -> np.ndarray:
        k = _exposure(p)[p.photo][:, None, None]
        now = p.now.astype(np.float32) / 255
        mapped = (now * k) @ matrix[:3] + matrix[3]
        return np.asarray((now + (mapped / k - now) * _share(p)).clip(0, 1))

    correct.__doc__ = f"inside @ {np.round(matrix.astype(float), 2).tolist()}"
    return correct


def _share(p: Pairs) -> np.ndarray:
    return np.asarray(p.cover.repeat(2, 1).repeat(2, 2)[..., None].astype(np.float32) / 255)


def _exposure(p: Pairs) -> np.ndarray:
    """(P, 3), as `refiner.exposure`."""
    return np.asarray((0.5 / (p.rest.mean((1, 2)) / 255).clip(0.02)).clip(0.4, 12), np.float32)


def _inner_colours(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rendered and real colours inside openings, exposure taken out, (M, 3) each; every clip counts about the same."""
    inside, k = opened(pairs), _exposure(pairs)
    random = np.random.default_rng(0)
    xs, ys = [], []
    for clip in sorted(set(pairs.clip.tolist())):
        rows = np.flatnonzero(pairs.clip == clip)
        x = np.concatenate([pairs.now[i][inside[i]] / 255 * k[pairs.photo[i]] for i in rows])
        y = np.concatenate([pairs.real[i][inside[i]] / 255 * k[pairs.photo[i]] for i in rows])
        some = random.integers(len(x), size=20000)
        xs.append(x[some])
        ys.append(y[some])
    return np.concatenate(xs), np.concatenate(ys)
