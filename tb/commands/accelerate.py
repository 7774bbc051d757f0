"""``make accelerate``: every layer of a trained network on the accelerator.

One simulation runs a network's layers one after the other: Python writes memory and descriptor, the hardware does the
rest at full rate, and every accumulated psum and every output is compared with the golden model. Layers are captured
live.
"""

from __future__ import annotations

import dataclasses
import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from golden_model.accelerator.plan import PlanError
from golden_model.configuration import Configuration, Dataflow, configuration
from quant.checkpoints import stem
from quant.cli import Parser
from quant.errors import UserError
from tb import options, simulators
from tb.commands import command
from tb.commands.cosim import Outcome, wave_file, write_report
from tb.commands.report import convolution, counted, flow, steps
from tb.layers.captured import RealLayer, real_layers
from tb.layers.main_job import network_with
from tb.layers.requantised import requantised
from tb.layers.task import LayerTask
from tb.target import find_target, run_layers

ACCELERATOR = find_target("accelerator")
DEFAULT_CONFIGURATION = "net_8x8"


def table(title: str, layers: list[RealLayer], tasks: list[LayerTask], results: list[dict], c: Configuration) -> Table:
    """Results of one network, 80 columns wide."""
    shown = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0),
        collapse_padding=True,
    )  # fmt: skip
    for name in ("layer", "convolution", "flow", "out"):
        shown.add_column(name, no_wrap=True)
    for name in ("cycles", "util", "stalls", "compared"):
        shown.add_column(name, justify="right", no_wrap=True)
    macs = cycles = compared = 0
    for layer, task, result in zip(layers, tasks, results, strict=False):
        stalls = sum(result[name] for name in ("stall_act", "stall_wgt", "stall_out"))
        o = task.operands
        out = ("psum" if o.requant is None else f"{o.requant.bits}b") + (" pool" if o.pool else "")
        shown.add_row(
            layer.name, convolution(layer), flow(task), out, f"{result['cycles']:,}", f"{result['utilisation']:.1%}",
            f"{stalls:,}", f"{result['compared']:,}",
        )  # fmt: skip
        macs += layer.shape.macs / o.precision.channels
        cycles, compared = cycles + result["cycles"], compared + result["compared"]
    if len(results) > 1:
        shown.add_row(
            "all", "", "", "", f"{cycles:,}", f"{macs / (cycles * c.rows * c.cols):.1%}", "", f"{compared:,}",
            style="bold",
        )  # fmt: skip
    return shown


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.accelerate", __doc__.split("\n\n")[0])
    options.add_settings(parser, "GOLDEN")
    options.add_stalls(parser, "every bus channel")
    options.add_report(parser)
    parsed = parser.parse_args(words)
    settings = {s.variable: getattr(parsed, s.variable, None) for s in options.SETTINGS}
    console = Console(highlight=False)
    options.check(settings)
    options.check_report(parsed.report)
    sim = settings["SIM"] or "verilator"
    simulators.check_simulator(sim)
    c = configuration(settings["CONFIG"] or DEFAULT_CONFIGURATION)

    from quant.capture import check_request
    from quant.checkpoints import SHIPPED
    from quant.network import load_network

    dataflow = Dataflow[settings["DATAFLOW"]] if settings["DATAFLOW"] else None
    names = None if settings["LAYER"] in (None, "all") else options.layer_names(settings["LAYER"])
    failed, rows, seconds = 0, [], 0.0
    work = []
    checkpoints = list(SHIPPED) if names is None or settings["CHECKPOINT"] else [network_with(names)]
    image, data = int(settings["IMAGE"]), settings["DATA"]
    if settings["CHECKPOINT"]:
        checkpoints = [settings["CHECKPOINT"]]
    for checkpoint in checkpoints:  # what is wrong is told before anything is loaded
        check_request(checkpoint, names, image, data)
    for checkpoint in track(checkpoints, "capturing", console=console, transient=True):
        network = load_network(checkpoint, a_bits=options.activation_bits(settings))
        layers = real_layers(network, names, image, c, dataflow, data)
        try:
            tasks = [requantised(layer, network, c, dataflow) for layer in layers]
        except PlanError as error:
            raise UserError(f"{checkpoint} cannot run on {c.name}: {error}") from None
        work.append((checkpoint, layers, tasks))
    with steps(console, f"building system ({c.name}) for {sim}") as progress:
        ACCELERATOR.build(sim, c, waves=bool(settings["WAVES"]), progress=progress)
    for checkpoint, layers, tasks in work:
        wave = wave_file(sim, c, stem(checkpoint)) if settings["WAVES"] else None
        with counted(console) as progress:
            bar = progress.add_task(f"{stem(checkpoint)} on {sim}", total=len(tasks))
            began = time.monotonic()
            ran = run_layers(
                ACCELERATOR, c, tasks, sim=sim, seed=int(settings["SEED"]), stalls=parsed.stalls, keep=wave,
                progress=lambda done, bar=bar, progress=progress: progress.update(bar, completed=done),
            )  # fmt: skip
        results, failure = ran.results, ran.failure
        seconds += time.monotonic() - began
        for index, (layer, task) in enumerate(zip(layers, tasks, strict=True)):
            here = failure if index == len(results) else None
            found = results[index] if index < len(results) else None
            if found or here:
                outcome = Outcome(dataclasses.replace(layer, task=task), found, here, tuple(ran.wrong) if here else ())
                rows.append((checkpoint, outcome))
        console.print()
        console.print(table(f"{checkpoint}: image {settings['IMAGE']} on {c.name}, {sim}", layers, tasks, results, c))
        if failure:
            failed += 1
            values = settings | {"SIM": sim, "CHECKPOINT": checkpoint, "CONFIG": c.name, "WAVES": None}
            if len(results) < len(layers):
                values["LAYER"] = layers[len(results)].name
            words = [f"--stalls {parsed.stalls}"] if parsed.stalls else []
            told = options.again("accelerate", values, words, arguments="ACCELERATE_ARGS")
            console.print(
                f"\n[bold red]FAIL[/] {escape(failure)}\nreplay: {escape(told)}",
                soft_wrap=True,
            )
        else:
            console.print(f"{len(results)} of {len(layers)} layers match, 0 mismatches")
    if parsed.report:
        words = [f"--stalls {parsed.stalls}"] if parsed.stalls else []
        again = options.again("accelerate", settings | {"SIM": sim, "WAVES": None}, words, arguments="ACCELERATE_ARGS")
        right = sum(outcome.failure is None for _, outcome in rows)
        title = f"accelerator on {c.name}, {sim}: {right} of {sum(len(layers) for _, layers, _ in work)} layers match"
        figures = [("networks", ", ".join(stem(checkpoint) for checkpoint, *_ in work))]
        again = again.split("  (")[0]
        write_report(parsed.report, title, again, sim, ACCELERATOR, c, rows, figures, seconds, 1, console)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(command.run(main))
