"""All behaviours, to be added to what the network says: of sound as it arrives, or of a whole recording."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, fields

import numpy as np

from vasa_cli.motion.apply import Parts
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour import lanes
from vasa_cli.motion.behaviour.blinks import RESTING, TALKING, BlinkStream, closure
from vasa_cli.motion.behaviour.breathing import Breath, breathing
from vasa_cli.motion.behaviour.brows import Brows, brow_motion
from vasa_cli.motion.behaviour.gaze import Gaze, hold
from vasa_cli.motion.behaviour.listening import Listening, smile_direction
from vasa_cli.motion.behaviour.nods import EARLY, Nods
from vasa_cli.motion.behaviour.prosody import CERTAIN, Accent, Heard, Prosody, ProsodyStream
from vasa_cli.motion.behaviour.rest import Calm, Manner, Settling
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.behaviour.timing import LOOK_AHEAD
from vasa_cli.motion.controls import ControlCurves

# frames beyond those taken with which nothing begins late: an accent moves the frame EARLY - 1 before it. With six, all comes in
# time but what a pause holds up that may be a stop within a word.
NEEDED = CERTAIN + EARLY - 1
BLOCK = 500  # frames of a whole recording that are in work at a time


@dataclass(frozen=True)
class Behaviour:
    """pose (T, 6) radians, face widths, log distance; gaze (T, 2) radians; face (T, K) brows and smile; blink (T,) closure
    0..1; calm (T,) factor of the network's own head, brows and eyes; prosody: what the speech was heard to do."""

    pose: np.ndarray
    gaze: np.ndarray
    face: np.ndarray
    blink: np.ndarray
    calm: np.ndarray
    prosody: Prosody


