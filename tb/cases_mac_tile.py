"""cocotb tests of ``mac_tile``: every product, both dataflows with gaps, weight loading, drain, overflow, reset."""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from tb.cases import decode, encode, generator, limits, parameters
from tb.clocking import reset, start_clock
from tb.scoreboard import Scoreboard
from tb.streams import read_bit, read_word

WS, OS = 0, 1


class TileBench:
    """Drives one tile's west and north side, a value for each cycle, and reads what leaves it."""

    def __init__(self, dut):
        self.dut, self.p, self.running = dut, parameters(), False
        self.wgt_range = limits(self.p.WGT_BITS)
        self.psum_range = limits(self.p.PSUM_BITS)

    def act_range(self, signed: bool) -> tuple[int, int]:
        return limits(self.p.ACT_BITS, signed)

    async def start(self, dataflow: int, signed: bool = False) -> None:
        self.dut.dataflow.value, self.dut.act_signed.value, self.dut.simd.value = dataflow, int(signed), 0
        self.drive()
        if not self.running:
            start_clock(self.dut)
            self.running = True
        await reset(self.dut)

    def drive(self, act=None, start=0, last=0, wgt_w=None, wgt_n=0, psum_n=None, drain=0) -> None:
        """Inputs of the coming cycle; None stands for not valid."""
        p, dut = self.p, self.dut
        dut.act_valid_w.value, dut.act_w.value = int(act is not None), encode(act or 0, p.ACT_BITS)
        dut.act_start_w.value, dut.act_last_w.value = start, last
        dut.wgt_valid_w.value, dut.wgt_w.value = int(wgt_w is not None), encode(wgt_w or 0, p.WGT_BITS)
        dut.wgt_n.value, dut.drain_n.value = encode(wgt_n, p.WGT_BITS), drain
        dut.psum_valid_n.value, dut.psum_n.value = int(psum_n is not None), encode(psum_n or 0, p.PSUM_BITS)

    async def cycle(self, **inputs) -> None:
        self.drive(**inputs)
        await RisingEdge(self.dut.clk)

    async def result(self) -> int | None:
        """The psum that leaves to the south in the coming cycle, None where there is none."""
        self.drive()
        await RisingEdge(self.dut.clk)
        return self.psum_s()

    def psum_s(self) -> int | None:
        if not read_bit(self.dut.psum_valid_s):
            return None
        return decode(read_word(self.dut.psum_s), self.p.PSUM_BITS)


@cocotb.test()
async def weight_stationary_products(dut):
    """Every activation times every weight, unsigned and signed, on psums from the north at both ends of their range."""
    tb, expected, actual = TileBench(dut), [], []
    await tb.start(WS)
    rng = generator("products")
    for signed in (False, True):
        dut.act_signed.value = int(signed)
        low, high = tb.act_range(signed)
        for wgt in range(tb.wgt_range[0], tb.wgt_range[1] + 1):
            await tb.cycle(wgt_w=wgt)
            first = True
            for act in range(low, high + 1):
                product = act * wgt
                # The psum from the north leaves room for the product: in the array the sum of all rows fits.
                lo, hi = tb.psum_range[0] - min(product, 0), tb.psum_range[1] - max(product, 0)
                north = int(rng.choice([lo, hi, rng.integers(lo, hi, endpoint=True)]))
                tb.drive(act=act, start=int(first), psum_n=north)
                await RisingEdge(dut.clk)
                first = False
                tb.drive()
                await RisingEdge(dut.clk)
                expected.append(north + product)
                actual.append(tb.psum_s())
    scoreboard = Scoreboard("mac_tile products")
    scoreboard.compare("psum", expected, [-(10**9) if a is None else a for a in actual])
    scoreboard.check()
    assert not read_bit(dut.overflow)


@cocotb.test()
async def weight_stationary_passes(dut):
    """Passes back to back with gaps: the shadow weight loads while the active one works, and swaps on start."""
    tb, rng = TileBench(dut), generator("passes")
    await tb.start(WS)
    low, high = tb.act_range(False)
    expected, actual, pending = [], [], None

    async def cycle(**inputs):
        nonlocal pending
        tb.drive(**inputs)
        await RisingEdge(dut.clk)
        if pending is not None or tb.psum_s() is not None:
            expected.append(-(10**9) if pending is None else pending)
            actual.append(10**9 if tb.psum_s() is None else tb.psum_s())
        pending = None

    active = shadow = int(rng.integers(*tb.wgt_range, endpoint=True))
    await cycle(wgt_w=shadow)
    for _ in range(60):
        length = int(rng.integers(1, 6))
        load_at = int(rng.integers(0, length))  # 0: in the very cycle of the swap
        upcoming = int(rng.integers(*tb.wgt_range, endpoint=True))
        for i in range(length):
            while rng.random() < 0.3:
                await cycle()
            act, north = int(rng.integers(low, high, endpoint=True)), int(rng.integers(-100, 100))
            if i == 0:
                active = shadow
            await cycle(act=act, start=int(i == 0), psum_n=north, wgt_w=upcoming if i == load_at else None)
            pending = north + act * active
        shadow = upcoming
    await cycle()
    scoreboard = Scoreboard("mac_tile weight-stationary")
    scoreboard.compare("psum", expected, actual)
    scoreboard.check()


