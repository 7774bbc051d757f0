"""The accelerator's driver: a layer and its plan -> the descriptor, the memory that it reads, and what it writes.

Memory is little-endian: value i of a word has the bits [i*bits +: bits], word i of a beat the slot i.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model import tiling
from golden_model.accelerator.plan import Plan, PlanError, bus_bits, out_slot_bits
from golden_model.configuration import Dataflow
from golden_model.operands import Operands
from golden_model.requantise import SHORTCUT_BITS, Requantisation, WideRequantisation
from tb.accelerator.memory import activation_memory, band_bytes, pack_words, record_memory, unpack_words, weight_memory
from tb.accelerator.placement import dense

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


class Layout:
    """Where things lie: one after the other, each at a whole memory beat."""

    def __init__(self, beat: int):
        self.beat, self.top = beat, 0
        self.regions: list[Region] = []

    def reserve(self, size: int, step: int = 1) -> int:
        """The address of ``size`` bytes; a multiple of ``step``, where that is more than a memory beat."""
        address = -(-self.top // step) * step
        self.top = address + -(-size // self.beat) * self.beat
        return address

    def place(self, data: np.ndarray) -> int:
        """The address of ``data``, uint8 [n]."""
        address = self.reserve(len(data))
        self.regions.append(Region(address, data))
        return address


def compile_command(plan: Plan, operands: Operands) -> Command:
    """Descriptor and memory of a layer. PlanError where the plan was not made for these operands."""
    if (operands.requant is not None) != plan.requant:
        raise PlanError("the plan and the operands disagree about requantisation")
    check_operands(plan, operands)
    layout = Layout(bus_bits(plan.configuration) // 8)
    fields = layer_fields(
        plan, signed=operands.a_signed, bias=operands.bias is not None, residual=operands.residual is not None
    ) | {"relu": operands.relu}
    fields |= _placed_activations(plan, operands, layout)
    fields |= placed_weights(plan, operands.weight, layout)
    fields |= placed_records(plan, operands.bias, (operands.requant,), layout)
    fields |= _placed_residual(plan, operands, layout)
    placement = dense(plan, layout.top)
    out_bytes = placement.tile_stride * plan.oc_tiles
    mem_bytes = layout.top + out_bytes
    fields |= placement.fields() | {"mem_limit": mem_bytes, "irq_enable": 1}
    return Command(plan, fields, tuple(layout.regions), layout.top, out_bytes, mem_bytes)


def layer_fields(plan: Plan, *, signed: bool, bias: bool, residual: bool) -> dict[str, int]:
    """What does not depend on where things lie: what kind of layer it is, and its loops."""
    shape = plan.shape
    return _loops(plan) | {
        "dataflow": int(plan.dataflow), "simd": plan.simd, "twin": plan.twin, "act_signed": signed,
        "requant": plan.requant, "bias": bias, "residual": residual, "resident": plan.resident, "kernel": shape.kh,
        "stride": shape.stride, "padding": shape.padding, "ih": shape.ih, "iw": shape.iw, "ow": shape.ow,
        "pool": plan.pool,
        "last_channels": shape.oc - (plan.oc_tiles - 1) * plan.configuration.cols,
    }  # fmt: skip


def _loops(plan: Plan) -> dict[str, int]:
    """How far the walks go, and what each tap reads of a block."""
    last = plan.bands - 1
    fields = {
        "pitch": plan.pitch, "bands": plan.bands, "oc_tiles": plan.oc_tiles, "band_rows": plan.band_rows,
        "last_rows": plan.last_rows, "positions": plan.positions(0), "last_positions": plan.positions(last),
        "o_tiles": plan.o_tiles(0), "last_o_tiles": plan.o_tiles(last), "ic_words": plan.ic_words,
        "slots": plan.slots, "block_words": plan.block_words, "act_beats": plan.segment_words // plan.words_per_beat,
        "act_segments": plan.segments, "act_repeats": plan.act_repeats, "wgt_pass_words": plan.pass_words,
        "wgt_chunk_words": plan.chunk_words, "out_words": plan.out_words(0), "last_out_words": plan.out_words(last),
    }  # fmt: skip
    ws = plan.dataflow is Dataflow.weight_stationary
    group, of_phase = (1, plan.segment_words) if ws else (plan.configuration.rows, plan.ic_words)
    for index in range(TAPS):
        offset = rotation = 0
        if index < len(plan.taps):
            tap = plan.taps[index]
            place, rotation = divmod(plan.lead + tap.distance, group)
            offset = tap.phase * of_phase + place * plan.group_words
        fields |= {f"tap_offset{index}": offset, f"tap_rot{index}": rotation}
    return fields


def _placed_activations(plan: Plan, operands: Operands, layout: Layout) -> dict[str, int]:
    act = activation_memory(plan, operands.activation)  # [tiles, segments, bytes]
    return read_fields(plan, layout.place(act.reshape(-1)), act.shape[1:])


def read_fields(plan: Plan, address: int, sizes: tuple[int, ...]) -> dict[str, int]:
    """Where the activations are read; ``sizes``: segments of a tile, bytes of a segment."""
    segments, size = sizes
    return {
        "act_base": address, "act_segment_stride": size, "act_tile_stride": segments * size,
        "act_band_stride": band_bytes(plan),
    }  # fmt: skip


def placed_weights(plan: Plan, weight: np.ndarray, layout: Layout) -> dict[str, int]:
    chunks = weight_memory(plan, weight)  # [oc_tiles, bytes]
    return {
        "wgt_base": layout.place(chunks.reshape(-1)), "wgt_beats": chunks.shape[1] // layout.beat,
        "wgt_chunk_stride": chunks.shape[1],
    }  # fmt: skip


def placed_records(
    plan: Plan, bias: np.ndarray | None, requants: tuple[Requantisation | None, ...], layout: Layout
) -> dict[str, int]:
    """Bias and requantisations, of a second output too, those that there are."""
    c, fields = plan.configuration, {}
    if bias is None and requants[0] is None:
        return fields
    fields["record_base"] = layout.place(record_memory(plan, bias, requants))
    for prefix, requant in zip(("", "second_"), requants, strict=False):
        if requant is None:
            continue
        wide = isinstance(requant, WideRequantisation)
        if not wide and requant.bits not in (c.act_bits, c.act_bits / 2):
            raise PlanError(f"{c.name} requantises to {c.act_bits} or {c.act_bits // 2} bits, not {requant.bits}")
        if wide and (requant.bits != SHORTCUT_BITS):
            raise PlanError(f"the accelerator's wide outputs have {SHORTCUT_BITS} bits, not {requant.bits}")
        fields |= {
            f"{prefix}shift": requant.shift, f"{prefix}half": not wide and requant.bits != c.act_bits,
            f"{prefix}wide": wide, f"{prefix}negative": wide and requant.signed,
        }  # fmt: skip
    return fields


def _placed_residual(plan: Plan, operands: Operands, layout: Layout) -> dict[str, int]:
    if operands.residual is None:
        return {}
    c = plan.configuration
    by_channel = operands.residual.reshape(plan.shape.oc, -1)
    words = tiling.by_tile(by_channel, plan.oc_tiles, c.cols)  # [oc_tile, position, col]
    data = pack_words(words.reshape(-1, c.cols), 32, bus_bits(c))
    return {
        "residual_base": layout.place(data), "residual_tile_stride": len(data) // plan.oc_tiles,
        "residual_band_stride": plan.positions(0) * layout.beat if plan.bands > 1 else 0,
    }  # fmt: skip


def check_operands(plan: Plan, operands: Operands) -> None:
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
        words = unpack_words(data, c.cols, c.act_bits, out_slot_bits(c), signed=False)
    else:
        words = unpack_words(data, c.cols, 32, bus_bits(c), signed=True)
    oh, ow = (shape.oh // 2, shape.ow // 2) if plan.pool else (shape.oh, shape.ow)
    words = words.reshape(plan.oc_tiles, -1, c.cols)[:, : oh * ow]
    return words.swapaxes(1, 2).reshape(-1, oh, ow)[: shape.oc]