class BehaviourStream:
    """Behaviours of sound that goes on and on: frames are pushed in order as they are heard, and taken in order.

    What has been pushed beyond the frames taken is look-ahead. With NEEDED frames of it, or after `finish`, the result is that of
    `behave` on the whole recording, however it is cut in blocks. With less, what comes too late to be known in time begins late,
    and no frame that was taken changes. Memory does not grow with time. Every event has dice of its own (seed, kind, frame).
    """

    def __init__(self, style: MotionStyle, seed: int, basis: DynamicsBasis) -> None:
        self._style, self._basis = style, basis
        self._smile = smile_direction(basis)
        self._lanes = lanes.Lanes()
        self._heard = ProsodyStream()
        self._nods, self._brows = Nods(style, seed, self._lanes), Brows(style, seed, self._lanes)
        self._gaze, self._blinks = Gaze(style, seed, self._lanes), BlinkStream(seed)
        self._breath, self._calm, self._listening = Breath(seed), Calm(), Listening(style, seed, self._lanes)
        self._pushed, self._over = 0, False
        self._rates: deque[float] = deque()  # of blinks, by controls and style, of frames that the eyes have not reached
        self._silent: deque[int] = deque()  # frames since the last speech, of those that were heard but not reached by the eyes
        self._breaks: set[int] = set()  # frames after phrases, that a blink likes
        self._accents: list[Accent] = []
        self._phrases: list[tuple[int, int]] = []

    def push(self, features: np.ndarray, active: np.ndarray, curves: ControlCurves) -> None:
        """n further frames: features (n, F) at 25 fps, active (n,) bool where a voice is heard. Sizes are scaled by the style and
        by the curves (head, brows, mouth; blink: how often). Raises ValueError on unequal lengths and after `finish`."""
        n = len(features)
        if self._over or not n == len(active) == len(curves):
            raise ValueError(f"{n} frames of features, {len(active)} of activity, {len(curves)} of controls, over: {self._over}")
        columns = ((lanes.HEAD_SIZE, curves.head), (lanes.BROW_SIZE, curves.brows), (lanes.MOUTH_SIZE, curves.mouth))
        for column, values in columns:
            self._lanes.write(self._pushed, column, values)
        self._rates.extend((curves.blink * self._style.blinks).tolist())
        self._pushed += n
        self._heard.push(features, active)
        self._go_on()

    def finish(self) -> None:
        """No more will be pushed: all that was can be taken."""
        if self._over:
            return
        self._over = True
        self._heard.finish()
        self._go_on()
        accents, phrases = self._heard.rest()
        for accent in accents:
            self._stress(accent)
        self._phrases += phrases
        while self._silent:
            self._look()

    def take(self, n: int) -> Behaviour:
        """What the face does in the next n frames. Raises ValueError when fewer are left of those pushed."""
        first = self._lanes.front
        stop = first + n
        if not 0 <= n <= self._pushed - first:
            raise ValueError(f"{n} frames of {self._pushed - first} that were pushed")
        while self._heard.frame < stop:
            self._hear(self._heard.hear(decide=True))
        while self._gaze.frame < stop:
            self._look()
        rows = self._lanes.take(n)
        shut = closure(self._blinks.events, stop, first, self._pushed if self._over else sys.maxsize)
        self._blinks.drop(stop)
        return self._assemble(rows, shut)

    def _go_on(self) -> None:
        """Hear the frames that are certain."""
        while (heard := self._heard.hear()) is not None:
            self._hear(heard)

    def _hear(self, heard: Heard | None) -> None:
        assert heard is not None  # decided
        frame, silent, put = heard.frame, heard.silent, self._lanes.put
        if heard.accent:
            self._stress(heard.accent)
        for actor in (self._nods, self._brows, self._gaze):
            if heard.begun is not None:
                actor.begin(heard.begun)
            if heard.ended:
                actor.end(heard.ended[1])
        if heard.ended:
            self._phrases.append(heard.ended)
            self._breaks.add(max(heard.ended[1] + 1, self._gaze.frame))
        put(frame, lanes.SILENT, silent)
        put(frame, lanes.BREATH, self._breath.step(silent))
        put(frame, lanes.SMILE, self._listening.step(frame, silent))
        put(frame, lanes.CALM, self._calm.step(silent))
        self._silent.append(silent)
        if self._gaze.frame <= frame - LOOK_AHEAD + 1:  # the eyes know when a phrase begins, before it does
            self._look()

    def _stress(self, accent: Accent) -> None:
        self._accents.append(accent)
        self._nods.accent(accent)
        self._brows.accent(accent)

    def _look(self) -> None:
        """The next frame of eyes and blinks."""
        frame, silent = self._gaze.frame, self._silent.popleft()
        away = self._gaze.step(silent)
        rate = self._rates.popleft() * (RESTING if silent else TALKING)
        self._blinks.step(frame, rate, away or frame in self._breaks)
        self._breaks.discard(frame)

    def _assemble(self, rows: np.ndarray, shut: np.ndarray) -> Behaviour:
        brow_size, mouth_size = rows[:, lanes.BROW_SIZE], rows[:, lanes.MOUTH_SIZE]
        pose = breathing(rows[:, lanes.BREATH], self._style)
        pose[:, :3] += np.radians(rows[:, lanes.YAW : lanes.ROLL + 1])
        face = brow_motion(rows[:, lanes.RAISE] * brow_size, rows[:, lanes.FROWN] * brow_size, self._basis)
        smile = (rows[:, lanes.SMILE] * np.minimum(mouth_size, 1)).astype(np.float32)
        silent = rows[:, lanes.SILENT].astype(int)
        prosody = Prosody(silent == 0, silent, tuple(self._accents), tuple(self._phrases))
        self._accents, self._phrases = [], []
        return Behaviour(
            (pose * rows[:, lanes.HEAD_SIZE, None]).astype(np.float32),
            np.radians(rows[:, lanes.EYE_YAW : lanes.EYE_PITCH + 1]).astype(np.float32),
            face + smile[:, None] * self._smile,
            shut,
            rows[:, lanes.CALM],
            prosody,
        )


def behave(
    features: np.ndarray,
    curves: ControlCurves,
    style: MotionStyle,
    seed: int,
    basis: DynamicsBasis,
    active: np.ndarray | None = None,
) -> Behaviour:
    """features (T, F) at 25 fps, active (T,) bool where a voice is heard (None: judged by loudness) -> Behaviour of T frames.

    A `BehaviourStream` with all look-ahead: frame t depends on frames up to t + NEEDED alone, mostly on those up to t + 6.
    """
    active = features[:, -3] > -0.6 if active is None else active
    stream, out, taken = BehaviourStream(style, seed, basis), [], 0
    for first in range(0, len(features), BLOCK):
        block = slice(first, first + BLOCK)
        stream.push(features[block], active[block], part(curves, block))
        out.append(stream.take(max(min(block.stop, len(features)) - NEEDED - taken, 0)))
        taken += len(out[-1].pose)
    stream.finish()
    return joined([*out, stream.take(len(features) - taken)])


