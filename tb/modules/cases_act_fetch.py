"""cocotb tests of ``act_fetch`` in front of its banks: words that begin anywhere, padding, back-pressure, reset."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from tb.parts.clocking import reset, start_clock
from tb.parts.lanes import pack_lanes
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import generator, parameters
from tb.parts.streams import StreamMonitor, StreamSink, StreamSource, random_pauses, read_bit

FIELDS = ["addr", "next", "rot", "pad", "flags"]


class FetchBench:
    """act_fetch and banks full of random activations; ``memory`` [word, bank] is what was written."""

    def __init__(self, dut):
        self.dut, self.p = dut, parameters()
        self.depth = 1 << self.p.ADDR_BITS
        shape = (self.depth, self.p.ROWS)
        self.memory = generator("memory").integers(1, 1 << self.p.ACT_BITS, shape)  # a 0 would look like padding

    async def start(self) -> None:
        dut = self.dut
        self.ops = StreamSource(dut, "op", FIELDS)
        dut.word_ready.value = 0
        dut.wr_valid.value = 0
        start_clock(dut)
        await reset(dut)
        for address, word in enumerate(pack_lanes(self.memory, self.p.ACT_BITS)):
            dut.wr_valid.value, dut.wr_addr.value, dut.wr_data.value = 1, address, word
            await RisingEdge(dut.clk)
        dut.wr_valid.value = 0
        self.seen = StreamMonitor(dut, "op", FIELDS)
        self.words = StreamSink(dut, "word", ["data", "flags"])

    def queue(self, count: int, salt: str) -> None:
        """Random operations: half of them ROWS consecutive values, the others two words that have nothing in common."""
        p, rng = self.p, generator(salt)
        everything = (1 << p.ROWS) - 1
        for _ in range(count):
            addr, jump = (int(a) for a in rng.integers(0, self.depth, 2))
            following = jump if rng.random() < 0.5 else (addr + 1) % self.depth
            rot = int(rng.choice([0, p.ROWS - 1, rng.integers(0, p.ROWS)]))
            pad = int(rng.choice([0, everything, rng.integers(0, everything, endpoint=True)]))
            self.ops.send_nowait([(addr, following, rot, pad, int(rng.integers(0, 1 << p.FLAGS)))])

    async def finish(self, limit: int = 3000) -> None:
        for _ in range(limit):
            if self.ops.idle and self.words.count == self.seen.count:
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{self.words.count} of {self.seen.count} words came in {limit} cycles")

    def expected(self, addr: int, following: int, rot: int, pad: int) -> np.ndarray:
        """The two words side by side, ROWS values from ``rot`` on, zero where padded."""
        line = np.concatenate([self.memory[addr], self.memory[following]])[rot : rot + self.p.ROWS]
        return np.where([pad >> row & 1 for row in range(self.p.ROWS)], 0, line)

    def check(self) -> None:
        *operands, flags = self.seen.words
        words = np.array([self.expected(*operation) for operation in zip(*operands, strict=True)])
        scoreboard = Scoreboard("act_fetch")
        bits = self.p.ACT_BITS
        rows = [
            [word >> (row * bits) & ((1 << bits) - 1) for row in range(self.p.ROWS)] for word in self.words.words[0]
        ]
        scoreboard.compare("word", words, np.array(rows), lane="row")
        scoreboard.compare("flags", flags, self.words.words[1])
        scoreboard.check()


@cocotb.test()
async def fetch_order(dut):
    """Every operation gives its word, in order, at every mix of gaps and back-pressure."""
    tb = FetchBench(dut)
    await tb.start()
    for index, (asking, taking) in enumerate(((0, 0), (0.5, 0), (0, 0.6), (0.4, 0.4))):
        tb.ops.set_pause_generator(random_pauses(f"a{index}", asking))
        tb.words.set_pause_generator(random_pauses(f"t{index}", taking))
        tb.queue(120, f"fetch{index}")
        await tb.finish()
    tb.check()


@cocotb.test()
async def fetch_every_rotation(dut):
    """Windows that slide over the memory by one value: what a kernel tap makes of a row of positions."""
    tb = FetchBench(dut)
    await tb.start()
    p = tb.p
    for first in range(min(tb.depth - 1, 9) * p.ROWS):
        addr, rot = divmod(first, p.ROWS)
        tb.ops.send_nowait([(addr, addr + 1, rot, 0, 0)])
    await tb.finish()
    tb.check()
    flat, count = tb.memory.reshape(-1), len(tb.words.words[0])
    windows = np.lib.stride_tricks.sliding_window_view(flat, p.ROWS)[:count]
    assert tb.words.words[0] == pack_lanes(windows, p.ACT_BITS)


@cocotb.test()
async def fetch_throughput(dut):
    """A word in every cycle, the first two cycles after its operation."""
    tb = FetchBench(dut)
    await tb.start()
    tb.queue(100, "throughput")
    await tb.finish()
    period = tb.words.last_step - tb.words.first_step
    assert period == tb.seen.last_step - tb.seen.first_step, "the words came slower than the operations"
    assert (tb.words.first_step - tb.seen.first_step) * 99 == 2 * period, "not two cycles after its operation"
    tb.check()


@cocotb.test()
async def fetch_reads_no_padding(dut):
    """The banks are read once for an operation with a value in it, and not for padding or while a word waits."""
    tb = FetchBench(dut)
    await tb.start()
    tb.words.set_pause_generator(random_pauses("reads", 0.5))
    tb.queue(150, "reads")
    reads = 0
    while not (tb.ops.idle and tb.words.count == tb.seen.count):
        await RisingEdge(dut.clk)
        reads += read_bit(dut.rd_en)
    everything = (1 << tb.p.ROWS) - 1
    assert reads == sum(pad != everything for pad in tb.seen.words[3])
    tb.check()


@cocotb.test()
async def fetch_reset_during_burst(dut):
    """A word that waits is gone after a reset."""
    tb = FetchBench(dut)
    await tb.start()
    tb.words.set_pause_generator(iter(lambda: True, None))
    tb.queue(10, "before")
    for _ in range(6):
        await RisingEdge(dut.clk)
    assert read_bit(dut.word_valid)
    tb.ops.clear()
    await reset(dut)
    assert not read_bit(dut.word_valid)
    tb.seen.clear()
    tb.words.clear()
    tb.words.set_pause_generator(None)
    tb.queue(10, "after")
    await tb.finish()
    tb.check()
