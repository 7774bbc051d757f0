"""What a wrong core looks like: mistakes are modelled, and one that gives what was seen, to the last value, is told.

Every mistake is a way to compute psums and outputs from the operands that ran. Nothing here knows the core: what is
told follows from what was seen alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tb.foreign.record import Record, Rules, differs

MOST_HINTS = 3
NEARLY = 0.02  # contradictions, of the wrong values, that a mistake may have and still be told as the likely one


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a mistake would give, masked where it cannot be known; None for what it says nothing of."""

    psums: np.ndarray | None
    outputs: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Mistake:
    """symptom: what it looks like; place: where to look. predict gives, for each tile in turn, what would come."""

    symptom: str
    place: str
    predict: Callable[[Sequence[Record]], list[Prediction]]


def hints(records: Sequence[Record], rules: Rules, weight_stationary: bool) -> list[str]:
    """What the wrong tiles among ``records``, which follow one another, look like; best first, at least one."""
    if nothing_known := _unknown(records, entirely=True):
        return [nothing_known]
    mistakes = _ws_mistakes(records, rules) if weight_stationary else _os_mistakes(records, rules)
    told: list[tuple[int, int, str]] = []
    for mistake in mistakes:
        contradicted, explained, wrong = _held_against(records, mistake.predict(records))
        if explained and contradicted <= NEARLY * wrong:
            sure = (
                "" if contradicted == 0 and explained == wrong else f" (explains {explained} of {wrong} wrong values)"
            )
            told.append((contradicted, -explained, f"{mistake.symptom}{sure}; look at {mistake.place}"))
    told.sort(key=lambda one: one[:2])
    if told:
        best = told[0][:2]
        return list(dict.fromkeys(text for *score, text in told if tuple(score) == best))[:MOST_HINTS]
    return [_unknown(records) or _pattern(records, weight_stationary)]


def _held_against(records: Sequence[Record], predictions: Sequence[Prediction]) -> tuple[int, int, int]:
    """Values that a prediction contradicts, wrong values that it explains, and wrong values in all."""
    contradicted = explained = matched = wrong = 0
    for record, prediction in zip(records, predictions, strict=True):
        for seen, bad, predicted in (
            (record.psums, record.wrong_psums, prediction.psums),
            (record.outputs, record.wrong_outputs, prediction.outputs),
        ):
            if seen is None or bad is None:
                continue
            wrong += int(bad.sum())
            if predicted is None:
                contradicted += int(bad.sum())
                continue
            known, unseen = ~np.ma.getmaskarray(predicted), np.ma.getmaskarray(seen)
            if seen is record.psums and record.forgiven is not None:
                known, unseen = known & ~record.forgiven, unseen & ~record.forgiven
            same = known & ~unseen & (seen.data == np.ma.getdata(predicted))
            contradicted += int((known & ~same).sum())
            matched += int((bad & same).sum())
            explained += int((bad & same).sum()) + int((unseen & ~known).sum())
    return contradicted, explained if matched else 0, wrong


# Weight-stationary: psums of each tap, then sums over taps


def _ws_mistakes(records: Sequence[Record], rules: Rules) -> Iterator[Mistake]:
    yield from _operand_mistakes(rules)
    yield from _stale_weights(records, rules)
    yield from _psum_mistakes(records, rules)
    yield from _sum_mistakes(records, rules)


def _of_psums(change: Callable[[Record, Record | None], np.ndarray]) -> Callable[[Sequence[Record]], list[Prediction]]:
    """A mistake that changes the psums, whatever adds them being right. change: of a tile, and the one before it."""

    def predict(records: Sequence[Record]) -> list[Prediction]:
        found = []
        for before, record in zip([None, *records], records, strict=False):
            psums = np.ma.asarray(change(record, before))
            found.append(Prediction(psums, _added(record, psums)))
        return found

    return predict


def _added(record: Record, psums: np.ma.MaskedArray, taps: Sequence[int] | None = None) -> np.ma.MaskedArray:
    """The outputs of a tile whose psums are these."""
    reads = record.tile.reads
    assert reads is not None and record.expected.psums is not None
    true = np.take_along_axis(record.expected.psums, reads[:, :, None], 1)
    values = np.take_along_axis(psums.data, reads[:, :, None], 1)
    unknown = np.take_along_axis(np.ma.getmaskarray(psums), reads[:, :, None], 1)
    chosen = list(range(len(reads)) if taps is None else taps)
    sums = _wrapped(record.expected.sums - true.sum(0) + values[chosen].sum(0), record.bits)
    return np.ma.MaskedArray(np.maximum(sums, 0) if record.relu else sums, unknown[chosen].any(0))


