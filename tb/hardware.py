"""Checks of the Verilog without a simulation: lint with Verilator, synthesis with Yosys.

``make lint`` and ``make synth`` run this. Both take every named configuration of ``rtl/configurations.toml``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from golden_model.configuration import Configuration, ConfigurationError, configuration, configurations
from tb import simulation


class HardwareError(RuntimeError):
    """A tool that found something; the message is its output."""


def lint(c: Configuration) -> None:
    """Verilator's checks, every warning an error, nothing waived."""
    environment = {**os.environ, **simulation.verilator_environment()}
    words = ["verilator", "--lint-only", "-Wall", "--top-module", "core"]
    words += [f"-G{name}={value}" for name, value in c.parameters.items()] + [str(s) for s in simulation.rtl_sources()]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("%")]
    if done.returncode or complaints:
        raise HardwareError(f"verilator --lint-only -Wall, {c.name}:\n{done.stdout}{done.stderr}")


def synthesise(c: Configuration) -> dict[str, int]:
    """Synthesise ``core`` for an ECP5 with Yosys and check the netlist; cells by type."""
    if shutil.which("yosys") is None:
        raise HardwareError("Yosys is not installed; on Debian or Ubuntu: sudo apt-get install -y yosys")
    parameters = " ".join(f"-set {name} {value}" for name, value in c.parameters.items())
    with tempfile.TemporaryDirectory() as work:
        netlist = Path(work) / "stat.json"
        script = (
            f"read_verilog {' '.join(map(str, simulation.rtl_sources()))}; chparam {parameters} core; "
            f"synth_ecp5 -top core; check -assert; tee -q -o {netlist} stat -json"
        )
        done = subprocess.run(["yosys", "-q", "-p", script], capture_output=True, text=True)
        if done.returncode:
            raise HardwareError(f"yosys, {c.name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        text = netlist.read_text()
    cells = json.loads(text[text.index("{") :])["design"]["num_cells_by_type"]  # a log header may stand before it
    return {str(name): int(count) for name, count in cells.items()}


def summary(cells: dict[str, int]) -> dict[str, int]:
    """The figures that are compared: look-up tables, flip-flops, multipliers, block and distributed memories."""
    kinds = {
        "LUT4": "LUT4", "flip-flops": "TRELLIS_FF", "carry": "CCU2C", "multipliers": "MULT18X18D",
        "block RAM": "DP16KD|PDPW16KD", "LUT RAM": "TRELLIS_DPR16X4",
    }  # fmt: skip
    return {name: sum(n for cell, n in cells.items() if re.fullmatch(kind, cell)) for name, kind in kinds.items()}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tb.hardware", description=__doc__.split("\n\n")[0])
    parser.add_argument("check", choices=["lint", "synth"])
    parser.add_argument("--config", help="one named configuration [lint: all; synth: course_8x8, net_8x8]")
    parsed = parser.parse_args(words)
    console = Console(highlight=False)
    try:
        if parsed.check == "lint":
            for c in [configuration(parsed.config)] if parsed.config else configurations().values():
                lint(c)
                console.print(f"lint {c.name}: no warnings")
            return 0
        table = Table(
            title="core on an ECP5 (Yosys synth_ecp5, before place and route)", title_justify="left", box=None
        )
        for index, name in enumerate([parsed.config] if parsed.config else ["course_8x8", "net_8x8"]):
            figures = summary(synthesise(configuration(name)))
            if index == 0:
                table.add_column("configuration")
                for figure in figures:
                    table.add_column(figure, justify="right")
            table.add_row(name, *(f"{value:,}" for value in figures.values()))
        console.print(table)
        return 0
    except (HardwareError, ConfigurationError, simulation.SimulationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
