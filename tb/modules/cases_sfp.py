"""cocotb tests of ``sfp`` with its psum memory: accumulation with hazards, residual, ReLU, drops, overflow, stalls."""

from __future__ import annotations

import itertools

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from tb.parts.clocking import reset, start_clock
from tb.parts.lanes import pack_lanes, unpack_lanes
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import generator, limits, parameters
from tb.parts.streams import StreamMonitor, StreamSink, StreamSource, random_pauses, read_bit

OP = ["acc", "res", "store", "emit", "relu", "raddr", "waddr"]


class SfpBench:
    """Psums and operations in, outputs out; monitors of both inputs feed the model."""

    def __init__(self, dut):
        self.dut, self.p = dut, parameters()

    async def start(self) -> None:
        self.psums = StreamSource(self.dut, "psum", ["data"])
        self.ops = StreamSource(self.dut, "op", OP)
        self.residuals = StreamSource(self.dut, "res", ["data"])
        self.dut.out_ready.value = 0
        start_clock(self.dut)
        await reset(self.dut)
        self.psum_seen = StreamMonitor(self.dut, "psum", ["data"])
        self.op_seen = StreamMonitor(self.dut, "op", OP)
        self.residual_seen = StreamMonitor(self.dut, "res", ["data"])
        self.out = StreamSink(self.dut, "out", ["data", "sum"])

    def stall(self, salt: str, probability: float) -> None:
        for name, stream in (("p", self.psums), ("o", self.ops), ("r", self.residuals), ("x", self.out)):
            stream.set_pause_generator(random_pauses(f"{salt}{name}", probability))

    def send(self, psums: np.ndarray, ops: list[tuple[int, ...]]) -> None:
        self.psums.send_nowait([(word,) for word in pack_lanes(psums, self.p.PSUM_BITS)])
        self.ops.send_nowait(ops)
        low, high = limits(self.p.PSUM_BITS)
        count = sum(op[OP.index("res")] for op in ops)
        residuals = generator("residuals").integers(low // 4, high // 4, (count, self.p.COLS))
        self.residuals.send_nowait([(word,) for word in pack_lanes(residuals, self.p.PSUM_BITS)])

    async def finish(self, limit: int = 20_000) -> None:
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if self.psums.idle and self.ops.idle and self.residuals.idle and read_bit(self.dut.idle):
                return
        raise AssertionError(
            f"not idle after {limit} cycles: {self.ops.sent} of {len(self.ops.items)} operations taken"
        )

    def check(self, title: str) -> None:
        """The operations' definition applied to what the monitors saw go in."""
        bits, memory, sums, outputs = self.p.PSUM_BITS, {}, [], []
        psums = unpack_lanes(self.psum_seen.words[0], self.p.COLS, bits)
        residuals = iter(unpack_lanes(self.residual_seen.words[0], self.p.COLS, bits))
        for psum, (acc, res, store, emit, relu, raddr, waddr) in zip(
            psums, zip(*self.op_seen.words, strict=True), strict=True
        ):
            total = psum + (next(residuals) if res else memory[raddr] if acc else 0)
            total = (total + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))  # wraps where it overflows
            if store:
                memory[waddr] = total
            if emit:
                sums.append(total)
                outputs.append(np.maximum(total, 0) if relu else total)
        scoreboard = Scoreboard(title)
        for name, expected, words in (
            ("output", outputs, self.out.words[0]),
            ("accumulated psum", sums, self.out.words[1]),
        ):
            scoreboard.compare(name, expected, unpack_lanes(words, self.p.COLS, bits))
        scoreboard.check()


def accumulation(rng, p, addresses: int, passes: int, low: int, high: int):
    """Passes over a few addresses as WS makes them: the first stores, the last emits."""
    psums, ops = [], []
    for index in range(passes):
        for address in range(addresses):
            last = index == passes - 1
            ops.append(
                (
                    int(index > 0),
                    int(index == 0 and address % 2),
                    int(not last),
                    int(last),
                    int(rng.integers(0, 2)),
                    address,
                    address,
                )
            )
            psums.append(rng.integers(low, high, endpoint=True, size=p.COLS))
    return np.array(psums), ops


