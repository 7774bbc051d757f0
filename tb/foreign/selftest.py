"""Little layers that a core must pass before a real one is worth its time: ones, single weights, single activations,
signs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from golden_model.configuration import Precision
from golden_model.operands import Operands
from quant.errors import UserError
from tb.foreign.adapter import Capabilities
from tb.parts.stimulus import limits

MOST_TILES = 8  # over which a core adds in a self-test
MOST_POSITIONS = 64  # of a self-test: more take longer and show no more


def self_tests(can: Capabilities, seed: int) -> dict[str, Operands]:
    """The layers by what each shows; of the core's own number of rows and columns, so that one tile is enough."""
    rng = np.random.default_rng(seed)
    rows, cols = can.inputs, can.cols
    signed = can.activations == "signed"
    low, high = limits(can.wgt_bits)
    room = (1 << (can.psum_bits - 1)) - 1

    def largest(taps: int) -> int:
        """The largest activation with which no sum of so many taps leaves PSUM_BITS."""
        return min(limits(can.act_width, signed)[1], room // (rows * taps * max(high, -low)))

    top, most = limits(can.act_width, signed)[1], largest(1)
    if top < 1:
        raise UserError(f"act_bits = {can.act_bits}, signed, has no activation above 0, which the self-test needs")
    if most < 1:
        raise UserError(f"psum_bits = {can.psum_bits} hold no sum of {rows} products of {can.wgt_bits}-bit weights")
    row, col = np.arange(rows), np.arange(cols)

    def layer(weight: np.ndarray, activation: np.ndarray, padding: int = 0) -> Operands:
        return Operands(
            weight.astype(np.int64),
            activation.astype(np.int64),
            padding=padding,
            a_signed=signed,
            precision=Precision(can.channels - 1),
        )

    ones = np.ones((rows, 3, 3)), np.ones((cols, rows, 1, 1))
    by_row = np.broadcast_to((row % top + 1)[:, None, None], (rows, 3, 3))  # of which a single weight takes one
    single = np.zeros((cols, rows, 1, 1))
    single[min(2, cols - 1), min(1, rows - 1)] = 1
    spot = np.zeros((rows, 3, 3))
    spot[:, 1, 1] = row % most + 1
    by_column = np.broadcast_to((col % high + 1)[:, None, None, None], (cols, rows, 1, 1))
    random = lambda *size: rng.integers(low, high + 1, size)  # noqa: E731
    tests = {
        "reset, one tap of ones": layer(ones[1], ones[0]),
        "one position, read as soon as it is there": layer(
            random(cols, rows, 1, 1), rng.integers(1, most + 1, (rows, 1, 1))
        ),
        "one weight: which row and column it is": layer(single, by_row),
        "one activation: which position it is": layer(by_column, spot),
        "negative weights, largest activations": layer(-by_column, np.full((rows, 3, 3), most)),
        "largest negative sums": layer(np.full((cols, rows, 1, 1), low), np.full((rows, 3, 3), most)),
        "random weights, new ones for each tile": layer(
            random(2 * cols, rows, 1, 1), rng.integers(0, most + 1, (rows, 3, 3))
        ),
    }
    if can.relu == "choice":
        asked = layer(-by_column, np.full((rows, 3, 3), most))
        tests["negative sums, without ReLU"] = dataclasses.replace(asked, relu=False)
    side = math.isqrt(min(can.positions or 64, MOST_POSITIONS))
    nine = (not can.taps or can.taps >= 9) and (not can.positions or can.positions >= 9) and largest(9) > 0
    if side > 3:
        taps = 3 if nine else 1  # nine times as many psums as positions
        full = rng.integers(0, largest(taps * taps) + 1, (rows, side, side))
        tests["many positions at once"] = layer(random(cols, rows, taps, taps), full)
    if nine:
        end = largest(9)
        tests["nine taps on a padded 4x4 map"] = layer(
            random(cols, rows, 3, 3), rng.integers(0, end + 1, (rows, 4, 4)), 1
        )
        # The largest sums of a tile, both ways
        signs = np.where(col % 2 == 0, high, low)[:, None, None, None]
        ends = np.broadcast_to(signs, (cols, rows, 3, 3)).copy()
        # Of every second pair of columns, sums that fall far and rise again, or rise first: what ends above 0 was below
        first = np.arange(9).reshape(3, 3) < 4
        ends[2::4] = np.where(first, low, high)
        ends[3::4] = np.where(first[::-1, ::-1], low, high)
        tests["largest sums of nine taps, both ways"] = layer(ends, np.full((rows, 4, 4), end), 1)
        tiles = min(MOST_TILES, room // (rows * 9 * end * max(high, -low)))
        if can.sums == "ic_tile" and tiles > 1:
            many = np.broadcast_to(signs, (cols, tiles * rows, 3, 3))
            tests["largest sums of several ic_tiles"] = layer(many, np.full((tiles * rows, 4, 4), end), 1)
    return tests
