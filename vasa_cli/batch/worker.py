"""A worker process of the pool: takes jobs from a pipe until it closes. Light to import; torch comes with the first job."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_DEATH_SIGNAL = 1  # prctl(2): PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Setup:
    """threads: that may compute in this worker. parent: the process whose death ends it."""

    threads: int
    parent: int


def use_threads(count: int) -> None:
    """To be called before numpy and torch are imported, which look at the second variable then."""
    os.environ["VASA_THREADS"] = str(count)
    os.environ["OMP_NUM_THREADS"] = str(count)


def work(pipe: Connection, setup: Setup) -> None:
    """The process: `pipe` brings Task objects, and takes ("begun",), ("say", ...) and ("end", Outcome); None ends it."""
    _die_with(setup.parent)
    use_threads(setup.threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of the terminal; the batch ends its workers in order
    signal.signal(signal.SIGTERM, _interrupt)
    one = threading.Lock()

    def send(*message: Any) -> None:
        with one:  # stages report from threads of their own
            pipe.send(message)

    with contextlib.suppress(KeyboardInterrupt, EOFError, OSError):
        _loop(pipe, send)
    os._exit(0)  # torch would take half a second to take apart


def _loop(pipe: Connection, send: Any) -> None:
    from vasa_cli.batch.perform import JobReporter, Workshop, perform

    shop = Workshop()
    while (task := pipe.recv()) is not None:

        def say(kind: str, **fields: Any) -> None:
            send("say", kind, fields)

        send("begun")
        send("end", perform(task.job, JobReporter(say), shop, task.attempt))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # part files are removed on the way out


def _die_with(parent: int) -> None:
    """End when the batch ends, however that happens: by the system's own means on Linux, else by looking."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes
        import sys

        if sys.platform.startswith("linux"):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_look_after, args=(parent,), daemon=True).start()


def _look_after(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)
