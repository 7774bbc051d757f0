"""The accelerator on whole layers: real ones, the shapes of the full networks, random ones, stalls."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import re

import pytest
import torch

from golden_model.accelerator import schedule
from golden_model.accelerator.plan import PlanError, plan
from golden_model.configuration import Dataflow, Precision, configuration
from golden_model.tiling import ConvShape
from quant.checkpoints import SHIPPED
from quant.data import load_data
from quant.models import ModelSpec
from quant.network import load_network
from quant.storage.checkpoint import write_checkpoint
from tb import simulators
from tb.accelerator.prepared import chosen, planned, predicted
from tb.layers.captured import real_layers
from tb.layers.job import LayerJob
from tb.layers.networks import FULL_SIZE, network_layers
from tb.layers.random_layers import random_operands, random_task, twin_tasks
from tb.layers.requantised import requantised
from tb.layers.small_layers import bus_layers, clamped_layers

CHUNK = 50
FLOWS = list(Dataflow)


@functools.cache
def captured(name: str, config: str):
    network = load_network(name)
    return network, real_layers(network, None, 0, configuration(config))


def test_skip_block(simulate, run_accelerator, sim, seed, tmp_path):
    """Seed 003's SkipBlock, of random weights: its layers, requantised for the next, in both dataflows.

    On Icarus every other layer in one, the rest in the other.
    """
    torch.manual_seed(5)
    model = ModelSpec(width=0.125, squeeze=8, skip_block=True).build()
    model.train()(torch.stack([load_data("digits").test_image(i)[0] for i in range(16)]))  # statistics of BatchNorm
    write_checkpoint(tmp_path / "model_best.pth.tar", {"state_dict": model.state_dict()})
    network = load_network(tmp_path / "model_best.pth.tar", dataset="digits")
    c = configuration("net_8x8")
    layers = real_layers(network, [f"features.20.conv{i}" for i in (20, 24, 27, 30)], 0, c)
    tasks = [requantised(layer, network, c, flow) for layer in layers for flow in FLOWS]
    assert [task.operands.residual is not None for task in tasks] == [False] * 4 + [True] * 2 + [False] * 2
    assert all(task.operands.requant.bits == 4 for task in tasks)
    assert [task.operands.pool for task in tasks][::2] == [True, False, False, True]
    if sim == "icarus":
        tasks = [task for index, task in enumerate(tasks) if index % 4 in (0, 3)]
    run_accelerator(c, [dataclasses.replace(task, psums=True) for task in tasks])
    simulate.layers(LayerJob(c, [dataclasses.replace(layers[2].task, dataflow=flow) for flow in FLOWS], seed))


@pytest.mark.parametrize("config", ["net_8x8", "odd_3x5"])
def test_clamped(run_accelerator, config):
    """And the layer after each is not told to be."""
    run_accelerator(configuration(config), clamped_layers(configuration(config)))


def test_long_sides(run_accelerator, verilator):
    """Maps of more than 255 pixels a side: the fields of sizes have 16 bits."""
    c = configuration("net_8x8")
    shapes = [
        ConvShape(1, 5, 300, 2, 3, 3, 1, 1), ConvShape(1, 301, 7, 2, 3, 3, 2, 1), ConvShape(2, 3, 600, 9, 1, 1, 1, 0),
    ]  # fmt: skip
    tasks = []
    for (number, shape), flow in itertools.product(enumerate(shapes), FLOWS):
        with contextlib.suppress(PlanError):  # of rows that are too long for the banks
            tasks.append(chosen(c, random_operands(shape, c, number), flow))
    assert {flow: sum(task.dataflow is flow for task in tasks) for flow in FLOWS} == dict.fromkeys(FLOWS, 3)
    run_accelerator(c, tasks)


def in_each_dataflow(c, shape, task_of) -> list:
    """The tasks of the dataflows that can run a layer: all, but OS where the weights of all k are beyond WGT_DEPTH."""
    tasks = []
    for flow in FLOWS:
        try:
            tasks.append(task_of(flow))
        except PlanError as error:
            assert flow is Dataflow.output_stationary and "WGT_DEPTH" in str(error)
            simd = task_of(Dataflow.weight_stationary).operands.simd
            assert shape.n_kij * -(-shape.ic // (1 + simd)) > c.wgt_depth, str(error)
    return tasks


@pytest.mark.parametrize("config", ["net_8x8", "net_16x16"])
@pytest.mark.parametrize("name", SHIPPED)
def test_real_layers(run_accelerator, sim, name, config):
    """Every layer of every shipped network; the smallest on Icarus.

    Each in both dataflows, if it can run in them: in one on one configuration, in the other on the other.
    """
    c = configuration(config)
    network, layers = captured(name, config)
    if sim == "icarus":
        if config != "net_8x8":
            pytest.skip("Icarus runs the small set on one configuration")
        tasks = [requantised(min(layers, key=lambda layer: layer.shape.macs), network, c)]
    else:
        first = config == "net_16x16"
        tasks = []
        for index, layer in enumerate(layers):
            possible = in_each_dataflow(c, layer.shape, functools.partial(requantised, layer, network, c))
            tasks.append(possible[(index + first) % len(possible)])
    run_accelerator(c, [dataclasses.replace(task, psums=task.shape.macs < 150_000) for task in tasks])


@pytest.mark.parametrize("precision", Precision, ids=lambda precision: precision.name)
@pytest.mark.parametrize("config", ["net_8x8", "net_16x16"])
def test_network_shapes(run_accelerator, sim, config, precision):
    """Each distinct convolution of the full-size networks, in each dataflow, at full rate in its better one."""
    c = configuration(config)
    distinct = {(layer.shape, layer.residual) for spec in FULL_SIZE.values() for layer in network_layers(spec)}
    if sim == "icarus":
        if config != "net_8x8":
            pytest.skip("Icarus runs the small set on one configuration")
        distinct = {(shape, residual) for shape, residual in distinct if shape.macs < 300_000}
    tasks, better = [], []
    for index, (shape, residual) in enumerate(sorted(distinct, key=str)):
        operands = random_operands(shape, c, index, simd=precision is Precision.a2w4, residual=residual)
        tasks += in_each_dataflow(c, shape, functools.partial(chosen, c, operands))
        best = chosen(c, operands).dataflow
        better += [task.dataflow is best for task in tasks[len(better) :]]
    wrong = []
    for task, best, result in zip(tasks, better, run_accelerator(c, tasks), strict=True):
        made = planned(c, task)
        error = predicted(c, task) - result["cycles"]
        if abs(error) > max(2, 0.01 * result["cycles"]):
            wrong.append(f"{task.title} {task.dataflow.name}: {error:+d} of {result['cycles']} were predicted")
        lost = result["cycles"] - result["active"]
        # Of the first block, with half as many cycles to hide it behind
        loading = made.block_words // 2 if task.operands.simd else 0
        if best and lost > 4 * (c.rows + c.cols) + 40 + loading + 0.02 * result["cycles"]:
            wrong.append(f"{task.title} {task.dataflow.name}: {lost} cycles lost, {result}, {made.bands} bands")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
def test_random_layers(run_accelerator, request, seed, sim, first):
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
    tasks = [dataclasses.replace(task, psums=task.psums or bool(wanted)) for task in tasks]
    run_accelerator(c, tasks, layers=[str(number) for number in numbers])


def test_a_failing_layer_is_replayed_alone(run_accelerator, sim, tmp_path):
    """Beside the whole test, the layer that failed, not those that ran before it."""
    if sim != "icarus":
        pytest.skip("planted once, where building is quick")
    text = simulators.rtl_source("segment_count").read_text()
    planted = tmp_path / "segment_count.v"
    planted.write_text(text.replace("(last_band ? last_words : words) - 16'd1", "words - 16'd1"))
    sources = [planted if source.name == planted.name else source for source in simulators.system_sources()]
    c = configuration("odd_3x5")
    whole, banded = (
        task for task in bus_layers(c, 1) if task.title in ("weight_stationary, plain", "weight_stationary, bands")
    )
    with pytest.raises(pytest.fail.Exception, match=r"\nthat layer alone: pytest .*--layer 12$") as failed:
        run_accelerator(c, [whole, banded], layers=["11", "12"], sources=sources)
    # The bug takes a second tile of outputs and a second band: what is left has them, and hardly anything else.
    pattern = rf"the smallest that was found to fail: 1->{c.cols + 1} on (\d+)x(\d+), kernel 3, .*, bands of \d rows"
    small = re.search(pattern, str(failed.value))
    assert small and int(small[1]) * int(small[2]) <= banded.shape.ih * banded.shape.iw, str(failed.value)


def test_twin(run_accelerator, seed, sim):
    """Two tiles at once give what one after the other does, in fewer cycles than these would take."""
    c = configuration("twin_4x6")
    tasks = twin_tasks(seed, c, 60 if sim == "verilator" else 16)
    plans = [planned(c, task) for task in tasks]
    alone = dataclasses.replace(c, twin_depth=0)
    for what in ("bands", "stride 2", "simd", "residual", "pool", "requant", "odd"):
        has = {
            "bands": lambda plan, _: plan.bands > 1,
            "stride 2": lambda plan, _: plan.shape.stride == 2,
            "simd": lambda plan, _: plan.simd,
            "residual": lambda _, task: task.operands.residual is not None,
            "pool": lambda plan, _: plan.pool,
            "requant": lambda plan, _: plan.requant,
            "odd": lambda _, task: planned(alone, task).o_tiles(0) % 2,
        }[what]
        assert any(has(plan, task) for plan, task in zip(plans, tasks, strict=True)), f"none with {what}"
    results = run_accelerator(c, [dataclasses.replace(task, psums=True) for task in tasks])
    quick = [r["cycles"] <= predicted(alone, task) for r, task in zip(results, tasks, strict=True)]
    assert sum(quick) >= 0.8 * len(tasks)
    errors = [
        (abs(predicted(c, task) - result["cycles"]), result["cycles"])
        for result, task in zip(results, tasks, strict=True)
    ]
    assert sum(error <= max(2, 0.01 * total) for error, total in errors) >= 0.85 * len(tasks)
    assert sum(error <= max(16, 0.05 * total) for error, total in errors) >= 0.9 * len(tasks)


def test_twin_with_shallow_fifos(run_accelerator, seed, sim):
    """FIFOs in front and behind that hold the array up, and a second set of banks as deep as the first."""
    c = configuration("twin_4x6")
    small = {"l0_depth": 3, "ififo_depth": 2, "ofifo_depth": c.rows, "act_depth": 300}
    for name, changed in (("shallow_4x6", small), ("narrow_1x2", small | {"rows": 1, "cols": 2, "ofifo_depth": 2})):
        other = dataclasses.replace(c, name=name, **changed)
        run_accelerator(other, [dataclasses.replace(t, psums=True) for t in twin_tasks(seed + 50, other, 6)])


def test_twin_in_bands_is_chosen():
    """Where a whole map fits the first set of banks and not the second, bands that fit both are fewer cycles."""
    c = configuration("net_32x32")
    shape = ConvShape(16, 64, 64, 16, 3, 3, 1, 1)
    assert not plan(shape, c, Dataflow.output_stationary).twin
    best = schedule.choose(shape, c)
    assert best.twin and best.bands > 1
    assert schedule.cycles(best).total < 0.6 * schedule.cycles(plan(shape, c, Dataflow.output_stationary)).total


@pytest.mark.parametrize("config", ["odd_3x5", "twin_4x6", "course_8x8", "net_16x16"])
def test_random_layers_other_configurations(run_accelerator, seed, sim, config):
    c = configuration(config)
    limits = {"largest": 12, "channels": 24, "macs": 60_000} if sim == "icarus" else {}
    count = 8 if sim == "icarus" else 40
    run_accelerator(c, [random_task(1000 * seed + 500 + number, c, **limits) for number in range(count)])


@pytest.mark.parametrize("stalled", ["ar", "r", "aw", "w", "b", "all"])
def test_stalls(run_accelerator, seed, sim, stalled):
    """A memory that holds any of its channels changes no value."""
    c = configuration("odd_3x5" if sim == "icarus" else "net_8x8")
    limits = {"largest": 8, "channels": 12, "macs": 20_000} if sim == "icarus" else {"macs": 400_000}
    count = 4 if sim == "icarus" else 20
    tasks = [random_task(1000 * seed + 700 + number, c, **limits) for number in range(count)]
    run_accelerator(c, tasks, stalls=0.6, stalled=None if stalled == "all" else (stalled,))


@pytest.mark.parametrize("stalled", ["r", "all"])
def test_twin_stalls(run_accelerator, seed, sim, stalled):
    c = configuration("twin_4x6")
    tasks = twin_tasks(seed + 100, c, 20 if sim == "verilator" else 5)
    run_accelerator(c, tasks, stalls=0.6, stalled=None if stalled == "all" else (stalled,))
