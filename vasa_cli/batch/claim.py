"""One process at a time makes an output, and what a dead one left of it is removed.

Beside an output that is being made lies OUTPUT.claim, locked by the process that makes it and removed when it is done. The
system lets go of the lock when its holder dies, however it dies; the file then still tells whose part files are left over.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.files import part_path
from vasa_cli.locks import Held, try_hold
from vasa_cli.trust.sign import SEALED
from vasa_cli.video.formats import is_sequence

_LOOK = 0.1  # seconds


@dataclass
class Claim:
    """left: a process died while it made this output. waited_for: the key of the job that another process did meanwhile."""

    lock: Held
    left: bool = False
    waited_for: str | None = None

    def sign(self, key: str) -> None:
        """From here on the output is ours: if we die, the next one may replace it."""
        self.lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "key": key}))


def claim_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.claim")


@contextlib.contextmanager
def claimed(target: Path) -> Iterator[Claim]:
    """Hold `target` (a file, or the folder of a sequence), after waiting for who else does."""
    place, waited_for = claim_path(target), None
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
    while (lock := try_hold(place)) is None:
        waited_for = str(_signed(_text(place)).get("key", waited_for))
        time.sleep(_LOOK)
    claim = Claim(lock, waited_for=waited_for)
    try:
        claim.left = clear(target, lock.text)
        yield claim
    finally:
        clear(target, lock.text)  # the dead one's ffmpeg may just have been starting, and made its part file after we looked
        lock.release()


def state(target: Path) -> str:
    """'held': a living process makes this output; 'left': one died that had begun to; 'free'. Changes nothing."""
    if not claim_path(target).exists():
        return "free"
    lock = try_hold(claim_path(target))
    if lock is None:
        return "held"
    if isinstance(_signed(lock.text).get("pid"), int):
        lock.let_go()
        return "left"
    lock.release()
    return "free"


def sweep(output: Path, patience: float = 0.0) -> None:
    """Remove what a dead process left of this output; nothing, while a living one holds it. patience: seconds to wait for one
    that is about to end."""
    target = output.parent if is_sequence(output) else output
    until = time.monotonic() + patience
    while claim_path(target).exists():
        lock = try_hold(claim_path(target))
        if lock is not None:
            clear(target, lock.text)
            lock.release()
            return
        if time.monotonic() >= until:
            return
        time.sleep(_LOOK)


def clear(target: Path, text: str) -> bool:
    """Remove the part files of the process that signed a claim with `text`. False: nobody did."""
    pid = _signed(text).get("pid")
    if not isinstance(pid, int):
        return False
    clear_parts(target, pid)
    return True


def clear_parts(target: Path, pid: int) -> None:
    """Remove what the dead process `pid` left: of the output, and of its receipt."""
    with contextlib.suppress(OSError):
        own = part_path(target).name.rpartition("-")[0]
        receipt = target.with_name(target.name + ".json")
        parts = [target.with_name(f"{own}-{pid}"), receipt.with_name(f"{part_path(receipt).name.rpartition('-')[0]}-{pid}")]
        parts.append(parts[0].with_name(f"{parts[0].name}{SEALED}"))
        for part in parts:
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
        old = target.with_name(f"{target.name}.old-{pid}")  # of `files.replace_folder`
        if old.is_dir() and not target.exists():
            old.rename(target)
        elif old.is_dir():
            shutil.rmtree(old, ignore_errors=True)


def _text(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _signed(text: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
