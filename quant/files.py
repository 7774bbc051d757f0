"""Writing a file as a whole: whatever stops the write, the name holds the old content or the new."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path`` in one step; folders are made as needed.

    The bytes go to a temporary file in the same folder, are flushed to disk, and take the name in one step. Whatever
    stops the write (full disk, interrupt), the temporary file is removed and the old file stays; so are folders that
    were made for it. OSError names ``path``.
    """
    path = Path(path)
    made = [folder for folder in path.parents if not folder.exists()]  # innermost first
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    except BaseException as error:  # KeyboardInterrupt too
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError) and not isinstance(error, (FileExistsError, NotADirectoryError)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """:func:`write_whole` of text as UTF-8; what has no code there (a byte of some file's name) as its number."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def _write(path: Path, content: bytes | memoryview) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp makes files private; these are ordinary files
        Path(temporary).replace(path)
    except BaseException:  # KeyboardInterrupt too
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove temporary files of ``path`` that a process left which was killed while it wrote."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
