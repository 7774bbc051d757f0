"""Cost of the hardware: synthesis for an ECP5 with Yosys, module by module; place and route (``tb.commands.place``).

``make synth`` runs this. Every module is synthesised by itself, so that its figures mean something and 64 equal tiles
take the time of one. Then they are joined and what nothing uses is removed; that is what is placed and routed.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from rich.console import Console
from rich.table import Table

from golden_model.configuration import (
    DEFAULT_CONFIGURATION,
    Configuration,
    configuration,
    configurations,
)
from quant.cli import Parser, whole
from tb import simulators
from tb.commands import command, place
from tb.commands import lint as hardware
from tb.commands.lint import HardwareError
from tb.commands.report import steps
from tb.options import LARGEST_SEED

FIGURES = {
    "LUT4": ("LUT4",), "carry": ("CCU2C",), "FF": ("TRELLIS_FF",), "DSP": ("MULT18X18D",),
    "BRAM": ("DP16KD", "PDPW16KD"), "LUTRAM": ("TRELLIS_DPR16X4",), "memory bits": ("memory bits",),
}  # fmt: skip
"""Columns of the table: cells of an ECP5 (carry: 2 bits; BRAM: 18 Kbit; LUTRAM: 16 x 4), bits of memories in rtl/."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A module in its place of the hierarchy: all its instances there together, with what is inside them."""

    module: str
    level: int
    instances: int
    cells: Counter


@dataclasses.dataclass(frozen=True)
class Synthesis:
    """``rows[0]`` is the joined design; ``netlist`` is Yosys's JSON of it."""

    top: str
    rows: list[Row]
    netlist: dict


def figures(cells: Counter) -> dict[str, int]:
    """The columns of :data:`FIGURES` from cells by type."""
    return {name: sum(cells[kind] for kind in kinds) for name, kinds in FIGURES.items()}


def module_name(name: str) -> str:
    r"""The Verilog's name of a Yosys module: ``$paramod$4a..\fifo`` and ``$paramod\fifo\WIDTH=..`` are ``fifo``."""
    return name.split("\\")[1] if name.startswith("$paramod") else name


def hierarchy(modules: dict, memories: dict, top: str) -> list[Row]:
    """Rows of the modules under ``top``, in the order of the hierarchy, from Yosys's JSON of an unflattened netlist.

    ``memories`` is the JSON from before the memories became cells. Variants of a module that differ in parameters only
    share a row.
    """

    modules = {name: m for name, m in modules.items() if not m["attributes"].keys() & {"blackbox", "whitebox"}}

    def own(name: str) -> Counter:
        cells = Counter(cell["type"] for cell in modules[name]["cells"].values())
        kept = memories.get(name, {}).get("memories", {}).values()
        return cells + Counter({"memory bits": sum(m["width"] * m["size"] for m in kept)})

    def whole(name: str) -> Counter:
        total: Counter = Counter()
        for kind, count in own(name).items():
            inside = whole(kind) if kind in modules else {kind: 1}
            total.update({cell: count * n for cell, n in inside.items()})
        return total

    def rows(variants: Counter, level: int) -> list[Row]:
        """``variants``: modules of one name, with the number of their instances."""
        total: Counter = Counter()
        children: dict[str, Counter] = {}
        for name, count in variants.items():
            total.update({cell: count * n for cell, n in whole(name).items()})
            for kind, n in own(name).items():
                if kind in modules:
                    children.setdefault(module_name(kind), Counter())[kind] += count * n
        first = Row(module_name(next(iter(variants))), level, variants.total(), total)
        return [first, *(row for name in sorted(children) for row in rows(children[name], level + 1))]

    return rows(Counter({top: 1}), 0)


TOP = "core"
"""What is synthesised, placed and routed by default: the datapath. It takes every parameter of a configuration and
has a port clk."""
NARROW_MULTIPLIERS = "opt_clean; wreduce; alumacc t:$mul r:A_WIDTH<=8 %i r:B_WIDTH<=8 %i; maccmap t:$macc; "
"""Yosys: multipliers of up to 8x8 bits become adders. By itself it would give a DSP of 18x18 bits to a product of 3x4,
and the DSPs lie in a few rows of the chip, far from the tiles."""
LARGEST = 16 * 16  # tiles: larger arrays only where CONFIG names them, for they take minutes


def sources_of(top: str) -> dict[str, Path]:
    """The files of rtl/ by module. HardwareError where ``top`` is none of them."""
    sources = {source.stem: source for source in simulators.rtl_sources()}
    if top not in sources:
        raise HardwareError(f"rtl/ has no module {top!r}; there are: {', '.join(sources)}")
    return sources


