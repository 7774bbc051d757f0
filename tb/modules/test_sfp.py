"""sfp on its own, with the memory it accumulates in."""

import pytest

from tb import simulators

CASES = (
    "sfp_accumulation", "sfp_throughput", "sfp_random_operations", "sfp_relu_extremes", "sfp_overflow",
    "sfp_reset_with_output_waiting",
)  # fmt: skip
SOURCES = [simulators.rtl_source("sfp"), simulators.rtl_source("sram"), simulators.HDL / "sfp_with_memory.v"]


@pytest.mark.parametrize("case", CASES)
def test_sfp(simulate, case):
    parameters = {"COLS": 8, "PSUM_BITS": 16, "ADDR_BITS": 4}
    simulate("sfp_with_memory", parameters, "tb.modules.cases_sfp", case, sources=SOURCES)


@pytest.mark.parametrize("cols,psum_bits,addr_bits", [(1, 9, 3), (5, 20, 5)])
def test_sfp_widths(simulate, cols, psum_bits, addr_bits):
    parameters = {"COLS": cols, "PSUM_BITS": psum_bits, "ADDR_BITS": addr_bits}
    outcomes = simulate("sfp_with_memory", parameters, "tb.modules.cases_sfp", sources=SOURCES)
    assert len(outcomes) == len(CASES)