def _wrapped(values: np.ndarray, bits: int) -> np.ndarray:
    low = -(1 << (bits - 1))
    return (values - low) % (1 << bits) + low


def _product(record: Record, activations: np.ndarray | None = None, weights: np.ndarray | None = None) -> np.ndarray:
    a = record.tile.activations if activations is None else activations
    w = record.tile.weights if weights is None else weights
    return a[None] @ w


def _unsigned(values: np.ndarray, bits: int) -> np.ndarray:
    return np.where(values < 0, values + (1 << bits), values)


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    return np.where(values >> (bits - 1) & 1 == 1, values - (1 << bits), values)


def _operand_mistakes(rules: Rules) -> Iterator[Mistake]:
    last_col, last_row = rules.cols - 1, rules.rows - 1
    yield Mistake(
        f"columns in reverse order: column 0 has what column {last_col} should have",
        "the order in which weights are loaded (the word of column 0 first), or the order of columns in the words "
        "(first_col)",
        _of_psums(lambda r, _: r.expected.psums[..., ::-1]),
    )
    yield Mistake(
        f"rows in opposite order: the weights of row 0 meet the activations of row {last_row}",
        "the order of rows in the words of weights and of activations, and how they are wired to the rows",
        _of_psums(lambda r, _: _product(r, r.tile.activations[:, ::-1])),
    )
    if rules.rows == rules.cols:
        yield Mistake(
            "weights transposed: row and column of each weight are exchanged",
            "what a word of weights is: the weights of one column, one for each row",
            _of_psums(lambda r, _: _product(r, weights=r.tile.weights.swapaxes(1, 2))),
        )
    yield Mistake(
        "negative weights taken as positive ones: their sign is not extended",
        "the multiplier: weights must be $signed, and extended by their own sign",
        _of_psums(lambda r, _: _product(r, weights=_unsigned(r.tile.weights, rules.wgt_bits))),
    )
    yield Mistake(
        f"activations of {1 << (rules.act_bits - 1)} and more taken as negative ones",
        "the multiplier: activations are unsigned, a 0 must be put in front of them before the signed product",
        _of_psums(lambda r, _: _product(r, _signed(r.tile.activations, rules.act_bits))),
    )
    for row in range(rules.rows):
        yield Mistake(
            f"row {row} adds nothing", f"the activations of row {row}, its weights, and its place in the chain of "
            f"psums",
            _of_psums(lambda r, _, row=row: _product(r, np.where(np.arange(rules.rows) == row, 0, r.tile.activations))),
        )  # fmt: skip
    for first in range(rules.rows):
        for by in (1, -1):
            when = "one position ahead of" if by > 0 else "one position behind"
            those = f"rows {first} to {last_row} are" if first < last_row else f"row {last_row} is"
            if not first:
                yield Mistake(
                    f"every row is {when} where it should be", "the cycles between l0_rd and execute",
                    _of_psums(lambda r, _, by=by: _skewed(r, 0, by)),
                )  # fmt: skip
                continue
            place = f"the skew of the rows: row {first} must start one cycle after row {first - 1} (L0's read enables)"
            yield Mistake(
                f"{those} {when} the rows above", place, _of_psums(lambda r, _, f=first, by=by: _skewed(r, f, by))
            )
            yield Mistake(
                f"{those} {when} the rows above, with weights and with activations", place,
                _of_psums(lambda r, _, f=first, by=by: _skewed(r, f, by, weights=True)),
            )  # fmt: skip


def _skewed(record: Record, first: int, by: int, weights: bool = False) -> np.ma.MaskedArray:
    """Psums where the activations of the rows from ``first`` on come ``by`` positions early, and their weights, if
    these go the same way, ``by`` columns early."""
    activations, held = record.tile.activations.copy(), record.tile.weights.copy()
    activations[:, first:] = np.roll(activations[:, first:], -by, axis=0)
    if weights:
        held[:, first:] = np.roll(held[:, first:], -by, axis=2)
    psums = np.ma.MaskedArray(_product(record, activations, held), False)
    edge = slice(-by, None) if by > 0 else slice(None, -by)
    psums[:, edge] = np.ma.masked
    if weights:
        psums[:, :, edge] = np.ma.masked
    return psums


