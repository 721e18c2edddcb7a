"""The stream itself: sound from the source onto the time line, to the engine and the sink; frames from the engine to the sink."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vasa_cli.speech.stream import Resampler
from vasa_cli.stream.clock import StreamClock
from vasa_cli.stream.engine import Engine
from vasa_cli.stream.pipes import ConsumerGone
from vasa_cli.stream.sink import Sink
from vasa_cli.stream.source import SoundSource
from vasa_cli.stream.summary import Latencies, Summary

if TYPE_CHECKING:
    from vasa_cli.stream.clock import Policy

AT_ONCE = 1.0  # seconds of sound that are heard in one turn at most
_LOOK_SECONDS = 0.1  # how often somebody looks whether the consumer is there, while nothing comes


@dataclass
class Stop:
    """Why the stream should end before its input does: set by signal handlers, read by the session."""

    event: threading.Event = field(default_factory=threading.Event)
    exit_code: int = 0
    graceful: bool = False  # the session runs: there is something to end in order


class Session:
    """One stream, from its first sample to its last frame. The caller aborts the sink when `run` raises."""

    def __init__(self, source: SoundSource, engine: Engine, sink: Sink, policy: Policy, stop: Stop) -> None:
        form = source.form()
        self.source, self.engine, self.sink, self.stop = source, engine, sink, stop
        self.rate, self.channels = form.rate, form.channels
        self.clock = StreamClock(policy, form.rate, engine.fps, time.monotonic(), engine.delay)
        self.summary = Summary()
        self.latencies = Latencies()
        self._resampler = Resampler(form.rate, form.channels)
        self._arrivals: deque[tuple[int, float]] = deque()  # sample on the time line, when it came
        self._last: np.ndarray | None = None  # the last picture
        engine.on_drawn = source.wake

    # ------------------------------------------------------------------------------------------------ the loop

    def run(self) -> Summary:
        """Until the input ends, `stop` is set, or nobody reads any more. Raises VasaError."""
        self.source.go()
        self.stop.graceful = True
        try:
            while not self.stop.event.is_set() and self._turn():
                self.sink.check()
            self._finish()
        except ConsumerGone:
            self.summary.consumer_left = True
            self.sink.abort()
        self.summary.frames_idle = self.clock.idle_frames
        self.summary.seconds = float(self.summary.frames / self.engine.fps)
        self.summary.latency = self.latencies.seconds
        return self.summary

    def _turn(self) -> bool:
        """Take what sound there is, or what stands for it; draw. False when the input has ended."""
        piece = self.source.get(int(AT_ONCE * self.rate), self._wait())
        if piece is not None:
            self.clock.heard(len(piece.samples), piece.arrival)
            self._hear(piece.samples, piece.arrival)
        elif self.source.ended:
            return False
        if self.source.empty:
            now = time.monotonic()
            if missing := self.clock.missing(now):
                self._hear(np.zeros((missing, self.channels), np.float32), now)
        self._draw()
        return True

    def _wait(self) -> float:
        """Seconds to wait for sound."""
        if not self.source.empty:
            return 0.0
        until = self.clock.waits(time.monotonic())
        return _LOOK_SECONDS if until is None else min(until, _LOOK_SECONDS)

    def _finish(self) -> None:
        """Nothing more is heard: complete the last frame, draw what was heard, end the file."""
        if padding := self.clock.padding():
            self.clock.samples += padding
            self._hear(np.zeros((padding, self.channels), np.float32), time.monotonic())
        self.engine.hear(self._resampler.finish())
        if not self.clock.samples:
            self.sink.abort()
            return
        self._give(self.engine.finish())
        while self.summary.frames < self.clock.whole_frames and self._last is not None:
            self._repeat(1)  # an engine that rounds differently leaves no hole
        self.sink.finish()

    # ------------------------------------------------------------------------------------------------ sound

    def _hear(self, samples: np.ndarray, arrival: float) -> None:
        """(n, C) that the clock has counted: to the sink and to the engine."""
        self._arrivals.append((self.clock.samples, arrival))
        self.sink.sound(samples)
        self.engine.hear(self._resampler.push(samples))

    # ------------------------------------------------------------------------------------------------ pictures

    def _draw(self) -> None:
        repeats = self.clock.repeats(self.summary.frames, time.monotonic())
        if repeats and self._last is not None:
            self._give(self.engine.flush())
            self._repeat(self.engine.skip(repeats))
        self._give(self.engine.draw())

    def _give(self, blocks: Iterator[np.ndarray]) -> None:
        for block in blocks:
            for frame in block:
                self._picture(frame)
            self._last = block[-1]

    def _repeat(self, frames: int) -> None:
        assert self._last is not None
        for _ in range(frames):
            self._picture(self._last)
        self.summary.frames_repeated += frames

    def _picture(self, frame: np.ndarray) -> None:
        arrival = self._arrived(self.summary.frames)
        self.sink.picture(frame, self._stamp(arrival))
        self.summary.frames += 1

    def _stamp(self, arrival: float) -> Callable[[], None]:
        return lambda: self.latencies.add(time.monotonic() - arrival)

    def _arrived(self, frame: int) -> float:
        """When the sound of this frame was complete."""
        end = self.clock.boundary(frame + 1)
        while len(self._arrivals) > 1 and self._arrivals[0][0] < end:
            self._arrivals.popleft()
        return self._arrivals[0][1]
