"""A cocotb test that a simulation with illegal parameters must never reach."""

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def elaborated(dut):
    await Timer(1, "us")
