"""cocotb tests of the FIFOs: ``fifo``, the skewing ``skew_fifo``, ``l0`` and ``ififo``, the deskewing ``ofifo``.

The input monitor feeds the model: what went in, in order, is what must come out.
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from tb.parts.clocking import reset, start_clock
from tb.parts.lanes import pack_lanes, unpack_lanes
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import generator, parameters
from tb.parts.streams import StreamMonitor, StreamSink, StreamSource, random_pauses, read_bit, read_word


async def start(dut) -> None:
    start_clock(dut)
    await reset(dut)


# fifo ------------------------------------------------------------------------------------------------------------


class FifoBench:
    def __init__(self, dut):
        self.dut, self.p = dut, parameters()

    async def start(self) -> None:
        self.source = StreamSource(self.dut, "wr", ["data"])
        self.dut.rd_ready.value = 0
        await start(self.dut)
        self.monitor = StreamMonitor(self.dut, "wr", ["data"])
        self.sink = StreamSink(self.dut, "rd", ["data"])

    def words(self, count: int, salt: str) -> list[tuple[int]]:
        return [(int(v),) for v in generator(salt).integers(0, 1 << self.p.WIDTH, count)]

    def check(self, title: str) -> None:
        scoreboard = Scoreboard(title)
        scoreboard.compare("entry", self.monitor.words[0], self.sink.words[0], lane="field")
        scoreboard.check()


@cocotb.test()
async def fifo_order(dut):
    """Every entry comes out once and in order, at every mix of gaps and back-pressure."""
    tb = FifoBench(dut)
    await tb.start()
    for writing, reading in ((0, 0), (0.6, 0), (0, 0.6), (0.4, 0.4)):
        tb.source.set_pause_generator(random_pauses(f"w{writing}", writing))
        tb.sink.set_pause_generator(random_pauses(f"r{reading}", reading))
        await tb.source.send(tb.words(200, f"{writing}{reading}"))
    tb.sink.set_pause_generator(None)
    while read_bit(dut.rd_valid):
        await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    assert tb.monitor.count == 800
    tb.check("fifo order")


@cocotb.test()
async def fifo_full_and_empty(dut):
    """Exactly DEPTH entries fit; full refuses, empty offers nothing; this holds at every place of the indices."""
    tb = FifoBench(dut)
    await tb.start()
    for turn in range(tb.p.DEPTH + 1):
        tb.sink.set_pause_generator(iter(lambda: True, None))
        tb.source.send_nowait(tb.words(tb.p.DEPTH + 1, f"turn{turn}"))
        for _ in range(tb.p.DEPTH + 4):
            await RisingEdge(dut.clk)
        assert tb.monitor.count - tb.sink.count == tb.p.DEPTH, "a FIFO of DEPTH entries takes DEPTH entries"
        assert not read_bit(dut.wr_ready)
        tb.sink.set_pause_generator(None)
        await tb.source.wait()
        for _ in range(tb.p.DEPTH + 4):
            await RisingEdge(dut.clk)
        assert not read_bit(dut.rd_valid) and read_bit(dut.wr_ready)
        assert tb.monitor.count == tb.sink.count == (turn + 1) * (tb.p.DEPTH + 1)
    tb.check("fifo full and empty")


@cocotb.test()
async def fifo_reset_during_burst(dut):
    """A reset empties the FIFO; what is written afterwards comes out alone."""
    tb = FifoBench(dut)
    await tb.start()
    tb.sink.set_pause_generator(random_pauses("reset", 0.7))
    tb.source.send_nowait(tb.words(50, "before"))
    for _ in range(17):
        await RisingEdge(dut.clk)
    tb.source.clear()
    await reset(dut)
    assert not read_bit(dut.rd_valid)
    tb.monitor.clear()
    tb.sink.clear()
    await tb.source.send(tb.words(30, "after"))
    tb.sink.set_pause_generator(None)
    for _ in range(tb.p.DEPTH + 4):
        await RisingEdge(dut.clk)
    assert tb.sink.count == 30
    tb.check("fifo after reset")


# skew_fifo, l0, ififo --------------------------------------------------------------------------------------------

LANE_PORTS = {  # module -> valid and data of the lanes, flags
    "skew_fifo": ("lane_valid", "lane_data", None),
    "l0": ("row_valid", "row_data", "row_flags"),
    "ififo": ("col_valid", "col_data", None),
}


class SkewBench:
    """Writes words, starts reads at random, and collects what each lane shows with its cycle."""

    def __init__(self, dut):
        self.dut, self.p = dut, parameters()
        self.lanes = next(getattr(self.p, name) for name in ("LANES", "ROWS", "COLS") if hasattr(self.p, name))
        module = "ififo" if hasattr(self.p, "COLS") else "l0" if hasattr(self.p, "ROWS") else "skew_fifo"
        valid, data, flags = LANE_PORTS[module]
        self.valid, self.data = getattr(dut, valid), getattr(dut, data)
        self.flags = getattr(dut, flags) if flags else None
        self.flag_bits = getattr(self.p, "FLAGS", 1)

    async def start(self) -> None:
        self.source = StreamSource(self.dut, "wr", ["data", "flags"] if self.flags is not None else ["data"])
        self.dut.rd_start.value = 0
        await start(self.dut)

    def queue(self, count: int, salt: str) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(salt)
        data = rng.integers(0, 1 << self.p.WIDTH, (count, self.lanes))
        flags = rng.integers(0, 1 << self.flag_bits, count)
        words = pack_lanes(data, self.p.WIDTH)
        self.source.send_nowait(
            [(w, int(f)) if self.flags is not None else (w,) for w, f in zip(words, flags, strict=True)]
        )
        return data, flags

    async def read(self, count: int, hold, cycles: int | None = None):
        """Start ``count`` reads, held by ``hold``; cycles of the starts, and (cycle, value, flags) by lane.

        cycles: after so many it is left, whatever was read; without them all of it must come.
        """
        starts, lanes = [], [[] for _ in range(self.lanes)]
        for cycle in range(cycles or 4000):
            wanted = len(starts) < count and not next(hold)
            await FallingEdge(self.dut.clk)  # rd_valid of this cycle is known by then
            begins = wanted and read_bit(self.dut.rd_valid)
            self.dut.rd_start.value = int(begins)
            await RisingEdge(self.dut.clk)
            if begins:
                starts.append(cycle)
            mask = read_word(self.valid)
            word, flags = str(self.data.value), str(self.flags.value) if self.flags is not None else None
            for lane in range(self.lanes):
                if mask >> lane & 1:
                    end = len(word) - lane * self.p.WIDTH
                    value = int(word[end - self.p.WIDTH : end], 2)
                    flag = -1
                    if flags is not None:
                        bits = (flags[len(flags) - 1 - index * self.lanes - lane] for index in range(self.flag_bits))
                        flag = sum(int(bit) << index for index, bit in enumerate(bits))
                    lanes[lane].append((cycle, value, flag))
            if len(starts) == count and len(lanes[-1]) == count:
                break
        else:
            assert cycles, f"{len(starts)} of {count} words started, {len(lanes[-1])} came out of the last lane"
        self.dut.rd_start.value = 0
        return starts, lanes

    def check(self, starts, lanes, data, flags) -> None:
        scoreboard = Scoreboard("skew")
        for lane in range(self.lanes):
            expected = [
                (t + 1 + lane, int(data[i, lane]), int(flags[i]) if self.flags is not None else -1)
                for i, t in enumerate(starts)
            ]
            scoreboard.compare(f"lane {lane}", expected, lanes[lane], lane="cycle/value/flags")
        scoreboard.check()


@cocotb.test()
async def skew_order(dut):
    """Lane i shows each word exactly i + 1 cycles after its start, flags with it, whatever the gaps."""
    tb = SkewBench(dut)
    await tb.start()
    for index, (writing, reading) in enumerate(((0, 0), (0.5, 0), (0, 0.5), (0.4, 0.3))):
        tb.source.set_pause_generator(random_pauses(f"w{index}", writing))
        data, flags = tb.queue(60, f"skew{index}")
        starts, lanes = await tb.read(60, random_pauses(f"r{index}", reading))
        assert len(starts) == 60
        tb.check(starts, lanes, data, flags)


@cocotb.test()
async def skew_full(dut):
    """Exactly DEPTH words fit, also while their lanes lag behind."""
    tb = SkewBench(dut)
    await tb.start()
    data, flags = tb.queue(3 * tb.p.DEPTH, "full")
    for _ in range(2 * tb.p.DEPTH + 4):
        await RisingEdge(dut.clk)
    sent, ready = tb.source.sent, read_bit(dut.wr_ready)
    assert sent == tb.p.DEPTH and not ready, f"it took {sent} words of DEPTH = {tb.p.DEPTH}, wr_ready is {int(ready)}"
    starts, lanes = await tb.read(3 * tb.p.DEPTH, iter(lambda: False, None))
    tb.check(starts, lanes, data, flags)
    await RisingEdge(dut.clk)
    assert not read_bit(dut.rd_valid)


@cocotb.test()
async def skew_throughput(dut):
    """With DEPTH of at least LANES + 2 a word starts in every cycle."""
    tb = SkewBench(dut)
    if tb.lanes + 2 > tb.p.DEPTH:
        return
    await tb.start()
    data, flags = tb.queue(80, "throughput")
    for _ in range(4):
        await RisingEdge(dut.clk)
    starts, lanes = await tb.read(80, iter(lambda: False, None))
    tb.check(starts, lanes, data, flags)
    assert starts == list(range(starts[0], starts[0] + 80)), "a word could not start in every cycle"


@cocotb.test()
async def skew_reset_during_burst(dut):
    """A reset while lanes still lag: nothing of the old words shows, the new ones are right."""
    tb = SkewBench(dut)
    await tb.start()
    tb.queue(20, "before")
    await tb.read(20, iter(lambda: False, None), cycles=9)
    tb.source.clear()
    await reset(dut)
    assert read_word(tb.valid) == 0 and not read_bit(dut.rd_valid)
    data, flags = tb.queue(15, "after")
    starts, lanes = await tb.read(15, random_pauses("after", 0.3))
    tb.check(starts, lanes, data, flags)


@cocotb.test()
async def skew_start_of_nothing_stops_the_simulation(dut):
    """Must not return: a word is started where none waits."""
    tb = SkewBench(dut)
    await tb.start()
    dut.rd_start.value = 1
    for _ in range(4):
        await RisingEdge(dut.clk)


# ofifo -----------------------------------------------------------------------------------------------------------


async def write_columns(dut, p, data: np.ndarray, delays: np.ndarray) -> None:
    """Column c of word i is written delays[i, c] cycles after the word's own cycle i, in order within the column."""
    when = np.arange(len(data))[:, None] + delays
    for i in range(1, len(data)):
        when[i] = np.maximum(when[i], when[i - 1] + 1)
    for cycle in range(int(when.max()) + 1):
        valid, word = 0, 0
        for i, c in np.argwhere(when == cycle):
            valid |= 1 << int(c)
            word |= int(data[i, c]) << (int(c) * p.WIDTH)
        dut.wr_valid.value, dut.wr_data.value = valid, word
        await RisingEdge(dut.clk)
    dut.wr_valid.value = 0


