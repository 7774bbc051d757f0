"""What the driver refuses in Python, before a simulation is started: each message names the operand and the limit."""

import dataclasses

import numpy as np
import pytest

from golden_model.accelerator.plan import PlanError
from golden_model.configuration import Dataflow, Precision, configuration
from tb.accelerator.command import compile_command
from tb.layers.task import SystemTask

C = configuration("course_8x8")
RNG = np.random.default_rng(0)
TASK = SystemTask(
    title="a layer", dataflow=Dataflow.weight_stationary, weight=RNG.integers(-8, 8, (9, 10, 3, 3)),
    activation=RNG.integers(0, 16, (10, 6, 5)), padding=1, bias=RNG.integers(-99, 99, 9),
    residual=RNG.integers(-99, 99, (9, 6, 5)),
)  # fmt: skip


def compiled(task: SystemTask, plan=None):
    return compile_command(
        plan or task.plan(C), task.weight, task.activation, a_signed=task.a_signed, bias=task.bias,
        residual=task.residual, requant=task.requant,
    )  # fmt: skip


def changed(array: np.ndarray, value: int) -> np.ndarray:
    """A copy with one other value, the last."""
    copy = array.copy()
    copy.flat[-1] = value
    return copy


def test_the_layer_itself_compiles():
    compiled(TASK)


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
        ({"weight": changed(TASK.weight, 8)}, "weight has values -8..8, beyond the -8..7 of 4 signed bits (WGT_BITS"),
        ({"weight": changed(TASK.weight, -9)}, "weight has values -9..7, beyond"),
        ({"activation": changed(TASK.activation, 16)}, "activation has values 0..16, beyond the 0..15 of 4 unsigned"),
        ({"activation": changed(TASK.activation, -1)}, "activation has values -1..15, beyond the 0..15"),
        ({"a_signed": True}, "activation has values 0..15, beyond the -8..7 of 4 signed bits"),
        ({"precision": Precision.a2w4}, "has values 0..15, beyond the 0..3 of 2 unsigned bits (half of"),
        ({"bias": TASK.bias[:-1]}, "bias has the shape [8], the layer needs [9]"),
        ({"bias": changed(TASK.bias, 40_000)}, "of 16 signed bits (PSUM_BITS = 16 of course_8x8)"),
        ({"residual": TASK.residual[:, :-1]}, "residual has the shape [9, 5, 5], the layer needs [9, 6, 5]"),
        ({"residual": changed(TASK.residual, -40_000)}, "residual has values -40000.."),
        (
            {"multiplier": np.ones(8, int), "offset": np.zeros(8, int), "bits": 4},
            "multiplier has the shape [8], the layer needs [9]",
        ),
        ({"multiplier": np.ones(9, int), "offset": np.zeros(9, int), "bits": 3}, "requantises to 4 or 2 bits, not 3"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_refused(flow, fields, message):
    with pytest.raises(ValueError) as refused:
        compiled(dataclasses.replace(TASK, dataflow=flow, **fields))
    assert message in str(refused.value)


def test_operands_of_another_plan():
    plan = dataclasses.replace(TASK, weight=TASK.weight[:8], bias=None, residual=None).plan(C)
    with pytest.raises(PlanError, match=r"weight has the shape \[9, 10, 3, 3\], the layer needs \[8, 10, 3, 3\]"):
        compiled(TASK, plan)
