"""Which of the 478 landmarks are which: lips, lids, irises, face outline (MediaPipe's face mesh with attention, index tables
only).

Rows run from the corner on the left of the picture to the corner on the right for the mouth, and from the outer to the inner
corner for
the eyes; the first and last entries are the shared corners.
"""

from __future__ import annotations

LIPS_UPPER = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),  # outer edge
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),  # inner edge
)
LIPS_LOWER = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
)
MOUTH_UPPER, MOUTH_LOWER = LIPS_UPPER[-1], LIPS_LOWER[-1]

# eye 0 is on the left of the picture (the person's right)
LID_UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LID_LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
SLITS = (
    (MOUTH_UPPER, MOUTH_LOWER),
    *zip(LID_UPPER, LID_LOWER, strict=True),
)  # the mouth first: upper and lower edge, corner to corner
LID_UPPER_FOLD = ((130, 247, 30, 29, 27, 28, 56, 190, 243), (359, 467, 260, 259, 257, 258, 286, 414, 463))
LID_LOWER_FOLD = ((130, 25, 110, 24, 23, 22, 26, 112, 243), (359, 255, 339, 254, 253, 252, 256, 341, 463))
IRIS = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))  # centre, then four points of the rim

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
OVAL_CHIN = OVAL[10:27]  # from ear lobe to ear lobe along the jaw
CHIN, NOSE_BRIDGE, NOSE_TIP = 152, 168, 4
EYE_OUTER = (33, 263)
FACE_SIDES = (234, 454)  # the face width of the motion track
N_SKIN = 468  # landmarks before the irises


def ring(slit: tuple[tuple[int, ...], tuple[int, ...]]) -> list[int]:
    """Landmarks once around a slit: along its upper edge and back along the lower one."""
    upper, lower = slit
    return [*upper, *lower[-2:0:-1]]


def _inner(rows: tuple[tuple[int, ...], ...]) -> frozenset[int]:
    """All entries but the shared corners."""
    return frozenset(i for row in rows for i in row[1:-1])


# skin above a slit must not be pulled by what lies below it, and the other way round
ABOVE_SLITS = _inner(LIPS_UPPER) | _inner(LID_UPPER) | _inner(LID_UPPER_FOLD)
BELOW_SLITS = _inner(LIPS_LOWER) | _inner(LID_LOWER) | _inner(LID_LOWER_FOLD)
