"""Which plan runs a layer fastest, and in how many cycles: a model of the accelerator's timing, without a simulator.

``cycles(plan)`` follows the hardware pass by pass only while memory is still ahead of the array; from there on the flow
is steady, and what remains is a product. Its constants are the latencies of the modules named beside them, and measured
layers agree with it (``test_system.py``, ``test_schedule.py``). ``choose`` takes the plan with the fewest cycles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from golden_model.accelerator import reading
from golden_model.accelerator.plan import Plan, PlanError, bus_bits, gather_cycles, plan, plans
from golden_model.configuration import Configuration, Dataflow
from golden_model.tiling import ConvShape, tile_count

MEMORY_LATENCY = 4  # cycles from a burst's address to its first beat, as in tb/hdl/dram.v

GATHER = 3  # cycles from os_rows' first flags to the array's door: act_walk, act_fetch, l0
# Cycles from the last operands' start to done, beside the array itself.
REGISTERS = 2  # three: start, operand, product; rows + cols counts one cycle twice
REQUANT = 3
RAW = 2  # psums, a beat each: the address of a burst goes before its beats
WRITE_BACK = 3  # sfp, place, the last beat and its response
DROPPED = 3  # from the last row that is dropped
OFIFO_LEAST = 4  # words beside rows + cols (WS) that ofifo needs for full rate, see issue


@dataclasses.dataclass(frozen=True)
class CycleCount:
    """Cycles from start to done, and where they go, as the hardware's counters have it."""

    active: int  # operands enter the array
    fill: int  # before the first and after the last
    stalls: int  # between

    @property
    def total(self) -> int:
        return self.active + self.fill + self.stalls

    def utilisation(self, p: Plan) -> float:
        """Multiplications of the layer by those that the array could do; 1 is the peak of the precision."""
        return p.shape.macs / (self.total * p.configuration.rows * p.configuration.cols * p.ic_group)


def cycles(
    p: Plan,
    *,
    bias: bool = False,
    second: bool = False,
    residual: bool = False,
    halves: bool = False,
    latency: int = MEMORY_LATENCY,
) -> CycleCount:
    """Cycles of a plan behind a memory of that ``latency``.

    bias: there are records, as for requantised outputs; second: with what a second output needs. residual: psums come
    from memory; halves: as 16 bits.
    """
    c = p.configuration
    ws = p.dataflow is Dataflow.weight_stationary
    records = reading.SECOND_RECORD if second else reading.RECORD if bias or p.requant else 0
    begin = reading.start(p, latency=latency, records=records, residual=residual and ws, halves=halves)
    first = begin.weights if ws else max(begin.weights, gather_cycles(c) * p.tiles_at_once + GATHER)
    flow = _Flow(p, clock=first, loaded=float(begin.activation - 1))
    for band in range(p.bands):
        for sweep in range(p.oc_tiles if ws else 1):
            flow.sweep(band, sweep)
    # The last pass' own waiting for the next one's weights is no cycle of the layer.
    stalls = max(0, flow.stalls - (_steady(p, p.bands - 1) - _length(p, p.bands - 1)))
    tail = _tail(p)
    if begin.late:
        # Psums wait in ofifo as far as it has room beyond what full rate takes; then the array waits.
        kept = min(begin.late, max(0, c.ofifo_depth - c.rows - c.cols - OFIFO_LEAST))
        tail += max(0, kept - stalls)  # they come out at the end
        stalls += begin.late - kept
    if ws:
        stalls = max(stalls, _beyond_the_bus(p, records, residual, halves))
    active = sum(p.active(band) for band in range(p.bands))
    # Nor is a layer over before its last block is read, if only into the FIFO; the last band's is as long as any.
    read = int(flow.loaded) - p.words_per_beat * (reading.FIFO + 1) + latency + reading.BURST + 1
    return CycleCount(active, max(first + tail, read - active - stalls), stalls)