@cocotb.test()
async def ofifo_deskew(dut):
    """Columns that come skewed, also by random cycles, leave as whole words in order."""
    p = parameters()
    dut.wr_valid.value = 0
    dut.rd_ready.value = 0
    await start(dut)
    sink, rng = StreamSink(dut, "rd", ["data"]), generator("ofifo")
    expected = []
    for index in range(12):
        sink.set_pause_generator(random_pauses(f"ofifo{index}", 0.3 * (index % 3)))
        data = rng.integers(0, 1 << p.WIDTH, (p.DEPTH, p.COLS))
        late = 0 if index % 2 else np.sort(rng.integers(0, 5, (p.DEPTH, p.COLS)), 1)
        skew = np.arange(p.COLS) + late
        await write_columns(dut, p, data, np.broadcast_to(skew, data.shape))
        expected.append(data)
        for _ in range(400):
            if sink.count == (index + 1) * p.DEPTH:
                break
            await RisingEdge(dut.clk)
    scoreboard = Scoreboard("ofifo")
    scoreboard.compare("word", np.concatenate(expected), unpack_lanes(sink.words[0], p.COLS, p.WIDTH, signed=False))
    scoreboard.check()


@cocotb.test()
async def ofifo_waits_for_the_last_column(dut):
    """No word is offered before its last column comes; that one's psum falls through."""
    p = parameters()
    dut.wr_valid.value = 0
    dut.rd_ready.value = 1
    await start(dut)
    for _ in range(3):
        for column in range(p.COLS):
            dut.wr_valid.value, dut.wr_data.value = 1 << column, (column + 1) << (column * p.WIDTH)
            await RisingEdge(dut.clk)
            assert read_bit(dut.rd_valid) == (column == p.COLS - 1)
        assert unpack_lanes([read_word(dut.rd_data)], p.COLS, p.WIDTH)[0].tolist() == list(range(1, p.COLS + 1))
        dut.wr_valid.value = 0
        for _ in range(4):
            await RisingEdge(dut.clk)
            assert not read_bit(dut.rd_valid)


