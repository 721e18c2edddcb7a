"""Locks between processes: a file that one process at a time holds, and that the system lets go of when its holder dies.

Where the system has no such locks (not a Unix) or the folder cannot be written, nothing is locked and work goes on: results
still appear whole (`files.whole_file`), only work may be done twice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

_LOOK = 0.05  # seconds between two tries: a wait that can be interrupted, in any thread


class Held:
    """An open lock file. `text` is what its last holder wrote there and, as it died, did not take away."""

    def __init__(self, path: Path, fd: int | None, text: str = "") -> None:
        self.path, self.text = path, text
        self._fd = fd

    @property
    def locked(self) -> bool:
        """False: this system or folder has no locks."""
        return self._fd is not None

    def write(self, text: str) -> None:
        """Replace the file's content; what the next holder reads if this one dies."""
        if self._fd is None:
            return
        with contextlib.suppress(OSError):  # a full disk: only the trace for the next one is lost
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text.encode(), 0)

    def release(self) -> None:
        """Remove the file and let go. Safe to call twice."""
        if self._fd is None:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.let_go()

    def let_go(self) -> None:
        """Leave the file, with what its last holder wrote, to the next one."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def try_hold(path: Path) -> Held | None:
    """The lock `path`, or None while another process holds it."""
    try:
        import fcntl
    except ImportError:
        return Held(path, None)
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:  # read-only, no folder, no space
            return Held(path, None)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(fd)
            return None if e.errno in (errno.EWOULDBLOCK, errno.EACCES) else Held(path, None)
        if _is_still(path, fd):
            return Held(path, fd, os.pread(fd, 4096, 0).decode(errors="replace"))
        os.close(fd)  # its holder removed it between our opening and locking


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


@contextlib.contextmanager
def hold(path: Path) -> Iterator[Held]:
    """Wait for the lock `path`, hold it inside the block, remove it afterwards."""
    held = try_hold(path)
    while held is None:
        time.sleep(_LOOK)
        held = try_hold(path)
    try:
        yield held
    finally:
        held.release()
