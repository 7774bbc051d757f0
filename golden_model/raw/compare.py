"""One reading against every file of a folder that holds sums, psums or a second copy of something."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.raw.names import Family
from golden_model.raw.readings import Reading, closeness, given_outputs, output_place
from golden_model.tiling import nij_index, pad

HALF = 0.5  # closeness below which outputs are not of these operands


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """A family of outputs or psums, and what comes nearest to it of all that the operands give.

    kind: in words. wanted, given: int64 [channel, line] of each file of a tap, one after the other. families: those
    that hold one tap each, or the one. per_line: what a line is. wrong: bool, where the two differ.
    """

    family: Family
    kind: str
    parts: list[tuple[Family, np.ndarray, np.ndarray]]  # family of one tap, wanted, given
    bits: int
    per_line: str
    kijs: list[int | None]
    unread: int = 0

    @property
    def total(self) -> int:
        return sum(given.size for _, _, given in self.parts)

    @property
    def wrong(self) -> int:
        return sum(int(np.count_nonzero(wanted != given)) for _, wanted, given in self.parts)

    @property
    def share(self) -> str:
        """How much differs, for a message."""
        known = [closeness(wanted, given) for _, wanted, given in self.parts]
        stale = " - another run's or another layer's" if max(known) < HALF else ""
        return f"{self.wrong:,} of {self.total:,} differ{stale}"

    def first(self, reading: Reading) -> str:
        """The first wrong value: where it stands, what it is in the layer, what stands there and what should."""
        for (family, wanted, given), kij in zip(self.parts, self.kijs, strict=True):
            for line, channel in np.argwhere((wanted != given).T)[:1]:
                place = output_place(family, len(given), self.bits, channel, line)
                word = channel_words(reading, channel)
                tap = "" if kij is None else f"kij {kij}, "
                return (
                    f"{place}: {tap}{self.per_line} {line}, {word}: {given[channel, line]} stands there, "
                    f"the operands give {wanted[channel, line]}"
                )
        raise ValueError("nothing is wrong")


def channel_words(reading: Reading, channel: int) -> str:
    """``oc_tile 1, col 3``; a layer of one oc_tile has no word for it."""
    tile, col = divmod(int(channel), reading.cols)
    return f"oc_tile {tile}, col {col}" if len(reading.weight) > reading.cols else f"col {col}"


def compared(reading: Reading, family: Family, residual: np.ndarray | None) -> Compared | None:
    """The kind of sums that agrees best with a family; None where none has its size."""
    best: Compared | None = None
    for one in _kinds(reading, family, residual):
        if best is None or one.wrong * best.total < best.wrong * one.total:
            best = one
    return best


def _kinds(reading: Reading, family: Family, residual: np.ndarray | None) -> Iterator[Compared]:
    by_tap = _by_tap(family)
    for channels in dict.fromkeys((len(reading.weight), reading.cols)):
        found = [given_outputs(one, channels) for one in by_tap.values()]
        if any(one is None for one in found):
            continue
        given = [one[0] for one in found if one]
        bits = found[0][1] if found[0] else 0
        families, kijs = list(by_tap.values()), list(by_tap)
        for kind, per_line, made in _targets(reading, kijs, given[0].shape[1], residual):
            wanted = [values[:channels] for values in made]
            unread = given[0].shape[1] - wanted[0].shape[1]
            parts = [
                (one, want, have[:, : want.shape[1]]) for one, want, have in zip(families, wanted, given, strict=True)
            ]
            yield Compared(family, kind, parts, bits, per_line, kijs, unread)


def _by_tap(family: Family) -> dict[int | None, Family]:
    """The family, or one for each tap where its names count them."""
    if "kij" not in family.axes:
        return {family.fixed.get("kij"): family}
    at = family.axes.index("kij")
    taps: dict[int | None, Family] = {}
    for kij in sorted({key[at] for key in family.tables}):
        tables = {key[:at] + key[at + 1 :]: table for key, table in family.tables.items() if key[at] == kij}
        axes = family.axes[:at] + family.axes[at + 1 :]
        taps[kij] = dataclasses.replace(family, tables=tables, axes=axes)
    return taps


def _targets(
    reading: Reading, kijs: list[int | None], lines: int, residual: np.ndarray | None
) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """What the operands give, in all ways that have so many lines: kind, what a line is, values for each tap."""
    sums = reading.sums
    longer = reading.flow is Dataflow.output_stationary and lines > sums.shape[1]
    if len(kijs) == 1 and (lines == sums.shape[1] or longer):
        position = "row" if reading.flow is Dataflow.output_stationary else "o_nij"
        yield "sums", position, [sums]
        yield "ReLU of the sums", position, [np.maximum(sums, 0)]
        if residual is not None and residual.shape == sums.shape:
            yield "sums with the residual", position, [sums + residual]
            yield "ReLU of the sums with the residual", position, [np.maximum(sums + residual, 0)]
    if reading.flow is Dataflow.output_stationary:
        return
    shape = reading.shape
    taps = [kij or 0 for kij in kijs]
    if max(taps) >= shape.n_kij:
        return
    weight = reading.weight.reshape(shape.oc, shape.ic, shape.n_kij)
    for padding in dict.fromkeys((shape.padding, 0)):
        padded = pad(reading.activation, padding).reshape(shape.ic, -1)
        if padded.shape[1] == lines:
            for first, of in dict.fromkeys(((shape.ic, ""), (reading.rows, " of ic_tile 0"))):
                if first == shape.ic or shape.ic > first:
                    yield f"psums{of}", "nij", [weight[:, :first, k] @ padded[:first] for k in taps]
    if lines == shape.n_o_nij:
        padded = pad(reading.activation, shape.padding).reshape(shape.ic, -1)
        index = nij_index(shape)
        yield "psums of the outputs", "o_nij", [weight[:, :, k] @ padded[:, index[k]] for k in taps]


def residual_of(reading: Reading, family: Family) -> np.ndarray | None:
    """int64 [OC, line] of residual files; None where they are not this layer's."""
    found = given_outputs(family, len(reading.weight))
    return None if found is None or found[0].shape != reading.sums.shape else found[0]


