"""cocotb tests of ``issue``: the rules of its header, cycle by cycle, against a model of them in Python."""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from tb.parts.clocking import reset, start_clock
from tb.parts.scoreboard import Scoreboard
from tb.parts.stimulus import generator, parameters
from tb.parts.streams import read_bit, read_word

WS, OS = 0, 1


class IssueModel:
    """The rules in words: credits for psums, shadow weights before a swap, ROWS cycles between OS passes."""

    def __init__(self, p, dataflow: int, simd: int):
        self.p, self.dataflow = p, dataflow
        self.credit, self.shadow, self.since_end, self.open = p.OFIFO_DEPTH, 0, p.ROWS, False
        shared = 2 if getattr(p, "PACKED", 0) and not simd else 1  # columns of a field
        self.words = p.COLS // (getattr(p, "WGT_LANES", 1) * shared)  # weight words that fill a row

    @property
    def idle(self) -> bool:
        return self.credit == self.p.OFIFO_DEPTH and not self.shadow and not self.open

    def stall(self, act, start, ififo) -> int:
        """The one bit that says why nothing enters, where nothing does: no activation, no weights, no room."""
        weights = ififo if self.dataflow == OS else not start or self.shadow == self.words
        return 0b001 if not act else 0b010 if not weights else 0b100

    def cycle(self, act, start, last, wgt, ififo, pop) -> tuple[bool, bool, bool]:
        """Grants (act, wgt, ififo) of one cycle."""
        if self.dataflow == WS:
            act_fire = act and self.credit > 0 and (not start or self.shadow == self.words)
            swap = act_fire and start
            wgt_fire = wgt and (self.shadow < self.words or swap)
            self.shadow = (0 if swap else self.shadow) + wgt_fire
            self.credit -= act_fire
            grants = (act_fire, wgt_fire, False)
        else:
            fits = self.credit >= self.p.ROWS and self.since_end >= self.p.ROWS
            act_fire = act and ififo and (not last or fits)
            self.open = not last if act_fire else self.open
            self.since_end = 1 if act_fire and last else self.since_end + 1
            self.credit -= self.p.ROWS * (act_fire and last)
            grants = (act_fire, False, act_fire)
        self.credit += pop
        return tuple(map(bool, grants))


async def follow(dut, dataflow: int, cycles: int, busy: float, drain: float, salt: str, simd: int = 0) -> None:
    """Random heads and pops; every grant of every cycle must be the model's."""
    p, rng = parameters(), generator(salt)
    model, owed, expected, actual = IssueModel(p, dataflow, simd), 0, [], []
    dut.dataflow.value, dut.simd.value = dataflow, simd
    for signal in ("act_valid", "act_start", "act_last", "wgt_valid", "ififo_valid", "psum_pop"):
        getattr(dut, signal).value = 0
    await reset(dut)
    head = (1, int(rng.random() < 0.2))
    granted, causes = 0, set()
    for _ in range(cycles):
        act, wgt, ififo = (int(b) for b in rng.random(3) < busy)
        pop = int(owed > 0 and rng.random() < drain)
        dut.act_valid.value, dut.act_start.value, dut.act_last.value = act, head[0], head[1]
        dut.wgt_valid.value, dut.ififo_valid.value, dut.psum_pop.value = wgt, ififo, pop
        await RisingEdge(dut.clk)
        fires = tuple(read_bit(getattr(dut, f"{name}_fire")) for name in ("act", "wgt", "ififo"))
        idle, stall = model.idle, model.stall(act, head[0], ififo)
        grants = model.cycle(act, head[0], head[1], wgt, ififo, pop)
        stall = 0 if grants[0] else stall
        causes.add(stall)
        expected.append((*grants, idle, stall))
        actual.append((*fires, read_bit(dut.idle), read_word(dut.stall)))
        owed += (p.ROWS * (grants[0] and head[1]) if dataflow == OS else grants[0]) - pop
        if grants[0]:
            granted += 1
            head = (int(rng.random() < 0.25), int(rng.random() < 0.25))
    scoreboard = Scoreboard("issue")
    scoreboard.compare("grant", expected, actual, names=("cycle",), lane="of act, wgt, ififo, idle, stall")
    scoreboard.check()
    assert causes >= ({0} if busy == 1.0 else {0, 0b001, 0b010}), f"stalls seen: {causes}"
    assert drain > 0.5 or 0b100 in causes, "psums that are slow to leave held nothing up"
    assert granted > cycles // 50, f"only {granted} grants in {cycles} cycles: the test did not exercise the rules"


@cocotb.test()
async def issue_weight_stationary(dut):
    """Heads always there, heads rare, psums slow to leave."""
    start_clock(dut)
    for index, (busy, drain) in enumerate(((1.0, 1.0), (0.6, 0.9), (0.95, 0.15))):
        for simd in (0, 1):
            await follow(dut, WS, 700, busy, drain, f"ws{index}", simd)


@cocotb.test()
async def issue_output_stationary(dut):
    """Activations and weights together or apart, psums slow to leave."""
    start_clock(dut)
    for index, (busy, drain) in enumerate(((1.0, 1.0), (0.7, 0.9), (0.95, 0.3))):
        await follow(dut, OS, 700, busy, drain, f"os{index}")
