"""``make bench``: what the suite measures of itself, in one run on one machine.

1. The golden model against the course notebooks' nested loop and against torch's conv2d.
2. Simulated cycles per second of the core on each installed simulator, every psum and output compared.
3. Cycles and utilisation on the core of every layer of the main job's networks, beside the ideal of the throughput
   contract.
4. The accelerator: simulated cycles per second; single layers and full-size networks beside what was aimed at, the
   cycle model and SCALE-Sim's laws; where their cycles went; a picture of it by layer; time to build, peak memory.
5. Images through whole networks in the accelerator's own memory, beside the same network layer by layer.
6. Training: images a second with and without what the recipes use to be quick.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from golden_model import psum, sfp, throughput, tiling
from golden_model.configuration import Configuration, Dataflow, configuration
from golden_model.convolution import convolve
from golden_model.throughput import ideal_cycles
from golden_model.tiling import ConvShape
from quant.cli import Parser
from quant.data import load_data
from quant.integer import integer_network
from quant.models import ModelSpec
from quant.network import load_network
from quant.training.recipe import Recipe
from quant.training.trainer import Trainer
from tb import simulators
from tb.accelerator.prepared import chosen, predicted
from tb.commands import command
from tb.commands.cosim import simulate
from tb.commands.report import convolution, flow, tiles
from tb.layers.captured import RealLayer, real_layers
from tb.layers.main_job import MAIN_JOB
from tb.layers.networks import FULL_SIZE, NetworkLayer, network_layers
from tb.layers.random_layers import random_operands
from tb.layers.requantised import requantised
from tb.layers.task import LayerTask
from tb.networks.bare import bare_loop
from tb.networks.job import NetworkJob
from tb.networks.program import compile_network
from tb.networks.run import build
from tb.networks.run import run_network as run_images
from tb.target import find_target, prepared, run_layers

CONFIGURATION = "course_8x8"
CORE, ACCELERATOR = find_target("core"), find_target("accelerator")


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of one call after a warm-up; both cores busy with something else would show in a mean."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def notebook_loop(weight: torch.Tensor, activation: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """What the notebooks do: one freshly made linear layer for each tap, ic_tile, oc_tile and position (padding 1)."""
    oc, ic, kh, kw = weight.shape
    h, w = activation.shape[1:]
    padded = torch.nn.functional.pad(activation, (1, 1, 1, 1)).reshape(ic, -1)
    wide = w + 2
    psums = torch.zeros(ic // rows, oc // cols, cols, padded.shape[1], kh * kw)
    with torch.no_grad():
        for kij in range(kh * kw):
            tap = weight[:, :, kij // kw, kij % kw]
            for i in range(ic // rows):
                for o in range(oc // cols):
                    for nij in range(padded.shape[1]):
                        layer = torch.nn.Linear(rows, cols, bias=False)
                        layer.weight = torch.nn.Parameter(tap[o * cols : (o + 1) * cols, i * rows : (i + 1) * rows])
                        psums[i, o, :, nij, kij] = layer(padded[i * rows : (i + 1) * rows, nij])
        out = torch.zeros(oc, h * w)
        for o_nij in range(h * w):
            for kij in range(kh * kw):
                nij = (o_nij // w + kij // kw) * wide + o_nij % w + kij % kw
                out[:, o_nij] += psums[:, :, :, nij, kij].sum(0).reshape(-1)
    return out.reshape(oc, h, w)


def golden_table() -> Table:
    """Golden model, 64 -> 64 channels, 3x3, 8x8 maps, on an 8x8 array; all give the same integers."""
    rng = np.random.default_rng(1)
    weight = rng.integers(-7, 8, (64, 64, 3, 3)).astype(np.int32)
    activation = rng.integers(0, 16, (64, 8, 8)).astype(np.int32)
    shape = ConvShape.of(weight, activation, 1, 1)
    w, x = torch.from_numpy(weight).float(), torch.from_numpy(activation).float()[None]

    def tiled():
        cube = psum.ws_psums(tiling.activation_tiles(activation, shape, 8), tiling.weight_tiles(weight, 8, 8))
        return sfp.accumulate(cube, shape)

    def reference():
        with torch.no_grad():
            return torch.nn.functional.conv2d(x, w, padding=1)

    start = time.perf_counter()
    looped = notebook_loop(w, x[0], 8, 8).numpy()
    loop = time.perf_counter() - start
    for result in (tiled(), convolve(weight, activation, 1, 1), reference()[0].numpy()):
        if not np.array_equal(np.asarray(result, np.int64), looped.round().astype(np.int64)):
            raise AssertionError("the golden model, conv2d and the notebooks' loop do not agree")
    # One thread: with two busy cores the libraries' thread pools, not the arithmetic, would be measured.
    torch.set_num_threads(1)
    conv2d = seconds(reference, 300)
    table = Table(title="Golden model, 64 -> 64 channels, 3x3, 8x8 maps", title_justify="left", box=None)
    table.add_column("")
    for name in ("ms", "loop / this", "this / conv2d"):
        table.add_column(name, justify="right")
    for name, value in (
        ("notebooks' nested loop", loop),
        ("tiles, psum cube, SFP accumulation", seconds(tiled, 300)),
        ("convolve (sums only, no cube)", seconds(lambda: convolve(weight, activation, 1, 1), 300)),
        ("torch conv2d, float32", conv2d),
    ):
        table.add_row(name, f"{value * 1e3:,.3f}", f"{loop / value:,.0f}", f"{value / conv2d:,.1f}")
    return table


def speed_table(layers: list[RealLayer]) -> Table:
    """Simulated cycles per second while all is compared: from the start of the process, and without it."""
    c = configuration(CONFIGURATION)
    table = Table(title=f"Simulation of core ({c.name}), every value compared", title_justify="left", box=None)
    for name in ("simulator", "cycles", "seconds", "cycles/s", "start-up s", "cycles/s without"):
        table.add_column(name, justify="left" if name == "simulator" else "right")
    tasks = [layer.task for layer in layers]
    made = prepared(CORE, c, tasks)
    for sim in simulators.SIMULATORS:
        try:
            CORE.build(sim, c)
        except simulators.SimulationError as error:
            table.add_row(sim, str(error).splitlines()[0])
            continue
        taken, cycles = [], []
        for repeat in (1, 3):  # the difference of two runs has no start-up in it
            start = time.perf_counter()
            ran = run_layers(CORE, c, tasks * repeat, sim=sim, made=made * repeat)
            taken.append(time.perf_counter() - start)
            if ran.failure:
                raise AssertionError(ran.failure)
            cycles.append(sum(result["cycles"] for result in ran.results))
        net = (cycles[1] - cycles[0]) / (taken[1] - taken[0])
        start_up = taken[0] - cycles[0] / net
        table.add_row(
            sim, f"{cycles[1]:,}", f"{taken[1]:.2f}", f"{cycles[1] / taken[1]:,.0f}", f"{start_up:.2f}", f"{net:,.0f}"
        )
    return table


def layer_table(network: str, layers: list[RealLayer], sim: str) -> Table:
    """Cycles and utilisation of a network's layers, and the ideal cycles of the contract without fill and drain."""
    c = configuration(CONFIGURATION)
    table = Table(
        title=f"{network}, every quantised layer, {c.name}", title_justify="left", box=None,
        padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    for name in ("layer", "convolution", "flow", "tiles", "kMACs", "ideal", "cycles", "util"):
        table.add_column(name, justify="left" if name in ("layer", "convolution", "flow") else "right")
    macs = cycles = ideal = peak = 0
    for layer in layers:
        outcome = simulate(layer, c, sim, seed=1, stalls=0.0, waves=False)
        if outcome.failure:
            raise AssertionError(f"{layer.task.title}: {outcome.failure}")
        best = ideal_cycles(layer.shape, c, layer.task.dataflow, layer.task.operands.precision)
        run = outcome.measured
        macs, cycles, ideal = macs + layer.shape.macs, cycles + run["cycles"], ideal + best
        peak += (
            layer.shape.macs / layer.task.operands.precision.channels
        )  # cycles that the array needs at its peak, times tiles
        table.add_row(
            layer.name, convolution(layer), flow(layer.task), str(tiles(layer, c)),
            f"{layer.shape.macs / 1000:,.0f}", f"{best:,}", f"{run['cycles']:,}", f"{run['utilisation']:.1%}",
        )  # fmt: skip
    total = peak / (cycles * c.rows * c.cols)
    table.add_row("all", "", "", "", f"{macs / 1000:,.0f}", f"{ideal:,}", f"{cycles:,}", f"{total:.1%}", style="bold")
    return table


ARRAYS = ("net_8x8", "net_16x16", "net_32x32")
NETWORKS = {"VGG16": FULL_SIZE["vgg16"], "ResNet20": FULL_SIZE["resnet20"]}
# Utilisations aimed at, in per cent
GOALS = {"VGG16": (96, 90, 98), "ResNet20": (97, 90, 92)}
WS, OS = Dataflow


@dataclasses.dataclass(frozen=True)
class NetworkRun:
    """One full-size network on one array: shapes, tasks and what was measured, layer by layer."""

    name: str
    configuration: Configuration
    layers: list[NetworkLayer]
    tasks: list[LayerTask]
    results: list[dict]

    @property
    def macs(self) -> int:
        return sum(layer.shape.macs for layer in self.layers)

    def total(self, counter: str) -> int:
        return sum(result[counter] for result in self.results)

    @property
    def utilisation(self) -> float:
        c = self.configuration
        return self.macs / (self.total("cycles") * c.rows * c.cols)

    @property
    def predicted(self) -> list[int]:
        """Cycles of each layer by the cycle model."""
        return [predicted(self.configuration, task) for task in self.tasks]


def law(shape: ConvShape, c: Configuration, dataflow: Dataflow) -> float:
    """Utilisation by SCALE-Sim's law."""
    return shape.macs / (throughput.scale_sim(shape, c.rows, c.cols, dataflow) * c.rows * c.cols)


def measured(c: Configuration, tasks: list[LayerTask]) -> tuple[list[dict], str | None]:
    """Results of layers on the accelerator, and the failure, if any."""
    ran = run_layers(ACCELERATOR, c, tasks, sim="verilator")
    return ran.results, ran.failure


def run_network(name: str, c: Configuration) -> NetworkRun:
    """Every convolution of the network on one image, start to done, random operands, all outputs compared."""
    layers = network_layers(NETWORKS[name])
    tasks = [
        chosen(c, random_operands(layer.shape, c, index, residual=layer.residual)) for index, layer in enumerate(layers)
    ]
    results, failure = measured(c, tasks)
    if failure:
        raise AssertionError(f"{name} on {c.name}: {failure}")
    return NetworkRun(name, c, layers, tasks, results)


def _columns(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def array_table(runs: list[NetworkRun]) -> Table:
    """Utilisation of whole networks beside what was aimed at and SCALE-Sim's law."""
    names = ("MACs", "cycles", "util", "goal", "SCALE-Sim os", "model", "worst layer")
    table = _columns(
        "Full-size networks on the accelerator, one image, every output compared",
        ("network", "array"), names,
    )  # fmt: skip
    for run in runs:
        c = run.configuration
        os_law = sum(throughput.scale_sim(layer.shape, c.rows, c.cols, OS) for layer in run.layers)
        model = sum(run.predicted) / run.total("cycles") - 1
        worst = max(
            (p / r["cycles"] - 1 for p, r in zip(run.predicted, run.results, strict=True)), key=abs
        )  # fmt: skip
        table.add_row(
            run.name, f"{c.rows}x{c.cols}", f"{run.macs / 1e6:.1f} M", f"{run.total('cycles'):,}",
            f"{run.utilisation:.1%}", f"{GOALS[run.name][ARRAYS.index(c.name)]}%",
            f"{run.macs / (os_law * c.rows * c.cols):.1%}", f"{model:+.2%}", f"{worst:+.2%}",
        )  # fmt: skip
    return table


def lost_table(runs: list[NetworkRun]) -> Table:
    """Where the cycles of whole networks went: the hardware's counters, and what of the array lay idle meanwhile."""
    names = ("cycles", "active", "fill", "stall_act", "stall_wgt", "stall_out")
    table = _columns(
        "Where the cycles went; idle: tiles without work while active",
        ("network", "array"), (*names, "idle"),
    )  # fmt: skip
    for run in runs:
        c = run.configuration
        idle = 1 - run.macs / (run.total("active") * c.rows * c.cols)
        table.add_row(run.name, f"{c.rows}x{c.cols}", *(f"{run.total(name):,}" for name in names), f"{idle:.1%}")
    return table


def single_table() -> Table:
    """Layers whose figures are aimed at one by one, on net_8x8, and what 2-bit activations gain."""
    c = configuration("net_8x8")
    shapes = {
        "3>64 3x3 @32": (ConvShape(3, 32, 32, 64, 3, 3, 1, 1), "90%"),
        "512>512 3x3 @2": (ConvShape(512, 2, 2, 512, 3, 3, 1, 1), "90%"),
        "8>8 3x3 @4": (ConvShape(8, 4, 4, 8, 3, 3, 1, 1), "80%"),
        "64>64 3x3 @32": (ConvShape(64, 32, 32, 64, 3, 3, 1, 1), ""),
        "16>16 3x3 @32": (ConvShape(16, 32, 32, 16, 3, 3, 1, 1), ""),
        "64>128 3x3 @16": (ConvShape(64, 16, 16, 128, 3, 3, 1, 1), ""),
        "64>8 3x3 @4": (ConvShape(64, 4, 4, 8, 3, 3, 1, 1), ""),
    }
    tasks = [
        chosen(c, random_operands(shape, c, 1, simd=simd)) for simd in (False, True) for shape, _ in shapes.values()
    ]
    results, failure = measured(c, tasks)
    if failure:
        raise AssertionError(failure)
    table = _columns(
        f"Single layers, {c.name}; os, ws: SCALE-Sim; rate: of a2w4, goal 1.9",
        ("convolution", "flow"), ("cycles", "model", "util", "goal", "os", "ws", "a2w4", "rate"),
    )  # fmt: skip
    for index, (name, (shape, goal)) in enumerate(shapes.items()):
        plain, simd = results[index], results[index + len(shapes)]
        table.add_row(
            name, flow(tasks[index]), f"{plain['cycles']:,}", f"{predicted(c, tasks[index]):,}",
            f"{plain['utilisation']:.1%}", goal, f"{law(shape, c, OS):.1%}", f"{law(shape, c, WS):.1%}",
            f"{simd['cycles']:,}", f"{plain['cycles'] / simd['cycles']:.2f}",
        )  # fmt: skip
    return table


def build_table() -> Table:
    """How long ``system`` takes to be built for Verilator, nothing kept from before but Verilator's own runtime."""
    table = _columns("Builds", ("configuration",), ("seconds, Verilator",))
    for name in ARRAYS:
        with tempfile.TemporaryDirectory() as work:
            # Another text of one source: another build.
            sources = simulators.system_sources()
            changed = Path(work) / sources[0].name
            changed.write_text(f"{sources[0].read_text()}// {time.time_ns()}\n")
            start = time.perf_counter()
            built = simulators.build(
                "verilator", "system", configuration(name).parameters, sources=[changed, *sources[1:]]
            )
            table.add_row(name, f"{time.perf_counter() - start:.0f}")
            simulators.discard(built)
    return table


def accelerator_speed() -> Table:
    """Simulated cycles per second of the accelerator while every accumulated psum and output is compared."""
    c = configuration("net_8x8")
    shape = ConvShape(64, 32, 32, 64, 3, 3, 1, 1)
    task = random_operands(shape, c, 1)
    ACCELERATOR.build("verilator", c)
    taken, cycles = [], []
    for repeat in (1, 4):  # the difference of two runs has no start-up in it
        start = time.perf_counter()
        results, failure = measured(c, [task] * repeat)
        taken.append(time.perf_counter() - start)
        if failure:
            raise AssertionError(failure)
        cycles.append(sum(result["cycles"] for result in results))
    net = (cycles[1] - cycles[0]) / (taken[1] - taken[0])
    table = Table(
        title=f"Simulation of accelerator ({c.name}), VGG16's 64 -> 64 on 32x32 maps", title_justify="left", box=None
    )
    for name in ("simulator", "cycles", "seconds a layer", "start-up s", "cycles/s without"):
        table.add_column(name, justify="left" if name == "simulator" else "right")
    table.add_row(
        "verilator", f"{cycles[0]:,}", f"{cycles[0] / net:.2f}", f"{taken[0] - cycles[0] / net:.2f}", f"{net:,.0f}"
    )
    return table


IMAGE_ARRAYS = ("net_8x8", "net_32x32")
IMAGES = {"resnet20_w4a4": 3, "vgg16_w4a4": 2}  # of which the last is measured


def image_table() -> Table:
    """An image through a whole network, every output compared, warm; in the bare C++ loop; and layer by layer."""
    table = _columns(
        "An image, every output compared: one list; bare C++ loop; layers apart",
        ("network", "array"), ("layers", "cycles", "util", "list s", "loop s", "/loop", "apart s", "/list"),
    )  # fmt: skip
    for c, (name, count) in itertools.product(map(configuration, IMAGE_ARRAYS), IMAGES.items()):
        network = load_network(name)
        data = load_data(network.samples)
        images = np.stack([data.test_image(number)[0].numpy() for number in range(count)])
        program = compile_network(integer_network(network), c, images.shape[2:])
        ran = run_images(build("verilator", program), NetworkJob(program, images, list(range(count))))
        tasks = [requantised(layer, network, c) for layer in real_layers(network, None, 0, c)]
        ACCELERATOR.build("verilator", c)
        begin = time.perf_counter()
        _, failure = measured(c, tasks)
        apart = time.perf_counter() - begin
        if ran.failure or failure:
            raise AssertionError(f"{name} on {c.name}: {ran.failure or failure}")
        last = ran.results[-1]
        values = program.expected(images[-1:])[0].values
        cycles, loop = bare_loop(program, {name: values[name] for name in program.image}, 2 * last["cycles"])
        if abs(cycles - last["cycles"]) > 10:
            raise AssertionError(f"{name}: {cycles} cycles in the bare loop, {last['cycles']} beside Python")
        needed = sum(layer.plan.shape.macs / layer.plan.ic_group for layer in program.layers)
        table.add_row(
            name, f"{c.rows}x{c.cols}", str(len(program.layers)), f"{last['cycles']:,}",
            f"{needed / last['cycles'] / c.rows / c.cols:.1%}", f"{last['seconds']:.2f}", f"{loop:.2f}",
            f"{last['seconds'] / loop:.2f}", f"{apart:.2f}", f"{apart / last['seconds']:.2f}",
        )  # fmt: skip
    return table


def training_table() -> Table:
    """Images a second on scikit-learn's digits, on all cores: the middle one of three epochs, after one to warm up."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    data = load_data("digits")
    means = {
        "float32": {},
        "bfloat16": {"amp": True},
        "and compiled": {"amp": True, "compile": True, "channels_last": True},
    }
    networks = {name: ModelSpec(name) for name in ("resnet20", "vgg16")}
    specs = {
        f"{name} {kind}": dataclasses.replace(spec, floating=kind == "float")
        for name, spec in networks.items()
        for kind in ("float", "w4a4")
    }
    table = _columns("Training, images/s, batches of 128; rate: of float32", ("",), tuple(specs))
    rows: dict[str, list[float]] = {name: [] for name in means}
    for spec in specs.values():
        for name, options in means.items():
            recipe = Recipe(spec=spec, data="digits", batch_size=128, augment="light", **options)
            trainer = Trainer(recipe, data, torch.device("cpu"))
            count = len(trainer.train_loader) * recipe.batch_size
            rows[name].append(count / seconds(trainer.train_epoch, 3))
    for name, rates in rows.items():
        base = rows["float32"]
        table.add_row(name, *(f"{rate:,.0f} ({rate / first:.1f})" for rate, first in zip(rates, base, strict=True)))
    return table


def plot_utilisation(runs: list[NetworkRun], path: Path) -> None:
    """PNG: utilisation of each layer, a panel for each network, a bar for each array, SCALE-Sim's law as marks."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(run.name for run in runs))
    figure, axes = plt.subplots(len(names), 1, figsize=(12, 4 * len(names)), layout="constrained")
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        own = [run for run in runs if run.name == name]
        width = 0.8 / len(own)
        for index, run in enumerate(own):
            c = run.configuration
            at = np.arange(len(run.layers)) + (index - (len(own) - 1) / 2) * width
            axis.bar(at, [100 * r["utilisation"] for r in run.results], width, label=f"{c.rows}x{c.cols}")
            shares = [100 * law(layer.shape, c, OS) for layer in run.layers]
            axis.plot(at, shares, "_", color="black", markersize=5, label="SCALE-Sim, os" if index == 0 else None)
        axis.set_xticks(np.arange(len(own[0].layers)))
        axis.set_xticklabels([layer.name for layer in own[0].layers], rotation=60, ha="right", fontsize=8)
        axis.set(ylabel=f"{name}: utilisation, %", ylim=(0, 105))
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(own) + 1, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(words: list[str] | None = None) -> int:
    Parser("tb.commands.measure", __doc__.split("\n\n")[0]).parse_args(words)
    console = Console(highlight=False)
    c = configuration(CONFIGURATION)
    networks = {name: real_layers(load_network(name), None, 0, c) for name in MAIN_JOB}
    everything = [layer for layers in networks.values() for layer in layers]
    sample = [layer for layer in everything if layer.name in ("features.0", "features.29", "layer2.0.conv1")]
    runs: list[NetworkRun] = []

    def run_on(name: str, array: str) -> None:
        runs.append(run_network(name, configuration(array)))

    steps: list[tuple[str, Callable[[], Table | None]]] = [
        ("the golden model", golden_table),
        ("the core's simulation", lambda: speed_table(sample)),
        *((name, lambda n=name: layer_table(n, networks[n], "verilator")) for name in networks),
        ("the accelerator's simulation", accelerator_speed),
        ("single layers", single_table),
        *((f"{n} on {a}", lambda n=n, a=a: run_on(n, a)) for n in NETWORKS for a in ARRAYS),
        ("whole networks", lambda: array_table(runs)),
        ("lost cycles", lambda: lost_table(runs)),
        ("images", image_table),
        ("builds", build_table),
        ("training", training_table),
    ]
    for number, (what, step) in enumerate(steps, 1):
        with console.status(f"measuring {what}, {number} of {len(steps)}"):
            table = step()
        if table is not None:
            console.print(table, "")
    picture = simulators.BUILD.parent / "utilisation.png"
    plot_utilisation(runs, picture)
    console.print("model, worst layer: predicted cycles against those measured")
    console.print(f"utilisation of each layer: {picture}", soft_wrap=True)
    used = [resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    console.print(f"peak memory: {used[0]:.1f} GiB of this process, {used[1]:.1f} GiB of the largest that it started")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
