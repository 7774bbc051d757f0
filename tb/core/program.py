"""A layer as streams of micro-operations for the core: what to write where, what to read when, what to do with psums.

``compile_layer`` walks the loops of a dataflow once and gives, for each stream of ``core.v``, its items in order.
Memories are used as rings of blocks: a block is written when a pass first needs it, stays while there is room, and is
written again when a later pass needs it once more. So a layer of any size runs through memories of any depth, and while
everything fits nothing is written twice. Which write must wait for which read, and the other way round, is in the
``after`` lists: item i of a stream may be offered once the partner stream has moved ``after[i]`` items.

The loops                                    one pass
  WS  oc_tile, band, ic_tile, kij, o_nij     the positions of a band: what the psum memory takes
  OS  o_tile, oc_tile, k = (ic, kij)         all k of ROWS positions and COLS output channels

In a2w4 a row takes two channels at once: an ic_tile has 2*ROWS of them, row r the channels 2r (low half of the
activation, lower weight of the field) and 2r+1, and k = (ic // 2, kij). A channel that an odd count lacks is zero.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Hashable

import numpy as np

from golden_model import tiling
from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.layer import for_core
from golden_model.operands import Operands
from golden_model.tiling import ConvShape
from tb.parts.lanes import pack_lanes


class ProgramError(ValueError):
    """A layer that the configuration's memories cannot run; the message names the depth that would do."""


@dataclasses.dataclass
class Stream:
    """Items of one stream, and for each the number of items its partner must have moved before."""

    items: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    after: list[int] = dataclasses.field(default_factory=list)

    def extend(self, items: list[tuple[int, ...]], after: int | list[int]) -> None:
        self.items.extend(items)
        self.after.extend([after] * len(items) if isinstance(after, int) else after)

    def __len__(self) -> int:
        return len(self.items)


# Stream of writes, stream of the operations that read what was written
PARTNERS = {"act_wr": "act_op", "wgt_wr": "wgt_op"}
FIELDS = {
    "act_wr": ("addr", "data"),
    "wgt_wr": ("addr", "data"),
    "res": ("data",),
    "act_op": ("addr", "next", "rot", "pad", "start", "last"),
    "wgt_op": ("addr",),
    "sfp_op": ("acc", "res", "store", "emit", "relu", "raddr", "waddr"),
}
WS_PSUM = ("oc_tile", "ic_tile", "kij", "o_nij", "nij")
OS_PSUM = ("oc_tile", "o_tile", "row", "o_nij")
OUTPUT = ("oc_tile", "o_nij")


@dataclasses.dataclass
class Program:
    """A compiled layer.

    ``psum_labels`` and ``output_labels`` are the coordinates of every word of the psum and out stream in the order in
    which they leave: int [words, names]. o_nij is -1 for a row without a position.
    """

    shape: ConvShape
    dataflow: Dataflow
    precision: Precision
    configuration: Configuration
    streams: dict[str, Stream]
    psum_names: tuple[str, ...]
    psum_labels: np.ndarray
    output_labels: np.ndarray
    passes: int

    @property
    def operations(self) -> int:
        """Cycles in which an activation enters the array."""
        return len(self.streams["act_op"])


class Ring:
    """Places blocks in a memory of ``depth`` words, the oldest making room for the newest."""

    def __init__(self, depth: int):
        self.depth = depth
        self.head = 0
        self.resident: deque[tuple[Hashable, int, int]] = deque()  # key, first word, size
        self.last_use: dict[Hashable, int] = {}

    def find(self, key: Hashable) -> int | None:
        """First word of a block that is still there."""
        return next((base for k, base, _ in self.resident if k == key), None)

    def place(self, key: Hashable, size: int) -> tuple[int, int]:
        """Room for a new block: its first word, and the number of reads after which that room is free."""
        if self.head + size > self.depth:
            self.head = 0
        base, self.head = self.head, self.head + size
        free_after = 0
        for block in [b for b in self.resident if b[1] < base + size and base < b[1] + b[2]]:
            self.resident.remove(block)
            free_after = max(free_after, self.last_use.pop(block[0], 0))
        self.resident.append((key, base, size))
        return base, free_after


