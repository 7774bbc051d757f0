"""cocotb tests of ``row_feed``: everything that moves along a row, at random, against what each column must see.

What column c must show in a cycle follows from what entered the row so many cycles before; only the weights' line has a
state, a shadow register that is full or not.
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from tb.parts.clocking import start_clock
from tb.parts.lanes import pack_lanes, unpack_lanes
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import generator, parameters
from tb.parts.streams import read_word

WS, OS = 0, 1
CYCLES = 500
FLAGS = ("psum_valid_s", "drain_s", "pass_done", "tile_take", "tile_load", "tile_start", "tile_adds", "tile_ends")


class Row:
    """Random inputs of ``CYCLES`` cycles, and what the row must show in each of them."""

    def __init__(self, dut, dataflow: int, simd: bool, twin: bool, resets: float):
        self.dut, self.p, self.dataflow, self.simd, self.twin = dut, parameters(), dataflow, simd, twin
        self.cols, self.field_bits = self.p.COLS, self.p.WGT_BITS * (1 + self.p.SIMD)
        rng = generator("row", dataflow, simd, twin, resets)

        def bits(probability, *shape):
            return rng.random((CYCLES, *shape)) < probability

        self.reset = bits(resets)
        self.valid, self.start, self.last = bits(0.7), bits(0.3), bits(0.3)
        self.act, self.act_twin = (rng.integers(0, 1 << self.p.ACT_BITS, CYCLES) for _ in range(2))
        self.wgt_valid = bits(0.6)
        self.wgt = rng.integers(0, 1 << self.field_bits, (CYCLES, self.p.WGT_LANES))
        self.wgt_n = rng.integers(0, 1 << self.field_bits, (CYCLES, self.cols))
        self.drain_n = bits(0.3, self.cols)
        self.psum_valid_n = bits(0.3, self.cols) & ~self.drain_n  # both at once would stop the simulation

    async def run(self) -> Scoreboard:
        """Play all cycles and compare what shows in each."""
        dut = self.dut
        dut.dataflow.value, dut.act_signed.value = self.dataflow, 0
        dut.simd.value, dut.twin.value = int(self.simd), int(self.twin)
        for name in ("act_valid", "act_start", "act_last", "act", "act_twin", "wgt_valid", "wgt"):
            getattr(dut, name).value = 0
        dut.wgt_n.value = dut.drain_n.value = dut.psum_valid_n.value = 0
        dut.reset.value = 1
        for _ in range(self.cols + 4):  # until the lines hold nothing unknown
            await RisingEdge(dut.clk)
        inputs = {
            "reset": self.reset, "act_valid": self.valid, "act_start": self.start, "act_last": self.last,
            "act": self.act, "act_twin": self.act_twin, "wgt_valid": self.wgt_valid,
        }  # fmt: skip
        buses = {
            "wgt": pack_lanes(self.wgt, self.field_bits), "wgt_n": pack_lanes(self.wgt_n, self.field_bits),
            "drain_n": pack_lanes(self.drain_n, 1), "psum_valid_n": pack_lanes(self.psum_valid_n, 1),
        }  # fmt: skip
        widths = dict.fromkeys(FLAGS, 1) | {"tile_act": self.p.ACT_BITS, "wgt_s": self.field_bits}
        seen: dict[str, list[int]] = {name: [] for name in (*widths, "tile_wgt_w")}
        for t in range(CYCLES):
            for name, values in (*inputs.items(), *buses.items()):
                getattr(dut, name).value = int(values[t])
            await RisingEdge(dut.clk)
            for name, words in seen.items():
                words.append(read_word(getattr(dut, name)))
        expected, line = self.expected()
        scoreboard = Scoreboard(f"row_feed, {'OS' if self.dataflow else 'WS'}")
        for name, bits in widths.items():
            shown = unpack_lanes(seen[name], self.cols, bits, signed=False)
            scoreboard.compare(name, expected[name], shown, names=("cycle",))
        # A field of the line means something where a word is there.
        fields = unpack_lanes(seen["tile_wgt_w"], self.cols * self.p.WGT_LANES, self.field_bits, signed=False)
        line = line.reshape(fields.shape)
        scoreboard.compare("word on the line", line, np.where(line < 0, -1, fields), names=("cycle",), lane="field")
        return scoreboard

    def entered(self, values: np.ndarray, ago: int) -> np.ndarray:
        """[cycle, column]: what entered column c ``ago`` cycles before; 0 before the first cycle."""
        shown = np.zeros((CYCLES, self.cols), values.dtype)
        for c in range(self.cols):
            shown[ago + c :, c] = values[: max(0, CYCLES - ago - c)]
        return shown

    def unharmed(self, cycles: int, until: int) -> np.ndarray:
        """[cycle, column]: no reset from ``cycles`` before (and a column's way more) to ``until`` before."""
        fine = np.ones((CYCLES, self.cols), bool)
        for c in range(self.cols):
            for back in range(until, cycles + c + 1):
                fine[back:, c] &= ~self.reset[: CYCLES - back]
        return fine

    def earlier(self, values: np.ndarray, ago: int) -> np.ndarray:
        """[cycle, column]: values of ``ago`` cycles before, of the same column."""
        return np.concatenate([np.zeros((ago, self.cols), values.dtype), values[: CYCLES - ago]])

    def expected(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        output_stationary = self.dataflow == OS
        quiet = ~self.reset[:, None]
        adds = self.entered(self.valid, 2) & self.unharmed(2, 0) & output_stationary
        ends = adds & self.entered(self.last, 2)
        take, load, line = self.weights()
        from_north = self.earlier((self.drain_n | self.psum_valid_n) & quiet, 1)
        from_tiles = self.entered(self.valid, 3) & self.unharmed(3, 1)
        act = self.entered(self.act, 1)
        if self.twin:
            half = self.cols // 2
            act[:, half:] = self.entered(self.act_twin, 1)[:, : self.cols - half]
        return {
            "tile_act": act, "tile_take": take, "tile_load": load, "tile_adds": adds, "tile_ends": ends,
            "tile_start": self.entered(self.start, 2), "pass_done": self.earlier(ends, 1),
            "psum_valid_s": from_north if output_stationary else from_tiles,
            "drain_s": self.earlier(self.earlier(self.drain_n & quiet, 1) & quiet, 1),
            "wgt_s": self.earlier(self.wgt_n, 1),
        }, line  # fmt: skip

    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """take and load [cycle, column], and the words on the line [cycle, column, lane], -1 where there is none."""
        lanes = self.p.WGT_LANES
        enters = self.entered(self.valid, 0) & self.unharmed(0, 1)
        swaps = enters & self.entered(self.start, 0) & (self.dataflow == WS)
        take = np.zeros((CYCLES, self.cols), bool)
        line = np.full((CYCLES + 1, self.cols + 1, lanes), -1)
        line[:CYCLES, 0] = np.where(self.wgt_valid[:, None], self.wgt, -1)
        for c in range(self.cols):
            group = c // lanes
            last = c % lanes == lanes - 1 and (self.simd or not self.p.PACKED or group % 2 == 1)
            full = False
            for t in range(CYCLES):
                there = line[t, c, 0] >= 0
                take[t, c] = there and (not full or swaps[t, c])
                full = (take[t, c] or (full and not swaps[t, c])) and not self.reset[t]
                if there and not self.reset[t] and not (take[t, c] and last):
                    line[t + 1, c + 1] = line[t, c]
        return take, swaps | (self.dataflow == OS), line[:CYCLES, : self.cols]


async def at_random(dut, dataflow: int, simd: bool = False, resets: float = 0.0) -> None:
    start_clock(dut)
    for twin in range(1 + parameters().TWIN):
        (await Row(dut, dataflow, simd, bool(twin), resets).run()).check()


@cocotb.test()
async def weight_stationary(dut):
    """Words and swaps in any order: who takes what, and what moves on; valid psums at their cycles."""
    await at_random(dut, WS)


@cocotb.test()
async def weight_stationary_simd(dut):
    """The same in a2w4: a word of packed hardware feeds one group only."""
    await at_random(dut, WS, simd=True)


@cocotb.test()
async def output_stationary(dut):
    """Operands, ends of passes and drain tokens in any order."""
    await at_random(dut, OS)


@cocotb.test()
async def output_stationary_simd(dut):
    """The same in a2w4."""
    await at_random(dut, OS, simd=True)


@cocotb.test()
async def reset_at_any_moment(dut):
    """After a reset nothing of what was on its way is valid."""
    for dataflow in (WS, OS):
        await at_random(dut, dataflow, resets=0.02)
