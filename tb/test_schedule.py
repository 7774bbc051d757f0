"""The cycle model against the hardware's own counters."""

from __future__ import annotations

import pytest

from golden_model.configuration import Dataflow, configuration
from golden_model.plan import PlanError
from golden_model.schedule import cycles
from quant.models import ModelSpec
from tb.random_layers import random_task
from tb.system_layers import chosen, network_layers, random_operands

SPECS = {"vgg16": ModelSpec(name="vgg16"), "resnet20": ModelSpec(name="resnet20")}


def off(task, c, measured) -> int:
    return cycles(task.plan(c), residual=task.residual is not None).total - measured["cycles"]


@pytest.mark.parametrize("precision", ["a4w4", "a2w4"])
@pytest.mark.parametrize("config", ["net_8x8", "net_16x16"])
def test_cycles_of_the_networks_are_as_predicted(run_system, sim, config, precision):
    """Every distinct shape of VGG16 and ResNet20 in both dataflows: within 1 %, or 4 cycles of small ones."""
    c = configuration(config)
    distinct = {(layer.shape, layer.residual) for spec in SPECS.values() for layer in network_layers(spec)}
    largest = 8_000_000 if sim == "verilator" else 300_000
    tasks = []
    for index, (shape, residual) in enumerate(sorted(distinct, key=str)):
        for flow in Dataflow if shape.macs <= largest else []:
            try:
                operands = random_operands(shape, c, index, simd=precision == "a2w4", residual=residual)
                tasks.append(chosen(operands, c, flow))
            except PlanError:
                assert flow is Dataflow.output_stationary
    wrong = []
    for task, measured in zip(tasks, run_system(c, tasks), strict=True):
        error = off(task, c, measured)
        if abs(error) > max(4, 0.01 * measured["cycles"]):
            wrong.append(f"{task.title} {task.dataflow.name}: {error:+d} of {measured['cycles']}")
    assert tasks and not wrong, "\n".join(wrong)


def test_cycles_of_random_layers_are_near(run_system, seed, sim):
    """Small layers, where filling and waiting mix: mostly within 1 % or 4 cycles, nearly all 10 % or 32."""
    c = configuration("net_8x8")
    count, largest = (100, 400_000) if sim == "verilator" else (10, 30_000)
    tasks = [random_task(5000 * seed + number, c, macs=largest) for number in range(count)]
    errors = [
        (abs(off(task, c, measured)), measured["cycles"])
        for task, measured in zip(tasks, run_system(c, tasks), strict=True)
    ]
    assert sum(error <= max(4, 0.01 * total) for error, total in errors) >= 0.6 * count
    assert sum(error <= max(32, 0.1 * total) for error, total in errors) >= 0.9 * count
