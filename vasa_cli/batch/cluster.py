"""Jobs on machines of a dask cluster, or on one that is made here for the batch; results lie on a folder that all of them share.

The job function is that of the other executors. dask gives the job of a worker that was lost to another one, which removes what
the dead one left (`batch.claim`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from vasa_cli.batch.claim import sweep
from vasa_cli.batch.job import Job, Outcome
from vasa_cli.batch.pool import deaf
from vasa_cli.batch.run import Queue, Task
from vasa_cli.batch.worker import GRACE
from vasa_cli.errors import UsageError, VasaError, WeightsError
from vasa_cli.limits import DURATION_ENV, PIXELS_ENV
from vasa_cli.requests import EncodeRequest

_AHEAD = 1  # tasks that wait at each worker, so that none idles
_CONNECT = 30.0  # seconds


def parse_cluster(text: str) -> int:
    """'local:N' to N. Raises UsageError."""
    kind, _, count = text.partition(":")
    if kind != "local" or not count.isdigit() or not 1 <= int(count) <= 1024:
        raise UsageError(f"--cluster {text!r}: expected local:N with N worker processes, such as local:2")
    return int(count)


def absolute(value: Any) -> Any:
    """A job or request with absolute paths: workers have folders of their own."""
    if isinstance(value, Path):
        return Path(os.path.abspath(value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: absolute(getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def installed(job: Job) -> dict[str, str]:
    """What this machine brings to a job besides its inputs: version and weights. Raises WeightsError."""
    from vasa_cli import __version__
    from vasa_cli.motions import weight_hashes
    from vasa_cli.portrait.encode_hash import encoder_hash

    request = job.request
    weights = {} if isinstance(request, EncodeRequest) else weight_hashes(request.motion.weights)
    return {"vasa": __version__, "face encoder": encoder_hash(), **{f"{part} weights": value for part, value in weights.items()}}


def do(
    job: Job, attempt: int, threads: int | None, timeout: float | None, limits: dict[str, str], wanted: dict[str, str]
) -> Outcome:
    """On a dask worker: one job at a time in each process, models kept between them. limits: of `vasa_cli.limits`. wanted: what
    is `installed` where the batch was started; a machine with anything else would make other frames, and says so."""
    from distributed import get_worker

    from vasa_cli.batch.worker import use_threads

    os.environ.update(limits)
    if threads is not None:
        use_threads(threads)
    other = _other(job, wanted)
    if other:
        error = f"the worker on {socket.gethostname()} has another {', '.join(other)}; install the same on all machines"
        code = WeightsError.exit_code
        return Outcome(job.id, "failed", str(job.output), job.task, error=error, exit_code=code, attempts=attempt)
    from vasa_cli.batch.perform import Workshop, perform
    from vasa_cli.progress import Reporter

    worker: Any = get_worker()
    kept = worker.__dict__.setdefault("_vasa", (threading.Lock(), Workshop()))
    with kept[0]:
        return _limited(lambda: perform(job, Reporter(), kept[1], attempt), job, attempt, timeout)


def _other(job: Job, wanted: dict[str, str]) -> list[str]:
    """What differs here from what is wanted."""
    try:
        found = installed(job)
    except VasaError:  # not there at all: the job itself says so
        return []
    return sorted(name for name in wanted if found.get(name) != wanted[name])


def _wanted(job: Job) -> dict[str, str]:
    try:
        return installed(job)
    except VasaError:  # the job says it better
        return {}


def _limited(call: Callable[[], Outcome], job: Job, attempt: int, timeout: float | None) -> Outcome:
    """An exception is thrown into this thread when the time is over; the writer then ends ffmpeg and removes its part file."""
    if timeout is None:
        return call()
    from vasa_cli.batch.perform import JobTimeout

    thread = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(timeout, lambda: ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(JobTimeout)))
    timer.daemon = True
    timer.start()
    try:
        outcome = call()
        timed_out = outcome.status == "failed" and not outcome.error
    except JobTimeout:
        timed_out = True
    finally:
        timer.cancel()
    if timed_out:
        error = f"took longer than {timeout:g} s (--timeout)"
        return Outcome(job.id, "failed", str(job.output), job.task, error=error, exit_code=JobTimeout.exit_code, attempts=attempt)
    return outcome


class Dask:
    """scheduler: address of a running one; local: this many worker processes here. threads: of the whole batch, local only."""

    def __init__(
        self, scheduler: str | None = None, local: int | None = None, threads: int = 1, timeout: float | None = None
    ) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as e:
            raise UsageError("--scheduler and --cluster need dask: pip install 'vasa-cli[cluster]'") from e
        self.scheduler, self.local, self.threads, self.timeout = scheduler, local, threads, timeout

    def run(
        self, queue: Queue, started: Callable[[Task], None], say: Callable[..., None]
    ) -> Generator[tuple[Task, Outcome], None, None]:
        tasks: dict[Any, Task] = {}
        try:
            yield from self._run(queue, started, say, tasks)
        finally:
            if self.local is not None:  # workers elsewhere may come to the end of what they began
                for task in tasks.values():
                    sweep(task.job.output, GRACE)

    def _run(
        self, queue: Queue, started: Callable[[Task], None], say: Callable[..., None], tasks: dict[Any, Task]
    ) -> Generator[tuple[Task, Outcome], None, None]:
        """tasks: that are at work, by dask's key; changed here."""
        from distributed import as_completed

        with self._client() as client:
            name, number = f"vasa-{uuid.uuid4().hex[:8]}", 0
            ended = as_completed([], with_results=False)
            threads = max(1, self.threads // self.local) if self.local else None
            limits = {name: os.environ[name] for name in (PIXELS_ENV, DURATION_ENV) if name in os.environ}
            if not client.scheduler_info(n_workers=-1)["workers"]:  # some may come; who waits in vain should know for what
                say("batch", "note", text=f"no worker at {self.scheduler} yet, waiting for one: dask worker ADDRESS")
            while len(queue) or tasks:
                room = len(client.scheduler_info(n_workers=-1)["workers"]) * (1 + _AHEAD) or 1
                while len(tasks) < room and (task := queue.take(busy={t.job.face_key() for t in tasks.values()})):
                    number += 1
                    started(task)
                    future = client.submit(
                        do, absolute(task.job), task.attempt, threads, self.timeout, limits, _wanted(task.job),
                        key=f"{name}-{number}", pure=False,
                    )  # fmt: skip
                    tasks[future.key] = task
                    ended.add(future)
                future = next(ended)
                task = tasks.pop(future.key)
                yield task, _outcome(task, future)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        import dask
        from distributed import Client, LocalCluster

        if self.local is None:
            try:
                client = Client(self.scheduler, timeout=_CONNECT)
            except (OSError, ValueError, TimeoutError) as e:
                raise UsageError(f"--scheduler {self.scheduler}: no dask scheduler answers there ({e})") from e
            with client:
                yield client
            return
        each = str(max(1, self.threads // self.local))
        with (
            tempfile.TemporaryDirectory(prefix="vasa-dask-", ignore_cleanup_errors=True) as folder,
            dask.config.set({"temporary-directory": folder}),
        ):
            with deaf():  # the threads that start workers too: Ctrl-C is for this process, which ends them in order
                cluster = LocalCluster(
                    n_workers=self.local, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=folder,
                    silence_logs=50, env={"VASA_THREADS": each, "OMP_NUM_THREADS": each}, memory_limit=0,
                )  # fmt: skip
            with cluster, Client(cluster) as client:
                yield client


def _outcome(task: Task, future: Any) -> Outcome:
    """What came back, or a failure that may pass: dask gave up on workers that were lost again and again."""
    job = task.job
    failed = Outcome(job.id, "failed", str(job.output), job.task, exit_code=6, attempts=task.attempt, transient=True)
    if future.status == "finished":
        return replace(future.result(), output=str(job.output))
    error = future.exception() if future.status == "error" else None
    return replace(failed, error=f"its worker was lost ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
