"""cocotb tests of ``mac_row`` and ``mac_array``: skewed operands in, every psum at its cycle out.

``mac_row`` is an array of one row: the same bench drives both.
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden_model.psum import os_psums, ws_psums
from tb.cases import encode, generator, limits, parameters
from tb.clocking import reset, start_clock
from tb.lanes import unpack_lanes
from tb.scoreboard import Scoreboard
from tb.streams import read_word

WS, OS = 0, 1


class ArrayBench:
    """Schedules operands by the cycle in which they enter row 0 / column 0 and adds the skew itself."""

    def __init__(self, dut):
        self.dut, self.p, self.running = dut, parameters(), False
        self.rows, self.cols = getattr(self.p, "ROWS", 1), self.p.COLS
        self.single = not hasattr(self.p, "ROWS")
        self.events: dict[int, dict[tuple[str, int], int]] = {}  # cycle -> (signal, lane) -> value

    async def start(self, dataflow: int, signed: bool = False) -> None:
        self.dut.dataflow.value, self.dut.act_signed.value, self.dut.simd.value = dataflow, int(signed), 0
        self._drive({})
        if self.single:
            self.dut.drain_n.value = 0
            self.dut.psum_valid_n.value = 0
            self.dut.psum_n.value = 0
        if not self.running:
            start_clock(self.dut)
            self.running = True
        await reset(self.dut)

    def at(self, cycle: int, signal: str, lane: int, value: int) -> None:
        slot = self.events.setdefault(cycle, {})
        assert (signal, lane) not in slot, f"two operands for {signal}[{lane}] in cycle {cycle}"
        slot[signal, lane] = int(value)

    def activation(self, cycle: int, values, start: bool = False, last: bool = False) -> None:
        for row, value in enumerate(values):
            self.at(cycle + row, "act_valid", row, 1)
            self.at(cycle + row, "act", row, value)
            self.at(cycle + row, "act_start", row, start)
            self.at(cycle + row, "act_last", row, last)

    def west_weight(self, cycle: int, values) -> None:
        for row, value in enumerate(values):
            self.at(cycle + row, "wgt_valid", row, 1)
            self.at(cycle + row, "wgt_w", row, value)

    def north_weight(self, cycle: int, values) -> None:
        for col, value in enumerate(values):
            self.at(cycle + col, "wgt_n", col, value)

    def _drive(self, slot: dict[tuple[str, int], int]) -> None:
        buses = {"act_valid": 1, "act_start": 1, "act_last": 1, "act": self.p.ACT_BITS, "wgt_valid": 1,
                 "wgt_w": self.p.WGT_BITS, "wgt_n": self.p.WGT_BITS}  # fmt: skip
        for signal, bits in buses.items():
            word = 0
            for (name, lane), value in slot.items():
                if name == signal:
                    word |= encode(value, bits) << (lane * bits)
            name = "wgt" if self.single and signal == "wgt_w" else signal
            getattr(self.dut, name).value = word

    async def play(self, cycles: int) -> dict[int, list[tuple[int, int]]]:
        """Play all events; for each column the (cycle, psum) that left it."""
        suffix = "_s" if self.single else ""
        valid, psum = getattr(self.dut, f"psum_valid{suffix}"), getattr(self.dut, f"psum{suffix}")
        seen: dict[int, list[tuple[int, int]]] = {col: [] for col in range(self.cols)}
        for cycle in range(cycles):
            self._drive(self.events.get(cycle, {}))
            await RisingEdge(self.dut.clk)
            mask = read_word(valid)
            if mask:
                word = str(psum.value)  # columns that are not valid may be unknown
                bits = self.p.PSUM_BITS
                for col in range(self.cols):
                    if mask >> col & 1:
                        end = len(word) - col * bits
                        value = unpack_lanes([int(word[end - bits : end], 2)], 1, bits)[0, 0]
                        seen[col].append((cycle, int(value)))
        self.events.clear()
        return seen


@cocotb.test()
async def weight_stationary(dut):
    """Passes back to back, weights of the next one loading meanwhile; psum values and their cycles."""
    tb, rng = ArrayBench(dut), generator("array ws")
    rows, cols = tb.rows, tb.cols
    for signed in (False, True):
        await tb.start(WS, signed)
        low, high = limits(tb.p.ACT_BITS, signed)
        expected, passes, cycle = [], 8, cols
        weights = rng.integers(*limits(tb.p.WGT_BITS), endpoint=True, size=(passes, rows, cols))
        if not signed:  # the largest magnitudes at once
            weights[1] = limits(tb.p.WGT_BITS)[0]
        for col in range(cols):
            tb.west_weight(col, weights[0, :, col])
        for index in range(passes):
            length = int(rng.choice([1, 2, cols, cols + 5]))
            acts = rng.integers(low, high, endpoint=True, size=(length, rows))
            if index == 1:
                acts[:] = high
            golden = ws_psums(acts.T[None].astype(np.int32), weights[index][None, None, None].astype(np.int32))[0, 0, 0]
            if index + 1 < passes:
                for col in range(cols):
                    tb.west_weight(cycle + col, weights[index + 1, :, col])  # the first with the swap
            when = cycle
            for t in range(length):
                tb.activation(when, acts[t], start=t == 0)
                expected.append((when, golden[t]))
                when += 1 + int(rng.random() < 0.2)  # gaps
            cycle = max(when, cycle + cols)
        for noise in range(cycle + rows):  # what lies on the output-stationary path must not matter
            for col in range(cols):
                tb.at(noise, "wgt_n", col, int(rng.integers(*limits(tb.p.WGT_BITS), endpoint=True)))
        seen = await tb.play(cycle + rows + cols + 8)
        scoreboard = Scoreboard("array weight-stationary")
        for col in range(cols):
            scoreboard.compare(
                f"column {col}", [(t + rows + col, g[col]) for t, g in expected], seen[col], lane="cycle/psum"
            )
        scoreboard.check()


@cocotb.test()
async def output_stationary(dut):
    """Passes of max(K, ROWS) cycles back to back, K from 1; row 0 leaves first, in the cycles the header promises."""
    tb, rng = ArrayBench(dut), generator("array os")
    rows, cols = tb.rows, tb.cols
    await tb.start(OS)
    low, high = limits(tb.p.ACT_BITS, False)
    expected, cycle, last = [], 0, -rows
    for index in range(8):
        n_k = int(rng.choice([1, 2, rows, rows + 7]))
        acts = rng.integers(low, high, endpoint=True, size=(n_k, rows))
        weights = rng.integers(*limits(tb.p.WGT_BITS), endpoint=True, size=(n_k, cols))
        golden = os_psums(acts[None].astype(np.int32), weights[None].astype(np.int32))[0, 0]
        cycle = max(cycle, last + rows - (n_k - 1))
        for k in range(n_k):
            tb.activation(cycle, acts[k], start=k == 0, last=k == n_k - 1)
            tb.north_weight(cycle, weights[k])
            last = cycle
            cycle += 1 + int(index % 2 and rng.random() < 0.3)
        expected += [(last + rows + 1 + row, golden[row]) for row in range(rows)]
    seen = await tb.play(cycle + 3 * rows + cols + 8)
    scoreboard = Scoreboard("array output-stationary")
    for col in range(cols):
        scoreboard.compare(f"column {col}", [(t + col, g[col]) for t, g in expected], seen[col], lane="cycle/psum")
    scoreboard.check()


@cocotb.test()
async def output_stationary_overflow(dut):
    """The overflow of any single tile reaches the array's sticky bit."""
    tb = ArrayBench(dut)
    act, wgt = limits(tb.p.ACT_BITS, False)[1], limits(tb.p.WGT_BITS)[1]
    fits = limits(tb.p.PSUM_BITS)[1] // (act * wgt)
    for row in range(tb.rows):
        for col in range(tb.cols):
            for length in (fits, fits + 1):
                await tb.start(OS)
                for k in range(length):
                    tb.activation(k, [act * (r == row) for r in range(tb.rows)], start=k == 0)
                    tb.north_weight(k, [wgt * (c == col) for c in range(tb.cols)])
                await tb.play(length + tb.rows + tb.cols + 6)
                seen = bool(read_word(dut.overflow))
                assert seen == (length > fits), f"overflow is {seen} after {length} operands in tile {row}, {col}"


@cocotb.test()
async def reset_in_pass(dut):
    """Reset while operands are everywhere in the array: nothing comes out, the next pass is right."""
    tb = ArrayBench(dut)
    await tb.start(WS)
    weights = np.ones((tb.rows, tb.cols), np.int64)
    for repeat in range(2):
        for col in range(tb.cols):
            tb.west_weight(col, weights[:, col])
        for t in range(4):
            tb.activation(tb.cols + t, [1] * tb.rows, start=t == 0)
        if repeat == 0:
            await tb.play(tb.cols + 2)
            tb._drive({})
            await reset(dut)
    seen = await tb.play(3 * (tb.rows + tb.cols) + 8)
    assert all([psum for _, psum in seen[col]] == [tb.rows] * 4 for col in seen), seen
