"""How the accelerator runs a layer: dataflow, bands, blocks of its memories, and the loops over them.

A :class:`Plan` is what the descriptor, the cycle model and the memory layout are derived from. Terms:

position   output positions are counted on a grid of ``pitch`` columns, v = oi*pitch + oj, on which the input of every
           tap is the position moved by a constant. With stride 2 the input is stored as phases (y mod 2, x mod 2), and
           a tap reads one of them, again at a constant distance.
segment    WS: one phase of a block; stride 1, or a 1x1 kernel, has one. OS: a block is one segment.
block      what the activation memory takes at once: WS one ic_tile of a band, OS all channels of a band.
band       whole output rows, as many as the memories take.
twin       OS, up to COLS/2 channels: the upper half of the columns works on the next tile of outputs, see core.v.
group      OS: the ROWS consecutive values of one channel in a word. A block has group after group, so that the first
           pass begins when the first groups are there; in a group lie phase after phase, in those the channels.
"""

from __future__ import annotations

import dataclasses
import math

from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.tiling import ConvShape, tile_count

Phases = tuple[tuple[int, int], ...]
POOL_DEPTH = 64  # accelerator.v's parameter, half of the longest row that can be pooled


class PlanError(ValueError):
    """A layer that the accelerator cannot run as asked; the message says which limit it meets."""


def slot_bits(lanes: int, bits: int) -> int:
    """Bits that a word of ``lanes`` values takes in memory: the next power of two."""
    return 1 << (lanes * bits - 1).bit_length()


def bus_bits(c: Configuration) -> int:
    """Width of the memory bus: 32 bits a column, the columns rounded up to a power of two."""
    return 32 << (c.cols - 1).bit_length()


def out_slot_bits(c: Configuration) -> int:
    """Bits that a word of COLS activations takes as an output: whole bytes."""
    return max(8, slot_bits(c.cols, c.act_bits))


def gather_cycles(c: Configuration) -> int:
    """Cycles in which os_rows looks at the positions of a tile."""
    return c.rows // 2 if c.rows % 2 == 0 else c.rows


