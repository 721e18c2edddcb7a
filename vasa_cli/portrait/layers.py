"""Head, hair and shoulders off their background: matte, clean colours at the hair's edge, and the plate behind."""

from __future__ import annotations

import numpy as np

from vasa_cli.portrait import topology as top
from vasa_cli.portrait.framing import Crop
from vasa_cli.portrait.latent import SIZE, TEXTURE

MIRROR_DEPTH = 10.0  # crop pixels behind the edge up to which the plate mirrors the background: lines go on without a step
EDGE_BAND = 13  # texels (of 768) to both sides of the matte model's edge in which hair may be half transparent


def cut_square(rgb: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """The crop at `size` x `size`: area average when shrinking, Lanczos when enlarging. (size, size, 3) uint8."""
    import cv2

    k = crop.scale * SIZE / size  # photo pixels per output pixel
    source, x, y = rgb, crop.x, crop.y
    if k > 1.5:
        pre = 1.25 / k
        source = cv2.resize(rgb, None, fx=pre, fy=pre, interpolation=cv2.INTER_AREA)
        fx, fy = source.shape[1] / rgb.shape[1], source.shape[0] / rgb.shape[0]
        x, y, k = x * fx, y * fy, k * fx
    half = (k - 1) / 2
    grid = np.array([[k, 0, x + half], [0, k, y + half]])
    flags = (cv2.INTER_LINEAR if k > 1 else cv2.INTER_LANCZOS4) | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(source, grid, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def guided_filter(guide: np.ndarray, mask: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Let a coarse mask (H, W) follow the edges of a colour guide (H, W, 3), both 0..1. He et al., "Guided Image Filtering",
    2010, eq. 14-16: hair and a background of its brightness are told apart by their colours.

    Large radii are solved on a coarser picture (He & Sun, "Fast Guided Filter", 2015, algorithm 2).
    """
    import cv2

    height, width = mask.shape
    step = max(1, radius // 12)
    small = (max(1, width // step), max(1, height // step))
    g = cv2.resize(guide, small, interpolation=cv2.INTER_AREA) if step > 1 else guide
    m = cv2.resize(mask, small, interpolation=cv2.INTER_AREA) if step > 1 else mask
    side = 2 * max(1, radius // step) + 1

    def mean(x: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(x, -1, (side, side), borderType=cv2.BORDER_REFLECT))

    mean_g, mean_m = mean(g), mean(m)
    together = mean(g * m[..., None]) - mean_g * mean_m[..., None]  # (h, w, 3)
    share = _solve_symmetric(
        {
            (i, j): mean(g[..., i] * g[..., j]) - mean_g[..., i] * mean_g[..., j] + eps * (i == j)
            for i in range(3)
            for j in range(i, 3)
        },
        together,
    )
    offset = mean(mean_m - (share * mean_g).sum(-1))
    share = mean(share)
    if step > 1:
        share, offset = (cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR) for x in (share, offset))
    return np.asarray((share * guide).sum(-1) + offset)


def _solve_symmetric(matrix: dict[tuple[int, int], np.ndarray], right: np.ndarray) -> np.ndarray:
    """Solve a symmetric 3 x 3 system at every pixel, by cofactors: matrix {(i, j >= i): (H, W)}, right (H, W, 3) -> (H, W, 3)."""
    a, b, c, d, e, f = (matrix[k] for k in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    rows = (
        (d * f - e * e, c * e - b * f, b * e - c * d),
        (c * e - b * f, a * f - c * c, b * c - a * e),
        (b * e - c * d, b * c - a * e, a * d - b * b),
    )
    whole = a * rows[0][0] + b * rows[0][1] + c * rows[0][2]
    return np.stack([sum(w * right[..., i] for i, w in enumerate(row)) / (whole + 1e-12) for row in rows], -1)


def refine_matte(picture: np.ndarray, coarse: np.ndarray, k: float | None = None) -> np.ndarray:
    """Coarse person mask (any size) -> alpha (H, W) 0..1 that follows hair and shoulders of the picture (H, W, 3); exactly 0 and
    1 away from the edge. k: size of its details against a crop of 768 texels, by default as of a crop."""
    import cv2

    height, width = picture.shape[:2]
    k = height / TEXTURE if k is None else k
    mask = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    decided = np.clip((mask - 0.45) * 2.5 + 0.5, 0, 1).astype(np.float32)  # wide doubtful areas would render as ghosts
    fine = guided_filter(picture.astype(np.float32) / 255, decided, max(1, round(10 * k)), 2e-4)
    alpha = np.clip((fine - 0.14) / 0.72, 0, 1)
    # beyond a few texels from the edge the guide only adds background texture
    solid = (mask > 0.45).astype(np.uint8)
    band = _disc(round(EDGE_BAND * k))
    core, reach = cv2.erode(solid, band), cv2.dilate(solid, band)
    alpha = np.where(core > 0, 1.0, np.where(reach == 0, 0.0, alpha))
    return _largest_blob(alpha.astype(np.float32), k)


def _disc(radius: int) -> np.ndarray:
    import cv2

    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def _largest_blob(alpha: np.ndarray, k: float) -> np.ndarray:
    """Drop islands (another person's elbow, a lamp): only the piece with the most area is this person."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.3).astype(np.uint8))
    if count <= 2:
        return alpha
    main = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    keep = cv2.dilate((labels == main).astype(np.uint8), _box(9 * k))
    return alpha * keep


def _box(side: float) -> np.ndarray:
    """A square kernel about `side` wide, odd."""
    side = 2 * round((side - 1) / 2) + 1
    return np.ones((side, side), np.uint8)


def clean_foreground(square: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours of person and background unmixed at soft edges, so that hair carries no halo of the old background.

    Forte & Pitie, "Approximate Fast Foreground Colour Estimation", 2021, algorithm 1 (two passes of blur fusion).
    square (H, W, 3) uint8, alpha (H, W) -> foreground, background (H, W, 3) float32 0..255.
    """
    import cv2

    image, a = square.astype(np.float32), alpha[..., None]
    fore, back = image, image
    for radius in (len(_box(r * square.shape[0] / TEXTURE)) for r in (91, 7)):

        def blur(x: np.ndarray, r: int = radius) -> np.ndarray:
            y = np.asarray(cv2.blur(x, (r, r)))
            return y[..., None] if y.ndim == 2 else y

        inside, outside = blur(alpha), blur(1 - alpha)
        f = blur(fore * a) / (inside + 1e-5)
        b = blur(back * (1 - a)) / (outside + 1e-5)
        fore = np.clip(f + a * (image - a * f - (1 - a) * b), 0, 255)
        back = b
    return np.where(a > 0.995, image, fore).astype(np.float32), back.astype(np.float32)


def fill_holes(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Push-pull: fill (H, W, C) float where known (H, W) is 0, smoothly from what surrounds it. Gortler et al., "The
    Lumigraph", 1996, §3.4."""
    import cv2

    h, w = known.shape
    weight = known.astype(np.float32)[..., None]
    if h <= 2 or w <= 2:
        total = float(weight.sum())
        mean = (image * weight).sum((0, 1)) / total if total > 0 else np.full(image.shape[2], 128.0, np.float32)
        return np.where(weight > 0, image, mean).astype(np.float32)
    size = ((w + 1) // 2, (h + 1) // 2)
    coarse_w = cv2.resize(weight[..., 0], size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(np.ascontiguousarray(image * weight), size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    coarse = coarse / np.maximum(coarse_w, 1e-6)[..., None]
    below = fill_holes(coarse.astype(np.float32), (coarse_w > 1e-6).astype(np.float32))
    up = cv2.resize(below, (w, h), interpolation=cv2.INTER_LINEAR).reshape(h, w, -1)
    return np.asarray(image * weight + up * (1 - weight), np.float32)


def hidden(photo: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(P, P) bool: what of photo (P, P, 3) uint8 is not background: person (P, P) 0..1 with a margin, and single hairs that
    stand off beyond the matte, which would stay behind when the head moves."""
    import cv2

    k = photo.shape[0] / SIZE
    hole = cv2.dilate((person > 0.004).astype(np.uint8), _box(11 * k))
    calm = cv2.medianBlur(photo, len(_box(21 * k))).astype(np.float32)
    rim = ((person > 0.95) & (cv2.erode((person > 0.95).astype(np.uint8), _box(41 * k)) == 0)).astype(np.float32)
    reach = len(_box(81 * k))
    hair = cv2.blur(photo.astype(np.float32) * rim[..., None], (reach, reach)) / (cv2.blur(rim, (reach, reach)) + 1e-4)[..., None]
    way, off = hair - calm, photo.astype(np.float32) - calm
    share = (way * off).sum(-1) / ((way**2).sum(-1) + 400)
    strand = (share > 0.12) & (np.abs(off).max(-1) > 9) & (cv2.dilate(hole, _box(91 * k)) > 0)
    strand &= cv2.blur(strand.astype(np.float32), (reach, reach)) < 0.07  # leaves and brush strokes are everywhere, hairs are few
    joined = cv2.dilate((strand | (hole > 0)).astype(np.uint8), _box(5 * k))
    _, labels = cv2.connectedComponents(joined)
    mine = np.isin(labels, np.unique(labels[hole > 0])) & strand
    return np.asarray((hole > 0) | (cv2.dilate(mine.astype(np.uint8), _box(7 * k)) > 0))


def background_plate(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture without the person: the photo's pixels where the person is not, and the same kind of texture behind.

    photo (P, P, 3) uint8, alpha (T, T) 0..1 -> (P, P, 3) uint8.
    """
    import cv2

    from vasa_cli.portrait.inpaint import complete

    side = photo.shape[0]
    hole = hidden(photo, cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA))
    smooth = fill_holes(photo.astype(np.float32), (~hole).astype(np.float32))
    texture = complete(photo, hole, smooth)
    mirrored, trust = _mirror_into(photo, hole.astype(np.uint8))
    inner = np.clip(mirrored * trust + texture * (1 - trust) + 0.5, 0, 255)
    return np.where(hole[..., None], inner, photo).astype(np.uint8)


def _mirror_into(photo: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reflect the surroundings across the hole's edge: picture (H, W, 3) float32 and how far to trust it (H, W, 1) 0..1."""
    import cv2

    k = hole.shape[0] / SIZE
    # a ragged edge would shred the reflection
    calm = (cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 5 * k) > 0.2).astype(np.uint8)
    distance, labels = cv2.distanceTransformWithLabels(calm, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    y, x = np.mgrid[: hole.shape[0], : hole.shape[1]].astype(np.float32)
    edge = np.zeros((int(labels.max()) + 1, 2), np.float32)
    outside = calm == 0
    edge[labels[outside]] = np.stack([x[outside], y[outside]], -1)
    to_edge = edge[labels] - np.stack([x, y], -1)
    to_edge = cv2.GaussianBlur(to_edge, (0, 0), 3 * k)
    at = np.stack([x, y], -1) + 2 * to_edge
    picture = cv2.remap(photo, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    landed = cv2.remap((1 - hole).astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderValue=0)
    near = np.clip((MIRROR_DEPTH - distance / k) / (MIRROR_DEPTH / 2), 0, 1)
    trust = cv2.GaussianBlur((landed > 0.99).astype(np.float32) * near, (0, 0), 2 * k) * (landed > 0.5)
    return picture, trust[..., None]


def opening_masks(landmarks: np.ndarray, side: int = TEXTURE) -> np.ndarray:
    """(side, side) uint8: 255 where the photo shows eyeballs or the inside of the mouth; landmarks (478, 3) in crop
    pixels."""
    import cv2

    k = side / SIZE
    mask = np.zeros((side, side), np.uint8)
    for i, (upper, lower) in enumerate(top.SLITS):
        one = np.zeros_like(mask)
        ring = landmarks[top.ring((upper, lower)), :2] * k
        cv2.fillPoly(one, [np.round(ring * 8).astype(np.int32)], 255, shift=3)
        gap = float(np.linalg.norm(landmarks[upper[len(upper) // 2], :2] - landmarks[lower[len(lower) // 2], :2])) * k
        if i == 0 and gap > 4 * side / TEXTURE:  # teeth shine through the lips' wet rim; closed lips have nothing to hide
            one = cv2.dilate(one, _box(5 * side / TEXTURE))
        mask |= one
    return mask


def person_layer(square: np.ndarray, alpha: np.ndarray, openings: np.ndarray) -> np.ndarray:
    """(T, T, 4) uint8: clean colours and matte; colours go on beyond the edge so that resampling finds no dark
    fringe.

    Openings (T, T) are filled with the lips' and lids' own edge: closing them must show skin, never teeth or iris.
    """
    fore, _ = clean_foreground(square, alpha)
    solid = fill_holes(fore, ((alpha > 0.03) & (openings == 0)).astype(np.float32))
    rgba = np.concatenate([solid, alpha[..., None] * 255], -1)
    return np.asarray(np.clip(rgba + 0.5, 0, 255), np.uint8)
