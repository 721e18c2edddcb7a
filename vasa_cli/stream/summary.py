"""What a stream has to say of itself when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_STEP = 1e-3  # seconds a bin
_BINS = 20_000


class Latencies:
    """A histogram of seconds, so that memory does not grow with the hours. Added to by one thread."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, seconds: float) -> None:
        self._counts[min(max(int(seconds / _STEP), 0), _BINS - 1)] += 1

    def seconds(self, share: float) -> float | None:
        """The time that this share of all stays within; None when there are none."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        at = int(np.searchsorted(np.cumsum(self._counts), share * total, side="left"))
        return round((at + 0.5) * _STEP, 4)


@dataclass
class Summary:
    """frames: in all; of them idle: their sound is silence that was inserted, repeated: pictures shown again. latency: share of
    frames to seconds, from the frame's sound complete to the frame with the encoder."""

    frames: int = 0
    seconds: float = 0.0
    frames_idle: int = 0
    frames_repeated: int = 0
    controls: int = 0
    consumer_left: bool = False
    latency: Callable[[float], float | None] = lambda share: None
    encoder: str = ""
    container: str = ""
    output: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "idle": self.frames_idle,
            "repeated": self.frames_repeated,
            "controls": self.controls,
            "latency_median": self.latency(0.5),
            "latency_p95": self.latency(0.95),
            "encoder": self.encoder,
            "container": self.container,
            "output": self.output,
            "consumer_left": self.consumer_left,
        }

    def line(self) -> str:
        median, p95 = self.latency(0.5), self.latency(0.95)
        late = "" if median is None or p95 is None else f", latency {median * 1e3:.0f} ms (95 %: {p95 * 1e3:.0f} ms)"
        kind = self.container if self.encoder == "none" else f"{self.container}, {self.encoder}"
        return (
            f"stream: {self.frames} frames, {self.seconds:.2f} s, {self.frames_idle} idle, {self.frames_repeated} repeated"
            f"{late}, {kind}{', the reader left' if self.consumer_left else ''}"
        )
