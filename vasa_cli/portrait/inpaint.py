"""Fill what the person hid of the background with texture that the photo shows elsewhere.

Wexler, Shechtman & Irani, "Space-Time Completion of Video", 2007, §3: coarse to fine, every patch over the hole takes the most
similar patch of the known picture, and every pixel the mean of what its patches say. Searched exhaustively while the picture is
small; finer scales follow the offsets found before.
"""

from __future__ import annotations

import numpy as np

PATCH = 7
SCALES = (32, 64, 128)  # sides of the pictures in which patches are searched
AGREE = 6  # steps after each search
ROUNDS = (5, 4, 2)
MANY = 5000  # patches to choose from
FAR = 0.004  # extra cost of a patch from the other side of the picture (mean square difference, 0..1)
TORN = 0.02  # cost of neighbours (share of 8) that copy from elsewhere: pieces of the photo are copied, not single pixels
LOCAL = 0.010  # and one from a wholly other height: floors stay below walls


def _patches(image: np.ndarray) -> np.ndarray:
    """(h, w, c) -> (h, w, PATCH * PATCH * c): the patch around each pixel; the border goes on."""
    r = PATCH // 2
    padded = np.pad(image, ((r, r), (r, r), (0, 0)), mode="edge")
    view = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), (0, 1))  # type: ignore[call-overload]  # (h, w, c, P, P)
    return np.ascontiguousarray(view.transpose(0, 1, 3, 4, 2)).reshape(*image.shape[:2], -1)


