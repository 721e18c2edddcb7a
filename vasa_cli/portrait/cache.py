"""Content-addressed cache of encoded faces: the same pixels, choice and encoder give the same file, whatever the photo is
called."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vasa_cli.errors import InputError
from vasa_cli.files import is_there, look_at_folder
from vasa_cli.locks import hold, try_hold
from vasa_cli.portrait.encode_hash import Size, encoder_hash, purpose
from vasa_cli.portrait.latent import FORMAT, SIZE, FaceLatent

SUFFIX = ".face.safetensors"
ROOM = 64 << 20  # bytes; the largest faces, of whole 4K photos, take that much
_PID_DIGITS = 10  # more than any system's process numbers have


@dataclass(frozen=True)
class CacheEntry:
    """One cached face: its file, bytes on disk, and when it was last used (seconds since the epoch)."""

    path: Path
    size: int
    used: float

    @property
    def key(self) -> str:
        return self.path.name.removesuffix(SUFFIX)


def default_root() -> Path:
    """The user's cache folder; VASA_CACHE_DIR overrides it."""
    import platformdirs

    override = os.environ.get("VASA_CACHE_DIR")
    return Path(override) if override else Path(platformdirs.user_cache_dir("vasa")) / "faces"


class FaceCache:
    """Encoded faces under `root` (default: the user's cache folder). A folder that cannot be written only means that nothing
    is kept."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def keeps(self) -> bool:
        """Whether a new face can be kept: the folder can be written, and the disk has room."""
        try:
            look_at_folder(self.root / SUFFIX)
            there = next(folder for folder in (self.root.absolute(), *self.root.absolute().parents) if folder.exists())
            return shutil.disk_usage(there).free >= ROOM
        except OSError:
            return False

    def path_of(self, digest: str, face: str, crop: tuple[int, int, int, int] | None, encoder: str, size: Size = SIZE) -> Path:
        """File of the face `face` (or the square `crop`) of the photo with this pixel hash, encoded for this size."""
        text = f"{FORMAT}|{encoder}|{digest}|{face if crop is None else crop}|{purpose(size)}"
        return self.root / (hashlib.sha256(text.encode()).hexdigest() + SUFFIX)

    def get_or_encode(
        self, path: Path, *, face: str = "largest", crop: tuple[int, int, int, int] | None = None, size: Size = SIZE
    ) -> tuple[FaceLatent, bool]:
        """The face in this photo, and whether it came from the cache. Damaged or outdated entries are encoded again. Processes
        that want the same face at once wait for the first one to encode it.

        Raises InputError, FaceError, UsageError as `encode_portrait` does.
        """
        from vasa_cli.portrait.framing import parse_choice
        from vasa_cli.portrait.pixels import pixel_hash, read_photo

        parse_choice(face)
        rgb = read_photo(path)
        digest, encoder = pixel_hash(rgb), encoder_hash()
        entry = self.path_of(digest, face, crop, encoder, size)
        cached = self._read(entry, digest, encoder)
        if cached is not None:
            return cached, True
        from vasa_cli.portrait.encode import encode_pixels

        with self._alone(entry):
            cached = self._read(entry, digest, encoder)  # another process may have been at it
            if cached is not None:
                return cached, True
            latent = encode_pixels(rgb, Path(path), face=face, crop=crop, size=size)
            self._write(entry, latent)
        return latent, False

    @contextlib.contextmanager
    def _alone(self, entry: Path) -> Iterator[None]:
        """One process at a time encodes this entry. Part files of one that died at it are removed."""
        with contextlib.suppress(OSError):
            self.root.mkdir(parents=True, exist_ok=True)
        with hold(_lock_of(entry)) as lock:
            _clear_part(entry, lock.text)
            lock.write(str(os.getpid()))
            yield

    def lookup(
        self, path: Path, *, face: str = "largest", crop: tuple[int, int, int, int] | None = None, size: Size = SIZE
    ) -> bool:
        """Whether the face of this photo is cached and whole (for dry runs). Raises InputError on an unreadable photo."""
        from vasa_cli.portrait.pixels import pixel_hash, read_photo

        digest, encoder = pixel_hash(read_photo(path)), encoder_hash()
        return self._read(self.path_of(digest, face, crop, encoder, size), digest, encoder) is not None

    @staticmethod
    def _read(entry: Path, digest: str, encoder: str) -> FaceLatent | None:
        """A whole entry that says it is what its name says, or None."""
        if not is_there(entry):
            return None
        try:
            latent = FaceLatent.load(entry)
        except InputError:
            return None
        if latent.pixel_hash != digest or latent.encoder_hash != encoder:
            return None
        with contextlib.suppress(OSError):  # a read-only cache still serves
            os.utime(entry)
        return latent

    def _write(self, entry: Path, latent: FaceLatent) -> None:
        """Write beside, then rename: a reader never sees half an entry."""
        part = _part_of(entry, os.getpid())
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            latent.save(part)
            os.replace(part, entry)
        except OSError:  # a full or read-only disk must not stop the render; only the next one is slower
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def entries(self) -> Iterator[CacheEntry]:
        """All cached faces, last used first."""
        found = []
        for path in self.root.glob(f"*{SUFFIX}") if self.root.is_dir() else ():
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append(CacheEntry(path, stat.st_size, stat.st_mtime))
        yield from sorted(found, key=lambda e: -e.used)

    def prune(self, *, max_age_days: float | None = None, max_bytes: int | None = None) -> list[CacheEntry]:
        """Remove entries unused for longer than `max_age_days`, then the oldest beyond `max_bytes`. Returns what was removed."""
        removed, total, now = [], 0, time.time()
        for entry in self.entries():
            total += entry.size
            too_old = max_age_days is not None and now - entry.used > max_age_days * 86400
            if too_old or (max_bytes is not None and total > max_bytes):
                entry.path.unlink(missing_ok=True)
                removed.append(entry)
                total -= entry.size
        return removed

    def clear(self) -> list[CacheEntry]:
        """Remove every entry and stale part file. Returns the entries removed."""
        removed = list(self.entries())
        for entry in removed:
            entry.path.unlink(missing_ok=True)
        for part in self.root.glob(f"*{SUFFIX}.part-*") if self.root.is_dir() else ():
            part.unlink(missing_ok=True)
        self.sweep()
        return removed

    def sweep(self) -> None:
        """Remove what processes left that died while they encoded."""
        for place in self.root.glob(f"*{SUFFIX}.lock") if self.root.is_dir() else ():
            lock = try_hold(place)
            if lock is None:  # at work
                continue
            _clear_part(place.with_suffix(""), lock.text)
            lock.release()


def _part_of(entry: Path, pid: int) -> Path:
    return entry.with_name(f"{entry.name}.part-{pid}")


def _clear_part(entry: Path, text: str) -> None:
    """Remove the part file of the process whose number stands in a lock; anybody may have written that."""
    if text.isascii() and text.isdigit() and len(text) <= _PID_DIGITS:
        with contextlib.suppress(OSError):
            _part_of(entry, int(text)).unlink(missing_ok=True)


def _lock_of(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.lock")
