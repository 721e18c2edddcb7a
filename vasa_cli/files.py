"""Files on disk: outputs that appear whole or not at all, hashes, and checks that fail before any work is done."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from vasa_cli.errors import InputError, UsageError, VasaError

CHUNK = 1 << 20


def part_path(path: Path) -> Path:
    """Where a result grows until it is whole: in the target folder, so that the rename is atomic, and with the process id, so
    that parallel jobs never share it."""
    return path.with_name(f"{path.name}.part-{os.getpid()}")


def sync(path: Path) -> None:
    """Make sure the bytes are on the disk before the final name points at them."""
    with path.open("rb") as f, contextlib.suppress(OSError):  # some network file systems cannot
        os.fsync(f.fileno())


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a .part path to write to; on success it becomes `path`, on any failure it is removed.

    Raises UsageError when the place cannot be written or the disk is full.
    """
    part = part_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = part.stat().st_mode & 0o777  # what the user's umask gives; some libraries write through private files
        yield part
        part.chmod(mode)
        sync(part)
        os.replace(part, path)
    except OSError as e:
        raise UsageError(explain_write(path, e)) from e
    finally:
        part.unlink(missing_ok=True)


def replace_folder(part: Path, path: Path) -> None:
    """Make the finished folder `part` the folder `path`; an older one is removed, or comes back on failure. Raises OSError."""
    old = path.with_name(f"{path.name}.old-{os.getpid()}")
    if path.is_dir():
        path.rename(old)
    try:
        part.rename(path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def is_there(path: Path) -> bool:
    """Whether `path` is a file; one that cannot be (its name is too long, its folder is closed) is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_utf8(path: Path, kind: type[VasaError]) -> None:
    """Refuse a name that no receipt, journal or command of ffmpeg could hold. Raises `kind`."""
    try:
        str(path).encode()
    except UnicodeEncodeError as e:
        raise kind(f"{str(path)!a}: the name is not UTF-8; rename the file or its folder") from e


def check_folder(path: Path, mine: Callable[[str], bool], *, overwrite: bool, create: bool = True) -> None:
    """Refuse, before any work, a folder that holds anything but our own files (`mine` tells by name), or those without
    `overwrite`. Raises UsageError."""
    check_utf8(path, UsageError)
    if path.exists():
        if not path.is_dir():
            raise UsageError(f"{path}: is a file, not a folder; choose another name with -o")
        names = [p.name for p in path.iterdir()]
        other = sorted(name for name in names if not mine(name))
        if other:
            raise UsageError(
                f"{path}: holds other files ({other[0]}); pictures get a folder of their own, choose another with -o"
            )
        if names and not overwrite:
            raise UsageError(f"{path}: exists already; add --overwrite to replace it, or choose another name with -o")
    try:
        if create:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        look_at_folder(path)
    except OSError as e:
        raise UsageError(explain_write(path, e)) from e


def explain_write(path: Path, error: OSError) -> str:
    """One line on why `path` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: no space left on the disk; free some or choose another folder with -o"
    if error.errno == errno.EROFS:
        return f"{path}: the file system is read-only; choose another folder with -o"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: no permission to write there; choose another folder with -o"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path}: a part of this path is a file, not a folder; choose another folder with -o"
    if error.errno == errno.ENAMETOOLONG:
        return f"{path.name[:40]}...: the name is too long for this file system; choose a shorter one with -o"
    return f"{path}: cannot be written ({error.strerror or error}); choose another folder with -o"


def check_output(path: Path, *, overwrite: bool, create: bool = True) -> None:
    """Refuse, before any work, an output that exists or cannot be written. Raises UsageError.

    With `create` the folder is made and a probe file written; without it (dry run) only what exists is looked at.
    """
    check_utf8(path, UsageError)
    try:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder; name a file with -o")
        if path.exists() and not overwrite:
            raise UsageError(f"{path}: exists already; add --overwrite to replace it, or choose another name with -o")
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            probe = part_path(path)
            try:
                probe.touch()
            finally:
                probe.unlink(missing_ok=True)
        else:
            look_at_folder(path)
    except OSError as e:
        raise UsageError(explain_write(path, e)) from e


def look_at_folder(path: Path) -> None:
    """Raises OSError when the folder of `path`, or the first above it that is there, is a file or cannot be written."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_input(path: Path, what: str) -> None:
    """Raises InputError when `path` is not a readable, non-empty file; `what` names it ('portrait', 'recording')."""
    check_utf8(path, InputError)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a {what}")
        if not path.exists():
            raise InputError(f"{path}: no such {what}")
        if not path.is_file():
            raise InputError(f"{path}: is no file but a device or pipe, which has no end or can be read only once; give a {what}")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the {what} is empty (0 bytes)")
        with path.open("rb"):
            pass
    except OSError as e:
        raise InputError(f"{path}: the {what} cannot be read ({e.strerror or e})") from e


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
