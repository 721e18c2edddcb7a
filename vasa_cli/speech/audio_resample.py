"""Any rate to 16 kHz mono, block by block."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np

RATE = 16000
QUALITY = "HQ"  # soxr's, for recordings
HALF = 40  # taps on each side of the live filter, in periods of the lower of both rates
BETA = 7.9  # Kaiser window: 80 dB
CUTOFF = 0.485  # of the lower rate; the filter falls from 0.454 to 0.516
MOST_TAPS = 1 << 22  # of all phases together: odder rates are left to soxr
AT_ONCE = 4096  # output samples


class Resampler:
    """Any rate to 16 kHz mono. In all ceil(N * 16000 / rate) samples for N, clipped to [-1, 1], as `audio.resample` gives.

    Live (the default) it is a windowed sinc of our own, `HALF` periods of the lower rate behind its input: 2.5 ms from 16 kHz up,
    5 ms at 8 kHz. soxr works in blocks of its own and is later than that (HQ 37 ms at 48 kHz, 40 at 44.1, 115 at 8; MQ 38, 41
    and 118; LQ 20, 22 and 61). exact: soxr's HQ all the same, for recordings; these are `audio.resample`'s samples, bit for bit.
    """

    def __init__(self, rate: int, channels: int = 1, *, exact: bool = False) -> None:
        if rate < 1 or channels < 1:
            raise ValueError(f"rate {rate}, channels {channels}: both must be at least 1")
        self.rate = rate
        self.channels = channels
        self.heard = 0  # samples of every channel
        self.given = 0
        self._filter: _Soxr | _Sinc | None = None
        if rate != RATE:
            self._filter = _Soxr(rate) if exact or _taps(rate) * (RATE // gcd(rate, RATE)) > MOST_TAPS else _Sinc(rate)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """(N, C) float32, or (N,) where there is one channel, to the samples that are complete, (n,) float32. Channels are
        averaged."""
        block = np.asarray(pcm, dtype=np.float32)
        if (block.ndim == 1 and self.channels != 1) or (block.ndim == 2 and block.shape[1] != self.channels) or block.ndim > 2:
            raise ValueError(f"{block.shape} is not {self.channels} channels of sound")
        mono = block if block.ndim == 1 else block.mean(axis=1)
        self.heard += len(mono)
        return self._give(mono if self._filter is None else self._filter.push(mono))

    def finish(self) -> np.ndarray:
        """What is left, (n,) float32. Nothing can be pushed after it."""
        left = -(-self.heard * RATE // self.rate) - self.given
        out = np.zeros(0, np.float32) if self._filter is None or left <= 0 else self._filter.finish()[:left]
        return self._give(np.pad(out, (0, max(0, left - len(out)))))

    def _give(self, samples: np.ndarray) -> np.ndarray:
        self.given += len(samples)
        return np.ascontiguousarray(np.clip(samples, -1.0, 1.0))


class _Soxr:
    """soxr's stream."""

    def __init__(self, rate: int) -> None:
        import soxr

        self.stream: Any = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality=QUALITY)

    def push(self, mono: np.ndarray) -> np.ndarray:
        return np.asarray(self.stream.resample_chunk(np.ascontiguousarray(mono)), dtype=np.float32)

    def finish(self) -> np.ndarray:
        return np.asarray(self.stream.resample_chunk(np.zeros(0, np.float32), last=True), dtype=np.float32)


class _Sinc:
    """Polyphase filter. Output n lies at input position n rate / 16000, between whole samples `before` and `before` + 1."""

    def __init__(self, rate: int) -> None:
        common = gcd(rate, RATE)
        self.up, self.down = RATE // common, rate // common
        self.taps = _taps(rate)
        self.kernels = _kernels(rate)
        self.rest = np.zeros(self.taps // 2 - 1, np.float32)  # samples that outputs still need
        self.at = -len(self.rest)  # position of its first
        self.n = 0  # the next output

    def push(self, mono: np.ndarray) -> np.ndarray:
        self.rest = np.concatenate([self.rest, mono])
        last = self.at + len(self.rest) - 1 - self.taps // 2  # an output's `before` may lie here at most
        stop = max(self.n, (last * self.up + self.up - 1) // self.down + 1)  # n down // up <= last
        parts = [self._outputs(i, min(i + AT_ONCE, stop)) for i in range(self.n, stop, AT_ONCE)]
        self.n = stop
        needed = self.n * self.down // self.up - self.taps // 2 + 1
        self.rest = self.rest[max(0, needed - self.at) :].copy()
        self.at = max(self.at, needed)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def finish(self) -> np.ndarray:
        return self.push(np.zeros(self.taps, np.float32))

    def _outputs(self, start: int, stop: int) -> np.ndarray:
        n = np.arange(start, stop, dtype=np.int64) * self.down
        before, phase = n // self.up, n % self.up
        first = before - self.taps // 2 + 1 - self.at
        windows = np.lib.stride_tricks.sliding_window_view(self.rest, self.taps)[first]  # (n, taps)
        return np.einsum("nt,nt->n", windows, self.kernels[phase])


def _taps(rate: int) -> int:
    """Even number of taps at the input's rate."""
    return 2 * -(-HALF * rate // min(rate, RATE))


@lru_cache(maxsize=4)
def _kernels(rate: int) -> np.ndarray:
    """(phases, taps) float32: a Kaiser-windowed sinc for each fraction of an input sample, each with sum 1."""
    phases, taps = RATE // gcd(rate, RATE), _taps(rate)
    away = np.arange(1 - taps // 2, taps // 2 + 1)[None] - np.arange(phases)[:, None] / phases  # input samples
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (away / (taps / 2)) ** 2)))
    kernels = np.sinc(2 * CUTOFF * min(rate, RATE) / rate * away) * window
    return np.asarray(kernels / kernels.sum(axis=1, keepdims=True), dtype=np.float32)
