"""``make new-core RTL=folder TOP=module``: begin an adapter file, from the ports and parameters of the Verilog.

The class's interface is recognised by its instruction word; any other core gets the skeleton of a driver in Python.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path

from rich.console import Console

from quant.cli import Parser
from quant.errors import UserError
from quant.files import write_whole
from tb import options
from tb.commands import command
from tb.foreign.adapter import Capabilities
from tb.foreign.verilog import Elaborated, Port, Verilog
from tb.foreign.wrapper import CLASS_PARAMETERS

INSTRUCTION = 34  # bits of the class's instruction, at least
RESET = re.compile(r"n?_?a?re?se?t", re.IGNORECASE)  # how its name begins
SUFFIXES, HEADERS = (".v", ".sv"), (".vh", ".svh", ".h")


def recognised(ports: list[Port], clock: str) -> dict[str, str] | None:
    """The ports of the class's interface by what they are; None where it is another one."""
    inputs = [port for port in ports if port.direction == "input" and port.name != clock]
    outputs = [port for port in ports if port.direction == "output"]
    words = [port for port in inputs if port.width >= INSTRUCTION and re.match(r"inst", port.name, re.IGNORECASE)]
    data = [port for port in inputs if port.width > 1 and port not in words]
    resets = [port for port in inputs if port.width == 1 and RESET.match(port.name)]
    if not (words and data and resets and outputs):
        return None
    xmem = [port for port in data if re.fullmatch(r"d_?xmem|d|din|data\w*", port.name, re.IGNORECASE)] or data
    valid = [port.name for port in outputs if port.width == 1 and "valid" in port.name.lower()]
    return {
        "reset": resets[0].name, "instruction": words[0].name, "data": xmem[0].name,
        "output": max(outputs, key=lambda port: port.width).name, "valid": valid[0] if valid else "",
    }  # fmt: skip


def clock_of(ports: list[Port]) -> str:
    """The input that is the clock. UserError where none looks like one."""
    for port in ports:
        if port.direction == "input" and port.width == 1 and re.search(r"clk|clock", port.name, re.IGNORECASE):
            return port.name
    raise UserError(f"no input looks like a clock; the ports are {', '.join(port.name for port in ports)}")


def active_low(reset: str) -> bool:
    """Whether a reset's name says that it is active when low: rst_n, RSTN, aresetn, n_reset, rst_b."""
    return re.search(r"(_n|_b|(rst|reset)n)(_i|_in)?$|^n_?a?re?se?t", reset, re.IGNORECASE) is not None


def head(
    top: str, clock: str, sources: list[str], include: list[str], parameters: dict[str, str], class_interface: bool
) -> list[str]:
    lines = [
        f"# Adapter of {top}, begun by make new-core. What is not said here is as the class has it.", "[core]",
        f'top = "{top}"', f"sources = [{', '.join(map(_quoted, sources))}]",
    ]  # fmt: skip
    if include != ["."]:
        lines.append(f"include = [{', '.join(map(_quoted, include))}]")
    if clock != "clk":
        lines.append(f'clock = "{clock}"')
    usual = [name for name in parameters if class_interface and name in CLASS_PARAMETERS]
    others = {name: value for name, value in parameters.items() if name not in usual and value.lstrip("-").isdigit()}
    if others:
        lines.append(f"parameters = {{ {', '.join(f'{name} = {value}' for name, value in others.items())} }}")
    if usual:
        lines.append(f"# {', '.join(usual)} are set from the capabilities below")
    return lines


def capabilities(output: int | None, data: int | None, parameters: dict[str, str]) -> list[str]:
    """The table, with what parameters of the class's names say, and else the widths, filled in."""
    said = {field: int(parameters[name]) for name, field in CLASS_PARAMETERS.items()
            if output and parameters.get(name, "").isdigit()}  # fmt: skip
    can = dataclasses.replace(Capabilities(), **said)
    if "act_bits" in said:  # bw is of both
        can = dataclasses.replace(can, wgt_bits=can.act_bits)
    rows = data // can.act_bits if data and data % can.act_bits == 0 else can.rows
    cols = output // can.psum_bits if output and output % can.psum_bits == 0 else can.cols
    rows, cols = said.get("rows", rows), said.get("cols", cols)
    return [
        "", "[capabilities]", f"rows = {rows}", f"cols = {cols}", f"act_bits = {can.act_bits}",
        f"wgt_bits = {can.wgt_bits}",
        f"psum_bits = {can.psum_bits}", 'dataflow = "weight_stationary"   # or "output_stationary"',
        'sums = "kij"        # added over the taps; "ic_tile": over input channels too; "none": nothing is added',
        'relu = "always"     # or "none", or "choice"',
        "positions = 64      # most input positions at once: the depth of L0, or what the memories hold; 0: any number",
    ]  # fmt: skip


def class_interface(found: dict[str, str], ports: list[Port], clock: str, elaborated: Elaborated) -> list[str]:
    """The [course] table."""
    width = {port.name: port.width for port in ports}
    lines = ["", "[course]", *(f'{what} = "{name}"' for what, name in found.items())]
    if active_low(found["reset"]):
        lines.append("reset_level = 0")
    memories = [name for name in elaborated.memories(width[found["output"]]) if name]
    if memories:
        lines.append(f'psum_path = "{memories[0]}"   # the psum memory, so that psums of each tap are seen')
    if width[found["instruction"]] > INSTRUCTION:
        lines += [
            "",
            "[course.bits]",
            f"# {width[found['instruction']]} bits, the class has {INSTRUCTION}: say what the others are, as",
            "# relu = 34",
        ]
    known = {clock, *found.values()}
    pins = [port for port in ports if port.direction == "input" and port.name not in known]
    if pins:
        lines += ["", "[course.pins]   # constants", *(f"{port.name} = 0" for port in pins)]
    return lines


