"""Work in copies of this process: order, errors, killed workers, and no process left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vasa_cli import forked
from vasa_cli.errors import DeviceError
from vasa_cli.forked import DEPTH, ForkedMap, can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="needs fork, as on Linux")


def pack(item: int) -> bytes:
    return item.to_bytes(8, "little")


def unpack(data: bytes) -> int:
    return int.from_bytes(data, "little")


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pool(work: object, count: int = 2, size: int = 64) -> ForkedMap[int]:
    return ForkedMap(work, count, size, pack, unpack)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_results_in_order_from_several_processes() -> None:
    def work(item: int) -> np.ndarray:
        time.sleep(0.003 * (item % 3))
        return np.full((2, 3), item, np.uint8) if item % 2 else np.array([item, os.getpid() % 251], np.uint8)

    with pool(work, 3) as mapped:
        seen = [block.copy() for block in mapped(iter(range(50)))]
    assert [int(block.flat[0]) for block in seen] == list(range(50))
    assert [block.shape for block in seen] == [(2, 3) if i % 2 else (2,) for i in range(50)]
    assert len({int(block[1]) for block in seen if block.ndim == 1}) > 1
    assert os.getpid() % 251 not in {int(block[1]) for block in seen if block.ndim == 1}
    assert mapped.seconds > 0.1


def test_it_is_bounded_and_comes_as_soon_as_it_is_there() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            time.sleep(0.02 if i < 5 else 0)
            yield i

    with pool(lambda item: np.full(1, item, np.uint8)) as mapped:
        results = mapped(source())
        assert next(results)[0] == 0
        assert len(taken) <= 4  # a slow source: what is done is not held back until all places are taken
        for _ in range(10):
            next(results)
        assert len(taken) <= 12 + 2 * DEPTH


def test_errors_of_the_work_come_through() -> None:
    def work(item: int) -> np.ndarray:
        if item == 2:
            raise MemoryError("too large") if item_kind[0] == "memory" else ValueError("not so")
        return np.zeros(1, np.uint8)

    item_kind = ["memory"]
    for kind, expected, words in (("memory", MemoryError, "too large"), ("value", RuntimeError, "ValueError: not so")):
        item_kind[0] = kind
        with pool(work) as mapped:
            results = mapped(range(9))
            assert [len(next(results)) for _ in range(2)] == [1, 1]
            with pytest.raises(expected, match=words):
                next(results)


def test_a_killed_worker_is_named() -> None:
    def work(item: int) -> np.ndarray:
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(1, np.uint8)

    with pool(work) as mapped, pytest.raises(DeviceError, match=r"killed \(signal 9\).*--threads 1"):
        list(mapped(range(50)))


def test_a_worker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "PATIENCE", 0.2)

    def work(item: int) -> np.ndarray:
        time.sleep(60 if item == 1 else 0)
        return np.zeros(1, np.uint8)

    with pool(work) as mapped, pytest.raises(DeviceError, match="does not answer"):
        list(mapped(range(5)))


def test_leaving_early_ends_them() -> None:
    def forever(item: int) -> np.ndarray:
        time.sleep(60)
        return np.zeros(1, np.uint8)

    def leave() -> None:
        with pool(forever) as mapped:
            pids.extend(mapped._pids)
            mapped._send(0, b"")
            raise KeyboardInterrupt

    pids: list[int] = []
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        leave()
    assert time.monotonic() - start < 5
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_when_their_parent_is_killed() -> None:
    ours, theirs = os.pipe()
    parent = os.fork()
    if parent == 0:
        mapped = pool(lambda item: np.zeros(1, np.uint8)).__enter__()
        os.write(theirs, b"".join(p.to_bytes(4, "little") for p in mapped._pids))
        time.sleep(60)
        os._exit(0)
    pids = [int.from_bytes(os.read(ours, 4), "little") for _ in range(2)]
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    end = time.monotonic() + 5
    while any(running(p) for p in pids):
        assert time.monotonic() < end, "orphans go on"
        time.sleep(0.01)
    os.close(ours)
    os.close(theirs)
