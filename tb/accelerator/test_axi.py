"""The accelerator on its buses, driven by cocotbext-axi: layers, stalls, errors of the bus, the register map."""

import pytest

from golden_model.accelerator import registers
from golden_model.configuration import configuration

NAMES = ("course_8x8", "odd_3x5", "net_8x8")
SMALL = "odd_3x5"


@pytest.fixture(autouse=True)
def small_on_icarus(request):
    """Icarus runs the small configuration, and the other ones' registers; Verilator runs all."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if parameters.get("sim") == "icarus" and "case" in parameters and parameters["name"] != SMALL:
        pytest.skip("Icarus runs the small configuration")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["without_stalls", "each_channel_stalled", "all_channels_stalled"])
def test_layers(simulate, name, case):
    simulate.bus_top("bus", configuration(name), "tb.accelerator.cases_axi", case)


@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
@pytest.mark.parametrize("case", ["reset_during_layer", "bus_errors"])
def test_broken_off(simulate, name, case):
    simulate.bus_top("bus", configuration(name), "tb.accelerator.cases_axi", case)


@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
def test_registers(simulate, name):
    assert len(simulate.bus_top("bus", configuration(name), "tb.accelerator.cases_axi", "registers_.*")) == 3


def test_registers_are_current():
    current = registers.VERILOG.read_text() == registers.verilog()
    assert current, "registers.v is not what registers.toml says: make registers"
    page = registers.DOCUMENT.read_text()
    assert registers.documented(page) == page, "the tables of rtl/README.md are not what registers.toml says"
    assert all(f"| 0x{r.address:02x} | {r.name} |" in page for r in registers.register_map())
