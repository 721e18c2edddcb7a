"""What turns sound into frames while it comes: speech features, motion, pictures."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.motion.stream import MotionStream
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.picture import Picture
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.stream.control import LiveControls
    from vasa_cli.stream.drawers import Drawers

FPS = Fraction(25)
FRAME = 640  # samples of 16 kHz
ROW_SAMPLES = 2840  # a row of features is final when so many samples after its frame's first have been heard


class Engine(Protocol):
    """fps: of the frames; size: (width, height); pixels: "yuv420p" (BT.709, limited) or "rgb24"; delay: seconds of sound that are
    heard beyond a frame before it is drawn; on_drawn: called, from any thread, when `draw` has something new to give. Arrays that
    were given out stay as they are."""

    fps: Fraction
    size: tuple[int, int]
    pixels: str
    delay: float
    on_drawn: Callable[[], None]

    def hear(self, samples: np.ndarray) -> None:
        """(n,) float32, n >= 0: further sound, 16 kHz mono."""

    def draw(self) -> Iterator[np.ndarray]:
        """Blocks of the frames that are done, (B, H * 3 / 2, W) I420 or (B, H, W, 3) RGB, in order; others may be begun."""

    def flush(self) -> Iterator[np.ndarray]:
        """Wait for the frames that were begun."""

    def skip(self, frames: int) -> int:
        """After `flush`: pass over at most so many frames that could be begun. -> how many it were."""

    def finish(self) -> Iterator[np.ndarray]:
        """No more sound will come: the remaining frames."""

    def close(self) -> None:
        """Leave no thread behind."""


class FaceEngine:
    """The product's own chain: the same features, windows and decoder as `render`, a few frames at a time.

    Frames are drawn (`drawers`) while more sound is heard: on the CPU each for itself, as many at once as there are drawers.
    """

    fps = FPS

    def __init__(
        self, speech: SpeechEncoder, motion: MotionStream, picture: Picture, drawers: Drawers, controls: LiveControls
    ) -> None:
        from vasa_cli.speech.stream import FeatureStream

        self.size, self.pixels, self.motion = picture.size, picture.pixels, motion
        online = motion.online
        frames = 0 if online is None else online.hop + online.look
        self.delay = (ROW_SAMPLES - FRAME) / 16000 + float(frames / FPS)
        self._speech, self._features = speech, FeatureStream(speech)
        self._unheard: list[np.ndarray] = []
        self._controls = controls
        self._at_once = 1 if picture.device == "cpu" else picture.batch
        self._drawers = drawers
        self._ready: deque[MotionTrack] = deque()

    @property
    def on_drawn(self) -> Callable[[], None]:
        return self._drawers.changed

    @on_drawn.setter
    def on_drawn(self, call: Callable[[], None]) -> None:
        self._drawers.changed = call

    def warm_up(self) -> None:
        """Do everything once with nothing: the first time takes longer, and there is no sound yet that would wait for it."""
        import numpy as np

        from vasa_cli.motion.stream import MotionStream
        from vasa_cli.speech.stream import FeatureStream

        features = FeatureStream(self._speech)
        motion = MotionStream(seed=0, model=self.motion.model, online=self.motion.online)
        motion.push(features.push(np.zeros(16000, np.float32)), features.ahead())
        start = self._controls.start
        for _ in self._begin(motion.take(lambda first, last: start.curves(last - first, FPS))):
            pass
        for _ in self.flush():
            pass

    def hear(self, samples: np.ndarray) -> None:
        self._unheard.append(samples)

    def _motion(self) -> Iterator[MotionTrack]:
        """Blocks of motion that the sound so far allows. It is heard up to one row's end after the other, so that what is
        anticipated, and with it every frame, does not depend on the pieces in which the sound came."""
        import numpy as np

        sound, at = np.concatenate([np.zeros(0, np.float32), *self._unheard]), 0
        while (count := FRAME * self.motion.heard + ROW_SAMPLES - self._features.heard) <= len(sound) - at:
            due = self.motion.needs == 1
            rows = self._features.push(sound[at : at + count])
            at += count
            self._unheard = [sound[at:]]
            self.motion.push(rows, self._features.ahead() if due else None)
            yield from self.motion.take(self._controls.curves)
        self._unheard = [sound[at:]]

    def draw(self) -> Iterator[np.ndarray]:
        yield from self._begin(self._motion())
        yield from self._drawers.done()

    def flush(self) -> Iterator[np.ndarray]:
        yield from self._drawers.rest()

    def skip(self, frames: int) -> int:
        self._ready.extend(self._motion())
        left = frames
        while left and self._ready:
            track = self._ready.popleft()
            if len(track) > left:
                self._ready.appendleft(track.select(slice(left, None)))
            left -= min(left, len(track))
        return frames - left

    def finish(self) -> Iterator[np.ndarray]:
        import numpy as np

        yield from self._begin(self._motion())
        rows = [self._features.push(np.concatenate(self._unheard)), self._features.finish()]
        self.motion.push(np.concatenate(rows))
        yield from self._begin(self.motion.finish(self._controls.curves))
        yield from self.flush()

    def close(self) -> None:
        self._drawers.close()

    def _begin(self, tracks: Iterator[MotionTrack]) -> Iterator[np.ndarray]:
        """Let all frames of these blocks be drawn; -> the oldest ones when too many are in work."""
        step = self._at_once
        for track in itertools.chain((self._ready.popleft() for _ in range(len(self._ready))), tracks):
            for start in range(0, len(track), step):
                while self._drawers.full:
                    yield self._drawers.take()
                self._drawers.begin(track.select(slice(start, start + step)))
            yield from self._drawers.done()
