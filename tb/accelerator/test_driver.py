"""What the driver refuses in Python, before a simulation is started: each message names the operand and the limit."""

import dataclasses
import re

import numpy as np
import pytest

from golden_model.accelerator.plan import POOL_DEPTH, PlanError
from golden_model.configuration import Dataflow, Precision, configuration
from golden_model.operands import Operands
from golden_model.requantise import Requantisation
from tb import simulators
from tb.accelerator.checks import MEMORY_BEATS
from tb.accelerator.command import compile_command
from tb.accelerator.prepared import planned
from tb.layers.task import LayerTask

C = configuration("course_8x8")
RNG = np.random.default_rng(0)
LAYER = Operands(
    RNG.integers(-8, 8, (9, 10, 3, 3)), RNG.integers(0, 16, (10, 6, 5)), padding=1, bias=RNG.integers(-99, 99, 9),
    residual=RNG.integers(-99, 99, (9, 6, 5)),
)  # fmt: skip


def planned_for(operands: Operands, flow: Dataflow = Dataflow.weight_stationary):
    return planned(C, LayerTask("a layer", flow, operands))


def changed(array: np.ndarray, value: int) -> np.ndarray:
    """A copy with one other value, the last."""
    copy = array.copy()
    copy.flat[-1] = value
    return copy


def test_the_layer_itself_compiles():
    compile_command(planned_for(LAYER), LAYER)


@pytest.mark.parametrize("flow", list(Dataflow))
@pytest.mark.parametrize(
    "fields,message",
    [
        ({"weight": np.zeros((9, 10, 5, 5), int)}, "runs 1x1 and 3x3 kernels, not 5x5"),
        ({"weight": np.zeros((9, 10, 3, 1), int)}, "runs 1x1 and 3x3 kernels, not 3x1"),
        ({"stride": 3}, "not stride 3, padding 1"),
        ({"padding": 2}, "not stride 1, padding 2"),
        ({"pool": True}, "pooling needs requantised outputs"),
        ({"weight": np.zeros((9, 11, 3, 3), int)}, "weight takes 11 channels, activation has 10"),
        ({"weight": np.zeros((0, 10, 3, 3), int)}, "oc = 0: must be at least 1"),
        ({"activation": np.zeros((10, 0, 5), int)}, "ih = 0: must be at least 1"),
        ({"weight": changed(LAYER.weight, 8)}, "weight has values -8..8, beyond the -8..7 of 4 signed bits (WGT_BITS"),
        ({"weight": changed(LAYER.weight, -9)}, "weight has values -9..7, beyond"),
        ({"activation": changed(LAYER.activation, 16)}, "activation has values 0..16, beyond the 0..15 of 4 unsigned"),
        ({"activation": changed(LAYER.activation, -1)}, "activation has values -1..15, beyond the 0..15"),
        ({"a_signed": True}, "activation has values 0..15, beyond the -8..7 of 4 signed bits"),
        ({"precision": Precision.a2w4}, "has values 0..15, beyond the 0..3 of 2 unsigned bits (half of"),
        ({"bias": LAYER.bias[:-1]}, "bias has the shape [8], the layer needs [9]"),
        ({"bias": changed(LAYER.bias, 40_000)}, "of 16 signed bits (PSUM_BITS = 16 of course_8x8)"),
        ({"residual": LAYER.residual[:, :-1]}, "residual has the shape [9, 5, 5], the layer needs [9, 6, 5]"),
        ({"residual": changed(LAYER.residual, -40_000)}, "residual has values -40000.."),
        (
            {"requant": Requantisation(np.ones(8, int), np.zeros(8, int), 0, 4)},
            "multiplier has the shape [8], the layer needs [9]",
        ),
        ({"requant": Requantisation(np.ones(9, int), np.zeros(9, int), 0, 3)}, "requantises to 4 or 2 bits, not 3"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_refused(flow, fields, message):
    with pytest.raises(ValueError) as refused:
        operands = dataclasses.replace(LAYER, **fields)
        compile_command(planned_for(operands, flow), operands)
    assert message in str(refused.value)


def test_operands_of_another_plan():
    plan = planned_for(dataclasses.replace(LAYER, weight=LAYER.weight[:8], bias=None, residual=None))
    with pytest.raises(PlanError, match=r"weight has the shape \[9, 10, 3, 3\], the layer needs \[8, 10, 3, 3\]"):
        compile_command(plan, LAYER)


def test_numbers_that_the_verilog_has_too():
    text = simulators.rtl_source("accelerator").read_text() + (simulators.HDL / "system.v").read_text()
    for name, value in (("POOL_DEPTH", POOL_DEPTH), ("BEATS", MEMORY_BEATS)):
        assert re.findall(rf"parameter {name} +=\s*(\d+)", text) == [str(value)], name