@cocotb.test()
async def ofifo_reset_with_words_inside(dut):
    """Words and parts of words from before a reset are gone."""
    p = parameters()
    dut.wr_valid.value, dut.rd_ready.value = 0, 0
    await start(dut)
    words = np.zeros((2, p.COLS), np.int64)
    await write_columns(dut, p, words, np.arange(p.COLS) + words)
    for column in range(p.COLS - 1):
        dut.wr_valid.value = 1 << column
        await RisingEdge(dut.clk)
    dut.wr_valid.value = 0
    await reset(dut)
    assert not read_bit(dut.rd_valid)
    sink, data = StreamSink(dut, "rd", ["data"]), np.arange(p.COLS)[None] % (1 << p.WIDTH)
    await write_columns(dut, p, data, np.arange(p.COLS)[None])
    for _ in range(4):
        await RisingEdge(dut.clk)
    assert (unpack_lanes(sink.words[0], p.COLS, p.WIDTH, signed=False) == data).all()


@cocotb.test()
async def ofifo_overflow_stops_the_simulation(dut):
    """Must not return: the design stops when a psum would be lost."""
    p = parameters()
    dut.wr_valid.value, dut.rd_ready.value, dut.wr_data.value = 0, 0, 0
    await start(dut)
    dut.wr_valid.value = 1
    for _ in range(p.DEPTH + 3):
        await RisingEdge(dut.clk)


@cocotb.test()
async def ofifo_disorder_stops_the_simulation(dut):
    """Must not return: the last column's psum comes while another column has none."""
    p = parameters()
    dut.wr_valid.value, dut.rd_ready.value, dut.wr_data.value = 0, 0, 0
    await start(dut)
    dut.wr_valid.value = 1 << (p.COLS - 1)
    for _ in range(4):
        await RisingEdge(dut.clk)
