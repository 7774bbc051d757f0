"""``make schedule``: what the accelerator would need for a network, without a simulation: a table and a picture.

Configurations are those of ``rtl/configurations.toml`` or any other: ``--set ROWS=24 --set COLS=24`` changes them.
Cycles come from ``golden_model.accelerator.schedule``, whose model the hardware follows within 1 % on these networks.
"""

from __future__ import annotations

import dataclasses
import io
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from rich.console import Console
from rich.table import Table

from golden_model import throughput
from golden_model.accelerator import schedule
from golden_model.accelerator.plan import PlanError
from golden_model.configuration import Configuration, Dataflow, Precision, configuration
from quant.cli import Parser, whole
from quant.errors import UserError
from quant.files import write_whole
from tb.commands import command
from tb.layers.networks import FULL_SIZE, NetworkLayer, network_layers


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer as scheduled."""

    layer: NetworkLayer
    plan: schedule.Plan
    count: schedule.CycleCount


def hypothetical(c: Configuration, changes: list[str]) -> Configuration:
    """The configuration with NAME=N changes; UserError for an unknown name, ConfigurationError for a broken rule."""
    known = {f.name.upper(): f.name for f in dataclasses.fields(c) if f.name not in ("name", "about")}
    fields = {}
    for change in changes:
        name, _, value = change.partition("=")
        try:
            fields[known[name]] = whole(0, 1 << 20)(value)
        except (KeyError, ArgumentTypeError):
            raise UserError(
                f"--set takes NAME=NUMBER with NAME one of {', '.join(known)}; not {change[:40]!r}"
            ) from None
    return dataclasses.replace(c, name=f"{c.name} with {', '.join(changes)}", **fields) if fields else c


def scheduled(layers: list[NetworkLayer], c: Configuration, precision: Precision, latency: int) -> list[Row]:
    """Each layer with its best plan."""
    rows = []
    for layer in layers:
        try:
            best = schedule.choose(
                layer.shape, c, simd=precision is Precision.a2w4, requant=True, residual=layer.residual, latency=latency
            )
        except PlanError as error:
            raise UserError(f"{layer.name} cannot run on {c.name}: {error}") from None
        rows.append(Row(layer, best, schedule.cycles(best, residual=layer.residual, latency=latency)))
    return rows


def table(title: str, rows: list[Row], c: Configuration) -> Table:
    shown = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0),
        collapse_padding=True,
    )  # fmt: skip
    for name in ("layer", "convolution", "flow"):
        shown.add_column(name, no_wrap=True)
    for name in ("bands", "cycles", "util", "lost", "SCALE-Sim"):
        shown.add_column(name, justify="right", no_wrap=True)
    tiles = c.rows * c.cols
    total = macs = law = 0
    for row in rows:
        s = row.layer.shape
        flow = "WS" if row.plan.dataflow is Dataflow.weight_stationary else "OS"
        flow += (" a2" if row.plan.simd else "") + (" twin" if row.plan.twin else "")
        scale_sim = throughput.scale_sim(s, c.rows, c.cols, Dataflow.output_stationary)
        kernel = f"{s.kh}x{s.kw}" + (f"/{s.stride}" if s.stride > 1 else "") + ("+r" if row.layer.residual else "")
        shown.add_row(
            row.layer.name, f"{s.ic}>{s.oc} {kernel} @{s.ih}", flow,
            str(row.plan.bands), f"{row.count.total:,}", f"{row.count.utilisation(row.plan):.1%}",
            f"{row.count.fill + row.count.stalls:,}", f"{s.macs / (scale_sim * tiles):.1%}",
        )  # fmt: skip
        total, macs, law = total + row.count.total, macs + s.macs / row.plan.ic_group, law + scale_sim
    whole = sum(row.layer.shape.macs for row in rows)
    shown.add_row(
        "all", f"{whole / 1e6:.1f} M MACs", "", "", f"{total:,}", f"{macs / (total * tiles):.1%}", "",
        f"{whole / (law * tiles):.1%}", style="bold",
    )  # fmt: skip
    return shown


def plot(found: dict[str, list[Row]], path: Path) -> None:
    """PNG: utilisation of each layer, a bar for each configuration."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axis = plt.subplots(figsize=(12, 5), layout="constrained")
    width = 0.8 / len(found)
    for index, (name, rows) in enumerate(found.items()):
        at = np.arange(len(rows)) + (index - (len(found) - 1) / 2) * width
        axis.bar(at, [100 * row.count.utilisation(row.plan) for row in rows], width, label=name)
    names = [row.layer.name for row in next(iter(found.values()))]
    axis.set_xticks(range(len(names)))
    axis.set_xticklabels(names, rotation=60, ha="right", fontsize=8)
    axis.set(ylabel="utilisation, %", ylim=(0, 105))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(found), frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    plt.close(figure)
    write_whole(path, image.getbuffer())


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.schedule", __doc__.split("\n\n")[0])
    parser.add_argument("--network", default="vgg16", choices=FULL_SIZE, help="full-size network [vgg16]")
    parser.add_argument("--config", default="net_8x8", help="configurations, with commas between [net_8x8]")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=N", help="change a parameter, e.g. PSUM_DEPTH=512"
    )
    cycles = whole(1, 100_000)
    parser.add_argument("--latency", type=cycles, default=schedule.MEMORY_LATENCY, help="cycles of the memory [4]")
    parser.add_argument("--plot", type=Path, help="write a PNG of the utilisation by layer")
    parsed = parser.parse_args(words)
    if parsed.plot and parsed.plot.suffix != ".png":
        raise UserError(f"PLOT={parsed.plot}: the picture is a PNG file; give it a name that ends in .png")
    console = Console(highlight=False)
    spec = FULL_SIZE[parsed.network]
    layers = network_layers(spec)
    names = [name.strip() for name in parsed.config.split(",")]
    arrays = [hypothetical(configuration(name), parsed.set) for name in names]
    found = {c.name: scheduled(layers, c, c.precision_of(spec.a_bits), parsed.latency) for c in arrays}
    if parsed.plot:
        plot(found, parsed.plot)
    for c in arrays:
        console.print()
        console.print(table(f"{parsed.network} on {c.name}, predicted", found[c.name], c))
        if c.too_shallow:
            needed = ", ".join(f"{name} {depth}" for name, depth in c.too_shallow.items())
            text = f"These cycles assume FIFOs that allow full rate; this array's do not: that takes {needed}."
            console.print(text, soft_wrap=True)
    if parsed.plot:
        console.print(f"picture: {parsed.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
