"""A cheap engine for tests of streams, and the `vasa` command with it: python tests/fake_stream.py stream PORTRAIT ...

Each frame is one grey whose brightness follows the loudness of the frame's own sound, so that sound and pictures can be compared
in the produced file; in I420 its blue chroma shows the control "head" (128 + 50 * head).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

FRAME = 640
SIDE = 64
LOOK = 2  # frames


class FakeEngine:
    fps = Fraction(25)
    size = (SIDE, SIDE)

    def __init__(self, controls: Any, pixels: str = "yuv420p", look: int = LOOK, cost: float = 0.0) -> None:
        self.pixels, self.controls, self.look, self.cost = pixels, controls, look, cost
        self.delay = look / 25
        self.on_drawn: Any = None
        self.heard = np.zeros(0, np.float32)
        self.done = 0
        self.skipped = 0
        self.finished = False

    def hear(self, samples: np.ndarray) -> None:
        assert samples.dtype == np.float32 and samples.ndim == 1
        self.heard = np.concatenate([self.heard, samples])

    def _ready(self) -> int:
        whole = -(-len(self.heard) // FRAME) if self.finished else len(self.heard) // FRAME - self.look
        return max(whole - self.done, 0)

    def draw(self) -> Iterator[np.ndarray]:
        while self._ready():
            if self.cost:
                time.sleep(self.cost)
            sound = self.heard[self.done * FRAME : (self.done + 1) * FRAME]
            head = float(self.controls.curves(self.done, self.done + 10).head[0])
            self.done += 1
            yield self._frame(min(1.0, 2 * float(np.sqrt(np.mean(sound**2)))), head)[None]

    def _frame(self, bright: float, head: float) -> np.ndarray:
        if self.pixels == "rgb24":
            return np.full((SIDE, SIDE, 3), round(255 * bright), np.uint8)
        frame = np.full((SIDE * 3 // 2, SIDE), 128, np.uint8)
        frame[:SIDE] = round(16 + 219 * bright)
        frame[SIDE : SIDE * 5 // 4] = round(128 + 50 * head)
        return frame

    def flush(self) -> Iterator[np.ndarray]:
        return iter(())

    def skip(self, frames: int) -> int:
        count = min(frames, self._ready())
        self.done += count
        self.skipped += count
        return count

    def finish(self) -> Iterator[np.ndarray]:
        self.finished = True
        yield from self.draw()

    def close(self) -> None:
        pass


def open_engine(request: Any, controls: Any, reporter: Any) -> FakeEngine:
    pixels = "rgb24" if request.container == "rgb24" else "yuv420p"
    return FakeEngine(controls, pixels, cost=float(os.environ.get("FAKE_COST", "0")))


if __name__ == "__main__":
    from vasa_cli.stream import run

    run.open_face_engine = open_engine
    from vasa_cli.cli import main

    sys.argv[0] = "vasa"
    main()