@cocotb.test()
async def weight_passes_on_when_full(dut):
    """The first weight stays, later ones leave to the east; after a swap the next one stays again."""
    tb = TileBench(dut)
    await tb.start(WS)
    seen = []
    for inputs in (
        {"wgt_w": 1},
        {"wgt_w": -1},
        {"wgt_w": -2},
        {"act": 1, "start": 1},
        {"wgt_w": -1},
        {"wgt_w": 1},
        {},
        {},
    ):
        await tb.cycle(**inputs)
        seen.append(decode(read_word(dut.wgt_e), tb.p.WGT_BITS) if read_bit(dut.wgt_valid_e) else None)
    assert seen == [None, None, -1, -2, None, None, 1, None], seen  # one cycle after each input
    await tb.cycle(act=1, start=1, psum_n=0)
    assert await tb.result() == -1


@cocotb.test()
async def output_stationary_passes(dut):
    """Sums over passes of random length with gaps, drained while the next pass runs, psums from the north between."""
    tb, rng = TileBench(dut), generator("os")
    await tb.start(OS)
    expected, actual = [], []
    for index in range(40):
        signed = bool(index % 2)
        dut.act_signed.value = int(signed)
        low, high = tb.act_range(signed)
        total, length = 0, int(rng.integers(1, 12))
        for k in range(length):
            while rng.random() < 0.3:
                await tb.cycle(wgt_n=int(rng.integers(*tb.wgt_range)))  # a weight without activation counts nothing
            act, wgt = int(rng.integers(low, high, endpoint=True)), int(rng.integers(*tb.wgt_range, endpoint=True))
            total += act * wgt
            await tb.cycle(act=act, wgt_n=wgt, start=int(k == 0), last=int(k == length - 1))
        through = int(rng.integers(*tb.psum_range, endpoint=True))
        if rng.random() < 0.5:  # the next pass begins before the drain
            await tb.cycle(act=high, wgt_n=tb.wgt_range[0], start=1)
        await tb.cycle(drain=1)
        await tb.cycle(psum_n=through)
        expected += [total, through]
        actual += [tb.psum_s(), await tb.result()]
    scoreboard = Scoreboard("mac_tile output-stationary")
    scoreboard.compare("psum", expected, [-(10**9) if a is None else a for a in actual])
    scoreboard.check()
    assert not read_bit(dut.overflow)


@cocotb.test()
async def output_stationary_drain_takes_two_cycles(dut):
    """The token leaves two cycles after it came, so that psums of a column never meet."""
    tb = TileBench(dut)
    await tb.start(OS)
    seen = []
    for drain in (1, 0, 0, 0):
        await tb.cycle(drain=drain)
        seen.append(read_bit(dut.drain_s))
    assert seen == [False, False, True, False], seen


@cocotb.test()
async def output_stationary_overflow(dut):
    """The sticky bit rises with the first sum beyond PSUM_BITS, at either end, not one operand earlier."""
    tb = TileBench(dut)
    for act, wgt in ((tb.act_range(False)[1], tb.wgt_range[1]), (tb.act_range(False)[1], tb.wgt_range[0])):
        await tb.start(OS)
        limit = tb.psum_range[1] if wgt > 0 else tb.psum_range[0]
        fits = limit // (act * wgt)
        for k in range(fits):
            await tb.cycle(act=act, wgt_n=wgt, start=int(k == 0))
        await tb.cycle()
        await tb.cycle()
        assert not read_bit(dut.overflow), f"overflow after {fits} operands of {act * wgt}, which fit"
        await tb.cycle(act=act, wgt_n=wgt)
        await tb.cycle()
        await tb.cycle(act=0, wgt_n=0, start=1)
        await tb.cycle()
        assert read_bit(dut.overflow), "a sum beyond PSUM_BITS went unseen"
        await reset(dut)
        await tb.cycle()
        assert not read_bit(dut.overflow)


@cocotb.test()
async def reset_during_pass(dut):
    """After a reset nothing of the old pass is valid, and a fresh pass gives the right sum."""
    tb = TileBench(dut)
    for dataflow in (WS, OS):
        await tb.start(dataflow)
        await tb.cycle(wgt_w=tb.wgt_range[0])
        await tb.cycle(act=1, wgt_n=1, start=1, psum_n=5)
        dut.reset.value = 1  # while everything is valid
        await tb.cycle(act=1, wgt_n=1, wgt_w=1, psum_n=5, drain=1)
        tb.drive()
        await reset(dut)
        for _ in range(4):
            await tb.cycle()
            assert tb.psum_s() is None and not read_bit(dut.act_valid_e) and not read_bit(dut.wgt_valid_e)
        if dataflow == WS:
            await tb.cycle(wgt_w=1)
            await tb.cycle(act=1, start=1, psum_n=7)
            assert await tb.result() == 8
        else:
            await tb.cycle(act=1, wgt_n=1, start=1, last=1)
            await tb.cycle(drain=1)
            assert await tb.result() == 1
