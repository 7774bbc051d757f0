"""The main job: co-simulate real layers of trained networks and print what was measured.

``make SIM=icarus`` runs this; ``python -m tb.commands.cosim --help`` lists the settings. Every layer is captured live
from its checkpoint, or read from the folder of golden files that GOLDEN names, simulated in a process of its own, and
compared psum by psum with the golden model.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import re
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from golden_model.configuration import (
    DEFAULT_CONFIGURATION,
    Configuration,
    ConfigurationError,
    Dataflow,
    configuration,
)
from golden_model.files.operands import GoldenSetError
from tb import options, simulators
from tb.commands.report import convolution, flow, tiles
from tb.layers.captured import RealLayer, real_layers
from tb.layers.from_files import golden_configuration, golden_names, golden_task
from tb.layers.networks import MAIN_JOB, default_layers, network_with
from tb.options import UserError
from tb.target import CannotRun, find_target, prepared, run_layers

CORE = find_target("core")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A layer that ran: what was measured, or why it failed."""

    layer: RealLayer
    measured: dict | None
    failure: str | None


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tb.commands.cosim", description=__doc__.split("\n\n")[0])
    for setting in options.SETTINGS:
        parser.add_argument(
            setting.option,
            dest=setting.variable,
            default=options.from_environment(setting),
            help=f"{setting.help} [{setting.variable}]",
        )
    parser.add_argument("--stalls", type=float, default=0.0, help="probability of a held cycle on every stream [0]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="simulations at a time [all cores]")
    return parser.parse_args(words)


def collect(settings: dict[str, str | None], c: Configuration) -> dict[str, list[RealLayer]]:
    """Capture the chosen layers, or read them from golden files; by checkpoint or folder."""
    dataflow = Dataflow[settings["DATAFLOW"]] if settings["DATAFLOW"] else None
    if settings["GOLDEN"]:
        return {settings["GOLDEN"]: [golden_layer_of(settings, name, dataflow, c) for name in chosen_golden(settings)]}
    from quant.checkpoints import SHIPPED
    from quant.network import load_network

    image = int(settings["IMAGE"])
    if settings["CHECKPOINT"]:
        checkpoints = [settings["CHECKPOINT"]]
    elif settings["LAYER"] not in (None, "all"):  # the network that has the layer
        checkpoints = [network_with(options.layer_names(settings["LAYER"]))]
    else:
        checkpoints = list(MAIN_JOB)
    result = {}
    for checkpoint in checkpoints:
        network = load_network(checkpoint)
        if settings["LAYER"] == "all" or (not settings["LAYER"] and checkpoint not in SHIPPED):
            names = None
        elif settings["LAYER"]:
            names = options.layer_names(settings["LAYER"])
        else:
            names = (None if settings["CHECKPOINT"] else MAIN_JOB[checkpoint]) or default_layers(network)
        result[checkpoint] = real_layers(network, names, image, c, dataflow, settings["DATA"])
    return result


def chosen_golden(settings: dict[str, str | None]) -> list[str]:
    """The layers of the GOLDEN folder that are to run."""
    for name in ("CHECKPOINT", "DATA"):
        if settings[name]:
            raise UserError(f"GOLDEN={settings['GOLDEN']} runs without a checkpoint: leave {name} away")
    return golden_names(settings["GOLDEN"], settings["LAYER"])


def golden_layer_of(
    settings: dict[str, str | None], name: str, dataflow: Dataflow | None, c: Configuration
) -> RealLayer:
    """A layer of the GOLDEN folder."""
    task = golden_task(settings["GOLDEN"], name, dataflow, c)
    return RealLayer(settings["GOLDEN"], name, task)


def wave_file(sim: str, c: Configuration, title: str) -> Path:
    """Where the waves of a run go, without suffix."""
    return simulators.BUILD.parent / "waves" / re.sub(r"\W+", "_", f"{sim} {c.name} {title}")


def simulate(layer: RealLayer, c: Configuration, sim: str, seed: int, stalls: float, waves: bool, made=None) -> Outcome:
    """Run one layer in a simulation of its own. made: what ``prepared`` gave for it."""
    ran = run_layers(
        CORE, c, [layer.task], sim=sim, seed=seed, stalls=stalls, made=None if made is None else [made],
        keep=wave_file(sim, c, layer.task.title) if waves else None,
    )  # fmt: skip
    return Outcome(layer, ran.results[0] if ran.results else None, ran.failure)


def table(network: str, about: str, outcomes: list[Outcome], c: Configuration) -> Table:
    """Results of one network, 80 columns wide."""
    result = Table(
        title=f"{network}: {about}", title_justify="left", title_style="bold", box=None, pad_edge=False,
        padding=(0, 1, 0, 0), collapse_padding=True,
    )  # fmt: skip
    for name in ("layer", "convolution", "flow"):
        result.add_column(name, no_wrap=True)
    for name in ("tiles", "cycles", "util", "compared", "bad", "error"):
        result.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        layer, run = outcome.layer, outcome.measured
        if run and not outcome.failure:
            figures = [
                f"{run['cycles']:,}",
                f"{run['utilisation']:.1%}",
                f"{run['compared']:,}",
                f"{run['mismatches']}",
            ]
        else:
            figures = ["-", "-", "-", "[bold red]FAIL[/]"]
        result.add_row(
            layer.name, convolution(layer), flow(layer.task), f"{tiles(layer, c)}", *figures,
            "-" if layer.recovery_error is None else f"{layer.recovery_error:.0e}",
        )  # fmt: skip
    return result


def replay(layer: RealLayer, checkpoint: str, settings: dict, sim: str, c: Configuration, stalls: float) -> str:
    """The command that runs one layer again."""
    values = settings | {
        "SIM": sim, "CHECKPOINT": None if settings["GOLDEN"] else checkpoint, "LAYER": layer.name, "CONFIG": c.name,
        "DATAFLOW": layer.task.dataflow.name, "WAVES": None,
    }  # fmt: skip
    extra = f" COSIM_ARGS='--stalls {stalls}'" if stalls else ""
    return f"make {options.variables(values)}{extra}   (WAVES=1 for waves)"


def main(words: list[str] | None = None) -> int:
    parsed = arguments(words)
    settings = {setting.variable: getattr(parsed, setting.variable) for setting in options.SETTINGS}
    console = Console(stderr=False, highlight=False)
    sim = settings["SIM"] or "icarus"
    try:
        options.check(settings)
    except ValueError as error:
        raise UserError(str(error)) from None
    seed = int(settings["SEED"])
    simulators.check_simulator(sim)
    if settings["GOLDEN"] and not settings["CONFIG"]:
        c = golden_configuration(settings["GOLDEN"], chosen_golden(settings)[0])
    else:
        c = configuration(settings["CONFIG"] or DEFAULT_CONFIGURATION)
    by_checkpoint = collect(settings, c)
    everything = [layer for layers in by_checkpoint.values() for layer in layers]
    # Before anything is built: a layer that the configuration cannot run is refused. What was made is what runs.
    made = dict(zip(map(id, everything), prepared(CORE, c, [layer.task for layer in everything]), strict=True))
    with console.status(f"building core ({c.name}) for {sim}"):
        CORE.build(sim, c, waves=bool(settings["WAVES"]))
    outcomes: dict[int, Outcome] = {}
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        concurrent.futures.ThreadPoolExecutor(max(1, parsed.jobs)) as pool,
    ):
        bar = progress.add_task(f"layers on {sim}", total=len(everything))
        # The longest first, so that no core waits for the last one.
        order = sorted(everything, key=lambda layer: -CORE.least_cycles(c, layer.task))
        waves = bool(settings["WAVES"])
        futures = {
            pool.submit(simulate, layer, c, sim, seed, parsed.stalls, waves, made.pop(id(layer))): layer
            for layer in order
        }
        try:
            for future in concurrent.futures.as_completed(futures):
                outcome = future.result()
                outcomes[id(outcome.layer)] = outcome
                progress.advance(bar)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            simulators.stop_all()
            raise

    failed = 0
    for checkpoint, layers in by_checkpoint.items():
        rows = [outcomes[id(layer)] for layer in layers]
        what = "golden files" if settings["GOLDEN"] else f"image {settings['IMAGE']} of {layers[0].data}"
        about = f"{what} on {c.name}, {sim}"
        console.print()
        console.print(table(checkpoint, about, rows, c))
        for row in rows:
            if row.failure:
                failed += 1
                title = row.layer.task.title
                told = row.failure.removeprefix(f"{title}: ")
                again = replay(row.layer, checkpoint, settings, sim, c, parsed.stalls)
                console.print(f"\n[bold red]FAIL[/] {title}: {escape(told)}\nreplay: {escape(again)}", soft_wrap=True)
    compared = sum(o.measured["compared"] for o in outcomes.values() if o.measured)
    errors = [layer.recovery_error for layer in everything if layer.recovery_error is not None]
    recovery = f", recovery error {max(errors):.1e}" if errors else ""
    console.print(
        f"\n{len(everything) - failed} of {len(everything)} layers match: {compared:,} values"
        f"{'' if failed else ', 0 mismatches'}{recovery}"
    )
    if errors and max(errors) >= 1e-3:
        console.print("[bold red]FAIL[/] the recovered psums do not reproduce the float reference (limit 1e-3)")
        return 1
    return 1 if failed else 0


def cli() -> int:
    """``main`` with what a user does wrong told in one line."""
    from quant.errors import QuantError

    def terminate(*_):
        raise KeyboardInterrupt  # simulations have process groups of their own and must not outlive this one

    signal.signal(signal.SIGTERM, terminate)
    try:
        return main()
    except (
        UserError, CannotRun, QuantError, ConfigurationError, GoldenSetError, simulators.SimulationError, OSError,
    ) as error:  # fmt: skip
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(cli())
