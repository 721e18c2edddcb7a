"""Photo to FaceLatent: everything that depends on the photo alone is computed here, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vasa_cli.device import one_thread_each
from vasa_cli.errors import FaceError
from vasa_cli.motion.basis import DynamicsBasis, euler
from vasa_cli.portrait import body, eyes, framing, glasses, landmarks, layers, lids, mouth, surround, volume
from vasa_cli.portrait.encode_hash import Size, encoder_hash, texture_sides
from vasa_cli.portrait.latent import SIZE, FaceLatent
from vasa_cli.portrait.pixels import pixel_hash, read_photo


def encode_portrait(
    path: Path, *, face: str = "largest", crop: tuple[int, int, int, int] | None = None, size: Size = SIZE
) -> FaceLatent:
    """Encode a portrait photo.

    face: largest, left, right or an index counted from the left; crop: x, y, w, h in photo pixels bypasses face detection.
    size: side in pixels of the pictures to be rendered, 256..1024 (it decides how much of the photo's sharpness is kept), or
    "native": sharp at the photo's own size, and with the photo itself, so that the head can be pasted back into it.
    Raises InputError (unreadable photo), FaceError (no usable face), UsageError (impossible choice).
    """
    framing.parse_choice(face)
    return encode_pixels(read_photo(path), Path(path), face=face, crop=crop, size=size)


@one_thread_each()  # a face file is the same wherever it is made
def encode_pixels(
    rgb: np.ndarray,
    path: Path,
    *,
    face: str = "largest",
    crop: tuple[int, int, int, int] | None = None,
    size: Size = SIZE,
) -> FaceLatent:
    """`encode_portrait` for pixels (H, W, 3) already read; `path` only names them in messages."""
    digest = pixel_hash(rgb)
    square_of, mesh, notes = _locate(rgb, path, face, crop)
    basis = DynamicsBasis.load()
    points = square_of.to_crop(mesh.landmarks)
    _, (rotation, _, _) = basis.align(points[None])
    yaw = float(euler(rotation[0])[0])
    notes += framing.check_usable(mesh, yaw, path)
    if size == "native":
        if crop is None:
            square_of = framing.frame_face(mesh, rgb.shape[1], rgb.shape[0], paste=True)
        rgb, k, more = body.fit_photo(rgb)
        notes += more
        square_of = body.whole_pixels(square_of, k, rgb.shape[1], rgb.shape[0])
        points = square_of.to_crop(mesh.landmarks * np.float32(k))
    tensors = _tensors(rgb, square_of, points.astype(np.float32), basis, *texture_sides(square_of.scale, size))
    return FaceLatent(
        **tensors,
        **(_whole_photo(rgb, square_of, tensors["person"]) if size == "native" else {}),
        crop=np.array([square_of.x, square_of.y, square_of.scale], np.float32),
        pixel_hash=digest,
        encoder_hash=encoder_hash(),
        photo_size=(rgb.shape[1], rgb.shape[0]),
        notes=notes,
    )


def _locate(
    rgb: np.ndarray, path: Path, face: str, crop: tuple[int, int, int, int] | None
) -> tuple[framing.Crop, landmarks.FaceMesh, tuple[str, ...]]:
    """The square of the photo and the face in it."""
    height, width = rgb.shape[:2]
    if crop is None:
        mesh, notes = framing.choose_face(landmarks.find_faces(rgb), face, path)
        return framing.frame_face(mesh, width, height), mesh, notes
    square = framing.crop_from_option(crop, width, height, path)
    side = square.scale * SIZE
    middle = np.array([square.x, square.y]) + side / 2
    found = landmarks.mesh_in_square(rgb, middle, side, 0.1)
    if found is None:
        raise FaceError(f"{path}: no face found inside --crop {','.join(map(str, crop))}; choose a square around one face")
    return square, found, ()


def _tensors(
    rgb: np.ndarray, crop: framing.Crop, points: np.ndarray, basis: DynamicsBasis, side: int, plate_side: int
) -> dict[str, np.ndarray]:
    """All arrays of the latent but the crop; person layer `side` texels a side, plate `plate_side`."""
    import cv2

    from vasa_cli.portrait.expression import split_codes

    codes = split_codes(points, basis)
    square = layers.cut_square(rgb, crop, side)
    coarse = landmarks.person_matte(cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    alpha = layers.refine_matte(square, _face_is_person(coarse, points))
    both = [lids.find_lids(square, points, e, eyes.iris_frame(points, e)) for e in (0, 1)]
    balls = [eyes.eyeball(square, points, e, both[e]) for e in (0, 1)]
    whites = np.stack([b.white for b in balls])
    upper, lower, colours = mouth.mouth_layers(square, points, whites, codes)
    bare = lids.without_eyes(square, points, both)
    posed = (codes.rotation.astype(np.float64), float(codes.scale), codes.translation.astype(np.float64))
    canonical = ((points - codes.translation) @ codes.rotation) / codes.scale  # the photo's own shape, expression included
    return {
        "person": layers.person_layer(bare, alpha, layers.opening_masks(points, side)),
        "surround": surround.surround(rgb, crop, alpha),
        "plate": layers.background_plate(layers.cut_square(rgb, crop, plate_side), alpha),
        "depth": volume.depth_map(canonical, *posed),
        "follow": volume.follow_map(canonical, *posed),
        "eye_white": whites,
        "eye_iris": np.stack([b.iris for b in balls]),
        "eye_glint": np.stack([b.glint for b in balls]),
        "eye_edges": np.stack([x.edges for x in both]).astype(np.float32),
        "eye_lashes": np.stack([x.strips for x in both]),
        "eye_lids": np.stack([x.skin for x in both]),
        "glasses": glasses.find_glasses(square, points),
        "eye_photo": lids.eye_photos(square, points),
        "mouth_upper": upper,
        "mouth_lower": lower,
        "mouth_colours": colours,
        "landmarks": points,
        **{
            name: getattr(codes, name) for name in ("neutral", "identity", "pose", "dynamics", "rotation", "scale", "translation")
        },
    }


def _whole_photo(rgb: np.ndarray, crop: framing.Crop, person: np.ndarray) -> dict[str, np.ndarray]:
    """What pasting back needs besides."""
    return {"photo": rgb, "body": body.body_matte(rgb, crop, person[..., 3].astype(np.float32) / 255)}


def _face_is_person(coarse: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whatever the matte model thinks (statues, paintings), the face itself is foreground."""
    import cv2

    hull = cv2.convexHull(points[:468, :2].astype(np.float32)) * (coarse.shape[0] / SIZE)
    mask = coarse.copy()
    cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1.0)
    return np.maximum(coarse, mask)
