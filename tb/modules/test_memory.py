"""sram and wgt_fetch on their own."""

import pytest


@pytest.mark.parametrize("width,depth", [(32, 2048), (5, 3), (1, 2)])
def test_sram(simulate, width, depth):
    simulate("sram", {"WIDTH": width, "DEPTH": depth}, "tb.modules.cases_memory", "sram_.*")


@pytest.mark.parametrize("width,addr_bits", [(32, 11), (4, 3)])
def test_wgt_fetch(simulate, width, addr_bits):
    parameters = {"WIDTH": width, "ADDR_BITS": addr_bits}
    assert len(simulate("wgt_fetch", parameters, "tb.modules.cases_memory", "fetch_.*")) == 3


def test_sram_refuses(refuses):
    refuses("sram", {"WIDTH": 4, "DEPTH": 1}, "DEPTH must be at least 2, is 1")
