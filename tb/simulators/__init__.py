"""Icarus and Verilator: tools, builds, runs. ``from tb import simulators`` gives what other rooms use."""

from tb.simulators.build import Build, Foreign, build, discard, preprocessed
from tb.simulators.run import TestOutcome, run
from tb.simulators.sources import BUILD, HDL, ROOT, RTL, rtl_source, rtl_sources, suite_hash, system_sources
from tb.simulators.tools import (
    SIMULATORS,
    EndedEarly,
    EndedFromOutside,
    Limits,
    Overflowed,
    SimulationError,
    check_simulator,
    ended_with,
    repeated,
    stop_all,
    verilator_environment,
)

__all__ = [
    "BUILD", "HDL", "ROOT", "RTL", "SIMULATORS", "Build", "EndedEarly", "EndedFromOutside", "Foreign", "Limits",
    "Overflowed", "SimulationError", "TestOutcome", "build", "check_simulator", "discard", "ended_with", "preprocessed",
    "repeated", "rtl_source", "rtl_sources", "run", "stop_all", "suite_hash", "system_sources", "verilator_environment",
]  # fmt: skip
