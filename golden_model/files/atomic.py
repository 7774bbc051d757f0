"""Replacing a directory as a whole: whoever looks sees all old files or all new ones, never a mix."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@contextlib.contextmanager
def replaced_directory(target: Path, may_replace: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new directory beside ``target`` that takes its place when the block ends without an exception.

    ``may_replace(target)`` is called first where the target exists, and raises to refuse. Parents are created. On any
    exception, KeyboardInterrupt included, the new directory and created parents are removed and the target stays as it
    was. Only a killed process leaves its hidden ``.<name>.<id>.part`` behind, beside an untouched target.
    """
    target = Path(target).resolve()
    if target.exists():
        may_replace(target)
    created = [parent for parent in target.parents if not parent.exists()]  # innermost first
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _flush(temporary)
        if target.exists():
            _exchange(temporary, target)  # temporary now holds the old files
        else:
            os.rename(temporary, target)
        _fsync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in created:
            with contextlib.suppress(OSError):  # not there, or in use by somebody else by now
                parent.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories: in one step where kernel and file system can, else by renames, undone on failure."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NOT_SUPPORTED:
            raise OSError(code, os.strerror(code), str(old))
    aside = new.with_suffix(".old")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def _flush(directory: Path) -> None:
    """Bring all files below ``directory``, and the directories that name them, to the disk."""
    for folder, _, files in os.walk(directory):
        for name in files:
            _fsync(Path(folder, name))
        _fsync(Path(folder))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
