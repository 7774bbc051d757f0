"""Builds of a design, kept.

A build is kept under ``build/sim/<simulator>/<toplevel>-<hash>``; the hash covers sources, parameters, arguments and
tool, so a changed source or parameter never meets an old binary, and an unchanged one is never built twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import filelock

from tb.simulators import sources as places
from tb.simulators import tools
from tb.simulators.sources import BUILD, rtl_sources
from tb.simulators.tools import (
    VERILATOR_MAKEFLAGS,
    SimulationError,
    check_simulator,
    command,
    execute,
    tail,
    tool_version,
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
        json.dumps([simulator, toplevel, dict(parameters), waves, tool_version(simulator)], sort_keys=True).encode()
    )
    for source in [*BUILDERS, *sources]:
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
        prepared = command(simulator, toplevel, parameters, sources, directory, waves, compile_only=True)
        commands, environment = prepared.prepared()
        log = directory / "build.log"
        runtime = _VerilatorRuntime(directory, waves) if simulator == "verilator" else None
        for words in commands:
            if runtime is not None and words[0] == "make":
                runtime.bring()
            code = execute(words, directory, environment, log)
            if code:
                raise SimulationError(f"building {toplevel} for {simulator} failed:\n{tail(log, 30)}")
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
        kind = hashlib.sha256(f"{tool_version('verilator')} {VERILATOR_MAKEFLAGS} {waves}".encode()).hexdigest()[:16]
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
