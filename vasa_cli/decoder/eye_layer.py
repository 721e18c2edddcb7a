"""Eyes drawn into small patches of each frame: eyeballs behind the lids, lashes on the lids' edges.

Everything happens in the eye's own frame (`portrait.eye_frame`): u along the line of corners, v down, in eye widths. The photo
says where the eye really ends; the motion says how far its lids have closed and moved.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vasa_cli.decoder.aperture import Patch, spline_matrix
from vasa_cli.decoder.patches import KNOT_SAMPLES, look_up, planes
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


def _border(at: torch.Tensor) -> torch.Tensor:
    """(B, P): 1 inside a frame of -1..1, fading to 0 at its border."""
    return ((1 - at.abs().amax(-1)) / 0.12).clamp(0, 1)


class EyeLayer(torch.nn.Module):
    """One eye: white, iris, glint, shadow of the lid, lashes."""

    white: torch.Tensor
    iris: torch.Tensor
    glint: torch.Tensor
    skin: torch.Tensor
    upper_lashes: torch.Tensor
    lower_lashes: torch.Tensor
    line: torch.Tensor
    spline: torch.Tensor
    to_frame: torch.Tensor
    edges: torch.Tensor
    rest: torch.Tensor
    columns: torch.Tensor
    iris_at: torch.Tensor
    missing: torch.Tensor

    def __init__(self, face: FaceLatent, eye: int) -> None:
        super().__init__()
        self.eye = eye
        frame = eye_frame.EyeFrame.of(face.landmarks, eye)
        iris, self.radius = eyes.iris_frame(face.landmarks, eye)
        self.width = frame.width
        self.ball = EYE_RADIUS * float(face.scale)  # crop pixels
        for name, patch in (
            ("white", face.eye_white),
            ("iris", face.eye_iris),
            ("glint", face.eye_glint),
            ("skin", face.eye_lids),
        ):
            self.register_buffer(name, planes(patch[eye]))
        self.register_buffer("upper_lashes", planes(face.eye_lashes[eye, 0]))
        self.register_buffer("lower_lashes", planes(face.eye_lashes[eye, 1]))
        self.register_buffer("line", self._line_colour(face.eye_lashes[eye, 0]))
        self.register_buffer("spline", spline_matrix(len(top.LID_UPPER[eye]), KNOT_SAMPLES))
        self.register_buffer("to_frame", torch.from_numpy(np.stack([frame.along, frame.down]) / frame.width).float())
        self.register_buffer("columns", torch.from_numpy(eye_frame.columns()).float())
        self.register_buffer("edges", torch.from_numpy(face.eye_edges[eye]).float())
        self.register_buffer("iris_at", torch.from_numpy(iris - frame.centre).float())
        still = torch.from_numpy(frame.local(face.landmarks[[*top.LID_UPPER[eye], *top.LID_LOWER[eye]], :2])).float()
        n = len(top.LID_UPPER[eye])
        self.register_buffer("rest", torch.stack([self._curve(still[None, :n]), self._curve(still[None, n:])], 1))  # (1, 2, C)
        self.register_buffer("missing", self._what_is_missing(face.eye_photo[eye], face.person, frame))

    @staticmethod
    def _line_colour(strip: np.ndarray) -> torch.Tensor:
        """(3,) what the line between closed lids is drawn with: the photo's densest lashes, or a dark of their hue."""
        weight = (strip[..., 3:].astype(np.float64) / 255) ** 2
        if weight.sum() < 20:
            return torch.tensor([0.22, 0.13, 0.10])
        return torch.from_numpy((strip[..., :3] * weight).sum((0, 1)) / weight.sum() / 255).float() * 0.8

    def _curve(self, points: torch.Tensor) -> torch.Tensor:
        """(B, N, 2) u, v along a lid -> v at the columns (B, C), constant beyond INNER's corners."""
        fine = torch.einsum("sn,bnc->bsc", self.spline, points)
        fine = fine if self.eye == 0 else fine.flip(1)  # u must increase
        u = torch.cummax(fine[..., 0], -1).values + torch.arange(fine.shape[1], device=fine.device) * 1e-5
        want = self.columns.clamp(-0.46, 0.46).expand(len(u), -1).contiguous()
        hi = torch.searchsorted(u.contiguous(), want).clamp(1, u.shape[1] - 1)
        u0, u1, v = u.gather(1, hi - 1), u.gather(1, hi), fine[..., 1]
        t = ((want - u0) / (u1 - u0)).clamp(0, 1)
        return v.gather(1, hi - 1) * (1 - t) + v.gather(1, hi) * t

    def _lids(self, upper: torch.Tensor, lower: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lid landmarks (B, 9, 2) in the frame -> edges of the eye (B, 2, C) and its gap as a share of the
        photo's (B,)."""
        now = torch.stack([self._curve(upper), self._curve(lower)], 1)
        gap = (now[:, 1] - now[:, 0]) / (self.rest[:, 1] - self.rest[:, 0]).clamp_min(0.02)  # (B, C) 1 as in the photo
        inner = torch.nonzero(self.columns.abs() < INNER)[:, 0]
        first, last = int(inner[0]), int(inner[-1])
        at = torch.arange(len(self.columns), device=gap.device).clamp(first, last)
        gap = gap[:, at].clamp(0, 2)
        low = self.edges[1] + (now[:, 1] - self.rest[:, 1])
        mean = gap[:, first : last + 1].mean(-1)
        closed = (1 - mean).clamp(0, 1)
        low = low + closed[:, None] * (SINK - FLATTEN * (1 - (self.columns / 0.5) ** 2).clamp_min(0))
        return torch.stack([low - gap * (self.edges[1] - self.edges[0]), low], 1), mean

    def draw(self, picture: torch.Tensor, vertices: torch.Tensor, to_rest: torch.Tensor, iris: torch.Tensor) -> None:
        """Into picture (B, 3, S, S). vertices (B, 478, 2) in the picture's pixels, to_rest (B, 2, 2) picture -> photo crop
        pixels, iris (B, 2) the iris' shift against the photo in photo crop pixels."""
        size = picture.shape[-1]
        upper, lower = vertices[:, list(top.LID_UPPER[self.eye])], vertices[:, list(top.LID_LOWER[self.eye])]
        middle = (upper[:, 0] + upper[:, -1]) / 2
        enlarged = float((1 / torch.linalg.det(to_rest).abs().sqrt()).max())  # picture pixels per crop pixel
        reach = 2 * enlarged * self.width
        patch = Patch.around(middle, int(reach * (eye_frame.REACH_V + 0.1)) + 4, int(reach * eye_frame.REACH_U) + 4, size)
        local = torch.einsum("bij,bpj->bpi", to_rest, patch.points - middle[:, None])  # photo crop pixels from the eye's middle
        uv = local @ self.to_frame.T
        to_uv = self.to_frame @ to_rest
        lid = torch.einsum("bij,bnj->bni", to_uv, torch.cat([upper, lower], 1) - middle[:, None])
        edges, gap = self._lids(lid[:, : upper.shape[1]], lid[:, upper.shape[1] :])
        soft = 1 / (enlarged * self.width)  # a pixel of the picture, in eye widths
        skin = patch.read(picture)
        light = self._light(skin, uv)
        colour = self._paint(skin / light, local, uv, edges, (1 - gap).clamp(0, 1), iris, soft)
        still = (1 - (1 - gap).abs() / STILL_LIDS).clamp(0, 1) * torch.exp(-((iris / (STILL_GAZE * self.width)) ** 2).sum(-1))
        at = uv / torch.tensor([eye_frame.REACH_U, eye_frame.REACH_V], device=uv.device)
        colour = colour + look_up(self.missing, at) * (still[:, None] * _border(at))[:, None]
        # what is not the eye's stays exactly as it was
        patch.write(picture, torch.where(colour == skin / light, skin, (colour * light).clamp(0, 1)))

    def _light(self, skin: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """(B, 3, 1): how much brighter the skin under the eye is now than in the photo; lid and eyeball share that."""
        below = (uv[..., 0].abs() < 0.35) & (uv[..., 1] > 0.28) & (uv[..., 1] < 0.5)
        at = uv / torch.tensor([eye_frame.REACH_U, eye_frame.REACH_V], device=uv.device)
        photo = look_up(self.skin, at) * below[:, None]
        now = (skin * below[:, None]).sum(-1, keepdim=True) + 0.5
        return (now / (photo.sum(-1, keepdim=True) + 0.5)).clamp(0.5, 1.6)

    def _paint(
        self,
        colour: torch.Tensor,
        local: torch.Tensor,
        uv: torch.Tensor,
        edges: torch.Tensor,
        closed: torch.Tensor,
        iris: torch.Tensor,
        soft: float,
    ) -> torch.Tensor:
        """The eye over skin (B, 3, P) at places (B, P, 2) in crop pixels from its middle and in its frame."""
        colour = self._draw_lid(colour, uv, edges, closed, soft)
        colour = self._draw_ball(colour, local, uv, edges, iris, soft)
        return self._draw_lashes(colour, uv, edges, closed, soft)

    def _what_is_missing(self, photo: np.ndarray, texture: np.ndarray, frame: eye_frame.EyeFrame) -> torch.Tensor:
        """(1, 3, h, w): what the photo shows and the layers do not, at rest. Added while the eye is as in the photo."""
        h, w = photo.shape[:2]
        uv = eye_frame.grid(round(w / (2 * eye_frame.REACH_U)))
        at = torch.from_numpy(frame.place(uv).reshape(1, -1, 2)).float() / (SIZE / 2) - 1
        skin = look_up(planes(texture[..., :3]), at)  # (1, 3, h * w)
        points = torch.from_numpy(uv.reshape(1, -1, 2)).float()
        local = torch.from_numpy((frame.place(uv) - frame.centre).reshape(1, -1, 2)).float()
        zero = torch.zeros(1, 2)
        soft = SIZE / texture.shape[0] / self.width
        drawn = self._paint(skin, local, points, self.edges[None], zero[:, 0], zero, soft)
        missing = planes(photo) - drawn.reshape(1, 3, h, w)
        missing = missing.sign() * (missing.abs() - 0.006).clamp_min(0)  # resampling is no difference
        near = ((1.15 - (points / torch.tensor([0.68, 0.52])).square().sum(-1)) / 0.3).clamp(0, 1)
        return missing * near.reshape(1, 1, h, w)

    def _edges_at(self, uv: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """(B, 2, P) v of both edges at the points."""
        at = torch.stack([uv[..., 0] / eye_frame.REACH_U * (1 - 1 / len(self.columns)), torch.zeros_like(uv[..., 0])], -1)
        return F.grid_sample(edges[:, :, None], at[:, :, None], padding_mode="border", align_corners=False)[..., 0]

    def _draw_lid(
        self, colour: torch.Tensor, uv: torch.Tensor, edges: torch.Tensor, closed: torch.Tensor, soft: float
    ) -> torch.Tensor:
        """The skin that comes down over the eyeball: smooth, a little lighter in the middle, its crease gone when shut."""
        u, v = uv.unbind(-1)
        up = self._edges_at(uv, edges)[:, 0]
        rest = self._edges_at(uv, self.edges.expand(len(uv), -1, -1))[:, 0]
        above = rest - v  # of the photo's edge; the lid's skin was folded in there
        shut = closed[:, None]
        unfolded = ((shut - 0.1) / 0.5).clamp(0, 1) * ((CREASE - above) / (0.6 * CREASE)).clamp(0, 1)
        pulled = (shut * 6).clamp(0, 1) * (-above / 0.04).clamp(0, 1)  # over the eyeball
        cover = torch.maximum(unfolded, pulled)
        cover = cover * ((up - v) / max(soft, 0.03) + 0.5).clamp(0, 1) * ((0.62 - u.abs()) / 0.15).clamp(0, 1)
        at = torch.stack([u / eye_frame.REACH_U, v / eye_frame.REACH_V], -1)
        lid = look_up(self.skin, at)
        middle = (rest + up) / 2
        bulge = torch.exp(-(((v - middle) / 0.16) ** 2) - (u / 0.30) ** 2)
        return torch.lerp(colour, lid * (0.97 + 0.07 * bulge * shut)[:, None], cover[:, None])

    def _draw_ball(
        self, colour: torch.Tensor, local: torch.Tensor, uv: torch.Tensor, edges: torch.Tensor, iris: torch.Tensor, soft: float
    ) -> torch.Tensor:
        up, low = self._edges_at(uv, edges).unbind(1)
        below, above = uv[..., 1] - up, low - uv[..., 1]
        width = max(soft, 0.03)
        cover = (below / width + 0.5).clamp(0, 1) * (above / width + 0.5).clamp(0, 1)
        cover = cover * ((low - up) / (0.05 + soft) - 0.4).clamp(0, 1)  # closed lids show no eyeball
        half = eyes.WHITE_SPAN / 2 * self.width
        span = torch.tensor([half, half * eyes.WHITE_SHAPE[0] / eyes.WHITE_SHAPE[1]], device=local.device)
        ball = look_up(self.white, local / span)
        at = (local - (self.iris_at + iris)[:, None]) / (eyes.IRIS_SPAN * self.radius)
        ball = self._over(ball, self.iris, at / self._turned(iris)[:, None])
        shade = 1 - 0.38 * torch.exp(-below.clamp_min(0) / 0.075) - 0.10 * torch.exp(-above.clamp_min(0) / 0.0625)
        ball = ball * shade[:, None]
        glint = (local - (self.iris_at + GLINT_SHARE * iris)[:, None]) / (eyes.IRIS_SPAN * self.radius)
        ball = self._over(ball, self.glint, glint)
        return torch.lerp(colour, ball, cover[:, None])

    def _turned(self, iris: torch.Tensor) -> torch.Tensor:
        """(B, 2): how much narrower and lower the iris looks than in the photo, turned away on its ball."""
        reach = 0.9 * self.ball
        then = (self.iris_at / reach).clamp(-0.7, 0.7)
        now = ((self.iris_at + iris) / reach).clamp(-0.7, 0.7)
        return ((1 - now**2) / (1 - then**2)).sqrt().clamp(0.7, 1.25)

    @staticmethod
    def _over(below: torch.Tensor, layer: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Composite a small RGBA layer, looked up at (B, P, 2) in -1..1, over colours (B, 3, P)."""
        top_layer = look_up(layer, at)
        seen = top_layer[:, 3:] * (at.abs().amax(-1) < 1)[:, None]
        return torch.lerp(below, top_layer[:, :3], seen)

    def _draw_lashes(
        self, colour: torch.Tensor, uv: torch.Tensor, edges: torch.Tensor, closed: torch.Tensor, soft: float
    ) -> torch.Tensor:
        up, low = self._edges_at(uv, edges).unbind(1)
        u = uv[..., 0] / eye_frame.REACH_U
        turn = 1 - FLIP * closed  # up, towards the viewer, down
        turn = torch.where(turn < 0, turn.clamp(max=-0.3), turn.clamp_min(0.3))[:, None]
        facing = ((1 - FLIP * closed).abs() / 0.6).clamp(0.15, 1)[:, None]  # lashes that point at the viewer hardly show
        strips = (
            (self.lower_lashes, uv[..., 1] - low, 1, 1 - closed[:, None]),
            (self.upper_lashes, (up - uv[..., 1]) / turn, 0, facing),
        )
        for strip, out, reach, strength in strips:
            row = (out + lids.INWARD) / (lids.INWARD + lids.LASHES[reach]) * 2 - 1
            colour = torch.lerp(colour, self._over(colour, strip, torch.stack([u, row], -1)), strength[:, None])
        width = max(LINE_WIDTH, 0.6 * soft)
        gap = self._edges_at(uv, (self.edges[1:] - self.edges[:1]).expand(len(uv), 2, -1))[:, 0]  # of the photo's eye
        line = torch.exp(-(((up - uv[..., 1]) / width) ** 2)) * (gap / 0.12).clamp(0, 1)
        line = line * (LINE * ((closed - 0.1) / 0.4).clamp(0, 1))[:, None]
        return torch.lerp(colour, self.line[None, :, None].expand_as(colour), line[:, None])