def same_as(reading: Reading, family: Family, used: Family, bits: int, signed: bool) -> str | None:
    """Where a second family of operands differs from the one that was taken; None where it is the same."""
    differing, total, first = 0, 0, ""
    for (key, mine), theirs in zip(used.tables.items(), family.tables.values(), strict=False):
        one, other = mine.words(bits, signed), theirs.words(bits if theirs.binary else 0, signed)
        if one.shape != other.shape:
            sizes = [f"{table.lines} lines of {table.width}" for table in (theirs, mine)]
            return f"{theirs.name}: {sizes[0]}, where {mine.name} has {sizes[1]}"
        wrong = np.argwhere(one != other)
        total, differing = total + one.size, differing + len(wrong)
        if len(wrong) and not first:
            line, word = wrong[0]
            first = (
                f"{theirs.place(line, word, bits)}: {operand_words(reading, family, key, line, word)}: "
                f"{other[line, word]}, where {mine.name} has {one[line, word]}"
            )
    if len(used.tables) != len(family.tables):
        return f"{family.name}: {len(family.tables)} files, where {used.name} has {len(used.tables)}"
    return f"{first} ({differing} of {total} words differ)" if differing else None


def operand_words(reading: Reading, family: Family, key: tuple[int, ...], line: int, word: int) -> str:
    """A place in a file of operands, in words of the layer, as the chosen reading has it."""
    number = list(reading.wgt.tables).index(key) if key in reading.wgt.tables else 0
    named = reading.wgt if family.role == reading.wgt.role else reading.act
    words = named.first.width // ((reading.wgt_bits if named is reading.wgt else reading.act_bits) or 1)
    number = number if named is reading.wgt else (list(named.tables).index(key) if key in named.tables else 0)
    cell = (number * named.first.lines + line) * words + word
    cells = reading.weight_cells if named is reading.wgt else reading.activation_cells
    index = np.argwhere(cells == cell)
    if not len(index):
        return f"line {line}"
    return weight_words(reading, index[0]) if named is reading.wgt else activation_words(reading, index[0])


def weight_words(reading: Reading, index: np.ndarray) -> str:
    """``kij 3, col 5, row 2`` of a weight [oc, ic, kh, kw]."""
    oc, ic, ki, kj = (int(i) for i in index)
    if reading.flow is Dataflow.output_stationary:
        return f"step {ic}, col {oc}"
    kij = ki * reading.weight.shape[3] + kj
    tile, row = divmod(ic, reading.rows)
    tiles = f"ic_tile {tile}, " if reading.weight.shape[1] > reading.rows else ""
    return f"{tiles}kij {kij}, {channel_words(reading, oc)}, row {row}"


def activation_words(reading: Reading, index: np.ndarray) -> str:
    """``nij 12, row 3`` of an activation [ic, h, w], counted as the map is written."""
    ic, i, j = (int(x) for x in index)
    if reading.flow is Dataflow.output_stationary:
        return f"step {ic}, row {j}"
    position = i * reading.activation.shape[2] + j
    tile, row = divmod(ic, reading.rows)
    tiles = f"ic_tile {tile}, " if len(reading.activation) > reading.rows else ""
    return f"{tiles}nij {position}, row {row}"
