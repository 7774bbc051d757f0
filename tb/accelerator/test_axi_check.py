"""The checker of the bus rules on its own."""

from tb import simulators


def test_rules(simulate):
    sources = [simulators.HDL / "axi_check.v"]
    simulate("axi_check", {"BUS_BITS": 32}, "tb.accelerator.cases_axi_check", "rules", sources=sources)
