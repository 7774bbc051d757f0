"""When the first words of a layer are there: the readers of the accelerator share one bus, burst by burst.

:func:`start` follows the read channel cycle by cycle from a layer's start until its weights, activations and, if there
are any, the residuals of its first pass have come. Cycles are counted as the hardware's ``cycles`` does: 0 follows the
start. The rules are those of ``axi_read_share`` (in turn, an address a cycle), ``dma_read`` (a burst is asked for when
the FIFO has room for it; the first has 4 beats at most), ``dma_burst`` (16 beats at most, up to a multiple of 16), a
memory that gives a beat a cycle in the order of the addresses (``tb/hdl/dram.v``), and ``unpack`` (a word a cycle).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator

from golden_model.accelerator.plan import Plan, bus_bits
from golden_model.configuration import Dataflow
from golden_model.tiling import tile_count

BURST, FIRST_BURST = 16, 4  # beats
FIFO, RESIDUAL_FIFO = 32, 64  # beats of a reader's FIFO
OUTSTANDING = 16  # bursts that the memory takes
RECORD, SECOND_RECORD = 4, 7  # beats of an oc_tile's record, and with a second output
UNPACKED = 1  # cycles from a beat to its first word, written to its memory
# Cycles from a word's writing to the array's door, where operands wait for one another.
OF_WEIGHT = 3  # wgt_ring counts it, wgt_fetch, l0 or ififo
INTO_TILES = 1  # WS: the last of the first pass' words goes into the tiles
OF_ACTIVATION = 4  # act_load counts it, act_fetch (2), l0
FOLLOWED = 4096  # psums whose residuals are followed
TO_SFP = 1  # beside rows + cols: from operands that enter to psums that want their residual


@dataclasses.dataclass(frozen=True)
class Start:
    """Cycles after the start."""

    weights: int  # WS: the weights of the first pass are in the tiles; OS: the first word waits at the array's door
    activation: int  # the first word of the first block can enter the array; the others follow, one a cycle
    late: int  # what the psums of the first pass wait for their residuals, where the array does not wait


@dataclasses.dataclass
class _Reader:
    """One dma_read and what takes its beats: one in ``takes`` cycles; 0: not by itself, see ``pop``."""

    bursts: Iterator[int]
    room: int
    takes: int = 0
    limit: int = 1 << 30  # beats that are taken before the array goes on
    here: int = 0  # beats in the FIFO
    taken: int = 0
    free_at: int = 0  # when the next beat can be taken
    next_burst: int | None = None

    def __post_init__(self) -> None:
        self.next_burst = next(self.bursts, None)

    def step(self, cycle: int) -> bool:
        """Take a beat if there is one; whether it was taken."""
        if not self.takes or not self.here or cycle < self.free_at or self.taken >= self.limit:
            return False
        self.pop()
        self.free_at = cycle + self.takes
        return True

    def begin(self) -> int:
        """Ask for the next burst; its beats."""
        beats = self.next_burst or 0
        self.room -= beats
        self.next_burst = next(self.bursts, None)
        return beats

    def pop(self) -> None:
        self.here -= 1
        self.room += 1
        self.taken += 1


def _bursts(segments: Iterator[tuple[int, int]]) -> Iterator[int]:
    """Lengths of the bursts of segments (first beat, beats)."""
    most = FIRST_BURST
    for at, beats in segments:
        while beats:
            length = min(beats, BURST - at % BURST, most)
            yield length
            at, beats, most = at + length, beats - length, BURST


def _residuals(p: Plan, base: int, halves: bool) -> Iterator[tuple[int, int]]:
    """First beat and beats of each oc_tile of each band; in memory an oc_tile's bands follow one another."""
    a_beat = 2 if halves else 1
    plane = tile_count(p.shape.n_o_nij, a_beat)
    for band in range(p.bands):
        for oc in range(p.oc_tiles):
            yield base + oc * plane + band * p.positions(0) // a_beat, tile_count(p.positions(band), a_beat)


def _dues(p: Plan, halves: bool) -> tuple[list[tuple[int, bool]], int]:
    """When psums of the oc_tiles' first passes would want their residuals, counted from the very first one, and whether
    they are the last that a beat has; then the number of all such psums, of which the first FOLLOWED are given.

    Where so many passes come between that the FIFO is full again, the first oc_tile is all.
    """
    dues: list[tuple[int, bool]] = []
    begin = total = 0
    for band in range(p.bands):
        n = p.positions(band)
        tile = p.ic_tiles * p.shape.n_kij * max(n, p.load_words)
        for _ in range(p.oc_tiles):
            dues += [(begin + i, not halves or i % 2 == 1 or i == n - 1) for i in range(min(n, FOLLOWED - len(dues)))]
            total += n
            begin += tile
            if tile >= n + 2 * RESIDUAL_FIFO:
                return dues, total
    return dues, total


