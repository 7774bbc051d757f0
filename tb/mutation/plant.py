"""The bugs of ``mutants.toml``, what has to find each, and one of them planted and run.

The functions are called in processes of a farm too, so they are those of a module that can be imported there.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from golden_model.configuration import Configuration, Dataflow, Precision, configuration
from golden_model.operands import Operands
from golden_model.requantise import Requantisation
from tb import simulators
from tb.foreign.mutants import Untried
from tb.layers.captured import real_layers
from tb.layers.job import LayerJob
from tb.layers.random_layers import random_task, twin_tasks
from tb.layers.small_layers import bus_layers, clamped_layers
from tb.layers.task import LayerTask
from tb.target import find_target, prepared


class Mutant(NamedTuple):
    """One bug: in ``module``, ``old`` (which stands there once) becomes ``new``.

    ``bench`` is the target core, or accelerator for what it adds to the core, twin for what only a configuration with a
    second set of banks has, or the module whose own bench has to tell because no layer on the core can.
    """

    module: str
    bug: str
    old: str
    new: str
    bench: str = "core"


class Bench(NamedTuple):
    """Cases of a module: top level, parameters, files beside those of ``rtl/``, and for what configuration, if any."""

    toplevel: str
    parameters: dict[str, int]
    cases: str
    only: str | None = None
    sources: tuple[Path, ...] = ()
    configuration: str = ""


# Beside rtl/, what the top ``system`` is made of
BESIDE = tuple(set(simulators.system_sources()) - set(simulators.rtl_sources()))
ODD = configuration("odd_3x5")  # the configuration that is quickest to run
NET = configuration("net_8x8")  # of networks: it has the bits for digits
NETWORKS = {**NET.parameters, **find_target("accelerator").parameters}
SYSTEM = {**ODD.parameters, **find_target("accelerator").parameters}
BENCHES = {
    "act_fetch": Bench(
        "act_fetch_with_banks", {"ROWS": 8, "ACT_BITS": 4, "ADDR_BITS": 5, "FLAGS": 2}, "tb.modules.cases_act_fetch",
        sources=(simulators.HDL / "act_fetch_with_banks.v",),
    ),
    "wgt_fetch": Bench("wgt_fetch", {"WIDTH": 32, "ADDR_BITS": 11}, "tb.modules.cases_memory", "fetch_.*"),
    "sfp": Bench(
        "sfp_with_memory", {"COLS": 8, "PSUM_BITS": 16, "ADDR_BITS": 4}, "tb.modules.cases_sfp",
        sources=(simulators.HDL / "sfp_with_memory.v",),
    ),
    "faults": Bench("system", SYSTEM, "tb.accelerator.cases_faults", "overflow_is_told", BESIDE, ODD.name),
    "broken_off": Bench("system", SYSTEM, "tb.accelerator.cases_faults", "broken_off", BESIDE, ODD.name),
    "interrupt": Bench(
        "system", SYSTEM, "tb.accelerator.cases_faults", "interrupt_is_told|start_at_any_moment", BESIDE, ODD.name
    ),
    "answers": Bench("system", SYSTEM, "tb.accelerator.cases_faults", "memory_that_answers_again", BESIDE, ODD.name),
    "networks": Bench("system", NETWORKS, "tb.networks.cases_lists", "small_networks", BESIDE, NET.name),
    "lists": Bench("system", NETWORKS, "tb.networks.cases_lists", "illegal_layer", BESIDE, NET.name),
    "place": Bench(
        "place", {"ROWS": 16, "COLS": 4, "ACT_BITS": 4, "BUS_BITS": 128}, "tb.modules.cases_place", "every_layout"
    ),
    "issue": Bench("issue", {"ROWS": 8, "COLS": 8, "WGT_LANES": 2, "OFIFO_DEPTH": 32}, "tb.modules.cases_issue"),
}  # fmt: skip


MUTANTS = tuple(Mutant(**m) for m in tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"])


def crop(task: LayerTask, size: int) -> LayerTask:
    """The upper left corner of a layer's map: the same operands in fewer cycles."""
    o = task.operands
    # kernel 3, padding 1, stride 1: the output has the size of the input
    residual = None if o.residual is None else o.residual[:, :size, :size]
    operands = dataclasses.replace(o, activation=o.activation[:, :size, :size], residual=residual)
    return dataclasses.replace(task, title=f"{task.title} cropped to {size}x{size}", operands=operands)


