"""The course's text vectors: one line for each time step, the highest lane first, each word msb first.

A lane is a row or a column of the array. Words are two's complement of a fixed width, with nothing between them. In
most formats three lines that start with ``#`` come first. The decimal twin of a file has the same lines with numbers to
look at.

Example, lanes 0..2 = 1, -2, 3 in 4 bits: ``001111100001``; its twin: ``  3  -2   1`` and a blank.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from golden_model.bounded import read_bounded

HEADER_LINES = 3
OPERAND_WIDTH = 3  # of a number in a decimal twin: activations and weights
PSUM_WIDTH = 6  # psums and outputs


class VectorFileError(ValueError):
    """A vector file that cannot be read; the message starts with ``path:line:column:``, both counted from 1."""

    def __init__(self, path: Path, line: int, column: int, problem: str) -> None:
        super().__init__(f"{path}:{line}:{column}: {problem}")


@dataclasses.dataclass(frozen=True)
class VectorFile:
    """One file of a set: name, values [time, lane], their width, header, and the width of numbers in a decimal twin.

    ``axes``: what a line and a word of it are in the layer, for messages; ``signed``: whether words are two's
    complement, for these too.
    """

    name: str
    matrix: np.ndarray
    bits: int
    header: tuple[str, ...]
    decimal_width: int | None = None
    axes: tuple[str, str] = ("line", "word")
    signed: bool = True

    def word_at(self, line: int, column: int, found: str) -> str | None:
        """What stands at a place of the file, both counted from 1, and what should: ``o_nij 3, col 5: -9, not 7``.

        found: the text of that line. None outside of the data, and where ``found`` is no line of words.
        """
        time, lanes = line - 1 - len(self.header), self.matrix.shape[1]
        place = (column - 1) // self.bits
        digits = found[place * self.bits : (place + 1) * self.bits]
        if not (0 <= time < len(self.matrix) and place < lanes and len(digits) == self.bits and set(digits) <= {*"01"}):
            return None
        lane = lanes - 1 - place
        value = int(digits, 2)
        if self.signed and digits[0] == "1":
            value -= 1 << self.bits
        return f"{self.axes[0]} {time}, {self.axes[1]} {lane}: {value}, not {self.matrix[time, lane]}"

    @property
    def names(self) -> list[str]:
        """The file and its twin, relative to the set's directory."""
        return [self.name] if self.decimal_width is None else [self.name, f"viz/viz_{self.name}"]


def vector_header(step: str, lane: str, lanes: int, *, dots: int = 5, lane_above: str | None = None) -> tuple[str, ...]:
    """The three header lines: ``#time0row7[msb-lsb],time0row6[msb-lst],...,time0row0[msb-lst]#``, step 1's, and dots.

    ``step`` is ``time`` or ``col``, ``lane`` ``row`` or ``col``. The seeds differ in the number of ``dots`` of the
    third line, and seed 004 calls the lanes above 0 of its outputs ``co``: ``lane_above``.
    """

    def line(number: int) -> str:
        names = [f"{lane_above or lane}{index}" for index in range(lanes - 1, 0, -1)] + [f"{lane}0"]
        words = [f"{step}{number}{name}[{'msb-lst' if i else 'msb-lsb'}]" for i, name in enumerate(names)]
        if lanes > 3:
            words[2:-1] = ["..."]
        return f"#{','.join(words)}#"

    return line(0), line(1), f"#{'.' * dots}#"


def vector_text(name: Path | str, matrix: np.ndarray, bits: int, header: tuple[str, ...]) -> bytes:
    """The content of a vector file: ``header``, then integers [time, lane] as ``bits``-wide words.

    Raises ValueError, naming the file, for a value that ``bits`` hold neither unsigned nor in two's complement:
    -2^(bits-1)..2^bits-1.
    """
    outside = (matrix < -(1 << (bits - 1))) | (matrix >= 1 << bits)
    if outside.any():
        time, lane = np.argwhere(outside)[0]
        raise ValueError(f"{name}: time {time}, lane {lane} is {matrix[time, lane]}, which {bits} bits do not hold")
    words = matrix[:, ::-1].astype(np.int64)
    digits = (words[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    text = np.full((len(matrix), matrix.shape[1] * bits + 1), ord("\n"), np.uint8)
    text[:, :-1] = digits.reshape(len(matrix), -1) + ord("0")
    return "".join(f"{line}\n" for line in header).encode() + text.tobytes()


def decimal_text(matrix: np.ndarray, width: int, header: tuple[str, ...]) -> bytes:
    """The content of the decimal twin of [time, lane]: each number right-aligned in ``width``, and a blank.

    The seeds take width 3 for operands and 6 for psums; a longer number takes what it needs.
    """
    lines = ["".join(f"{int(value): {width}d} " for value in step[::-1]) for step in matrix]
    return "".join(f"{line}\n" for line in (*header, *lines)).encode("ascii")


def rendered(file: VectorFile) -> dict[str, bytes]:
    """The content of a file of a set, and of its decimal twin if it has one, by name."""
    name, *twins = file.names
    content = {name: vector_text(name, file.matrix, file.bits, file.header)}
    if file.decimal_width is None:
        return content
    for twin in twins:
        content[twin] = decimal_text(file.matrix, file.decimal_width, file.header)
    return content


def read_vectors(
    path: Path, lanes: int, bits: int, signed: bool, count: int | None = None, header_lines: int = HEADER_LINES
) -> np.ndarray:
    """Read a vector file into int64 [time, lane], lane 0 first.

    Windows line ends are taken too, blank last lines, and a last line without an end.

    Raises VectorFileError for a missing header, no data, a character other than 0 and 1, a line that is too short or
    too long, or, given ``count``, another number of time steps; OSError when the file cannot be opened.
    """
    # latin-1 decodes any byte, so that a binary file is reported by position like every other wrong character.
    lines = read_bounded(Path(path)).decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines[:header_lines], 1):
        if not line.startswith("#"):
            raise VectorFileError(path, number, 1, f"header line {number} of {header_lines} must start with '#'")
    if len(lines) < header_lines:
        problem = f"the file ends before header line {len(lines) + 1} of {header_lines}"
        raise VectorFileError(path, len(lines) + 1, 1, problem)
    data = lines[header_lines:]
    if not data:
        raise VectorFileError(path, header_lines + 1, 1, "no data after the header")
    for number, line in enumerate(data, header_lines + 1):
        _check_line(path, number, line, lanes, bits)
    if count is not None and len(data) != count:
        place = header_lines + 1 + min(count, len(data))
        raise VectorFileError(path, place, 1, f"{len(data)} time steps where {count} are expected")
    digits = np.frombuffer("".join(data).encode(), np.uint8).reshape(len(data), lanes, bits) - ord("0")
    values = digits.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    if signed:
        values -= (values >> (bits - 1)) << bits
    return values[:, ::-1]


def _check_line(path: Path, number: int, line: str, lanes: int, bits: int) -> None:
    width = lanes * bits
    wrong = len(line) - len(line.lstrip("01"))
    if wrong < min(len(line), width):
        raise VectorFileError(path, number, wrong + 1, f"{line[wrong]!r} is neither 0 nor 1")
    words = f"{width} digits ({lanes} words of {bits} bits)"
    if len(line) < width:
        raise VectorFileError(path, number, len(line) + 1, f"the line ends after {len(line)} of {words}")
    if len(line) > width:
        raise VectorFileError(path, number, width + 1, f"the line goes on to {len(line)} characters after {words}")
