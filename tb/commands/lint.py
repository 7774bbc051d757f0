"""Lint: Verilator's checks of the Verilog, without a simulation.

``make lint`` runs this for every named configuration of ``rtl/configurations.toml``.
"""

from __future__ import annotations

import os
import subprocess
import sys

from golden_model.configuration import Configuration, configuration, configurations
from quant.cli import Parser
from quant.errors import QuantError
from tb import simulators
from tb.commands import command

TOP = "accelerator"
"""The module of rtl/ that is linted; every other is inside, and it takes every parameter of a configuration."""


class HardwareError(QuantError):
    """A tool that found something, or is not there; the message is its output, or says how to get it."""


def lint(c: Configuration) -> None:
    """Verilator's checks, every warning an error, nothing waived."""
    environment = {**os.environ, **simulators.verilator_environment()}
    words = ["verilator", "--lint-only", "-Wall", "--top-module", TOP]
    words += [f"-G{name}={value}" for name, value in c.parameters.items()] + [str(s) for s in simulators.rtl_sources()]
    done = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", errors="replace")
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("%")]
    if done.returncode or complaints:
        raise HardwareError(f"verilator --lint-only -Wall, {c.name}:\n{done.stdout}{done.stderr}")


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.lint", __doc__.split("\n\n")[0])
    parser.add_argument("--config", help="one named configuration [all]")
    parsed = parser.parse_args(words)
    for c in [configuration(parsed.config)] if parsed.config else configurations().values():
        lint(c)
        print(f"lint {c.name}: no warnings", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
