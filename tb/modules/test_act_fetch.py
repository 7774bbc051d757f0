"""act_fetch on its own, with the banks it reads."""

import pytest

from tb import simulators

CASES = (
    "fetch_order",
    "fetch_every_rotation",
    "fetch_throughput",
    "fetch_reads_no_padding",
    "fetch_reset_during_burst",
)
SOURCES = [simulators.rtl_source("act_fetch"), simulators.rtl_source("sram"), simulators.HDL / "act_fetch_with_banks.v"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows,act_bits,addr_bits", [(8, 4, 5), (3, 5, 4), (1, 4, 3), (16, 2, 3)])
def test_act_fetch(simulate, rows, act_bits, addr_bits, case):
    parameters = {"ROWS": rows, "ACT_BITS": act_bits, "ADDR_BITS": addr_bits, "FLAGS": 2}
    simulate("act_fetch_with_banks", parameters, "tb.modules.cases_act_fetch", case, sources=SOURCES)


@pytest.mark.parametrize(
    "parameters,message",
    [
        ({"ROWS": 0}, "ROWS must be at least 1, is 0"),
        ({"ROT_BITS": 4}, "ROT_BITS is derived and must not be set"),
    ],
)
def test_act_fetch_refuses(refuses, parameters, message):
    refuses("act_fetch", {"ROWS": 8, **parameters}, message)