SKELETON = '''"""Drives {top}. Each coroutine is called as tb.foreign.contract.Driver says."""

import numpy as np

from tb.foreign import Driver, pack_lanes, read_bit, read_lanes

# Inputs:  {inputs}
# Outputs: {outputs}


class {name}(Driver):
    reset_name, reset_level = "{reset}", {level}

    async def start(self):
        # self.dut.some_input.value = 0
        await super().start()

    async def write_activations(self, tile, activations):
        words = pack_lanes(activations, self.can.act_bits)  # one word a position, row 0 in the lowest bits
        raise NotImplementedError("write the words to where the core takes activations from")

    async def load_weights(self, tile, tap, weights):
        words = pack_lanes(weights.T, self.can.wgt_bits)  # one word a column
        raise NotImplementedError("load the weights of this tap")

    async def execute(self, tile, tap):
        raise NotImplementedError("start the core, and wait until it is ready: await self.edge")

    async def read_outputs(self, tile):
        rows = []  # a row of read_lanes(self.dut.some_output, self.can.cols, self.can.psum_bits) for each output
        raise NotImplementedError("read the outputs")
        return np.ma.stack(rows)
'''


def skeleton(top: str, ports: list[Port], clock: str) -> tuple[str, str]:
    """The name of the driver's class, and the text of its file."""
    name = "".join(part.capitalize() for part in top.split("_")) + "Driver"
    listed = {
        way: ", ".join(
            f"{p.name}[{p.width}]" if p.width > 1 else p.name for p in ports if p.direction == way and p.name != clock
        )
        for way in ("input", "output")
    }
    resets = [p.name for p in ports if p.direction == "input" and RESET.match(p.name)]
    reset = resets[0] if resets else "reset"
    level = 0 if active_low(reset) else 1
    return name, SKELETON.format(
        top=top,
        inputs=listed["input"] or "none",
        outputs=listed["output"] or "none",
        name=name,
        reset=reset,
        level=level,
    )


def _copy(path: Path, folder: Path) -> bool:
    """Whether a program has put a file there: editors, notebooks, a Mac's archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.new_core", __doc__.split("\n\n")[0])
    parser.add_argument("--rtl", default=options.environment("RTL"), help="folder of the Verilog [RTL]")
    parser.add_argument("--top", default=options.environment("TOP") or "core", help="top module [TOP, core]")
    parser.add_argument(
        "--out", default=options.environment("OUT"), help="adapter file to write [OUT, core.toml in the folder]"
    )
    parsed = parser.parse_args(words)
    if not parsed.rtl:
        raise UserError("which Verilog? RTL=folder TOP=module")
    folder = Path(parsed.rtl)
    if not folder.is_dir():
        raise UserError(f"RTL={folder} is not a folder")
    sources = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and not _copy(path, folder))
    if not sources:
        raise UserError(f"RTL={folder} has no file that ends in {' or '.join(SUFFIXES)}")
    out = Path(parsed.out) if parsed.out else folder / "core.toml"
    driver = out.with_name("driver.py")
    headers = [path for path in folder.rglob("*") if path.suffix in HEADERS]
    folders = sorted({path.parent.resolve() for path in (*sources, *headers)})
    verilog = Verilog([path.resolve() for path in sources], folders, nearest=True)
    elaborated = verilog.elaborated(parsed.top)
    ports, clock = elaborated.ports, clock_of(elaborated.ports)
    used = [os.path.relpath(path, out.resolve().parent) for path in verilog.used(parsed.top)]
    folders.sort(key=lambda folder: folder in {path.parent for path in verilog.left_out})  # what is old comes last
    include = [os.path.relpath(path, out.resolve().parent) for path in folders]
    found = recognised(ports, clock)
    width = {port.name: port.width for port in ports}
    lines = head(parsed.top, clock, used, include, elaborated.parameters, found is not None)
    left_out = sorted(os.path.relpath(path, out.resolve().parent) for path in verilog.left_out)
    if left_out:
        lines.insert(3, f"# not taken, since others with the same modules are nearer: {', '.join(left_out)}")
    if found:
        lines += capabilities(width[found["output"]], width[found["data"]], elaborated.parameters)
        lines += class_interface(found, ports, clock, elaborated)
    else:
        name, text = skeleton(parsed.top, ports, clock)
        lines += [*capabilities(None, None, {}), "", "[python]", f'driver = "{driver.name}:{name}"']
    for file in (out, *(() if found else (driver,))):
        if file.exists():
            raise UserError(f"{file} is there already; name another one with OUT, or take it away")
    if not found:
        write_whole(driver, text.encode())
    try:
        write_whole(out, ("\n".join(lines) + "\n").encode())
    except OSError:
        if not found:
            driver.unlink()  # one without the other would stand in the way of the next try
        raise
    check = options.again("check-core", {}, arguments="CORE_ARGS", more={"CORE": str(out)}).split("  (")[0]
    console = Console(highlight=False)
    console.print("\n".join(f"  {port.direction:6} {port.name} [{port.width}]" for port in ports), markup=False)
    for path in left_out:
        console.print(f"not taken: {path}, since another file with its modules is nearer", soft_wrap=True, markup=False)
    if found:
        console.print(f"\nthe class's interface: see {out}, then find its latencies and run it:", soft_wrap=True)
        console.print(f"  {check.replace('check-core', 'calibrate', 1)}\n  {check}", soft_wrap=True, markup=False)
    else:
        console.print(f"\nnot the class's interface: fill in {driver}, see {out}, then:", soft_wrap=True)
        console.print(f"  {check}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