def _quoted(path: Path) -> str:
    """For Yosys, which ends a file's name at a blank."""
    return f'"{path}"'


def synthesise(c: Configuration, top: str = TOP) -> Synthesis:
    """Synthesise ``top`` for an ECP5 with Yosys and check the netlist. HardwareError has Yosys's complaint."""
    sources = sources_of(top)
    if shutil.which("yosys") is None:
        raise HardwareError("Yosys is not installed; on Debian or Ubuntu: sudo apt-get install -y yosys")
    # TOP must take all of them; a module below it has those it needs, and its own defaults for the rest.
    known = re.findall(r"\bparameter\s+(\w+)", sources[top].read_text())
    taken = {name: value for name, value in c.parameters.items() if top in (TOP, hardware.TOP) or name in known}
    chparam = f"chparam {' '.join(f'-set {name} {value}' for name, value in taken.items())} {top}; " if taken else ""
    with tempfile.TemporaryDirectory(prefix="synth-") as work:
        written = [Path(work) / f"{name}.json" for name in ("memories", "modules", "netlist")]
        script = (
            f"read_verilog {' '.join(_quoted(source) for source in sources.values())}; {chparam}"
            f"hierarchy -check -top {top}; proc; write_json {_quoted(written[0])}; {NARROW_MULTIPLIERS}"
            f"synth_ecp5 -noflatten -abc9 -nowidelut -top {top}; write_json {_quoted(written[1])}; "
            f"flatten; opt_clean -purge; check -assert; write_json {_quoted(written[2])}"
        )
        done = subprocess.run(["yosys", "-q", "-p", script], capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode:
            raise HardwareError(f"yosys, {top} of {c.name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        memories, modules, netlist = (json.loads(path.read_text()) for path in written)
    rows = hierarchy(modules["modules"], memories["modules"], top)
    cells = Counter(cell["type"] for cell in netlist["modules"][top]["cells"].values())
    cells["memory bits"] = rows[0].cells["memory bits"]
    return Synthesis(top, [dataclasses.replace(rows[0], cells=cells), *rows[1:]], netlist)


def table(c: Configuration, done: Synthesis) -> Table:
    """One row for each module; a module's row holds all its instances and what is inside them."""
    title = f"{c.name}: {done.top} for an ECP5"
    result = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    result.add_column("module", no_wrap=True)
    for name in ("number", *FIGURES):
        result.add_column(name, justify="right", no_wrap=True)
    for row in done.rows:
        values = (f"{value:,}" for value in figures(row.cells).values())
        result.add_row("  " * row.level + row.module, f"{row.instances:,}", *values)
    return result


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.synthesis", __doc__.split("\n\n")[0])
    parser.add_argument("--config", help="one named configuration [all up to 16x16; place and route: course_8x8]")
    parser.add_argument("--top", default=TOP, help=f"module to synthesise, place and route [{TOP}]")
    parser.add_argument("--pnr", choices=["0", "1"], default="1", help="0: no place and route")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=1, help="seed of the placement [1]")
    parser.add_argument("--check", action="store_true", help="look at the options, and do nothing else")
    parsed = parser.parse_args(words)
    console = Console(highlight=False)
    routed = parsed.config or DEFAULT_CONFIGURATION
    every = [c for c in configurations().values() if c.rows * c.cols <= LARGEST]
    chosen = [configuration(parsed.config)] if parsed.config else every
    sources_of(parsed.top)
    if parsed.check:
        return 0
    placing, told = None, [(0, len(place.STEPS))]
    with ThreadPoolExecutor() as pool:  # place and route takes longer than all the rest, on one core
        for c in chosen:
            with console.status(f"synthesising {parsed.top} of {c.name}, {chosen.index(c) + 1} of {len(chosen)}"):
                done = synthesise(c, parsed.top)
            if c.name == routed and parsed.pnr == "1":
                placing = pool.submit(
                    place.place_and_route, done.netlist, parsed.top, parsed.seed,
                    progress=lambda step, steps: told.append((step, steps)),
                )  # fmt: skip
            console.print(table(c, done), "")
        if placing is not None:
            with steps(console, f"placing and routing {parsed.top} of {routed}") as progress:
                while not wait([placing], timeout=0.5).done:
                    progress(*told[-1])
                placed = placing.result()
            console.print(f"{routed}: {parsed.top} on {place.DEVICE}, registers at all ports", style="bold")
            console.print("\n".join(place.report(placed)))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
