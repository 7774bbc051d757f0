"""A reading in words: how files were understood, and how two readings differ."""

from __future__ import annotations

import math

from golden_model.configuration import Dataflow
from golden_model.raw.readings import Reading
from golden_model.raw.table import Table


def understood(reading: Reading) -> list[str]:
    """How the files were read, a line each."""
    r = reading
    act, wgt, out = r.act.first, r.wgt.first, r.out.first

    def width(bits: int, words: int, table: Table) -> str:
        return f"{table.lines} lines of {words} " + (f"x {bits} bits" if bits else "numbers")

    def header(table: Table) -> str:
        return f", {table.header} header line{'s' * (table.header > 1)}" if table.header else ""

    several = f"{len(r.act.tables)} files of " if len(r.act.tables) > 1 else ""
    sign = "two's complement" if r.signed else "unsigned"
    lines = [f"{r.act.name}: {several}{width(r.act_bits, r.rows, act)}, {sign}{header(act)}"]
    s = r.shape
    if r.flow is Dataflow.output_stationary:
        lines[0] += f"; a line a step, a word a row (output){r.order}"
        lines[0] += ", row 0 first" if r.rows_reversed else ""
        last = "first" if r.columns_reversed else "last"
        lines.append(
            f"{r.wgt.name}: {width(r.wgt_bits, wgt.width // (r.wgt_bits or 1), wgt)}{header(wgt)}; col 0 {last}"
        )
        lines.append(f"{r.out.name}: {width(r.psum_bits, r.cols, out)}{header(out)}; a line a row")
        return lines
    border = ", its border of zeros included" if r.bordered else f", padding {r.padding}" if r.padding else ""
    stride = f", stride {r.stride}" if r.stride > 1 else ""
    lines[0] += f"; a {s.ih}x{s.iw} map{border}{stride}"
    files = f"{len(r.wgt.tables)} files of " if len(r.wgt.tables) > 1 else ""
    words = wgt.width // (r.wgt_bits or 1)
    cols = "the last col first" if r.columns_reversed else "col 0 first"
    rows = "row 0 first" if r.rows_reversed else "the last row first"
    pairing = f", {r.pairing}" if r.pairing else ""
    spare = f", {r.spare} more at the end of each not read" if r.spare else ""
    taps = f"; {s.kh}x{s.kw} taps, {cols}, {rows}{pairing}{spare}"
    lines.append(f"{r.wgt.name}: {files}{width(r.wgt_bits, words, wgt)}{header(wgt)}{taps}")
    channels = len(r.weight) // len(r.out.tables)
    several = f"{len(r.out.tables)} files of " if len(r.out.tables) > 1 else ""
    lines.append(f"{r.out.name}: {several}{width(r.psum_bits, channels, out)}{header(out)}; a {s.oh}x{s.ow} map")
    return lines


def order(reading: Reading) -> tuple[bool, bool, str]:
    return reading.rows_reversed, reading.columns_reversed, reading.pairing


def frame(reading: Reading) -> tuple[object, ...]:
    r = reading
    return r.act_bits, r.wgt_bits, r.psum_bits, r.activation.shape, r.weight.shape, r.padding, r.stride, r.signed


def order_words(reading: Reading) -> str:
    rows = "row 0 first in a weight line" if reading.rows_reversed else "the last row first in a weight line"
    cols = "the last col's line first" if reading.columns_reversed else "col 0's line first"
    return f"{rows}, {cols}" + (f", {reading.pairing}" if reading.pairing else "")


def order_option(other: Reading, mine: Reading) -> str:
    options = []
    if other.rows_reversed != mine.rows_reversed:
        options.append("--rows-reversed or --no-rows-reversed")
    if other.columns_reversed != mine.columns_reversed:
        options.append("--columns-reversed or --no-columns-reversed")
    return " and ".join(options) or "nothing here, both give the same sums, so it"


def frame_words(reading: Reading) -> str:
    r, s = reading, reading.shape
    sign = "signed" if r.signed else "unsigned"
    return (
        f"{r.rows} x {r.act_bits} bits {sign}, {s.ih}x{s.iw} map, {s.kh}x{s.kw} kernel, padding {s.padding}, "
        f"stride {s.stride}, {r.cols} cols"
    )


def frame_option(other: Reading, mine: Reading) -> str:
    names = ("act_bits", "wgt_bits", "padding", "stride", "signed")
    differing = [name for name in names if getattr(other, name) != getattr(mine, name)]
    if other.shape.ih != mine.shape.ih:
        differing.append("map")
    if other.shape.kh != mine.shape.kh:
        differing.append("kernel")
    return " and ".join(differing) or "weight or activation"


def size(number: int) -> str:
    """A count of lines as a map, where it is a square one."""
    side = math.isqrt(number)
    return f"{number} lines, a {side}x{side} map" if side * side == number else f"{number} lines"
