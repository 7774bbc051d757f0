"""Reading a file whole, but not one that would fill the memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

MOST = 1 << 28  # bytes; the largest golden file of the networks here has a fiftieth of it


def read_bounded(path: Path, most: int = MOST) -> bytes:
    """The bytes of a file. OSError, which names it, where it cannot be read or has more than ``most`` bytes."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= most else b""  # what is asked for is set aside first
        if len(data) > size:  # a device, or a file that grows
            data += file.read(most + 1 - len(data))
    if size > most or len(data) > most:
        raise OSError(errno.EFBIG, f"larger than the {most >> 20} MiB that such a file may have", str(path))
    return data
