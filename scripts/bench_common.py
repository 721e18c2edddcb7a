"""What the parts of the benchmark share: inputs, the real command in a process of its own, its memory, medians."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT / "vasa_cli" / "assets" / "demo_speech.flac"
FPS = 25
_LOOK = 0.25  # seconds between two looks at the memory of a process and of those it started


@dataclass(frozen=True)
class Bench:
    """What every part is given. quick: a few frames only, to see that it works."""

    folder: Path
    repeats: int = 3
    weights: str = "default"
    device: str = "auto"
    quick: bool = False
    seconds: float = 60.0  # of speech in the whole render

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def photo(self) -> Path:
        """The astronaut (public domain)."""
        path = self.folder / "astronaut.png"
        if not path.is_file():
            from PIL import Image
            from skimage import data

            Image.fromarray(data.astronaut()).save(path)
        return path

    def speech(self, seconds: float) -> Path:
        """The demo's sentence over and over for so many seconds, 16-bit WAV."""
        import soundfile

        path = self.folder / f"speech{seconds:g}.wav"
        if not path.is_file():
            samples, rate = soundfile.read(SPEECH, dtype="int16")
            left = round(seconds * rate)
            with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as f:
                while left:
                    f.write(samples[:left])
                    left -= min(left, len(samples))
        return path


@dataclass(frozen=True)
class Run:
    """One run of the command. seconds: of the wall clock; cpu: of all cores, of all its processes; peak: greatest resident memory
    of its own process in MB; whole: of all its processes together, ffmpeg too, what they share counted once; result: its JSON,
    where it printed one."""

    seconds: float
    cpu: float
    peak: float
    whole: float
    result: dict[str, Any]


def environment(bench: Bench, **more: str) -> dict[str, str]:
    """For the command in a process of its own."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "VASA_CACHE_DIR": str(bench.cache), "PYTHONPATH": paths, **more}


def vasa(bench: Bench, *arguments: object, module: Sequence[str] = ("-m", "vasa_cli"), **env: str) -> Run:
    """The real command, as a user would run it."""
    command = [sys.executable, *module, *map(str, arguments)]
    before, start = _cpu(), time.perf_counter()
    process = subprocess.Popen(command, env=environment(bench, **env), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    peaks: dict[str, float] = {}
    watcher = threading.Thread(target=_watch, args=(process, peaks))
    watcher.start()
    out, errors = process.communicate()
    watcher.join()
    taken = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {errors.decode(errors='replace')[-500:]}")
    text = out.decode()
    result = json.loads(text) if text.startswith("{") else {}
    return Run(taken, _cpu() - before, peaks.get("own", 0.0), peaks.get("whole", 0.0), result)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(process: subprocess.Popen[bytes], peaks: dict[str, float]) -> None:
    """Note the greatest memory of a process and of what it started, in MB (Linux)."""
    while process.poll() is None:
        peaks["own"] = max(peaks.get("own", 0.0), peak_memory(process.pid))
        whole = sum(map(shared_memory, (process.pid, *children(process.pid))))
        peaks["whole"] = max(peaks.get("whole", 0.0), whole)
        time.sleep(_LOOK)


def peak_memory(pid: int) -> float:
    """Greatest resident memory so far, MB; 0 where the system does not say, or the process is gone."""
    return _field(pid, "status", "VmHWM")


def shared_memory(pid: int) -> float:
    """Memory now, MB: what n processes share counts one n-th for each."""
    return _field(pid, "smaps_rollup", "Pss:")


def _field(pid: int, file: str, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)
    except OSError:
        return 0.0


def children(pid: int) -> list[int]:
    try:
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []


def median_of(repeats: int, work: Callable[[], float]) -> float:
    return statistics.median(work() for _ in range(repeats))


def timed(work: Callable[[], Any]) -> Callable[[], float]:
    """The same work, telling its seconds."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def p95(values: Sequence[float]) -> float:
    """The value that 95 % stay within."""
    ordered = sorted(values)
    return ordered[-(-95 * len(ordered) // 100) - 1]


def busy(work: Callable[[], Any]) -> tuple[float, float]:
    """(seconds of the wall clock, seconds of all cores, processes that it started and waited for included)."""
    start, own, other = time.perf_counter(), time.process_time(), _cpu()
    work()
    return time.perf_counter() - start, time.process_time() - own + _cpu() - other


def speed(frames: int, seconds: float) -> tuple[str, str]:
    """Frames a second, and multiples of real time."""
    return f"{frames / seconds:.0f}", f"{frames / FPS / seconds:.2f}"
