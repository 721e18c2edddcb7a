"""The ends of pipes: a writer in a thread of its own with a bounded queue, and the place a stream goes to."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from vasa_cli.errors import EncoderError, UsageError
from vasa_cli.files import explain_write, part_path, sync

QUEUE_FRAMES = 8  # pictures that wait for the encoder or the consumer; when it is full the engine waits, then the input
PIPE_BYTES = 1 << 20  # asked of the system for pictures: two of 512 x 512 fit
_LOOK_SECONDS = 0.1


class ConsumerGone(Exception):
    """Whoever read the stream has closed it. No error: the quiet end of the stream."""


class PipeWriter:
    """Writes buffers to a descriptor, in order, in a thread of its own; at most `limit` wait (0: any number)."""

    def __init__(self, fd: int, limit: int, name: str) -> None:
        self.error: OSError | None = None
        self._fd, self._limit = fd, limit
        self._queue: deque[tuple[bytes | memoryview, Callable[[], None] | None]] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, data: bytes | memoryview, done: Callable[[], None] | None = None) -> None:
        """Wait for room and add; `done` is called, in the thread, when all is written. Raises OSError when writing failed."""
        with self._changed:
            while self._limit and len(self._queue) >= self._limit and self.error is None:
                self._changed.wait(_LOOK_SECONDS)
            if self.error is not None:
                raise self.error
            self._queue.append((data, done))
            self._changed.notify_all()

    def finish(self) -> None:
        """Write what waits, then close the descriptor. Raises OSError when writing failed."""
        self._end()
        while self._thread.is_alive():  # in pieces, so that Ctrl-C is heard
            self._thread.join(_LOOK_SECONDS)
        if self.error is not None:
            raise self.error

    def abort(self) -> None:
        """Forget what waits and close. The reader must be gone, or the thread may stay in its write."""
        with self._changed:
            self._queue.clear()
        self._end()
        self._thread.join(timeout=1)

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                write_all(self._fd, item[0])
                if item[1] is not None:
                    item[1]()
        except OSError as e:
            with self._changed:
                self.error = e
                self._queue.clear()
                self._changed.notify_all()
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _next(self) -> tuple[bytes | memoryview, Callable[[], None] | None] | None:
        with self._changed:
            while not self._queue and not self._ended:
                self._changed.wait()
            if not self._queue:
                return None
            item = self._queue.popleft()
            self._changed.notify_all()
            return item


def write_all(fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # a descriptor that somebody made non-blocking
            select.select([], [fd], [], _LOOK_SECONDS)


def widen(fd: int) -> None:
    """Let a pipe hold more, where the system can: fewer changes between writer and reader."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        set_size = getattr(fcntl, "F_SETPIPE_SZ", 1031)
        fcntl.fcntl(fd, set_size, PIPE_BYTES)


class Target:
    """Where the stream goes: a descriptor, a FIFO or device that is there, or a file that grows under a .part name and is renamed
    when it is whole."""

    def __init__(self, path: Path | None, fd: int = 1) -> None:
        self.path, self._fd = path, fd
        self.part = None if path is None or is_special(path) else part_path(path)

    @property
    def name(self) -> str:
        return "stdout" if self.path is None else str(self.path)

    def open(self) -> int:
        """A descriptor of the caller's own; a FIFO waits for its reader. Raises EncoderError."""
        if self.path is None:
            return os.dup(self._fd)
        try:
            if self.part is None:
                self._fd = os.open(self.path, os.O_WRONLY)
                return os.dup(self._fd)
            self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as e:
            raise EncoderError(explain_write(self.path, e)) from e

    def gone(self) -> bool:
        """Whether nobody reads any more."""
        if self.part is not None:
            return False
        poll = select.poll()
        poll.register(self._fd, 0)
        return any(what & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, what in poll.poll(0))

    def whole(self) -> None:
        """The stream has ended as it should. Raises EncoderError."""
        if self.path is None or self.part is None:
            if self.path is not None:
                os.close(self._fd)  # its reader comes to the end
            return
        try:
            sync(self.part)
            os.replace(self.part, self.path)
        except OSError as e:
            raise EncoderError(explain_write(self.path, e)) from e

    def left(self) -> Path | None:
        """After a failure: the part that holds something, playable as far as it goes; an empty one is removed."""
        if self.part is None or not self.part.exists():
            return None
        if self.part.stat().st_size:
            return self.part
        self.discard()
        return None

    def discard(self) -> None:
        """Nothing was streamed."""
        if self.part is not None:
            self.part.unlink(missing_ok=True)


def check_stdout() -> None:
    """Raises UsageError when standard output is a terminal."""
    if os.isatty(1):
        raise UsageError(
            "the video would go to the terminal: name a file with -o, or pipe it, such as: vasa stream ... | ffplay -"
        )


def take_stdout() -> int:
    """Standard output for the video alone: whatever else prints goes to standard error from now on. -> its descriptor."""
    sys.stdout.flush()
    fd = os.dup(1)
    os.dup2(2, 1)
    return fd


def is_special(path: Path) -> bool:
    """Whether this is there and no regular file: a FIFO, a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def is_broken_pipe(error: OSError) -> bool:
    return error.errno in (errno.EPIPE, errno.ECONNRESET)