def _nearest(image: np.ndarray, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Index into sources (M, 2) of the most similar patch for each of targets (N, 2), both y, x."""
    import torch

    h, w = image.shape[:2]
    every = _patches(image)

    def features(at: np.ndarray) -> torch.Tensor:
        looks = every[at[:, 0], at[:, 1]] / np.sqrt(every.shape[-1])
        place = at / np.array([h, w]) * np.sqrt([LOCAL + FAR, FAR])
        return torch.from_numpy(np.concatenate([looks, place], 1).astype(np.float32))

    known = features(sources)
    half = (known**2).sum(1) / 2
    found = []
    for start in range(0, len(targets), 2048):
        found.append((features(targets[start : start + 2048]) @ known.T - half).argmax(1))
    return torch.cat(found).numpy()


def _agree(image: np.ndarray, offsets: np.ndarray, targets: np.ndarray, clean: np.ndarray, rounds: int) -> np.ndarray:
    """Let neighbours copy from neighbouring places: each target may take over an offset from around where similarity and
    unity together gain (Pritch et al., "Shift-Map Image Editing", 2009). clean (h, w) bool. -> offsets (h, w, 2)."""
    every = _patches(image) / np.sqrt(PATCH * PATCH * image.shape[-1], dtype=np.float32)
    end = np.array(image.shape[:2]) - 1
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    here = every[targets[:, 0], targets[:, 1]]

    def cost(candidate: np.ndarray) -> np.ndarray:
        at = targets + candidate
        inside = ((at >= 0) & (at <= end)).all(1)
        at = at.clip(0, end)
        inside &= clean[at[:, 0], at[:, 1]]
        torn = np.zeros(len(targets), np.float32)
        for step in around:
            beside = (targets + step).clip(0, end)
            torn += (offsets[beside[:, 0], beside[:, 1]] != candidate).any(1)
        look = ((every[at[:, 0], at[:, 1]] - here) ** 2).sum(1)
        return np.where(inside, look + TORN * torn / 8 + LOCAL * (candidate[:, 0] / end[0]) ** 2, np.inf)

    for turn in range(rounds):
        reach = (4, 2, 1)[turn % 3]
        best = offsets[targets[:, 0], targets[:, 1]]
        least = cost(best)
        for step in around:
            beside = (targets + np.array(step) * reach).clip(0, end)
            candidate = offsets[beside[:, 0], beside[:, 1]]
            price = cost(candidate)
            better = price < least
            best, least = np.where(better[:, None], candidate, best), np.where(better, price, least)
        offsets = offsets.copy()
        offsets[targets[:, 0], targets[:, 1]] = best
    return offsets


def _vote(picture: np.ndarray, offsets: np.ndarray, asked: np.ndarray, reach: int, softness: float) -> np.ndarray:
    """Each pixel: mean over the neighbours within `reach` that were `asked` (h, w) bool, of the pixel that their offset
    (h, w, 2) points at."""
    h, w = asked.shape
    y, x = np.mgrid[:h, :w]
    total = np.zeros_like(picture)
    count = np.zeros((h, w, 1), np.float32)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            ny, nx = np.clip(y + dy, 0, h - 1), np.clip(x + dx, 0, w - 1)
            weight = asked[ny, nx, None] * np.float32(np.exp(-(dy * dy + dx * dx) / softness))
            sy, sx = np.clip(y + offsets[ny, nx, 0], 0, h - 1), np.clip(x + offsets[ny, nx, 1], 0, w - 1)
            total += picture[sy, sx] * weight
            count += weight
    return np.asarray(total / np.maximum(count, 1e-6), np.float32)


def _solve(picture: np.ndarray, hole: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """One scale: picture (h, w, 3) 0..1 with a first guess in the hole (h, w) bool -> picture, offsets (h, w, 2)."""
    import cv2

    box = np.ones((PATCH, PATCH), np.uint8)
    touches = cv2.dilate(hole.astype(np.uint8), box) > 0  # patches that see the hole
    clean = np.argwhere(~touches)
    if len(clean) > MANY:  # neighbours look alike: every other place of the photo is choice enough
        clean = clean[clean.sum(1) % 2 == 0]
    targets = np.argwhere(touches)
    offsets = np.zeros((*hole.shape, 2), np.int64)
    for _ in range(rounds):
        found = clean[_nearest(picture, targets, clean)]
        offsets[targets[:, 0], targets[:, 1]] = found - targets
        offsets = _agree(picture, offsets, targets, ~touches, AGREE)
        picture = np.where(hole[..., None], _vote(picture, offsets, touches, PATCH // 2, 4.0), picture)
    return picture, offsets


def complete(photo: np.ndarray, hole: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """photo (P, P, 3) uint8, hole (P, P) bool, guess (P, P, 3) a smooth fill 0..255 -> (P, P, 3) uint8, untouched outside the
    hole. Returns the guess where the photo shows too little to take texture from."""
    import cv2

    side = photo.shape[0]
    whole = np.where(hole[..., None], guess, photo).astype(np.float32) / 255
    if (~hole).mean() < 0.12 or not hole.any():
        return np.asarray(whole * 255 + 0.5, np.uint8)
    picture, offsets, last = None, np.zeros((1, 1, 2), np.int64), 1
    for scale, rounds in zip(SCALES, ROUNDS, strict=True):
        small = cv2.resize(whole, (scale, scale), interpolation=cv2.INTER_AREA)
        covered = cv2.resize(hole.astype(np.float32), (scale, scale), interpolation=cv2.INTER_AREA) > 0.02
        if picture is not None:
            small = np.where(covered[..., None], _vote(small, _finer(offsets, scale, last), covered, 1, 1.0), small)
        if covered.all() or len(np.argwhere(cv2.dilate(covered.astype(np.uint8), np.ones((PATCH, PATCH))) == 0)) < 16:
            break
        picture, offsets = _solve(small, covered, rounds)
        last = scale
    out = np.where(hole[..., None], _vote(whole, _finer(offsets, side, last), hole, 1, 0.3), whole)
    return np.asarray(np.clip(out * 255 + 0.5, 0, 255), np.uint8)


def _finer(offsets: np.ndarray, side: int, last: int) -> np.ndarray:
    """Offsets found at side `last`, for a picture of another side."""
    at = (np.arange(side) * last) // side
    return np.rint(offsets[at[:, None], at[None]] * (side / last)).astype(np.int64)
