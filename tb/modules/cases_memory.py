"""cocotb tests of ``sram`` and of ``wgt_fetch`` in front of one."""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from tb.parts.clocking import reset, start_clock
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import generator, parameters
from tb.parts.streams import StreamMonitor, StreamSink, StreamSource, random_pauses, read_bit, read_word


@cocotb.test()
async def sram_random(dut):
    """Random reads and writes in the same cycles, rd_data held between reads; a clash of addresses gives anything."""
    p, rng = parameters(), generator("sram")
    dut.wr_en.value = dut.rd_en.value = 0
    start_clock(dut)
    memory, expected, actual, shown = {}, [], [], None
    for address in range(p.DEPTH):  # both ends and everything between
        memory[address] = int(rng.integers(0, 1 << p.WIDTH))
        dut.wr_en.value, dut.wr_addr.value, dut.wr_data.value = 1, address, memory[address]
        await RisingEdge(dut.clk)
    for _ in range(600):
        wr_en, rd_en = (int(b) for b in rng.integers(0, 2, 2))
        wr_addr, rd_addr = (int(a) for a in rng.integers(0, min(p.DEPTH, 6), 2))  # few: what was just written is read
        data = int(rng.integers(0, 1 << p.WIDTH))
        dut.wr_en.value, dut.wr_addr.value, dut.wr_data.value = wr_en, wr_addr, data
        dut.rd_en.value, dut.rd_addr.value = rd_en, rd_addr
        await RisingEdge(dut.clk)
        if shown is not None:
            expected.append(shown)
            actual.append(read_word(dut.rd_data))
        if rd_en:
            shown = None if wr_en and wr_addr == rd_addr else memory[rd_addr]
        if wr_en:
            memory[wr_addr] = data
    scoreboard = Scoreboard("sram")
    scoreboard.compare("rd_data", expected, actual)
    scoreboard.check()


class FetchBench:
    """wgt_fetch with a memory of its own in Python: word n of the memory is n + 1."""

    def __init__(self, dut):
        self.dut, self.p = dut, parameters()

    async def start(self) -> None:
        self.ops = StreamSource(self.dut, "op", ["addr"])
        self.dut.word_ready.value = 0
        self.dut.mem_rd_data.value = 0
        start_clock(self.dut)
        await reset(self.dut)
        self.seen = StreamMonitor(self.dut, "op", ["addr"])
        self.words = StreamSink(self.dut, "word", ["data"])
        cocotb.start_soon(self._memory())

    async def _memory(self):
        while True:
            await RisingEdge(self.dut.clk)
            if read_bit(self.dut.mem_rd_en):
                self.dut.mem_rd_data.value = (read_word(self.dut.mem_rd_addr) + 1) % (1 << self.p.WIDTH)

    def queue(self, count: int, salt: str) -> None:
        self.ops.send_nowait([(int(a),) for a in generator(salt).integers(0, 1 << self.p.ADDR_BITS, count)])

    async def finish(self, limit: int = 3000) -> None:
        for _ in range(limit):
            if self.ops.idle and self.words.count == self.seen.count:
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{self.words.count} of {self.seen.count} words came in {limit} cycles")

    def check(self) -> None:
        expected = [(addr + 1) % (1 << self.p.WIDTH) for addr in self.seen.words[0]]
        scoreboard = Scoreboard("wgt_fetch")
        scoreboard.compare("word", expected, self.words.words[0])
        scoreboard.check()


@cocotb.test()
async def fetch_order(dut):
    """Every operation gives its word, in order at every mix of gaps and back-pressure."""
    tb = FetchBench(dut)
    await tb.start()
    for index, (asking, taking) in enumerate(((0, 0), (0.5, 0), (0, 0.6), (0.4, 0.4))):
        tb.ops.set_pause_generator(random_pauses(f"a{index}", asking))
        tb.words.set_pause_generator(random_pauses(f"t{index}", taking))
        tb.queue(100, f"fetch{index}")
        await tb.finish()
    tb.check()


@cocotb.test()
async def fetch_throughput(dut):
    """A word in every cycle, the first one cycle after its operation."""
    tb = FetchBench(dut)
    await tb.start()
    tb.queue(100, "throughput")
    await tb.finish()
    period = tb.words.last_step - tb.words.first_step
    assert period == tb.seen.last_step - tb.seen.first_step, "the words came slower than the operations"
    assert (tb.words.first_step - tb.seen.first_step) * 99 == period, "a word must follow its operation by one cycle"
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
