"""Which processor computes, and what to say when its memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache

from vasa_cli.errors import DeviceError, UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "float16")


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
    """Turn 'out of memory' of any kind into a DeviceError that says what to do."""
    hint = "close other programs or shorten the recording" if device == "cpu" else "use --dtype float16 or --device cpu"
    try:
        yield
    except MemoryError as e:
        raise DeviceError(f"out of memory; {hint}") from e
    except RuntimeError as e:
        text = str(e).lower()
        if (
            type(e).__name__ == "OutOfMemoryError"
            or "out of memory" in text
            or "not enough memory" in text
            or "can't allocate memory" in text
        ):
            raise DeviceError(f"{device}: out of memory; {hint}") from e
        raise


@lru_cache(maxsize=1)
def reuse_memory() -> bool:
    """Let the C library keep the large buffers of a frame instead of giving each back to the system: fresh pages cost a decoder
    on the CPU a fifth to a third of its time. Only glibc has the switch; True where it is on."""
    import ctypes
    import sys

    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    trim_threshold, mmap_threshold = -1, -3
    return bool(mallopt(mmap_threshold, 1 << 30)) and bool(mallopt(trim_threshold, 2**31 - 1))
