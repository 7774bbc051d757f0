"""cocotb tests of ``mac_tile``: every product, both dataflows with gaps, weight loading, drain, overflow.

With SIMD an operand is an int in a4w4, and in a2w4 a pair of ints: the low and the high half.
"""

from __future__ import annotations

import itertools
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from tb.parts.clocking import start_clock
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import decode, encode, generator, limits, parameters
from tb.parts.streams import read_bit, read_word

WS, OS = 0, 1
NONE = -(10**9)  # no psum where one was expected
LATENCY = 3  # cycles from an operand to its sum on psum_s, or in the hold register


def product(act, wgt) -> int:
    """What a tile adds for one operand, by the definition of either precision."""
    return sum(a * w for a, w in zip(act, wgt, strict=True)) if isinstance(act, tuple) else act * wgt


class TileBench:
    """Gives a tile what ``row_feed`` would, each part of an operand in its cycle, and reads what leaves it."""

    def __init__(self, dut):
        self.dut, self.p, self.running = dut, parameters(), False
        self.driven: dict[str, int] = {}
        self.simd, self.high = getattr(self.p, "SIMD", 0), getattr(self.p, "HIGH", 0)
        self.field_bits = self.p.WGT_BITS * (1 + self.simd)
        self.wgt_range = limits(self.p.WGT_BITS)
        self.psum_range = limits(self.p.PSUM_BITS)

    def act_range(self, signed: bool) -> tuple[int, int]:
        return limits(self.p.ACT_BITS, signed)

    def half_range(self, signed: bool) -> tuple[int, int]:
        return limits(self.p.ACT_BITS // 2, signed)

    def act_bits(self, act) -> int:
        """Bits of an activation, or of a pair of them."""
        if isinstance(act, tuple):
            half = self.p.ACT_BITS // 2
            return encode(act[0], half) | encode(act[1], half) << half
        return encode(act, self.p.ACT_BITS)

    def field(self, wgt, upper: int = 0) -> int:
        """Bits of a tile's weights. In a4w4 the other one of the two is this one turned over: it must not count."""
        low, high = wgt if isinstance(wgt, tuple) else (~wgt, wgt) if upper else (wgt, ~wgt)
        return encode(encode(low, self.p.WGT_BITS) | encode(high, self.p.WGT_BITS) << self.p.WGT_BITS, self.field_bits)

    async def start(self, dataflow: int, signed: bool = False, simd: bool = False) -> None:
        self.dataflow, self.now = dataflow, 0
        self.before = [(None, 0, 0, None)] * 2  # operand, start, last and psum from the north of the last two cycles
        self.shows: set[int] = set()  # cycles in which a psum leaves
        self.dut.dataflow.value, self.dut.act_signed.value, self.dut.simd.value = dataflow, int(signed), int(simd)
        if not self.running:
            start_clock(self.dut)
            self.running = True
        for _ in range(LATENCY + 1):
            await self.cycle()

    def drive(self, act=None, start=0, last=0, wgt_w=None, wgt_n=0, north=None, psum_n=None, drain=0) -> None:
        """Inputs of the coming cycle; None stands for not valid.

        ``north`` is the psum for this cycle's operand, which it meets later; ``psum_n`` one that comes in this cycle.
        """
        output_stationary = self.dataflow == OS
        (first, starts, lasts, due), second = self.before
        self.before = [second, (act, start, last, north)]
        self.now += 1
        if output_stationary and (drain or psum_n is not None):
            self.shows.add(self.now + 1)
        if not output_stationary and act is not None:
            self.shows.add(self.now + LATENCY)
        adds = output_stationary and first is not None
        psum_n = due if psum_n is None else psum_n
        self.put(
            take=int(wgt_w is not None), wgt_w=self.field(wgt_w or 0, self.high),
            load=int(output_stationary or (act is not None and start)), wgt_n=self.field(wgt_n), drain_n=drain,
            act=self.act_bits(second[0] or 0), adds=int(adds), start=starts, ends=int(adds and lasts),
            psum_n=encode(psum_n or 0, self.p.PSUM_BITS),
        )  # fmt: skip

    def put(self, **ports: int) -> None:
        """What has changed: most ports keep their value from cycle to cycle, and a write costs more than to look."""
        for name, value in ports.items():
            if self.driven.get(name) != value:
                getattr(self.dut, name).value = self.driven[name] = value

    async def cycle(self, **inputs) -> None:
        self.drive(**inputs)
        await RisingEdge(self.dut.clk)

    async def result(self, after: int = 1) -> int | None:
        """The psum that leaves to the south ``after`` cycles after the last one driven, None where there is none."""
        for _ in range(after):
            await self.cycle()
        return self.psum_s()

    def psum_s(self) -> int | None:
        if self.now not in self.shows:
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
            acts = range(low, high + 1)
            # An operand a cycle; the sum of each shows LATENCY cycles later.
            for index in range(len(acts) + LATENCY):
                if index < len(acts):
                    act = acts[index]
                    # The psum from the north leaves room for the product: in the array the sum of all rows fits.
                    lo, hi = tb.psum_range[0] - min(act * wgt, 0), tb.psum_range[1] - max(act * wgt, 0)
                    north = (lo, hi, int(rng.integers(lo, hi, endpoint=True)))[int(rng.integers(3))]
                    await tb.cycle(act=act, start=int(index == 0), north=north)
                    expected.append(north + act * wgt)
                else:
                    await tb.cycle()
                if index >= LATENCY:
                    actual.append(tb.psum_s())
    scoreboard = Scoreboard("mac_tile products")
    scoreboard.compare("psum", expected, [NONE if a is None else a for a in actual])
    scoreboard.check()
    assert not read_bit(dut.overflow)


@cocotb.test()
async def output_stationary_products(dut):
    """Every activation times every weight, unsigned and signed, each a pass of its own, a pass a cycle.

    Of wide operands some: weight_stationary_products has them all.
    """
    tb = TileBench(dut)
    await tb.start(OS)
    scoreboard = Scoreboard("mac_tile products")
    for signed in (False, True):
        dut.act_signed.value = int(signed)
        acts, wgts = (range(low, high + 1) for low, high in (tb.act_range(signed), tb.wgt_range))
        operands = list(itertools.product(acts, wgts))
        await products_of_passes(tb, operands[:: max(1, len(operands) // 1000)], scoreboard)
    scoreboard.check()


def simd_operands(tb: TileBench, signed: bool, most: int = 4096) -> list[tuple]:
    """Pairs of activations with pairs of weights: all there are, or ``most`` of them and every pair of ends."""
    low, high = tb.half_range(signed)
    halves = range(low, high + 1), range(tb.wgt_range[0], tb.wgt_range[1] + 1)
    if (len(halves[0]) * len(halves[1])) ** 2 <= most:
        acts, wgts = (list(itertools.product(half, repeat=2)) for half in halves)
        return [(act, wgt) for wgt in wgts for act in acts]
    rng = generator("simd", signed)
    ends = (list(itertools.product((half[0], half[-1]), repeat=2)) for half in halves)
    draws = (rng.integers(half[0], half[-1], endpoint=True, size=(most, 2)).tolist() for half in halves)
    return [*itertools.product(*ends), *((tuple(act), tuple(wgt)) for act, wgt in zip(*draws, strict=True))]


async def products_of_passes(tb: TileBench, operands: list[tuple], scoreboard: Scoreboard) -> None:
    """OS: passes of a single operand, a cycle each, with the drain token right behind."""
    actual = []
    for index in range(len(operands) + LATENCY + 1):
        drain = int(LATENCY <= index < len(operands) + LATENCY)
        if index < len(operands):
            act, wgt = operands[index]
            await tb.cycle(act=act, wgt_n=wgt, start=1, last=1, drain=drain)
        else:
            await tb.cycle(drain=drain)
        if index > LATENCY:  # held after LATENCY cycles, on the psum path in the next
            actual.append(tb.psum_s())
    expected = [product(act, wgt) for act, wgt in operands]
    scoreboard.compare("psum", expected, [NONE if a is None else a for a in actual])


@cocotb.test()
async def output_stationary_simd_products(dut):
    """a2w4: all pairs of half activations with pairs of weights, unsigned and signed."""
    tb = TileBench(dut)
    await tb.start(OS, simd=True)
    scoreboard = Scoreboard("mac_tile a2w4 products")
    for signed in (False, True):
        dut.act_signed.value = int(signed)
        await products_of_passes(tb, simd_operands(tb, signed), scoreboard)
    scoreboard.check()


@cocotb.test()
async def weight_stationary_simd_products(dut):
    """a2w4: the same operands, a pass for each pair of weights; the next pair loads with the swap."""
    tb, rng = TileBench(dut), generator("simd north")
    scoreboard = Scoreboard("mac_tile a2w4 products")
    for signed in (False, True):
        await tb.start(WS, signed, simd=True)
        operands = simd_operands(tb, signed)
        norths = rng.integers(-1000, 1000, len(operands)) % (tb.psum_range[1] // 2)
        actual, loaded = [], None
        for index, (act, wgt) in enumerate(operands):
            start = index == 0 or wgt != operands[index - 1][1]
            if index == 0:
                await tb.cycle(wgt_w=wgt)
            if start:
                loaded = next((w for _, w in operands[index:] if w != wgt), None)
            await tb.cycle(act=act, start=int(start), north=int(norths[index]), wgt_w=loaded if start else None)
            if index >= LATENCY:
                actual.append(tb.psum_s())
        for _ in range(min(LATENCY, len(operands))):
            actual.append(await tb.result())
        expected = [int(n) + product(act, wgt) for n, (act, wgt) in zip(norths, operands, strict=True)]
        scoreboard.compare("psum", expected, [NONE if a is None else a for a in actual])
    scoreboard.check()


@cocotb.test()
async def weight_stationary_passes(dut):
    """Passes back to back with gaps: the shadow weight loads while the active one works, and swaps on start."""
    await passes_of(dut, simd=False)


@cocotb.test()
async def weight_stationary_simd_passes(dut):
    """The same in a2w4."""
    await passes_of(dut, simd=True)


async def passes_of(dut, simd: bool) -> None:
    tb, rng = TileBench(dut), generator("passes")
    await tb.start(WS, simd=simd)
    expected, actual, pending = [], [], deque([None] * LATENCY)
    act_range, wgt_range = tb.half_range(False) if simd else tb.act_range(False), tb.wgt_range

    def draw(limits):
        values = tuple(rng.integers(*limits, endpoint=True, size=1 + simd).tolist())
        return values if simd else values[0]

    async def cycle(psum=None, **inputs):
        """``psum``: the sum that this cycle's operand must give."""
        await tb.cycle(**inputs)
        due = pending.popleft()
        pending.append(psum)
        if due is not None or tb.psum_s() is not None:
            expected.append(NONE if due is None else due)
            actual.append(10**9 if tb.psum_s() is None else tb.psum_s())

    active = shadow = draw(wgt_range)
    await cycle(wgt_w=shadow)
    for _ in range(60):
        length = int(rng.integers(1, 6))
        load_at = int(rng.integers(0, length))  # 0: in the very cycle of the swap
        upcoming = draw(wgt_range)
        for i in range(length):
            while rng.random() < 0.3:
                await cycle()
            act, north = draw(act_range), int(rng.integers(-100, 100))
            if i == 0:
                active = shadow
            load = upcoming if i == load_at else None
            await cycle(north + product(act, active), act=act, start=int(i == 0), north=north, wgt_w=load)
        shadow = upcoming
    for _ in range(LATENCY):
        await cycle()
    scoreboard = Scoreboard("mac_tile weight-stationary")
    scoreboard.compare("psum", expected, actual)
    scoreboard.check()


@cocotb.test()
async def output_stationary_passes(dut):
    """Sums over passes of random length with gaps, drained while the next pass runs, psums from the north between.

    With SIMD every other pair of passes is in a2w4.
    """
    tb, rng = TileBench(dut), generator("os")
    await tb.start(OS)
    expected, actual = [], []
    for index in range(40):
        signed = bool(index % 2)
        simd = bool(tb.simd and index // 2 % 2)
        dut.act_signed.value, dut.simd.value = int(signed), int(simd)
        low, high = tb.half_range(signed) if simd else tb.act_range(signed)
        total, length = 0, int(rng.integers(1, 12))
        for k in range(length):
            while rng.random() < 0.3:
                await tb.cycle(wgt_n=int(rng.integers(*tb.wgt_range)))  # a weight without activation counts nothing
            acts = tuple(rng.integers(low, high, endpoint=True, size=1 + simd).tolist())
            wgts = tuple(rng.integers(*tb.wgt_range, endpoint=True, size=1 + simd).tolist())
            act, wgt = (acts, wgts) if simd else (acts[0], wgts[0])
            total += product(act, wgt)
            await tb.cycle(act=act, wgt_n=wgt, start=int(k == 0), last=int(k == length - 1))
        through = int(rng.integers(*tb.psum_range, endpoint=True))
        if rng.random() < 0.5:  # the next pass begins before the drain
            await tb.cycle(act=high, wgt_n=tb.wgt_range[0], start=1)
        else:
            await tb.cycle()
        for _ in range(LATENCY - 2):
            await tb.cycle()
        await tb.cycle(drain=1)
        await tb.cycle(psum_n=through)
        expected += [total, through]
        actual += [tb.psum_s(), await tb.result()]
    scoreboard = Scoreboard("mac_tile output-stationary")
    scoreboard.compare("psum", expected, [NONE if a is None else a for a in actual])
    scoreboard.check()
    assert not read_bit(dut.overflow)


@cocotb.test()
async def output_stationary_overflow(dut):
    """It shows for the first sum beyond PSUM_BITS, at either end, in its cycle and in no other."""
    tb = TileBench(dut)
    operands = [(tb.act_range(False)[1], wgt) for wgt in reversed(tb.wgt_range)]
    if tb.simd:
        operands += [((tb.half_range(False)[1],) * 2, (wgt, wgt)) for wgt in reversed(tb.wgt_range)]
    for act, wgt in operands:
        await tb.start(OS, simd=isinstance(act, tuple))
        limit = tb.psum_range[1] if product(act, wgt) > 0 else tb.psum_range[0]
        fits = limit // product(act, wgt)
        seen = []
        for k in range(fits + 1 + LATENCY + 2):
            await tb.cycle(**({"act": act, "wgt_n": wgt, "start": int(k == 0)} if k <= fits else {"wgt_n": wgt}))
            seen.append(read_bit(dut.overflow))
        at = [k - LATENCY for k, over in enumerate(seen) if over]
        assert at == [fits], f"overflow with operands {at} of {product(act, wgt)}, of which {fits} fit"
        await tb.start(WS)
        assert not read_bit(dut.overflow)
