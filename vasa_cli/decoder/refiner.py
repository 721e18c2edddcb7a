"""A small learned refiner of mouth and eyes, on top of the explicit layers: a picture in, a correction out.

For each of mouth, left and right eye a patch is cut out of the rendered frame (`decoder.face_patches`), a small U-Net compares
it with the same patch of the face at rest, as the photo shows it, and answers with a correction, which is added back inside a
soft mask: the opening between lips or lids and its rim. Colours are brought to one exposure and cast first, by the patch at
rest, so that skin and light matter little. What it brings is in docs/results_refiner.md.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vasa_cli.decoder.face_patches import READINGS, SLITS, Covers, Frame, frames_of, readings
from vasa_cli.decoder.geometry import HeadPose
from vasa_cli.errors import WeightsError
from vasa_cli.weights import registry

FORMAT = "vasa-refiner/1"
PLANES = 6 * 4 + 2  # rendered and at rest, four pixels each; their openings
WIDTH = 16
MIDDLE = 0.5  # mean of the patch at rest, every colour, after exposure
HOW = registry.OPTIONAL["refiner"]


class Block(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=1)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(F.silu(self.one(F.silu(x))))


class PatchNet(nn.Module):
    """(B, 26, H/2, W/2) planes and (B, 8) readings -> (B, 3, H, W) correction; H and W multiples of 8."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        w = width
        self.enter = nn.Conv2d(PLANES, w, 3, padding=1)
        self.down1 = nn.Conv2d(w, 2 * w, 3, stride=2, padding=1)
        self.fine = Block(2 * w)
        self.down2 = nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1)
        self.read1, self.read2 = nn.Linear(READINGS, 32), nn.Linear(32, 8 * w)
        self.deep = Block(4 * w)
        self.up1 = nn.Conv2d(4 * w, 2 * w, 1)
        self.fine2 = Block(2 * w)
        self.up2 = nn.Conv2d(2 * w, w, 1)
        self.last = nn.Conv2d(w, w, 3, padding=1)
        self.leave = nn.Conv2d(w, 12, 3, padding=1)
        layers: tuple[nn.Conv2d | nn.Linear, ...] = (self.leave, self.read2, self.fine.two, self.deep.two, self.fine2.two)
        for layer in layers:  # starts as "no correction"
            assert layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, planes: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        a = F.silu(self.enter(planes.contiguous(memory_format=torch.channels_last)))  # (B, w, H/2, W/2)
        b = self.fine(self.down1(a))  # (B, 2w, H/4, W/4)
        c = self.down2(F.silu(b))  # (B, 4w, H/8, W/8)
        gain, shift = self.read2(F.silu(self.read1(read)))[..., None, None].chunk(2, 1)
        c = self.deep(c * (1 + gain) + shift)
        b = self.fine2(b + F.interpolate(self.up1(F.silu(c)), scale_factor=2.0, mode="nearest"))
        a = a + F.interpolate(self.up2(F.silu(b)), scale_factor=2.0, mode="nearest")
        return F.pixel_shuffle(self.leave(F.silu(self.last(a))), 2)


def exposure(rest: torch.Tensor) -> torch.Tensor:
    """Patch at rest (B, 3, H, W) -> (B, 3, 1, 1) gain that brings its mean to MIDDLE."""
    return (MIDDLE / rest.mean((2, 3), keepdim=True).clamp_min(0.02)).clamp(0.4, 12.0)


