"""The mouth's interior behind the lips, drawn in 3-D into a small patch of each frame.

Every pixel of the opening looks along a ray into the head: onto the upper row of teeth (fixed to the skull), the lower row and
the tongue (fixed to the jaw, which turns about its hinge before the ears), or into the throat. Places behind the lips shift
against them when the head turns. Coordinates as in `portrait.teeth`; pictures are orthographic, so a ray meets the parabola of
an arch in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.aperture import Opening, Patch, inside, outline_from, spline_matrix
from vasa_cli.decoder.geometry import HeadPose
from vasa_cli.decoder.patches import KNOT_SAMPLES, look_up, ramp
from vasa_cli.portrait import teeth
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent

_CHIN = (152, 148, 377, 176, 400)
_HINGE = (234, 454)  # the jaw's hinge lies before the ears
JAW_LAG = 0.04  # IOD that the lower lip moves without the jaw; what is more, the chin's skin has only not followed
SHOWN = 0.010  # IOD of opening from which on something is seen of the inside
TONGUE_WIDE, TONGUE_BACK = 0.24, 0.10  # IOD: half width, how far behind the lower incisors its front rises


@dataclass(frozen=True)
class Rays:
    """Pixels of a patch against one rigid part (skull or jaw): place (B, P, 2) in IOD where each ray meets the plane of the
    part's front teeth, slope (B, 2): how far it goes right and down per IOD of depth, turn (B, 3, 3) part -> picture."""

    place: torch.Tensor
    slope: torch.Tensor
    turn: torch.Tensor

    def at(self, depth: torch.Tensor) -> torch.Tensor:
        """(B, P, 2): where the rays are `depth` (B,) IOD behind the front teeth."""
        return self.place + (depth[:, None] * self.slope)[:, None]


def _rays(points: torch.Tensor, anchor: torch.Tensor, turn: torch.Tensor, unit: torch.Tensor) -> Rays:
    """points (B, P, 2) and anchor (B, 2) in pixels, unit (B,) pixels an IOD."""
    back = torch.linalg.inv(turn[:, :2, :2])
    place = torch.einsum("bij,bpj->bpi", back, (points - anchor[:, None]) / unit[:, None, None])
    return Rays(place, -torch.einsum("bij,bj->bi", back, turn[:, :2, 2]), turn)


def _tip(angle: torch.Tensor) -> torch.Tensor:
    """(B,) -> (B, 3, 3): rotation about the x axis; positive takes what lies in front of the hinge down."""
    one, zero, c, s = torch.ones_like(angle), torch.zeros_like(angle), torch.cos(angle), torch.sin(angle)
    return torch.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).view(-1, 3, 3)


