"""One text file of numbers: header lines of any text, then lines of bits or of decimal numbers, all of one width."""

from __future__ import annotations

import codecs
import collections
import dataclasses
import re
from pathlib import Path

import numpy as np

from golden_model.bounded import read_bounded

_BLANK = " \t\r"
_COMMENTS = ("#", "//")
_VALUE = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d{1,2})?"
_NUMBERS = re.compile(rf"{_VALUE}(?:[ \t,;]+{_VALUE})*[,;]?")
_BEHIND = re.compile(r"(?<=[01\d,;])[ \t]*//.*")  # a comment behind data
_TOKEN = re.compile(r"[^ \t,;]+")


class TableError(ValueError):
    """A file that holds no table; the message starts with ``path:line:column:``, both counted from 1."""

    def __init__(self, name: str, line: int, column: int, problem: str) -> None:
        super().__init__(f"{name}:{line}:{column}: {problem}")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The data lines of a file.

    name: of the file, within its folder. line_numbers: the line of the file, from 1, of each data line. header: lines
    above them. digits: uint8 [line, digit], 0 or 1, of a file of bits. numbers: int64 [line, word], as they stand, of a
    decimal one. columns: the column of the file, from 1, of each digit (of each line, of each number).
    """

    name: str
    line_numbers: list[int]
    header: int
    digits: np.ndarray | None
    numbers: np.ndarray | None
    columns: list[list[int]]

    @property
    def lines(self) -> int:
        return len(self.line_numbers)

    @property
    def binary(self) -> bool:
        return self.digits is not None

    @property
    def width(self) -> int:
        """Digits of a line of bits, or its decimal numbers."""
        data = self.digits if self.digits is not None else self.numbers
        assert data is not None
        return int(data.shape[1])

    def words(self, bits: int, signed: bool) -> np.ndarray:
        """int64 [line, word] in the order in which they stand; a decimal file has its words whatever the bits."""
        if self.digits is None:
            assert self.numbers is not None
            return self.numbers
        digits = self.digits.reshape(self.lines, -1, bits).astype(np.int64)
        values: np.ndarray = digits @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
        return values - ((values >> (bits - 1)) << bits) if signed else values

    def place(self, line: int, word: int, bits: int) -> str:
        """``file:line:column`` of a word; both counted from 0 in the data."""
        columns = self.columns[line if len(self.columns) > 1 else 0]
        return f"{self.name}:{self.line_numbers[line]}:{columns[word * bits if self.binary else word]}"


def read_table(path: Path, name: str) -> Table:
    """The table in a file. TableError says what is wrong, and where; OSError where it cannot be read.

    Line ends may be any, the last may be missing, blank lines may follow; lines that start with ``#`` or ``//`` are
    comments wherever they stand, and any text that is no data may stand above the data.
    """
    # latin-1 decodes any byte, so that a binary file is reported by position like every other wrong character.
    text = read_bounded(path).removeprefix(codecs.BOM_UTF8).decode("latin-1").replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    lines = [_BEHIND.sub("", line).rstrip(" \r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    bits = [line for line in lines if _is_bits(line)]
    decimals = [line for line in lines if _NUMBERS.fullmatch(line.strip(_BLANK))]
    if len(bits) >= max(1, len(decimals) - len(bits)):  # a line of bits is one of numbers too
        return _bits_table(lines, name, _usual(bits))
    if decimals:
        return _decimal_table(lines, name, _usual([" ".join(_TOKEN.findall(line)) for line in decimals], by_words=True))
    raise TableError(name, 1, 1, "no line of bits or of numbers")


def _is_bits(line: str) -> bool:
    """Digits 0 and 1, in one piece or in words of two or more of the same length."""
    words = line.replace("_", " ").split()
    lengths = {len(word) for word in words}
    return bool(words) and set("".join(words)) <= {"0", "1"} and len(lengths) == 1 and min(lengths) > 1


def _usual(lines: list[str], *, by_words: bool = False) -> str:
    """One of the lines that have the length that most have; of those that are as frequent, the first."""
    sizes = collections.Counter(len(line.split()) if by_words else len(line) for line in lines)
    size = sizes.most_common(1)[0][0]
    return next(line for line in lines if (len(line.split()) if by_words else len(line)) == size)


def _bits_table(lines: list[str], name: str, usual: str) -> Table:
    gaps = "".join("0" if character in "01" else character for character in usual)
    places = [index for index, character in enumerate(gaps) if character == "0"]

    def is_data(line: str) -> bool:
        """Bits, or bits gone wrong: a wrong character in the first line of data makes it no header."""
        known = sum(character in "01" for character in line)
        return known >= len(places) / 2 and known >= len(line.strip(_BLANK)) / 2

    header, data = _split(lines, name, is_data)
    for number, line in data:
        for index, (found, wanted) in enumerate(zip(line, gaps, strict=False)):
            if (found if found not in "01" else "0") != wanted:
                problem = (
                    f"{found!r} is neither 0 nor 1" if wanted == "0" else f"{found!r} where a gap is in other lines"
                )
                raise TableError(name, number, index + 1, problem)
        if len(line) != len(gaps):
            problem = f"{len(line)} characters, where other lines have {len(gaps)}"
            raise TableError(name, number, min(len(line), len(gaps)) + 1, problem)
    digits = np.frombuffer("".join(line for _, line in data).encode("latin-1"), np.uint8).reshape(len(data), len(gaps))
    columns = [[place + 1 for place in places]]
    return Table(name, [number for number, _ in data], header, digits[:, places] - ord("0"), None, columns)


def _decimal_table(lines: list[str], name: str, usual: str) -> Table:
    width = len(usual.split())

    def is_data(line: str) -> bool:
        words = _TOKEN.findall(line)
        numbers = sum(re.fullmatch(_VALUE, word) is not None for word in words)
        return numbers == len(words) > 0 or (len(words) == width and 2 * numbers >= width)

    header, data = _split(lines, name, is_data)
    columns, numbers = [], []
    for number, line in data:
        words = list(_TOKEN.finditer(line))
        for word in words:
            if not re.fullmatch(_VALUE, word[0]) or len(word[0]) > 30 or not float(word[0]).is_integer():
                raise TableError(name, number, word.start() + 1, f"{word[0][:30]!r} is no whole number")
        if len(words) != width:
            at = words[width].start() if len(words) > width else len(line)
            raise TableError(name, number, at + 1, f"{len(words)} numbers, where other lines have {width}")
        if any(abs(float(word[0])) >= 1 << 53 for word in words):
            raise TableError(name, number, 1, "a number larger than any sum")
        columns.append([word.start() + 1 for word in words])
        numbers.append([int(float(word[0])) for word in words])
    return Table(name, [number for number, _ in data], header, None, np.array(numbers, np.int64), columns)


def _split(lines: list[str], name: str, is_data) -> tuple[int, list[tuple[int, str]]]:  # type: ignore[no-untyped-def]
    """How many header lines there are, and the lines of data with their numbers, without comments between them."""
    first = next((index for index, line in enumerate(lines) if is_data(line)), None)
    if first is None:
        raise TableError(name, 1, 1, "no line of bits or of numbers")
    data = []
    for number, line in enumerate(lines[first:], first + 1):
        if line.startswith(_COMMENTS):
            continue
        if not line:
            raise TableError(name, number, 1, "a blank line between lines of data")
        data.append((number, line))
    return first, data
