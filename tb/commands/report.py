"""What commands show alike: a layer in short, for tables, and how far they are."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.tiling import ConvShape
from tb.layers.task import LayerTask

if TYPE_CHECKING:
    from tb.layers.captured import RealLayer


def counted(console: Console) -> Progress:
    """A bar with a count and the time, gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextlib.contextmanager
def counted_class(console: Console) -> Iterator[Callable[[int, str], None]]:
    """A bar of cores: gives what is called with their number and what became of one when it is done."""
    with counted(console) as progress:
        bar = progress.add_task("cores", total=None)
        yield lambda total, last: progress.update(bar, total=total, advance=1, description=f"cores, {last}")


@contextlib.contextmanager
def steps(console: Console, text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for something long; what it gives is to be called with the steps done and their number."""
    with counted(console) as progress:
        bar = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


ABBREVIATION = {Dataflow.weight_stationary: "WS", Dataflow.output_stationary: "OS"}


def convolution(layer: RealLayer) -> str:
    """A layer in short: channels, kernel, /stride, +r with residual, @ the size of the input map."""
    return in_short(layer.shape, layer.task.operands.residual is not None)


def in_short(s: ConvShape, residual: bool) -> str:
    """The same of a shape."""
    stride = f"/{s.stride}" if s.stride > 1 else ""
    size = f"{s.ih}" if s.ih == s.iw else f"{s.ih}x{s.iw}"
    return f"{s.ic}>{s.oc} {s.kh}x{s.kw}{stride}{'+r' if residual else ''} @{size}"


def flow(task: LayerTask) -> str:
    """Dataflow and precision in short: WS, OS a2."""
    return ABBREVIATION[task.dataflow] + (" a2" if task.operands.precision is Precision.a2w4 else "")


def tiles(layer: RealLayer, c: Configuration) -> int:
    """Tiles of the layer in the array: passes over positions (WS) or over k (OS)."""
    s = layer.shape
    oc_tiles = -(-s.oc // c.cols)
    if layer.task.dataflow is Dataflow.weight_stationary:
        return oc_tiles * -(-s.ic // (c.rows * layer.task.operands.precision.channels)) * s.n_kij
    return oc_tiles * -(-s.n_o_nij // c.rows)


def wrapped(lines: Iterable[str]) -> list[str]:
    """Lines that fit the terminal; what does not goes on below, indented. In a file each stays in one piece."""
    if not sys.stdout.isatty():
        return list(lines)
    width = shutil.get_terminal_size().columns
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, width, subsequent_indent="      ", break_on_hyphens=False) or [""]
    ]