@cocotb.test()
async def sfp_accumulation(dut):
    """Accumulation over 1 to 7 addresses: passes so short that a sum is read in the cycle that stores it."""
    tb, rng = SfpBench(dut), generator("accumulation")
    await tb.start()
    low, high = limits(tb.p.PSUM_BITS)
    for stalls in (0.0, 0.4):
        tb.stall(f"s{stalls}", stalls)
        for addresses in (1, 2, 3, 7):
            tb.send(*accumulation(rng, tb.p, addresses, 9, low // 16, high // 16))
            await tb.finish()
    tb.check("sfp accumulation")
    assert not read_bit(dut.overflow)


@cocotb.test()
async def sfp_throughput(dut):
    """A word in every cycle, accumulating on one and the same address."""
    tb, rng = SfpBench(dut), generator("throughput")
    await tb.start()
    tb.send(*accumulation(rng, tb.p, 1, 120, -3, 3))
    await tb.finish()
    steps = tb.op_seen.last_step - tb.op_seen.first_step
    begin = tb.out.last_step - tb.op_seen.last_step
    assert steps * 3 == begin * 119, (
        "119 further words took more than 119 cycles, or the sum came not 3 cycles after its operation"
    )
    tb.check("sfp throughput")


@cocotb.test()
async def sfp_random_operations(dut):
    """Any operation after any other on few addresses: residuals, drops, ReLU on and off, stalls on each stream."""
    tb, rng = SfpBench(dut), generator("random")
    await tb.start()
    low, high = limits(tb.p.PSUM_BITS)
    known = 1 << tb.p.ADDR_BITS
    tb.send(np.zeros((known, tb.p.COLS), np.int64), [(0, 0, 1, 0, 0, a, a) for a in range(known)])
    for index, stalls in enumerate((0.0, 0.3, 0.7)):
        tb.stall(f"r{index}", stalls)
        count = 250
        psums = rng.integers(low // 64, high // 64, (count, tb.p.COLS))
        flags, addresses = rng.integers(0, 2, (count, 5)), rng.integers(0, 3, (count, 2))
        flags[:, 1] &= 1 - flags[:, 0]  # a sum and a residual exclude each other
        tb.send(psums, [(*map(int, f), *map(int, a)) for f, a in zip(flags, addresses, strict=True)])
        await tb.finish()
    tb.check("sfp random operations")


@cocotb.test()
async def sfp_relu_extremes(dut):
    """ReLU at -2^(b-1), -1, 0, 1 and 2^(b-1)-1 in every column."""
    tb = SfpBench(dut)
    await tb.start()
    low, high = limits(tb.p.PSUM_BITS)
    values = [low, -1, 0, 1, high, low + 1]
    psums = np.array([[values[(i + c) % len(values)] for c in range(tb.p.COLS)] for i in range(len(values))])
    for relu in (0, 1):
        tb.send(psums, [(0, 0, 0, 1, relu, 0, 0)] * len(values))
    await tb.finish()
    tb.check("sfp relu")
    assert not read_bit(dut.overflow)


@cocotb.test()
async def sfp_overflow(dut):
    """The sticky bit rises when one column's sum leaves PSUM_BITS, at either end, given out or stored, and stays."""
    tb = SfpBench(dut)
    await tb.start()
    low, high = limits(tb.p.PSUM_BITS)
    for (end, step), emit in itertools.product(((high, 1), (low, -1)), (1, 0)):
        for column in range(tb.p.COLS):
            first, second = np.zeros(tb.p.COLS, np.int64), np.zeros(tb.p.COLS, np.int64)
            first[column], second[column] = end - step, step
            tb.send(np.array([first, second]), [(0, 0, 1, 0, 0, 0, 0), (1, 0, 1, 0, 0, 0, 0)])
            await tb.finish()
            await RisingEdge(dut.clk)
            assert not read_bit(dut.overflow), "the sum fits exactly"
            tb.send(np.array([second, -first]), [(1, 0, 1 - emit, emit, 0, 0, 0), (0, 0, 0, 1, 0, 0, 0)])
            await tb.finish()
            await RisingEdge(dut.clk)
            assert read_bit(dut.overflow), f"column {column} overflowed unseen"
            await reset(dut)
            assert not read_bit(dut.overflow)
    tb.check("sfp overflow")


@cocotb.test()
async def sfp_reset_with_output_waiting(dut):
    """A reset while an output waits drops it; afterwards everything works."""
    tb, rng = SfpBench(dut), generator("reset")
    await tb.start()
    tb.out.set_pause_generator(iter(lambda: True, None))
    tb.send(*accumulation(rng, tb.p, 2, 1, -5, 5))
    for _ in range(8):
        await RisingEdge(dut.clk)
    assert read_bit(dut.out_valid)
    for source in (tb.psums, tb.ops, tb.residuals):
        source.clear()
    await reset(dut)
    assert not read_bit(dut.out_valid) and read_bit(dut.idle)
    for monitor in (tb.psum_seen, tb.op_seen, tb.residual_seen, tb.out):
        monitor.clear()
    tb.out.set_pause_generator(None)
    tb.send(*accumulation(rng, tb.p, 3, 4, -5, 5))
    await tb.finish()
    tb.check("sfp after reset")
