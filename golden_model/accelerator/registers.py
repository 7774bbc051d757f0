"""The accelerator's register map: addresses and fields for the driver, its Verilog, and ``rtl/README.md``'s tables.

``rtl/accelerator/registers.toml`` is the source of all; ``make registers`` writes ``rtl/accelerator/registers.v`` and
the tables anew.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from golden_model.configuration import read_toml

LAYER = "layer"  # access of the registers that a list in memory holds
WRITTEN = ("rw", LAYER)  # access of the registers that the host writes
RTL = Path(__file__).resolve().parents[2] / "rtl"
SOURCE = RTL / "accelerator" / "registers.toml"
VERILOG = RTL / "accelerator" / "registers.v"
DOCUMENT = RTL / "README.md"
ERRORS = {
    0: "none",
    1: "a size, count or length is zero",
    2: "the kernel is neither 1x1 nor 3x3",
    3: "the stride is neither 1 nor 2",
    4: "the padding is neither 0 nor 1",
    5: "an address is misaligned or outside the memory, from the start or where a walk leads",
    6: "a block, pass or row does not fit its memory",
    7: "a mode that was not built in, or one that needs another (pool: requant; twin: dataflow 1, one oc_tile of at "
    "most COLS/2 channels, even o_tiles)",
    8: "the bus answered with an error",
    9: "nothing moved for WATCHDOG cycles: the descriptor contradicts itself, or the memory does not answer; "
    "busy beside it: not even the abort ends, reset both",
}
_TEMPLATE = """// registers: the accelerator's registers behind an AXI4-Lite port. make registers writes this file;
// registers.toml is the one to edit.
//
// Place     : AXI4-Lite -> registers -> accelerator.
// Latency   : a write is answered one cycle after address and data are both there, a read after one cycle.
// Refuses   : byte strobes other than all ones, and addresses beyond the map, with SLVERR; nothing is written then.
// locked    : writes of the host's registers are ignored, so that a running layer keeps its descriptor.
// load      : a layer's registers take what a list in memory holds for it, the first word lowest.

