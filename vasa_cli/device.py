"""Which processor computes, and what to say when its memory runs out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from vasa_cli.errors import DeviceError, MemoryShortage, UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "float16")
THREADS_ENV = "VASA_THREADS"
MOST_DRAWING = 8  # decoders at work; each takes about 140 MB, and one x264 takes no more frames than they make


def resolve_device(name: str) -> str:
    """'auto' to the best present; else the named one. Raises DeviceError (exit 6) when it is absent, UsageError when unknown."""
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"--device {name!r}: known are {', '.join(DEVICES)}")
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return next(d for d in ("cuda", "mps", "cpu") if present[d])
    if not present[kind]:
        raise DeviceError(f"--device {name}: no such device here (torch {torch.__version__}); use --device auto or cpu")
    if index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: only {torch.cuda.device_count()} CUDA device(s) here; count from cuda:0")
    return name


def device_name(device: str) -> str:
    """The name of the processor, for the receipt."""
    import platform

    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def memory_guard(device: str) -> Iterator[None]:
    """Turn 'out of memory' of any kind into a MemoryShortage that says what to do."""
    hint = "close other programs or shorten the recording" if device == "cpu" else "use --dtype float16 or --device cpu"
    try:
        yield
    except MemoryError as e:
        raise MemoryShortage(f"out of memory; {hint}") from e
    except RuntimeError as e:
        text = str(e).lower()
        if (
            type(e).__name__ == "OutOfMemoryError"
            or "out of memory" in text
            or "not enough memory" in text
            or "can't allocate memory" in text
        ):
            raise MemoryShortage(f"{device}: out of memory; {hint}") from e
        raise


def threads() -> int:
    """How many threads may compute: $VASA_THREADS, else $OMP_NUM_THREADS, else the cores this process may use.

    Raises UsageError when VASA_THREADS is no whole number above 0.
    """
    asked = os.environ.get(THREADS_ENV)
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise UsageError(f"{THREADS_ENV}={asked}: a whole number of at least 1 is needed")
        return int(asked)
    usual = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(usual)) if usual.isdigit() else available_cores()


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use: those it is allowed on, and no more than its container's share of time (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return max(1, min(cores, round(int(share) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return cores


def drawing(device: str) -> int:
    """How many decoders draw side by side, a block of frames each. A graphics card is kept busy by one."""
    return min(threads(), MOST_DRAWING) if device == "cpu" else 1


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """torch computes each operation on one thread inside this block.

    Whole blocks of frames side by side use two cores 1.4 times better than operations that are split, and numbers come out the
    same on any number of cores: split sums do not (seen in motion and in encoded faces, 1 thread against 2 against 4).
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def reuse_memory() -> bool:
    """Let the C library keep the large buffers of a frame instead of giving each back to the system: fresh pages cost a decoder
    on the CPU a fifth to a third of its time. All threads share one arena: memory then stays as it is however long a video, and
    two decoders side by side are 15 % faster (an arena of a thread cannot hold such buffers). Only glibc has the switches; True
    where they are on. To be called before threads are started."""
    import ctypes
    import sys

    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    wanted = ((arena_max, 1), (mmap_threshold, 1 << 30), (trim_threshold, 2**31 - 1))
    taken = [bool(mallopt(name, value)) for name, value in wanted]  # each one is tried
    return all(taken)