def _tail(p: Plan) -> int:
    """Cycles from the last operands in the array to done."""
    c = p.configuration
    behind = (REQUANT if p.requant else RAW) + WRITE_BACK
    if p.dataflow is Dataflow.weight_stationary:
        return c.rows + c.cols + REGISTERS + behind
    # Rows of the last tiles that have no position of the output come out, too, and are dropped.
    last = p.bands - 1
    dropped = p.o_tiles(last) * c.rows - ((p.rows_of(last) - 1) * p.pitch + p.shape.ow)
    return (1 + p.tiles_at_once) * c.rows + c.cols + REGISTERS + max(behind - dropped, DROPPED)


def _beyond_the_bus(p: Plan, records: int, residual: bool, halves: bool) -> int:
    """WS: what the beats of a layer are more than its passes take, where the weights alone leave the bus no gap."""
    bands = range(p.bands)
    flow = sum(p.passes(band) * _steady(p, band) for band in bands)
    weights = sum(p.passes(band) for band in bands) * _bus_cycles(p)
    if weights < flow:
        return 0
    others = p.act_repeats * p.bands * p.ic_tiles * p.block_words // p.words_per_beat
    others += records * p.oc_tiles * p.bands
    if residual:
        others += sum(tile_count(p.positions(band), 2 if halves else 1) for band in bands) * p.oc_tiles
    return weights + others - flow


def _length(p: Plan, band: int) -> int:
    """Operands of a pass."""
    ws = p.dataflow is Dataflow.weight_stationary
    return p.positions(band) if ws else p.ic_words * p.shape.n_kij


def _steady(p: Plan, band: int) -> int:
    """Cycles of a pass for which nothing is late: its operands, or what else it waits for."""
    if p.dataflow is Dataflow.weight_stationary:
        return max(_length(p, band), p.load_words, _bus_cycles(p))
    return max(_length(p, band), p.configuration.rows * p.tiles_at_once)


@dataclasses.dataclass
class _Flow:
    """Array and loader side by side, block by block."""

    plan: Plan
    clock: int  # when the next pass may begin
    loaded: float  # when the loader is done with what it was asked for so far
    stalls: int = 0
    block: int = 0  # blocks asked for
    released: list[int] = dataclasses.field(default_factory=list)  # when the ring's places were given back

    def sweep(self, band: int, sweep: int) -> None:
        """All blocks of a band once: WS for one oc_tile, OS for all."""
        p = self.plan
        ws = p.dataflow is Dataflow.weight_stationary
        length, steady = _length(p, band), _steady(p, band)
        per_block = p.shape.n_kij if ws else p.passes(band)
        there = ws and p.resident and sweep > 0  # from the sweep before
        last_use = not (ws and p.resident) or sweep == p.oc_tiles - 1
        for _ in range(p.ic_tiles if ws else 1):
            if there:
                self.clock += per_block * steady
                self.stalls += per_block * (steady - length)
            else:
                begin = self._ask()
                self.clock, waited = _while_loading(p, band, self.clock, begin, self.loaded, steady, length, per_block)
                self.stalls += waited
            if last_use:
                self.released.append(self.clock)

    def _ask(self) -> float:
        """Have the next block loaded; returns when that begins."""
        place = self.block - self.plan.slots  # the block whose place it takes
        free = self.released[place] if 0 <= place < len(self.released) else 0
        begin = max(self.loaded, free)
        self.loaded = begin + self.plan.block_words
        self.block += 1
        return begin


def _bus_cycles(p: Plan) -> int:
    """WS: beats that a pass' weights take of the bus."""
    return tile_count(p.load_words * p.weight_slot_bits, bus_bits(p.configuration))


def _while_loading(
    p: Plan, band: int, clock: int, begin: float, loaded: float, steady: int, length: int, per_block: int
) -> tuple[int, int]:
    """Clock after a block's passes, and the cycles it waited; word i of the block is there at begin + i."""
    waited = 0
    done = 0
    ws = p.dataflow is Dataflow.weight_stationary
    while done < per_block and clock < loaded:
        words = _words(p, band, done) if ws else _os_words(p, band, done)
        late = (begin + words) - (clock + np.arange(len(words))) + 1
        held = max(0, int(np.ceil(late.max()))) if len(words) else 0
        clock += steady + held
        waited += held + steady - length
        done += 1
    rest = per_block - done
    return clock + rest * steady, waited + rest * (steady - length)


