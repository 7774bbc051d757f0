"""One reading against every file of a folder that holds sums, psums or a second copy of something."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.raw.names import Family
from golden_model.raw.readings import Reading, closeness, given_outputs, output_place, residual_words
from golden_model.tiling import nij_index, pad

HALF = 0.5  # closeness below which outputs are not of these operands


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Files of one tap, or of one ic_tile, or of neither: what they hold, and what should be there.

    kij, ic_tile: None where they are of all. wanted, given: int64 [channel, line].
    """

    family: Family
    kij: int | None
    ic_tile: int | None
    wanted: np.ndarray
    given: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """A family of outputs or psums, and what comes nearest to it of all that the operands give.

    kind: in words. bits: of a word. per_line: what a line is. unread: lines at the end that nothing says anything of.
    """

    family: Family
    kind: str
    parts: list[Part]
    bits: int
    per_line: str
    unread: int = 0

    @property
    def total(self) -> int:
        return sum(part.given.size for part in self.parts)

    @property
    def wrong(self) -> int:
        return sum(int(np.count_nonzero(part.wanted != part.given)) for part in self.parts)

    @property
    def closeness(self) -> float:
        return max(closeness(part.wanted, part.given) for part in self.parts)

    @property
    def telling(self) -> int:
        """Values that are not 0."""
        return sum(int(np.count_nonzero(part.given)) for part in self.parts)

    @property
    def rank(self) -> tuple[float, float]:
        """How well it agrees, to be compared: values that are not 0 say more than zeros, which ReLU makes of any."""
        right = sum(int(np.count_nonzero((part.wanted == part.given) & (part.given != 0))) for part in self.parts)
        return right / self.total, -self.wrong / self.total

    @property
    def is_sums(self) -> bool:
        """Whether they are sums of the layer, or ReLU of them, and nothing else."""
        return self.kind in (SUMS, RELU)

    def share(self, reading: Reading, explained: bool = False) -> str:
        """How much differs, for a message, and what that looks like. explained: something else says what is wrong."""
        text = f"{self.wrong:,} of {self.total:,} differ"
        if self.wrong > 1 and len(self.parts) == 1:
            lanes, lines = np.nonzero(self.parts[0].wanted != self.parts[0].given)
            if len(set(lanes)) == 1:
                text += f", all in {channel_words(reading, lanes[0])}"
            elif len(set(lines)) == 1:
                text += f", all of {self.per_line} {lines[0]}"
        gaps = [(part.wanted - part.given)[part.wanted != part.given] for part in self.parts]
        if 0 < self.bits < 63 and not any((gap % (1 << self.bits)).any() for gap in gaps):
            return f"{text} by multiples of 2^{self.bits}: they wrapped, {self.bits} bits are too few"
        other = self.closeness < HALF and not explained
        return text + (" - another run's or another layer's" if other else "")

    def first(self, reading: Reading) -> str:
        """The first wrong value: where it stands, what it is in the layer, what stands there and what should."""
        for part in self.parts:
            for line, channel in np.argwhere((part.wanted != part.given).T)[:1]:
                place = output_place(part.family, len(part.given), self.bits, channel, line)
                words = [] if part.ic_tile is None else [f"ic_tile {part.ic_tile}"]
                words += [] if part.kij is None else [f"kij {part.kij}"]
                words += [f"{self.per_line} {line}", channel_words(reading, channel)]
                return (
                    f"{place}: {', '.join(words)}: {part.given[channel, line]} stands there, "
                    f"the operands give {part.wanted[channel, line]}"
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
        if best is None or one.rank > best.rank:
            best = one
    return best


def _kinds(reading: Reading, family: Family, residual: np.ndarray | None) -> Iterator[Compared]:
    ic_axes = [axis for axis in ("ic", "channel", "tile") if axis in family.axes]
    for ic_axis in (None, *ic_axes):
        groups = _groups(family, ic_axis, reading)
        for channels in dict.fromkeys((len(reading.weight), reading.cols)):
            found = [given_outputs(one, channels) for one, _, _ in groups]
            part_of = channels < len(reading.weight) and any(len(one.tables) > 1 for one, _, _ in groups)
            if part_of or any(one is None for one in found):
                continue
            given, bits = [one[0] for one in found if one], found[0][1] if found[0] else 0
            for kind, per_line, made in _targets(reading, groups, given[0].shape[1], residual):
                parts = [
                    Part(one, kij, tile, wanted[:channels], have[:, : wanted.shape[1]])
                    for (one, kij, tile), wanted, have in zip(groups, made, given, strict=True)
                ]
                yield Compared(family, kind, parts, bits, per_line, given[0].shape[1] - made[0].shape[1])


Group = tuple[Family, int | None, int | None]


def _groups(family: Family, ic_axis: str | None, reading: Reading) -> list[Group]:
    """The family, or one for each tap and ic_tile where its names count them."""
    counted = [axis for axis in ("kij", ic_axis) if axis in family.axes]
    if not counted:
        return [(family, family.fixed.get("kij"), None)]
    at = [family.axes.index(axis) for axis in counted if axis]
    # Taps are numbered as those of the weights are
    first = min((key[reading.wgt.axes.index("kij")] for key in reading.wgt.tables), default=0) if (
        "kij" in reading.wgt.axes
    ) else 0  # fmt: skip
    groups: list[Group] = []
    for key in sorted({tuple(k[i] for i in at) for k in family.tables}):
        tables = {
            tuple(number for i, number in enumerate(k) if i not in at): table
            for k, table in family.tables.items() if tuple(k[i] for i in at) == key
        }  # fmt: skip
        axes = tuple(axis for axis in family.axes if axis not in counted)
        number = dict(zip(counted, key, strict=True))
        kij = number["kij"] - first if "kij" in number else None
        groups.append((dataclasses.replace(family, tables=tables, axes=axes), kij, number.get(ic_axis or "")))
    return groups


SUMS, RELU = "sums", "ReLU of the sums"


def _targets(
    reading: Reading, groups: list[Group], lines: int, residual: np.ndarray | None
) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """What the operands give, in all ways that have so many lines: kind, what a line is, values for each group."""
    sums, os = reading.sums, reading.flow is Dataflow.output_stationary
    position = "row" if os else "o_nij"
    if len(groups) == 1 and groups[0][2] is None and (lines == sums.shape[1] or (os and lines > sums.shape[1])):
        yield SUMS, position, [sums]
        yield RELU, position, [np.maximum(sums, 0)]
        if residual is not None and residual.shape == sums.shape:
            yield "sums with the residual", position, [sums + residual]
            yield "ReLU of the sums with the residual", position, [np.maximum(sums + residual, 0)]
    if os:
        return
    shape = reading.shape
    taps = [0 if kij is None else kij for _, kij, _ in groups]
    tiles = sorted({tile for _, _, tile in groups if tile is not None})
    if not 0 <= min(taps) <= max(taps) < shape.n_kij or len(tiles) > shape.ic // reading.rows:
        return
    weight = reading.weight.reshape(shape.oc, shape.ic, shape.n_kij)
    one_tap = [kij is not None for _, kij, _ in groups]

    def channels(tile: int | None) -> slice:
        if tile is None:
            return slice(None)
        return slice(tiles.index(tile) * reading.rows, (tiles.index(tile) + 1) * reading.rows)

    inside = [channels(tile) for _, _, tile in groups]
    for padding in dict.fromkeys((shape.padding, 0)):
        padded = pad(reading.activation, padding).reshape(shape.ic, -1)
        if padded.shape[1] == lines:
            made = [weight[:, ic, k] @ padded[ic] for k, ic in zip(taps, inside, strict=True)]
            yield "psums", "nij", made
            side = (shape.ih + 2 * padding, shape.iw + 2 * padding)
            down = np.arange(lines).reshape(side).T.ravel()
            yield "psums, counted down the columns of the map", "line", [one[:, down] for one in made]
            turned = [one.reshape(-1, reading.cols, lines)[:, ::-1].reshape(one.shape) for one in made]
            yield "psums, the cols the other way round", "nij", turned
            if not tiles and shape.ic > reading.rows:
                some = slice(reading.rows)
                yield "psums of ic_tile 0", "nij", [weight[:, some, k] @ padded[some] for k in taps]
        if padded.shape[1] * shape.n_kij == lines and not any(one_tap):
            whole = [
                np.concatenate([weight[:, ic, k] @ padded[ic] for k in range(shape.n_kij)], axis=1) for ic in inside
            ]
            yield "psums of all taps", "line", whole
    if lines == shape.n_o_nij:
        padded = pad(reading.activation, shape.padding).reshape(shape.ic, -1)
        index = nij_index(shape)

        def at_outputs(k: int, ic: slice) -> np.ndarray:
            made: np.ndarray = weight[:, ic, k] @ padded[ic][:, index[k]]
            return made

        if all(one_tap):
            yield "psums of the outputs", "o_nij", [at_outputs(k, ic) for k, ic in zip(taps, inside, strict=True)]
            running = [
                sum((at_outputs(k, ic) for k in range(last + 1)), np.zeros_like(sums))
                for last, ic in zip(taps, inside, strict=True)
            ]  # fmt: skip
            yield "running sums of the taps", "o_nij", running
        elif tiles:
            yield "sums of each ic_tile", "o_nij", [
                sum((at_outputs(k, ic) for k in range(shape.n_kij)), np.zeros_like(sums)) for ic in inside
            ]  # fmt: skip


def residual_of(reading: Reading, family: Family) -> np.ndarray | None:
    """int64 [OC, line] of residual files, or of a bias, as outputs have it; None where they are not this layer's."""
    found = residual_words(family, reading.sums.shape)
    if len(found) < 2:
        return found[0] if found else None
    given = given_outputs(reading.out, len(reading.weight))

    def fits(residual: np.ndarray) -> float:
        if given is None or given[0].shape != residual.shape:
            return 0.0
        with_it = reading.sums + residual
        return max(closeness(made, given[0]) for made in (with_it, np.maximum(with_it, 0)))

    return max(found, key=fits)


def same_as(reading: Reading, family: Family, used: Family, bits: int, signed: bool) -> str | None:
    """Where a second family of operands differs from the one that was taken; None where it is the same."""
    if len(used.tables) != len(family.tables):
        return f"{family.name}: {len(family.tables)} files, where {used.name} has {len(used.tables)}"
    differing, total, first = 0, 0, ""
    for (key, mine), theirs in zip(used.tables.items(), family.tables.values(), strict=True):
        wide = bits or (theirs.width // mine.width if theirs.width % mine.width == 0 else 0)
        fits = (not theirs.binary or (wide and theirs.width % wide == 0)) and mine.lines == theirs.lines
        one = mine.words(bits, signed)
        other = theirs.words(wide, signed) if fits else None
        if other is None or one.shape != other.shape:
            sizes = [f"{table.lines} lines of {table.width}" for table in (theirs, mine)]
            return f"{theirs.name}: {sizes[0]}, where {mine.name} has {sizes[1]}"
        wrong = np.argwhere(one != other)
        total, differing = total + one.size, differing + len(wrong)
        if len(wrong) and not first:
            line, word = wrong[0]
            first = (
                f"{theirs.place(line, word, wide)}: {operand_words(reading, family, key, line, word)}: "
                f"{other[line, word]}, where {mine.name} has {one[line, word]}"
            )
    return f"{first} ({differing} of {total} words differ)" if differing else None


def copies_of(family: Family, used: Family) -> str | None:
    """The files of which those of a second family are copies, as "weight3 (1).txt" of "weight3.txt"; None where one is
    not."""
    names = []
    for table in family.tables.values():
        same = next((one for one in used.tables.values() if one.same_data(table)), None)
        if same is None:
            return None
        names.append(same.name)
    return used.name if len(names) == len(used.tables) else ", ".join(names)


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
