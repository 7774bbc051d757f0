"""One text file of numbers: header lines of any text, then lines of bits, of hexadecimal digits or of decimal numbers,
all of one width."""

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
_BEHIND = re.compile(r"(?<=[\da-fA-F,;])[ \t]*//.*")  # a comment behind data
_TOKEN = re.compile(r"[^ \t,;]+")
_BASE = re.compile(r"(?<![\w'])(?:\d*'[sS]?[bBhH](?=\w)|0[xX](?=\w)|0[bB](?=[01_]+\b))")  # of a literal: 8'b, 0x
_ADDRESS = re.compile(r"@[0-9a-fA-F]+")  # of $readmemb and $readmemh: where the next word goes
_HEX = re.compile(r"[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*")


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

    def same_data(self, other: Table) -> bool:
        """Whether the same digits or numbers stand in both."""
        if self.digits is not None and other.digits is not None:
            return np.array_equal(self.digits, other.digits)
        if self.numbers is None or other.numbers is None:
            return False
        return np.array_equal(self.numbers, other.numbers)

    def place(self, line: int, word: int, bits: int) -> str:
        """``file:line:column`` of a word; both counted from 0 in the data."""
        columns = self.columns[line if len(self.columns) > 1 else 0]
        return f"{self.name}:{self.line_numbers[line]}:{columns[word * bits if self.binary else word]}"


def read_table(path: Path, name: str) -> Table:
    """The table in a file. TableError says what is wrong, and where; OSError where it cannot be read.

    Line ends may be any, the last may be missing, blank lines may follow, and stand between blocks of as many lines;
    lines that start with ``#`` or ``//`` are comments wherever they stand, and any text that is no data may stand above
    the data. Hexadecimal is what has ``0x`` or ``16'h`` before it, a ``.hex`` file, and one with digits from a to f in
    several lines.
    """
    lines = [_BEHIND.sub("", line).rstrip(" \r") for line in _text(read_bounded(path)).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    bases = [base[0][-1].lower() for line in lines if (base := _BASE.match(line.strip(_BLANK)))]
    based = 2 * len(bases) > len(lines)
    if based:
        lines = [_BASE.sub(lambda base: " " * len(base[0]), line) for line in lines]  # columns stay
    if usual := _usual_hex(lines, path.suffix.lower() == ".hex" or (based and bases[0] in "hx")):
        return _hex_table(lines, name, usual)
    bits = [line for line in lines if _is_bits(line)]
    decimals = [line for line in lines if _NUMBERS.fullmatch(line.strip(_BLANK))]
    if len(bits) >= max(1, len(decimals) - len(bits)):  # a line of bits is one of numbers too
        return _bits_table(lines, name, _usual(bits))
    if decimals:
        return _decimal_table(lines, name, _usual([" ".join(_TOKEN.findall(line)) for line in decimals], by_words=True))
    raise TableError(name, 1, 1, "no line of bits or of numbers")


def _text(data: bytes) -> str:
    """The text of a file, its lines ended by a line feed."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # of some editors
        data = data.decode("utf-16", "replace").encode("latin-1", "replace")
    # latin-1 decodes any byte, so that a binary file is reported by position like every other wrong character.
    text = data.removeprefix(codecs.BOM_UTF8).decode("latin-1").replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _is_hex(line: str) -> bool:
    words = re.findall(r"[^\s,;]+", line)
    return bool(words) and all(_HEX.fullmatch(word) for word in words)


def _usual_hex(lines: list[str], said: bool) -> str:
    """A line as most of those of hexadecimal digits are, where the file is of such; else "".

    said: something says that it is. Else letters in several lines do: one may be a header, or a digit gone wrong.
    """
    hexadecimal = [line for line in lines if _is_hex(line)]
    for shape, number in collections.Counter(map(_shape, hexadecimal)).most_common(1):
        alike = [line for line in hexadecimal if _shape(line) == shape]
        letters = sum(
            re.search("[a-fA-F]", line) is not None and not _NUMBERS.fullmatch(line.strip(_BLANK)) for line in alike
        )
        if 2 * number >= len(lines) and (said or letters >= max(2, number / 8)):
            return alike[0]
    return ""


def _shape(line: str) -> str:
    """A line of hexadecimal digits, each one a 0."""
    return re.sub("[0-9a-fA-F]", "0", line)


def _is_bits(line: str) -> bool:
    """Digits 0 and 1, in one piece or in words of two or more of the same length."""
    words = re.sub("[_,;]", " ", line).split()
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


def _hex_table(lines: list[str], name: str, usual: str) -> Table:
    """As a file of bits, four for each digit."""
    shape = _shape(usual)
    places = [index for index, character in enumerate(shape) if character == "0"]

    def is_data(line: str) -> bool:
        return _is_hex(line) and 2 * sum(character in "0" for character in _shape(line)) >= len(places)

    header, data = _split(lines, name, is_data)
    for number, line in data:
        if (own := _shape(line)) != shape:
            at = next(
                (i for i, (a, b) in enumerate(zip(own, shape, strict=False)) if a != b), min(len(own), len(shape))
            )
            raise TableError(name, number, at + 1, f"{len(places)} hexadecimal digits stand in other lines")
    values = np.array([[int(line[place], 16) for place in places] for _, line in data], np.uint8)
    digits = np.unpackbits(values[:, :, None], axis=2)[:, :, 4:].reshape(len(data), -1)
    columns = [[place + 1 for place in places for _ in range(4)]]
    return Table(name, [number for number, _ in data], header, digits, None, columns)


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
    blank: list[tuple[int, int]] = []  # lines of data above it, and its number
    for number, line in enumerate(lines[first:], first + 1):
        if line.startswith(_COMMENTS) or _ADDRESS.fullmatch(line.strip(_BLANK)):
            continue
        if line:
            data.append((number, line))
        else:
            blank.append((len(data), number))
    ends = sorted({above for above, _ in blank} | {len(data)})
    if blank and (ends[0] == 1 or len({end - begin for begin, end in zip([0, *ends], ends, strict=False)}) > 1):
        raise TableError(name, blank[0][1], 1, "a blank line between lines of data")
    return first, data
