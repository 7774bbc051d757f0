"""The accelerator's driver: a layer and its plan -> the descriptor, the memory that it reads, and what it writes.

Memory is little-endian: value i of a word has the bits [i*bits +: bits], word i of a beat the slot i.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model import tiling
from golden_model.accelerator.plan import Plan, PlanError, bus_bits, slot_bits
from golden_model.configuration import Dataflow


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


def pack_words(values: np.ndarray, bits: int, slot: int) -> np.ndarray:
    """Integers [words, lanes] -> uint8 [words * slot / 8]: ``bits`` a lane, two's complement, zeros up to the slot."""
    words, lanes = values.shape
    if bits == 4 and slot % 8 == 0:
        even = np.zeros((words, slot // 4), np.uint8)
        even[:, :lanes] = values & 15
        return (even[:, 0::2] | even[:, 1::2] << 4).reshape(-1)
    if bits == 32:
        wide = np.zeros((words, slot // 32), np.int32)
        wide[:, :lanes] = values
        return wide.astype("<i4").view(np.uint8).reshape(-1)
    spread = np.zeros((words, slot), np.uint8)
    spread[:, : lanes * bits] = ((values[:, :, None] >> np.arange(bits)) & 1).reshape(words, lanes * bits)
    return np.packbits(spread.reshape(-1), bitorder="little")


def unpack_words(data: np.ndarray, lanes: int, bits: int, slot: int, signed: bool) -> np.ndarray:
    """The inverse: uint8 [n] -> int64 [words, lanes]."""
    if bits == 32:
        return data.view("<i4").reshape(-1, slot // 32)[:, :lanes].astype(np.int64)
    spread = np.unpackbits(data, bitorder="little").reshape(-1, slot)[:, : lanes * bits]
    weights = np.left_shift(np.int64(1), np.arange(bits, dtype=np.int64))
    if signed:
        weights[-1] = -weights[-1]
    return spread.reshape(-1, lanes, bits).astype(np.int64) @ weights


def compile_command(
    plan: Plan,
    weight: np.ndarray,
    activation: np.ndarray,
    *,
    a_signed: bool = False,
    relu: bool = True,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
    requant=None,
) -> Command:
    """Descriptor and memory of weight [OC, IC, KH, KW] on activation [IC, H, W].

    bias [OC] and residual [OC, OH, OW] are in psum scale. requant: golden_model.requantise.Requantisation, None for
    raw psums. PlanError where the plan was not made for these operands.
    """
    c, shape = plan.configuration, plan.shape
    if (requant is not None) != plan.requant:
        raise PlanError("the plan and the operands disagree about requantisation")
    _check_operands(plan, weight, activation, a_signed, bias, residual, requant)
    beat = bus_bits(c) // 8
    ws = plan.dataflow is Dataflow.weight_stationary
    regions: list[Region] = []
    top = 0

    def place(data: np.ndarray) -> int:
        nonlocal top
        address, top = top, top + -(-len(data) // beat) * beat
        regions.append(Region(address, data))
        return address

    act = _activation_memory(plan, activation)  # [tiles, segments, bytes]
    act_base = place(act.reshape(-1))
    chunks = _weight_memory(plan, weight)  # [oc_tiles, bytes]
    wgt_base = place(chunks.reshape(-1))
    fields = {
        "dataflow": int(plan.dataflow), "simd": plan.simd, "act_signed": a_signed, "relu": relu,
        "requant": plan.requant, "pool": plan.pool, "bias": bias is not None, "residual": residual is not None,
        "resident": plan.resident, "kernel": shape.kh, "stride": shape.stride, "padding": shape.padding,
        "ih": shape.ih, "iw": shape.iw, "ow": shape.ow, "pitch": plan.pitch, "bands": plan.bands,
        "oc_tiles": plan.oc_tiles, "band_rows": plan.band_rows, "last_rows": plan.last_rows,
        "positions": plan.positions(0), "last_positions": plan.positions(plan.bands - 1),
        "o_tiles": plan.o_tiles(0), "last_o_tiles": plan.o_tiles(plan.bands - 1), "ic_words": plan.ic_words,
        "slots": plan.slots, "block_words": plan.block_words, "act_beats": plan.segment_words // plan.words_per_beat,
        "act_base": act_base, "act_segments": len(plan.phases), "act_repeats": plan.act_repeats,
        "act_segment_stride": act.shape[2], "act_tile_stride": act.shape[1] * act.shape[2],
        "act_band_stride": _band_bytes(plan), "wgt_base": wgt_base, "wgt_pass_words": plan.pass_words,
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
        fields["record_base"] = place(_record_memory(plan, bias, requant))
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


def _check_operands(plan: Plan, weight, activation, a_signed, bias, residual, requant) -> None:
    """PlanError for an operand of another shape than the plan's, or a value that its field in memory would cut."""
    c, shape = plan.configuration, plan.shape
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
        ("activation", activation, act_bits, a_signed, f"{half}ACT_BITS = {c.act_bits} of {c.name}"),
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


def _pairs(values: np.ndarray, bits: int) -> np.ndarray:
    """[channels, ...] -> [pairs, ...]: channels 2i and 2i+1 in the low and high ``bits`` of one value (a2w4)."""
    if len(values) % 2:
        values = np.concatenate([values, np.zeros_like(values[:1])])
    mask = (1 << bits) - 1
    return (values[0::2] & mask) | (values[1::2] & mask) << bits


def _band_bytes(plan: Plan) -> int:
    """Bytes between the blocks of two bands."""
    if plan.bands == 1:
        return 0
    group, per_group = (
        (1, 1) if plan.dataflow is Dataflow.weight_stationary else (plan.configuration.rows, plan.ic_words)
    )
    words = plan.band_rows * plan.pitch // group * per_group
    return words // plan.words_per_beat * bus_bits(plan.configuration) // 8


def _activation_memory(plan: Plan, activation: np.ndarray) -> np.ndarray:
    """uint8 [tiles, segments, bytes]: the map in the order in which the plan's walk reads it."""
    c, shape = plan.configuration, plan.shape
    values = activation.astype(np.int64)
    if plan.simd:
        values = _pairs(values, c.act_bits // 2)
    s = shape.stride
    planes = []
    for y, x in plan.phases:
        phase = values[:, y::s, x::s]
        grid = np.zeros(
            (len(values), max(-(-plan.plane_values // plan.pitch) + 1, phase.shape[1]), plan.pitch), np.int64
        )
        grid[:, : phase.shape[1], : phase.shape[2]] = phase
        flat = grid.reshape(len(values), -1)
        flat = np.concatenate([np.zeros((len(values), plan.lead), np.int64), flat], axis=1)
        planes.append(flat[:, : plan.plane_values])
    planes = np.stack(planes)  # [segment, channel, value]
    slot = slot_bits(c.rows, c.act_bits)
    if plan.dataflow is Dataflow.weight_stationary:
        words = np.stack([tiling.by_tile(plane, plan.ic_tiles, c.rows) for plane in planes], axis=1)
        tiles = plan.ic_tiles  # words [tile, segment, value, row]
    else:
        n = planes.shape[2]
        groups = -(-n // c.rows)
        padded = np.zeros((*planes.shape[:2], groups * c.rows), np.int64)
        padded[:, :, :n] = planes
        words = padded.reshape(*planes.shape[:2], groups, c.rows).swapaxes(1, 2)  # [segment, group, channel, row]
        words = words.reshape(1, len(planes), -1, c.rows)
        tiles = 1
    n_words = -(-words.shape[2] // plan.words_per_beat) * plan.words_per_beat
    whole = np.zeros((tiles, len(planes), n_words, c.rows), np.int64)
    whole[:, :, : words.shape[2]] = words
    return pack_words(whole.reshape(-1, c.rows), c.act_bits, slot).reshape(tiles, len(planes), -1)


def _weight_memory(plan: Plan, weight: np.ndarray) -> np.ndarray:
    """uint8 [oc_tiles, bytes]: each oc_tile's chunk, whole beats."""
    c, shape = plan.configuration, plan.shape
    group = plan.ic_group
    channels = plan.ic_words * group * (c.rows if plan.dataflow is Dataflow.weight_stationary else 1)
    padded = np.zeros((plan.oc_tiles * c.cols, channels, shape.n_kij), np.int64)
    padded[: shape.oc, : shape.ic] = weight.reshape(shape.oc, shape.ic, -1)
    if plan.dataflow is Dataflow.weight_stationary:
        # [oc_tile, word, lane, ic_tile, row, field, kij] -> [oc_tile, ic_tile, kij, word, row, lane, field]
        split = padded.reshape(
            plan.oc_tiles, c.cols // c.wgt_lanes, c.wgt_lanes, plan.ic_tiles, c.rows, group, shape.n_kij
        )
        words = split.transpose(0, 3, 6, 1, 4, 2, 5).reshape(plan.oc_tiles, plan.pass_words, -1)
    else:
        # [oc_tile, col, word, field, kij] -> [oc_tile, word, kij, col, field]
        split = padded.reshape(plan.oc_tiles, c.cols, plan.ic_words, group, shape.n_kij)
        words = split.transpose(0, 2, 4, 1, 3).reshape(plan.oc_tiles, plan.pass_words, -1)
    whole = np.zeros((plan.oc_tiles, plan.chunk_words, words.shape[2]), np.int64)
    whole[:, : plan.pass_words] = words
    data = pack_words(whole.reshape(-1, words.shape[2]), c.wgt_bits, plan.weight_slot_bits)
    return data.reshape(plan.oc_tiles, -1)


def _record_memory(plan: Plan, bias: np.ndarray | None, requant) -> np.ndarray:
    """uint8: four beats for each oc_tile, see rtl/accelerator/coefficients.v."""
    c = plan.configuration
    lanes = bus_bits(c) // 32
    records = np.zeros((plan.oc_tiles, 4, lanes), np.int64)

    def put(beat: int, values: np.ndarray) -> None:
        padded = np.zeros(plan.oc_tiles * c.cols, np.int64)
        padded[: len(values)] = values
        records[:, beat, : c.cols] = padded.reshape(plan.oc_tiles, c.cols)

    if bias is not None:
        put(0, np.asarray(bias))
    if requant is not None:
        rounding = 1 << (requant.shift - 1) if requant.shift else 0
        offset = np.asarray(requant.offset, np.int64) + rounding
        put(1, np.asarray(requant.multiplier))
        put(2, offset & 0xFFFFFFFF)
        put(3, (offset >> 32) & 0xFFFF)
    return (records & 0xFFFFFFFF).astype("<u4").view(np.uint8).reshape(-1)
