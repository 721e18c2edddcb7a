"""Overlapped stages: order, bounds, exceptions, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vasa_cli.overlap import OrderedMap, RunAhead


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def until(true: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


def test_it_runs_ahead_and_no_farther() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    with RunAhead(source(), 3) as soon:
        until(lambda: len(made) == 4)  # three wait, one has no room yet
        time.sleep(0.05)
        assert len(made) == 4
        assert list(soon) == list(range(20))
    assert made == list(range(20))


def test_two_slow_sides_take_the_time_of_one() -> None:
    def source() -> Iterator[int]:
        for i in range(10):
            time.sleep(0.03)
            yield i

    start = time.monotonic()
    with RunAhead(source(), 2) as soon:
        for _ in soon:
            time.sleep(0.03)
    assert time.monotonic() - start < 0.5  # one after the other it is 0.6


def test_an_exception_comes_after_what_was_made_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    seen = []

    def take(soon: RunAhead[int]) -> None:
        for item in soon:
            seen.append(item)

    with RunAhead(source(), 1) as soon, pytest.raises(OSError, match="no more"):
        take(soon)
    assert seen == [1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_leaving_early_stops_and_closes_the_source(kind: type[BaseException]) -> None:
    closed = threading.Event()
    made = []

    def source() -> Iterator[int]:
        try:
            for i in range(10**9):
                made.append(i)
                yield i
        finally:
            closed.set()

    def broken() -> None:
        with RunAhead(source(), 2) as soon:
            for _ in soon:
                raise kind

    with pytest.raises(kind):
        broken()
    assert closed.is_set()
    assert len(made) <= 5


def test_the_map_keeps_the_order_and_each_worker_to_one_thread() -> None:
    busy: dict[str, int] = {"a": 0, "b": 0, "c": 0}
    together, most = [0], [0]

    def work(worker: str, item: int) -> int:
        busy[worker] += 1
        together[0] += 1
        most[0] = max(most[0], together[0])
        assert busy[worker] == 1
        time.sleep(0.004 if item % 3 == 0 else 0.001)  # later ones are done first
        busy[worker] -= 1
        together[0] -= 1
        return item * item

    with OrderedMap(work, "abc") as mapped:
        assert list(mapped(range(40))) == [i * i for i in range(40)]
    assert most[0] > 1


def test_the_map_is_bounded() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    with OrderedMap(lambda worker, item: item, (0, 1), ahead=2) as mapped:
        results = mapped(source())
        assert next(results) == 0
        assert len(taken) <= 5


def test_the_map_raises_in_place_and_begins_nothing_more() -> None:
    done: list[int] = []

    def work(worker: int, item: int) -> int:
        if item == 3:
            raise MemoryError("too large")
        done.append(item)
        return item

    seen = []

    def take(mapped: OrderedMap[int, int, int]) -> None:
        for value in mapped(range(1000)):
            seen.append(value)

    with OrderedMap(work, (0, 1)) as mapped, pytest.raises(MemoryError, match="too large"):
        take(mapped)
    assert seen == [0, 1, 2]
    assert max(done) < 10


def test_nothing_to_do_and_nobody_to_do_it() -> None:
    with OrderedMap(lambda worker, item: item, (0,)) as mapped:
        assert list(mapped([])) == []
    with RunAhead([], 1) as soon:
        assert list(soon) == []
    with pytest.raises(ValueError, match="worker"):
        OrderedMap(lambda worker, item: item, ())
    with pytest.raises(ValueError, match="at least 1"):
        RunAhead([], 0)
