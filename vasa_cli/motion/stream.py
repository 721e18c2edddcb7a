"""Speech features in, motion out, block by block and in constant memory: one chain for recordings and for live sound.

For a recording a block is settled when all that it depends on has been heard; the result does not depend on how the features
were cut into pieces. Live (`Online`), blocks of a few frames leave at once: what the smoothing and the silence gate would like
to know of the future is taken from the window's plan and from anticipated speech.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial

import numpy as np

from vasa_cli.motion.apply import Parts, add_controls, close_lids
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.behave import BehaviourStream, EnlivenStream
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.closures import shut_lips
from vasa_cli.motion.controls import CURVE_COLUMNS, ControlCurves
from vasa_cli.motion.emotion import give_way, lip_gap
from vasa_cli.motion.local import Neighbours
from vasa_cli.motion.model import MotionModel, load_model
from vasa_cli.motion.rolling import Rolling
from vasa_cli.motion.track import MotionTrack
from vasa_cli.motion.windows import ControlConditions, Online, WindowStream, sampler_config
from vasa_cli.speech.ahead import KNOWN
from vasa_cli.weights import registry

FPS = 25
BEFORE, BEYOND = 40, 30  # frames that a block may depend on before and behind it: smoothing twice, the silence gate
HEARD = 6  # frames on either side that the voice activity of one frame may depend on
OPENS = 0.35  # a live mouth that was told late that somebody speaks opens by no more of its size a frame

ControlSource = Callable[[int, int], ControlCurves]
"""Controls of frames start .. stop - 1, also of frames to come. Asked with rising starts; a frame's values count the last time
they are asked before the frame is made."""


class MotionStream:
    """Rows of speech features are pushed, blocks of motion are taken. The same seed, weights, features and controls give the same
    motion, however they come. Raises WeightsError when weights are missing or do not fit the features, DeviceError."""

    def __init__(
        self,
        *,
        seed: int,
        weights: str = "default",
        device: str = "cpu",
        steps: int | None = None,
        guidance: Mapping[str, float] | None = None,
        style: MotionStyle | None = None,
        model: MotionModel | None = None,
        online: Online | None = None,
    ) -> None:
        self.basis = DynamicsBasis.load()
        self.model = model or load_model(weights, device)
        self.seed, self.online, style = seed, online, style or MotionStyle()
        self.windows = WindowStream(self.model, sampler_config(self.model, steps, guidance), seed, online)
        self.near = Neighbours(self.model, self.basis)
        self.acts = BehaviourStream(style, seed, self.basis)
        self.alive = EnlivenStream(style, self.basis, self.model.stats.lids_per_gaze)
        self.features, self.curves = Rolling(self.model.config.features), Rolling(CURVE_COLUMNS)
        self.late = Rolling(4)  # opened, closed, tongue, blink of frames whose head is still being smoothed
        self.hashes = {"weights": self.model.sha256, "basis": registry.sha256_of("basis")}
        self.settled = self.listened = self.done = 0  # frames whose parts, behaviour, motion are there
        self._ahead = np.zeros((0, self.model.config.features), np.float32)
        self._has: tuple[bool, bool] = (False, False)  # closed, tongue: the features are of the probes' kind
        self._opened = 1.0

    @property
    def finished(self) -> bool:
        return self.windows.finished

    @property
    def heard(self) -> int:
        """Frames of speech so far."""
        return self.features.end

    @property
    def needs(self) -> int:
        """Further frames of speech that complete the next block."""
        return self.windows.needs

    def push(self, features: np.ndarray, ahead: np.ndarray | None = None) -> None:
        """(n, F) further frames; ahead (m, F), live only: what is anticipated of the frames behind them, until the next call."""
        self._ahead = self._ahead[:0] if ahead is None or self.online is None else np.asarray(ahead, np.float32)
        speech, expected = (self.model.normalise_features(rows).numpy() for rows in (features, self._ahead))
        self.features.append(features)
        self.windows.push(speech, expected)

    def take(self, controls: ControlSource) -> Iterator[MotionTrack]:
        """Blocks that can be made now, in order."""
        while self.windows.ready:
            first, size = self.windows.start, self.windows.size
            self.curves.put(first, controls(first, first + size).rows())
            self.windows.run(_conditions(ControlCurves.of_rows(self.curves.rows(first, first + size))))
            yield from self._block()

    def finish(self, controls: ControlSource) -> Iterator[MotionTrack]:
        """No more features will come: the remaining blocks."""
        self.windows.finished = True
        self._ahead = self._ahead[:0]
        yield from self.take(controls)
        yield from self._block()

    def _block(self) -> Iterator[MotionTrack]:
        """The frames that are ready now, if any."""
        end = self.features.end
        whole = self.finished and self.windows.final == end
        ready = end if whole else self.windows.final - (0 if self.online else BEYOND)
        if ready <= self.settled:
            return
        # live, loudness and pitch of the next frames are heard before the frames are known: nods need not come late
        heard = end + min(KNOWN, len(self._ahead)) if self.online else end - HEARD
        self._listen(end if whole else min(heard, self.curves.end), whole)
        self._settle(ready, whole)
        count = (self.settled if whole or self.online else max(self.settled - self.alive.look_ahead, 0)) - self.done
        if count:
            yield self._complete(count)

    def _speech(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, F): heard, then anticipated, then as last; not beyond the end."""
        known = min(stop, self.features.end)
        rows = np.concatenate([self.features.rows(start, known), self._ahead[: stop - known]])
        return np.concatenate([rows, rows[-1:].repeat(stop - start - len(rows), 0)])

    def _listen(self, known: int, whole: bool) -> None:
        """Let the behaviours hear the frames up to `known`."""
        if known > self.listened:
            start = max(self.listened - BEFORE, 0)
            stop = known if whole else known + HEARD
            features = self._speech(start, stop)
            new = slice(self.listened - start, known - start)
            curves = ControlCurves.of_rows(self.curves.rows(self.listened, known))
            self.acts.push(features[new], self.near.voice(features)[new] > 0, curves)
            self.listened = known
        if whole:
            self.acts.finish()

    def _settle(self, ready: int, whole: bool) -> None:
        """Parts of the frames up to `ready`, with their behaviour, go to the manner's smoothing."""
        first, stats = self.settled, self.model.stats
        start, stop = max(first - BEFORE, 0), min(ready + BEYOND, self.windows.motion.end)
        motion = self.windows.motion.rows(start, stop) * stats.motion_std + stats.motion_mean
        curves = ControlCurves.of_rows(self.curves.rows(start, stop))
        held = partial(self._slowly, start=start) if self.online else None
        near = self.near.stretch(motion, self._speech(start, stop), curves, held)
        near = near.cut(first - start, ready - start)
        acts = self.acts.take(ready - first)
        self.alive.push(near.parts, acts, ControlCurves.of_rows(self.curves.rows(first, ready)))
        self._has = (near.closed is not None, near.tongue is not None)
        nothing = np.zeros(ready - first, np.float32)
        rows = [near.opened, *(nothing if x is None else x for x in (near.closed, near.tongue)), acts.blink]
        self.late.append(np.stack(rows, 1))
        self.settled, self._opened = ready, float(near.opened[-1])
        if whole:
            self.alive.finish()
        self.features.forget(min(ready, self.listened) - BEFORE)

    def _slowly(self, opened: np.ndarray, start: int) -> np.ndarray:
        """The gate of frames from `start` on, rising from where it stood by at most OPENS a frame."""
        out, held = opened.copy(), self._opened
        for i in range(self.settled - start, len(out)):
            out[i] = held = min(float(out[i]), held + OPENS)
        return out

    def _complete(self, count: int) -> MotionTrack:
        """The next `count` frames: lips shut at bilabials, controls, blinks. Blinks come last, so that shut eyes are shut
        whatever the gaze and the emotion ask."""
        basis, part = self.basis, (self.done, self.done + count)
        curves = ControlCurves.of_rows(self.curves.rows(*part))
        opened, closed, tongue, blink = self.late.rows(*part).T
        parts = self.alive.take(count)
        parts = Parts(parts.pose, shut_lips(parts.dynamics, closed if self._has[0] else None, basis))
        spoken = lip_gap(parts.dynamics, basis)
        parts = add_controls(parts, curves, basis, self.model.stats.lids_per_gaze)
        z = close_lids(give_way(parts.dynamics, spoken, curves.emotion, opened, basis), blink, basis)
        self.done += count
        self.curves.forget(self.done - BEFORE - BEYOND)
        self.late.forget(self.done)
        return MotionTrack(
            parts.pose.astype(np.float32), z.astype(np.float32), Fraction(FPS), self.seed, hashes=self.hashes,
            tongue=tongue if self._has[1] else None,
        )  # fmt: skip


def _conditions(curves: ControlCurves) -> np.ndarray:
    """(T, CONTROLS) as the network is asked."""
    gaze, distance = np.radians(curves.gaze).astype(np.float32), np.log(curves.distance)
    return ControlConditions(gaze, distance, curves.emotion).rows()
