"""The main job: co-simulate real layers of trained networks and print what was measured.

``make SIM=icarus`` runs this; ``python -m tb.commands.cosim --help`` lists the settings. Every layer is captured live
from its checkpoint, or read from the folder of golden files that GOLDEN names, simulated in a process of its own, and
compared psum by psum with the golden model.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from golden_model.configuration import DEFAULT_CONFIGURATION, Configuration, Dataflow, configuration
from golden_model.raw.hints import Hints
from quant.checkpoints import stem
from quant.cli import Parser, whole
from quant.errors import UnknownNetwork, UserError
from tb import options, simulators
from tb.commands import command
from tb.commands.report import convolution, counted, flow, steps, tiles, wrapped
from tb.farm import engine
from tb.farm.archive import packed
from tb.layers.captured import RealLayer, as_tasks, real_layers
from tb.layers.from_files import GoldenLayers, golden_layers
from tb.layers.main_job import MAIN_JOB, default_layers, network_with
from tb.target import CannotRun, Ran, Target, find_target, prepared, run_layers, run_one

if TYPE_CHECKING:
    from quant.loose import Placement

CORE = find_target("core")
LOOSE = "of the layers of a checkpoint whose network is not known"
RANDOM = "random activations (its network is not known)"
NOT_SAID = "what a state dict does not say is assumed: stride, padding and map as given, one group in each convolution"
LARGEST_ERROR = 1e-3  # mean error of psum x scales against the float network


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A layer that ran: what was measured, or why it failed, and where values were wrong, as far as is known.

    from_outside: it was ended by something else than the design.
    """

    layer: RealLayer
    measured: dict | None
    failure: str | None
    wrong: tuple[dict, ...] = ()
    from_outside: bool = False


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = Parser("tb.commands.cosim", __doc__.split("\n\n")[0], short=True)
    options.add_settings(parser)
    options.add_stalls(parser, "every stream")
    parser.add_argument("--stride", type=whole(1, 8), default=1, help=f"{LOOSE} [1]")
    parser.add_argument("--padding", type=whole(0, 8), help=f"{LOOSE} [half of the kernel]")
    parser.add_argument("--map", type=whole(1, 512), default=8, help=f"{LOOSE}: side of its input map [8]")
    options.add_reading(parser)
    options.add_jobs(parser)
    options.add_cluster(parser)
    options.add_report(parser)
    return parser.parse_args(words)


def _placement(parsed: argparse.Namespace) -> Placement:
    from quant.loose import Placement

    return Placement(parsed.stride, parsed.padding, parsed.map)


def golden_folder(settings: dict[str, str | None], hints: Hints | None = None) -> GoldenLayers | None:
    """The layers of the GOLDEN folder that are to run; None where a checkpoint gives them."""
    if not settings["GOLDEN"]:
        return None
    for name in ("CHECKPOINT", "DATA"):
        if settings[name]:
            raise UserError(f"GOLDEN={settings['GOLDEN']} runs without a checkpoint: leave {name} away")
    return golden_layers(settings["GOLDEN"], settings["LAYER"], hints)


def requested(
    settings: dict[str, str | None], by_default: dict[str, list[str] | None] = MAIN_JOB
) -> tuple[list[str], list[str] | None]:
    """Checkpoints and layers (None: not named) that the settings ask for; what is wrong is told before loading."""
    from quant.capture import check_request

    named = None if settings["LAYER"] in (None, "all") else options.layer_names(settings["LAYER"])
    if settings["CHECKPOINT"]:
        checkpoints = [settings["CHECKPOINT"]]
    elif named:  # the network that has the layer
        checkpoints = [network_with(named)]
    else:
        checkpoints = list(by_default)
    for checkpoint in checkpoints:
        check_request(checkpoint, named, int(settings["IMAGE"]), settings["DATA"])
    return checkpoints, named


