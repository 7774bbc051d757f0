"""One way to read three families of files, activations, weights and outputs, as a layer, and how well it fits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.convolution import convolve
from golden_model.raw.hints import Hints
from golden_model.raw.names import BIAS, Family
from golden_model.raw.table import Table
from golden_model.tiling import ConvShape, nij_index, pad

WIDTHS = (4, 2, 8, 1, 3, 5, 6, 7)  # bits of an operand that are tried, the likeliest first
PSUM_BITS = range(6, 65)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """One way to read the files of a layer. Bits are 0 for decimal files.

    rows: words of an activation line; cols: columns of an oc_tile. spare: lines of each weight file that are not read.
    weight [OC, IC, KH, KW] and activation [IC, H, W] int64, the map as it is written; their cells say where each
    stands: number of the file, line, word, as one number. order: of the steps of an output-stationary stream, in words.
    """

    flow: Dataflow
    act: Family
    wgt: Family
    out: Family
    act_bits: int
    wgt_bits: int
    psum_bits: int
    rows: int
    cols: int
    signed: bool
    rows_reversed: bool
    columns_reversed: bool
    pairing: str
    spare: int
    padding: int
    stride: int
    weight: np.ndarray
    activation: np.ndarray
    weight_cells: np.ndarray
    activation_cells: np.ndarray
    order: str = ""

    @property
    def array_rows(self) -> int:
        """Rows of the array: two channels of 2 bits share one where the weights' lines hold half of the channels."""
        two = self.act_bits and self.wgt_bits >= 2 * self.act_bits
        return self.rows // 2 if two and self.rows == 2 * self.cols else self.rows

    @property
    def shape(self) -> ConvShape:
        return ConvShape.of(self.weight, self.activation, self.stride, self.padding)

    @functools.cached_property
    def sums(self) -> np.ndarray:
        """int64 [OC, n]: what the operands give."""
        return convolve(self.weight, self.activation, self.stride, self.padding).reshape(len(self.weight), -1)

    @property
    def bordered(self) -> bool:
        """Whether the map is written with a border of zeros, as wide as half of the kernel."""
        width = self.border
        if self.padding or not width or self.flow is Dataflow.output_stationary:
            return False
        inner = self.activation[:, width:-width, width:-width]
        return inner.size > 0 and np.count_nonzero(inner) == np.count_nonzero(self.activation)

    @property
    def border(self) -> int:
        kh, kw = self.weight.shape[2:]
        return kh // 2 if kh == kw and kh % 2 else 0

    @functools.cached_property
    def windows(self) -> np.ndarray:
        """int64 [IC, kij, n]: the activation that an output reads for a tap."""
        shape = self.shape
        padded = pad(self.activation, shape.padding).reshape(shape.ic, -1)
        taken: np.ndarray = padded[:, nij_index(shape)]
        return taken

    @functools.cached_property
    def wgt_cells_of_file(self) -> np.ndarray:
        """int [OC, IC, KH, KW]: in which of the weight files each weight stands, counted from 0."""
        words = self.wgt.first.width // (self.wgt_bits or 1)
        return self.weight_cells // (words * self.wgt.first.lines)

    def same_operands(self, other: Reading) -> bool:
        """Whether all outputs are sums of the same products: a 1x3 kernel on a 1x12 map is a 3x1 one on a 12x1 map."""
        mine, theirs = (reading.weight.reshape(*reading.weight.shape[:2], -1) for reading in (self, other))
        return self.flow is other.flow and np.array_equal(mine, theirs) and np.array_equal(self.windows, other.windows)

    def place(self, cell: int, family: Family, bits: int) -> str:
        """``file:line:column`` of a cell of ``weight_cells`` or ``activation_cells``."""
        words = family.first.width // bits if bits else family.first.width
        line, word = divmod(int(cell), words)
        number, line = divmod(line, family.first.lines)
        return list(family.tables.values())[number].place(line, word, bits)


def widths(table: Table, settled: int | None) -> tuple[int, ...]:
    """Bits of an operand that are tried; (0,) of a decimal file."""
    if not table.binary:
        return (0,)
    return WIDTHS if settled is None else (settled,)


