"""An image in the Verilated accelerator alone, stepped by a C++ loop: the limit of what has Python beside it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from golden_model.accelerator import registers
from golden_model.accelerator.plan import bus_bits
from tb import simulators
from tb.accelerator.hexfile import write_memory
from tb.accelerator.target import TARGET
from tb.networks.bench import changing_memory, host_registers
from tb.networks.program import NetworkProgram
from tb.networks.run import memory_beats
from tb.simulators.tools import OWN_ARGUMENTS, verilator_environment


def bare_loop(program: NetworkProgram, values: Mapping[str, np.ndarray], limit: int) -> tuple[int, float]:
    """Cycles from start to interrupt, at most ``limit``, and the seconds of the loop; values: of the image's tensors.

    SimulationError where it does not build or end.
    """
    c = program.configuration
    parameters = {**c.parameters, **TARGET.parameters, "BEATS": memory_beats(c, program.mem_bytes)}
    with tempfile.TemporaryDirectory(prefix="bare-") as work:
        words = [
            "verilator", "--cc", "--exe", "--build", "-j", str(os.cpu_count() or 1), "--Mdir", work, "--prefix", "Vtop",
            "--top-module", TARGET.toplevel, "--timescale", "1ns/1ps", *OWN_ARGUMENTS["verilator"],
            *(f"-G{name}={value}" for name, value in parameters.items()),
            *map(str, TARGET.sources()), str(simulators.HDL / "bare.cpp"),
        ]  # fmt: skip
        _done(words, work, {**os.environ, **verilator_environment()})
        data = changing_memory(program, values)
        write_memory(Path(work) / "memory.hex", [*program.constant, data], bus_bits(c) // 8)
        lines = [f"{address} {word}\n" for address, word in host_registers(program, {})]
        lines.append(f"{registers.address_of('control')} 1\n")
        (Path(work) / "registers.txt").write_text("".join(lines))
        cycles, seconds = _done([f"{work}/Vtop", str(limit)], work, dict(os.environ)).split()
        return int(cycles), float(seconds)


def _done(words: list[str], folder: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise simulators.SimulationError(f"{Path(words[0]).name} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
