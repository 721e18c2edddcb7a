"""An ordered map over copies of this process, for work that holds Python's lock too often to run side by side in threads.

Drawing a frame is thousands of small torch operations, and each takes the lock for a moment: two threads drew no faster than one,
two processes draw 1.6 times faster. The copies are made by `fork`: they have the decoder already, and share its memory. Blocks of
motion go to them through sockets, frames come back in shared memory. Linux only (`can_fork`).
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np

from vasa_cli.errors import DeviceError

T = TypeVar("T")

DEPTH = 3  # items that a worker is given before its first result is taken: it always has the next one at hand
PATIENCE = 300.0  # seconds that one block may take
_TASK = struct.Struct("<QI")  # bytes that follow, place in the shared memory
_DONE = struct.Struct("<BdI4Q")  # whether it went well, seconds of work, dimensions or length of the message, shape


def can_fork() -> bool:
    """Elsewhere than on Linux system libraries do not take it well."""
    return sys.platform.startswith("linux") and hasattr(os, "fork")


class ForkedMap(Generic[T]):
    """Apply `work` to the items in `count` copies of this process, as it is when the block is entered; results come in the order
    of the items: uint8 arrays of at most `size` bytes and 4 dimensions. An array is valid until the next one is asked for.

    pack, unpack: an item to bytes and back. seconds: of work so far, of all workers together. An exception of `work` is raised
    here as RuntimeError (MemoryError as such); DeviceError when a worker is killed. Nothing is left behind, however the block
    ends; the workers ignore Ctrl-C, which is for this process to handle, and end when it does.
    """

    def __init__(
        self, work: Callable[[T], np.ndarray], count: int, size: int, pack: Callable[[T], bytes], unpack: Callable[[bytes], T]
    ) -> None:
        self._work, self._count, self._size, self._pack, self._unpack = work, count, size, pack, unpack
        self._links: list[socket.socket] = []
        self._pids: list[int] = []
        self._memory: mmap.mmap | None = None
        self.seconds = 0.0
        self._sent = self._taken = 0

    def __enter__(self) -> ForkedMap[T]:
        self._memory = mmap.mmap(-1, self._size * self._count * DEPTH)  # shared, and only what is touched is taken
        try:
            for _ in range(self._count):
                ours, theirs = socket.socketpair()
                pid = os.fork()
                if pid == 0:
                    for link in (*self._links, ours):
                        link.close()
                    self._serve(theirs)
                theirs.close()
                self._links.append(ours)
                self._pids.append(pid)
        except OSError as e:
            self._end()
            raise DeviceError(f"no further process can be started ({e.strerror or e}); use --threads 1") from e
        return self

    def __call__(self, items: Iterable[T]) -> Iterator[np.ndarray]:
        for item in items:
            self.begin(item)
            while self.in_work and (self.full or self.ready):
                yield self.take()
        while self.in_work:
            yield self.take()

    def begin(self, item: T) -> None:
        """Give an item to the next worker; not while `full`."""
        data, place = self._pack(item), self._sent % (self._count * DEPTH)
        self._send(self._sent % self._count, _TASK.pack(len(data), place) + data)
        self._sent += 1

    @property
    def in_work(self) -> int:
        """Items whose results were not taken."""
        return self._sent - self._taken

    @property
    def full(self) -> bool:
        """A result must be taken before an item can be begun."""
        return self.in_work >= self._count * DEPTH

    @property
    def ready(self) -> bool:
        """Whether the next result can be taken at once."""
        return self.in_work > 0 and self._ready(self._taken % self._count)

    def any_ready(self, seconds: float) -> bool:
        """Wait so long at most, until some worker has a result. From any thread."""
        return bool(select.select(self._links, [], [], seconds)[0])

    def take(self) -> np.ndarray:
        """The next result, valid until the next is asked for."""
        out = self._take(self._taken)
        self._taken += 1
        return out

    def _ready(self, worker: int, seconds: float = 0.0) -> bool:
        return bool(select.select([self._links[worker]], [], [], seconds)[0])

    def _send(self, worker: int, data: bytes) -> None:
        try:
            self._links[worker].sendall(data)
        except OSError as e:
            raise self._gone(worker) from e

    def _take(self, number: int) -> np.ndarray:
        """The result of the item of this number."""
        worker, place = number % self._count, number % (self._count * DEPTH)
        if not self._ready(worker, PATIENCE):
            raise DeviceError("a drawing process does not answer; use --threads 1")
        head = _read(self._links[worker], _DONE.size)
        if head is None:
            raise self._gone(worker)
        fine, seconds, count, *shape = _DONE.unpack(head)
        self.seconds += seconds
        if not fine:
            message = (_read(self._links[worker], count) or b"").decode(errors="replace")
            raise MemoryError(message) if message.startswith("MemoryError") else RuntimeError(message)
        assert self._memory is not None
        length = int(np.prod(shape[:count]))
        return np.frombuffer(self._memory, np.uint8, length, place * self._size).reshape(shape[:count])

    def _gone(self, worker: int) -> DeviceError:
        """A worker has ended by itself: who kills processes is the system, when memory runs out."""
        _, status = os.waitpid(self._pids[worker], 0)
        self._pids[worker] = 0
        how = f"killed (signal {os.WTERMSIG(status)})" if os.WIFSIGNALED(status) else f"ended (exit {os.WEXITSTATUS(status)})"
        return DeviceError(f"a drawing process was {how}, perhaps out of memory; close other programs or use --threads 1")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        for pid in filter(None, self._pids):  # they hold nothing that would have to be put in order
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for link in self._links:
            link.close()
        self._pids, self._links = [], []
        self._sent = self._taken = 0

    # ------------------------------------------------------------------------------------------------ in the copies

    def _serve(self, link: socket.socket) -> None:
        """A worker's life. Never returns."""
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            gc.disable()  # a collection would touch, and so copy, the pages of every object
            while (head := _read(link, _TASK.size)) is not None:
                length, place = _TASK.unpack(head)
                data = _read(link, length)
                if data is None:
                    break
                link.sendall(self._answer(data, place))
            code = 0
        finally:
            os._exit(code)  # whatever happens: not the parent's clean-up

    def _answer(self, data: bytes, place: int) -> bytes:
        """Do it; the frames go to their place in the shared memory."""
        start = time.perf_counter()
        try:
            out = self._work(self._unpack(data))
            assert self._memory is not None
            into = np.frombuffer(self._memory, np.uint8, out.size, place * self._size)
            into[:] = out.reshape(-1)
            return _DONE.pack(1, time.perf_counter() - start, out.ndim, *out.shape, *[0] * (4 - out.ndim))
        except Exception as e:
            message = f"{type(e).__name__}: {e}".encode()
            return _DONE.pack(0, time.perf_counter() - start, len(message), 0, 0, 0, 0) + message


def _read(link: socket.socket, length: int) -> bytes | None:
    """Exactly so many bytes; None when the other side has gone."""
    parts: list[bytes] = []
    while length:
        try:
            part = link.recv(length)
        except ConnectionError:
            return None
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
