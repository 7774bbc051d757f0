"""The adapter file: what a TOML file says of a foreign core."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import types
import typing
from pathlib import Path
from typing import Any

from golden_model.configuration import Configuration, Dataflow, read_toml
from quant.errors import UserError

SUMS = ("none", "kij", "ic_tile")
RELU = ("none", "always", "choice")
ACTIVATIONS = ("unsigned", "signed", "choice")
ORDERS = ("low", "high")
PHASES = ("reset", "write", "fetch", "load", "execute", "store", "accumulate", "output", "idle")
ALWAYS = "always"  # in the place of a phase: all of them
# The instruction of the class, from its highest bit to its lowest
CLASS_BITS: dict[str, int | list[int]] = {
    "acc": 33, "CEN_pmem": 32, "WEN_pmem": 31, "A_pmem": [30, 20], "CEN_xmem": 19, "WEN_xmem": 18, "A_xmem": [17, 7],
    "ofifo_rd": 6, "ififo_wr": 5, "ififo_rd": 4, "l0_rd": 3, "l0_wr": 2, "execute": 1, "load": 0,
}  # fmt: skip
MOST_LATENCY = 3


class AdapterError(UserError):
    """An adapter file that cannot be used; the message names the file and the key."""


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a core can do.

    sums: what it adds itself: "none": it gives a psum for each tap; "kij": over the taps of an ic_tile; "ic_tile": over
    the ic_tiles too. activations: "unsigned", "signed" (two's complement), or as asked for ("choice"). relu: outputs
    come "always" after ReLU, never ("none"), or as asked for ("choice"). channels: input channels that a row takes at
    once; with 2, activations have half of act_bits, and each column has two words of weights, that of the low halves
    first (weight-stationary only). positions: most input positions that it takes at once (WS), steps: most steps (OS);
    0: any number. taps: most taps. first_row, first_col: where row 0 and column 0 lie in a word, in its low or high
    bits.
    """

    rows: int = 8
    cols: int = 8
    act_bits: int = 4
    wgt_bits: int = 4
    psum_bits: int = 16
    activations: str = "unsigned"
    dataflow: str = Dataflow.weight_stationary.name
    sums: str = "kij"
    relu: str = "always"
    channels: int = 1
    positions: int = 64
    steps: int = 0
    taps: int = 0
    first_row: str = "low"
    first_col: str = "low"

    @property
    def flow(self) -> Dataflow:
        return Dataflow[self.dataflow]

    @property
    def inputs(self) -> int:
        """Input channels of a tile."""
        return self.rows * self.channels

    @property
    def act_width(self) -> int:
        """Bits of one activation."""
        return self.act_bits // self.channels

    def configuration(self, name: str) -> Configuration:
        """As a configuration of the golden model; what only concerns this project's own core has any value."""
        return Configuration(
            name, self.rows, self.cols, self.act_bits, self.wgt_bits, self.psum_bits,
            act_depth=1 << 20, wgt_depth=1 << 20, psum_depth=1 << 20, l0_depth=1024, ififo_depth=1024,
            ofifo_depth=max(1024, self.rows), wgt_lanes=1, simd=self.channels - 1,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Timing:
    """Cycles from one control of the class's interface to the one that follows it, as ``make calibrate`` finds them.

    The first four may be 0 to 3. load, drain: cycles to wait after the last weight and the last activation has left L0.
    output: cycles from the last acc to the output.
    """

    xmem_to_l0: int = 1
    l0_to_array: int = 0
    ofifo_to_pmem: int = 1
    pmem_to_acc: int = 1
    load: int = 0
    drain: int = 0
    output: int = 1


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where things begin in the memories."""

    activations: int = 0
    weights: int = 0x400
    psums: int = 0


@dataclasses.dataclass(frozen=True)
class Course:
    """The class's interface: the names of ports, the bits of the instruction, what is pulsed when.

    accumulate: "per_output": psums of all taps are stored, then those of an output are read and added; "in_place": each
    psum is added to the sum of its output in the psum memory as it leaves the OFIFO.
    hold_acc: acc stays high until the output is read. pins: further inputs and their values. set: signals of the
    instruction, or pins, by phase. psum_path: the psum memory's array, by its hierarchical name within the top module.
    """

    reset: str = "reset"
    reset_level: int = 1
    instruction: str = "inst"
    data: str = "D_xmem"
    output: str = "sfp_out"
    valid: str = "ofifo_valid"
    psum_path: str = ""
    accumulate: str = "per_output"
    reset_each_tap: bool = True
    reset_each_output: bool = True
    hold_acc: bool = False
    active_low: list[str] = dataclasses.field(default_factory=lambda: ["CEN_pmem", "WEN_pmem", "CEN_xmem", "WEN_xmem"])
    bits: dict[str, int | list[int]] = dataclasses.field(default_factory=lambda: dict(CLASS_BITS))
    pins: dict[str, int] = dataclasses.field(default_factory=dict)
    set: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    address: Addresses = Addresses()
    timing: Timing = Timing()

    def place(self, name: str) -> tuple[int, int]:
        """Lowest bit and width of a field of the instruction."""
        at = self.bits[name]
        return (at, 1) if isinstance(at, int) else (at[1], at[0] - at[1] + 1)

    @property
    def width(self) -> int:
        """Bits of the instruction that are used."""
        return max(low + bits for low, bits in map(self.place, self.bits))


@dataclasses.dataclass(frozen=True)
class Part:
    """A module of a core that is checked by itself. ports: its names for the class's, where they differ; parameters:
    its own; pins: further inputs and their values."""

    module: str = ""
    ports: dict[str, str] = dataclasses.field(default_factory=dict)
    parameters: dict[str, int] = dataclasses.field(default_factory=dict)
    pins: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A foreign core, as its file says. sources, include: resolved paths."""

    path: Path  # as given
    folder: Path  # where it lies; of a link, where the link does
    name: str
    top: str
    sources: tuple[Path, ...]
    include: tuple[Path, ...]
    defines: dict[str, str]
    parameters: dict[str, int]
    warnings: str
    clock: str
    can: Capabilities
    course: Course | None
    driver: str | None  # file.py:Class
    calibrated: bool  # whether the file states the timing of the class's interface, or needs none
    parts: dict[str, Part]

    @property
    def configuration(self) -> Configuration:
        try:
            return self.can.configuration(self.name)
        except ValueError as error:
            raise AdapterError(f"{self.path}: [capabilities] {str(error).split('] ', 1)[-1].lower()}") from None


_CORE = {
    "name": str, "top": str, "sources": list[str], "include": list[str], "defines": dict[str, Any],
    "parameters": dict[str, int], "warnings": str, "clock": str,
}  # fmt: skip


def read_adapter(path: Path | str, defines: typing.Sequence[str] = ()) -> Adapter:
    """The adapter of a file, ``defines`` (NAME or NAME=value) added to its own. AdapterError says what is wrong
    where."""
    path = Path(path)
    if path.suffix in (".v", ".sv"):
        raise AdapterError(
            f"{path} is Verilog; an adapter file describes it: make new-core RTL={path.parent} writes one"
        )
    if path.is_dir():
        raise AdapterError(f"{path} is a folder; name its adapter file, as {path}/core.toml")
    tables = read_toml(path, AdapterError)
    if wrong := sorted(set(tables) - {"core", "capabilities", "course", "python", "parts"}):
        raise AdapterError(f"{path}: no table [{wrong[0]}]; there are core, capabilities, course, python, parts")
    _refuse_values(tables, f"{path}: [")
    core = _checked(tables.get("core", {}), _CORE, f"{path}: [core]")
    if "python" in tables and "course" in tables:
        raise AdapterError(f"{path}: [course] and [python]: a core is driven in one way")
    calibrated = "python" in tables or "timing" in tables.get("course", {})
    course = driver = None
    if "python" in tables:
        driver = _checked(tables["python"], {"driver": str}, f"{path}: [python]").get("driver", "")
        if not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", driver):
            raise AdapterError(f'{path}: [python] driver must be "file.py:Class", is {driver!r}')
        if not (path.parent / driver.split(":")[0]).is_file():
            raise AdapterError(f"{path}: [python] driver: there is no file {path.parent / driver.split(':')[0]}")
    else:
        course = _course(tables.get("course", {}), f"{path}: [course")
    top = core.get("top", "core")
    for name in (top, core.get("clock", "clk")):
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise AdapterError(f"{path}: [core] {name!r} is no name of Verilog")
    if core.get("warnings", "ignore") not in ("ignore", "stop"):
        raise AdapterError(f'{path}: [core] warnings must be "ignore" or "stop", is {core["warnings"]!r}')
    can = read_capabilities(tables.get("capabilities", {}), f"{path}: [capabilities]")
    if course is not None and can.sums == "ic_tile" and course.accumulate == "per_output":
        raise AdapterError(
            f'{path}: [capabilities] sums = "ic_tile" needs accumulate = "in_place" in [course]: the psums of an '
            f"output are read for one ic_tile"
        )
    if course is not None and can.relu == "choice" and "relu" not in course.bits:
        raise AdapterError(
            f'{path}: [capabilities] relu = "choice" needs the bit that chooses: relu = N in [course.bits]; or state '
            f'"always" or "none"'
        )
    if course is not None and can.activations == "choice":
        raise AdapterError(
            f'{path}: [capabilities] activations = "choice": the class\'s interface has no bit that chooses; state '
            f'"unsigned" or "signed" (and its pin in [course.pins]), or drive the core by [python]'
        )
    if course is not None and can.wgt_bits > can.act_bits:
        raise AdapterError(f"{path}: [capabilities] wgt_bits is more than act_bits, the place that a row has in a word")
    if course is not None:
        can = _within_memory(can, course, path)
    parts = _checked(tables.get("parts", {}), dict.fromkeys(tables.get("parts", {}), Any), f"{path}: [parts]")
    return Adapter(
        path=path,
        folder=path.parent.absolute(),
        name=core.get("name", path.stem),
        top=top,
        sources=_files(path, core.get("sources", ["*.v", "*.sv"])),
        include=tuple((path.parent / folder).resolve() for folder in core.get("include", ["."])),
        defines={name: str(value) for name, value in core.get("defines", {}).items()} | _defines(defines),
        parameters=core.get("parameters", {}),
        warnings=core.get("warnings", "ignore"),
        clock=core.get("clock", "clk"),
        can=can,
        course=course,
        driver=driver,
        calibrated=calibrated,
        parts={name: _record(Part, table, f"{path}: [parts.{name}]") for name, table in parts.items()},
    )


def _defines(given: typing.Sequence[str]) -> dict[str, str]:
    for text in given:
        if not re.fullmatch(r"[A-Za-z_]\w*(=[\w.+-]*)?", text):
            raise AdapterError(f"--define {text!r} is not NAME or NAME=value")
    return {text.split("=")[0]: text.partition("=")[2] or "1" for text in given}


def _files(path: Path, patterns: list[str]) -> tuple[Path, ...]:
    found: dict[Path, None] = {}
    for pattern in patterns:
        matching = sorted(glob.glob(os.path.join(glob.escape(str(path.parent)), pattern), recursive=True))
        if not matching and not any(mark in pattern for mark in "*?["):
            raise AdapterError(f"{path}: [core] sources: there is no file {path.parent / pattern}")
        found |= {Path(name).resolve(): None for name in matching if Path(name).is_file()}
    if not found:
        raise AdapterError(f"{path}: [core] sources: no file matches {', '.join(patterns)} in {path.parent}")
    for file in found:
        if file.suffix not in (".v", ".sv", ".vh", ".svh"):
            raise AdapterError(f"{path}: [core] sources: {file.name} is no Verilog (.v, .sv, .vh, .svh)")
        if re.search(r'[\x00-\x1f\x7f"\\$\udc80-\udcff]', str(file)):
            raise AdapterError(
                f"{path}: [core] sources: the name {str(file)!r} has a character that a simulator cannot take: a "
                "quote, a backslash, a $, one that does not print or is not UTF-8"
            )
    return tuple(found)


def read_capabilities(table: Any, where: str) -> Capabilities:
    """Of a table of them, what is not in it by default. AdapterError, which begins with ``where``, for one that there
    is not."""
    can = _record(Capabilities, table, where)
    for name, allowed in (
        ("dataflow", [flow.name for flow in Dataflow]), ("sums", SUMS), ("relu", RELU),
        ("activations", ACTIVATIONS), ("first_row", ORDERS),
        ("first_col", ORDERS),
    ):  # fmt: skip
        if getattr(can, name) not in allowed:
            raise AdapterError(f"{where} {name} must be {', '.join(allowed)}, is {getattr(can, name)!r}")
    if can.channels not in (1, 2) or (
        can.channels == 2 and (can.act_bits % 2 or can.flow is Dataflow.output_stationary)
    ):
        raise AdapterError(
            f"{where} channels must be 1, or 2 with an even act_bits and weight_stationary; is {can.channels}"
        )
    for name in ("positions", "steps", "taps"):
        if getattr(can, name) < 0:
            raise AdapterError(f"{where} {name} must be at least 0, is {getattr(can, name)}")
    if can.psum_bits > 48:
        raise AdapterError(f"{where} psum_bits must be at most 48, is {can.psum_bits}")
    for name in ("rows", "cols", "act_bits", "wgt_bits", "psum_bits"):
        if not 1 <= getattr(can, name) <= 1024:
            raise AdapterError(f"{where} {name} must be from 1 to 1024, is {getattr(can, name)}")
    return can


def _within_memory(can: Capabilities, course: Course, path: Path) -> Capabilities:
    """Of any number of positions, those that lie before the weights. AdapterError where more are stated."""
    room = course.address.weights - course.address.activations
    if room > 0 and can.positions > room:
        raise AdapterError(
            f"{path}: [capabilities] positions = {can.positions}: from [course.address] activations = "
            f"0x{course.address.activations:x} on there are {room} words before weights = 0x{course.address.weights:x}"
        )
    return dataclasses.replace(can, positions=can.positions or room) if room > 0 else can


def _course(table: dict[str, Any], where: str) -> Course:
    parts = {name: table.pop(name, {}) for name in ("address", "timing", "bits", "set", "pins")}
    _refuse_values(parts, f"{where}.")
    _refuse_values(parts["set"], f"{where}.set.")
    course = _record(Course, table, f"{where}]")
    address = _record(Addresses, parts["address"], f"{where}.address]")
    timing = _record(Timing, parts["timing"], f"{where}.timing]")
    for name in ("xmem_to_l0", "l0_to_array", "ofifo_to_pmem", "pmem_to_acc"):
        if not 0 <= getattr(timing, name) <= MOST_LATENCY:
            raise AdapterError(f"{where}.timing] {name} must be from 0 to {MOST_LATENCY}, is {getattr(timing, name)}")
    bits = dict(CLASS_BITS)
    for name, at in parts["bits"].items():
        pair = isinstance(at, list) and len(at) == 2 and all(type(bit) is int for bit in at) and at[0] >= at[1] >= 0
        if not pair and not (type(at) is int and at >= 0):
            raise AdapterError(f"{where}.bits] {name} must be a bit or [highest, lowest], is {at!r}")
        bits[name] = at
    taken: dict[int, str] = {}
    for name, at in bits.items():
        for bit in [at] if isinstance(at, int) else range(at[1], at[0] + 1):
            if bit in taken:
                raise AdapterError(f"{where}.bits] {name} and {taken[bit]} both have bit {bit}")
            taken[bit] = name
    pins = _checked(parts["pins"], dict.fromkeys(parts["pins"], int), f"{where}.pins]")
    for phase, signals in parts["set"].items():
        if phase not in (*PHASES, ALWAYS):
            raise AdapterError(f"{where}.set] no phase {phase!r}; there are {', '.join(PHASES)}, and {ALWAYS}")
        for name in _checked(signals, dict.fromkeys(signals, int), f"{where}.set.{phase}]"):
            if name not in bits and name not in pins:
                raise AdapterError(f"{where}.set.{phase}] {name!r} is neither in the instruction nor a pin")
    if course.accumulate not in ("per_output", "in_place"):
        raise AdapterError(f'{where}] accumulate must be "per_output" or "in_place", is {course.accumulate!r}')
    if odd := [name for name in course.active_low if name not in bits]:
        raise AdapterError(f"{where}] active_low: {odd[0]!r} is not in the instruction")
    everywhere = parts["set"].get(ALWAYS, {})
    set_ = {phase: {**everywhere, **parts["set"].get(phase, {})} for phase in PHASES}
    return dataclasses.replace(course, address=address, timing=timing, bits=bits, pins=pins, set=set_)


def _refuse_values(tables: dict[str, Any], where: str) -> None:
    """AdapterError for a name that stands for a value where it is to begin a table."""
    for name, value in tables.items():
        if not isinstance(value, dict):
            raise AdapterError(f"{where}{name}] must be a table, is {value!r}")


def _record(kind: type, table: Any, where: str) -> Any:
    """A dataclass from a table, its fields checked by their annotations."""
    hints = typing.get_type_hints(kind)
    return kind(**_checked(table, hints, where))


def _checked(table: Any, kinds: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise AdapterError(f"{where} must be a table, is {table!r}")
    for name, value in table.items():
        if name not in kinds:
            raise AdapterError(f"{where} does not know {name!r}; it takes {', '.join(kinds)}")
        if not _is(value, kinds[name]):
            raise AdapterError(f"{where} {name} must be {_called(kinds[name])}, is {value!r}")
        if type(value) is int and abs(value) > 1 << 40:
            raise AdapterError(f"{where} {name} is too large: {value}")
    return table


def _is(value: Any, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return any(_is(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_is(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(item, inner[1]) for item in value.values())
    if kind is Any:
        return isinstance(value, (int, str, dict))
    return type(value) is kind


def _called(kind: Any) -> str:
    names = {int: "a whole number", str: "text", bool: "true or false"}
    if typing.get_origin(kind) is list:
        return f"a list of {names[typing.get_args(kind)[0]].removeprefix('a ')}s"
    return names.get(kind, "a table")
