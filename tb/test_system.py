"""The accelerator's sequencer on whole layers: real ones, the shapes of the full networks, random ones, stalls."""

from __future__ import annotations

import dataclasses
import functools

import pytest

from golden_model.configuration import Dataflow, configuration
from golden_model.plan import PlanError
from quant.checkpoints import SHIPPED
from quant.models import ModelSpec
from quant.network import load_network
from tb.layers import real_layers
from tb.random_layers import random_task
from tb.system_layers import chosen, network_layers, random_operands, system_task

CHUNK = 50
FLOWS = list(Dataflow)


@functools.cache
def captured(name: str, config: str):
    network = load_network(name)
    return network, real_layers(network, None, 0, configuration(config))


@pytest.mark.parametrize("config", ["net_8x8", "net_16x16"])
@pytest.mark.parametrize("name", SHIPPED)
def test_real_layers(run_system, sim, name, config):
    """Every layer of every shipped network, each dataflow that can run it; a few of them on Icarus."""
    c = configuration(config)
    network, layers = captured(name, config)
    if sim == "icarus":
        if config != "net_8x8":
            pytest.skip("Icarus runs the small set on one configuration")
        layers = [layer for layer in layers if layer.shape.macs < 80_000][:4]
    tasks = []
    for layer in layers:
        for flow in FLOWS if sim == "verilator" else [None]:
            try:
                task = system_task(layer, network, c, flow)
            except PlanError as error:
                assert flow is Dataflow.output_stationary and "WGT_DEPTH" in str(error)
                continue
            tasks.append(dataclasses.replace(task, psums=layer.shape.macs < 100_000))
    assert len(tasks) >= len(layers)
    run_system(c, tasks)


SPECS = {
    "vgg16": ModelSpec(name="vgg16"),
    "vgg16_w4a2": ModelSpec(name="vgg16", squeeze=16, squeeze_identity=True, a_bits=2),
    "resnet20": ModelSpec(name="resnet20"),
}


@pytest.mark.parametrize("config", ["net_8x8", "net_16x16"])
@pytest.mark.parametrize("name", SPECS)
def test_network_shapes(run_system, sim, name, config):
    """Each distinct convolution of the full-size networks, in its better dataflow, at full rate."""
    if sim == "icarus":
        pytest.skip("whole networks are for Verilator")
    c = configuration(config)
    simd = SPECS[name].a_bits == 2
    distinct = {(layer.shape, layer.residual): layer for layer in network_layers(SPECS[name])}
    tasks = [
        chosen(random_operands(shape, c, index, simd=simd, residual=residual), c)
        for index, (shape, residual) in enumerate(distinct)
    ]
    for task, result in zip(tasks, run_system(c, tasks), strict=True):
        plan = task.plan(c)
        lost = result["cycles"] - result["active"]
        assert lost <= 4 * (c.rows + c.cols) + 40 + 0.02 * result["cycles"], f"{task.title}: {result}, {plan.bands}"


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
def test_random_layers(run_system, request, seed, sim, first):
    """200 random layers on Verilator; --layer 137 runs number 137 alone, every psum compared."""
    c = configuration("net_8x8")
    wanted = request.config.option_values["LAYER"]
    numbers = range(first, first + CHUNK)
    limits = {}
    if sim == "icarus":
        numbers, limits = numbers[:5], {"largest": 10, "channels": 20, "macs": 60_000}
    if wanted:
        numbers = [number for number in numbers if str(number) in wanted.split(",")]
        if not numbers:
            pytest.skip("not among the wanted layers")
    tasks = [random_task(1000 * seed + number, c, **limits) for number in numbers]
    tasks = [
        dataclasses.replace(task, title=f"{task.title} (--layer {number})", psums=task.psums or bool(wanted))
        for number, task in zip(numbers, tasks, strict=True)
    ]
    run_system(c, tasks)


@pytest.mark.parametrize("config", ["odd_3x5", "course_8x8", "net_16x16"])
def test_random_layers_other_configurations(run_system, seed, sim, config):
    c = configuration(config)
    limits = {"largest": 12, "channels": 24, "macs": 60_000} if sim == "icarus" else {}
    count = 8 if sim == "icarus" else 40
    run_system(c, [random_task(1000 * seed + 500 + number, c, **limits) for number in range(count)])


@pytest.mark.parametrize("stalled", ["ar", "r", "aw", "w", "b", "all"])
def test_stalls(run_system, seed, sim, stalled):
    """A memory that holds any of its channels changes no value."""
    c = configuration("odd_3x5" if sim == "icarus" else "net_8x8")
    limits = {"largest": 8, "channels": 12, "macs": 20_000} if sim == "icarus" else {"macs": 400_000}
    count = 4 if sim == "icarus" else 20
    tasks = [random_task(1000 * seed + 700 + number, c, **limits) for number in range(count)]
    run_system(c, tasks, stalls=0.6, stalled=None if stalled == "all" else (stalled,))
