"""Where the decoder's time goes: seconds of each part over a motion, measured inside real frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PARTS = (
    ("geometry: where every place of the photo goes", "person", "place"),
    ("hair, neck, shoulders: splat, fill, sample", "person", "_behind"),
    ("face sheet: splat, fill, sample, shade", "person", "_draw_front"),
    ("left eye", "left_eye", "draw"),
    ("right eye", "right_eye", "draw"),
    ("mouth", "mouth", "draw"),
)


def timed(owner: Any, name: str, book: dict[str, float], label: str) -> Callable[[], None]:
    """Replace a method of one object by one that adds its time to the book; returns what puts it back."""
    real = getattr(owner, name)

    def measured(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        out = real(*args, **kwargs)
        book[label] = book.get(label, 0.0) + time.perf_counter() - start
        return out

    setattr(owner, name, measured)
    return lambda: delattr(owner, name)


def decoder_parts(decoder: Any, track: Any, batch: int) -> list[tuple[str, float]]:
    """(part, seconds) over the whole track; the last one is all that is left: composition, bytes."""
    book: dict[str, float] = {}
    undo = [timed(getattr(decoder, module), name, book, label) for label, module, name in PARTS]
    start = time.perf_counter()
    for _ in decoder.frames(track, batch=batch):
        pass
    whole = time.perf_counter() - start
    for put_back in undo:
        put_back()
    return [*((label, book[label]) for label, _, _ in PARTS), ("composition, bytes", whole - sum(book.values()))]
