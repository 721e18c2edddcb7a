"""A worker process of the pool: takes jobs from a pipe until it closes. Light to import; torch comes with the first job."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# What a job imports sooner or later; none of them computes, or starts a thread, when imported.
PRELOADED = (
    "torch", "cv2", "scipy.ndimage", "scipy.spatial", "soundfile", "vasa_cli.batch.perform", "vasa_cli.decoder.render",
    "vasa_cli.motion.generate", "vasa_cli.motion.stream", "vasa_cli.portrait.cache", "vasa_cli.portrait.latent",
    "vasa_cli.record", "vasa_cli.speech.stream", "vasa_cli.video.writer",
)  # fmt: skip
GRACE = 5.0  # seconds that a worker has to remove its part files when it is told to end


@dataclass(frozen=True)
class Setup:
    """threads: that may compute in this worker. line: from the process whose death ends it; nothing ever comes through.
    settings: of the batch, since what this process was copied from may have been started under others."""

    threads: int
    line: Connection
    settings: Mapping[str, str]


def settings() -> dict[str, str]:
    """What users set through the environment, such as the cache's place and the limits."""
    return {name: value for name, value in os.environ.items() if name.startswith("VASA_")}


def use_threads(count: int) -> None:
    """To be called before numpy and torch are imported, which look at the second variable then."""
    os.environ["VASA_THREADS"] = str(count)
    os.environ["OMP_NUM_THREADS"] = str(count)


def work(pipe: Connection, setup: Setup) -> None:
    """The process: `pipe` brings Task objects, and takes ("begun",), ("say", ...) and ("end", Outcome); None ends it."""
    ending = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # another one would end the tidying half done
        ending.set()
        raise KeyboardInterrupt  # part files are removed on the way out

    threading.Thread(target=_end_with, args=(setup.line, ending), daemon=True).start()
    for name in set(settings()) - set(setup.settings):
        del os.environ[name]
    os.environ.update(setup.settings)
    use_threads(setup.threads)
    one = threading.Lock()

    def send(*message: Any) -> None:
        with one:  # stages report from threads of their own
            pipe.send(message)

    with contextlib.suppress(KeyboardInterrupt, EOFError, OSError):
        _listen(interrupt)
        _loop(pipe, send)
    os._exit(0)  # torch would take half a second to take apart


def _listen(interrupt: Any) -> None:
    """To SIGTERM alone: Ctrl-C and a closing terminal reach all of its processes, and the batch ends its workers in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # deaf so far: see `pool`


def _loop(pipe: Connection, send: Any) -> None:
    from vasa_cli.batch.perform import JobReporter, Workshop, perform

    shop = Workshop()
    while (task := pipe.recv()) is not None:

        def say(kind: str, **fields: Any) -> None:
            send("say", kind, fields)

        send("begun")
        send("end", perform(task.job, JobReporter(say), shop, task.attempt))


def _end_with(line: Connection, ending: threading.Event) -> None:
    """End at once when the batch has gone: nobody is left who could use a result. Its claim tells the next one what to remove.
    Only one that is being put in order anyway may come to its end."""
    with contextlib.suppress(EOFError, OSError):
        line.recv_bytes()
    if ending.is_set():
        time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