class MouthLayer(torch.nn.Module):
    """Throat, tongue, lower and upper teeth behind the lips of one face."""

    upper: torch.Tensor
    lower: torch.Tensor
    colours: torch.Tensor
    anchor: torch.Tensor
    hinge: torch.Tensor
    neutral: torch.Tensor
    spline: torch.Tensor

    def __init__(self, face: FaceLatent, size: int = SIZE) -> None:
        super().__init__()
        self.k = size / SIZE
        self.unit = float(face.scale) * self.k  # pixels an IOD
        self.register_buffer("upper", self._texture(face.mouth_upper))
        self.register_buffer("lower", self._texture(face.mouth_lower))
        self.register_buffer("colours", torch.from_numpy(face.mouth_colours).clone())  # (6, 3)
        neutral = torch.from_numpy(face.neutral)
        seam = (neutral[13] + neutral[14]) / 2
        self.register_buffer("anchor", seam + torch.tensor([0, 0, teeth.BEHIND_LIPS]))
        ears = neutral[list(_HINGE)].mean(0)
        # the jaw also glides forward as it opens: it turns about a place below its hinge
        self.register_buffer("hinge", torch.stack([seam[0], 0.5 * (ears[1] + seam[1]), ears[2]]))
        self.register_buffer("neutral", neutral)
        self.register_buffer("spline", spline_matrix(len(top.MOUTH_UPPER), KNOT_SAMPLES))

    def _texture(self, strip: np.ndarray) -> torch.Tensor:
        """(h, w, 5) uint8 -> (1, 5, h', w') at about 1.1 texels a pixel: finer ones would flicker when they move."""
        planes = torch.from_numpy(strip).permute(2, 0, 1)[None].float() / 255
        fine = strip.shape[1] / (2 * teeth.HALF_ARC)
        shrink = min(1.0, 1.1 * self.unit / fine)
        if shrink < 1:
            planes = F.interpolate(planes, scale_factor=shrink, mode="bilinear", antialias=True, align_corners=False)
        return planes.contiguous()

    def jaw_drop(self, shape: torch.Tensor) -> torch.Tensor:
        """(B, 478, 3) canonical -> (B,) IOD that the lower incisors have gone down."""
        moved = shape[..., 1] - self.neutral[:, 1]
        chin, lip = moved[:, list(_CHIN)].mean(-1), moved[:, 14]
        return chin + 0.9 * F.softplus((lip - chin - JAW_LAG) * 60) / 60

    def parts(self, points: torch.Tensor, shape: torch.Tensor, head: HeadPose) -> tuple[Rays, Rays]:
        """Rays through points (B, P, 2) against the skull (the upper teeth) and against the jaw (the lower teeth)."""
        unit = self.unit * head.zoom
        drop = self.jaw_drop(shape)
        arm = self.anchor - self.hinge  # from the hinge to the incisors, (3,)
        length = torch.hypot(arm[1], arm[2])
        tip = _tip(torch.asin(((drop + arm[1]) / length).clamp(-1, 0.95)) - torch.asin(arm[1] / length))
        low = self.hinge + torch.einsum("bij,j->bi", tip, arm + torch.tensor([0, 0, teeth.LOWER_BEHIND], device=arm.device))
        skull = self._pixel(self.anchor.expand(len(drop), -1), head)
        jaw = self._pixel(low, head)
        return _rays(points, skull, head.rotation, unit), _rays(points, jaw, head.rotation @ tip, unit)

    def _pixel(self, canonical: torch.Tensor, head: HeadPose) -> torch.Tensor:
        """(B, 3) -> (B, 2) pixels of the frame."""
        placed = self.unit / self.k * torch.einsum("bij,bj->bi", head.lay, canonical) + head.translation
        return head.zoomed(placed[:, None, :2])[:, 0] * self.k

    def draw(
        self,
        picture: torch.Tensor,
        vertices: torch.Tensor,
        shape: torch.Tensor,
        head: HeadPose,
        tongue: torch.Tensor | None = None,
    ) -> None:
        """Into picture (B, 3, S, S). vertices (B, 478, 2) pixels, shape (B, 478, 3) the same, canonical; tongue (B,) 0..1: how
        high its tip is."""
        size = picture.shape[-1]
        opening = outline_from(vertices[:, list(top.MOUTH_UPPER)], vertices[:, list(top.MOUTH_LOWER)], self.spline)
        gap = (opening.lower - opening.upper).amax(-1).clamp_min(0) / (self.unit * head.zoom)  # (B,) IOD
        if not bool((gap > 0).any()):
            return
        patch = self._patch(opening, size)
        cover, below, above = inside(opening, patch.points, max(1.0, 0.008 * self.unit))
        cover = cover * ramp(gap, 0.4 * SHOWN, 1.6 * SHOWN)[:, None]  # closed lips show nothing
        skull, jaw = self.parts(patch.points, shape, head)
        iod = (self.unit * head.zoom)[:, None]
        lift = torch.zeros_like(gap) if tongue is None else tongue * self.jaw_drop(shape).clamp(0, 0.16)
        colour = self._interior(skull, jaw, below / iod, above / iod, gap, lift)
        cover = cover[:, None]
        patch.write(picture, patch.read(picture) * (1 - cover) + colour * cover)

    @staticmethod
    def _patch(opening: Opening, size: int) -> Patch:
        """The window that holds the openings of all frames."""
        down = torch.stack([-opening.along[:, 1], opening.along[:, 0]], -1)
        middle = (opening.upper.amin(1) + opening.lower.amax(1)) / 2
        tall = float((opening.lower.amax(1) - opening.upper.amin(1)).amax().clamp_min(0))
        reach = float(opening.length.max())
        tilt = float(opening.along[:, 1].abs().max())
        return Patch.around(
            opening.centre() + middle[:, None] * down, int(tall + tilt * reach) + 6, int(reach + tilt * tall) + 6, size
        )

    def _interior(
        self, skull: Rays, jaw: Rays, below: torch.Tensor, above: torch.Tensor, gap: torch.Tensor, lift: torch.Tensor
    ) -> torch.Tensor:
        """(B, 3, P) colours; below, above (B, P): IOD from the lips' edges, gap (B,) IOD of opening in the middle,
        lift (B,) IOD that the tongue's tip is raised."""
        colour = self._throat(skull, below, above)
        colour = self._tongue(colour, jaw, gap, lift)
        gums = ramp(gap, 0.14, 0.22)  # (B,)
        dim = torch.lerp(self.colours[5], torch.ones_like(self.colours[5]), ramp(gap, 0.06, 0.16)[:, None])[
            ..., None
        ]  # (B, 3, 1)
        for texture, rays, span in ((self.lower, jaw, teeth.LOWER_Y), (self.upper, skull, teeth.UPPER_Y)):
            row, alpha = self._row(texture, rays, span, gums)
            row = row * dim
            colour = colour * (1 - alpha) + row * alpha
        # the lips' wet inner side, before the eye reaches what is behind them
        wet = 0.55 * torch.exp(-((above.clamp_min(0) / 0.022) ** 2)) + 0.25 * torch.exp(-((below.clamp_min(0) / 0.012) ** 2))
        colour = torch.lerp(colour, self.colours[1, :, None] * 0.75 * self._light(torch.zeros_like(wet)), wet[:, None])
        shade = teeth.lip_shade(below.clamp_min(0), above.clamp_min(0), torch.exp)
        return colour * shade[:, None] ** self._warmth(0.7)

    def _warmth(self, share: float) -> torch.Tensor:
        """(3, 1) exponents of a shade: what light is left in it comes off lips and tongue."""
        red = self.colours[1] / self.colours[1].mean().clamp_min(1e-3)
        return (1 + share - share * red)[:, None]

    def _light(self, side: torch.Tensor) -> torch.Tensor:
        """side (B, P) -1..1: how far a surface faces the picture's right -> (B, 3, P) light on it."""
        t = (0.5 + 0.6 * side).clamp(0, 1)[:, None]
        return self.colours[3, :, None] * (1 - t) + self.colours[4, :, None] * t

    def _throat(self, skull: Rays, below: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        """Flesh near the lips and cheeks, dark behind."""
        deep = skull.at(torch.full_like(skull.slope[:, 0], 0.45))
        hole = ((deep[..., 0] / 0.30) ** 2 + ((deep[..., 1] - 0.10) / 0.26) ** 2).sqrt()
        flesh = ramp(hole, 0.2, 1.3)[:, None]
        cavity = self.colours[0, :, None]
        return cavity * (1 - flesh) + self.colours[2, :, None] * 0.36 * flesh

    def _tongue(self, colour: torch.Tensor, jaw: Rays, gap: torch.Tensor, lift: torch.Tensor) -> torch.Tensor:
        """A soft back behind the lower teeth; its raised tip comes forward and into the light."""
        up = ramp(lift, 0.0, 0.06)  # (B,)
        x, y = jaw.at(TONGUE_BACK * (1 - 0.6 * up)).unbind(-1)
        high = 0.035 + 0.055 * ramp(gap, 0.02, 0.25) + 0.08 * ramp(gap, 0.16, 0.40) + lift  # (B,) IOD above the teeth
        u = x / TONGUE_WIDE
        ridge = 0.03 - high[:, None] + (0.07 + 0.5 * lift[:, None]) * u**2
        down = y - ridge  # below its outline
        alpha = ramp(down, -0.02, 0.02)[:, None] * ramp(1.2 - u.abs(), 0, 0.3)[:, None]
        form = 0.40 + 0.60 * ramp(down, -0.02, 0.08) - 0.22 * u**2
        form = form - 0.05 * (1 - up[:, None]) * torch.exp(-((x / 0.018) ** 2)) * ramp(down, 0.0, 0.05)
        bright = 0.45 + 0.50 * torch.maximum(ramp(gap, 0.02, 0.2), 0.7 * up)
        lit = form.clamp_min(0.1) * bright[:, None]
        return colour * (1 - alpha) + self.colours[1, :, None] * self._light(u.clamp(-1, 1) * 0.5) * lit[:, None] * alpha

    def _row(
        self, texture: torch.Tensor, rays: Rays, span: tuple[float, float], gums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Colour (B, 3, P) and coverage (B, 1, P) of a row of teeth on its arch."""
        a = teeth.CURVE
        lx, ly = rays.place.unbind(-1)
        sx, sy = rays.slope[:, 0, None], rays.slope[:, 1, None]
        inner = 1 - 4 * a * sx * lx  # x = lx + sx a x^2
        x = 2 * lx / (1 + inner.clamp_min(0.02).sqrt())
        z = a * x * x
        t = 2 * a * x
        root = (1 + t * t).sqrt()
        u = (t * root + torch.asinh(t)) / (4 * a)
        v = (ly + sy * z - span[0]) / (span[1] - span[0]) * 2 - 1
        five = look_up(texture, torch.stack([u / teeth.HALF_ARC, v], -1))
        within = ramp(inner, 0.02, 0.25) * (1.02 - (u / teeth.HALF_ARC).abs()).clamp(0, 0.02) * 50
        alpha = five[:, 3:4] * (within * (v.abs() < 1))[:, None]
        gum = five[:, 4:5] * gums[:, None, None]
        colour = five[:, :3] * (1 - gum) + self.colours[2, :, None] * gum
        facing = torch.stack([t / root, -1 / root], 1)  # (B, 2, P): x and z of the outward normal
        side = torch.einsum("bj,bjp->bp", rays.turn[:, 0, ::2], facing)
        front = -torch.einsum("bj,bjp->bp", rays.turn[:, 2, ::2], facing)
        lit = (0.30 + 0.70 * front.clamp(0, 1)) * (1 - 0.70 * ramp(z, 0.03, 0.25))
        return colour * self._light(side) * lit[:, None] ** self._warmth(0.4), alpha