def _stale_weights(records: Sequence[Record], rules: Rules) -> Iterator[Mistake]:
    """Columns that hold weights of another tap or tile."""
    place = "what makes a tile take new weights: its load must be armed anew for each tap (reset), in every column"

    def before(record: Record, earlier: Record | None) -> np.ndarray:
        """Weights of the tap before; unknown ones of the first tap are those of the tile before."""
        last = record.tile.weights[:1] if earlier is None else earlier.tile.weights[-1:]
        return np.concatenate([last, record.tile.weights[:-1]])

    def constant(record: Record, _: Record | None) -> np.ndarray:
        return np.broadcast_to(records[0].tile.weights[:1], record.tile.weights.shape)

    def tile_before(record: Record, earlier: Record | None) -> np.ndarray:
        return record.tile.weights if earlier is None else earlier.tile.weights

    for what, weights in (
        ("the weights of the tap before", before), ("the weights of the first tap that was loaded", constant),
        ("the weights of the tile before", tile_before),
    ):  # fmt: skip
        for name, chosen in _columns(rules.cols):

            def mixed(record: Record, earlier: Record | None, weights=weights, chosen=chosen) -> np.ndarray:
                old = weights(record, earlier)
                if old.shape != record.tile.weights.shape:
                    return np.ma.MaskedArray(record.expected.psums, True)
                return _product(record, weights=np.where(chosen, old, record.tile.weights))

            yield Mistake(f"{name} with {what}", place, _of_psums(mixed))
    # Whatever was loaded when: the weights that explain the psums, if they do not change from tap to tap
    held = _held_weights(records, rules)
    if held is not None:
        yield Mistake(
            "all columns keep the weights of a tap that ran before", place,
            _of_psums(lambda r, _: _product(r, weights=np.broadcast_to(held, r.tile.weights.shape))),
        )  # fmt: skip


def _columns(cols: int) -> Iterator[tuple[str, np.ndarray]]:
    at = np.arange(cols)
    yield "all columns work", np.ones(cols, bool)
    for col in range(cols):
        yield f"column {col} works", at == col
    for col in range(1, cols - 1):
        yield f"columns {col} to {cols - 1} work", at >= col


def _held_weights(records: Sequence[Record], rules: Rules) -> np.ndarray | None:
    """The weights [rows, cols] that make the psums of all taps of the first wrong tile; None where there are none."""
    record = next(record for record in records if record.differs)
    if record.psums is None or np.ma.getmaskarray(record.psums).any():
        return None
    a = record.tile.activations.astype(float)
    if np.linalg.matrix_rank(a) < rules.rows or (record.psums.data != record.psums.data[:1]).any():
        return None
    weights = np.rint(np.linalg.lstsq(a, record.psums.data[0].astype(float), rcond=None)[0]).astype(np.int64)
    return weights if np.array_equal(record.tile.activations @ weights, record.psums.data[0]) else None


def _psum_mistakes(records: Sequence[Record], rules: Rules) -> Iterator[Mistake]:
    for by in (1, 2, -1, -2):
        which = f"{abs(by)} position{'s' * (abs(by) > 1)} {'later' if by > 0 else 'earlier'}"
        yield Mistake(
            f"each psum is the one {which}",
            "when the OFIFO is read and its word written: its read pointer, and the cycles from ofifo_rd to the write",
            _of_psums(lambda r, _, by=by: _rolled(r.expected.psums, by)),
        )
    for bits in range(rules.psum_bits - 1, 5, -1):
        yield from _narrow(bits, _of_psums)
    taps = max(record.tile.taps for record in records)
    for bits in range(11, 4, -1):
        yield Mistake(
            f"addresses of the psum memory have {bits} bits: psums from address {1 << bits} on overwrite those "
            f"from 0 on",
            "the width of A_pmem on its way to the memory, and the depth of the memory",
            lambda records, bits=bits: [_wrapped_addresses(record, bits) for record in records],
        )
    for tap in range(taps):
        for other in range(taps):
            if tap != other:
                yield Mistake(
                    f"kij {other} is added in place of kij {tap}",
                    f"where psums of kij {tap} are written and read: the base address of each tap",
                    _of_psums(lambda r, _, tap=tap, other=other: _exchanged(r, tap, other)),
                )


