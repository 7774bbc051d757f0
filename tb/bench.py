"""``make bench``: what the suite measures of itself, in one run on one machine.

1. The golden model against the course notebooks' nested loop and against torch's conv2d.
2. Simulated cycles per second on each installed simulator, every psum and output compared.
3. Cycles and utilisation of every layer of the main job's networks, beside the ideal of the throughput contract.
"""

from __future__ import annotations

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

from golden_model import psum, sfp, tiling
from golden_model.configuration import configuration
from golden_model.convolution import convolve
from golden_model.tiling import ConvShape
from quant.network import load_network
from tb import simulation
from tb.cosim import MAIN_JOB, convolution, flow, simulate, tiles
from tb.jobs import LayerJob, read_results
from tb.layers import RealLayer, ideal_cycles, real_layers

CONFIGURATION = "course_8x8"


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
    for sim in simulation.SIMULATORS:
        try:
            built = simulation.build(sim, "core", c.parameters)
        except simulation.SimulationError as error:
            table.add_row(sim, str(error).splitlines()[0])
            continue
        taken, cycles = [], []
        for repeat in (1, 3):  # the difference of two runs has no start-up in it
            with tempfile.TemporaryDirectory() as work:
                job = Path(work) / "job.npz"
                environment = LayerJob(c, [layer.task for layer in layers] * repeat).save(job)
                start = time.perf_counter()
                simulation.run(built, "tb.cases_core", only="layers", environment=environment)
                taken.append(time.perf_counter() - start)
                cycles.append(sum(result["cycles"] for result in read_results(job)))
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
    for name in ("layer", "convolution", "flow", "tiles", "MACs", "ideal", "cycles", "util"):
        table.add_column(name, justify="left" if name in ("layer", "convolution", "flow") else "right")
    macs = cycles = ideal = 0
    for layer in layers:
        outcome = simulate(layer, c, sim, seed=1, stalls=0.0, waves=False)
        if outcome.failure:
            raise AssertionError(f"{layer.task.title}: {outcome.failure}")
        best = ideal_cycles(layer.shape, c, layer.task.dataflow, layer.task.precision)
        run = outcome.measured
        macs, cycles, ideal = macs + layer.shape.macs, cycles + run["cycles"], ideal + best
        table.add_row(
            layer.name, convolution(layer), flow(layer.task), str(tiles(layer, c)),
            f"{layer.shape.macs:,}", f"{best:,}", f"{run['cycles']:,}", f"{run['utilisation']:.1%}",
        )  # fmt: skip
    total = macs / (cycles * c.rows * c.cols)
    table.add_row("all", "", "", "", f"{macs:,}", f"{ideal:,}", f"{cycles:,}", f"{total:.1%}", style="bold")
    return table


def main() -> int:
    console = Console(highlight=False)
    c = configuration(CONFIGURATION)
    console.print(golden_table())
    networks = {name: real_layers(load_network(name), None, 0, c) for name in MAIN_JOB}
    chosen = [layer for layers in networks.values() for layer in layers]
    sample = [layer for layer in chosen if layer.name in ("features.0", "features.29", "layer2.0.conv1")]
    console.print()
    console.print(speed_table(sample))
    for name, layers in networks.items():
        console.print()
        console.print(layer_table(name, layers, "verilator"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
