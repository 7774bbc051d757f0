"""Clock and reset, the same for every bench."""

from __future__ import annotations

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_steps

PERIOD_NS = 10
CLOCK_STEPS = get_sim_steps(PERIOD_NS, "ns")


def start_clock(dut) -> None:
    """Free-running clock; the simulator's own toggle is far faster than one in Python."""
    Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)


async def reset(dut, cycles: int = 3) -> None:
    """Hold reset, release it after an edge, and return when the next edge has passed."""
    dut.reset.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.reset.value = 0
    await RisingEdge(dut.clk)
