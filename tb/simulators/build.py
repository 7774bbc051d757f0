"""Builds of a design, kept.

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
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import filelock

from quant.files import write_whole
from tb.simulators import sources as places
from tb.simulators import tools
from tb.simulators.sources import BUILD, rtl_sources
from tb.simulators.tools import (
    FROM_OUTSIDE,
    LACKING,
    VERILATOR_MAKEFLAGS,
    EndedFromOutside,
    Limits,
    SimulationError,
    arguments,
    check_simulator,
    command,
    complaints,
    execute,
    repeated,
    tail,
    tool_version,
    verilator_environment,
)

# What decides the result of a build beside its own sources
BUILDERS = tuple(Path(module) for module in (__file__, tools.__file__, places.__file__))


@dataclasses.dataclass(frozen=True)
class Build:
    """A compiled design."""

    simulator: str
    toplevel: str
    directory: Path
    waves: bool


BUILD_LIMITS = Limits(file=1 << 30)  # of a foreign design's build


@dataclasses.dataclass(frozen=True)
class Foreign:
    """How sources are compiled that were not written here, which have gone through ``preprocessed``: SystemVerilog of
    any style. strict: a warning stops the build. timeout: seconds of each of its steps."""

    strict: bool = False
    timeout: float = 600.0


def preprocessed(
    simulator: str, sources: Sequence[Path], include: Sequence[Path], defines: Mapping[str, str]
) -> tuple[Path, list[Path]]:
    """Sources as one text, as the simulator's own preprocessor makes it, and the files that went into it.

    The text has no directive left that another program could read otherwise, so what is looked at is what is compiled.
    SimulationError where it cannot be made.
    """
    check_simulator(simulator)
    folder = BUILD / "foreign"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_place(error) from None
    with tempfile.TemporaryDirectory(dir=folder) as work:
        out, log = Path(work) / "text.v", Path(work) / "log"
        files = [str(source) for source in sources]
        if simulator == "icarus":
            macros = [f"D:{name}={value}" for name, value in {**defines, "__ICARUS__": "1"}.items()]
            settings = Path(work) / "settings"
            settings.write_text("".join(f"{line}\n" for line in [*macros, *(f"I:{path}" for path in include)]))
            words, output = [_ivlpp(), "-L", f"-F{settings}", f"-o{out}", *files], log
        else:
            macros = [f"-D{name}={value}" for name, value in defines.items()]
            words = ["verilator", "-E", "-Wno-fatal", *macros, *(f"-I{path}" for path in include), *files]
            output = out
        environment = {**os.environ, **(verilator_environment() if simulator == "verilator" else {})}
        if shutil.which(words[0], path=environment["PATH"]):
            words[0] = shutil.which(words[0], path=environment["PATH"]) or words[0]
        # Apart, since warnings are no Verilog.
        code = execute(words, Path(work), environment, output, 60.0, BUILD_LIMITS, errors=log)
        if code is None:
            raise SimulationError(f"the Verilog does not build with {simulator}:\n    it took longer than 60 s")
        if code:
            _refuse_ended(code, log, f"the Verilog was not read with {simulator}")
            told = complaints(log, "error")
            raise SimulationError(f"the Verilog does not build with {simulator}:\n{told}")
        text = out.read_bytes()
        name = hashlib.sha256(text).hexdigest()[:16]
        kept = folder / name / "core.v"
        if not kept.exists():
            write_whole(kept, text)
    named = re.findall(rb'^`line \d+ "([^"]*)"', text, re.MULTILINE)
    if simulator == "verilator":  # what is not ASCII is in octal there
        escape = re.compile(rb"\\([0-7]{3}|.)")
        named = [escape.sub(lambda m: bytes([int(m[1], 8)]) if len(m[1]) == 3 else m[1], path) for path in named]
    return kept, [Path(os.fsdecode(path)) for path in dict.fromkeys(named)]


def _refuse_ended(code: int, log: Path, what: str) -> None:
    """EndedFromOutside where a step of a build was killed or found the disk full: nothing is known of the design."""
    text = log.read_text(errors="replace")
    signs = r"Killed signal terminated program|No space left on device|Disk quota exceeded"
    if -code in FROM_OUTSIDE:
        raise EndedFromOutside(f"{what}: {signal.Signals(-code).name} ended it")
    if found := re.search(signs, text):
        raise EndedFromOutside(f"{what}: {found[0]}")


@functools.cache
def _ivlpp() -> str:
    """Icarus's preprocessor, which iverilog keeps to itself: its own -E does not say which line is of which file."""
    done = subprocess.run(["iverilog", "-v", "-E", "-o", os.devnull, os.devnull], capture_output=True, text=True)
    found = re.search(r"^preprocess: (\S+)", done.stdout + done.stderr, re.MULTILINE)
    if found is None:
        raise SimulationError("Icarus's preprocessor ivlpp was not found: iverilog -v -E does not name it")
    return found[1]