def given_outputs(
    family: Family, channels: int, least: int = PSUM_BITS[0], signed: bool = True
) -> tuple[np.ndarray, int] | None:
    """int64 [channels, line], lane 0 first, of a family of outputs, and bits of a word; None where sizes differ, or a
    word has fewer bits than ``least``."""
    files, width = len(family.tables), family.first.width
    if channels % files or len(family.sizes()) > 1:
        return None
    words = channels // files
    bits = width // words if family.first.binary else 0
    if (not least <= bits <= PSUM_BITS[-1] or width % words) if family.first.binary else width != words:
        return None
    values = [table.words(bits, signed)[:, ::-1].T for table in family.tables.values()]
    return np.concatenate(values), bits


def residual_words(family: Family, shape: tuple[int, ...]) -> list[np.ndarray]:
    """int64 [channel, line] of ``shape``: what a family adds to each sum, or, of a bias, to all of a channel; none
    where it has another size, two where it may be two's complement or unsigned.

    A bias has a line for each channel, or one line: of bits as those of outputs, of decimal numbers from channel 0 on.
    """
    channels, table = shape[0], family.first
    if family.role != BIAS:
        ways = (given_outputs(family, channels, 2, signed) for signed in (True, False))
        found = [way[0] for way in ways if way is not None and way[0].shape == shape]
        return found[:1] if len(found) == 2 and np.array_equal(found[0], found[1]) else found
    bits = table.width if table.binary else 0
    if len(family.tables) == 1 and table.lines == channels and (bits in PSUM_BITS or table.width == 1):
        return [np.broadcast_to(table.words(bits, True), shape)]
    one = given_outputs(family, channels)
    if one is None or one[0].shape != (channels, 1):
        return []
    plain = [table.words(0, True).T for table in family.tables.values()] if not table.binary else [one[0]]
    return [np.broadcast_to(np.concatenate(plain), shape)]


def output_place(family: Family, channels: int, bits: int, channel: int, line: int) -> str:
    """``file:line:column`` of an output."""
    words = channels // len(family.tables)
    number, lane = divmod(channel, words)
    return list(family.tables.values())[number].place(line, words - 1 - lane, bits)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A reading that was looked at: sums and outputs [channel, n] of some positions, and what makes all of it.

    residuals: what outputs may have in them beside the sums, as they: one of these.
    """

    sums: np.ndarray
    given: np.ndarray
    make: functools.partial[Reading]
    residuals: tuple[np.ndarray, ...] = ()

    def _made(self) -> Iterator[np.ndarray]:
        """What the outputs may be."""
        for sums in (self.sums, *(self.sums + residual for residual in self.residuals)):
            yield sums
            yield np.maximum(sums, 0)

    @property
    def fits(self) -> bool:
        """Whether these outputs agree, as sums or as ReLU of them."""
        return any(np.array_equal(made, self.given) for made in self._made())

    @property
    def closeness(self) -> float:
        return max(closeness(made, self.given) for made in self._made())


def closeness(made: np.ndarray, given: np.ndarray) -> float:
    """Share of outputs that agree, of those that are not 0 in both."""
    telling = (made != 0) | (given != 0)
    return int(np.count_nonzero((made == given) & telling)) / max(1, int(np.count_nonzero(telling)))


def signs(act: Family, bits: int, hints: Hints) -> list[bool]:
    """Whether activations may be signed: both, where their bits tell the two apart."""
    if not bits:
        negative = any(int(table.words(0, True).min()) < 0 for table in act.tables.values())
        return [negative]
    differs = any(table.words(bits, True).min() < 0 for table in act.tables.values())
    return [sign for sign in (False, True)[: 1 + differs] if hints.allows(signed=sign)] or [bool(hints.signed)]


def hints_of_reading(reading: Reading) -> Hints:
    """Hints that leave this reading alone."""
    r, s = reading, reading.shape
    stationary = r.flow is Dataflow.weight_stationary
    return Hints(
        act_bits=r.act_bits or None, wgt_bits=r.wgt_bits or None, signed=r.signed, rows_reversed=r.rows_reversed,
        columns_reversed=r.columns_reversed, padding=s.padding if stationary else None,
        stride=s.stride if stationary else None, kernel=(s.kh, s.kw) if stationary else None,
    )  # fmt: skip
