"""The mouth's interior behind the lips, drawn in 3-D into a small patch of each frame.

Every pixel of the opening looks along a ray into the head: onto the upper row of teeth (fixed to the skull), the lower row and
the tongue (fixed to the jaw, which turns about its hinge before the ears), or into the throat. Places behind the lips shift
against them when the head turns. Coordinates as in `portrait.teeth`; pictures are orthographic, so a ray meets the parabola of
an arch in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin

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
    """Pixels of a patch against both rigid parts, jaw and skull (R = 2). place (B, R, 2, P): where in IOD each ray meets the
    plane of the part's front teeth; slope (B, R, 2): how far it goes right and down per IOD of depth; turn (B, R, 3, 3) part
    -> picture."""

    place: torch.Tensor
    slope: torch.Tensor
    turn: torch.Tensor

    def at(self, part: int, depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x and y (B, P): where the rays are `depth` (B, 1) IOD behind the front teeth of a part."""
        x, y = (self.place[:, part] + (depth * self.slope[:, part])[..., None]).unbind(1)
        return x, y


JAW, SKULL = 0, 1


class MouthLayer(torch.nn.Module):
    """Throat, tongue, lower and upper teeth behind the lips of one face."""

    rows: torch.Tensor
    span: torch.Tensor
    colours: torch.Tensor
    anchor: torch.Tensor
    hinge: torch.Tensor
    arm: torch.Tensor
    neutral: torch.Tensor
    spline: torch.Tensor
    edges: torch.Tensor
    jaw: torch.Tensor

    def __init__(self, face: FaceLatent, size: int = SIZE) -> None:
        super().__init__()
        self.k = size / SIZE
        self.unit = float(face.scale) * self.k  # pixels an IOD
        self.register_buffer("rows", torch.cat([self._texture(face.mouth_lower), self._texture(face.mouth_upper)]))
        self.register_buffer("span", torch.tensor([teeth.LOWER_Y, teeth.UPPER_Y])[..., None])  # (R, 2, 1)
        self.register_buffer("colours", torch.from_numpy(face.mouth_colours).clone())  # (6, 3)
        neutral = torch.from_numpy(face.neutral)
        seam = (neutral[13] + neutral[14]) / 2
        self.register_buffer("anchor", seam + torch.tensor([0, 0, teeth.BEHIND_LIPS]))
        ears = neutral[list(_HINGE)].mean(0)
        # the jaw also glides forward as it opens: it turns about a place below its hinge
        self.register_buffer("hinge", torch.stack([seam[0], 0.5 * (ears[1] + seam[1]), ears[2]]))
        arm = self.anchor - self.hinge  # from the hinge to the incisors, (3,)
        self.register_buffer("arm", arm + torch.tensor([0, 0, teeth.LOWER_BEHIND]))
        self.arm_down, self.arm_length = float(arm[1]), float(torch.hypot(arm[1], arm[2]))
        self.register_buffer("neutral", neutral)
        self.register_buffer("spline", spline_matrix(len(top.MOUTH_UPPER), KNOT_SAMPLES))
        self.register_buffer("edges", torch.tensor([top.MOUTH_UPPER, top.MOUTH_LOWER]))
        self.register_buffer("jaw", torch.tensor([*_CHIN, 14]))

    @property
    def lower(self) -> torch.Tensor:
        """(1, 5, h, w): the lower row, a view."""
        return self.rows[:1]

    @property
    def upper(self) -> torch.Tensor:
        """(1, 5, h, w): the upper row, a view."""
        return self.rows[1:]

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
        moved = shape[:, self.jaw, 1] - self.neutral[self.jaw, 1]
        chin, lip = moved[:, :-1].mean(-1), moved[:, -1]
        return chin + 0.9 / 60 * F.softplus((lip - chin - JAW_LAG) * 60)

    def parts(self, points: torch.Tensor, drop: torch.Tensor, head: HeadPose) -> Rays:
        """Rays through points (B, P, 2) against the jaw, gone down by drop (B,) IOD, and against the skull."""
        angle = torch.asin(((drop + self.arm_down) / self.arm_length).clamp_(-1, 0.95)) - asin(self.arm_down / self.arm_length)
        c, s = torch.cos(angle)[:, None], torch.sin(angle)[:, None]  # about the x axis: what lies before the hinge goes down
        x, y, z = self.arm
        low = self.hinge + torch.cat([x.expand_as(c), c * y - s * z, s * y + c * z], 1)
        canonical = torch.stack([low, self.anchor.expand_as(low)], 1)  # (B, R, 3)
        placed = self.unit / self.k * canonical @ head.lay.transpose(1, 2) + head.translation[:, None]
        anchor = head.zoomed(placed[..., :2]) * self.k
        right, down, deep = head.rotation.unbind(2)
        turned = torch.stack([right, c * down + s * deep, c * deep - s * down], 2)
        turn = torch.stack([turned, head.rotation], 1)  # (B, R, 3, 3)
        back = torch.linalg.inv(turn[..., :2, :2])
        way = points.transpose(1, 2)[:, None] - anchor[..., None]  # (B, R, 2, P)
        place = (back / (self.unit * head.zoom)[:, None, None, None]) @ way
        return Rays(place, -(back @ turn[..., :2, 2:])[..., 0], turn)

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
        upper, lower = vertices[:, self.edges].unbind(1)
        opening = outline_from(upper, lower, self.spline)
        iod = self.unit * head.zoom
        gap = (opening.lower - opening.upper).amax(-1).clamp_min_(0) / iod  # (B,) IOD
        if not bool((gap > 0.4 * SHOWN).any()):
            return
        patch = self._patch(opening, picture.shape[-1])
        cover, below, above = inside(opening, patch.points, max(1.0, 0.008 * self.unit))
        cover = (cover * ramp(gap, 0.4 * SHOWN, 1.6 * SHOWN)[:, None])[:, None]  # closed lips show nothing
        drop = self.jaw_drop(shape)
        rays = self.parts(patch.points, drop, head)
        lift = torch.zeros_like(gap) if tongue is None else tongue * drop.clamp(0, 0.16)
        depths = torch.stack([below, above], 1).div_(iod[:, None, None]).clamp_min_(0)
        colour = self._interior(rays, depths, gap[:, None], lift[:, None])
        patch.write(picture, torch.lerp(patch.read(picture), colour, cover))

    @staticmethod
    def _patch(opening: Opening, size: int) -> Patch:
        """The window that holds the openings of all frames."""
        down = torch.stack([-opening.along[:, 1], opening.along[:, 0]], -1)
        upper, lower = opening.upper.amin(1), opening.lower.amax(1)
        most = torch.stack([lower - upper, opening.length, opening.along[:, 1].abs()]).amax(1)
        tall, reach, tilt = most.clamp_min_(0).tolist()
        centre = opening.centre() + ((upper + lower) / 2)[:, None] * down
        return Patch.around(centre, int(tall + tilt * reach) + 6, int(reach + tilt * tall) + 6, size)

    def _interior(self, rays: Rays, depths: torch.Tensor, gap: torch.Tensor, lift: torch.Tensor) -> torch.Tensor:
        """(B, 3, P) colours; depths (B, 2, P): IOD below the upper and above the lower lip's edge, gap (B, 1) IOD of opening in
        the middle, lift (B, 1) IOD that the tongue's tip is raised."""
        colours = self.colours[..., None]  # (6, 3, 1)
        colour = self._tongue(self._throat(rays), rays, gap, lift)
        dim = torch.lerp(self.colours[5], torch.ones_like(self.colours[5]), ramp(gap, 0.06, 0.16))  # (B, 3)
        rows, alpha = self._rows(rays, ramp(gap, 0.14, 0.22))
        rows = rows * dim[:, None, :, None]
        for part in (JAW, SKULL):
            colour = torch.lerp(colour, rows[:, part], alpha[:, part])
        # the lips' wet inner side, before the eye reaches what is behind them
        below, above = depths.unbind(1)
        wet = 0.55 * torch.exp((above / 0.022).square_().neg_()) + 0.25 * torch.exp((below / 0.012).square_().neg_())
        flesh = colours[1] * 0.75 * torch.lerp(colours[3], colours[4], 0.5)
        colour = torch.lerp(colour, flesh, wet[:, None])
        shade = teeth.lip_shade(below, above, torch.exp)
        return colour * shade[:, None] ** self._warmth(0.7)

    def _warmth(self, share: float) -> torch.Tensor:
        """(3, 1) exponents of a shade: what light is left in it comes off lips and tongue."""
        red = self.colours[1] / self.colours[1].mean().clamp_min(1e-3)
        return (1 + share - share * red)[:, None]

    def _light(self, side: torch.Tensor) -> torch.Tensor:
        """side (..., P) -1..1: how far a surface faces the picture's right -> (..., 3, P) light on it."""
        t = (0.6 * side).add_(0.5).clamp_(0, 1)[..., None, :]
        return torch.lerp(self.colours[3, :, None], self.colours[4, :, None], t)

    def _throat(self, rays: Rays) -> torch.Tensor:
        """Flesh near the lips and cheeks, dark behind."""
        x, y = rays.at(SKULL, torch.full_like(rays.slope[:, 0, :1], 0.45))
        hole = ((x / 0.30).square_() + ((y - 0.10) / 0.26).square_()).sqrt_()
        return torch.lerp(self.colours[0, :, None], self.colours[2, :, None] * 0.36, ramp(hole, 0.2, 1.3)[:, None])

    def _tongue(self, colour: torch.Tensor, rays: Rays, gap: torch.Tensor, lift: torch.Tensor) -> torch.Tensor:
        """A soft back behind the lower teeth; its raised tip comes forward and into the light."""
        up = ramp(lift, 0.0, 0.06)  # (B, 1)
        x, y = rays.at(JAW, TONGUE_BACK * (1 - 0.6 * up))
        high = 0.035 + 0.055 * ramp(gap, 0.02, 0.25) + 0.08 * ramp(gap, 0.16, 0.40) + lift  # IOD above the teeth
        u = x / TONGUE_WIDE
        bow = u.square()
        down = y - (0.03 - high) - (0.07 + 0.5 * lift) * bow  # below its outline
        alpha = ramp(down, -0.02, 0.02) * ramp(1.2 - u.abs(), 0, 0.3)
        form = 0.40 + 0.60 * ramp(down, -0.02, 0.08) - 0.22 * bow
        form = form - 0.05 * (1 - up) * torch.exp((x / 0.018).square_().neg_()) * ramp(down, 0.0, 0.05)
        lit = form.clamp_min_(0.1) * (0.45 + 0.50 * torch.maximum(ramp(gap, 0.02, 0.2), 0.7 * up))
        seen = self.colours[1, :, None] * self._light(u.clamp_(-1, 1) * 0.5) * lit[:, None]
        return torch.lerp(colour, seen, alpha[:, None])

    def _rows(self, rays: Rays, gums: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colours (B, R, 3, P) and coverage (B, R, 1, P) of both rows of teeth on their arches; gums (B, 1) 0..1: how far gum
        shows."""
        b, a = len(gums), teeth.CURVE
        (lx, ly), (sx, sy) = rays.place.unbind(2), rays.slope[..., None].unbind(2)
        inner = 1 - (4 * a * sx) * lx  # x = lx + sx a x^2
        x = 2 * lx / (1 + inner.clamp_min(0.02).sqrt_())
        t = 2 * a * x
        z = 0.5 * t * x
        root = (1 + t * t).sqrt_()
        u = (t * root + torch.asinh(t)) / (4 * a * teeth.HALF_ARC)
        low, end = self.span.unbind(1)
        v = (ly + sy * z - low) * (2 / (end - low)) - 1
        at = torch.stack([u, v], 2).flatten(0, 1).transpose(1, 2)  # (B R, P, 2)
        five = look_up(self.rows if b == 1 else self.rows.repeat(b, 1, 1, 1), at).view(b, 2, 5, -1)
        within = ramp(inner, 0.02, 0.25) * (1.02 - u.abs()).clamp_(0, 0.02) * 50 * (v.abs() < 1)
        alpha = five[:, :, 3:4] * within[:, :, None]
        colour = torch.lerp(five[:, :, :3], self.colours[2, :, None], five[:, :, 4:] * gums[:, None, None])
        nx, nz = rays.turn[:, :, 0::2, 0, None], rays.turn[:, :, 0::2, 2, None]  # what of x and z goes right, and away
        side, away = ((nx * t[:, :, None] - nz) / root[:, :, None]).unbind(2)  # of the outward normal (t, -1) / root
        lit = (0.30 - 0.70 * away.clamp_(-1, 0)) * (1 - 0.70 * ramp(z, 0.03, 0.25))
        return colour * self._light(side) * lit[:, :, None] ** self._warmth(0.4), alpha
