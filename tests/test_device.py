"""How many threads compute, and that none of it shows in the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vasa_cli.device import MOST_DRAWING, available_cores, drawing, one_thread_each, threads
from vasa_cli.errors import UsageError


def test_threads_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VASA_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("VASA_THREADS", "5")
    assert threads() == 5
    for bad in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv("VASA_THREADS", bad)
        with pytest.raises(UsageError, match=f"VASA_THREADS={bad}"):
            threads()
    monkeypatch.delenv("VASA_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")  # OpenMP takes lists
    assert threads() == available_cores()


@pytest.mark.parametrize(("cores", "decoders"), [(1, 1), (2, 2), (4, 4), (16, MOST_DRAWING)])
def test_decoders_side_by_side(monkeypatch: pytest.MonkeyPatch, cores: int, decoders: int) -> None:
    monkeypatch.setenv("VASA_THREADS", str(cores))
    assert drawing("cpu") == decoders
    assert drawing("cuda:0") == 1


def test_a_container_s_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    quota = tmp_path / "cpu.max"
    for text, cores in (("max 100000", 16), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16), ("", 16)):
        quota.write_text(text)
        assert available_cores(quota) == cores
    assert available_cores(tmp_path / "nothing") == 16


def test_one_thread_each_and_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread_each():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
