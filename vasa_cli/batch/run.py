"""Run the jobs of a manifest one after another, with every model loaded once and each photo encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vasa_cli import pipeline
from vasa_cli.batch.manifest import Job
from vasa_cli.batch.state import State, job_key
from vasa_cli.errors import UsageError, VasaError
from vasa_cli.progress import Reporter
from vasa_cli.video.formats import exists


@dataclass(frozen=True)
class Outcome:
    """How a job ended. status: 'done', 'failed', 'skipped' (done before, --resume) or 'not run' (--fail-fast)."""

    id: str
    status: str
    output: str
    error: str | None = None
    exit_code: int = 0
    frame_hash: str | None = None
    seconds: float = 0.0  # of work
    key: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}


def grouped(jobs: list[Job]) -> list[Job]:
    """Jobs of one face together, in order of first appearance, so that its decoder is built once."""
    order: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        order.setdefault(
            (str(job.request.portrait), job.request.face, job.request.crop, job.request.picture.encoded_for), []
        ).append(job)
    return [job for group in order.values() for job in group]


def check_outputs(jobs: list[Job], state: State, *, overwrite: bool) -> None:
    """Refuse the whole batch when it would run into existing files. Raises UsageError."""
    taken = [j for j in jobs if exists(j.request.output) and not overwrite and not state.is_done(j)]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise UsageError(
            f"{taken[0].request.output}{more}: exists already; --overwrite replaces, --resume goes on where a batch stopped"
        )


def run_batch(
    jobs: list[Job],
    state: State,
    reporter_of: Callable[[str], Reporter],
    *,
    fail_fast: bool = False,
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run all jobs; the result is in the order of the manifest. A failed job does not touch the others."""
    models, outcomes, stopped = pipeline.Models(), {}, False
    for number, job in enumerate(grouped(jobs), 1):
        if stopped:
            outcome = Outcome(job.id, "not run", str(job.request.output))
        elif state.is_done(job):
            outcome = Outcome(job.id, "skipped", str(job.request.output), frame_hash=state.lines[job.id].get("frame_hash"))
        else:
            outcome = _run(job, reporter_of(f"[{number}/{len(jobs)} {job.id}] "), models)
            state.add(outcome.to_json())
        stopped = stopped or (fail_fast and outcome.status == "failed")
        outcomes[job.id] = outcome
        if done is not None:
            done(outcome)
    return [outcomes[job.id] for job in jobs]


def _run(job: Job, reporter: Reporter, models: pipeline.Models) -> Outcome:
    start = time.perf_counter()
    failed = Outcome(job.id, "failed", str(job.request.output), key=job_key(job))
    try:
        result = pipeline.render(job.request, reporter, models)
    except VasaError as e:
        return replace(failed, error=" ".join(str(e).split()), exit_code=e.exit_code, seconds=_since(start))
    except Exception as e:  # a defect in one job must not end the others
        return replace(
            failed, error=f"internal error: {type(e).__name__}: {' '.join(str(e).split())}", exit_code=1, seconds=_since(start)
        )
    return replace(failed, status="done", frame_hash=result.frame_hash, seconds=_since(start))


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)
