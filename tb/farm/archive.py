"""Builds that travel: packed here, unpacked once on each machine that runs them."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import gzip
import io
import os
import platform
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import filelock

from tb.simulators import Build, SimulationError

# What made a build and does not run it
_LEFT_OUT = (".cpp", ".h", ".d", ".mk", ".o", ".a", ".gch", ".dat", ".vlt", ".log", ".v")
KEPT_DAYS = 14.0


@dataclasses.dataclass(frozen=True)
class Archive:
    """A build as one piece. name: of its sources, parameters, tool, arguments and kind of processor."""

    name: str
    machine: str
    simulator: str
    toplevel: str
    waves: bool
    data: bytes = dataclasses.field(repr=False)


def packed(built: Build) -> Archive:
    """A build as an archive, the same bytes each time."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        for path in sorted(built.directory.iterdir()):
            if path.is_file() and path.suffix not in _LEFT_OUT and path.name != "built":
                tar.add(path, path.name, filter=_plain)
    machine = platform.machine()
    name = f"{built.simulator}-{built.directory.name}-{machine}"
    return Archive(name, machine, built.simulator, built.toplevel, built.waves, buffer.getvalue())


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    return info


def unpacked(archive: Archive, where: Path | None = None) -> Build:
    """The build on this machine's own disk, unpacked by whoever is first. SimulationError where it does not run here.

    where: folder of unpacked builds, by default one of this user's for temporary files.
    """
    if archive.machine != platform.machine():
        raise SimulationError(f"a build for {archive.machine} does not run on this {platform.machine()}")
    where = where or Path(tempfile.gettempdir(), f"systolic-cosim-{getpass.getuser()}")
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    if where.stat().st_uid != os.getuid():
        raise SimulationError(f"{where} belongs to somebody else; set TMPDIR to a folder of your own")
    target = where / archive.name
    if target not in _whole:
        with filelock.FileLock(where / f".{archive.name}.lock"):
            if target.exists() and not _is_whole(archive.data, target):
                shutil.rmtree(target)  # what clears temporary files by their age has taken some
            if not target.exists():
                _forget_old(where)
                with tempfile.TemporaryDirectory(dir=where, prefix=".new-") as work:
                    fresh = Path(work, "build")
                    _extract(archive.data, fresh)
                    fresh.rename(target)
        _whole.add(target)
    with contextlib.suppress(OSError):  # in use, so not old
        for path in (target, *target.iterdir()):
            os.utime(path)
    return Build(archive.simulator, archive.toplevel, target, archive.waves)


_whole: set[Path] = set()  # unpacked builds that were whole when this process first used them


def _is_whole(data: bytes, folder: Path) -> bool:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        sizes = {member.name: member.size for member in tar}
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def _extract(data: bytes, folder: Path) -> None:
    """The files of an archive that ``packed`` made: plain ones, in one folder."""
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None or Path(member.name).name != member.name:
                raise SimulationError(f"{member.name!r} in a packed build is no plain file")
            path = folder / member.name
            path.write_bytes(content.read())
            path.chmod(member.mode & 0o777)


def _forget_old(where: Path) -> None:
    """Builds that nobody has run for long, and halves that a killed process left."""
    for path in where.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_DAYS * 86400:
                shutil.rmtree(path, ignore_errors=True)
