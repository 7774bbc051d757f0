"""Where nothing fits: the one word, line or file whose change would make everything agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.raw.compare import activation_words, channel_words, weight_words
from golden_model.raw.names import Family
from golden_model.raw.readings import Reading, output_place
from golden_model.raw.table import Table
from golden_model.tiling import nij_index

MOST = 3  # suspects that are told
LARGE = 1 << 22  # bits of files above which a missing line is not looked for
MOST_LINES = 4096  # places where a line is put in
MOST_VALUES = 1024  # decimal numbers that are tried in place of one


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """Outputs that do not follow from the operands. given: int64 [OC, n]; relu: whether they are ReLU of the sums."""

    reading: Reading
    given: np.ndarray
    relu: bool

    def made(self, sums: np.ndarray) -> np.ndarray:
        return np.maximum(sums, 0) if self.relu else sums

    @property
    def wrong(self) -> np.ndarray:
        return self.made(self.reading.sums) != self.given

    def fits(self, sums: np.ndarray) -> bool:
        return bool(np.array_equal(self.made(sums), self.given))


def suspects(case: Case) -> list[str]:
    """What alone explains all outputs: words of outputs, activations or weights, else a file of weights."""
    if by_relu := _relu_of_some(case):
        return by_relu
    if case.relu and (case.given < 0).any():  # no operands give that
        return _output_word(case)
    found = [*_output_word(case), *_activation_words(case), *_weight_words(case)]
    if not found:
        found = _file(case)
    if len(found) > MOST:
        found = [*found[:MOST], f"... or one of {len(found) - MOST} other words"]
    return found


def _relu_of_some(case: Case) -> list[str]:
    """Channels that went through ReLU where the others did not, or the other way round, and are right otherwise."""
    sums, given = case.reading.sums, case.given
    plain, cut = (sums == given).all(axis=1), (np.maximum(sums, 0) == given).all(axis=1)
    if not (plain | cut).all() or plain.all() or cut.all():
        return []
    few = ~cut if 2 * np.count_nonzero(~cut) <= len(cut) else ~plain
    channels = np.flatnonzero(few)
    names = ", ".join(channel_words(case.reading, channel) for channel in channels[:MOST])
    what = (
        "sums where the others are ReLU of them" if plain[channels[0]] else "ReLU of the sums where the others are sums"
    )
    return [f"{case.reading.out.name}: {names}{' and more' if len(channels) > MOST else ''}: {what}"]


def _output_word(case: Case) -> list[str]:
    where = np.argwhere(case.wrong)
    if len(where) != 1:
        return []
    [(channel, line)] = where
    r = case.reading
    place = output_place(r.out, len(case.given), r.psum_bits, channel, line)
    position = "o_nij" if r.flow is Dataflow.weight_stationary else "row"
    wanted = case.made(r.sums)[channel, line]
    return [f"{place}: {position} {line}, {channel_words(r, channel)}: {wanted} would agree with all other files"]


def _activation_words(case: Case) -> list[str]:
    """Words of activations whose change explains all wrong outputs."""
    r = case.reading
    shape = r.shape
    index = nij_index(shape)
    outputs = np.flatnonzero(case.wrong.any(axis=0))
    positions = set(range(shape.n_nij))
    for output in outputs:
        positions &= set(index[:, output].tolist())
        if not positions:
            return []
    low, high = (-(1 << (r.act_bits - 1)), 1 << (r.act_bits - 1)) if r.signed else (0, 1 << r.act_bits)
    tried = range(low, high) if r.act_bits else _in_place_of(r.activation)
    weight = r.weight.reshape(shape.oc, shape.ic, shape.n_kij)
    found = []
    for position in sorted(positions):
        i, j = divmod(position, shape.padded_w)
        i, j = i - shape.padding, j - shape.padding
        if not (0 <= i < shape.ih and 0 <= j < shape.iw):
            continue
        taps, reading = np.nonzero(index == position)
        for ic in range(shape.ic):
            effect = np.zeros_like(r.sums)
            effect[:, reading] = weight[:, ic, taps]
            now = int(r.activation[ic, i, j])
            for value in _plausible(case, effect, now, tried):
                place = r.place(r.activation_cells[ic, i, j], r.act, r.act_bits)
                words = activation_words(r, np.array([ic, i, j]))
                found.append(f"{place}: {words}: {now} stands there, {value} would make all agree")
    return found


def _in_place_of(values: np.ndarray) -> Sequence[int]:
    """What is tried in place of a decimal number: the numbers around the others', where those are not too many."""
    low, high = int(values.min()), int(values.max()) + 1
    return range(low, high) if high - low <= MOST_VALUES else np.unique(values).tolist()


