"""Jobs on several processes of this machine, each with its models; a process that dies or takes too long is replaced.

On Linux they are copies of one process that has imported torch and computed nothing yet: the seconds that takes are spent once,
not by every worker and every replacement of one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any

from vasa_cli.batch.claim import sweep
from vasa_cli.batch.job import Outcome
from vasa_cli.batch.run import Queue, Task
from vasa_cli.batch.worker import GRACE, PRELOADED, Setup, settings, use_threads, work
from vasa_cli.errors import DeviceError
from vasa_cli.forked import can_fork


class _Worker:
    """A process and the task it has."""

    def __init__(self, threads: int) -> None:
        context = _context(threads)
        self.pipe, theirs = context.Pipe()
        line, self.line = context.Pipe(duplex=False)  # closed by the system when this process dies, however that happens
        self.process = context.Process(target=work, args=(theirs, Setup(threads, line, settings())), daemon=True)  # type: ignore[attr-defined]
        with deaf():
            self.process.start()
        theirs.close()
        line.close()
        self.task: Task | None = None
        self.deadline = float("inf")
        self.last: Any = None

    def give(self, task: Task) -> None:
        self.task, self.last, self.deadline = task, task.job.face_key(), float("inf")
        with contextlib.suppress(OSError):  # it has died: its end of the pipe says so
            self.pipe.send(task)

    def end(self) -> None:
        """In order: part files are removed; by force when that takes too long."""
        self.process.terminate()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        self.line.close()

    def dismiss(self) -> None:
        """It has nothing to do any more."""
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(GRACE)
        self.end()


class Pool:
    """`count` processes. threads: that may compute in all of them together. timeout: seconds that a job may take."""

    def __init__(self, count: int, threads: int, timeout: float | None = None) -> None:
        self.count, self.timeout = count, timeout
        self.threads = max(1, threads // count)
        self._workers: list[_Worker] = []

    def run(
        self, queue: Queue, started: Callable[[Task], None], say: Callable[..., None]
    ) -> Generator[tuple[Task, Outcome], None, None]:
        try:
            while len(queue) or any(worker.task for worker in self._workers):
                self._give(queue, started)
                yield from self._results(say)
            for worker in self._workers:
                worker.dismiss()
        finally:
            for worker in self._workers:
                worker.process.terminate()  # all at once, then one after another
            for worker in self._workers:
                worker.end()
                if worker.task is not None:
                    sweep(worker.task.job.output)

    def _give(self, queue: Queue, started: Callable[[Task], None]) -> None:
        """Every idle worker gets a task; workers are started as long as there are tasks for them."""
        idle = [worker for worker in self._workers if worker.task is None]
        while len(queue):
            if not idle and len(self._workers) == self.count:
                return
            worker = idle.pop(0) if idle else _Worker(self.threads)
            if worker not in self._workers:
                self._workers.append(worker)
            busy = {other.last for other in self._workers if other.task is not None}
            task = queue.take(worker.last, busy)
            assert task is not None
            started(task)
            worker.give(task)

    def _results(self, say: Callable[..., None]) -> Generator[tuple[Task, Outcome], None, None]:
        """Wait until something happens, then pass on what did."""
        busy = [worker for worker in self._workers if worker.task is not None]
        left = min(worker.deadline for worker in busy) - time.monotonic()
        ready = wait([worker.pipe for worker in busy], max(0.0, min(left, 1.0)))
        for worker in busy:
            assert worker.task is not None
            task, outcome = worker.task, None
            if worker.pipe in ready:
                outcome = self._hear(worker, task, say)
            if outcome is None and time.monotonic() >= worker.deadline:
                outcome = self._replace(worker, task, f"took longer than {self.timeout:g} s (--timeout)", transient=False)
            if outcome is not None:
                worker.task = None
                yield task, outcome

    def _hear(self, worker: _Worker, task: Task, say: Callable[..., None]) -> Outcome | None:
        try:
            while worker.pipe.poll():
                kind, *rest = worker.pipe.recv()
                if kind == "end":
                    return rest[0]  # type: ignore[no-any-return]
                if kind == "begun":  # the time to start a process is not the job's
                    worker.deadline = time.monotonic() + (self.timeout or float("inf"))
                    continue
                say(task.job.id, rest[0], **rest[1])
        except (EOFError, OSError):
            worker.process.join(GRACE)
            return self._replace(worker, task, f"its process died ({_cause(worker.process.exitcode)})", transient=True)
        return None

    def _replace(self, worker: _Worker, task: Task, error: str, *, transient: bool) -> Outcome:
        worker.end()
        self._workers.remove(worker)  # what it left is removed by the next attempt, or at the batch's end
        job = task.job
        return Outcome(
            job.id, "failed", str(job.output), job.task, error=error, exit_code=DeviceError.exit_code, attempts=task.attempt,
            transient=transient,
        )  # fmt: skip


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit {code}"
    return f"signal {-code}" + (", perhaps for want of memory" if -code == signal.SIGKILL else "")


def _context(threads: int) -> BaseContext:
    """How workers are started. Never by a fork of this process, which may hold threads and locks of torch."""
    if not can_fork():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    try:
        with deaf(), _threads_of_imports(threads):
            forkserver.ensure_running()  # the first time it starts
    except OSError:  # its socket lies in the temporary folder, whose path may be too long for that
        return multiprocessing.get_context("spawn")
    return context


@contextlib.contextmanager
def _threads_of_imports(count: int) -> Generator[None, None, None]:
    """A process started inside lets numpy and torch have so many threads from the start, as its copies shall."""
    before = dict(os.environ)
    use_threads(count)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def deaf() -> Generator[None, None, None]:
    """A process started inside hears no Ctrl-C, SIGTERM or SIGHUP until it says so itself, and so outlives those that reach all
    processes of a terminal or CI runner: this one ends it in order. What comes for this one meanwhile is heard afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    with contextlib.suppress(ImportError, OSError):  # started later, it would make this thread hear again
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