def collect(
    settings: dict[str, str | None],
    c: Configuration,
    golden: GoldenLayers | None = None,
    placement: Placement | None = None,
    by_default: dict[str, list[str] | None] = MAIN_JOB,
) -> dict[str, list[RealLayer]]:
    """Capture the chosen layers, or read them from golden files; by checkpoint or folder.

    placement: of the layers of a checkpoint whose network is not known. by_default: checkpoints and their layers where
    none is chosen; None: those that show each kind of convolution.
    """
    dataflow = Dataflow[settings["DATAFLOW"]] if settings.get("DATAFLOW") else None
    if golden:
        folder = str(settings["GOLDEN"])
        return {folder: [RealLayer(folder, name, golden.task(name, dataflow, c)) for name in golden.names]}
    from quant.checkpoints import SHIPPED
    from quant.loose import Placement, loose_capture, loose_layers
    from quant.network import load_network

    image, a_bits = int(settings["IMAGE"]), options.activation_bits(settings)
    checkpoints, named = requested(settings, by_default)
    result = {}
    for checkpoint in checkpoints:
        try:
            network = load_network(checkpoint, a_bits=a_bits)
        except UnknownNetwork:
            placed = placement or Placement()
            called, seed = stem(checkpoint), int(settings["SEED"] or 1)
            loose = loose_capture(loose_layers(checkpoint, placed, a_bits), named, called, placed, seed)
            result[checkpoint] = as_tasks(loose, called, c, dataflow, RANDOM, f"seed {seed}")
            continue
        if settings["LAYER"] == "all" or (not settings["LAYER"] and checkpoint not in SHIPPED):
            names = None
        elif settings["LAYER"]:
            names = named
        else:
            names = (None if settings["CHECKPOINT"] else by_default[checkpoint]) or default_layers(network)
        result[checkpoint] = real_layers(network, names, image, c, dataflow, settings["DATA"])
    return result


def wave_file(sim: str, c: Configuration, title: str) -> Path:
    """Where the waves of a run go, without suffix."""
    return simulators.BUILD.parent / "waves" / re.sub(r"\W+", "_", f"{sim} {c.name} {title}")


def simulate(
    layer: RealLayer, c: Configuration, sim: str, seed: int, stalls: float, waves: bool, made=None,
    target: Target = CORE, built: simulators.Build | None = None,
) -> Outcome:  # fmt: skip
    """Run one layer in a simulation of its own. made: what ``prepared`` gave for it."""
    ran = run_layers(
        target, c, [layer.task], sim=sim, seed=seed, stalls=stalls, made=None if made is None else [made], built=built,
        keep=wave_file(sim, c, layer.task.title) if waves else None,
    )  # fmt: skip
    return Outcome(layer, ran.results[0] if ran.results else None, ran.failure)


def table(network: str, about: str, outcomes: list[Outcome], c: Configuration) -> Table:
    """Results of one network, 80 columns wide."""
    result = Table(
        title=escape(f"{network}: {about}"), title_justify="left", title_style="bold", box=None, pad_edge=False,
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
            escape(layer.name), convolution(layer), flow(layer.task), f"{tiles(layer, c)}", *figures,
            "-" if layer.recovery_error is None else f"{layer.recovery_error:.0e}",
        )  # fmt: skip
    return result


def placed(stride: int, padding: int | None, size: int) -> list[str]:
    """The options that say where layers of an unknown network stand. padding None: what keeps the map's size."""
    return [f"--stride {stride}", *([] if padding is None else [f"--padding {padding}"]), f"--map {size}"]


def replay(
    layer: RealLayer, checkpoint: str, settings: dict, sim: str, c: Configuration, stalls: float,
    more: Sequence[str] = (),
) -> str:  # fmt: skip
    """The command that runs one layer again. more: further options of it."""
    values = settings | {
        "SIM": sim, "CHECKPOINT": None if settings["GOLDEN"] else checkpoint, "LAYER": layer.name, "CONFIG": c.name,
        "DATAFLOW": layer.task.dataflow.name, "WAVES": None,
    }  # fmt: skip
    words = [*more, *([f"--stalls {stalls}"] if stalls else [])]
    if layer.data == RANDOM:
        words += placed(layer.shape.stride, layer.shape.padding, layer.shape.ih)
    return options.again("", values, words, arguments="COSIM_ARGS")


