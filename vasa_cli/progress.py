"""What the user sees while it works: bars with the time left on a terminal, one line a stage elsewhere, nothing with --quiet.

Everything goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

Update = Callable[[int, int], None]  # (done, total)


class Reporter:
    """Silent; the base of the others and the library's default."""

    def note(self, text: str) -> None:
        """A line the user should read: a choice that was made, a thing that is odd."""

    @contextlib.contextmanager
    def stage(self, label: str, unit: str = "frames") -> Iterator[Update]:
        """Wrap one stage; call what it yields with (done, total) as work proceeds."""
        yield lambda done, total: None

    def done(self, label: str, count: int, seconds: float) -> None:
        """A stage that ran beside another one has ended: `count` frames in `seconds` of its own work."""


class LineReporter(Reporter):
    """For logs and pipes: one line when a stage ends."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def note(self, text: str) -> None:
        print(f"{self.prefix}note: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def stage(self, label: str, unit: str = "frames") -> Iterator[Update]:
        seen = [0]

        def update(done: int, total: int) -> None:
            seen[0] = done

        start = time.perf_counter()
        yield update
        self._say(label, _summary(seen[0], unit, time.perf_counter() - start))

    def done(self, label: str, count: int, seconds: float) -> None:
        self._say(label, _summary(count, "frames", seconds))

    def _say(self, label: str, text: str) -> None:
        print(f"{self.prefix}{label}: {text}", file=sys.stderr, flush=True)


class BarReporter(Reporter):
    """For terminals: a bar a stage, with the time left, that stays as a finished line."""

    def __init__(self, prefix: str = "") -> None:
        from rich.console import Console

        self.prefix = prefix
        self.console = Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        self.console.print(f"{self.prefix}note: {text}", markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def stage(self, label: str, unit: str = "frames") -> Iterator[Update]:
        start = time.perf_counter()
        seen = [0]
        with self._bar(counted=unit == "frames") as bar:
            task = bar.add_task(label, total=None)

            def update(done: int, total: int) -> None:
                seen[0] = done
                bar.update(task, completed=done, total=total)

            yield update
        self.console.print(f"{self.prefix}{label}: {_summary(seen[0], unit, time.perf_counter() - start)}", markup=False)

    def done(self, label: str, count: int, seconds: float) -> None:
        self.console.print(f"{self.prefix}{label}: {_summary(count, 'frames', seconds)}", markup=False)

    def _bar(self, *, counted: bool) -> Progress:
        """A spinner; with a bar and the time left where there is something to count."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        columns: list[Any] = [SpinnerColumn(), TextColumn(f"{self.prefix}{{task.description}}", markup=False)]
        if counted:
            columns += [BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn()]
        return Progress(*columns, console=self.console, transient=True)


def _summary(done: int, unit: str, seconds: float) -> str:
    if done == 0:
        return f"{seconds:.1f} s"
    return f"{done} {unit} in {seconds:.1f} s ({done / max(seconds, 1e-6):.0f} {unit}/s)"


def make_reporter(*, quiet: bool, prefix: str = "") -> Reporter:
    """The reporter that fits where stderr goes."""
    if quiet:
        return Reporter()
    return BarReporter(prefix) if sys.stderr.isatty() else LineReporter(prefix)
