"""The readings of an output-stationary tile: a line a step, a word a position, or a column of the weights."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.raw.hints import Hints
from golden_model.raw.names import Family
from golden_model.raw.readings import Candidate, Reading, given_outputs, signs, widths


@dataclasses.dataclass(frozen=True)
class Skew:
    """Output-stationary lines that reach the array one cycle later in each lane. by: cycles a lane; cyclic: what goes
    over the end stands at the beginning."""

    by: int = 0
    cyclic: bool = False

    def __str__(self) -> str:
        if not self.by:
            return ""
        first = "lane 0" if self.by > 0 else "the last lane"
        return f", skewed by a line a lane from {first}{', cyclic' if self.cyclic else ''}"


def output_stationary(act: Family, wgt: Family, out: Family, hints: Hints) -> Iterator[Candidate]:
    """A tile of ROWS outputs: lines are steps k, words the positions, or the cols of the weights."""
    weights = list(_os_weights(wgt, hints))
    for act_bits in widths(act.first, hints.act_bits):
        if act.first.width % (act_bits or 1):
            continue
        if act.first.width // (act_bits or 1) > out.first.lines:
            continue
        for signed in signs(act, act_bits, hints):
            for act_steps, act_cells, skew in _unskewed(*_steps(act, act_bits, signed)):
                for wgt_bits, wgt_steps, wgt_cells, order in weights:
                    found = given_outputs(out, wgt_steps.shape[1])
                    if found is None or len(act_steps) != len(wgt_steps):
                        continue
                    given, psum_bits = found
                    frame = functools.partial(
                        _os_reading, act=act, wgt=wgt, out=out, act_bits=act_bits, wgt_bits=wgt_bits,
                        psum_bits=psum_bits, signed=signed, order=f"{skew}{order}",
                    )  # fmt: skip
                    yield from _os_compared(act_steps, act_cells, wgt_steps, wgt_cells, given, frame, hints)


def _os_compared(
    act: np.ndarray, act_cells: np.ndarray, wgt: np.ndarray, wgt_cells: np.ndarray, given: np.ndarray,
    frame: functools.partial[Reading], hints: Hints,
) -> Iterator[Candidate]:  # fmt: skip
    sums = wgt.T.astype(float) @ act.astype(float)  # [col, row]
    for rows_reversed in (False, True):
        for columns_reversed in (False, True):
            if not hints.allows(rows_reversed=rows_reversed, columns_reversed=columns_reversed):
                continue
            turned = sums[:: -1 if columns_reversed else 1, :: -1 if rows_reversed else 1]
            make = functools.partial(
                frame, steps=(act, act_cells, wgt, wgt_cells), rows_reversed=rows_reversed,
                columns_reversed=columns_reversed,
            )  # fmt: skip
            yield Candidate(turned, given[:, : act.shape[1]], make)


def _os_reading(
    *, act: Family, wgt: Family, out: Family, act_bits: int, wgt_bits: int, psum_bits: int, signed: bool, order: str,
    steps: tuple[np.ndarray, ...], rows_reversed: bool, columns_reversed: bool,
) -> Reading:  # fmt: skip
    acts, act_cells, wgts, wgt_cells = steps
    if rows_reversed:
        acts, act_cells = acts[:, ::-1], act_cells[:, ::-1]
    if columns_reversed:
        wgts, wgt_cells = wgts[:, ::-1], wgt_cells[:, ::-1]
    return Reading(
        Dataflow.output_stationary, act, wgt, out, act_bits, wgt_bits, psum_bits, acts.shape[1], wgts.shape[1], signed,
        rows_reversed, columns_reversed, "", 0, 0, 1, wgts.T[:, :, None, None], acts[:, None, :],
        wgt_cells.T[:, :, None, None], act_cells[:, None, :], order,
    )  # fmt: skip


def _steps(family: Family, bits: int, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """int64 [step, lane] of files one after the other, lane 0 first, and their cells."""
    values = np.concatenate([table.words(bits, signed) for table in family.tables.values()])
    cells = np.arange(values.size).reshape(values.shape)
    return values[:, ::-1], cells[:, ::-1]


def _unskewed(values: np.ndarray, cells: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Skew]]:
    """The steps as they stand, and with the skew of a systolic array taken out."""
    yield values, cells, Skew()
    lines, lanes = values.shape
    for by in (1, -1) if lanes > 1 else ():
        late = np.arange(lanes) if by > 0 else lanes - 1 - np.arange(lanes)
        steps = lines - lanes + 1
        if steps > 0:
            index = np.arange(steps)[:, None] + late
            outside = np.ones(values.shape, bool)
            outside[index, np.arange(lanes)] = False
            if not values[outside].any():  # a skewed lane has zeros before and after
                yield values[index, np.arange(lanes)], cells[index, np.arange(lanes)], Skew(by)
                continue
        index = (np.arange(lines)[:, None] + late) % lines
        yield values[index, np.arange(lanes)], cells[index, np.arange(lanes)], Skew(by, True)


def _os_weights(wgt: Family, hints: Hints) -> Iterator[tuple[int, np.ndarray, np.ndarray, str]]:
    """Bits, steps [k, col], cells and order of weights: a stream of their own, or the files of the taps."""
    for bits in widths(wgt.first, hints.wgt_bits):
        if wgt.first.width % (bits or 1):
            continue
        values, cells = _steps(wgt, bits, True)
        if wgt.os or "channel" in wgt.axes or (hints.dataflow == Dataflow.output_stationary.name and not wgt.axes):
            for steps, of, skew in _unskewed(values, cells):
                yield bits, steps, of, f"; weights{skew}" if skew.by else ""
        if not wgt.os and wgt.axes in ((), ("kij",)):
            words = values.shape[1]
            taps = len(wgt.tables) if wgt.axes else next((n for n in (9, 1) if wgt.first.lines == n * words), 0)
            if not taps or len(values) % taps:
                continue
            cube, cell = (a.reshape(taps, -1, words) for a in (values, cells))  # [kij, col, row]
            for name, order in (("k = ic * n_kij + kij", (2, 0, 1)), ("k = kij * n_ic + ic", (0, 2, 1))):
                by_step = [a.transpose(order).reshape(-1, cube.shape[1]) for a in (cube, cell)]
                yield bits, by_step[0], by_step[1], f", {name}"
