"""What is the least that a moving portrait costs? Two floors, measured beside the product, and what others have published."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from bench_common import Bench, busy, speed
from results import table

GRID = 64  # side of the raster that the thin-plate spline is evaluated on; enlarged to the frames
BATCH = 8
PUBLISHED = (
    ("VASA-1 (paper and project page)", "RTX 4090", "512×512 from sound", "45 offline, 40 online", "170 ms preceding latency"),
    ("LivePortrait (paper)", "RTX 4090, fp16, torch.compile", "256×256 in, 512×512 out, from video", "78 (12.8 ms a frame)", "–"),
    ("Ditto (paper, repository)", "A100, TensorRT", "from sound", "81 to 161 (real-time factor 0.31 to 0.155)", "< 400 ms"),
    ("FLOAT (paper)", "V100, 10 steps", "512×512 from sound", "41.4", "–"),
)


def published() -> str:
    """Not measured here: as their authors say, on their machines."""
    return table(["published, not measured here", "machine", "what", "frames/s", "first frame"], [list(r) for r in PUBLISHED])


class ThinPlate:
    """Backward warp of one photo by a thin-plate spline (Bookstein 1989) of the landmarks' displacements, taken where they lie in
    the photo, so that all but one product is computed once; nothing else: no layers, no depth, no mouth. photo (3, H, W) 0..1;
    still (N, 2): the landmarks in it, pixels."""

    def __init__(self, photo: torch.Tensor, still: torch.Tensor) -> None:
        self.photo, self.side, self.still = photo[None], photo.shape[-1], still / photo.shape[-1] * 2 - 1
        n, axis = len(still), (torch.arange(GRID) + 0.5) / GRID * 2 - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.at = torch.stack([x, y], -1)  # (GRID, GRID, 2)
        at = self.at.view(-1, 2)
        affine = torch.cat([torch.ones(n, 1), self.still], 1)  # (N, 3)
        kernel = self._kernel(torch.cdist(self.still, self.still)) + 1e-3 * torch.eye(n)
        whole = torch.cat([torch.cat([kernel, affine], 1), torch.cat([affine.T, torch.zeros(3, 3)], 1)], 0)
        basis = torch.cat([self._kernel(torch.cdist(at, self.still)), torch.ones(len(at), 1), at], 1)
        self.spread = torch.linalg.solve(whole.double(), basis.double().T)[:n].T.float().contiguous()  # (GRID^2, N)

    def __call__(self, moved: torch.Tensor) -> torch.Tensor:
        """moved (B, N, 2) pixels -> pictures (B, 3, H, W)."""
        back = self.still - (moved / self.side * 2 - 1)  # (B, N, 2)
        flow = self.at + (self.spread @ back).view(-1, GRID, GRID, 2)
        flow = flow.permute(0, 3, 1, 2)
        flow = torch.nn.functional.interpolate(flow, size=(self.side, self.side), mode="bilinear", align_corners=False)
        photo = self.photo.expand(len(moved), -1, -1, -1)
        return torch.nn.functional.grid_sample(photo, flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)

    @staticmethod
    def _kernel(r: torch.Tensor) -> torch.Tensor:
        return r * r * torch.log(r + 1e-6)


def floors(bench: Bench) -> str:
    """The still photo through the same ffmpeg, and plain thin-plate warping with the same motion, on as many cores."""
    from vasa_cli import pipeline
    from vasa_cli.device import drawing, one_thread_each, reuse_memory

    reuse_memory()
    seconds = 1.0 if bench.quick else 10.0
    sound = bench.speech(seconds)
    face = pipeline.encode(pipeline.EncodeRequest(bench.photo, cache_dir=bench.cache)).face
    track = pipeline.generate(pipeline.GenerateRequest(sound, motion=pipeline.MotionOptions(weights=bench.weights))).track
    rows: list[list[object]] = []
    with one_thread_each():
        for size in (512,) if bench.quick else (256, 512, 1024):
            still, warp = _materials(face, size, track)
            count = drawing("cpu")
            for label, work in (
                ("the still photo, encoded", lambda still=still: _write(bench, sound, track, still)),
                ("thin-plate warp, encoded", lambda warp=warp, count=count: _write_warped(bench, sound, track, warp, count)),
                ("thin-plate warp, not encoded", lambda warp=warp: [_planes(warp(part)) for part in _points(warp, track)]),
            ):
                wall, cpu = busy(work)
                rows.append([f"{label}, {size}×{size}", *speed(len(track), wall), f"{1e3 * cpu / len(track):.1f}"])
    return table(["floor", "frames/s", "× real time", "ms of a core a frame"], rows)


def _materials(face: Any, size: int, track: Any) -> tuple[np.ndarray, Any]:
    """The still photo as the writer takes it, and the warp with the landmarks of every frame."""
    from vasa_cli.decoder.render import FaceDecoder

    decoder = FaceDecoder(face, size=size)
    with torch.inference_mode():
        pose, dynamics = torch.from_numpy(track.pose), torch.from_numpy(track.dynamics)
        head = decoder.head.pose(pose)
        moved = decoder.on_picture(decoder.vertices(dynamics), head) * (size / 512)
        photo = decoder(torch.zeros(1, 6), torch.from_numpy(face.dynamics)[None])[0]
        warp = ThinPlate(photo, torch.from_numpy(np.ascontiguousarray(face.landmarks[:, :2])).float() * (size / 512))
    warp.points = moved  # type: ignore[attr-defined]
    return _planes(photo[None]), warp


def _points(warp: Any, track: Any) -> list[torch.Tensor]:
    return [warp.points[start : start + BATCH] for start in range(0, len(track), BATCH)]


@torch.inference_mode()
def _planes(pictures: torch.Tensor) -> np.ndarray:
    from vasa_cli.decoder.colour import to_yuv420

    return to_yuv420(pictures).numpy()


def _write(bench: Bench, sound: Any, track: Any, still: np.ndarray) -> None:
    block = np.repeat(still, BATCH, 0)
    _encode(bench, sound, track, (block[: min(BATCH, len(track) - i)] for i in range(0, len(track), BATCH)))


def _write_warped(bench: Bench, sound: Any, track: Any, warp: Any, count: int) -> None:
    from vasa_cli.overlap import OrderedMap

    with OrderedMap(lambda _, part: _warped(warp, part), range(count)) as drawn:
        _encode(bench, sound, track, drawn(_points(warp, track)))


@torch.inference_mode()
def _warped(warp: Any, part: torch.Tensor) -> np.ndarray:
    return _planes(warp(part))


def _encode(bench: Bench, sound: Any, track: Any, blocks: Any) -> None:
    from vasa_cli.video.writer import VideoWriter

    side: tuple[int, int] | None = None
    writer: Any = None
    for block in blocks:
        if writer is None:
            side = (block.shape[2], block.shape[1] * 2 // 3)
            writer = VideoWriter(bench.folder / "floor.mp4", side, track.fps, len(track), sound, pixels="yuv420p")
            writer.__enter__()
        writer.write(block)
    writer.__exit__(None, None, None)
