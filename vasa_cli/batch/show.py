"""How a batch shows what it does: a bar over all jobs on a terminal, a line a job elsewhere, JSON lines for machines.

All of it goes to stderr; the base class is silent.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from vasa_cli.errors import UsageError

if TYPE_CHECKING:
    from vasa_cli.batch.job import Outcome

MODES = ("auto", "bar", "lines", "json", "none")


class Show:
    """Silent."""

    def begin(self, todo: int, skipped: int) -> None:
        """todo: jobs that will be run."""

    def start(self, job_id: str, attempt: int) -> None: ...

    def say(self, job_id: str, kind: str, **fields: Any) -> None:
        """kind 'note' with text, or 'progress' with stage, done, total."""

    def retry(self, outcome: Outcome) -> None: ...

    def end(self, outcome: Outcome) -> None: ...

    def finish(self, outcomes: list[Outcome]) -> None: ...

    def close(self) -> None:
        """Also after an interruption."""


class Lines(Show):
    """For logs: a line when a job ends."""

    def __init__(self) -> None:
        self.todo = self.ended = 0

    def begin(self, todo: int, skipped: int) -> None:
        self.todo = todo
        if skipped:
            self._print(f"{skipped} done before, {todo} to do")

    def say(self, job_id: str, kind: str, **fields: Any) -> None:
        if kind == "note":
            self._print(f"[{job_id}] note: {fields['text']}")

    def retry(self, outcome: Outcome) -> None:
        self._print(f"[{outcome.id}] attempt {outcome.attempts} failed, again: {outcome.error}")

    def end(self, outcome: Outcome) -> None:
        self.ended += 1
        if outcome.status == "failed":
            self._print(f"vasa: {outcome.id}: error: {outcome.error}")
        frames = f"{outcome.frames} frames in " if outcome.frames is not None and outcome.status == "done" else ""
        self._print(f"[{self.ended}/{self.todo} {outcome.id}] {outcome.status}: {frames}{outcome.seconds:.1f} s")

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Failures(Show):
    """For --quiet: only what failed."""

    def end(self, outcome: Outcome) -> None:
        if outcome.status == "failed":
            print(f"vasa: {outcome.id}: error: {outcome.error}", file=sys.stderr, flush=True)


class Bar(Lines):
    """For terminals: one bar over all jobs with the time left; failures and notes stand above it as they come."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        super().__init__()
        self.failed = 0
        self.at_work: dict[str, str] = {}
        self.console = Console(stderr=True, highlight=False)
        columns: list[Any] = [
            SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        ]  # fmt: skip
        self.progress = Progress(*columns, console=self.console, transient=True)
        self.task = self.progress.add_task("", total=None)

    def begin(self, todo: int, skipped: int) -> None:
        super().begin(todo, skipped)
        self.progress.update(self.task, total=todo, completed=0)
        self.progress.start()

    def start(self, job_id: str, attempt: int) -> None:
        self.at_work[job_id] = ""
        self._describe()

    def say(self, job_id: str, kind: str, **fields: Any) -> None:
        super().say(job_id, kind, **fields)
        if kind == "progress" and fields["total"]:
            self.at_work[job_id] = f" {fields['stage']} {100 * fields['done'] // fields['total']} %"
            self._describe()

    def end(self, outcome: Outcome) -> None:
        self.ended += 1
        self.at_work.pop(outcome.id, None)
        if outcome.status == "failed":
            self.failed += 1
            self._print(f"vasa: {outcome.id}: error: {outcome.error}")
        self.progress.update(self.task, completed=self.ended)
        self._describe()

    def _describe(self) -> None:
        failed = f"{self.failed} failed  " if self.failed else ""
        work = ", ".join(f"{name}{stage}" for name, stage in list(self.at_work.items())[:4])
        self.progress.update(self.task, description=failed + work)

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()


class Json(Show):
    """For machines: one JSON object a line, with event, time (seconds since the epoch), and id where it is of a job."""

    def begin(self, todo: int, skipped: int) -> None:
        self._print("begin", todo=todo, skipped=skipped)

    def start(self, job_id: str, attempt: int) -> None:
        self._print("start", id=job_id, attempt=attempt)

    def say(self, job_id: str, kind: str, **fields: Any) -> None:
        self._print(kind, id=job_id, **fields)

    def retry(self, outcome: Outcome) -> None:
        self._print("retry", id=outcome.id, attempt=outcome.attempts, error=outcome.error)

    def end(self, outcome: Outcome) -> None:
        self._print("end", **outcome.to_json())

    def finish(self, outcomes: list[Outcome]) -> None:
        from vasa_cli.batch.run import counted

        self._print("finish", counts=counted(outcomes))

    def _print(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields}, ensure_ascii=False)
        print(line, file=sys.stderr, flush=True)


def make_show(mode: str, *, quiet: bool) -> Show:
    """Raises UsageError."""
    if mode not in MODES:
        raise UsageError(f"--progress {mode!r}: known are {', '.join(MODES)}")
    if mode == "auto":
        mode = "none" if quiet else "bar" if sys.stderr.isatty() else "lines"
    return {"bar": Bar, "lines": Lines, "json": Json, "none": Failures}[mode]()
