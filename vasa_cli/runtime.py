"""What stays alive between the stages of a job, and between jobs: loaded models and a stage clock."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.speech.phonetic_teacher import PhoneticEncoder

T = TypeVar("T")
_END = object()


class Models:
    """Loaded models, each loaded once. Holds no other state: the order of jobs changes nothing."""

    def __init__(self) -> None:
        self._speech: dict[tuple[str, str], SpeechEncoder | PhoneticEncoder] = {}
        self._decoder: tuple[tuple[Any, ...], FaceDecoder] | None = None

    def speech(self, weights: str, kind: str = "builtin") -> SpeechEncoder | PhoneticEncoder:
        """What hears a recording; kind: one of `requests.SPEECH`."""
        if (weights, kind) not in self._speech:
            from vasa_cli.speech.features import SpeechEncoder
            from vasa_cli.speech.phonetic_teacher import PhoneticEncoder

            encoder = PhoneticEncoder if kind == "phonetics" else SpeechEncoder
            self._speech[weights, kind] = encoder.from_weights(weights)
        return self._speech[weights, kind]

    def decoder(
        self, face: FaceLatent, device: str, dtype: str, size: int, paste: bool = False, refine: bool = False
    ) -> FaceDecoder:
        """The decoder of this face; the last one is kept, for batches that are grouped by face."""
        from vasa_cli.decoder.render import FaceDecoder
        from vasa_cli.device import reuse_memory

        if device == "cpu":
            reuse_memory()
        key = (
            face.pixel_hash,
            face.encoder_hash,
            face.crop.tobytes(),
            face.landmarks.tobytes(),
            face.texture,
            device,
            dtype,
            size,
            paste,
            refine,
        )
        if self._decoder is None or self._decoder[0] != key:
            self._decoder = (key, FaceDecoder(face, device=device, dtype=dtype, size=size, paste=paste, refine=refine))
        return self._decoder[1]


class Clock:
    """Adds up the seconds of named stages; stages in several threads may share one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._one = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        with self._one:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time that each takes to come counts."""
        source = iter(items)
        while True:
            with self(name):
                item = next(source, _END)
            if item is _END:
                return
            yield cast(T, item)

    def rounded(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in self.seconds.items()}


def process_start() -> float | None:
    """When this process was started, in `time.perf_counter`'s terms; None where the system does not say (only Linux does)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # proc(5): starttime, the 22nd field
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.perf_counter() - age


@contextlib.contextmanager
def imported_meanwhile(module: str) -> Iterator[None]:
    """Import a heavy module in a thread while the block does something else; it is there when the block ends. Errors of the
    import are left to the one who imports it for use."""

    def work() -> None:
        with contextlib.suppress(Exception):
            importlib.import_module(module)

    thread = threading.Thread(target=work, name=f"import-{module}")
    thread.start()
    try:
        yield
    finally:
        thread.join()