@dataclasses.dataclass(frozen=True)
class Tap:
    """Where tap ``kij`` reads: ``phase``, by its number, and ``distance`` values from the position on the grid."""

    phase: int
    distance: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """One layer on one configuration. Sizes in words of the activation memory unless they say otherwise."""

    shape: ConvShape
    configuration: Configuration
    dataflow: Dataflow
    simd: bool
    pool: bool
    requant: bool
    pitch: int  # columns of the position grid
    phases: Phases  # (y, x), in the order of first use
    taps: tuple[Tap, ...]
    bands: int
    band_rows: int
    last_rows: int
    lead: int  # values before a band's first position that its block begins with
    segment_values: int  # values of one phase of a block, on the grid
    segment_words: int  # whole memory beats
    plane_values: int  # values of one phase of the whole map in memory, the lead included
    slots: int
    resident: bool
    pass_words: int  # weight words of a chunk
    chunk_words: int  # with the filling of the last beat
    twin: bool  # OS: two tiles of outputs at once

    @property
    def ic_group(self) -> int:
        """Input channels a row works on at once: 2 in a2w4."""
        return self.precision.channels

    @property
    def precision(self) -> Precision:
        return Precision(int(self.simd))

    @property
    def load_words(self) -> int:
        """WS: words, and cycles, in which the weights of a pass load; OS: none do beforehand."""
        return self.configuration.load_words(self.precision) if self.dataflow is Dataflow.weight_stationary else 0

    @property
    def ic_tiles(self) -> int:
        return tile_count(self.shape.ic, self.configuration.rows * self.ic_group)

    @property
    def oc_tiles(self) -> int:
        return tile_count(self.shape.oc, self.configuration.cols)

    @property
    def ic_words(self) -> int:
        """WS: ic_tiles; OS: words of a phase of a group, one for each channel (or pair)."""
        if self.dataflow is Dataflow.weight_stationary:
            return self.ic_tiles
        return tile_count(self.shape.ic, self.ic_group)

    @property
    def group_words(self) -> int:
        """OS: words of a group, all phases; WS: 1."""
        return _group_words(self.dataflow, self.phases, self.ic_words)

    @property
    def plane_beats(self) -> int:
        """Memory beats of one segment of the whole map."""
        group = 1 if self.dataflow is Dataflow.weight_stationary else self.configuration.rows
        return tile_count(tile_count(self.plane_values, group) * self.group_words, self.words_per_beat)

    @property
    def segments(self) -> int:
        """Segments of a block."""
        return _segments(self.dataflow, self.phases)

    @property
    def block_words(self) -> int:
        return self.segments * self.segment_words

    @property
    def act_repeats(self) -> int:
        """How often a band's blocks are loaded."""
        return 1 if self.resident or self.dataflow is Dataflow.output_stationary else self.oc_tiles

    def rows_of(self, band: int) -> int:
        """Output rows of a band."""
        return self.last_rows if band == self.bands - 1 else self.band_rows

    def positions(self, band: int) -> int:
        """Output positions of a band."""
        return self.rows_of(band) * self.shape.ow

    def o_tiles(self, band: int) -> int:
        """OS: groups of ROWS positions on the grid that a band's outputs touch; twin: an even number of them."""
        rows = self.configuration.rows * self.tiles_at_once
        return tile_count((self.rows_of(band) - 1) * self.pitch + self.shape.ow, rows) * self.tiles_at_once

    @property
    def tiles_at_once(self) -> int:
        """OS: o_tiles of a pass."""
        return 2 if self.twin else 1

    def out_words(self, band: int) -> int:
        """Output words of an oc_tile in a band."""
        if self.pool:
            return (self.rows_of(band) // 2) * (self.shape.ow // 2)
        return self.positions(band)

    @property
    def words_per_beat(self) -> int:
        """Activation words of a memory beat."""
        return bus_bits(self.configuration) // slot_bits(self.configuration.rows, self.configuration.act_bits)

    @property
    def weight_slot_bits(self) -> int:
        """Bits of a weight word in memory."""
        return _weight_slot_bits(self.configuration, self.dataflow, self.precision)

    @property
    def pass_cycles(self) -> int:
        """Cycles of one pass in full flow in the first band."""
        c = self.configuration
        if self.dataflow is Dataflow.weight_stationary:
            return max(self.positions(0), self.load_words)
        return max(self.ic_words * self.shape.n_kij, c.rows * self.tiles_at_once)

    def passes(self, band: int) -> int:
        """Passes of a band."""
        if self.dataflow is Dataflow.weight_stationary:
            return self.oc_tiles * self.ic_tiles * self.shape.n_kij
        return self.oc_tiles * self.o_tiles(band) // self.tiles_at_once

    def active(self, band: int) -> int:
        """Cycles of a band in which operands enter the array."""
        if self.dataflow is Dataflow.weight_stationary:
            return self.passes(band) * self.positions(band)
        return self.passes(band) * self.ic_words * self.shape.n_kij


def plan(
    shape: ConvShape,
    configuration: Configuration,
    dataflow: Dataflow,
    *,
    simd: bool = False,
    pool: bool = False,
    requant: bool = False,
    band_rows: int | None = None,
) -> Plan:
    """The plan with the largest bands that fit, or with ``band_rows``.

    Raises PlanError for a kernel, stride or padding that the accelerator has not, a row that no memory takes, or a
    configuration that it cannot be built in.
    """
    c = configuration
    if shape.kh != shape.kw or shape.kh not in (1, 3):
        raise PlanError(f"the accelerator runs 1x1 and 3x3 kernels, not {shape.kh}x{shape.kw}")
    if shape.stride not in (1, 2) or shape.padding not in (0, 1):
        raise PlanError(
            f"the accelerator runs stride 1 or 2 and padding 0 or 1, not stride {shape.stride}, padding {shape.padding}"
        )
    check_configuration(c)
    if simd and not c.simd:
        raise PlanError(f"{c.name} has no a2w4: SIMD = 0")
    for what, lanes, bits in (("weights", c.rows * c.wgt_lanes, c.wgt_field), ("activations", c.rows, c.act_bits)):
        if lanes * bits > bus_bits(c):
            raise PlanError(f"a word of {lanes} {what} has {lanes * bits} bits, the bus of {c.name} {bus_bits(c)}")
    if pool and (not requant or shape.oh < 2 or shape.ow < 2):
        raise PlanError("pooling needs requantised outputs of at least 2x2")
    if pool and shape.ow > 2 * POOL_DEPTH + 1:
        raise PlanError(f"rows of {shape.ow} outputs are too long to be pooled: POOL_DEPTH takes {2 * POOL_DEPTH + 1}")
    rows = [band_rows] if band_rows is not None else [shape.oh, *range(shape.oh - 1, 0, -1)]
    reasons = []
    for candidate in rows:
        try:
            return _banded(shape, c, dataflow, simd, pool, requant, candidate)
        except PlanError as error:
            reasons.append(error)
    raise reasons[0]  # why the whole map does not fit says more than why its last row does not


def plans(shape: ConvShape, configuration: Configuration, dataflow: Dataflow, **options: bool) -> list[Plan]:
    """Every plan of a dataflow, one for each number of rows a band that fits; PlanError where there is none."""
    found, reasons = [], []
    for rows in range(shape.oh, 0, -1):
        try:
            found.append(plan(shape, configuration, dataflow, band_rows=rows, **options))
        except PlanError as error:
            reasons.append(error)
    if not found:
        raise reasons[0]
    return found


def _banded(
    shape: ConvShape, c: Configuration, dataflow: Dataflow, simd: bool, pool: bool, requant: bool, band_rows: int
) -> Plan:
    """The plan with bands of ``band_rows`` output rows; PlanError where a memory does not take one."""
    ws = dataflow is Dataflow.weight_stationary
    pitch = max(-(-shape.iw // shape.stride), shape.ow)
    phases, taps = _taps(shape, pitch)
    bands = tile_count(shape.oh, band_rows)
    last_rows = shape.oh - (bands - 1) * band_rows
    group = 1 if ws else c.rows
    precision = Precision(int(simd))
    ic_words = tile_count(shape.ic, c.rows * precision.channels if ws else precision.channels)
    words_per_beat = bus_bits(c) // slot_bits(c.rows, c.act_bits)
    per_group = _group_words(dataflow, phases, ic_words)
    if bands > 1:
        # A block begins and ends at whole memory beats wherever its band lies.
        align = group * (words_per_beat // math.gcd(words_per_beat, per_group))  # values on the grid
        _check_bands(pool, band_rows, last_rows, pitch, align)
        lead = -(-max(0, -min(tap.distance for tap in taps)) // align) * align
        farthest = max(0, max(tap.distance for tap in taps))
        segment_values = lead + (band_rows - 1) * pitch + shape.ow + farthest
    else:
        lead, segment_values = 0, -(-shape.ih // shape.stride) * pitch
    groups = -(-segment_values // group)
    segment_words = -(-groups * per_group // words_per_beat) * words_per_beat
    # What the last band's block reads of memory, as long as every other's
    last_block = -(-segment_words // per_group) * group
    plane_values = (bands - 1) * band_rows * pitch + last_block if bands > 1 else groups * group
    block_words = _segments(dataflow, phases) * segment_words
    slots = _slots(c, block_words, band_rows)
    twin = not ws and _twin(shape, c, block_words, (band_rows - 1) * pitch + shape.ow, ic_words)
    if twin:
        slots = c.twin_depth // block_words
    positions = band_rows * shape.ow
    if ws and positions > c.psum_depth:
        raise PlanError(f"PSUM_DEPTH = {c.psum_depth} of {c.name} does not take the {positions} psums of a band")
    pass_words = ic_words * shape.n_kij * (c.load_words(precision) if ws else 1)  # of one oc_tile
    return Plan(
        shape=shape, configuration=c, dataflow=dataflow, simd=simd, pool=pool, requant=requant, pitch=pitch,
        phases=phases, taps=taps, bands=bands, band_rows=band_rows, last_rows=last_rows, lead=lead,
        segment_values=segment_values, segment_words=segment_words, plane_values=plane_values,
        slots=min(slots, 0xFFFF), resident=slots >= (ic_words if ws else 1), pass_words=pass_words,
        chunk_words=_chunk_words(c, dataflow, precision, pass_words), twin=twin,
    )  # fmt: skip


def _segments(dataflow: Dataflow, phases: Phases) -> int:
    return len(phases) if dataflow is Dataflow.weight_stationary else 1


def _group_words(dataflow: Dataflow, phases: Phases, ic_words: int) -> int:
    return 1 if dataflow is Dataflow.weight_stationary else len(phases) * ic_words


def _taps(shape: ConvShape, pitch: int) -> tuple[Phases, tuple[Tap, ...]]:
    """Phases in the order of first use, and for each kij which of them it reads, how far from the position."""
    s = shape.stride
    phases: list[tuple[int, int]] = []
    taps = []
    for ki in range(shape.kh):
        for kj in range(shape.kw):
            y, x = ki - shape.padding, kj - shape.padding
            phase = (y % s, x % s)
            if phase not in phases:
                phases.append(phase)
            taps.append(Tap(phases.index(phase), y // s * pitch + x // s))
    return tuple(phases), tuple(taps)


def _check_bands(pool: bool, band_rows: int, last_rows: int, pitch: int, align: int) -> None:
    """PlanError where bands of so many rows do not begin at whole memory beats, or cut a pooling window."""
    if band_rows * pitch % align:
        raise PlanError(f"bands of {band_rows} rows do not begin at whole memory beats")
    if pool and (band_rows % 2 or last_rows < 2):
        raise PlanError(f"bands of {band_rows} rows cut a pooling window")


def check_configuration(c: Configuration) -> None:
    """PlanError for one that the accelerator cannot be built in, though the core can."""
    if c.act_bits < 2:
        raise PlanError(
            f"ACT_BITS = {c.act_bits} of {c.name}: the accelerator places outputs by halves of an activation"
        )


def _slots(c: Configuration, block_words: int, band_rows: int) -> int:
    """Blocks that the activation memory takes; PlanError where it takes none."""
    if block_words > c.act_depth:
        raise PlanError(
            f"ACT_DEPTH = {c.act_depth} of {c.name} does not take the {block_words} words of a block of "
            f"{band_rows} output rows"
        )
    return c.act_depth // block_words


def _twin(shape: ConvShape, c: Configuration, block_words: int, values: int, ic_words: int) -> bool:
    """Whether a band of so many ``values`` on the grid can run as twin, and takes fewer cycles so."""
    if not c.twin_depth or shape.oc > c.cols // 2 or block_words > c.twin_depth:
        return False
    operands, tiles = ic_words * shape.n_kij, tile_count(values, c.rows)
    # The flags of two tiles are gathered before the first pass, and psums of two leave after the last.
    more = gather_cycles(c) + c.rows
    return -(-tiles // 2) * max(operands, 2 * c.rows) + more < tiles * max(operands, c.rows)


def _weight_slot_bits(c: Configuration, dataflow: Dataflow, precision: Precision) -> int:
    """Bits of a weight word in memory: both weights of each field, where both are used."""
    if dataflow is Dataflow.output_stationary:
        return slot_bits(c.cols, c.wgt_bits) * precision.channels
    return slot_bits(c.rows * c.wgt_lanes, c.wgt_bits) * precision.channels * c.fields_used(precision)


def _chunk_words(c: Configuration, dataflow: Dataflow, precision: Precision, pass_words: int) -> int:
    """The weight words of an oc_tile in whole memory beats; PlanError where the ring or a counter is too small."""
    ws = dataflow is Dataflow.weight_stationary
    per_beat = bus_bits(c) // _weight_slot_bits(c, dataflow, precision)
    chunk_words = -(-pass_words // per_beat) * per_beat
    if ws and chunk_words > 0xFFFF:
        raise PlanError(f"{pass_words} weight words of an oc_tile exceed the accelerator's counters")
    if chunk_words - pass_words >= c.wgt_depth:
        raise PlanError(
            f"WGT_DEPTH = {c.wgt_depth} of {c.name} must be more than the {chunk_words - pass_words} words that fill "
            "the last memory beat of an oc_tile's weights"
        )
    if not ws and chunk_words > c.wgt_depth:
        raise PlanError(
            f"an output-stationary pass of {pass_words} operands exceeds WGT_DEPTH = {c.wgt_depth} of {c.name}"
        )
    return chunk_words
