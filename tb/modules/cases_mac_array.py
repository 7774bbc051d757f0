"""cocotb tests of ``mac_array``: skewed operands in, every psum at its cycle out.

Operands are arrays with an axis of input channels, of length 1 in a4w4 and 2 in a2w4: the low and the high half.
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden_model.psum import os_psums, ws_psums
from tb.parts.clocking import reset, start_clock
from tb.parts.lanes import unpack_lanes
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import encode, generator, limits, parameters
from tb.parts.streams import read_word

WS, OS = 0, 1


class ArrayBench:
    """Schedules operands by the cycle in which they enter row 0 / column 0 and adds the skew itself."""

    def __init__(self, dut):
        self.dut, self.p, self.running = dut, parameters(), False
        self.rows, self.cols = self.p.ROWS, self.p.COLS
        self.twin = getattr(self.p, "TWIN", 0)
        self.simd, self.lanes = getattr(self.p, "SIMD", 0), getattr(self.p, "WGT_LANES", 1)
        self.field_bits = self.p.WGT_BITS * (1 + self.simd)
        self.events: dict[int, dict[tuple[str, int], int]] = {}  # cycle -> (signal, lane) -> value

    def act_range(self, signed: bool, channels: int = 1) -> tuple[int, int]:
        return limits(self.p.ACT_BITS // channels, signed)

    def fields(self, weights) -> np.ndarray:
        """Bits of a tile's weights, [..., channel] -> [...]; a single one stands below itself turned over."""
        both = np.stack([weights[..., 0], weights[..., 1] if weights.shape[-1] > 1 else ~weights[..., 0]], axis=-1)
        bits = both & ((1 << self.p.WGT_BITS) - 1)
        return (bits[..., 0] | bits[..., 1] << self.p.WGT_BITS) & ((1 << self.field_bits) - 1)

    async def start(self, dataflow: int, signed: bool = False, channels: int = 1) -> None:
        self.dut.dataflow.value, self.dut.act_signed.value = dataflow, int(signed)
        self.dut.simd.value = channels - 1
        if self.twin:
            self.dut.twin.value = 0
        self.shared = 2 if getattr(self.p, "PACKED", 0) and channels == 1 else 1  # columns of a field
        self.n_loads = self.cols // (self.lanes * self.shared)  # words that fill a row
        self._drive({})
        if not self.running:
            start_clock(self.dut)
            self.running = True
        await reset(self.dut)

    def at(self, cycle: int, signal: str, lane: int, value: int) -> None:
        slot = self.events.setdefault(cycle, {})
        assert (signal, lane) not in slot, f"two operands for {signal}[{lane}] in cycle {cycle}"
        slot[signal, lane] = int(value)

    def joined(self, values: np.ndarray) -> np.ndarray:
        """Activations [row, channel] -> bits of each row's operand."""
        bits = self.p.ACT_BITS // values.shape[1]
        return ((values & ((1 << bits) - 1)) << bits * np.arange(values.shape[1])).sum(axis=1)

    def twin_activation(self, cycle: int, values: np.ndarray) -> None:
        """Activations [row, channel] of the upper half, which go with those of ``cycle``."""
        for row, value in enumerate(self.joined(values)):
            self.at(cycle + row + self.cols // 2, "act_twin", row, value)

    def activation(self, cycle: int, values, start: bool = False, last: bool = False) -> None:
        """Activations [row, channel]."""
        for row, value in enumerate(self.joined(values)):
            self.at(cycle + row, "act_valid", row, 1)
            self.at(cycle + row, "act", row, value)
            self.at(cycle + row, "act_start", row, start)
            self.at(cycle + row, "act_last", row, last)

    def load(self, cycle: int, weights) -> None:
        """WS weights [row, col, channel] of a pass: words of WGT_LANES fields one after the other."""
        if self.shared == 2:  # [row, word, column of a field, lane, 1] -> [row, field, column of a field]
            split = weights.reshape(len(weights), self.n_loads, 2, self.lanes)
            weights = split.swapaxes(2, 3).reshape(len(weights), -1, 2)
        for row, fields in enumerate(self.fields(weights).tolist()):
            for index in range(self.n_loads):
                word = fields[index * self.lanes : (index + 1) * self.lanes]
                self.at(cycle + index + row, "wgt_valid", row, 1)
                self.at(cycle + index + row, "wgt_w", row, sum(f << (i * self.field_bits) for i, f in enumerate(word)))

    def north_weight(self, cycle: int, weights) -> None:
        """OS weights [col, channel]."""
        for col, value in enumerate(self.fields(weights).tolist()):
            self.at(cycle + col, "wgt_n", col, value)

    def _drive(self, slot: dict[tuple[str, int], int]) -> None:
        buses = {"act_valid": 1, "act_start": 1, "act_last": 1, "act": self.p.ACT_BITS, "wgt_valid": 1,
                 "wgt_w": self.lanes * self.field_bits, "wgt_n": self.field_bits}  # fmt: skip
        if self.twin:
            buses["act_twin"] = self.p.ACT_BITS
        for signal, bits in buses.items():
            word = 0
            for (name, lane), value in slot.items():
                if name == signal:
                    word |= encode(value, bits) << (lane * bits)
            getattr(self.dut, signal).value = word

    async def play(self, cycles: int) -> dict[int, list[tuple[int, int]]]:
        """Play all events; for each column the (cycle, psum) that left it."""
        valid, psum = self.dut.psum_valid, self.dut.psum
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
    await weight_stationary_passes(dut, channels=1)


@cocotb.test()
async def weight_stationary_simd(dut):
    """The same in a2w4."""
    await weight_stationary_passes(dut, channels=2)


async def weight_stationary_passes(dut, channels: int) -> None:
    tb, rng = ArrayBench(dut), generator("array ws")
    rows, cols = tb.rows, tb.cols
    for signed in (False, True):
        await tb.start(WS, signed, channels)
        low, high = tb.act_range(signed, channels)
        expected, passes, cycle = [], 8, tb.n_loads
        weights = rng.integers(*limits(tb.p.WGT_BITS), endpoint=True, size=(passes, rows, cols, channels))
        if not signed:  # the largest magnitudes at once
            weights[1] = limits(tb.p.WGT_BITS)[0]
        tb.load(0, weights[0])
        for index in range(passes):
            length = int(rng.choice([1, 2, cols, cols + 5]))
            acts = rng.integers(low, high, endpoint=True, size=(length, rows, channels))
            if index == 1:
                acts[:] = high
            flat = acts.reshape(length, rows * channels).T, weights[index].swapaxes(1, 2).reshape(-1, cols)
            golden = ws_psums(flat[0][None].astype(np.int32), flat[1][None, None, None].astype(np.int32))[0, 0, 0]
            if index + 1 < passes:
                tb.load(cycle, weights[index + 1])  # the first word with the swap
            when = cycle
            for t in range(length):
                tb.activation(when, acts[t], start=t == 0)
                expected.append((when, golden[t]))
                when += 1 + int(rng.random() < 0.2)  # gaps
            cycle = max(when, cycle + tb.n_loads)
        for noise in range(cycle + rows):  # what lies on the output-stationary path must not matter
            for col in range(cols):
                tb.at(noise, "wgt_n", col, int(rng.integers(0, 1 << tb.field_bits)))
        seen = await tb.play(cycle + rows + cols + 8)
        scoreboard = Scoreboard("array weight-stationary")
        for col in range(cols):
            scoreboard.compare(
                f"column {col}", [(t + rows + 2 + col, g[col]) for t, g in expected], seen[col], lane="cycle/psum"
            )
        scoreboard.check()


@cocotb.test()
async def output_stationary(dut):
    """Passes of max(K, ROWS) cycles back to back, K from 1; row 0 leaves first, in the cycles the header promises."""
    await output_stationary_passes(ArrayBench(dut), signed=False, channels=1)


@cocotb.test()
async def output_stationary_simd(dut):
    """The same in a2w4, unsigned and signed."""
    tb = ArrayBench(dut)
    for signed in (False, True):
        await output_stationary_passes(tb, signed, channels=2)


@cocotb.test()
async def output_stationary_twin(dut):
    """The upper half of the columns with activations of its own, between passes without."""
    tb = ArrayBench(dut)
    for twin in (True, False, True):
        await output_stationary_passes(tb, signed=False, channels=1, twin=twin)
    await output_stationary_passes(tb, signed=True, channels=2, twin=True)


async def output_stationary_passes(tb: ArrayBench, signed: bool, channels: int, twin: bool = False) -> None:
    rng, rows, cols = generator("array os"), tb.rows, tb.cols
    await tb.start(OS, signed, channels)
    if twin:
        tb.dut.twin.value = 1
    low, high = tb.act_range(signed, channels)
    expected, cycle, last = [], 0, -rows
    for index in range(8):
        n_k = int(rng.choice([1, 2, rows, rows + 7]))
        acts = rng.integers(low, high, endpoint=True, size=(n_k, rows, channels))
        weights = rng.integers(*limits(tb.p.WGT_BITS), endpoint=True, size=(n_k, cols, channels))
        flat = (operands.swapaxes(1, 2).reshape(n_k * channels, -1) for operands in (acts, weights))
        golden = os_psums(*(operands[None].astype(np.int32) for operands in flat))[0, 0]
        upper = rng.integers(low, high, endpoint=True, size=(n_k, rows, channels))
        if twin:
            flat = (operands.swapaxes(1, 2).reshape(n_k * channels, -1) for operands in (upper, weights))
            second = os_psums(*(operands[None].astype(np.int32) for operands in flat))[0, 0]
            golden[:, cols // 2 :] = second[:, cols // 2 :]
        cycle = max(cycle, last + rows - (n_k - 1))
        for k in range(n_k):
            tb.activation(cycle, acts[k], start=k == 0, last=k == n_k - 1)
            if tb.twin:
                tb.twin_activation(cycle, upper[k])
            tb.north_weight(cycle, weights[k])
            last = cycle
            cycle += 1 + int(index % 2 and rng.random() < 0.3)
        expected += [(last + rows + 3 + row, golden[row]) for row in range(rows)]
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
                    tb.activation(k, act * (np.arange(tb.rows)[:, None] == row), start=k == 0)
                    tb.north_weight(k, wgt * (np.arange(tb.cols)[:, None] == col))
                await tb.play(length + tb.rows + tb.cols + 6)
                seen = bool(read_word(dut.overflow))
                assert seen == (length > fits), f"overflow is {seen} after {length} operands in tile {row}, {col}"
    assert read_word(dut.overflow)  # the bit stays
    await reset(dut)
    assert not read_word(dut.overflow)


@cocotb.test()
async def reset_in_pass(dut):
    """Reset while operands are everywhere in the array: nothing comes out, the next pass is right."""
    tb = ArrayBench(dut)
    await tb.start(WS)
    for repeat in range(2):
        tb.load(0, np.ones((tb.rows, tb.cols, 1), np.int64))
        for t in range(4):
            tb.activation(tb.n_loads + t, np.ones((tb.rows, 1), np.int64), start=t == 0)
        if repeat == 0:
            await tb.play(tb.n_loads + 2)
            tb._drive({})
            await reset(dut)
    seen = await tb.play(3 * (tb.rows + tb.cols) + 8)
    assert all([psum for _, psum in seen[col]] == [tb.rows] * 4 for col in seen), seen
