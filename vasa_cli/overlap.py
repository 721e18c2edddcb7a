"""Stages that work at the same time: an iterator that runs ahead in a thread, and an ordered map over several workers.

Both are bounded, so that memory does not grow when one stage is faster than the next; both pass exceptions on to whoever
iterates; and both are context managers that leave no thread behind, however the block ends (Ctrl-C too). torch, soundfile and
hashing let go of Python's global lock while they compute, so threads really run side by side.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W")

_LOOK = 0.1  # seconds between two looks at whether the other side has gone


class RunAhead(Generic[T]):
    """Iterate over `source` in a thread, at most `ahead` items before they are asked for.

        with RunAhead(blocks(), 4) as soon:
            for block in soon:
                ...

    An exception in the source is raised where the items are taken, after those made before it. Leaving the block early stops the
    source after the item in work and closes it (a generator's `finally` runs, in the thread).
    """

    def __init__(self, source: Iterable[T], ahead: int) -> None:
        if ahead < 1:
            raise ValueError(f"ahead must be at least 1, got {ahead}")
        self._source = source
        self._items: queue.Queue[tuple[T] | None] = queue.Queue(ahead)
        self._left = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="run-ahead", daemon=True)

    def __enter__(self) -> RunAhead[T]:
        self._thread.start()
        return self

    def _work(self) -> None:
        items = iter(self._source)
        try:
            for item in items:
                if not self._put((item,)):
                    break
        except BaseException as e:  # whatever it is, it belongs to the one who takes the items
            self._error = e
        finally:
            try:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
            except Exception as e:
                self._error = self._error or e
            self._put(None)

    def _put(self, item: tuple[T] | None) -> bool:
        """False when nobody takes items any more."""
        while not self._left.is_set():
            try:
                self._items.put(item, timeout=_LOOK)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        while (item := self._items.get()) is not None:
            yield item[0]
        if self._error is not None:
            raise self._error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        self._thread.join()


class OrderedMap(Generic[W, T, R]):
    """Apply `work(worker, item)` to the items on as many threads as there are workers; results come in the order of the items.

    workers: what only one thread may use at a time, such as one copy of a model each. At most `ahead` results wait beyond those
    in work. An exception is raised where its result would have come; what was begun after it is finished and dropped.
    """

    def __init__(self, work: Callable[[W, T], R], workers: Iterable[W], ahead: int = 1) -> None:
        self._work = work
        self._free: queue.SimpleQueue[W] = queue.SimpleQueue()
        count = 0
        for worker in workers:
            self._free.put(worker)
            count += 1
        if count == 0:
            raise ValueError("at least one worker is needed")
        self._room = count + ahead
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._begun: deque[Future[R]] = deque()
        self._one_at_a_time = threading.Lock()
        self.seconds = 0.0  # of work, of all workers together

    def __enter__(self) -> OrderedMap[W, T, R]:
        return self

    def __call__(self, items: Iterable[T]) -> Iterator[R]:
        for item in items:
            self._begun.append(self._pool.submit(self._one, item))
            # a finished block goes on at once, also while the source is slower than the workers
            while self._begun and (self._begun[0].done() or len(self._begun) >= self._room):
                yield self._begun.popleft().result()
        while self._begun:
            yield self._begun.popleft().result()

    def _one(self, item: T) -> R:
        worker = self._free.get()
        start = time.perf_counter()
        try:
            return self._work(worker, item)
        finally:
            self._free.put(worker)
            with self._one_at_a_time:
                self.seconds += time.perf_counter() - start

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._begun.clear()