def _plausible(case: Case, effect: np.ndarray, now: int, tried: Sequence[int]) -> list[int]:
    """Values in place of ``now`` with which the outputs fit; ``effect`` is what one more does to the sums."""
    wrong = case.wrong
    if not effect[wrong].all():
        return []
    if case.relu:
        values = [value for value in tried if value != now]
    else:  # one wrong sum decides
        channel, line = np.argwhere(wrong)[0]
        by, left = divmod(int((case.given - case.reading.sums)[channel, line]), int(effect[channel, line]))
        values = [] if left or not tried[0] <= now + by <= tried[-1] else [now + by]
    return [value for value in values if case.fits(case.reading.sums + (value - now) * effect)]


def _weight_words(case: Case) -> list[str]:
    r = case.reading
    channels = np.flatnonzero(case.wrong.any(axis=1))
    if len(channels) != 1:
        return []
    channel = int(channels[0])
    shape, reads = r.shape, r.windows
    wrong = case.wrong[channel]
    bits = r.wgt_bits
    tried = range(-(1 << (bits - 1)), 1 << (bits - 1)) if bits else _in_place_of(r.weight)
    found = []
    for ic, kij in np.argwhere((reads[:, :, wrong] != 0).all(axis=2)):
        ki, kj = divmod(int(kij), shape.kw)
        now = int(r.weight[channel, ic, ki, kj])
        for value in tried:
            sums = r.sums[channel] + (value - now) * reads[ic, kij]
            if value != now and np.array_equal(case.made(sums), case.given[channel]):
                place = r.place(r.weight_cells[channel, ic, ki, kj], r.wgt, bits)
                words = weight_words(r, np.array([channel, ic, ki, kj]))
                found.append(f"{place}: {words}: {now} stands there, {value} would make all agree")
    return found