def simulated(
    layers: list[RealLayer],
    c: Configuration,
    sim: str,
    settings: dict,
    stalls: float,
    jobs: int,
    console: Console,
    target: Target = CORE,
    cluster: engine.Cluster | None = None,
    each: bool = False,
) -> tuple[dict[int, Outcome], float]:
    """Every layer in a simulation of its own, so many at a time; by the layer's id, and the seconds that they took
    together.

    each: a layer that the target cannot run is one that failed, and the others run, where there are any that can.
    """
    # Before anything is built: a layer that the configuration cannot run is refused. What was made is what runs.
    made, outcomes = [], {}
    for layer in layers:
        try:
            made += [(layer, *prepared(target, c, [layer.task]))]
        except CannotRun as error:
            if not each or (not made and layer is layers[-1]):
                raise
            outcomes[id(layer)] = Outcome(layer, None, str(error))
    seed, waves = int(settings["SEED"]), bool(settings["WAVES"])
    with steps(console, f"building {target.name} ({c.name}) for {sim}") as progress:
        built = target.build(sim, c, waves=waves, progress=progress)
    began = time.monotonic()
    with counted(console) as progress, engine.farm(min(jobs, len(made)), cluster) as farm:
        bar = progress.add_task(f"layers on {sim}", total=len(made))
        shared = farm.share(packed(built) if farm.elsewhere else built)
        tasks, by_key = [], {}
        for index, (layer, ready) in enumerate(made):
            keep = wave_file(sim, c, layer.task.title) if waves else None
            arguments = (target, c, layer.task, ready, shared, sim, seed, stalls, keep)
            # The longest first, so that no core waits for the last one.
            task = engine.Task(f"layer {index}", run_one, arguments, target.least_cycles(c, layer.task))
            tasks.append(task)
            by_key[task.key] = layer
        for done in farm.run(tasks):
            layer = by_key[done.task.key]
            ran = done.result or Ran([], done.failure, from_outside=True)
            measured = ran.results[0] if ran.results else None
            outcomes[id(layer)] = Outcome(layer, measured, ran.failure, tuple(ran.wrong), ran.from_outside)
            progress.advance(bar)
        seconds = time.monotonic() - began
    return outcomes, seconds


