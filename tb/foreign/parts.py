"""Single modules of the class's structure, checked by themselves, so that a core can be built from the bottom up.

A role is a module as the class has it: its ports, and what it does with them. The adapter says what a team calls them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from tb import simulators
from tb.foreign.adapter import Adapter, AdapterError, Capabilities, Part
from tb.foreign.target import as_compiled, foreign_of
from tb.foreign.verilog import Verilog
from tb.foreign.wrapper import CLASS_PARAMETERS, TOP, check_name, written

PREFIX = "p_"  # of the wrapper's ports: a port may be called "in", which Python cannot say


@dataclasses.dataclass(frozen=True)
class Role:
    """Widths of the class's ports; optional: those that a module may lack."""

    inputs: Mapping[str, Callable[[Capabilities], int]]
    outputs: Mapping[str, Callable[[Capabilities], int]]
    optional: tuple[str, ...] = ()


def _one(can: Capabilities) -> int:
    return 1


def _two(can: Capabilities) -> int:
    return 2


def _act(can: Capabilities) -> int:
    return can.act_bits


def _acts(can: Capabilities) -> int:
    return can.act_bits * can.rows


def _psum(can: Capabilities) -> int:
    return can.psum_bits


def _psums(can: Capabilities) -> int:
    return can.psum_bits * can.cols


def _cols(can: Capabilities) -> int:
    return can.cols


_CLOCKED = {"clk": _one, "reset": _one}
ROLES = {
    "mac_tile": Role(
        {**_CLOCKED, "in_w": _act, "inst_w": _two, "in_n": _psum}, {"out_e": _act, "inst_e": _two, "out_s": _psum}
    ),
    "mac_row": Role({**_CLOCKED, "in_w": _act, "inst_w": _two, "in_n": _psums}, {"out_s": _psums, "valid": _cols}),
    "mac_array": Role(
        {**_CLOCKED, "in_w": _acts, "inst_w": _two, "in_n": _psums}, {"out_s": _psums, "valid": _cols}, ("in_n",)
    ),
    "l0": Role(
        {**_CLOCKED, "in": _acts, "wr": _one, "rd": _one},
        {"out": _acts, "o_full": _one, "o_ready": _one},
        ("o_full", "o_ready"),
    ),
    "ofifo": Role({**_CLOCKED, "in": _psums, "wr": _cols, "rd": _one}, {"out": _psums, "o_valid": _one}),
    "sfp": Role({**_CLOCKED, "acc": _one, "in": _psums}, {"out": _psums}),
}


def build_part(adapter: Adapter, role: str, sim: str, waves: bool = False) -> simulators.Build:
    """The module of a role in a wrapper whose ports are the class's. AdapterError where it does not have them."""
    part, can = adapter.parts.get(role, Part()), adapter.can
    module = part.module or role
    there = Verilog(adapter.sources, adapter.include, adapter.defines, sim).homes
    if module not in there:
        raise AdapterError(
            f'{adapter.path}: no module {module!r}; say which one it is: [parts.{role}] module = "..."; '
            f"there are {', '.join(sorted(there))}"
        )
    text, verilog = as_compiled(adapter, module, sim)
    known = verilog.elaborated(module, part.parameters).parameters
    usual = {name: getattr(can, field) for name, field in CLASS_PARAMETERS.items() if name in known}
    if role == "ofifo" and "bw" in known and "psum_bw" not in known:  # the class's gives it psum_bw under that name
        usual["bw"] = can.psum_bits
    parameters = usual | part.parameters
    ports = {port.name: port for port in verilog.elaborated(module, parameters).ports}
    wanted = {**ROLES[role].inputs, **ROLES[role].outputs}
    if odd := [name for name in part.ports if name not in wanted]:
        raise AdapterError(
            f"{adapter.path}: [parts.{role}] ports: {odd[0]!r} is no port of a {role}; it has {', '.join(wanted)}"
        )
    declared, connected = [], []
    for name, width in wanted.items():
        theirs = part.ports.get(name, name)
        if theirs not in ports:
            if name in ROLES[role].optional:
                continue
            raise AdapterError(
                f"{adapter.path}: {module} has no port {theirs}; it has {', '.join(ports)}. Say what it calls it: "
                f'[parts.{role}] ports = {{ {name} = "..." }}'
            )
        if ports[theirs].width != width(can):
            raise AdapterError(
                f"{adapter.path}: port {theirs} of {module} has {ports[theirs].width} bits, a {role} of "
                f"{can.rows}x{can.cols} with "
                f"{can.act_bits}-bit activations and {can.psum_bits}-bit psums has {width(can)}"
            )
        way = "input" if name in ROLES[role].inputs else "output"
        declared.append(f"    {way} wire [{width(can) - 1}:0] {PREFIX}{name}")
        connected.append(f"        .{theirs}({PREFIX}{name})")
    taken = {part.ports.get(name, name) for name in wanted}
    for port in ports.values():
        check_name(adapter, port.name)
        if port.direction == "input" and port.name not in taken:
            if port.name not in part.pins:
                raise AdapterError(
                    f"{adapter.path}: input {port.name} of {module} is driven by nothing; say its value: "
                    f"[parts.{role}] "
                    f"pins = {{ {port.name} = 0 }}"
                )
            connected.append(f"        .{port.name}({port.width}'d{part.pins[port.name]})")
    given = ", ".join(f".{name}({value})" for name, value in parameters.items())
    head = f"`timescale 1ns/1ps\nmodule {TOP} (\n"
    body = f"    {module} {f'#({given}) ' if given else ''}dut (\n"
    top = written(head + ",\n".join(declared) + "\n);\n" + body + ",\n".join(connected) + "\n    );\nendmodule\n")
    return simulators.build(sim, TOP, {}, sources=[text, top], waves=waves, foreign=foreign_of(adapter))