def _file(case: Case) -> list[str]:
    """Weight files of one tap, where the copy of another's or the weights that the outputs ask for explain all."""
    r = case.reading
    shape = r.shape
    if "kij" not in r.wgt.axes:
        return []
    wrong, weight, reads = case.wrong.any(axis=1), r.weight.reshape(shape.oc, shape.ic, shape.n_kij), r.windows
    found, copies = [], []
    for number, table in enumerate(r.wgt.tables.values()):
        mine = r.wgt_cells_of_file.reshape(weight.shape) == number
        channels, inputs, taps = (mine.any(axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
        if taps.sum() != 1 or (wrong & ~channels).any():  # outputs of other channels are wrong
            continue
        kij = int(np.flatnonzero(taps)[0])
        twins = [other.name for other in r.wgt.tables.values() if other is not table and other.same_data(table)]
        copied = f"; it is a copy of {twins[0]}" if twins else ""
        without = r.sums - np.where(mine, weight, 0)[:, :, kij] @ reads[:, kij]
        if _solves(case, reads[inputs, kij], without):
            which = weight_words(r, np.argwhere(mine.reshape(r.weight.shape))[0]).rsplit(", ", 1)[0]
            which = which.rsplit(", ", 1)[0] if len(r.weight) <= r.cols else which.replace(", col 0", "")
            found.append(f"{table.name}: not this layer's weights of {which}: with others, all outputs agree{copied}")
        elif twins:
            copies.append(f"{table.name}: the same as {twins[0]}")
    return found or copies


def _solves(case: Case, reads: np.ndarray, without: np.ndarray) -> bool:
    """Whether other weights of one file explain the wrong outputs: reads [IC, n] it, the sums of all others are
    ``without``.

    Of ReLU, only what is not 0 says what the sum is; where that is too little for all wrong channels, nothing can be
    said.
    """
    bits, live = case.reading.wgt_bits, reads.any(axis=1)
    reads = reads[live]
    limit = 1 << (bits - 1) if bits else np.iinfo(np.int64).max
    told = 0
    for channel in np.flatnonzero(case.wrong.any(axis=1)):
        given, other = case.given[channel], without[channel]
        known = given > 0 if case.relu else np.ones(len(given), bool)
        some, wanted = reads[:, known], (given - other)[known]
        found, *_ = np.linalg.lstsq(some.T.astype(float), wanted.astype(float), rcond=None)
        if np.abs(found @ some - wanted).max(initial=0) > 1e-3:  # none at all, whole or not
            return False
        if known.sum() <= len(reads) or np.linalg.matrix_rank(some) < len(reads):
            continue
        solution = np.rint(found).astype(np.int64)
        sums = other + solution @ reads
        if not ((solution >= -limit) & (solution < limit)).all() or (case.made(sums) != given).any():
            return False
        told += 1
    return told > 0


def weights_of(reading: Reading, kij: int, ic_tile: int | None) -> str:
    """The weight files of a tap, by name: one, or the first of those of several tiles."""
    r = reading
    taps = sorted({key[r.wgt.axes.index("kij")] for key in r.wgt.tables}) if "kij" in r.wgt.axes else []
    if kij >= len(taps):
        return f"{r.wgt.name}, kij {kij}"
    axes = {"kij": taps[kij]}
    if ic_tile is not None and (axis := next((a for a in ("ic", "channel") if a in r.wgt.axes), None)):
        axes[axis] = sorted({key[r.wgt.axes.index(axis)] for key in r.wgt.tables})[0] + ic_tile
    names = [
        table.name for key, table in r.wgt.tables.items()
        if all(key[r.wgt.axes.index(axis)] == value for axis, value in axes.items())
    ]  # fmt: skip
    return names[0] if len(names) == 1 else f"{names[0] if names else r.wgt.name} and those of the other tiles"


def extended(table: Table, lines: int) -> Table:
    """A file with lines of zeros after its last, so that it has so many."""
    more = lines - table.lines

    def longer(data: np.ndarray | None) -> np.ndarray | None:
        return None if data is None else np.concatenate([data, np.zeros((more, data.shape[1]), data.dtype)])

    columns = table.columns if len(table.columns) == 1 else table.columns + [table.columns[0]] * more
    numbers = table.line_numbers + [table.line_numbers[-1]] * more
    return dataclasses.replace(
        table, line_numbers=numbers, digits=longer(table.digits), numbers=longer(table.numbers), columns=columns
    )


def with_line(table: Table, at: int) -> Table:
    """A file with a line of zeros put in, so that it is data line ``at``."""
    numbers = [*table.line_numbers[:at], table.line_numbers[min(at, table.lines - 1)], *table.line_numbers[at:]]
    digits = None if table.digits is None else np.insert(table.digits, at, 0, axis=0)
    values = None if table.numbers is None else np.insert(table.numbers, at, 0, axis=0)
    columns = table.columns if len(table.columns) == 1 else [*table.columns[:at], table.columns[0], *table.columns[at:]]
    return dataclasses.replace(table, line_numbers=numbers, digits=digits, numbers=values, columns=columns)


def without_line(table: Table, at: int) -> Table:
    """A file without data line ``at``."""
    digits = None if table.digits is None else np.delete(table.digits, at, axis=0)
    values = None if table.numbers is None else np.delete(table.numbers, at, axis=0)
    columns = table.columns if len(table.columns) == 1 else [*table.columns[:at], *table.columns[at + 1 :]]
    numbers = [*table.line_numbers[:at], *table.line_numbers[at + 1 :]]
    return dataclasses.replace(table, line_numbers=numbers, digits=digits, numbers=values, columns=columns)


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """A family with a line of zeros put into one of its files, so that it is data line ``at``, or with that taken out.

    key, table: the file, as it was.
    """

    family: Family
    key: tuple[int, ...]
    table: Table
    at: int
    inserted: bool


def changed_tables(family: Family) -> Iterator[Change]:
    """Families with one line put in or taken out of one file; of several files only of one whose size is its own."""
    sizes = [(table.lines, table.width) for table in family.tables.values()]
    usual = max(set(sizes), key=sizes.count)
    ways = [True, False]
    files = dict(family.tables)
    if len(files) > 1:
        files = {key: table for key, table in files.items() if (table.lines, table.width) != usual}
        if len(files) != 1:
            return
        [table] = files.values()
        if abs(usual[0] - table.lines) != 1 or table.width != usual[1]:
            return
        ways = [usual[0] > table.lines]
    for key, table in files.items():
        for inserted in ways:
            for at in range(min(MOST_LINES, table.lines + inserted)) if inserted or table.lines > 1 else ():
                new = with_line(table, at) if inserted else without_line(table, at)
                changed = dataclasses.replace(family, tables={**family.tables, key: new})
                yield Change(changed, key, table, at, inserted)
