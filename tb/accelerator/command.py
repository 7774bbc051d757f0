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

TAPS = 9  # whose places the descriptor has


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


class _Layout:
    """Where things lie: one after the other, each at a whole memory beat."""

    def __init__(self, beat: int):
        self.beat, self.top = beat, 0
        self.regions: list[Region] = []

    def place(self, data: np.ndarray) -> int:
        """The address of ``data``, uint8 [n]."""
        address, self.top = self.top, self.top + -(-len(data) // self.beat) * self.beat
        self.regions.append(Region(address, data))
        return address


def compile_command(plan: Plan, operands: Operands) -> Command:
    """Descriptor and memory of a layer. PlanError where the plan was not made for these operands."""
    if (operands.requant is not None) != plan.requant:
        raise PlanError("the plan and the operands disagree about requantisation")
    _check_operands(plan, operands)
    layout = _Layout(bus_bits(plan.configuration) // 8)
    fields = _loops(plan) | _kind(plan, operands)
    fields |= _placed_operands(plan, operands, layout)
    fields |= _placed_output_stage(plan, operands, layout)
    out_base, plane = layout.top, _plane_bytes(plan)
    out_bytes = plane * plan.oc_tiles
    fields |= _outputs(plan, plane) | {"out_base": out_base, "mem_limit": out_base + out_bytes, "irq_enable": 1}
    return Command(plan, fields, tuple(layout.regions), out_base, out_bytes, out_base + out_bytes)


def _kind(plan: Plan, operands: Operands) -> dict[str, int]:
    """What kind of layer it is."""
    shape = plan.shape
    return {
        "dataflow": int(plan.dataflow), "simd": plan.simd, "act_signed": operands.a_signed, "relu": operands.relu,
        "requant": plan.requant, "pool": plan.pool, "bias": operands.bias is not None,
        "residual": operands.residual is not None, "resident": plan.resident, "kernel": shape.kh,
        "stride": shape.stride, "padding": shape.padding, "ih": shape.ih, "iw": shape.iw, "ow": shape.ow,
    }  # fmt: skip


def _loops(plan: Plan) -> dict[str, int]:
    """How far the walks go, and what each tap reads of a block."""
    last = plan.bands - 1
    fields = {
        "pitch": plan.pitch, "bands": plan.bands, "oc_tiles": plan.oc_tiles, "band_rows": plan.band_rows,
        "last_rows": plan.last_rows, "positions": plan.positions(0), "last_positions": plan.positions(last),
        "o_tiles": plan.o_tiles(0), "last_o_tiles": plan.o_tiles(last), "ic_words": plan.ic_words,
        "slots": plan.slots, "block_words": plan.block_words, "act_beats": plan.segment_words // plan.words_per_beat,
        "act_segments": len(plan.phases), "act_repeats": plan.act_repeats, "wgt_pass_words": plan.pass_words,
        "wgt_chunk_words": plan.chunk_words,
    }  # fmt: skip
    ws = plan.dataflow is Dataflow.weight_stationary
    group, per_group = (1, 1) if ws else (plan.configuration.rows, plan.ic_words)
    for index in range(TAPS):
        offset = rotation = 0
        if index < len(plan.taps):
            tap = plan.taps[index]
            place, rotation = divmod(plan.lead + tap.distance, group)
            offset = tap.segment * plan.segment_words + place * per_group
        fields |= {f"tap_offset{index}": offset, f"tap_rot{index}": rotation}
    return fields


def _placed_operands(plan: Plan, operands: Operands, layout: _Layout) -> dict[str, int]:
    act = activation_memory(plan, operands.activation)  # [tiles, segments, bytes]
    chunks = weight_memory(plan, operands.weight)  # [oc_tiles, bytes]
    return {
        "act_base": layout.place(act.reshape(-1)), "act_segment_stride": act.shape[2],
        "act_tile_stride": act.shape[1] * act.shape[2], "act_band_stride": band_bytes(plan),
        "wgt_base": layout.place(chunks.reshape(-1)), "wgt_beats": chunks.shape[1] // layout.beat,
        "wgt_chunk_stride": chunks.shape[1],
    }  # fmt: skip


def _placed_output_stage(plan: Plan, operands: Operands, layout: _Layout) -> dict[str, int]:
    """Bias, requantisation and residual, those that there are."""
    c, requant, fields = plan.configuration, operands.requant, {}
    if operands.bias is not None or requant is not None:
        fields["record_base"] = layout.place(record_memory(plan, operands.bias, requant))
    if requant is not None:
        if requant.bits not in (c.act_bits, c.act_bits / 2):
            raise PlanError(f"{c.name} requantises to {c.act_bits} or {c.act_bits // 2} bits, not {requant.bits}")
        fields |= {"shift": requant.shift, "half": requant.bits != c.act_bits}
    if operands.residual is not None:
        by_channel = operands.residual.reshape(plan.shape.oc, -1)
        words = tiling.by_tile(by_channel, plan.oc_tiles, c.cols)  # [oc_tile, position, col]
        data = pack_words(words.reshape(-1, c.cols), 32, bus_bits(c))
        fields |= {
            "residual_base": layout.place(data), "residual_tile_stride": len(data) // plan.oc_tiles,
            "residual_band_stride": plan.positions(0) * layout.beat,
        }  # fmt: skip
    return fields


def _plane_bytes(plan: Plan) -> int:
    """Bytes of an oc_tile's outputs."""
    words = plan.out_words(0) * (plan.bands - 1) + plan.out_words(plan.bands - 1)
    return -(-words // plan.out_words_per_beat) * bus_bits(plan.configuration) // 8


def _outputs(plan: Plan, plane: int) -> dict[str, int]:
    first, last, per_beat = plan.out_words(0), plan.out_words(plan.bands - 1), plan.out_words_per_beat
    return {
        "out_tile_stride": plane, "out_band_stride": first // per_beat * bus_bits(plan.configuration) // 8,
        "out_words": first, "last_out_words": last, "out_beats": -(-first // per_beat),
        "last_out_beats": -(-last // per_beat),
    }  # fmt: skip


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
