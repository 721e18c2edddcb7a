"""Reads control lines from a FIFO or an inherited descriptor, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from vasa_cli.errors import InputError, UsageError
from vasa_cli.stream.control import LiveControls
from vasa_cli.stream.source import is_fifo

LINE_LIMIT = 1 << 16  # bytes; what is longer is no line of controls
_LOOK_SECONDS = 0.2


def open_control(text: str) -> int:
    """--control: a descriptor's number, or the path of a FIFO (or of a file or a terminal). -> descriptor. Raises UsageError,
    InputError."""
    if text.isdigit():
        try:
            os.fstat(int(text))
        except OSError as e:
            raise UsageError(f"--control {text}: no such open descriptor; open it in the shell, such as {text}<controls") from e
        return int(text)
    path = Path(text)
    try:
        # opened for writing too, a FIFO never ends: writers may come and go
        return os.open(path, (os.O_RDWR if is_fifo(path) else os.O_RDONLY) | os.O_NONBLOCK)
    except OSError as e:
        hint = f"; make it with mkfifo {text}" if isinstance(e, FileNotFoundError) else ""
        raise InputError(f"--control {text}: cannot be opened ({e.strerror or e}){hint}") from e


class ControlReader:
    """Hands every line of a descriptor to `controls`. A bad line is one warning and changes nothing."""

    def __init__(self, fd: int, controls: LiveControls, warn: Callable[[str], None]) -> None:
        self._fd, self._controls, self._warn = fd, controls, warn
        self._rest = b""
        self._skipping = False  # within a line that is too long
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controls in", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * _LOOK_SECONDS)
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not select.select([self._fd], [], [], _LOOK_SECONDS)[0]:
                    continue
                data = os.read(self._fd, LINE_LIMIT)
            except BlockingIOError:
                continue
            except OSError as e:
                self._warn(f"control: cannot be read any more ({e.strerror or e})")
                return
            self.feed(data if data else b"\n")  # the last line of a pipe may lack its end
            if not data:
                return

    def feed(self, data: bytes) -> None:
        """Further bytes; each line that is complete is obeyed."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._obey(line)
            self._skipping = False
        if len(self._rest) > LINE_LIMIT:
            if not self._skipping:
                self._warn(f"control: a line of more than {LINE_LIMIT} bytes was ignored")
            self._rest, self._skipping = b"", True

    def _obey(self, line: bytes) -> None:
        text = line.decode("utf-8", errors="replace").strip()
        if not text:
            return
        try:
            self._controls.line(text)
        except (UsageError, ValueError, OSError) as e:  # whatever somebody writes there, the stream goes on
            self._warn(str(e))
