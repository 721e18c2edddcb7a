"""Run the jobs of a manifest: what is done is skipped, what failed for a passing reason is repeated."""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Container, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vasa_cli.batch.claim import state, sweep
from vasa_cli.batch.done import is_done, is_ours_untouched, proven_hash
from vasa_cli.batch.job import Hashes, Job, Outcome, job_key, output_size
from vasa_cli.batch.journal import Journal
from vasa_cli.batch.perform import JobReporter, Workshop, perform
from vasa_cli.batch.places import check_folders
from vasa_cli.batch.show import Show
from vasa_cli.errors import UsageError
from vasa_cli.video.formats import exists

RETRIES = 2


@dataclass(frozen=True)
class Task:
    """One attempt at a job."""

    job: Job
    attempt: int = 1


class Queue:
    """Tasks that wait, by face: jobs of one face come one after another, so that its decoder is built once, and those of a face
    that is at work elsewhere come last, so that nobody waits for its encoding."""

    def __init__(self, jobs: list[Job]) -> None:
        self._faces: OrderedDict[Any, deque[Task]] = OrderedDict()
        for job in jobs:
            self.add(Task(job))

    def add(self, task: Task) -> None:
        self._faces.setdefault(task.job.face_key(), deque()).append(task)

    def take(self, last: Any = None, busy: Container[Any] = ()) -> Task | None:
        """The next task for who did one of face `last`, while those of `busy` are at work elsewhere."""
        if not self._faces:
            return None
        key = last if last in self._faces else next((face for face in self._faces if face not in busy), next(iter(self._faces)))
        task = self._faces[key].popleft()
        if not self._faces[key]:
            del self._faces[key]
        return task

    def clear(self) -> None:
        self._faces.clear()

    def __len__(self) -> int:
        return sum(map(len, self._faces.values()))


class Executor(Protocol):
    """Does tasks of a queue until it is empty. `started` is called with each as it begins, `say` with what it reports meanwhile:
    the job's id, a kind, fields. A task that is added while results are taken is done too."""

    def run(
        self, queue: Queue, started: Callable[[Task], None], say: Callable[..., None]
    ) -> Generator[tuple[Task, Outcome], None, None]: ...


class Here:
    """In this process, one after another."""

    def run(
        self, queue: Queue, started: Callable[[Task], None], say: Callable[..., None]
    ) -> Generator[tuple[Task, Outcome], None, None]:
        shop = Workshop()
        last: Any = None
        while (task := queue.take(last)) is not None:
            last = task.job.face_key()
            started(task)

            def tell(kind: str, name: str = task.job.id, **fields: Any) -> None:
                say(name, kind, **fields)

            yield task, perform(task.job, JobReporter(tell), shop, task.attempt)


@dataclass(frozen=True)
class Plan:
    """What resuming means for each job: skipped (done and unchanged), left (not asked for), the rest is to be done."""

    todo: list[Job]
    skipped: list[Outcome]
    left: list[Outcome]


def plan(jobs: list[Job], journal: Journal, *, resume: bool = False, retry_failed: bool = False) -> Plan:
    """retry_failed: only jobs whose last run failed. Raises UsageError when an output exists that nothing proves to be ours."""
    todo, skipped, left, taken = [], [], [], []
    hashes = Hashes()
    for job in jobs:
        line = journal.last.get(job.id)
        if (resume or retry_failed) and is_done(job, line, hashes):
            key = job_key(job, hashes)
            frame_hash = line.get("frame_hash") if line is not None else proven_hash(job, hashes)
            known = Outcome(job.id, "skipped", str(job.output), job.task, frame_hash=frame_hash, key=key, size=output_size(job))
            skipped.append(replace(known, frames=_frames(line)))
        elif retry_failed and (line is None or line.get("status") != "failed"):
            left.append(Outcome(job.id, "not run", str(job.output), job.task))
        elif exists(job.output) and not job.request.overwrite:
            found = state(job.target) if resume or retry_failed else "free"
            if found == "held":  # by another batch, which may be making just this
                todo.append(job)
                continue
            if not (resume or retry_failed) or not (found == "left" or journal.is_ours(job) or is_ours_untouched(job)):
                taken.append(job)
            todo.append(replace(job, request=replace(job.request, overwrite=True)))
        else:
            todo.append(job)
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise UsageError(f"{taken[0].output}{more}: exists already; --overwrite replaces, --resume goes on where a batch stopped")
    return Plan(todo, skipped, left)


def _frames(line: dict[str, Any] | None) -> int | None:
    """How many the journal says there are."""
    found = line.get("frames") if line is not None else None
    return found if isinstance(found, int) else None


def run_batch(
    jobs: list[Job],
    journal: Journal | None = None,
    *,
    executor: Executor | None = None,
    show: Show | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    retries: int = RETRIES,
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run all jobs; the result is in the order of the manifest. A failed job does not touch the others.

    Raises UsageError: outputs that exist, folders or a journal that cannot be written.
    """
    journal, show, executor = journal or Journal(None), show or Show(), executor or Here()
    planned = plan(jobs, journal, resume=resume, retry_failed=retry_failed)
    check_folders(planned.todo)
    journal.begin(len(jobs))
    outcomes = {outcome.id: outcome for outcome in (*planned.skipped, *planned.left)}
    show.begin(len(planned.todo), len(planned.skipped))
    for outcome in planned.skipped:
        if outcome.id not in journal.last:  # the run that did it could not write so
            journal.end(outcome)
        if done is not None:
            done(outcome)
    queue = Queue(planned.todo)

    def started(task: Task) -> None:
        journal.start(task.job, task.attempt)
        show.start(task.job.id, task.attempt)

    with contextlib.closing(executor.run(queue, started, show.say)) as results:
        for task, outcome in results:
            if outcome.transient and task.attempt <= retries and outcome.status == "failed":
                journal.retry(outcome)
                show.retry(outcome)
                queue.add(Task(task.job, task.attempt + 1))
                continue
            outcomes[outcome.id] = outcome
            journal.end(outcome)
            show.end(outcome)
            if done is not None:
                done(outcome)
            if fail_fast and outcome.status == "failed":
                queue.clear()
    journal.sweep()
    for job in jobs:  # also what a batch left whose journal is lost
        sweep(job.output)
    for job in planned.todo:
        outcomes.setdefault(job.id, Outcome(job.id, "not run", str(job.output), job.task))
    ordered = [outcomes[job.id] for job in jobs]
    journal.finish(counted(ordered))
    show.finish(ordered)
    return ordered


def counted(outcomes: list[Outcome]) -> dict[str, int]:
    return {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed", "not run")}