def _exchanged(record: Record, tap: int, other: int) -> np.ndarray:
    psums = record.expected.psums
    assert psums is not None
    if max(tap, other) >= len(psums):
        return psums
    return psums[[other if kij == tap else kij for kij in range(len(psums))]]


def _rolled(psums: np.ndarray, by: int) -> np.ma.MaskedArray:
    moved = np.ma.MaskedArray(np.roll(psums, -by, axis=1), False)
    moved[:, slice(-by, None) if by > 0 else slice(None, -by)] = np.ma.masked
    return moved


def _narrow(bits: int, of: Callable) -> Iterator[Mistake]:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    place = "the widths of psums all the way: multiplier, adder, OFIFO, memory, and how a narrow one is extended"
    for how, change in (
        (f"psums have {bits} bits and wrap", lambda p: (p - low) % (1 << bits) + low),
        (f"psums lose their sign: bit {bits} and those above read as 0", lambda p: p & ((1 << bits) - 1)),
        (f"psums stop at {low} and {high}", lambda p: np.clip(p, low, high)),
    ):
        yield Mistake(how, place, of(lambda r, _, change=change: change(r.expected.psums)))


def _wrapped_addresses(record: Record, bits: int) -> Prediction:
    """Psums written to and read from a memory whose addresses lose their upper bits."""
    true, reads = record.expected.psums, record.tile.reads
    assert true is not None and reads is not None
    taps, positions, cols = true.shape
    address = np.arange(taps * positions) % (1 << bits)
    memory = np.zeros((1 << bits, cols), np.int64)
    memory[address] = true.reshape(-1, cols)  # the last one to be written stays
    seen = np.ma.MaskedArray(memory[address].reshape(true.shape), False)
    beyond = (np.arange(taps * positions) >= 1 << bits).reshape(taps, positions)
    shown = np.ma.MaskedArray(true, np.broadcast_to(beyond[:, :, None], true.shape))
    return Prediction(shown, _added(record, seen))


def _sum_mistakes(records: Sequence[Record], rules: Rules) -> Iterator[Mistake]:
    """The psums are right, what is made of them is not."""

    def of_sums(change: Callable[[Record], np.ndarray]) -> Callable[[Sequence[Record]], list[Prediction]]:
        return lambda records: [Prediction(record.expected.psums, np.ma.asarray(change(record))) for record in records]

    yield Mistake(
        "ReLU before the sum: negative psums of single taps count as 0", "the SFP: add first, then ReLU, once for "
        "an output",
        of_sums(lambda r: _added(r, np.ma.asarray(np.maximum(r.expected.psums, 0)))),
    )  # fmt: skip
    taps = max(record.tile.taps for record in records)
    for tap in range(taps if taps > 1 else 0):
        named = {0: "the first tap (kij 0)", taps - 1: f"the last tap (kij {tap})"}.get(tap, f"kij {tap}")
        yield Mistake(
            f"{named} is not added", "how many taps are added, and when acc begins and ends",
            of_sums(lambda r, tap=tap: _added(r, np.ma.asarray(r.expected.psums), _without(tap, r))),
        )  # fmt: skip
    yield Mistake("no ReLU: negative sums come out", "the SFP's ReLU", of_sums(lambda r: r.expected.sums))
    bits = records[0].bits
    for width in range(bits - 1, 5, -1):
        yield Mistake(
            f"sums have {width} bits and wrap, psums have {bits}", "the width of the accumulator in the SFP, and "
            "of its output",
            lambda records, width=width: [Prediction(r.expected.psums, _narrow_sums(r, width)) for r in records],
        )  # fmt: skip
    yield Mistake(
        "all outputs are 0", "what writes the output: is anything added, is the result ever let out",
        lambda records: [Prediction(r.expected.psums, np.zeros_like(r.expected.sums)) for r in records],
    )  # fmt: skip
    yield Mistake(
        "ReLU where plain sums are wanted", "relu in [capabilities], and the SFP's ReLU",
        of_sums(lambda r: np.maximum(r.expected.sums, 0)),
    )  # fmt: skip
    yield Mistake(
        "outputs have their columns in reverse order, psums have not", "the order of columns in the output word",
        of_sums(lambda r: r.wanted[:, ::-1]),
    )  # fmt: skip
    for by in (1, -1):
        which = "next" if by > 0 else "previous"
        yield Mistake(
            f"each output is the one of the {which} position", "when an output is read, and the addresses of its psums",
            of_sums(lambda r, by=by: _rolled(r.wanted[None], by)[0]),
        )  # fmt: skip
    yield Mistake(
        "sums are not cleared: each output is added to those before it",
        "what clears the accumulators before an output (reset of the SFP), between outputs, tiles and images",
        lambda records: [Prediction(r.expected.psums, _running(r)) for r in records],
    )