def _grid(p: Plan, band: int) -> tuple[np.ndarray, np.ndarray]:
    oi, oj = np.divmod(np.arange(p.positions(band)), p.shape.ow)
    return oi, oj


def _words(p: Plan, band: int, kij: int) -> np.ndarray:
    """WS: the word of the block that each position of tap ``kij`` reads, far below 0 for padding."""
    oi, oj = _grid(p, band)
    tap, s = p.taps[kij], p.shape
    ki, kj = divmod(kij, s.kw)
    y = (oi + band * p.band_rows) * s.stride + ki - s.padding
    x = oj * s.stride + kj - s.padding
    there = (y >= 0) & (y < s.ih) & (x >= 0) & (x < s.iw)
    word = tap.phase * p.segment_words + p.lead + tap.distance + oi * p.pitch + oj
    return np.where(there, word, -(1 << 20))


def _os_words(p: Plan, band: int, number: int) -> np.ndarray:
    """OS: the last word that each operand of a pass reads, far below 0 for padding in all rows."""
    c, s = p.configuration, p.shape
    first_tile = number * p.tiles_at_once % p.o_tiles(band)
    o_tile = first_tile + p.tiles_at_once - 1  # the last of the pass
    k = np.arange(p.ic_words * p.shape.n_kij)
    ic, kij = np.divmod(k, p.shape.n_kij)
    at = np.array([p.lead + tap.distance for tap in p.taps])[kij]
    phase = np.array([tap.phase for tap in p.taps])[kij]
    group = at // c.rows + o_tile + (at % c.rows > 0)
    word = group * p.group_words + phase * p.ic_words + ic
    oi, oj = np.divmod(first_tile * c.rows + np.arange(p.tiles_at_once * c.rows), p.pitch)
    ki, kj = np.divmod(kij, s.kw)
    y = (oi + band * p.band_rows)[:, None] * s.stride + ki - s.padding
    x = oj[:, None] * s.stride + kj - s.padding
    there = (y >= 0) & (y < s.ih) & (x >= 0) & (x < s.iw) & (oi < p.rows_of(band))[:, None] & (oj < s.ow)[:, None]
    return np.where(there.any(0), np.minimum(word, p.block_words - 1), -(1 << 20))


def choose(
    shape: ConvShape,
    c: Configuration,
    *,
    dataflow: Dataflow | None = None,
    simd: bool = False,
    pool: bool = False,
    requant: bool = False,
    latency: int = MEMORY_LATENCY,
    fits: Callable[[Plan], bool] = lambda _: True,
    **beside: bool,
) -> Plan:
    """The plan with the fewest cycles, weight-stationary where both dataflows need the same.

    Of the bands that fit, all in few rows are tried. fits: what else a plan must be. beside: what :func:`cycles` must
    know of the layer. PlanError where there is no plan.
    """
    best: tuple[int, Plan] | None = None
    reasons: list[PlanError] = []
    options = {"simd": simd, "pool": pool, "requant": requant}
    for flow in Dataflow if dataflow is None else [dataflow]:
        try:
            whole = plan(shape, c, flow, **options)
        except PlanError as error:
            reasons.append(error)
            continue
        if whole.bands == 1 and fits(whole):
            candidates = [whole]
        else:
            candidates = [candidate for candidate in plans(shape, c, flow, **options) if fits(candidate)][:8]
        if c.twin_depth and flow is Dataflow.output_stationary and not any(p.twin for p in candidates):
            # The second set of banks may take bands of fewer rows than the first.
            candidates += [p for p in plans(shape, c, flow, **options) if p.twin and fits(p)][:2]
        if not candidates:
            reasons.append(PlanError(f"no {flow.name} plan suits what comes before or follows"))
        for candidate in candidates:
            total = cycles(candidate, latency=latency, **beside).total
            if best is None or total < best[0]:
                best = total, candidate
    if best is None:
        raise reasons[0]
    return best[1]
