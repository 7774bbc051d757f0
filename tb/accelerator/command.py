"""The accelerator's driver: a layer and its plan -> the descriptor, the memory that it reads, and what it writes.

Memory is little-endian: value i of a word has the bits [i*bits +: bits], word i of a beat the slot i.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model import tiling
from golden_model.accelerator.plan import Plan, PlanError, bus_bits, slot_bits
from golden_model.configuration import Dataflow
from golden_model.operands import Operands
from tb.accelerator.memory import activation_memory, band_bytes, pack_words, record_memory, unpack_words, weight_memory


@dataclasses.dataclass(frozen=True)
class Region:
    """Bytes at ``address``: uint8 [n]."""

    address: int
    data: np.ndarray


@dataclasses.dataclass(frozen=True)
class Command:
    """What the host writes: register fields, and memory; ``out_bytes`` at ``out_base`` are the accelerator's."""

    plan: Plan
    fields: dict[str, int]
    regions: tuple[Region, ...]
    out_base: int
    out_bytes: int
    mem_bytes: int


def compile_command(plan: Plan, operands: Operands) -> Command:
    """Descriptor and memory of a layer. PlanError where the plan was not made for these operands."""
    c, shape = plan.configuration, plan.shape
    bias, residual, requant = operands.bias, operands.residual, operands.requant
    if (requant is not None) != plan.requant:
        raise PlanError("the plan and the operands disagree about requantisation")
    _check_operands(plan, operands)
    beat = bus_bits(c) // 8
    ws = plan.dataflow is Dataflow.weight_stationary
    regions: list[Region] = []
    top = 0

    def place(data: np.ndarray) -> int:
        nonlocal top
        address, top = top, top + -(-len(data) // beat) * beat
        regions.append(Region(address, data))
        return address

    act = activation_memory(plan, operands.activation)  # [tiles, segments, bytes]
    act_base = place(act.reshape(-1))
    chunks = weight_memory(plan, operands.weight)  # [oc_tiles, bytes]
    wgt_base = place(chunks.reshape(-1))
    fields = {
        "dataflow": int(plan.dataflow), "simd": plan.simd, "act_signed": operands.a_signed, "relu": operands.relu,
        "requant": plan.requant, "pool": plan.pool, "bias": bias is not None, "residual": residual is not None,
        "resident": plan.resident, "kernel": shape.kh, "stride": shape.stride, "padding": shape.padding,
        "ih": shape.ih, "iw": shape.iw, "ow": shape.ow, "pitch": plan.pitch, "bands": plan.bands,
        "oc_tiles": plan.oc_tiles, "band_rows": plan.band_rows, "last_rows": plan.last_rows,
        "positions": plan.positions(0), "last_positions": plan.positions(plan.bands - 1),
        "o_tiles": plan.o_tiles(0), "last_o_tiles": plan.o_tiles(plan.bands - 1), "ic_words": plan.ic_words,
        "slots": plan.slots, "block_words": plan.block_words, "act_beats": plan.segment_words // plan.words_per_beat,
        "act_base": act_base, "act_segments": len(plan.phases), "act_repeats": plan.act_repeats,
        "act_segment_stride": act.shape[2], "act_tile_stride": act.shape[1] * act.shape[2],
        "act_band_stride": band_bytes(plan), "wgt_base": wgt_base, "wgt_pass_words": plan.pass_words,
        "wgt_chunk_words": plan.chunk_words, "wgt_beats": chunks.shape[1] // beat, "wgt_chunk_stride": chunks.shape[1],
    }  # fmt: skip
    for index, tap in enumerate(plan.taps):
        at = plan.lead + tap.distance
        group = 1 if ws else c.rows
        per_group = 1 if ws else plan.ic_words
        fields[f"tap_offset{index}"] = tap.segment * plan.segment_words + at // group * per_group
        fields[f"tap_rot{index}"] = at % group
    for index in range(len(plan.taps), 9):
        fields[f"tap_offset{index}"] = fields[f"tap_rot{index}"] = 0

    if bias is not None or requant is not None:
        fields["record_base"] = place(record_memory(plan, bias, requant))
    if requant is not None:
        fields["shift"] = requant.shift
        fields["half"] = requant.bits != c.act_bits
        if requant.bits not in (c.act_bits, c.act_bits / 2):
            raise PlanError(f"{c.name} requantises to {c.act_bits} or {c.act_bits // 2} bits, not {requant.bits}")
    if residual is not None:
        words = tiling.by_tile(residual.reshape(shape.oc, -1), plan.oc_tiles, c.cols)  # [oc_tile, position, col]
        data = pack_words(words.reshape(-1, c.cols), 32, bus_bits(c))
        fields["residual_base"] = place(data)
        fields["residual_tile_stride"] = len(data) // plan.oc_tiles
        fields["residual_band_stride"] = plan.positions(0) * beat
    per_beat = plan.out_words_per_beat
    out_words = plan.out_words(0) * (plan.bands - 1) + plan.out_words(plan.bands - 1)
    plane = -(-out_words // per_beat) * beat
    out_base = top
    fields |= {
        "out_base": out_base, "out_tile_stride": plane, "out_band_stride": plan.out_words(0) // per_beat * beat,
        "out_words": plan.out_words(0), "last_out_words": plan.out_words(plan.bands - 1),
        "out_beats": -(-plan.out_words(0) // per_beat),
        "last_out_beats": -(-plan.out_words(plan.bands - 1) // per_beat),
        "mem_limit": out_base + plane * plan.oc_tiles, "irq_enable": 1,
    }  # fmt: skip
    return Command(plan, fields, tuple(regions), out_base, plane * plan.oc_tiles, out_base + plane * plan.oc_tiles)


def _check_operands(plan: Plan, operands: Operands) -> None:
    """PlanError for an operand of another shape than the plan's, or a value that its field in memory would cut."""
    c, shape = plan.configuration, plan.shape
    weight, activation, bias, residual = operands.weight, operands.activation, operands.bias, operands.residual
    requant = operands.requant
    for name, array, wanted in (
        ("weight", weight, (shape.oc, shape.ic, shape.kh, shape.kw)),
        ("activation", activation, (shape.ic, shape.ih, shape.iw)),
        ("bias", bias, (shape.oc,)),
        ("residual", residual, (shape.oc, shape.oh, shape.ow)),
        ("multiplier", None if requant is None else requant.multiplier, (shape.oc,)),
        ("offset", None if requant is None else requant.offset, (shape.oc,)),
    ):
        if array is not None and np.shape(array) != wanted:
            raise PlanError(f"{name} has the shape {list(np.shape(array))}, the layer needs {list(wanted)}")
    act_bits, half = c.act_bits // plan.ic_group, "half of " if plan.simd else ""
    for name, array, bits, signed, why in (
        ("weight", weight, c.wgt_bits, True, f"WGT_BITS = {c.wgt_bits} of {c.name}"),
        ("activation", activation, act_bits, operands.a_signed, f"{half}ACT_BITS = {c.act_bits} of {c.name}"),
        ("bias", bias, c.psum_bits, True, f"PSUM_BITS = {c.psum_bits} of {c.name}"),
        ("residual", residual, c.psum_bits, True, f"PSUM_BITS = {c.psum_bits} of {c.name}"),
    ):  # fmt: skip
        if array is None:
            continue
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        least, most = int(np.min(array)), int(np.max(array))
        if least < low or most > high:
            field = f"{low}..{high} of {bits} {'signed' if signed else 'unsigned'} bits ({why})"
            raise PlanError(f"{name} has values {least}..{most}, beyond the {field}")


def outputs_of(command: Command, data: np.ndarray) -> np.ndarray:
    """What the accelerator wrote, uint8 [out_bytes], -> int64 [OC, OH, OW] (pooled: [OC, OH//2, OW//2])."""
    plan, shape = command.plan, command.plan.shape
    c = plan.configuration
    if plan.requant:
        slot = slot_bits(c.cols, c.act_bits)
        words = unpack_words(data, c.cols, c.act_bits, slot, signed=False)
    else:
        words = unpack_words(data, c.cols, 32, bus_bits(c), signed=True)
    oh, ow = (shape.oh // 2, shape.ow // 2) if plan.pool else (shape.oh, shape.ow)
    words = words.reshape(plan.oc_tiles, -1, c.cols)[:, : oh * ow]
    return words.swapaxes(1, 2).reshape(-1, oh, ow)[: shape.oc]
