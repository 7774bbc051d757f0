"""fifo, skew_fifo, l0, ififo and ofifo on their own."""

import json

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
    assert len(simulate(module, parameters, "tb.modules.cases_fifo", "|".join(SKEWED))) == len(SKEWED)


@pytest.mark.parametrize("cols,depth", [(8, 32), (5, 7), (1, 2)])
def test_ofifo(simulate, cols, depth):
    parameters = {"COLS": cols, "WIDTH": 16, "DEPTH": depth}
    assert len(simulate("ofifo", parameters, "tb.modules.cases_fifo", "ofifo_(deskew|waits|reset).*")) == 3


@pytest.mark.parametrize(
    "module,case,message",
    [
        ("skew_fifo", "skew_start_of_nothing", "a word was started where none waits"),
        ("ofifo", "ofifo_overflow", "a psum arrived while its column was full"),
        ("ofifo", "ofifo_disorder", "the last column has a psum that another column has not"),
    ],
)
def test_misuse_stops_the_simulation(simulate, module, case, message):
    parameters = {"LANES" if module == "skew_fifo" else "COLS": 2, "WIDTH": 4, "DEPTH": 4}
    built = simulators.build(simulate.sim, module, parameters)
    environment = {"COSIM_SEED": "1", "COSIM_PARAMETERS": json.dumps(parameters)}
    with pytest.raises(simulators.SimulationError, match=message):
        simulators.run(built, "tb.modules.cases_fifo", only=f"{case}.*", environment=environment)


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
