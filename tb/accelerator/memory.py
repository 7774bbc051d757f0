"""How a layer lies in the accelerator's memory.

Memory is little-endian: value i of a word has the bits [i*bits +: bits], word i of a beat the slot i.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from golden_model import tiling
from golden_model.accelerator.plan import Phases, Plan, bus_bits, slot_bits
from golden_model.configuration import Dataflow
from golden_model.requantise import Requantisation


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


def _pairs(values: np.ndarray, bits: int) -> np.ndarray:
    """[channels, ...] -> [pairs, ...]: channels 2i and 2i+1 in the low and high ``bits`` of one value (a2w4)."""
    if len(values) % 2:
        values = np.concatenate([values, np.zeros_like(values[:1])])
    mask = (1 << bits) - 1
    return (values[0::2] & mask) | (values[1::2] & mask) << bits


def band_bytes(plan: Plan) -> int:
    """Bytes between the blocks of two bands."""
    if plan.bands == 1:
        return 0
    group = 1 if plan.dataflow is Dataflow.weight_stationary else plan.configuration.rows
    words = plan.band_rows * plan.pitch // group * plan.group_words
    return words // plan.words_per_beat * bus_bits(plan.configuration) // 8


def noise(like: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """int64 values of ``bits``, other ones for other operands: what lies where nothing must be read, or count.

    Zeros there would be what padding is, and hide that it is read.
    """
    return np.random.default_rng(zlib.crc32(like.tobytes())).integers(0, 1 << bits, shape)


def activation_memory(plan: Plan, activation: np.ndarray, phases: Phases | None = None) -> np.ndarray:
    """uint8 [tiles, segments, bytes]: the map in the order in which the plan's walk reads it, noise around it.

    phases: WS: more of them than the plan reads.
    """
    c, shape = plan.configuration, plan.shape
    values = activation.astype(np.int64)
    if plan.simd:
        values = _pairs(values, c.act_bits // 2)
    s = shape.stride
    planes = []
    for y, x in phases or plan.phases:
        phase = values[:, y::s, x::s]
        rows = max(-(-plan.plane_values // plan.pitch) + 1, phase.shape[1])
        flat = noise(activation, c.act_bits, (len(values), plan.lead + rows * plan.pitch))
        grid = flat[:, plan.lead :].reshape(len(values), rows, plan.pitch)
        grid[:, : phase.shape[1], : phase.shape[2]] = phase
        flat[:, plan.lead :] = grid.reshape(len(values), -1)
        planes.append(flat[:, : plan.plane_values])
    planes = np.stack(planes)  # [phase, channel, value]
    slot = slot_bits(c.rows, c.act_bits)
    if plan.dataflow is Dataflow.weight_stationary:
        # [tile, segment, value, row]
        words = np.stack([tiling.by_tile(plane, plan.ic_tiles, c.rows) for plane in planes], axis=1)
        absent = np.arange(plan.ic_tiles * c.rows).reshape(-1, 1, 1, c.rows) >= len(values)  # their weights are 0
        words = np.where(absent, noise(activation, c.act_bits, words.shape), words)
    else:
        n = planes.shape[2]
        groups = -(-n // c.rows)
        padded = noise(activation, c.act_bits, (*planes.shape[:2], groups * c.rows))
        padded[:, :, :n] = planes
        words = padded.reshape(*planes.shape[:2], groups, c.rows).transpose(2, 0, 1, 3)  # [group, phase, channel, row]
        words = words.reshape(1, 1, -1, c.rows)
    tiles, segments, n_words, _ = words.shape
    of_beats = -(-n_words // plan.words_per_beat) * plan.words_per_beat
    whole = noise(activation, c.act_bits, (tiles, segments, of_beats, c.rows))
    whole[:, :, :n_words] = words
    return pack_words(whole.reshape(-1, c.rows), c.act_bits, slot).reshape(tiles, segments, -1)


def activations_of(plan: Plan, data: np.ndarray, phases: Phases | None = None) -> np.ndarray:
    """The inverse: uint8 [tiles, segments, bytes] -> int64 [IC, IH, IW], unsigned."""
    c, shape, s = plan.configuration, plan.shape, plan.shape.stride
    phases = phases or plan.phases
    tiles, segments, _ = data.shape
    words = unpack_words(data.reshape(-1), c.rows, c.act_bits, slot_bits(c.rows, c.act_bits), signed=False)
    words = words.reshape(tiles, segments, -1, c.rows)
    if plan.dataflow is Dataflow.weight_stationary:
        planes = words.transpose(1, 0, 3, 2).reshape(segments, tiles * c.rows, -1)  # [phase, channel, value]
    else:
        groups = words.shape[2] // plan.group_words
        planes = words[0, 0, : groups * plan.group_words].reshape(groups, len(phases), plan.ic_words, c.rows)
        planes = planes.transpose(1, 2, 0, 3).reshape(len(phases), plan.ic_words, -1)
    if plan.simd:
        half = c.act_bits // 2
        pairs = np.stack([planes & ((1 << half) - 1), planes >> half], axis=2)
        planes = pairs.reshape(len(phases), -1, planes.shape[2])
    values = np.zeros((shape.ic, shape.ih, shape.iw), np.int64)
    for (y, x), plane in zip(phases, planes, strict=True):
        part = values[:, y::s, x::s]
        if part.size:
            grid = plane[: shape.ic, plan.lead : plan.lead + part.shape[1] * plan.pitch]
            missing = part.shape[1] * plan.pitch - grid.shape[1]  # of the last row, what lies beyond the map
            grid = np.pad(grid, ((0, 0), (0, missing)))
            part[:] = grid.reshape(shape.ic, part.shape[1], plan.pitch)[:, :, : part.shape[2]]
    return values


def weight_memory(plan: Plan, weight: np.ndarray) -> np.ndarray:
    """uint8 [oc_tiles, bytes]: each oc_tile's chunk, whole beats."""
    c, shape = plan.configuration, plan.shape
    group = plan.ic_group
    channels = plan.ic_words * group * (c.rows if plan.dataflow is Dataflow.weight_stationary else 1)
    padded = np.zeros((plan.oc_tiles * c.cols, channels, shape.n_kij), np.int64)
    padded[: shape.oc, : shape.ic] = weight.reshape(shape.oc, shape.ic, -1)
    if plan.twin:  # both halves of the columns
        padded[c.cols // 2 : c.cols // 2 + shape.oc] = padded[: shape.oc]
    if plan.dataflow is Dataflow.weight_stationary:
        # [oc_tile, word, columns of a field, lane, ic_tile, row, channel, kij]
        split = padded.reshape(
            plan.oc_tiles, plan.load_words, -1, c.wgt_lanes, plan.ic_tiles, c.rows, group, shape.n_kij
        )
        # -> [oc_tile, ic_tile, kij, word, row, lane, column of a field, channel]
        words = split.transpose(0, 4, 7, 1, 5, 3, 2, 6).reshape(plan.oc_tiles, plan.pass_words, -1)
    else:
        # [oc_tile, col, word, field, kij] -> [oc_tile, word, kij, col, field]
        split = padded.reshape(plan.oc_tiles, c.cols, plan.ic_words, group, shape.n_kij)
        words = split.transpose(0, 2, 4, 1, 3).reshape(plan.oc_tiles, plan.pass_words, -1)
    whole = noise(weight, c.wgt_bits, (plan.oc_tiles, plan.chunk_words, words.shape[2]))
    whole[:, : plan.pass_words] = words
    data = pack_words(whole.reshape(-1, words.shape[2]), c.wgt_bits, plan.weight_slot_bits)
    return data.reshape(plan.oc_tiles, -1)


def record_memory(plan: Plan, bias: np.ndarray | None, requants: Sequence[Requantisation | None]) -> np.ndarray:
    """uint8: four beats for each oc_tile, seven with a second output, see rtl/accelerator/coefficients.v."""
    c = plan.configuration
    lanes = bus_bits(c) // 32
    records = np.zeros((plan.oc_tiles, 1 + 3 * len(requants), lanes), np.int64)

    def put(beat: int, values: np.ndarray) -> None:
        padded = np.zeros(plan.oc_tiles * c.cols, np.int64)
        padded[: len(values)] = values
        records[:, beat, : c.cols] = padded.reshape(plan.oc_tiles, c.cols)

    if bias is not None:
        put(0, np.asarray(bias))
    for index, requant in enumerate(requants):
        if requant is None:
            continue
        rounding = 1 << (requant.shift - 1) if requant.shift else 0
        offset = np.asarray(requant.offset, np.int64) + rounding
        put(3 * index + 1, np.asarray(requant.multiplier))
        put(3 * index + 2, offset & 0xFFFFFFFF)
        put(3 * index + 3, (offset >> 32) & 0xFFFF)
    return (records & 0xFFFFFFFF).astype("<u4").view(np.uint8).reshape(-1)