def failures(
    rows: list[Outcome], checkpoint: str, settings: dict, sim: str, c: Configuration, stalls: float,
    more: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """What is printed of each layer that failed: where, and the command that runs it again."""
    told = []
    for row in rows:
        if row.failure:
            title = row.layer.task.title
            again = replay(row.layer, checkpoint, settings, sim, c, stalls, more)
            why = escape(row.failure.removeprefix(title).removeprefix(":").strip())
            told.append(f"\n[bold red]FAIL[/] {escape(title)}: {why}\nreplay: {escape(again)}")
    return told


def summary(layers: list[RealLayer], outcomes: dict[int, Outcome], failed: int) -> str:
    """The last line."""
    compared = sum(o.measured["compared"] for o in outcomes.values() if o.measured)
    matches = f"{len(layers) - failed} of {len(layers)} layers match: {compared:,} values"
    error = largest_error(layers)
    return matches + ("" if failed else ", 0 mismatches") + ("" if error is None else f", recovery error {error:.1e}")


def write_report(
    folder: Path, title: str, again: str, sim: str, target: Target, c: Configuration,
    rows: Sequence[tuple[str, Outcome]], figures: Sequence[tuple[str, str]], seconds: float, jobs: int,
    console: Console,
) -> None:  # fmt: skip
    """The report of layers that ran, by network. again: the command that runs them."""
    from tb.record import of_layers, views

    ran = [
        of_layers.Ran(
            stem(name), row.layer.name, convolution(row.layer), flow(row.layer.task), row.layer.shape.macs,
            row.layer.task.operands.precision.channels, row.measured, row.failure,
            target.least_cycles(c, row.layer.task) if target.modelled else None,
        )
        for name, row in rows
    ]  # fmt: skip
    record = of_layers.recorded(
        title, again, sim, target.name, c, ran, [list(row.wrong) for _, row in rows], figures, seconds, jobs
    )
    views.write(folder, record)
    console.print(f"report: {folder / views.REPORT}", markup=False, soft_wrap=True)


def largest_error(layers: list[RealLayer]) -> float | None:
    """The largest mean recovery error; None where no layer has a float reference."""
    return max((layer.recovery_error for layer in layers if layer.recovery_error is not None), default=None)


def main(words: list[str] | None = None) -> int:
    parsed = arguments(words)
    settings = {setting.variable: getattr(parsed, setting.variable) for setting in options.SETTINGS}
    console = Console(stderr=False, highlight=False)
    sim = settings["SIM"] or "icarus"
    options.check(settings)
    options.check_report(parsed.report)
    cluster = engine.read_cluster(parsed.dask, parsed.dask_tls)
    if cluster and settings["WAVES"]:
        raise UserError("WAVES=1 writes to this machine; leave DASK away")
    simulators.check_simulator(sim)
    golden = golden_folder(settings, options.reading(parsed))
    for line in wrapped(golden.understood) if golden else ():
        console.print(line, markup=False, soft_wrap=True)
    if golden and not settings["CONFIG"]:
        c = golden.configuration()
    else:
        c = configuration(settings["CONFIG"] or DEFAULT_CONFIGURATION)
    by_checkpoint = collect(settings, c, golden, None if golden else _placement(parsed))
    everything = [layer for layers in by_checkpoint.values() for layer in layers]
    outcomes, seconds = simulated(
        everything, c, sim, settings, parsed.stalls, parsed.jobs, console, cluster=cluster,
        each=settings["LAYER"] in (None, "all"),  # what was not asked for by name costs the others nothing
    )  # fmt: skip

    failed = 0
    for checkpoint, layers in by_checkpoint.items():
        rows = [outcomes[id(layer)] for layer in layers]
        what = "golden files" if settings["GOLDEN"] else f"image {settings['IMAGE']} of {layers[0].data}"
        what = RANDOM if layers[0].data == RANDOM else what
        console.print()
        console.print(table(checkpoint, f"{what} on {c.name}, {sim}", rows, c))
        if what == RANDOM:
            console.print(NOT_SAID, soft_wrap=True)
        told = failures(rows, checkpoint, settings, sim, c, parsed.stalls, options.reading_words(parsed))
        failed += len(told)
        for text in told:
            console.print(text, soft_wrap=True)
    if golden and (files := [f"{layer}/{name}" for layer, names in golden.not_compared.items() for name in names]):
        console.print(
            f"\n{len(files)} files have no operands, psums or outputs, not compared: {files[0]} ...", soft_wrap=True
        )
    last = summary(everything, outcomes, failed)
    console.print(f"\n{last}")
    if parsed.report:
        words = [*options.reading_words(parsed), *([f"--stalls {parsed.stalls}"] if parsed.stalls else [])]
        if any(layer.data == RANDOM for layer in everything):
            words += placed(parsed.stride, parsed.padding, parsed.map)
        again = options.again("", settings | {"SIM": sim, "WAVES": None}, words, arguments="COSIM_ARGS").split("  (")[0]
        rows = [(name, outcomes[id(layer)]) for name, layers in by_checkpoint.items() for layer in layers]
        figures = [("result", last), *(("network", name) for name in by_checkpoint)]
        title = f"{CORE.name} on {c.name}, {sim}: {len(everything) - failed} of {len(everything)} layers match"
        jobs = min(parsed.jobs, len(everything))
        write_report(parsed.report, title, again, sim, CORE, c, rows, figures, seconds, jobs, console)
    error = largest_error(everything)
    if error is not None and error >= LARGEST_ERROR:
        console.print(
            f"[bold red]FAIL[/] the recovered psums do not reproduce the float reference (limit {LARGEST_ERROR})"
        )
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(command.run(main))
