"""What turns sound into frames while it comes: speech features, motion, pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.decoder.render import FaceDecoder, Pixels
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
    """The product's own chain: the same features, windows and decoder as `render`, a few frames at a time.

    On the CPU every frame is drawn for itself, as many at once as there are decoders, and leaves as soon as it is done.
    """

    fps = FPS

    def __init__(
        self, speech: SpeechEncoder, motion: MotionStream, picture: Picture, decoders: list[FaceDecoder], controls: LiveControls,
        pixels: Pixels,
    ) -> None:  # fmt: skip
        import torch

        from vasa_cli.speech.stream import FeatureStream

        self.size, self.motion = picture.size, motion
        self.pixels: str = pixels
        self._pixels: Pixels = pixels
        online = motion.online
        frames = 0 if online is None else online.hop + online.look
        self.delay = (ROW_SAMPLES - FRAME) / 16000 + float(frames / FPS)
        self._speech, self._features = speech, FeatureStream(speech)
        self._controls, self._ground = controls, picture._ground()
        self._at_once = 1 if picture.device == "cpu" else picture.batch
        self._decoders: SimpleQueue[FaceDecoder] = SimpleQueue()
        for decoder in decoders:
            self._decoders.put(decoder)
        self._pool = ThreadPoolExecutor(len(decoders), "draw", initializer=torch.set_num_threads, initargs=(1,))
        self._ready: deque[MotionTrack] = deque()

    def warm_up(self) -> None:
        """Do everything once with nothing: the first time takes longer, and there is no sound yet that would wait for it."""
        import numpy as np

        from vasa_cli.motion.stream import MotionStream
        from vasa_cli.speech.stream import FeatureStream

        features = FeatureStream(self._speech)
        motion = MotionStream(seed=0, model=self.motion.model, online=self.motion.online)
        motion.push(features.push(np.zeros(16000, np.float32)), features.ahead())
        start = self._controls.start
        for track in motion.take(lambda first, last: start.curves(last - first, FPS)):
            for _ in self._block(track):
                pass

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
        """The frames of a block of motion, each as soon as it is drawn."""
        step = self._at_once
        parts = [track.select(slice(start, start + step)) for start in range(0, len(track), step)]
        for drawn in [self._pool.submit(self._draw, part) for part in parts]:
            yield drawn.result()

    def _draw(self, part: MotionTrack) -> np.ndarray:
        decoder = self._decoders.get()
        try:
            return next(decoder.frames(part, len(part), self._ground, self._pixels))
        finally:
            self._decoders.put(decoder)
