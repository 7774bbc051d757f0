"""Clock and reset, the same for every bench."""

from __future__ import annotations

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotb.utils import get_sim_steps

from tb.parts.streams import read_bit

PERIOD_NS = 10
CLOCK_STEPS = get_sim_steps(PERIOD_NS, "ns")


def start_clock(dut, clk: str = "clk") -> None:
    """Free-running clock; the simulator's own toggle is far faster than one in Python."""
    Clock(getattr(dut, clk), PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)


async def reset(dut, cycles: int = 3, *, clk: str = "clk", name: str = "reset", level: int = 1) -> None:
    """Hold reset at ``level``, release it after an edge, and return when the next edge has passed."""
    getattr(dut, name).value = level
    await ClockCycles(getattr(dut, clk), cycles)
    getattr(dut, name).value = 1 - level
    await RisingEdge(getattr(dut, clk))


async def rise_or_limit(signal, clk, limit: int) -> None:
    """Until ``signal`` is high, at most ``limit`` cycles; then it is a clock edge.

    A Timer ends between edges or in the time step of one, and what is driven then can be gone before the hardware sees
    it; counting the edges would wake Python in each cycle and take half of the simulation's speed.
    """
    if read_bit(signal):
        return
    await First(RisingEdge(signal), Timer(limit * PERIOD_NS, "ns"))
    if not read_bit(signal):
        await RisingEdge(clk)
