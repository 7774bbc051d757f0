"""cocotb tests of ``axi_check``: each rule, broken once, is told, and nothing else; what is legal is not."""

from __future__ import annotations

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.types import Logic, LogicArray

from tb.accelerator.axi_rules import RULES, broken_rules
from tb.parts.clocking import PERIOD_NS
from tb.parts.streams import read_word

SIZE = 2  # four bytes a beat
AR = {"arvalid": 1, "araddr": 0x100, "arlen": 3}
AW = {"awvalid": 1, "awaddr": 0x200, "awlen": 1}
TAKE_AR, TAKE_AW = AR | {"arready": 1}, AW | {"awready": 1}
W, W_LAST = {"wvalid": 1, "wready": 1}, {"wvalid": 1, "wready": 1, "wlast": 1}
R, B = {"rvalid": 1}, {"bvalid": 1}
IDLE = {"busy": 0}
ASKED_B, ASKED_R = {"lite_awtaken": 1}, {"lite_artaken": 1}

# Cycle by cycle, the inputs that differ from rest; the bits that must be set afterwards
SCENARIOS = {
    "nothing": ([{}], []),
    "reads, taken late": ([AR, AR, TAKE_AR, R, {}, R, R, R, IDLE], []),
    "writes, data first": ([AW | W, AW, TAKE_AW | W_LAST, B, IDLE], []),
    "two writes": ([TAKE_AW, TAKE_AW | W, W_LAST, W, W_LAST | B, B, IDLE], []),
    "single beats": ([TAKE_AW | {"awlen": 0} | W_LAST, B, TAKE_AR | {"arlen": 0}, R, IDLE], []),
    "answers held": ([ASKED_B, {"lite_bvalid": 1}, {"lite_bvalid": 1, "lite_bready": 1}, ASKED_R,
                      {"lite_rvalid": 1, "lite_rdata": 5}, {"lite_rvalid": 1, "lite_rdata": 5, "lite_rready": 1}], []),
    "up to the limit": ([TAKE_AR | {"araddr": 0xFFF0}, R, R, R, R, IDLE], []),
    "AR withdrawn": ([AR, {}], [0]),
    "AR changed": ([AR, TAKE_AR | {"araddr": 0x104}, R, R, R, R], [0]),
    "AW withdrawn": ([AW, {}], [1]),
    "AW changed": ([AW, TAKE_AW | {"awid": 1}], [1]),
    "W withdrawn": ([TAKE_AW, {"wvalid": 1}, {}], [2]),
    "W changed": ([TAKE_AW, {"wvalid": 1}, {"wvalid": 1, "wdata": 1}], [2]),
    "WSTRB changed": ([TAKE_AW, {"wvalid": 1}, {"wvalid": 1, "wstrb": 0}], [2]),
    "AR across 4 KiB": ([TAKE_AR | {"araddr": 0xFF8}], [3]),
    "AR of 17 beats": ([TAKE_AR | {"arlen": 16}], [3]),
    "AR narrow": ([TAKE_AR | {"arsize": 1}], [3]),
    "AR misaligned": ([TAKE_AR | {"araddr": 0x102}], [3]),
    "AW fixed": ([TAKE_AW | {"awburst": 0}], [4]),
    "AW across 4 KiB": ([TAKE_AW | {"awaddr": 0xFFC}], [4]),
    "AR beyond the limit": ([TAKE_AR | {"araddr": 0x10000}], [5]),
    "AW beyond the limit": ([TAKE_AW | {"awaddr": 0x20000}], [6]),
    "WLAST early": ([TAKE_AW, W_LAST], [7]),
    "WLAST missing": ([TAKE_AW, W, W], [7]),
    "W without AW": ([W_LAST], [8]),
    "R waits": ([TAKE_AR, R | {"rready": 0}], [9]),
    "B waits": ([TAKE_AW, W, W_LAST, B | {"bready": 0}], [9]),
    "AR while idle": ([AR | {"arready": 1, "busy": 0}], [11]),
    "idle with a read open": ([TAKE_AR, R, R, R, IDLE], [12]),
    "idle without a response": ([TAKE_AW, W, W_LAST, IDLE], [12]),
    "lite B withdrawn": ([ASKED_B, {"lite_bvalid": 1}, {}], [13]),
    "lite R changed": ([ASKED_R, {"lite_rvalid": 1}, {"lite_rvalid": 1, "lite_rdata": 1}], [14]),
    "lite B unasked": ([{"lite_bvalid": 1, "lite_bready": 1}], [15]),
}  # fmt: skip
UNKNOWN = Logic("X")
DRIVEN = ("arvalid", "rready", "awvalid", "wvalid", "bready", "lite_bvalid", "lite_rvalid")  # by the accelerator
if not cocotb.SIM_NAME.startswith("Verilator"):  # which knows 0 and 1 only
    SCENARIOS |= {f"{name} unknown": ([{name: UNKNOWN}], [10]) for name in DRIVEN}
    SCENARIOS |= {
        f"{name} unknown": ([TAKE_AR, of | {name: LogicArray("X" * width)}], [10])
        for of, name, width in (
            (TAKE_AR, "araddr", 32), (TAKE_AR, "arlen", 8), (TAKE_AW, "awaddr", 32), (TAKE_AW, "awlen", 8),
            (TAKE_AW | W, "wstrb", 4),
        )
    }  # fmt: skip


def drive(dut, changed: dict[str, int]) -> None:
    rest = {
        "arsize": SIZE, "awsize": SIZE, "arburst": 1, "awburst": 1, "rready": 1, "bready": 1, "busy": 1, "wstrb": 15,
    }  # fmt: skip
    names = (
        *(f"ar{n}" for n in ("valid", "ready", "id", "addr", "len", "size", "burst")), "rvalid", "rready",
        *(f"aw{n}" for n in ("valid", "ready", "id", "addr", "len", "size", "burst")),
        *(f"w{n}" for n in ("valid", "ready", "data", "strb", "last")), "bvalid", "bready", "busy",
        *(f"lite_{n}" for n in ("awtaken", "bvalid", "bready", "bresp")),
        *(f"lite_{n}" for n in ("artaken", "rvalid", "rready", "rdata", "rresp")),
    )  # fmt: skip
    for name in names:
        getattr(dut, name).value = changed.get(name, rest.get(name, 0))


@cocotb.test()
async def rules(dut):
    """Every scenario sets its bits alone; together they break every rule (that of unknown values on Icarus only)."""
    dut.limit.value = 0x10000
    Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)
    for name, (cycles, expected) in SCENARIOS.items():
        dut.reset.value = 1
        drive(dut, {})
        await ClockCycles(dut.clk, 2)
        dut.reset.value = 0
        await RisingEdge(dut.clk)
        for changed in cycles:
            drive(dut, changed)
            await RisingEdge(dut.clk)
        drive(dut, {})
        await ClockCycles(dut.clk, 2)
        found = broken_rules(read_word(dut.broken))
        # What a scenario leaves open is no matter here: the checker is reset before the next.
        assert found == [RULES[bit] for bit in expected], f"{name}: {found}"
    assert {bit for _, bits in SCENARIOS.values() for bit in bits} == set(range(len(RULES))) - (
        {10} if cocotb.SIM_NAME.startswith("Verilator") else set()
    )