class _Memory:
    """One memory with its stream of writes and its stream of operations."""

    def __init__(self, depth: int, writes: Stream, operations: Stream, bits: int):
        self.ring, self.writes, self.operations, self.bits = Ring(depth), writes, operations, bits
        self.written: dict[Hashable, int] = {}  # writes before the block's first one

    def block(self, key: Hashable, words: np.ndarray) -> int:
        """First address of a block with these words [n, lanes], written now unless it is still there."""
        base = self.ring.find(key)
        if base is None:
            base, free_after = self.ring.place(key, len(words))
            data = pack_lanes(words, self.bits)
            self.written[key] = len(self.writes)
            self.writes.extend([(base + i, word) for i, word in enumerate(data)], free_after)
        return base

    def operate(self, key: Hashable, items: list[tuple[int, ...]], words: list[int]) -> None:
        """Operations on a block; ``words``: the word of the block that each reads, which must have been written."""
        written = self.written[key]
        self.operations.extend(items, [written + word + 1 for word in words])
        self.ring.last_use[key] = len(self.operations)


def compile_layer(operands: Operands, configuration: Configuration, dataflow: Dataflow) -> Program:
    """Program of a layer.

    Raises ProgramError when a single row of a map or a single pass does not fit a memory, ConfigurationError for a2w4
    where SIMD is 0, and ValueError for operands that are too wide for their lanes, and for what the core cannot do.
    """
    for_core(operands)
    shape, precision = operands.shape, operands.precision
    streams = {name: Stream() for name in FIELDS}
    c = configuration
    act = _Memory(c.act_depth, streams["act_wr"], streams["act_op"], c.act_width(precision))
    ws = dataflow is Dataflow.weight_stationary
    # A single weight is extended over its field; the hardware looks at the lower part only.
    in_field = precision.channels * (c.fields_used(precision) if ws else 1)
    wgt = _Memory(c.wgt_depth, streams["wgt_wr"], streams["wgt_op"], c.wgt_field // in_field)
    compiled = _compile_ws if ws else _compile_os
    psum_names, psum_labels, output_labels, passes = compiled(shape, operands, precision.channels, c, act, wgt, streams)
    return Program(shape, dataflow, precision, c, streams, psum_names, psum_labels, output_labels, passes)


def _residual_words(residual: np.ndarray, oc_tile: int, cols: int, o_nij: np.ndarray) -> np.ndarray:
    """[positions, cols] of a residual [OC, OH, OW], zero for channels that do not exist."""
    channels = residual.reshape(residual.shape[0], -1)[oc_tile * cols : (oc_tile + 1) * cols]
    words = np.zeros((len(o_nij), cols), np.int64)
    words[:, : len(channels)] = channels[:, o_nij].T
    return words


def _pass_flags(n: int) -> tuple[np.ndarray, np.ndarray]:
    """start and last flags [n] of the operands of one pass."""
    start, last = np.zeros(n, np.int64), np.zeros(n, np.int64)
    start[0] = last[-1] = 1
    return start, last


def _bands(shape: ConvShape, ic_tiles: int, c: Configuration) -> list[range]:
    """Output positions in bands: a band's psums fit the psum memory, its input rows the activation memory."""
    # Half a memory where not everything fits, so that the next block is written while this one is read.
    everything = ic_tiles * shape.ih * shape.iw
    input_rows = (c.act_depth if everything <= c.act_depth else c.act_depth // 2) // shape.iw
    if input_rows < min(shape.kh, shape.ih):
        input_rows = c.act_depth // shape.iw
    if input_rows < min(shape.kh, shape.ih):
        raise ProgramError(
            f"ACT_DEPTH = {c.act_depth} of {c.name} does not hold the input rows that one output row reads; "
            f"this layer needs {min(shape.kh, shape.ih) * shape.iw}"
        )
    rows = shape.oh if shape.ih <= input_rows else (input_rows - shape.kh) // shape.stride + 1
    positions = c.psum_depth
    if positions >= shape.ow:
        limit = min(rows, positions // shape.ow) * shape.ow
        return [range(first, min(first + limit, shape.n_o_nij)) for first in range(0, shape.n_o_nij, limit)]
    # Parts of rows: every row is cut alike, so that no band touches two.
    return [
        range(row * shape.ow + first, row * shape.ow + min(first + positions, shape.ow))
        for row in range(shape.oh)
        for first in range(0, shape.ow, positions)
    ]


@dataclasses.dataclass(frozen=True)
class _Window:
    """What each tap reads: ``position`` [kij, o_nij] of the input map, and ``inside``, False where it is padding."""

    nij: np.ndarray
    position: np.ndarray
    inside: np.ndarray

    @classmethod
    def of(cls, shape: ConvShape) -> _Window:
        nij = tiling.nij_index(shape)
        pi, pj = np.divmod(nij, shape.padded_w)
        ii, ij = pi - shape.padding, pj - shape.padding
        inside = (ii >= 0) & (ii < shape.ih) & (ij >= 0) & (ij < shape.iw)
        return cls(nij, np.where(inside, ii * shape.iw + ij, 0), inside)

    def used(self, o_nij: np.ndarray) -> np.ndarray:
        """Positions that outputs ``o_nij`` read, in that order: no pass waits for a word that it does not need."""
        read, first = np.unique(self.position[:, o_nij][self.inside[:, o_nij]], return_index=True)
        return read[np.argsort(first)]


def _ws_weight_words(weight: np.ndarray, c: Configuration, precision: Precision) -> np.ndarray:
    """[oc_tile, ic_tile, kij, load, lane]: the weights of a row together, WGT_LANES fields of columns or channels."""
    channels = precision.channels
    tiles = tiling.weight_tiles(weight, c.rows * channels, c.cols).transpose(1, 0, 2, 4, 3)
    n_loads = c.load_words(precision)
    # [.., load, column of a field, field, row, channel] -> [.., load, row, field, column of a field, channel]
    split = tiles.reshape(*tiles.shape[:3], n_loads, c.fields_used(precision), c.wgt_lanes, c.rows, channels)
    return split.transpose(0, 1, 2, 3, 6, 5, 4, 7).reshape(*tiles.shape[:3], n_loads, -1)


def _ws_pass(there: np.ndarray, word: np.ndarray, base: int, rows: int) -> list[tuple[int, ...]]:
    """act_op of one pass: the word of the block at ``base`` that each position reads, zeros where none is there."""
    start, last = _pass_flags(len(there))
    zero = np.zeros(len(there), np.int64)
    addr, pad = np.where(there, base + word, 0), np.where(there, 0, (1 << rows) - 1)
    return list(zip(*(field.tolist() for field in (addr, zero, zero, pad, start, last)), strict=True))


def _compile_ws(shape, operands, channels, c, act, wgt, streams):
    unpadded = dataclasses.replace(shape, padding=0, kh=1, kw=1, stride=1)
    # [ic_tile, ij, (row, channel)]
    act_words = tiling.activation_tiles(operands.activation, unpadded, c.rows * channels).swapaxes(1, 2)
    wgt_words = _ws_weight_words(operands.weight, c, operands.precision)
    oc_tiles, ic_tiles, n_kij, n_loads = wgt_words.shape[:4]
    window, residual, relu = _Window.of(shape), operands.residual, int(operands.relu)
    psums = Ring(c.psum_depth)
    psum_labels, output_labels, passes = [], [], 0

    for oc_tile in range(oc_tiles):
        for band, positions in enumerate(_bands(shape, ic_tiles, c)):
            o_nij = np.arange(positions.start, positions.stop)
            n = len(o_nij)
            used = window.used(o_nij)
            word_of = np.full(shape.ih * shape.iw, -1)
            word_of[used] = np.arange(len(used))
            psum_base = psums.place((oc_tile, band), n)[0]  # the first pass only stores: nothing to wait for
            if residual is not None:
                words = _residual_words(residual, oc_tile, c.cols, o_nij)
                streams["res"].extend([(word,) for word in pack_lanes(words, c.psum_bits)], 0)
            output_labels.append(np.stack([np.full(n, oc_tile), o_nij], axis=1))

            for ic_tile in range(ic_tiles):
                for kij in range(n_kij):
                    act_key, wgt_key = ("act", ic_tile, band), ("wgt", oc_tile, ic_tile, kij)
                    act_base = act.block(act_key, act_words[ic_tile, used])
                    wgt_base = wgt.block(wgt_key, wgt_words[oc_tile, ic_tile, kij])
                    wgt.operate(wgt_key, [(wgt_base + i,) for i in range(n_loads)], list(range(n_loads)))
                    there = window.inside[kij, o_nij]
                    word = np.where(there, word_of[window.position[kij, o_nij]], -1)  # padding waits for nothing
                    act.operate(act_key, _ws_pass(there, word, act_base, c.rows), word.tolist())
                    first_pass, last_pass = ic_tile == kij == 0, ic_tile == ic_tiles - 1 and kij == n_kij - 1
                    with_residual = first_pass and residual is not None
                    flags = (int(not first_pass), int(with_residual), int(not last_pass), int(last_pass), relu)
                    streams["sfp_op"].extend([(*flags, a, a) for a in range(psum_base, psum_base + n)], 0)
                    tile = np.broadcast_to([oc_tile, ic_tile, kij], (n, 3))
                    psum_labels.append(np.column_stack([tile, o_nij, window.nij[kij, o_nij]]))
                    passes += 1
    return WS_PSUM, np.concatenate(psum_labels), np.concatenate(output_labels), passes


def _compile_os(shape, operands, channels, c, act, wgt, streams):
    weight, activation, residual, relu = operands.weight, operands.activation, operands.residual, operands.relu
    act_words = tiling.os_activation_tiles(activation, shape, c.rows)  # [o_tile, (ic, kij), row]
    wgt_words = tiling.os_weight_tiles(weight, c.cols)  # [oc_tile, (ic, kij), col]
    act_words, wgt_words = (tiling.os_channel_groups(words, shape.n_kij, channels) for words in (act_words, wgt_words))
    o_tiles, n_k = act_words.shape[:2]
    act_words = act_words.reshape(o_tiles, n_k, -1)  # [o_tile, k, (row, channel)]
    wgt_words = wgt_words.reshape(len(wgt_words), n_k, -1)
    chunk = max(1, min(n_k, c.act_depth // 2, c.wgt_depth // 2))  # a long pass is read in parts
    start, last = _pass_flags(n_k)
    psum_labels, output_labels, passes = [], [], 0

    for o_tile in range(o_tiles):
        o_nij = o_tile * c.rows + np.arange(c.rows)
        o_nij = np.where(o_nij < shape.n_o_nij, o_nij, -1)
        for oc_tile in range(len(wgt_words)):
            for k in range(0, n_k, chunk):
                part = slice(k, min(k + chunk, n_k))
                act_key, wgt_key = ("act", o_tile, k), ("wgt", oc_tile, k)
                act_base = act.block(act_key, act_words[o_tile, part])
                wgt_base = wgt.block(wgt_key, wgt_words[oc_tile, part])
                n = part.stop - part.start
                words = list(range(n))
                wgt.operate(wgt_key, [(wgt_base + i,) for i in words], words)
                flags = zip(start[part].tolist(), last[part].tolist(), strict=True)
                act.operate(act_key, [(act_base + i, 0, 0, 0, *flag) for i, flag in enumerate(flags)], words)
            there = o_nij >= 0
            if residual is not None:
                words = _residual_words(residual, oc_tile, c.cols, o_nij[there])
                streams["res"].extend([(word,) for word in pack_lanes(words, c.psum_bits)], 0)
            keep, drop = (0, int(residual is not None), 0, 1, int(relu), 0, 0), (0,) * 7
            streams["sfp_op"].extend([keep if row else drop for row in there], 0)
            tile = np.broadcast_to([oc_tile, o_tile], (c.rows, 2))
            psum_labels.append(np.column_stack([tile, np.arange(c.rows), o_nij]))
            output_labels.append(np.column_stack([np.full(c.rows, oc_tile), o_nij])[there])
            passes += 1
    return OS_PSUM, np.concatenate(psum_labels), np.concatenate(output_labels), passes