`default_nettype none

module registers #(
    parameter ADDR_BITS = $address_bits   // derived, do not set
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        locked,
    input  wire        load,
    input  wire [$layer_bits-1:0] loaded,

    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [ADDR_BITS-1:0] s_axil_awaddr,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    output reg         s_axil_bvalid,
    input  wire        s_axil_bready,
    output reg  [1:0]  s_axil_bresp,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    input  wire [ADDR_BITS-1:0] s_axil_araddr,
    output reg         s_axil_rvalid,
    input  wire        s_axil_rready,
    output reg  [31:0] s_axil_rdata,
    output reg  [1:0]  s_axil_rresp,

$ports
);
    localparam [ADDR_BITS-3:0] LAST = $last;

    wire                 taken   = s_axil_awvalid & s_axil_wvalid & (~s_axil_bvalid | s_axil_bready);
    wire [ADDR_BITS-3:0] wr_addr = s_axil_awaddr[ADDR_BITS-1:2];
    wire [31:0]          wr_data = s_axil_wdata;
    wire                 refused = wr_addr > LAST | ~&s_axil_wstrb;
    wire                 wr      = taken & ~refused;
    assign s_axil_awready = taken;
    assign s_axil_wready  = taken;

    wire                 asked   = s_axil_arvalid & s_axil_arready;
    wire [ADDR_BITS-3:0] rd_addr = s_axil_araddr[ADDR_BITS-1:2];
    assign s_axil_arready = ~s_axil_rvalid | s_axil_rready;

    reg [31:0] rd_word;
    always @(*)
        case (rd_addr)
$reads
            default: rd_word = 32'd0;
        endcase

    always @(posedge clk) begin
        if (reset) begin
            s_axil_bvalid <= 1'b0;
            s_axil_rvalid <= 1'b0;
$no_pulses
        end else begin
            if (taken)              s_axil_bvalid <= 1'b1;
            else if (s_axil_bready) s_axil_bvalid <= 1'b0;
            if (asked)              s_axil_rvalid <= 1'b1;
            else if (s_axil_rready) s_axil_rvalid <= 1'b0;
$pulses
        end
        if (taken) s_axil_bresp <= {refused, 1'b0};
        if (asked) begin
            s_axil_rdata <= rd_word;
            s_axil_rresp <= {rd_addr > LAST, 1'b0};
        end

        if (reset) begin
$resets
        end else if (load) begin
$loads
        end else if (wr & ~locked) begin
            case (wr_addr)
$writes
                default: ;
            endcase
        end
    end

    wire unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0], loaded};
endmodule

`default_nettype wire
"""


class RegisterError(ValueError):
    """A field that does not exist or a value that its field cannot hold."""


@dataclasses.dataclass(frozen=True)
class Register:
    """32 bits at byte ``address``; ``fields`` are (name, width) from bit 0 upwards, widths in bits."""

    name: str
    address: int
    access: str
    about: str
    fields: tuple[tuple[str, int], ...]


@functools.cache
def register_map() -> tuple[Register, ...]:
    """All registers in the order of their addresses; one of ``count`` n appears n times, as name0, name1, ...

    RegisterError says what is wrong with the file.
    """
    entries = read_toml(SOURCE, RegisterError).get("register")
    if not isinstance(entries, list) or not entries:
        raise RegisterError(f"{SOURCE}: it has no [[register]]; take the file from git again")
    result: list[Register] = []
    for number, entry in enumerate(entries, 1):
        _check_entry(f"{SOURCE.name}: register {number}", entry)
        count = entry.get("count", 1)
        for index in range(count):
            suffix = str(index) if count > 1 else ""
            fields = tuple((name + suffix, bits) for name, bits in entry["fields"].items())
            result.append(Register(entry["name"] + suffix, 4 * len(result), entry["access"], entry["about"], fields))
    names = [name for register in result for name, _ in register.fields]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RegisterError(f"{SOURCE.name}: there are several fields {twice[0]}")
    return tuple(result)


def _check_entry(where: str, entry: Any) -> None:
    """RegisterError where a [[register]] of the file is not one."""
    texts = {"name": r"[A-Za-z]\w*", "access": "rw|layer|ro|wo", "about": "(?s).*"}
    for key, pattern in texts.items():
        value = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            like = "text" if key == "about" else f"text like {pattern}"
            raise RegisterError(f"{where}: {key} must be {like}, is {value!r}")
    if unknown := set(entry) - {*texts, "fields", "count"}:
        raise RegisterError(f"{where}, {entry['name']}: does not know {', '.join(sorted(unknown))}")
    count, fields = entry.get("count", 1), entry.get("fields")
    if not _is_whole(count) or not 1 <= count <= 64:
        raise RegisterError(f"{where}, {entry['name']}: count must be a whole number from 1 to 64, is {count!r}")
    if not isinstance(fields, dict) or not fields or not all(re.fullmatch(texts["name"], name) for name in fields):
        raise RegisterError(f"{where}, {entry['name']}: fields must be a table of names with their bits, is {fields!r}")
    if not all(_is_whole(bits) and bits >= 1 for bits in fields.values()) or sum(fields.values()) > 32:
        raise RegisterError(f"{where}, {entry['name']}: fields must have at least 1 bit each and 32 together: {fields}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def encode(values: dict[str, int]) -> dict[int, int]:
    """Field values -> {byte address: 32-bit word} of every register that the host writes; fields not named are 0,
    negative ones wrap.

    Raises RegisterError for an unknown field or a value beyond its width.
    """
    left = dict(values)
    words = {}
    for register in register_map():
        if register.access not in WRITTEN:
            continue
        word, low = 0, 0
        for name, bits in register.fields:
            value = int(left.pop(name, 0))
            if not -(1 << (bits - 1)) <= value < 1 << bits:
                raise RegisterError(f"{name} = {value} does not fit its {bits} bits in register {register.name}")
            word |= (value & ((1 << bits) - 1)) << low
            low += bits
        words[register.address] = word
    if left:
        raise RegisterError(f"no register has a field {', '.join(sorted(left))}")
    return words


def layer_words(values: dict[str, int]) -> list[int]:
    """Field values -> the 32-bit words of a layer in a list, in their order. RegisterError as ``encode``."""
    words = encode(values)
    return [words[register.address] for register in register_map() if register.access == LAYER]


def decode(words: dict[int, int]) -> dict[str, int]:
    """{byte address: 32-bit word} -> unsigned values of all fields of these registers."""
    values = {}
    for register in register_map():
        if register.address in words:
            word = words[register.address]
            for name, bits in register.fields:
                values[name] = word & ((1 << bits) - 1)
                word >>= bits
    return values


def address_of(register: str) -> int:
    """Byte address of a register by its name; RegisterError when there is none."""
    for entry in register_map():
        if entry.name == register:
            return entry.address
    raise RegisterError(f"no register is called {register}")


def name_at(address: int) -> str:
    """The name of the register at a byte address, or the address where there is none."""
    return next((entry.name for entry in register_map() if entry.address == address), f"0x{address:02x}")


def markdown() -> str:
    """The map as a Markdown table."""
    lines = ["| address | register | access | bits | about |", "|---|---|---|---|---|"]
    for register in register_map():
        low, bits = 0, []
        for name, width in register.fields:
            bits.append(f"`{name}` {low + width - 1}:{low}" if width > 1 else f"`{name}` {low}")
            low += width
        lines.append(
            " | ".join(
                (f"| 0x{register.address:02x}", register.name, register.access, ", ".join(bits), f"{register.about} |")
            )
        )
    return "\n".join(lines) + "\n"


def verilog() -> str:
    """The text of ``rtl/accelerator/registers.v``."""
    registers = register_map()
    address_bits = max(3, (4 * len(registers) - 1).bit_length())
    index_bits = address_bits - 2
    written = [r for r in registers if r.access in WRITTEN]
    layer = [r for r in registers if r.access == LAYER]
    acting = [r for r in registers if r.access == "wo"]
    pulses = [name for register in acting for name, _ in register.fields]
    lines = {
        "ports": ",\n".join(_port(name, bits, r.access) for r in registers for name, bits in r.fields),
        "reads": "\n".join(_read(r, index_bits) for r in registers if r.access != "wo"),
        "writes": "\n".join(_write(r, index_bits) for r in written),
        "resets": "\n".join(f"            {name} <= {bits}'d0;" for r in written for name, bits in r.fields),
        "pulses": "\n".join(_pulse(r, index_bits) for r in acting),
        "loads": "\n".join(_load(r, index) for index, r in enumerate(layer)),
        "no_pulses": "\n".join(f"            {name} <= 1'b0;" for name in pulses),
    }
    last = f"{index_bits}'d{len(registers) - 1}"
    return string.Template(_TEMPLATE).substitute(
        lines, address_bits=address_bits, last=last, layer_bits=32 * len(layer)
    )


def _port(name: str, bits: int, access: str) -> str:
    kind = "input  wire" if access == "ro" else "output reg "
    return f"    {kind} {f'[{bits - 1}:0]':7} {name}"


def _index(register: Register, index_bits: int) -> str:
    return f"{index_bits}'d{register.address // 4}"


def _load(register: Register, index: int) -> str:
    low, taken = 32 * index, []
    for name, bits in register.fields:
        taken.append(f"{name} <= loaded[{low} +: {bits}];")
        low += bits
    return f"            {' '.join(taken)}"


def _pieces(register: Register) -> Iterator[tuple[str, str]]:
    """Each field with the bits of a written word that are its."""
    low = 0
    for name, bits in register.fields:
        yield name, f"wr_data[{low + bits - 1}:{low}]" if bits > 1 else f"wr_data[{low}]"
        low += bits


def _write(register: Register, index_bits: int) -> str:
    taken = " ".join(f"{name} <= {piece};" for name, piece in _pieces(register))
    return f"                {_index(register, index_bits)}: begin {taken} end"


def _pulse(register: Register, index_bits: int) -> str:
    here = f"wr & wr_addr == {_index(register, index_bits)}"
    return "\n".join(f"            {name} <= {here} & {piece};" for name, piece in _pieces(register))


def _read(register: Register, index_bits: int) -> str:
    """The word that is read: the fields, the first lowest, below zeros."""
    used = sum(bits for _, bits in register.fields)
    zeros = [f"{32 - used}'d0"] if used < 32 else []
    fields = [name for name, _ in reversed(register.fields)]
    return f"            {_index(register, index_bits)}: rd_word = {{{', '.join(zeros + fields)}}};"


def documented(text: str) -> str:
    """The text of ``rtl/README.md`` with its tables of registers and errors renewed."""
    errors = ["| error | meaning |", "|---|---|", *(f"| {code} | {told} |" for code, told in ERRORS.items())]
    for name, table in (("registers", markdown()), ("errors", "\n".join(errors) + "\n")):
        begin, end = text.index(f"<!-- {name}: begin"), text.index(f"<!-- {name}: end -->")
        begin = text.index("\n", begin) + 1
        text = text[:begin] + table + text[end:]
    return text