def _readers(p: Plan, records: int, residual: bool, halves: bool) -> list[_Reader]:
    """Weights, activations, records, residuals, in the order of their ids. Of activations the first band is enough."""
    ws = p.dataflow is Dataflow.weight_stationary
    per_beat = bus_bits(p.configuration) // p.weight_slot_bits
    chunk = p.chunk_words // per_beat
    segment = p.segment_words // p.words_per_beat
    segments = p.segments * (p.ic_tiles if ws else 1)
    of_weights = segments * p.plane_beats  # the first beat of each region
    of_records = of_weights + p.oc_tiles * chunk
    of_residuals = of_records + p.oc_tiles * records
    every = range(p.bands * p.oc_tiles)
    kept = max(tile_count(p.configuration.wgt_depth, per_beat), tile_count(p.load_words, per_beat))
    return [
        _Reader(_bursts((of_weights + n % p.oc_tiles * chunk, chunk) for n in every), FIFO, per_beat, kept),
        _Reader(_bursts((index * p.plane_beats, segment) for index in range(segments)), FIFO, p.words_per_beat,
                p.slots * p.block_words // p.words_per_beat),
        # Until an oc_tile is over, coefficients takes two records, and of a third what comes before its scales.
        _Reader(_bursts((of_records + n % p.oc_tiles * records, records) for n in every), FIFO, 1,
                2 * records + RECORD - 1),
        _Reader(_bursts(_residuals(p, of_residuals, halves) if residual else iter(())), RESIDUAL_FIFO),
    ]  # fmt: skip


def _ask(readers: list[_Reader], turn: int) -> int | None:
    """Whose turn it is, after ``turn``, of those that have a burst to ask for and room for it."""
    for step in range(1, len(readers) + 1):
        reader = readers[(turn + step) % len(readers)]
        if reader.next_burst is not None and reader.room >= reader.next_burst:
            return (turn + step) % len(readers)
    return None


def start(p: Plan, *, latency: int, records: int = 0, residual: bool = False, halves: bool = False) -> Start:
    """What a plan's first cycles wait for, its regions lying in memory as ``tb.accelerator.command`` puts them.

    records: beats of an oc_tile's biases and scales. residual: psums come from memory; halves: as 16 bits, two to a
    beat.
    """
    ws = p.dataflow is Dataflow.weight_stationary
    readers = _readers(p, records, residual, halves)
    queue: deque[list[int]] = deque()  # [reader, beats, cycle of the first]
    per_beat = readers[0].takes
    wanted = tile_count(max(1, p.load_words), per_beat)  # beats of the first pass' weights
    in_last = p.load_words - (wanted - 1) * per_beat if ws else 1  # words of the last of them
    dues, psums = _dues(p, halves) if residual else ([], 0)
    weights = activation = None
    psum = late = cycle = 0
    turn = len(readers) - 1
    while weights is None or activation is None or psum < len(dues):
        asks = _ask(readers, turn) if len(queue) < OUTSTANDING else None
        if asks is not None:
            turn = asks
            queue.append([turn, readers[turn].begin(), cycle + latency])
        if queue and cycle >= queue[0][2]:
            readers[queue[0][0]].here += 1
            queue[0][1] -= 1
            if not queue[0][1]:
                queue.popleft()
        for index, reader in enumerate(readers):
            if not reader.step(cycle):
                continue
            if index == 0 and reader.taken == wanted:
                weights = cycle + UNPACKED + in_last - 1 + OF_WEIGHT + (INTO_TILES if ws else 0)
            if index == 1 and activation is None:
                activation = cycle + UNPACKED + OF_ACTIVATION
        if weights is not None and psum < len(dues) and readers[3].here:
            after, whole = dues[psum]
            due = weights + p.configuration.rows + p.configuration.cols + TO_SFP + after
            if cycle >= due + late:
                late = max(late, cycle - due)
                psum += 1
                if whole:
                    readers[3].pop()
        cycle += 1
    # Beyond what was followed, psums go on to be late at the same rate.
    return Start(weights, activation, late * psums // len(dues) if dues else 0)
