"""Where the decoder's time goes: CPU seconds of each part over a motion, measured inside real frames, on one thread.

    python scripts/benchmark_decoder.py FACE MOTION [--size 512] [--batch 8] [--frames 100] [--pixels rgb24]

FACE is a file of `vasa encode`, MOTION one of `vasa generate`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# what is called within another part counts as its own only
PARTS = (
    ("pose and vertices", "", "_posed"),
    ("face: flow", "person", "face"),
    ("hair, neck, shoulders: flow", "person", "flow"),
    ("face: sampling and shading", "painter", "_face"),
    ("hair, neck, shoulders: sampling", "painter", "_piece"),
    ("person: composition", "painter", "paint"),
    ("eyes", "eyes", "draw"),
    ("mouth", "mouth", "draw"),
)
REST = "bytes and the rest"


class Book:
    """CPU seconds of named parts; a part's time is not its caller's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def timed(self, owner: Any, name: str, label: str) -> Callable[[], None]:
        """Replace a method of one object by one that adds its time to the book; returns what puts it back."""
        real = getattr(owner, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.thread_time()
            out = real(*args, **kwargs)
            taken = time.thread_time() - start
            self.seconds[label] = self.seconds.get(label, 0.0) + taken - self._inner.pop()
            self._inner[-1] += taken
            return out

        setattr(owner, name, measured)
        return lambda: delattr(owner, name)


def decoder_parts(decoder: Any, track: Any, batch: int, pixels: str = "rgb24") -> list[tuple[str, float]]:
    """(part, CPU seconds) over the whole track on one thread; the last one is all that is left."""
    import torch

    book, threads = Book(), torch.get_num_threads()
    undo = [book.timed(getattr(decoder, module) if module else decoder, name, label) for label, module, name in PARTS]
    torch.set_num_threads(1)
    try:
        start = time.thread_time()
        for _ in decoder.frames(track, batch, pixels=pixels):
            pass
        whole = time.thread_time() - start
    finally:
        torch.set_num_threads(threads)
        for put_back in undo:
            put_back()
    labels = dict.fromkeys(label for label, _, _ in PARTS)
    return [*((label, book.seconds.get(label, 0.0)) for label in labels), (REST, whole - sum(book.seconds.values()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face", type=Path)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pixels", default="rgb24", choices=("rgb24", "yuv420p"))
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.device import reuse_memory
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.latent import FaceLatent

    reuse_memory()
    decoder = FaceDecoder(FaceLatent.load(options.face), size=options.size)
    track = MotionTrack.load(options.motion).select(slice(0, options.frames))
    decoder_parts(decoder, track.select(slice(0, 4)), options.batch, options.pixels)  # warm
    parts = decoder_parts(decoder, track, options.batch, options.pixels)
    whole = sum(seconds for _, seconds in parts)
    print(f"{whole / len(track) * 1000:.2f} ms of CPU a frame ({options.size} px, batch {options.batch}, {options.pixels})")
    for label, seconds in sorted(parts, key=lambda part: -part[1]):
        print(f"{seconds / len(track) * 1000:7.2f} ms {seconds / whole:5.0%}  {label}")


if __name__ == "__main__":
    main()
