"""fifo, skew_fifo, l0, ififo and ofifo on their own."""

import pytest

from tb import simulators

SKEWED = ("skew_order", "skew_full", "skew_throughput", "skew_reset_during_burst")
SHAPES = {   # lanes, depth
    "8_lanes": (8, 16), "3_lanes_shallow": (3, 2), "1_lane": (1, 5), "5_lanes": (5, 7),
}  # fmt: skip


@pytest.mark.parametrize("width,depth", [(8, 16), (4, 2), (13, 5), (1, 3)])
def test_fifo(simulate, width, depth):
    assert len(simulate("fifo", {"WIDTH": width, "DEPTH": depth}, "tb.modules.cases_fifo", "fifo_.*")) == 3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("module,lanes", [("skew_fifo", "LANES"), ("l0", "ROWS"), ("ififo", "COLS")], ids=lambda v: v)
def test_skewed(simulate, module, lanes, shape):
    count, depth = SHAPES[shape]
    parameters = {lanes: count, "WIDTH": 4, "DEPTH": depth} | ({"FLAGS": 2} if module == "l0" else {})
    assert len(simulate(module, parameters, "tb.modules.cases_fifo", "skew_.*")) == len(SKEWED)


@pytest.mark.parametrize("cols,depth", [(8, 32), (5, 7), (1, 2)])
def test_ofifo(simulate, cols, depth):
    parameters = {"COLS": cols, "WIDTH": 16, "DEPTH": depth}
    assert len(simulate("ofifo", parameters, "tb.modules.cases_fifo", "ofifo_(deskew|waits|reset).*")) == 3


@pytest.mark.parametrize(
    "case,message",
    [
        ("overflow", "a psum arrived while its column was full"),
        ("disorder", "the last column has a psum that another column has not"),
    ],
)
def test_ofifo_stops_the_simulation(simulate, case, message):
    built = simulators.build(simulate.sim, "ofifo", {"COLS": 2, "WIDTH": 4, "DEPTH": 4})
    environment = {"COSIM_SEED": "1", "COSIM_PARAMETERS": '{"COLS": 2, "WIDTH": 4, "DEPTH": 4}'}
    with pytest.raises(simulators.SimulationError, match=message):
        simulators.run(built, "tb.modules.cases_fifo", only=f"ofifo_{case}.*", environment=environment)


@pytest.mark.parametrize(
    "module,parameters,message",
    [
        ("fifo", {"WIDTH": 4, "DEPTH": 1}, "DEPTH must be at least 2, is 1"),
        ("l0", {"ROWS": 2, "WIDTH": 4, "FLAGS": 1, "DEPTH": 1}, "DEPTH must be at least 2, is 1"),
    ],
    ids=["fifo", "l0"],
)
def test_fifo_refuses(refuses, module, parameters, message):
    refuses(module, parameters, message)
