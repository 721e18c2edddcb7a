"""Frames as video encoders take them: BT.709 against floating point and against ffmpeg; painted in bytes or drawn in floats."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from vasa_cli.decoder.colour import bytes_to_yuv420, to_bytes, to_yuv420
from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import SIZE, FaceLatent


def smooth(height: int, width: int) -> torch.Tensor:
    """(2, 3, H, W) 0..1: soft waves of every colour."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    one = torch.stack([0.5 + 0.5 * torch.sin(2 * x + k) * torch.cos(y - k) for k in range(3)])
    return torch.stack([one, one.flip(0)])


def reference(picture: torch.Tensor) -> np.ndarray:
    """(B, 3, H, W) -> (B, H * 3 // 2, W) float64, by the definitions of BT.709."""
    r, g, b = picture.double().numpy().transpose(1, 0, 2, 3)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b

    def small(plane: np.ndarray) -> np.ndarray:
        n, h, w = plane.shape
        return plane.reshape(n, h // 2, 2, w // 2, 2).mean((2, 4)).reshape(n, -1, w)

    planes = 16 + 219 * luma, small(128 + 224 * (b - luma) / 1.8556), small(128 + 224 * (r - luma) / 1.5748)
    return np.concatenate(planes, 1)


def test_yuv_is_bt709_of_limited_range() -> None:
    picture = smooth(64, 96)
    out = to_yuv420(picture).numpy()
    assert out.shape == (2, 96, 96) and out.dtype == np.uint8
    assert np.abs(out - reference(picture)).max() <= 0.51
    painted = np.stack([bytes_to_yuv420(p) for p in to_bytes(picture).numpy()])
    assert np.abs(painted - reference(picture)).max() <= 1.5


def test_black_white_and_primaries() -> None:
    colours = [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    wanted = [(16, 128, 128), (235, 128, 128), (63, 102, 240), (173, 42, 26), (32, 240, 118)]  # BT.709-6, 3.5, rounded
    picture = torch.tensor(colours, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 2, 2).contiguous()
    for out in (to_yuv420(picture).numpy(), np.stack([bytes_to_yuv420(p) for p in to_bytes(picture).numpy()])):
        assert np.abs(out[:, 0, 0].astype(int) - [w[0] for w in wanted]).max() <= 1
        assert np.abs(out[:, 2].astype(int) - [w[1:] for w in wanted]).max() <= 1


def test_ffmpeg_makes_nearly_the_same() -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    picture = smooth(64, 96)
    arguments = ["-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "96x64", "-i", "-"]
    result = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    convert = "scale=in_range=full:out_range=tv:out_color_matrix=bt709:flags=accurate_rnd+full_chroma_int"
    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *arguments, "-vf", convert, *result],
        input=to_bytes(picture).numpy().tobytes(), capture_output=True, check=True,
    )  # fmt: skip
    theirs = np.frombuffer(done.stdout, np.uint8).reshape(2, 96, 96).astype(int)
    difference = np.abs(to_yuv420(picture).numpy().astype(int) - theirs)
    assert difference.mean() < 0.7 and np.percentile(difference, 99) <= 2


def test_odd_pictures_are_refused(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    with pytest.raises(ValueError, match="even"):
        to_yuv420(torch.zeros(1, 3, 4, 5))
    with pytest.raises(ValueError, match="even"):
        bytes_to_yuv420(np.zeros((5, 4, 3), np.uint8))
    still = MotionTrack(np.zeros((1, 6), np.float32), np.zeros((1, basis.size), np.float32))
    with pytest.raises(ValueError, match="transparency"):
        next(decoder.frames(still, 1, None, "yuv420p"))


@pytest.fixture(scope="module")
def lively(basis: DynamicsBasis) -> MotionTrack:
    rng = np.random.default_rng(2)
    pose = (rng.standard_normal((4, 6)) * [0.15, 0.08, 0.08, 0.02, 0.02, 0.1]).astype(np.float32)
    return MotionTrack(pose, (rng.standard_normal((4, basis.size)) * basis.std * 0.5).astype(np.float32))


def test_frames_in_yuv_are_the_frames(decoder: FaceDecoder, lively: MotionTrack) -> None:
    rgb, yuv = (np.concatenate(list(decoder.frames(lively, 3, pixels=p))) for p in ("rgb24", "yuv420p"))
    assert yuv.shape == (4, SIZE * 3 // 2, SIZE)
    assert (np.stack([bytes_to_yuv420(p) for p in rgb]) == yuv).all()


def test_painted_in_bytes_as_in_floats(decoder: FaceDecoder, lively: MotionTrack) -> None:
    painted = np.concatenate(list(decoder.frames(lively, 4))).astype(int)
    drawn = np.concatenate([to_bytes(p).numpy() for p in decoder.pictures(lively, 4)]).astype(int)
    difference = np.abs(painted - drawn)
    assert 0 < difference.mean() < 0.3
    assert (difference > 12).mean() < 2e-4  # the painter looks up the photo at 1/32 of a texel


def test_a_face_far_aside_is_painted_all_the_same(decoder: FaceDecoder, basis: DynamicsBasis) -> None:
    pose = np.zeros((3, 6), np.float32)
    pose[:, 3] = -3.0, 1.2, 0.0  # out of the picture, half out, and very near
    pose[2, 5] = -0.5
    track = MotionTrack(pose, np.zeros((3, basis.size), np.float32))
    painted = np.concatenate(list(decoder.frames(track, 3))).astype(int)
    drawn = np.concatenate([to_bytes(p).numpy() for p in decoder.pictures(track, 3)]).astype(int)
    assert np.abs(painted - drawn).mean((1, 2, 3)).max() < 0.4


def test_without_opencv_torch_draws(
    decoder: FaceDecoder, latent: FaceLatent, lively: MotionTrack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that only draws what was encoded elsewhere needs no OpenCV."""
    painted = np.concatenate(list(decoder.frames(lively, 2, pixels="yuv420p"))).astype(int)
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "vasa_cli.decoder.painter", raising=False)
    plain = FaceDecoder(latent)
    assert plain.painter is None and decoder.painter is not None
    drawn = np.concatenate(list(plain.frames(lively, 2, pixels="yuv420p"))).astype(int)
    assert drawn.shape == painted.shape and np.abs(drawn - painted).mean() < 0.4
