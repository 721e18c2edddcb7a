"""What turns sound into frames while it comes: speech features, motion, pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.motion.stream import MotionStream
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.picture import Picture
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.stream.control import LiveControls

FPS = Fraction(25)
FRAME = 640  # samples of 16 kHz
ROW_SAMPLES = 2840  # a row of features is final when so many samples after its frame's first have been heard


class Engine(Protocol):
    """fps: of the frames; size: (width, height); pixels: "yuv420p" (BT.709, limited) or "rgb24"; delay: seconds of sound that are
    heard beyond a frame before it is drawn. Arrays that were given out stay as they are."""

    fps: Fraction
    size: tuple[int, int]
    pixels: str
    delay: float

    def hear(self, samples: np.ndarray) -> None:
        """(n,) float32: further sound, 16 kHz mono."""

    def draw(self) -> Iterator[np.ndarray]:
        """Blocks of the frames that are ready, (B, H * 3 / 2, W) I420 or (B, H, W, 3) RGB, in order."""

    def skip(self, frames: int) -> int:
        """Pass over at most so many frames that are ready, undrawn. -> how many it were."""

    def finish(self) -> Iterator[np.ndarray]:
        """No more sound will come: the remaining frames."""

    def close(self) -> None:
        """Leave no thread behind."""


class FaceEngine:
    """The product's own chain: the same features, windows and decoder as `render`, a few frames at a time."""

    fps = FPS

    def __init__(
        self, speech: SpeechEncoder, motion: MotionStream, picture: Picture, decoders: list[FaceDecoder], controls: LiveControls
    ) -> None:
        from vasa_cli.speech.stream import FeatureStream

        self.size, self.pixels, self.motion = picture.size, picture.pixels, motion
        online = motion.online
        frames = 0 if online is None else online.hop + online.look
        self.delay = (ROW_SAMPLES - FRAME) / 16000 + float(frames / FPS)
        self._features = FeatureStream(speech)
        self._picture, self._decoders, self._controls = picture, decoders, controls
        self._pool = ThreadPoolExecutor(len(decoders), thread_name_prefix="draw")
        self._ready: deque[MotionTrack] = deque()

    def hear(self, samples: np.ndarray) -> None:
        rows = self._features.push(samples)
        if len(rows):
            self.motion.push(rows, self._features.ahead())

    def draw(self) -> Iterator[np.ndarray]:
        yield from self._drawn(self.motion.take(self._controls.curves))

    def skip(self, frames: int) -> int:
        self._ready.extend(self.motion.take(self._controls.curves))
        left = frames
        while left and self._ready:
            track = self._ready.popleft()
            if len(track) > left:
                self._ready.appendleft(track.select(slice(left, None)))
            left -= min(left, len(track))
        return frames - left

    def finish(self) -> Iterator[np.ndarray]:
        rows = self._features.finish()
        if len(rows):
            self.motion.push(rows)
        yield from self._drawn(self.motion.finish(self._controls.curves))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _drawn(self, tracks: Iterator[MotionTrack]) -> Iterator[np.ndarray]:
        while self._ready:
            yield from self._block(self._ready.popleft())
        for track in tracks:
            yield from self._block(track)

    def _block(self, track: MotionTrack) -> Iterator[np.ndarray]:
        """A block of motion, shared between the decoders."""
        count = min(-(-len(track) // len(self._decoders)), self._picture.batch)
        parts = [track.select(slice(start, start + count)) for start in range(0, len(track), count)]
        free = len(self._decoders)
        for first in range(0, len(parts), free):
            work = zip(self._decoders, parts[first : first + free], strict=False)
            for done in [self._pool.submit(self._picture.draw, decoder, part) for decoder, part in work]:
                yield done.result()
