"""The top module around a foreign core: its ports under their own names, its parameters set, a window on its psums.

It keeps the core's inside private, which Verilator needs to be fast, and makes hierarchical names a port.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from quant.files import write_whole
from tb import simulators
from tb.foreign.adapter import Adapter, AdapterError
from tb.foreign.verilog import Elaborated, Port, Verilog

TOP = "foreign_top"
PEEK_BITS = 16
CLASS_PARAMETERS = {"bw": "act_bits", "psum_bw": "psum_bits", "col": "cols", "row": "rows"}


def parameters_of(adapter: Adapter, verilog: Verilog) -> dict[str, int]:
    """The adapter's parameters, and those that the class's cores have: teams' defaults can be of another geometry."""
    known = verilog.elaborated(adapter.top, adapter.parameters).parameters
    for name in adapter.parameters:
        if name not in known:
            raise AdapterError(
                f"{adapter.path}: [core] parameters: {adapter.top} has no parameter {name}; it has "
                f"{', '.join(known) or 'none'}"
            )
    if adapter.course is None:
        return dict(adapter.parameters)
    usual = {name: getattr(adapter.can, field) for name, field in CLASS_PARAMETERS.items() if name in known}
    return usual | adapter.parameters


def check_name(adapter: Adapter, name: str) -> None:
    """AdapterError for a port whose name (an escaped one) the wrapper cannot be trusted with."""
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise AdapterError(f"{adapter.path}: port {name!r} has an escaped name; give it a plain one")


def check_ports(adapter: Adapter, elaborated: Elaborated) -> dict[str, Port]:
    """The core's ports by name. AdapterError where they are not what the adapter says."""
    ports = {port.name: port for port in elaborated.ports}
    for port in ports.values():
        check_name(adapter, port.name)
        if port.direction == "inout":
            raise AdapterError(
                f"{adapter.path}: {adapter.top} has an inout port {port.name}, which cannot be driven; wrap it"
            )
    if adapter.clock not in ports:
        raise AdapterError(_no_port(adapter, "clock", adapter.clock, ports))
    course = adapter.course
    if course is None:
        return ports
    can = adapter.can
    least = {
        "reset": (1, 1), "instruction": (course.width, None), "data": (can.rows * can.act_bits,) * 2,
        "output": (can.cols * can.psum_bits,) * 2, "valid": (1, None),
    }  # fmt: skip
    for what, (bits, most) in least.items():
        name = getattr(course, what)
        if not name and what == "valid":
            continue
        if name not in ports:
            raise AdapterError(_no_port(adapter, what, name, ports))
        width = ports[name].width
        if width < bits or (most and width > most):
            need = f"{bits}" if most else f"at least {bits}"
            why = {
                "instruction": "by [course.bits]", "data": f"for {can.rows} rows of {can.act_bits} bits",
                "output": f"for {can.cols} columns of {can.psum_bits} bits",
            }.get(what, "")  # fmt: skip
            raise AdapterError(
                f"{adapter.path}: port {name} of {adapter.top} has {width} bits, needed are {need} {why}".rstrip()
            )
    driven = {adapter.clock, course.reset, course.instruction, course.data, *course.pins}
    if missing := [p.name for p in ports.values() if p.direction == "input" and p.name not in driven]:
        names = ", ".join(f"{name} = 0" for name in missing)
        raise AdapterError(
            f"{adapter.path}: input {missing[0]} of {adapter.top} is driven by nothing; say its value: "
            f"[course.pins] {names}"
        )
    if odd := [name for name in course.pins if name not in ports]:
        raise AdapterError(_no_port(adapter, "pins", odd[0], ports))
    if course.psum_path:
        bits = elaborated.memory(course.psum_path)
        if bits != can.cols * can.psum_bits:
            found = "is not a memory" if bits is None else f"has words of {bits} bits"
            raise AdapterError(
                f"{adapter.path}: [course] psum_path = {course.psum_path!r} {found} in {adapter.top}; it must be "
                f"the array of "
                f"the psum memory, with words of {can.cols * can.psum_bits} bits, or be left out"
            )
    return ports


def _no_port(adapter: Adapter, what: str, name: str, ports: Mapping[str, Port]) -> str:
    table = "[core]" if what == "clock" else "[course]"
    return f"{adapter.path}: {table} {what} = {name!r}: {adapter.top} has no such port; it has {', '.join(ports)}"


def wrapper(adapter: Adapter, ports: Mapping[str, Port], parameters: Mapping[str, int]) -> Path:
    """The file of the top module, written anew where it is another one."""
    lines = [f"// made from {adapter.path.name}; do not edit", "`timescale 1ns/1ps", f"module {TOP} ("]
    declared = [f"    {p.direction} wire [{p.width - 1}:0] {p.name}" for p in ports.values()]
    path = adapter.course.psum_path if adapter.course else ""
    if path:
        declared.append(f"    input wire [{PEEK_BITS - 1}:0] foreign_peek")
        declared.append(f"    output wire [{adapter.can.cols * adapter.can.psum_bits - 1}:0] foreign_psum")
    lines += [",\n".join(declared), ");"]
    given = ", ".join(f".{name}({value})" for name, value in parameters.items())
    lines.append(f"    {adapter.top} {f'#({given}) ' if given else ''}dut (")
    lines += [",\n".join(f"        .{name}({name})" for name in ports), "    );"]
    if path:
        lines.append(f"    assign foreign_psum = dut.{path}[foreign_peek];")
    return written("\n".join([*lines, "endmodule", ""]))


def written(text: str) -> Path:
    """The file of a top module's text, kept by its content."""
    folder = simulators.BUILD / "foreign" / hashlib.sha256(text.encode()).hexdigest()[:16]
    file = folder / f"{TOP}.v"
    if not file.exists():
        write_whole(file, text.encode())
    return file