def mutation_jobs(c: Configuration, seed: int) -> list[LayerJob]:
    """Layers that together use all that the core can do: dataflow, precision, signed, residual, tiles, one position.

    Once at full rate, where passes follow closest, once with a slow sfp, where psums pile up and leave back to back;
    and a few on net_8x8, which loads two columns of weights at once.
    """
    from quant.network import load_network

    vgg, resnet = load_network("vgg16_digits"), load_network("resnet20_digits")
    ws, os_ = Dataflow.weight_stationary, Dataflow.output_stationary
    tasks = [real_layers(vgg, ["features.27"], 0, c, flow)[0].task for flow in (ws, os_)]
    tasks.append(crop(real_layers(vgg, ["features.0"], 0, c, os_)[0].task, 8))
    tasks.append(crop(real_layers(resnet, ["layer1.0.conv2"], 0, c, ws)[0].task, 8))
    rng = np.random.default_rng(seed)
    pixel, kernel = rng.integers(0, 16, (40, 1, 1)), rng.integers(-7, 8, (8, 40, 3, 3))
    tasks.append(LayerTask("one position, 45 passes", ws, Operands(kernel, pixel, padding=1)))
    short = rng.integers(0, 16, (3, 8, 8)), kernel[:, :3, :1, :1]
    tasks.append(LayerTask("three operands a pass", os_, Operands(short[1], short[0])))
    tall = rng.integers(0, 16, (8, 130, 16)), rng.integers(-7, 8, (8, 8, 1, 2))
    tasks.append(LayerTask("most of the psum memory", ws, Operands(tall[1], tall[0][:, :, :15])))
    ends = np.full((2, 33, 3, 3), 7)  # 33 * 9 * 15 * 7 = 31,185 of 32,767
    ends[1] = -7
    tasks.append(LayerTask("sums near both ends of PSUM_BITS", ws, Operands(ends, np.full((33, 3, 3), 15))))
    for flow in (ws, os_):
        pairs = rng.integers(0, 4, (19, 4, 4)) - 2 * (flow is os_)
        signed = flow is os_
        operands = Operands(kernel[:, :19], pairs, padding=1, a_signed=signed, precision=Precision.a2w4)
        tasks.append(LayerTask("two channels a row", flow, operands))
    wide = [task for task in tasks if task.title in ("one position, 45 passes", "two channels a row")]
    core, net = find_target("core"), configuration("net_8x8")
    made = prepared(core, c, tasks)
    return [
        LayerJob(c, tasks, seed, prepared=made),
        LayerJob(net, wide, seed, prepared=prepared(core, net, wide)),
        LayerJob(c, tasks, seed, 0.8, ("sfp_op", "out"), made),
    ]


@functools.cache
def accelerator_job(seed: int) -> LayerJob:
    """Small layers of every kind, and random ones, for the accelerator."""
    drawn = [random_task(seed + number, ODD, largest=9, channels=12, macs=15_000) for number in range(24)]
    layers = bus_layers(ODD, seed)
    far = next(layer for layer in layers if layer.operands.requant is not None)
    # Offsets beyond 32 bits, which no fitted layer of this size has
    plain = far.operands.requant
    requant = Requantisation(plain.multiplier // 100, np.arange(len(plain.offset)) << 31, 31, plain.bits)
    operands = dataclasses.replace(far.operands, requant=requant)
    far = dataclasses.replace(far, title="far offsets", operands=operands)
    tasks = [*layers, far, *clamped_layers(ODD), *drawn]
    return LayerJob(ODD, tasks, seed, prepared=prepared(find_target("accelerator"), ODD, tasks))


@functools.cache
def twin_job(seed: int) -> LayerJob:
    """Layers that run on two tiles of outputs at once, between some that do not; L0 is often full."""
    c = dataclasses.replace(configuration("twin_4x6"), name="shallow_4x6", l0_depth=3)
    alone = [random_task(seed + number, c, largest=9, channels=12, macs=15_000) for number in range(2)]
    tasks = [alone[0], *twin_tasks(seed, c, 7), alone[1]]
    tasks = [dataclasses.replace(task, psums=True) for task in tasks]
    return LayerJob(c, tasks, seed, prepared=prepared(find_target("accelerator"), c, tasks))


def run_mutant(mutant: Mutant, jobs: list[LayerJob], sim: str = "icarus") -> str | Untried | None:
    """What the bench reports of a bug, None when it stays green."""
    if mutant.bench == "accelerator":
        return _run(mutant, accelerator_job(jobs[0].seed), jobs[0].seed, sim)
    if mutant.bench == "twin":
        return _run(mutant, twin_job(jobs[0].seed), jobs[0].seed, sim)
    if mutant.bench != "core":
        return _run(mutant, BENCHES[mutant.bench], jobs[0].seed, sim)
    return next(filter(None, (_run(mutant, job, job.seed, sim) for job in jobs)), None)


def _run(mutant: Mutant, run: LayerJob | Bench, seed: int, sim: str) -> str | Untried | None:
    with tempfile.TemporaryDirectory(prefix="mutant-") as work:
        folder = Path(work)
        for source in simulators.rtl_sources():
            shutil.copyfile(source, folder / source.name)
        target = folder / f"{mutant.module}.v"
        text = target.read_text()
        if text.count(mutant.old) != 1:
            raise ValueError(
                f"{mutant.module}.v has {text.count(mutant.old)} times {mutant.old!r}, a mutant needs it once"
            )
        target.write_text(text.replace(mutant.old, mutant.new))
        if isinstance(run, LayerJob):
            target = find_target("core" if mutant.bench == "core" else "accelerator")
            parameters = {**run.configuration.parameters, **target.parameters}
            beside = tuple(set(target.sources()) - set(simulators.rtl_sources()))
            bench = Bench(target.toplevel, parameters, target.cases, "layers", sources=beside)
            environment = run.save(folder / "job.pickle")
        else:
            bench = run
            environment = {
                "COSIM_SEED": str(seed), "COSIM_PARAMETERS": json.dumps(bench.parameters),
                "COSIM_CONFIGURATION": bench.configuration,
            }  # fmt: skip
        sources = [*sorted(folder.glob("*.v")), *bench.sources]
        try:
            built = simulators.build(sim, bench.toplevel, bench.parameters, sources=sources)
        except simulators.SimulationError as error:
            return Untried(str(error))
        try:
            first = {"COCOTB_MAX_FAILURES": "1"}  # a bug that is found needs not be found again
            outcomes = simulators.run(built, bench.cases, only=bench.only, seed=seed, environment=environment | first)
        except simulators.EndedFromOutside as error:
            return Untried(str(error))
        except simulators.SimulationError as error:
            return str(error)
        finally:
            if mutant.new != mutant.old:  # else others use it too
                simulators.discard(built)
        return next((outcome.failure for outcome in outcomes if outcome.failure), None)