def _no_place(error: OSError) -> SimulationError:
    return (EndedFromOutside if error.errno in LACKING else SimulationError)(
        f"builds go to {BUILD.parent}, which cannot be written ({error.strerror}); COSIM_BUILD=folder names another"
    )


def build(
    simulator: str,
    toplevel: str,
    parameters: Mapping[str, int],
    *,
    sources: Sequence[Path] | None = None,
    waves: bool = False,
    foreign: Foreign | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Build:
    """Compile ``toplevel`` from ``rtl/`` (or ``sources``), or find it unchanged. SimulationError has the log.

    foreign: the sources were not written here. progress: called about twice a second with the steps done and, as far as
    is known by then, their number.
    """
    check_simulator(simulator)
    sources = list(sources) if sources is not None else rtl_sources()
    digest = hashlib.sha256()
    digest.update(
        json.dumps([simulator, toplevel, dict(parameters), waves, tool_version(simulator)], sort_keys=True).encode()
    )
    if foreign:
        digest.update(repr(foreign).encode())
    for source in [*BUILDERS, *sources]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    directory = BUILD / simulator / f"{toplevel}-{digest.hexdigest()[:16]}"
    result = Build(simulator, toplevel, directory, waves)
    done = directory / "built"
    if done.exists():
        return result
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_place(error) from None
    with filelock.FileLock(f"{directory}.lock"):
        if done.exists():
            return result
        shutil.rmtree(directory, ignore_errors=True)  # the rest of an interrupted build
        own = {} if foreign is None else {"arguments": arguments(simulator, foreign.strict)}
        prepared = command(simulator, toplevel, parameters, sources, directory, waves, compile_only=True, **own)
        commands, environment = prepared.prepared()
        log = directory / "build.log"
        runtime = _VerilatorRuntime(directory, waves) if simulator == "verilator" else None
        with _watched(directory, progress):
            for words in commands:
                if runtime is not None and words[0] == "make":
                    environment = runtime.brought(environment)
                limits = (foreign.timeout, BUILD_LIMITS) if foreign else (None, None)
                code = execute(words, directory, environment, log, *limits)
                if code is None:
                    raise SimulationError(f"building for {simulator} took longer than {foreign.timeout:g} s")
                if code:
                    _refuse_ended(code, log, f"{toplevel} was not built for {simulator}")
                if code and foreign:
                    said = f"the Verilog does not build with {simulator}:\n{complaints(log, 'error')}"
                    raise SimulationError(said + (_MORE_READ if _is_beyond_icarus(simulator, log, sources) else ""))
                if code:
                    raise SimulationError(f"building {toplevel} for {simulator} failed:\n{tail(log, 30)}")
        if foreign and foreign.strict and (warned := complaints(log, "warning")):
            raise SimulationError(f'{simulator} warns, and warnings = "stop":\n{warned}')
        if runtime is not None:
            runtime.keep(log, environment)
            for intermediate in (*directory.glob("*.o"), *directory.glob("*.gch"), *directory.glob("*.a")):
                intermediate.unlink()
        try:
            # More than a touch: iverilog reports success on a full disk, with half a file behind it.
            done.write_text(f"{simulator} {toplevel}\n" + " " * 65536)
        except OSError as error:
            done.unlink(missing_ok=True)
            raise (EndedFromOutside if error.errno in LACKING else SimulationError)(
                f"building {toplevel} for {simulator} failed: {error.strerror}: {directory}"
            ) from None
    return result


_MORE_READ = "\n    it has SystemVerilog, of which Verilator reads more: try SIM=verilator"


def _is_beyond_icarus(simulator: str, log: Path, sources: Sequence[Path]) -> bool:
    """Whether Icarus may have stopped at SystemVerilog that it does not know."""
    if simulator != "icarus":
        return False
    printed = log.read_text(errors="replace")
    words = r"\b(logic|always_ff|always_comb|interface|package|typedef|struct|enum|import|program)\b"
    comments = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
    written = any(re.search(words, comments.sub("", source.read_text(errors="replace"))) for source in sources)
    return "sorry:" in printed or "assert:" in printed or (written and "syntax error" in printed)


@contextlib.contextmanager
def _watched(directory: Path, progress: Callable[[int, int], None] | None) -> Iterator[None]:
    """Tell how far a build is: its first step writes C++ files, if any, and each of the others compiles one."""

    def look() -> None:
        names = os.listdir(directory) if directory.exists() else []
        parts = {name.removesuffix(".cpp") for name in names if name.endswith(".cpp")}
        compiled = sum(f"{part}.o" in names for part in parts)
        if progress is not None:
            progress(compiled + bool(parts), len(parts) + 1)

    with contextlib.nullcontext() if progress is None else repeated(0.5, look):
        yield


def discard(built: Build) -> None:
    """Remove a build that nobody will want again."""
    shutil.rmtree(built.directory, ignore_errors=True)
    Path(f"{built.directory}.lock").unlink(missing_ok=True)


class _VerilatorRuntime:
    """What is the same in every build of a kind and takes most of the time of a small one: Verilator's runtime library,
    and its header, which two files of each build include first.

    The library's objects are kept once and copied into a build's directory before make looks for them; the header is
    kept as the compiler has read it (GCC's precompiled form) and linked from there.
    """

    OBJECTS = tuple(f"verilated{part}.o" for part in ("", "_dpi", "_vpi", "_threads", "_timing", "_vcd_c"))
    HEADER = "runtime.h"

    def __init__(self, directory: Path, waves: bool):
        self.directory, self.waves = directory, waves

    @functools.cached_property
    def kept(self) -> Path:
        """Known once the model's C++ is written: a model with delays is compiled with coroutines, and then the compiler
        passes over a header that was read without them, and says nothing."""
        settings = (self.directory / "Vtop_classes.mk").read_text()
        timed = re.search(r"^VM_TIMING *= *1", settings, re.MULTILINE) is not None
        kind = f"{tool_version('verilator')} {VERILATOR_MAKEFLAGS} {self.waves} {timed}"
        return BUILD / "verilator" / f"runtime-{hashlib.sha256(kind.encode()).hexdigest()[:16]}"

    def brought(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Bring what is kept into the build's directory; the environment in which make uses it."""
        for item in self.kept.iterdir() if self.kept.exists() else ():
            if item.suffix in (".o", ".d"):
                shutil.copyfile(item, self.directory / item.name)  # newer than its sources: make is content
        environment = {**environment, "MAKEFLAGS": f"-j{os.cpu_count() or 1} {environment['MAKEFLAGS']}"}
        header = self.kept / f"{self.HEADER}.gch"
        if not header.exists():
            return environment
        (self.directory / self.HEADER).write_text('#include "verilated.h"\n')
        (self.directory / header.name).symlink_to(header)  # 70 MB
        # A large model is compiled in parts, with a precompiled header of its own; the compiler takes one only. What it
        # finds in place of it are the headers themselves, of which the kept one has read the most.
        for own in ("Vtop__pch.h.fast", "Vtop__pch.h.slow"):
            (self.directory / own).write_text('#include "Vtop__pch.h"\n')
            (self.directory / f"{own}.gch").touch()
        return {**environment, "MAKEFLAGS": f"{environment['MAKEFLAGS']} USER_CPPFLAGS=-include{self.HEADER}"}

    def keep(self, log: Path, environment: Mapping[str, str]) -> None:
        if self.kept.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.kept.parent) as work:
            fresh = Path(work) / "objects"
            fresh.mkdir()
            for name in self.OBJECTS:
                for item in (self.directory / name, self.directory / f"{name[:-1]}d"):
                    if item.exists():
                        shutil.copyfile(item, fresh / item.name)
            self._compile_header(fresh, log, environment)
            with contextlib.suppress(OSError):  # another process was first
                fresh.rename(self.kept)

    def _compile_header(self, folder: Path, log: Path, environment: Mapping[str, str]) -> None:
        """As the model itself was compiled; without it, builds are slower and the same."""
        own = re.search(r"^(\S*\+\+ .*) -c -o Vtop(__ALL)?\.o ", log.read_text(errors="replace"), re.MULTILINE)
        if own is None:
            return
        source, header = folder / self.HEADER, folder / f"{self.HEADER}.gch"
        source.write_text('#include "verilated.h"\n')
        words = re.sub(r" -MMD| -include \S+", "", own[1])
        if execute(
            [*shlex.split(words), "-x", "c++-header", "-o", str(header), str(source)], self.directory, environment, log
        ):
            header.unlink(missing_ok=True)
