"""Eyes drawn into small patches of each frame: eyeballs behind the lids, lashes on the lids' edges.

Everything happens in the eye's own frame (`portrait.eye_frame`): u along the line of corners, v down, in eye widths. The photo
says where the eye really ends; the motion says how far its lids have closed and moved. Both eyes are drawn at once: N below is
a batch of B frames, left and right eye of the picture in turn.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.aperture import Patch, spline_matrix
from vasa_cli.decoder.patches import KNOT_SAMPLES, look_up, over, planes
from vasa_cli.motion.basis import EYE_RADIUS
from vasa_cli.portrait import eye_frame, eyes, lids
from vasa_cli.portrait import topology as top
from vasa_cli.portrait.latent import SIZE, FaceLatent

GLINT_SHARE = 0.5  # of the iris' movement: the cornea is a mirror in front of a turning ball
CREASE = 0.22  # eye widths above the edge within which a shut lid is smooth
FLIP = 1.55  # lashes point up at 1, at the viewer at 0, and down below: 1 - FLIP * closure
LINE_WIDTH, LINE = 0.02, 0.5  # eye widths, strength: of the line between closed lids
SINK, FLATTEN = 0.015, 0.02  # eye widths: where closed lids meet, and how much less bowed than the lower lid
STILL_LIDS = 0.35  # change of the gap at which nothing of the photo's own eye is left
STILL_GAZE = 0.09  # eye widths of iris movement, the same
INNER = 0.34  # half extent in u within which closure is measured; the corners' own gaps are too small to tell
_LIDS = len(top.LID_UPPER[0])


def _both(textures: np.ndarray) -> torch.Tensor:
    """(2, h, w, C) uint8 -> (2, C, h, w) 0..1."""
    return torch.cat([planes(t) for t in textures])


class EyeLayer(torch.nn.Module):
    """Both eyes: white, iris, glint, shadow of the lid, lashes."""

    white: torch.Tensor
    iris: torch.Tensor
    glint: torch.Tensor
    frame: torch.Tensor
    lashes: torch.Tensor
    line: torch.Tensor
    spline: torch.Tensor
    to_frame: torch.Tensor
    columns: torch.Tensor
    inner: torch.Tensor
    edges: torch.Tensor
    rest: torch.Tensor
    iris_at: torch.Tensor
    width: torch.Tensor
    radius: torch.Tensor
    marks: torch.Tensor
    reach: torch.Tensor

    def __init__(self, face: FaceLatent) -> None:
        super().__init__()
        frames = [eye_frame.EyeFrame.of(face.landmarks, eye) for eye in (0, 1)]
        found = [eyes.iris_frame(face.landmarks, eye) for eye in (0, 1)]
        self.widest = max(f.width for f in frames)
        self.ball = EYE_RADIUS * float(face.scale)  # crop pixels
        for name, patch in (("white", face.eye_white), ("iris", face.eye_iris), ("glint", face.eye_glint)):
            self.register_buffer(name, _both(patch))
        strips = face.eye_lashes[:, ::-1].reshape(4, *face.eye_lashes.shape[2:])  # lower and upper of either eye
        self.register_buffer("lashes", _both(strips))
        self.register_buffer("line", torch.stack([self._line_colour(s[0]) for s in face.eye_lashes])[..., None])  # (2, 3, 1)
        spline = spline_matrix(_LIDS, KNOT_SAMPLES)
        self.register_buffer("spline", torch.stack([spline, spline.flip(0)]))  # along u, which runs to the right
        to_frame = np.stack([np.stack([f.along, f.down]) / f.width for f in frames])
        self.register_buffer("to_frame", torch.from_numpy(to_frame).float())
        columns = torch.from_numpy(eye_frame.columns()).float()
        inner = torch.nonzero(columns.abs() < INNER)[:, 0]
        self.first, self.last = int(inner[0]), int(inner[-1])
        self.register_buffer("columns", columns)
        self.register_buffer("inner", torch.arange(len(columns)).clamp(self.first, self.last))
        self.register_buffer("edges", torch.from_numpy(face.eye_edges).float())  # (2, 2, C)
        iris_at = np.stack([f[0] - e.centre for f, e in zip(found, frames, strict=True)])
        self.register_buffer("iris_at", torch.from_numpy(iris_at).float())
        self.register_buffer("radius", torch.tensor([float(f[1]) for f in found])[:, None])
        self.register_buffer("width", torch.tensor([f.width for f in frames])[:, None])
        self.register_buffer("marks", torch.tensor([[*top.LID_UPPER[e], *top.LID_LOWER[e]] for e in (0, 1)]))
        self.register_buffer("reach", torch.tensor([eye_frame.REACH_U, eye_frame.REACH_V])[:, None])
        still = np.stack([f.local(face.landmarks[m, :2]) for f, m in zip(frames, self.marks.numpy(), strict=True)])
        self.register_buffer("rest", self._curves(torch.from_numpy(still).float()))  # (2, 2, C)
        self._remember(face, frames)

    @staticmethod
    def _line_colour(strip: np.ndarray) -> torch.Tensor:
        """(3,) what the line between closed lids is drawn with: the photo's densest lashes, or a dark of their hue."""
        weight = (strip[..., 3:].astype(np.float64) / 255) ** 2
        if weight.sum() < 20:
            return torch.tensor([0.22, 0.13, 0.10])
        return torch.from_numpy((strip[..., :3] * weight).sum((0, 1)) / weight.sum() / 255).float() * 0.8

    def _remember(self, face: FaceLatent, frames: list[eye_frame.EyeFrame]) -> None:
        """Textures of the frame, (2, 6, h, w): skin of closed lids; and what the photo shows and the layers do not, at rest,
        which is added while the eye is as in the photo."""
        photo = _both(face.eye_photo)
        h, w = photo.shape[2:]
        skin = F.interpolate(_both(face.eye_lids), size=(h, w), mode="bilinear", align_corners=False)
        self.register_buffer("frame", torch.cat([skin, torch.zeros_like(photo)], 1))
        uv = eye_frame.grid(round(w / (2 * eye_frame.REACH_U))).reshape(-1, 2)
        at = torch.from_numpy(np.stack([f.place(uv) for f in frames])).float() / (SIZE / 2) - 1
        below = look_up(planes(face.person[..., :3]), at)  # (2, 3, h * w)
        points = torch.from_numpy(uv.T[None].repeat(2, 0)).float()
        local = torch.from_numpy(np.stack([(f.place(uv) - f.centre).T for f in frames])).float()
        soft = SIZE / face.texture / self.width
        drawn = self._paint(
            below, self._framed(points)[:, :3], local, points, self.edges, torch.zeros(2), torch.zeros(2, 2), soft
        )
        missing = photo - drawn.reshape(2, 3, h, w)
        missing = missing.sign() * (missing.abs() - 0.006).clamp_min(0)  # resampling is no difference
        near = ((1.15 - (points / torch.tensor([[0.68], [0.52]])).square().sum(1)) / 0.3).clamp(0, 1)
        self.frame[:, 3:] = missing * near.reshape(2, 1, h, w)

    def _each(self, values: torch.Tensor, n: int) -> torch.Tensor:
        """(2, ...) of both eyes -> (N, ...)."""
        return values if n == len(values) else values.repeat(n // len(values), *(1,) * (values.ndim - 1))

    def _curves(self, lids: torch.Tensor) -> torch.Tensor:
        """Lid landmarks (N, 18, 2) u, v, upper and lower -> v of both at the columns (N, 2, C), constant beyond INNER's
        corners."""
        n = len(lids)
        fine = self._each(self.spline, n)[:, None] @ lids.view(n, 2, _LIDS, 2)  # (N, 2, S, 2)
        u, v = fine.flatten(0, 1).unbind(-1)
        u = torch.cummax(u, -1).values + torch.arange(u.shape[1], device=u.device) * 1e-5
        want = self.columns.clamp(-0.46, 0.46).expand(len(u), -1).contiguous()
        hi = torch.searchsorted(u, want).clamp_(1, u.shape[1] - 1)
        lo = hi - 1
        u0, v0 = u.gather(1, lo), v.gather(1, lo)
        t = ((want - u0) / (u.gather(1, hi) - u0)).clamp_(0, 1)
        return torch.lerp(v0, v.gather(1, hi), t).view(n, 2, -1)

    def _lids(self, lids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lid landmarks (N, 18, 2) in the frame -> edges of the eye (N, 2, C) and its gap as a share of the photo's (N,)."""
        n = len(lids)
        now, rest, edges = self._curves(lids), self._each(self.rest, n), self._each(self.edges, n)
        gap = (now[:, 1] - now[:, 0]) / (rest[:, 1] - rest[:, 0]).clamp_min(0.02)  # (N, C) 1 as in the photo
        gap = gap.index_select(1, self.inner).clamp_(0, 2)
        low = edges[:, 1] + (now[:, 1] - rest[:, 1])
        mean = gap[:, self.first : self.last + 1].mean(-1)
        closed = (1 - mean).clamp_(0, 1)
        low = low + closed[:, None] * (SINK - FLATTEN * (1 - (self.columns / 0.5) ** 2).clamp_min(0))
        return torch.stack([low - gap * (edges[:, 1] - edges[:, 0]), low], 1), mean

    def draw(self, picture: torch.Tensor, vertices: torch.Tensor, to_rest: torch.Tensor, iris: torch.Tensor) -> None:
        """Into picture (B, 3, S, S). vertices (B, 478, 2) in the picture's pixels, to_rest (B, 2, 2) picture -> photo crop
        pixels, iris (B, 2, 2) the shift of both irises against the photo in photo crop pixels."""
        size, n = picture.shape[-1], 2 * len(picture)
        marks = vertices[:, self.marks].view(n, 2 * _LIDS, 2)
        middle = (marks[:, :1] + marks[:, _LIDS - 1 : _LIDS]) / 2  # (N, 1, 2)
        enlarged = torch.linalg.det(to_rest).abs().rsqrt()  # (B,) picture pixels per crop pixel
        reach = 2 * float(enlarged.max()) * self.widest
        patch = Patch.around(middle[:, 0], int(reach * (eye_frame.REACH_V + 0.1)) + 4, int(reach * eye_frame.REACH_U) + 4, size)
        to_rest = to_rest.repeat_interleave(2, 0)
        to_frame = self._each(self.to_frame, n)
        local = to_rest @ (patch.points - middle).transpose(1, 2)  # (N, 2, P) photo crop pixels from the eye's middle
        uv = to_frame @ local
        edges, gap = self._lids((marks - middle) @ (to_frame @ to_rest).transpose(1, 2))
        soft = 1 / (enlarged.repeat_interleave(2)[:, None] * self._each(self.width, n))  # a pixel of the picture, in eye widths
        skin, framed = patch.read(picture), self._framed(uv)
        light = self._light(skin, framed[:, :3], uv)
        iris = iris.reshape(n, 2)
        bare = skin / light
        colour = self._paint(bare, framed[:, :3], local, uv, edges, (1 - gap).clamp_(0, 1), iris, soft)
        still = (1 - (1 - gap).abs() / STILL_LIDS).clamp_(0, 1)
        still = still * torch.exp(-((iris / (STILL_GAZE * self._each(self.width, n))) ** 2).sum(-1))
        within = ((1 - (uv / self.reach).abs().amax(1)) / 0.12).clamp_(0, 1) * still[:, None]  # fades to 0 at the frame's border
        colour = torch.addcmul(colour, framed[:, 3:], within[:, None])
        # what is not the eye's stays exactly as it was
        patch.add(picture, torch.where(colour == bare, 0.0, (colour * light).clamp_(0, 1) - skin))

    def _framed(self, uv: torch.Tensor) -> torch.Tensor:
        """(N, 6, P): the frame's textures at (N, 2, P)."""
        return look_up(self._each(self.frame, len(uv)), (uv / self.reach).transpose(1, 2))

    @staticmethod
    def _light(skin: torch.Tensor, photo: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """(N, 3, 1): how much brighter the skin under the eye is now than in the photo; lid and eyeball share that."""
        u, v = uv.unbind(1)
        below = ((u.abs() < 0.35) & (v > 0.28) & (v < 0.5))[:, None]
        now, then = ((colour * below).sum(-1, keepdim=True) + 0.5 for colour in (skin, photo))
        return (now / then).clamp_(0.5, 1.6)

    def _paint(
        self,
        colour: torch.Tensor,
        lid: torch.Tensor,
        local: torch.Tensor,
        uv: torch.Tensor,
        edges: torch.Tensor,
        closed: torch.Tensor,
        iris: torch.Tensor,
        soft: torch.Tensor,
    ) -> torch.Tensor:
        """The eye over skin (N, 3, P) at places (N, 2, P) in crop pixels from its middle and in its frame. lid (N, 3, P) is
        the skin of a closed one, edges (N, 2, C), closed (N,), iris (N, 2), soft (N, 1) in eye widths."""
        curves = torch.cat([edges, self._each(self.edges, len(uv))], 1)[:, :, None]
        at = torch.stack([uv[:, 0] * ((1 - 1 / len(self.columns)) / eye_frame.REACH_U), torch.zeros_like(uv[:, 0])], 1)
        levels = look_up(curves, at.transpose(1, 2))  # (N, 4, P): edges now and in the photo
        colour = self._draw_lid(colour, lid, uv, levels, closed[:, None], soft)
        colour = self._draw_ball(colour, local, uv, levels, iris, soft)
        return self._draw_lashes(colour, uv, levels, closed[:, None], soft)

    @staticmethod
    def _draw_lid(
        colour: torch.Tensor, lid: torch.Tensor, uv: torch.Tensor, levels: torch.Tensor, shut: torch.Tensor, soft: torch.Tensor
    ) -> torch.Tensor:
        """The skin that comes down over the eyeball: smooth, a little lighter in the middle, its crease gone when shut."""
        (u, v), (up, _, rest, _) = uv.unbind(1), levels.unbind(1)
        above = rest - v  # of the photo's edge; the lid's skin was folded in there
        unfolded = ((shut - 0.1) / 0.5).clamp(0, 1) * ((CREASE - above) / (0.6 * CREASE)).clamp_(0, 1)
        pulled = (shut * 6).clamp(0, 1) * (above / -0.04).clamp_(0, 1)  # over the eyeball
        cover = torch.maximum(unfolded, pulled)
        cover *= ((up - v) / soft.clamp_min(0.03)).add_(0.5).clamp_(0, 1)
        cover *= ((0.62 - u.abs()) / 0.15).clamp_(0, 1)
        middle = (rest + up) / 2
        bulge = torch.exp(-(((v - middle) / 0.16) ** 2) - (u / 0.30) ** 2)
        return torch.lerp(colour, lid * (0.97 + 0.07 * shut * bulge)[:, None], cover[:, None])

    def _draw_ball(
        self, colour: torch.Tensor, local: torch.Tensor, uv: torch.Tensor, levels: torch.Tensor, iris: torch.Tensor,
        soft: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        n, v, (up, low, _, _) = len(uv), uv[:, 1], levels.unbind(1)
        below, above, edge = v - up, low - v, soft.clamp_min(0.03)
        cover = (below / edge).add_(0.5).clamp_(0, 1)
        cover *= (above / edge).add_(0.5).clamp_(0, 1)
        cover *= ((low - up) / (0.05 + soft)).sub_(0.4).clamp_(0, 1)  # closed lids show no eyeball
        half = self._each(self.width, n)[..., None] * (eyes.WHITE_SPAN / 2)
        high = half * (eyes.WHITE_SHAPE[0] / eyes.WHITE_SHAPE[1])
        ball = look_up(self._each(self.white, n), (local / torch.cat([half, high], 1)).transpose(1, 2))
        unit = (eyes.IRIS_SPAN * self._each(self.radius, n))[..., None]
        iris_at, turned = self._each(self.iris_at, n), self._turned(iris)
        at = (local - (iris_at + iris)[..., None]) / (unit * turned[..., None])
        ball = over(ball, self._each(self.iris, n), at)
        shade = 1 - 0.38 * torch.exp(below.clamp_min(0) / -0.075) - 0.10 * torch.exp(above.clamp_min(0) / -0.0625)
        ball = ball * shade[:, None]
        ball = over(ball, self._each(self.glint, n), (local - (iris_at + GLINT_SHARE * iris)[..., None]) / unit)
        return torch.lerp(colour, ball, cover[:, None])

    def _turned(self, iris: torch.Tensor) -> torch.Tensor:
        """(N, 2): how much narrower and lower the iris looks than in the photo, turned away on its ball."""
        at = self._each(self.iris_at, len(iris))
        then, now = ((p / (0.9 * self.ball)).clamp_(-0.7, 0.7) for p in (at, at + iris))
        return ((1 - now**2) / (1 - then**2)).sqrt_().clamp_(0.7, 1.25)

    def _draw_lashes(
        self, colour: torch.Tensor, uv: torch.Tensor, levels: torch.Tensor, closed: torch.Tensor, soft: torch.Tensor
    ) -> torch.Tensor:
        n, v, (up, low, rest_up, rest_low) = len(uv), uv[:, 1], levels.unbind(1)
        turn = 1 - FLIP * closed  # up, towards the viewer, down
        facing = (turn.abs() / 0.6).clamp_(0.15, 1)  # lashes that point at the viewer hardly show
        turn = torch.where(turn < 0, turn.clamp(max=-0.3), turn.clamp_min(0.3))
        out, hang = v - low, up - v  # from the lower and from the upper edge
        strips = (out, lids.LASHES[1]), (hang / turn, lids.LASHES[0])
        rows = [(way + lids.INWARD) * (2 / (lids.INWARD + reach)) - 1 for way, reach in strips]
        u = uv[:, :1] / eye_frame.REACH_U
        at = torch.stack([u.expand(-1, 2, -1), torch.stack(rows, 1)], 2).flatten(0, 1)  # (2 N, 2, P) lower, upper
        hair = look_up(self._each(self.lashes, 2 * n), at.transpose(1, 2))
        seen = hair[:, 3:] * (at.abs().amax(1, keepdim=True) < 1)
        hair, seen = hair.view(n, 2, 4, -1), seen.view(n, 2, 1, -1) * torch.stack([1 - closed, facing], 1)[..., None]
        for lash in (0, 1):
            colour = torch.lerp(colour, hair[:, lash, :3], seen[:, lash])
        width = (0.6 * soft).clamp_min(LINE_WIDTH)
        line = torch.exp(-((hang / width) ** 2)) * ((rest_low - rest_up) / 0.12).clamp_(0, 1)
        line = line * (LINE * ((closed - 0.1) / 0.4).clamp(0, 1))
        return torch.lerp(colour, self._each(self.line, n).expand_as(colour), line[:, None])