def part(curves: ControlCurves, frames: slice) -> ControlCurves:
    """The controls of some of their frames."""
    return ControlCurves(**{f.name: getattr(curves, f.name)[frames] for f in fields(curves)})


def joined(blocks: list[Behaviour]) -> Behaviour:
    """Behaviours of consecutive blocks as one."""
    heard = [block.prosody for block in blocks]
    prosody = Prosody(
        np.concatenate([p.speaking for p in heard]),
        np.concatenate([p.silent_for for p in heard]),
        tuple(accent for p in heard for accent in p.accents),
        tuple(phrase for p in heard for phrase in p.phrases),
    )
    names = [f.name for f in fields(Behaviour) if f.name != "prosody"]
    return Behaviour(**{name: np.concatenate([getattr(b, name) for b in blocks]) for name in names}, prosody=prosody)


class EnlivenStream:
    """The network's motion (its mouth gated and all parts scaled by the curves already) in a manner, with the behaviours.

    The head loses its drift and settles in pauses; the eyes stay with the viewer as it moves, and dart; the lids follow them.
    Frames are pushed and taken in order. With `look_ahead` frames pushed beyond those taken, or after `finish`, the result is
    that of `enliven` on the whole; with fewer, the head's pace is made of those that there are. Memory does not grow with time.
    """

    def __init__(self, style: MotionStyle, basis: DynamicsBasis, lids_per_gaze: np.ndarray) -> None:
        self._style, self._basis, self._lids_per_gaze = style, basis, lids_per_gaze
        self._settling, self._manner = Settling(), Manner(style)
        self.look_ahead = self._manner.look_ahead
        # dynamics; the behaviours' pose, gaze, face and calm; size of blinks
        self._waiting = tuple(np.zeros(shape, np.float32) for shape in ((0, basis.size), (0, 6), (0, 2), (0, basis.size), 0, 0))

    def push(self, parts: Parts, acts: Behaviour, curves: ControlCurves) -> None:
        """n further frames. Raises ValueError on unequal lengths."""
        if not len(parts.pose) == len(acts.pose) == len(curves):
            raise ValueError(f"{len(parts.pose)} frames of motion, {len(acts.pose)} of behaviour, {len(curves)} of controls")
        self._manner.push(self._settling.push(parts.pose, acts.calm))
        new = (parts.dynamics, acts.pose, acts.gaze, acts.face, acts.calm, np.minimum(curves.blink, 1))
        self._waiting = tuple(np.concatenate(pair) for pair in zip(self._waiting, new, strict=True))

    def finish(self) -> None:
        """No more will be pushed: all that was can be taken."""
        self._manner.finish()

    def take(self, n: int) -> Parts:
        """The next n frames. Raises ValueError when fewer are left of those pushed."""
        left = len(self._waiting[0])
        if not 0 <= n <= left:
            raise ValueError(f"{n} frames of {left} that were pushed")
        dynamics, act, dart, face, calm, blink = (x[:n] for x in self._waiting)
        self._waiting = tuple(x[n:] for x in self._waiting)
        z, blocks, style = dynamics.copy(), self._basis.blocks, self._style
        gaze, lids = blocks["gaze"], blocks["lids"]
        pose = self._manner.take(n) + act
        eyes = hold(z[:, gaze], pose, calm) + dart
        z[:, lids] += (eyes[:, 1:] - z[:, gaze.start + 1 : gaze.stop]) * self._lids_per_gaze * blink[:, None]
        z[:, gaze] = eyes
        z[:, blocks["brows"]] *= (style.brows * calm)[:, None]
        z[:, blocks["mouth"]] *= style.mouth
        return Parts(pose.astype(np.float32), (z + face).astype(np.float32))


def enliven(
    parts: Parts, acts: Behaviour, curves: ControlCurves, style: MotionStyle, basis: DynamicsBasis, lids_per_gaze: np.ndarray
) -> Parts:
    """The whole of a motion through an `EnlivenStream`: T frames of each -> T frames."""
    stream = EnlivenStream(style, basis, lids_per_gaze)
    stream.push(parts, acts, curves)
    stream.finish()
    return stream.take(len(parts.pose))