def _narrow_sums(record: Record, bits: int) -> np.ndarray:
    sums = _wrapped(record.expected.sums, bits)
    return np.maximum(sums, 0) if record.relu else sums


def _without(tap: int, record: Record) -> list[int]:
    return [kij for kij in range(record.tile.taps) if kij != tap]


def _running(record: Record) -> np.ma.MaskedArray:
    """Outputs that go on from the one before; what was there before the tile is taken from the first that shows it."""
    total = np.cumsum(record.expected.sums, axis=0)
    predicted = np.ma.MaskedArray(total, True)
    if record.outputs is None:
        return predicted
    for col in range(total.shape[1]):
        seen = record.outputs[:, col]
        shown = np.flatnonzero(~np.ma.getmaskarray(seen) & ((seen.data > 0) | (not record.relu)))
        if len(shown) > 1:  # one alone fits any garbage
            before = seen.data[shown[0]] - total[shown[0], col]
            sums = _wrapped(total[:, col] + before, record.bits)
            predicted[:, col] = np.maximum(sums, 0) if record.relu else sums
    return predicted


# Output-stationary: sums of a tile over its steps


def _os_mistakes(records: Sequence[Record], rules: Rules) -> Iterator[Mistake]:
    def of(change: Callable[[Record, Record | None], np.ndarray]) -> Callable[[Sequence[Record]], list[Prediction]]:
        def predict(records: Sequence[Record]) -> list[Prediction]:
            found = []
            for before, record in zip([None, *records], records, strict=False):
                sums = np.ma.asarray(change(record, before))
                found.append(Prediction(None, np.ma.maximum(sums, 0) if record.relu else sums))
            return found

        return predict

    last_col, last_row = rules.cols - 1, rules.rows - 1
    operands = lambda r: (r.tile.activations, r.tile.weights[0])  # noqa: E731
    yield Mistake(
        f"columns in reverse order: column 0 has what column {last_col} should have",
        "the order of columns in the words of weights, and in those of outputs",
        of(lambda r, _: r.expected.sums[:, ::-1]),
    )  # fmt: skip
    yield Mistake(
        f"rows in reverse order: row 0 has what row {last_row} should have",
        "the order of rows in the words of activations, and the order in which rows leave",
        of(lambda r, _: r.expected.sums[::-1]),
    )
    yield Mistake(
        "negative weights taken as positive ones: their sign is not extended",
        "the multiplier: weights must be $signed, and extended by their own sign",
        of(lambda r, _: operands(r)[0].T @ _unsigned(operands(r)[1], rules.wgt_bits)),
    )
    yield Mistake(
        f"activations of {1 << (rules.act_bits - 1)} and more taken as negative ones",
        "the multiplier: activations are unsigned, a 0 must be put in front of them before the signed product",
        of(lambda r, _: _signed(operands(r)[0], rules.act_bits).T @ operands(r)[1]),
    )
    for name, kept in (("last", slice(None, -1)), ("first", slice(1, None))):
        yield Mistake(
            f"the {name} step of each tile is not added", f"what marks the {name} operand (valid, tlast), and that "
            f"it counts",
            of(lambda r, _, kept=kept: operands(r)[0][kept].T @ operands(r)[1][kept]),
        )  # fmt: skip
    for missing in range(rules.rows + rules.cols - 2, -1, -1):
        yield Mistake(
            f"tiles more than {missing} steps from the corner miss their last operands",
            f"when the sums are read: the last operand needs {rules.rows + rules.cols - 2} more steps to the last tile",
            of(lambda r, _, missing=missing: _cut_short(r, missing)),
        )
    for first in range(1, rules.rows):
        for by in (1, -1):
            those = f"rows {first} to {last_row} are" if first < last_row else f"row {last_row} is"
            yield Mistake(
                f"{those} one step {'ahead of' if by > 0 else 'behind'} the rows above",
                f"the skew of the rows: row {first} must be one step behind row {first - 1}",
                of(lambda r, _, first=first, by=by: _os_skewed(r, first, by, rules.wgt_bits)),
            )
    yield Mistake(
        "weights come one step late: each step uses those of the step before, the first those of the tile before",
        "registers between the weight stream and the array, and what they hold when a tile begins",
        of(_late_weights),
    )
    yield Mistake(
        "ReLU before the sum: a sum below 0 on the way counts as 0", "the accumulator: add all steps, then ReLU",
        of(lambda r, _: _clipped(r)),
    )  # fmt: skip
    for by in (1, -1):
        yield Mistake(
            f"each row's sums are those of the {'next' if by > 0 else 'previous'} row",
            "the row address when sums are read out: where it starts",
            of(lambda r, _, by=by: np.roll(r.expected.sums, -by, axis=0)),
        )  # fmt: skip
    yield Mistake(
        "sums are not cleared: each tile is added to the one before it",
        "what clears the accumulators when a tile begins, or after it was read",
        of(lambda r, before: np.ma.MaskedArray(r.expected.sums, True) if before is None or before.outputs is None
           else before.outputs + r.expected.sums),
    )  # fmt: skip
    for bits in range(rules.psum_bits - 1, 5, -1):
        yield from _narrow(bits, lambda change: of(lambda r, b: change(_as_psums(r), b)))
    yield Mistake(
        "no ReLU: negative sums come out",
        "the ReLU",
        lambda records: [Prediction(None, r.expected.sums) for r in records],
    )