class Refiner(nn.Module):
    """Both networks, and the patches of one face at rest once `remember` has seen them."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.width = width
        self.mouth, self.eye = PatchNet(width), PatchNet(width)
        self.covers = Covers()
        for i, window in enumerate(SLITS):
            self.register_buffer(f"border{i}", window.border(), persistent=False)
        self.rest: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for parameter in self.parameters():  # twice as fast on the CPU
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @classmethod
    def load(cls, weights: dict[str, torch.Tensor] | None = None) -> Refiner:
        """The refiner in the package's weights. Raises WeightsError when there is none."""
        if weights is None:
            weights = load_weights()
        width = len(weights["mouth.last.bias"]) if "mouth.last.bias" in weights else WIDTH
        out = cls(width)
        try:
            out.load_state_dict({k: v.float() for k, v in weights.items()})
        except RuntimeError as e:
            raise WeightsError(f"the refiner's weights do not fit this version; {HOW}") from e
        return out

    def save(self, path: Path) -> None:
        """Write one .safetensors file, half precision."""
        from safetensors.torch import save_file

        save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, str(path), metadata={"format": FORMAT})

    @torch.inference_mode()
    def remember(self, picture: torch.Tensor, flat: torch.Tensor, shape: torch.Tensor, head: HeadPose, unit: float) -> None:
        """Keep what the face at rest looks like: everything as in `forward`, one frame."""
        self.rest = [
            (frame.cut(picture), self.covers(slit, frame, flat), readings(slit, shape, head))
            for slit, frame in enumerate(frames_of(flat, head, unit))
        ]

    def forward(self, picture: torch.Tensor, flat: torch.Tensor, shape: torch.Tensor, head: HeadPose, unit: float) -> None:
        """Correct picture (B, 3, S, S) in place. flat (B, 478, 2) vertices in its pixels, shape (B, 478, 3) the same, canonical;
        unit: pixels an IOD before the zoom."""
        frames = frames_of(flat, head, unit)
        seen = [self._seen(slit, frame, picture, flat, shape, head) for slit, frame in enumerate(frames)]
        mouth = self.mouth(*seen[0][:2])
        eyes = self.eye(torch.cat([seen[1][0], seen[2][0]]), torch.cat([seen[1][1], seen[2][1]])).chunk(2)
        for slit, answer in enumerate((mouth, *eyes)):
            frames[slit].add(picture, answer / seen[slit][2] * allowed(seen[slit][3], getattr(self, f"border{slit}")))

    def _seen(
        self, slit: int, frame: Frame, picture: torch.Tensor, flat: torch.Tensor, shape: torch.Tensor, head: HeadPose
    ) -> tuple[torch.Tensor, ...]:
        """Planes (B, 26, H/2, W/2), readings (B, 8), the exposure (1, 3, 1, 1) and the opening (B, 1, H/2, W/2)."""
        patch, cover, read = frame.cut(picture), self.covers(slit, frame, flat), readings(slit, shape, head)
        return (*assemble(patch, cover, read, *self.rest[slit]), cover)


def allowed(cover: torch.Tensor, border: torch.Tensor) -> torch.Tensor:
    """Opening (B, 1, H/2, W/2), border (1, 1, H, W) -> (B, 1, H, W) 0..1: where a patch may change, the opening and its rim.
    Skin stays as it is: trained on few people, the network would smooth it."""
    grown = F.avg_pool2d(F.max_pool2d(cover, 5, 1, 2), 3, 1, 1)
    return F.interpolate(grown, scale_factor=2.0, mode="bilinear", align_corners=False) * border


def assemble(
    patch: torch.Tensor, cover: torch.Tensor, read: torch.Tensor,
    rest: torch.Tensor, rest_cover: torch.Tensor, rest_read: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """What a PatchNet sees; the face at rest may be one for all (1, ...)."""
    k, n = exposure(rest), len(patch)
    now, then = (F.pixel_unshuffle(p * k * 2 - 1, 2) for p in (patch, rest))
    planes = [now, then.expand(n, -1, -1, -1), cover, rest_cover.expand(n, -1, -1, -1)]
    return torch.cat(planes, 1), torch.cat([read, rest_read.expand(n, -1)], 1), k


def load_weights() -> dict[str, torch.Tensor]:
    """Tensors of the package's refiner. Raises WeightsError when there is none."""
    tensors, meta = registry.load_tensors("refiner")
    if meta.get("format") != FORMAT:
        raise WeightsError(f"refiner.safetensors is not of format {FORMAT} (found {meta.get('format')!r}); {HOW}")
    return {k: torch.from_numpy(v) for k, v in tensors.items()}
