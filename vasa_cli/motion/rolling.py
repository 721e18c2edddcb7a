"""Rows of a signal addressed by absolute frame, of which only the latest are kept: what lets a stream run for hours."""

from __future__ import annotations

import numpy as np


class Rolling:
    """Frames `first` .. `end` - 1 of a signal (T, C) float32 that grows at its end and is forgotten at its beginning."""

    def __init__(self, columns: int) -> None:
        self.first = 0
        self._rows = np.zeros((0, columns), np.float32)

    @property
    def end(self) -> int:
        """The frame after the last one."""
        return self.first + len(self._rows)

    def append(self, rows: np.ndarray) -> None:
        """(n, C) further frames."""
        self._rows = np.concatenate([self._rows, np.asarray(rows, np.float32)])

    def put(self, start: int, rows: np.ndarray) -> None:
        """Frames from `start` <= end on are `rows` (n, C) from now on; there are none behind them."""
        if not self.first <= start <= self.end:
            raise ValueError(f"frame {start} is outside {self.first} to {self.end}")
        self._rows = np.concatenate([self._rows[: start - self.first], np.asarray(rows, np.float32)])

    def forget(self, before: int) -> None:
        """Let go of what lies before this frame."""
        n = min(max(before - self.first, 0), len(self._rows))
        if n:
            self._rows, self.first = self._rows[n:].copy(), self.first + n

    def rows(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, C); frames outside take the nearest one that is kept."""
        if not len(self._rows):
            raise ValueError("no frame is kept")
        return self._rows[np.arange(start - self.first, stop - self.first).clip(0, len(self._rows) - 1)]