def _as_psums(record: Record) -> Record:
    """The sums in the place of psums, for mistakes that treat both alike."""
    return dataclasses.replace(record, expected=dataclasses.replace(record.expected, psums=record.expected.sums))


def _cut_short(record: Record, missing: int) -> np.ndarray:
    a, w = record.tile.activations, record.tile.weights[0]
    products = np.cumsum(a[:, :, None] * w[:, None, :], axis=0)
    rows, cols = a.shape[1], w.shape[1]
    late = np.maximum(0, np.add.outer(np.arange(rows), np.arange(cols)) - missing)
    at = len(a) - 1 - late
    r, c = np.indices((rows, cols))
    return np.where(at >= 0, products[np.maximum(at, 0), r, c], 0)


def _os_skewed(record: Record, first: int, by: int, wgt_bits: int) -> np.ma.MaskedArray:
    """Sums where the rows from ``first`` on meet the weights ``by`` steps early. One operand of each row then meets a
    weight that is not of the tile: whatever it was, it is the same for all rows of a column, and has WGT_BITS."""
    a, w = record.tile.activations, record.tile.weights[0]
    sums = np.ma.MaskedArray(record.expected.sums.copy(), False)
    assert record.outputs is not None
    met, over = (a[1:], a[0]) if by > 0 else (a[:-1], a[-1])
    sums[first:] = met[:, first:].T @ (w[:-1] if by > 0 else w[1:])
    unknown = np.ma.getmaskarray(record.outputs)
    limit = 1 << (wgt_bits - 1)
    for col in range(w.shape[1]):
        rest, known = record.outputs.data[first:, col] - sums.data[first:, col], ~unknown[first:, col]
        usable = known & (over[first:] != 0)
        stray = int(rest[usable][0] // over[first:][usable][0]) if usable.any() else 0
        if -limit <= stray < limit and np.array_equal(rest[known], stray * over[first:][known]):
            sums[first:, col] = sums[first:, col] + stray * over[first:]
    sums[first:][unknown[first:]] = np.ma.masked
    return sums


def _late_weights(record: Record, before: Record | None) -> np.ma.MaskedArray:
    a, w = record.tile.activations, record.tile.weights[0]
    if before is None:
        return np.ma.MaskedArray(record.expected.sums, True)
    return np.ma.asarray(a.T @ np.concatenate([before.tile.weights[0][-1:], w[:-1]]))


def _clipped(record: Record) -> np.ndarray:
    sums = np.zeros_like(record.expected.sums)
    for act, wgt in zip(record.tile.activations, record.tile.weights[0], strict=True):
        sums = np.maximum(sums + np.outer(act, wgt), 0)
    return sums


# Where no mistake fits


def _unknown(records: Sequence[Record], entirely: bool = False) -> str | None:
    """A hint where values are unknown and those known are right; ``entirely``: only where none is known."""
    seen = [
        pair
        for record in records
        if record.differs
        for pair in ((record.psums, record.expected.psums), (record.outputs, record.wanted))
        if pair[0] is not None
    ]

    def unseen(r: Record, psums: bool) -> np.ndarray:
        if psums:
            return np.ma.getmaskarray(r.psums) & ~r.forgiven
        return (
            np.ma.getmaskarray(r.outputs) if r.outputs is not None else np.zeros((1, r.expected.sums.shape[-1]), bool)
        )

    differing = [r for r in records if r.differs]
    of_psums = any(r.psums is not None and r.wrong_psums is not None and r.wrong_psums.any() for r in differing)
    of_psums = of_psums or all(r.outputs is None for r in differing)  # then there are psums
    differing = [r for r in differing if r.psums is not None] if of_psums else differing
    unknown = [unseen(r, of_psums) for r in differing]
    what = "psums" if of_psums else "outputs"
    if all((mask | r.forgiven if of_psums else mask).all() for r, mask in zip(differing, unknown, strict=True)):
        if not of_psums and any(r.psums is not None for r in differing):
            return (
                "psums are right and all outputs are unknown (X): what adds them never held a known value; look at the "
                "reset of the accumulator in the SFP, and at what begins a sum"
            )
        return (
            f"all {what} are unknown (X): never written, or made of what was never reset or loaded; look at the "
            f"reset's polarity (reset_level), at the latencies (make calibrate), and in the waves for the first X"
        )
    known_right = not any((differs(values, wanted) & ~np.ma.getmaskarray(values)).any() for values, wanted in seen)
    if entirely or not known_right or not any(mask.any() for mask in unknown):
        return None
    mask = next(mask for mask in unknown if mask.any())
    columns = np.flatnonzero(mask.reshape(-1, mask.shape[-1]).any(0))
    positions = np.flatnonzero(mask.any((0, 2)) if mask.ndim == 3 else mask.any(1))
    where = f"{_listed('column', columns, mask.shape[-1])}, {_listed('position', positions, mask.shape[-2])}"
    return (
        f"unknown {what} (X) in {where}, all known ones right; look at the latencies (make calibrate), and at what "
        f"is read before it is written or reset"
    )


def _pattern(records: Sequence[Record], weight_stationary: bool) -> str:
    """Which columns, taps and positions are wrong."""
    first = next(record for record in records if record.differs)
    wrong = first.wrong_psums
    if wrong is not None and wrong.any():
        taps, positions, cols = (np.flatnonzero(wrong.any(axis)) for axis in ((1, 2), (0, 2), (0, 1)))
        parts = [
            _listed("kij", taps, wrong.shape[0]),
            _listed("position", positions, wrong.shape[1]),
            _listed("column", cols, wrong.shape[2]),
        ]
        return _called("psums", wrong, first.psums, parts)
    wrong = first.wrong_outputs
    assert wrong is not None
    rows, cols = (np.flatnonzero(wrong.any(axis)) for axis in (1, 0))
    parts = [
        _listed("output" if weight_stationary else "row", rows, wrong.shape[0]),
        _listed("column", cols, wrong.shape[1]),
    ]
    right = "the psums are right, " if first.psums is not None else ""
    return right + _called("outputs", wrong, first.outputs, parts)


def _called(what: str, wrong: np.ndarray, seen: np.ma.MaskedArray | None, parts: list[str]) -> str:
    if seen is not None and not (wrong & ~np.ma.getmaskarray(seen)).any():
        return f"unknown {what} (X) in {', '.join(parts)}; look at what is read before it is written or reset"
    return f"wrong {what} in {', '.join(parts)}; no mistake that is known here gives these values"


def _listed(name: str, which: np.ndarray, total: int) -> str:
    if len(which) == total:
        return name + " 0" if total == 1 else f"all {total} {name}{'' if name == 'kij' else 's'}"
    if len(which) == 1:
        return f"{name} {which[0]} alone"
    if len(which) > 3 and np.array_equal(which, np.arange(which[0], which[-1] + 1)):
        return f"{name} {which[0]} to {which[-1]}"
    return f"{name} {', '.join(map(str, which[:4]))}{' ...' if len(which) > 4 else ''} ({len(which)} of {total})"
