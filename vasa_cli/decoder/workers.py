"""Frames one at a time, each on one thread, several threads side by side.

A frame is computed by the same operations on arrays of the same shapes, whatever the batch and the number of threads: no bit
of it depends on them. And a frame fits into the caches of one core, a batch does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from vasa_cli.device import one_thread_each

In = TypeVar("In")
Out = TypeVar("Out")


class Workers:
    """As many threads as torch has been given, each for itself. They are started when first needed, and end with the owner."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._count = 0

    def map(self, work: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
        """[work(item) for item in items]. An exception of `work` is raised here."""
        count = torch.get_num_threads()
        if min(count, len(items)) <= 1:
            with one_thread_each():
                return [work(item) for item in items]
        try:
            return list(self._threads(count).map(work, items))
        finally:
            torch.set_num_threads(count)  # the workers' own setting is also what threads started later would get

    def _threads(self, count: int) -> ThreadPoolExecutor:
        if self._pool is None or self._count != count:
            if self._pool is not None:
                self._pool.shutdown()
            self._pool = ThreadPoolExecutor(count, "decoder", initializer=torch.set_num_threads, initargs=(1,))
            self._count = count
        return self._pool
