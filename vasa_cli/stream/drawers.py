"""Frames of a stream drawn beside the hearing, in order: by copies of this process where there can be any, else in threads.

Hearing and moving take a third of a core, drawing half a core, and both hold Python's lock for most of it: in one process they
would just not fit into real time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from vasa_cli.draw import drawers
from vasa_cli.forked import ForkedMap, can_fork

if TYPE_CHECKING:
    import numpy as np

    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.picture import Picture

_LOOK = 0.1  # seconds between two looks at whether the stream has ended
_CALM = 0.002  # seconds between two reports of the same frame


class Drawers:
    """Begin blocks, take what is done. Not thread-safe. changed: called from any thread when something was done."""

    changed: Callable[[], None] = staticmethod(lambda: None)

    @property
    def in_work(self) -> int:
        """Blocks that were begun and not taken."""
        raise NotImplementedError

    @property
    def full(self) -> bool:
        """A block must be taken before another is begun."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether the oldest block is done."""
        raise NotImplementedError

    def begin(self, part: MotionTrack) -> None:
        raise NotImplementedError

    def take(self) -> np.ndarray:
        """The oldest block, waited for. Nobody else changes it later."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave no thread and no process behind."""
        raise NotImplementedError

    def done(self) -> Iterator[np.ndarray]:
        """What can be taken at once."""
        while self.ready:
            yield self.take()

    def rest(self) -> Iterator[np.ndarray]:
        """All that was begun."""
        while self.in_work:
            yield self.take()


class Threads(Drawers):
    """One decoder in several threads."""

    def __init__(self, picture: Picture, count: int) -> None:
        import torch

        self._picture, self._most = picture, 2 * count + 2
        self._pool = ThreadPoolExecutor(count, "draw", initializer=torch.set_num_threads, initargs=(1,))
        self._begun: deque[Future[np.ndarray]] = deque()

    @property
    def in_work(self) -> int:
        return len(self._begun)

    @property
    def full(self) -> bool:
        return len(self._begun) >= self._most

    @property
    def ready(self) -> bool:
        return bool(self._begun) and self._begun[0].done()

    def begin(self, part: MotionTrack) -> None:
        drawing = self._pool.submit(self._picture.draw, self._picture.decoder, part)
        drawing.add_done_callback(lambda done: self.changed())
        self._begun.append(drawing)

    def take(self) -> np.ndarray:
        return self._begun.popleft().result()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Copies(Drawers):
    """Copies of this process, and a thread that listens whether they are done."""

    def __init__(self, forked: ForkedMap[MotionTrack]) -> None:
        self._forked = forked.__enter__()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, name="drawn", daemon=True)
        self._watch.start()

    def _look(self) -> None:
        while not self._over.is_set():
            if self._forked.any_ready(_LOOK):
                self.changed()
                time.sleep(_CALM)

    @property
    def in_work(self) -> int:
        return self._forked.in_work

    @property
    def full(self) -> bool:
        return self._forked.full

    @property
    def ready(self) -> bool:
        return self._forked.ready

    def begin(self, part: MotionTrack) -> None:
        self._forked.begin(part)

    def take(self) -> np.ndarray:
        return self._forked.take().copy()

    def close(self) -> None:
        self._over.set()
        self._watch.join()
        self._forked.__exit__(None, None, None)


def open_drawers(picture: Picture, count: int) -> Drawers:
    """Copies of this process at this moment, where that is possible: from the main thread, before anything was drawn."""
    if picture.device == "cpu" and can_fork() and threading.current_thread() is threading.main_thread():
        pool = drawers(picture, max(count, 2), processes=True)  # on one core too: motion and drawing then share it fairly
        assert isinstance(pool, ForkedMap)
        return Copies(pool)
    return Threads(picture, count)
