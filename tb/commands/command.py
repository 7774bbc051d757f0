"""How a command of ``tb.commands`` ends: with an exit code, and one line for what its user can mend."""

from __future__ import annotations

from collections.abc import Callable

from golden_model.accelerator.plan import PlanError
from golden_model.accelerator.registers import RegisterError
from golden_model.configuration import ConfigurationError
from golden_model.files.operands import GoldenSetError
from quant import cli
from tb import simulators
from tb.target import CannotRun

ERRORS = (CannotRun, ConfigurationError, GoldenSetError, PlanError, RegisterError, simulators.SimulationError)


def run(main: Callable[[], int]) -> int:
    """``quant.cli.run`` with the errors of all packages; what was started ends with it."""
    try:
        return cli.run(main, ERRORS)
    finally:
        simulators.stop_all()
