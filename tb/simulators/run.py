"""Running the cocotb tests of a module on a build; what each said."""

from __future__ import annotations

import builtins
import dataclasses
import os
import re
import shutil
import signal
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from tb.simulators.build import Build
from tb.simulators.sources import BUILD, ROOT
from tb.simulators.tools import (
    FROM_OUTSIDE,
    EndedEarly,
    EndedFromOutside,
    Limits,
    SimulationError,
    cocotb_libraries,
    command,
    execute,
    tail,
)

# What cocotb's Python carries out when a simulation starts: a module of here, then what it does by itself
START = ",".join(
    (
        "tb.parts.start:lightly", "cocotb_tools._coverage:start_cocotb_library_coverage",
        "cocotb.logging:_configure", "cocotb._init:init_package_from_simulation", "cocotb.regression:_run_regression",
    )
)  # fmt: skip
# Of $error, as the simulators print it. Icarus goes on behind it; Verilator ends, as at a loop through assignments.
_COMPLAINT = {
    "icarus": r"^ERROR: (.*)\n +Time: \d",
    "verilator": r"^(?:\[\d+\] )?%Error: (?!.*Verilog \$stop)(.*)",
}
_ENDED_EARLY = "the simulation ended prematurely"  # cocotb's words


@dataclasses.dataclass(frozen=True)
class TestOutcome:
    """One cocotb test: None, or the message of its failure."""

    name: str
    failure: str | None


def run(
    built: Build,
    cases: str,
    *,
    only: str | None = None,
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 1200.0,
    keep: Path | None = None,
    limits: Limits | None = None,
) -> list[TestOutcome]:
    """Run the cocotb tests of the module ``cases`` (those whose whole name matches the pattern ``only``) on a build.

    ``environment`` goes to the tests; ``keep`` is where the wave file goes; ``limits`` hold for the process.
    SimulationError when the simulation ends without results, EndedEarly when that is after ``timeout`` seconds or by a
    crash, EndedFromOutside when somebody ended it, SimulationError too when it ran no test.
    """
    # What the simulation itself can reach from its folder is not where its results are.
    with tempfile.TemporaryDirectory(prefix="cosim-") as work, tempfile.TemporaryDirectory(prefix="results-") as kept:
        results, log = Path(kept) / "results.xml", Path(kept) / "sim.log"
        names = None if only is None else rf"\.(?:{only})$"  # cocotb searches the pattern in module.name
        prepared = command(
            built.simulator, built.toplevel, {}, [], built.directory, False,
            module=cases, work_dir=work, seed=seed, testcase=names, python_search=[str(ROOT)],
        )  # fmt: skip
        prepared.set_env()
        words = prepared.run_command() if built.simulator == "icarus" else [str(built.directory / built.toplevel)]
        if built.simulator == "verilator":  # else every register without a reset would start at a friendly 0
            words += ["+verilator+rand+reset+2", f"+verilator+seed+{(seed or 0) % 2**31 + 1}"]
        if built.waves:
            words += ["-fst"] if built.simulator == "icarus" else ["--trace"]
        variables = {
            **prepared.env, "COCOTB_RESULTS_FILE": str(results), "COCOTB_LOG_LEVEL": "INFO", "NO_COLOR": "1",
            "OPENBLAS_NUM_THREADS": "1",  # the other cores have simulations of their own
            # Compiled once, and not again at the start of each simulation, which takes half of it
            "PYTHONPYCACHEPREFIX": os.environ.get("COSIM_BYTECODE") or str(BUILD.parent / "bytecode"),
            # Where another machine made the build, its cocotb lies elsewhere.
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [cocotb_libraries(), os.environ.get("LD_LIBRARY_PATH")])),
            "PYGPI_USERS": START,
            "COCOTB_REWRITE_ASSERTION_FILES": "",
            "PYTHONPATH": os.pathsep.join([str(ROOT), prepared.env.get("PYTHONPATH", "")]),
            **(environment or {}),
        }  # fmt: skip
        variables.pop("MALLOC_TRIM_THRESHOLD_", None)  # Dask's, for its workers: gives memory back all the time
        variables.pop("PYTHONOPTIMIZE", None)  # benches assert
        if names is None:
            variables.pop("COCOTB_TEST_FILTER", None)  # the caller's
        variables.pop("COCOTB_TESTCASE", None)
        variables.pop("PYTHONDONTWRITEBYTECODE", None)  # set in many containers to keep folders clean, as build/ does
        code = execute(words, Path(work), variables, log, timeout, limits)
        if built.waves and keep is not None:
            for wave in (*Path(work).glob("*.fst"), *Path(work).glob("*.vcd")):
                keep.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(wave, keep.with_suffix(wave.suffix))
        outcomes = _outcomes(results)
        printed = log.read_text(errors="replace")
        where = f" in {outcomes[-1].name}" if outcomes else ""
        if stopped := re.findall(r"^(?:FATAL:|.*%Fatal:) *(.*)", printed, re.MULTILINE):
            raise SimulationError(f"the design itself stopped the simulation{where}: {stopped[0]}")
        if complained := re.findall(_COMPLAINT[built.simulator], printed, re.MULTILINE):
            raise SimulationError(f"the design reports an error{where}: {complained[0]}")
        if outcomes is None:
            kind: type[SimulationError] = EndedEarly
            if code is None:
                reason = f"took longer than {timeout:g} s"
            elif code < 0:
                kind = EndedFromOutside if -code in FROM_OUTSIDE else EndedEarly
                reason = f"was ended by {signal.Signals(-code).name}: killed from outside, crashed or out of memory"
            else:
                kind, reason = SimulationError, f"ended with exit code {code} before its tests did"
            raise kind(f"the simulation of {built.toplevel} on {built.simulator} {reason}:\n{tail(log, 25)}")
        if any(outcome.failure and _ENDED_EARLY in outcome.failure for outcome in outcomes):
            raise SimulationError(
                f"the simulation of {built.toplevel} on {built.simulator} ended before its tests did, in "
                f"{outcomes[-1].name}: the design called $finish, or the simulator was ended from outside (SIGTERM)"
            )
        if not outcomes:
            raise SimulationError(f"no test of {cases} matched {only!r}: nothing was checked")
        return outcomes


def _outcomes(results: Path) -> list[TestOutcome] | None:
    """Tests of a cocotb results file; None where the simulator ended before it was written whole."""
    try:
        tree = ElementTree.parse(results)
    except (FileNotFoundError, ElementTree.ParseError):
        return None
    outcomes = []
    for case in tree.iter("testcase"):
        if case.find("skipped") is not None:
            continue
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        outcomes.append(TestOutcome(case.get("name", "?"), None if bad is None else _message(bad)))
    return outcomes


def _message(failure: ElementTree.Element) -> str:
    """What a failed test says; of an error that no bench raises on purpose, also what it is and where."""
    message, text = failure.get("message") or failure.get("error_msg") or "", (failure.text or "").strip()
    if not message:
        return text or "failed"
    kind, frames = failure.get("type") or "", re.findall(r'File "(.+)", line (\d+)', text)
    if kind in dir(builtins) and kind != "AssertionError" and frames:
        libraries = ("site-packages", sysconfig.get_paths()["stdlib"])
        own = [frame for frame in frames if not any(library in frame[0] for library in libraries)]
        return f"{kind}: {message} ({':'.join((own or frames)[-1])})"
    return message
