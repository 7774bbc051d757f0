"""What each image gave, in one file that grows line by line: CSV, under a line that says of what it is.

A line is written whole and reaches the disk before the next one begins. Whatever ends the writer (a kill, a full disk),
the file holds all lines but the last, and opening it again takes off the rest of that one. Lines stand in the order in
which images ended; sorted, two runs of the same work are the same bytes, so no line has a time or the name of a worker.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from quant.errors import UserError
from tb.accelerator.checks import COUNTERS
from tb.options import unwritable

FORMAT = "systolic-cosim results 1"
COUNTS = COUNTERS[:-1]  # of each layer, in this order: all but the passes
FIELDS = ("image", "label", "rtl", "integer", "fake_quantised", "cycles", "compared", "scores", "layers", "failure")
# What must be the same in all lines of a file, and how it is told
SAME = {
    "network": "checkpoint", "sha256": "checkpoint", "data": "data set", "images": "data set",
    "configuration": "CONFIG", "build": "build (RTL, parameters, simulator)", "check": "CHECK",
    "seed": "SEED", "stalls": "--stalls", "program": "DATAFLOW, or plan of the layers",
}  # fmt: skip


_MARK = b'# {"format"'


@dataclasses.dataclass(frozen=True)
class Row:
    """One image. label: None where it has none. rtl, integer, fake_quantised: classes. scores: of the RTL. layers: the
    hardware's counters ``COUNTS`` of each. failure: what was wrong, else ''; then the RTL's fields are empty."""

    image: int
    label: int | None
    rtl: int | None
    integer: int | None
    fake_quantised: int
    cycles: int
    compared: int
    scores: tuple[int, ...]
    layers: tuple[tuple[int, ...], ...]
    failure: str = ""

    def line(self) -> str:
        """As it stands in the file, with its end of line."""
        text = io.StringIO()
        values = [getattr(self, name) for name in FIELDS]
        values[7] = " ".join(map(str, self.scores))
        values[8] = ";".join(" ".join(map(str, layer)) for layer in self.layers)
        values[9] = json.dumps(self.failure)[1:-1]  # no end of line within
        csv.writer(text, lineterminator="\n").writerow(["" if value is None else value for value in values])
        return text.getvalue()

    @classmethod
    def of(cls, line: str) -> Row:
        """ValueError where a line is none."""
        found = next(csv.reader([line]))
        if len(found) != len(FIELDS):
            raise ValueError(f"{len(found)} fields, not {len(FIELDS)}")
        image, label, rtl, integer, fake, cycles, compared = (int(value) if value else None for value in found[:7])
        if image is None or fake is None or cycles is None or compared is None:
            raise ValueError("a number is missing")
        return cls(
            image, label, rtl, integer, fake, cycles, compared, tuple(map(int, found[7].split())),
            tuple(tuple(map(int, layer.split())) for layer in found[8].split(";") if layer),
            json.loads(f'"{found[9]}"'),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Contents:
    """A results file as read. head: what all its lines are of. whole: bytes of it that are complete lines."""

    head: dict[str, Any]
    rows: dict[int, Row]
    whole: int


def read(path: Path) -> Contents:
    """UserError for what is no results file, or a damaged one."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    whole = raw.rfind(b"\n") + 1
    try:
        lines = raw[:whole].decode().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no results file: it is not text") from None
    try:
        head = json.loads(lines[0].removeprefix("# "))
        if head.pop("format") != FORMAT or lines[1] != ",".join(FIELDS):
            raise ValueError
    except (IndexError, KeyError, ValueError, AttributeError, TypeError):
        raise UserError(
            f"{path} is no results file of this version: its first line does not say {FORMAT!r}; name another"
        ) from None
    rows: dict[int, Row] = {}
    for number, line in enumerate(lines[2:], 3):
        try:
            row = Row.of(line)
        except (ValueError, StopIteration, csv.Error) as error:
            raise UserError(
                f"{path}, line {number}: damaged ({error}); take the line out, or name another file"
            ) from None
        if row.image in rows:
            raise UserError(f"{path}, line {number}: image {row.image} stands there twice; take one line out")
        rows[row.image] = row
    return Contents(head, rows, whole)


def check_file(path: Path) -> None:
    """UserError where a file cannot hold results, without looking at whose they are."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file, as RESULTS={path}/results.csv")
    if (place := unwritable(path.parent)) is not None:
        raise UserError(f"{path} cannot be written: {place} is no folder where files can be made")
    if path.exists():
        with path.open("rb") as file:
            begin = file.read(len(_MARK))
        if not _MARK.startswith(begin):
            raise UserError(f"{path} is no results file; name another")
        if _begun(path):
            read(path)


def _begun(path: Path) -> bool:
    """Whether a file has its first two lines."""
    return path.exists() and path.read_bytes().count(b"\n") >= 2


class ResultsFile:
    """A file that is written on; nobody else writes it meanwhile. ``rows``: what stands in it, by image."""

    def __init__(self, path: Path, head: Mapping[str, Any]):
        """Begin the file, or go on with it. UserError where it is of other work, or somebody else is writing it."""
        self.path = Path(path)
        self.rows: dict[int, Row] = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"))
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(
                f"{path}: another run is writing these results; wait for it, or name another file"
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None
        try:
            self._open(dict(head))
        except BaseException:
            self.close()
            raise

    def _open(self, head: dict[str, Any]) -> None:
        check_file(self.path)
        begun = _begun(self.path)
        whole = 0
        if begun:
            found = read(self.path)
            _check_same(self.path, found.head, head)
            self.rows, whole = found.rows, found.whole
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        os.truncate(self._file, whole)
        os.lseek(self._file, whole, os.SEEK_SET)
        if not begun:
            first = json.dumps({"format": FORMAT, **head}, sort_keys=False)
            self._write(f"# {first}\n{','.join(FIELDS)}\n")

    def add(self, row: Row) -> None:
        """Write a line to the disk. OSError, naming the file, where that fails; the lines before stay."""
        if row.image in self.rows:
            raise ValueError(f"image {row.image} stands in {self.path} already")
        self._write(row.line())
        self.rows[row.image] = row

    def _write(self, text: str) -> None:
        data = text.encode()
        begin = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            os.truncate(self._file, begin)
            os.lseek(self._file, begin, os.SEEK_SET)
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)
            del self._file
        self._lock.release()

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_same(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    different = [name for name in SAME if there.get(name) != here.get(name)]
    if different:
        what = list(dict.fromkeys(SAME[name] for name in different))
        values = "; ".join(f"{name} {there.get(name)!s:.40} there, {here.get(name)!s:.40} here" for name in different)
        raise UserError(
            f"{path} holds results of another {', '.join(what)}, and these must not be mixed ({values}); name another "
            "file, or remove this one"
        )
