"""Learning the latencies of a core of the class's interface: all combinations are tried on little tiles of random data.

Cycles from one control to the next can't be read off the Verilog, and a wrong one gives X, or the neighbour's value.
Each combination runs two taps of new data, so that what an earlier one left behind cannot pass for a result.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from tb.foreign.adapter import MOST_LATENCY, Adapter, Timing
from tb.foreign.contract import Tile
from tb.foreign.course import CourseDriver
from tb.foreign.record import differs
from tb.parts.stimulus import limits

LATENCIES = ("xmem_to_l0", "l0_to_array", "ofifo_to_pmem", "pmem_to_acc")
LATEST_OUTPUT = 4
CHECKS = 3  # tiles of further seeds that what was found must pass


@dataclasses.dataclass(frozen=True)
class Found:
    """What the search gave. fits: the timings that passed, the smallest waits for each set of latencies; hold_acc and
    first_col: under which they did, where not under the adapter's own."""

    fits: list[Timing]
    tried: int
    hold_acc: bool
    first_col: str


async def calibrate(
    dut, adapter: Adapter, seed: int, running: bool = False, progress: Callable[[int], None] = lambda tried: None
) -> Found:
    """Search the latencies, then the waits. running: the clock runs already. progress: called with the tiles run."""
    assert adapter.course is not None
    search = _Search(dut, adapter, seed, progress)
    if not running:
        await search.driver.start()
    own, other = adapter.can.first_col, {"low": "high", "high": "low"}[adapter.can.first_col]
    found: list[Timing] = []
    held = adapter.course.hold_acc
    for hold, order in ((held, own), (not held, own), (held, other)):
        search.use(hold, order)
        found = await search.latencies()
        if found:
            break
    fits = [timing for timing in [await search.waits(timing) for timing in found] if timing is not None]
    return Found(fits, search.tried, hold, order)


class _Search:
    def __init__(self, dut, adapter: Adapter, seed: int, progress: Callable[[int], None]):
        self.dut, self.adapter, self.progress = dut, adapter, progress
        self.rng = np.random.default_rng(seed)
        self.driver = CourseDriver(dut, adapter)
        self.tried = 0

    def use(self, hold_acc: bool, first_col: str) -> None:
        """Go on with another way to read outputs, or another order of columns."""
        assert self.adapter.course is not None
        course = dataclasses.replace(self.adapter.course, hold_acc=hold_acc)
        can = dataclasses.replace(self.adapter.can, first_col=first_col)
        self.driver = CourseDriver(self.dut, dataclasses.replace(self.adapter, course=course, can=can))

    async def latencies(self) -> list[Timing]:
        """The sets of latencies with which two tiles come out right."""
        assert self.adapter.course is not None
        in_place = self.adapter.course.accumulate == "in_place"
        latencies = range(MOST_LATENCY + 1)
        found = []
        for first, second, third in itertools.product(latencies, repeat=3):
            timing = Timing(first, second, third, 0, 0, 0, 0)
            fits = await self._outputs(timing, self._tile(4), [0] if in_place else latencies)
            if fits and await self._confirmed(fits):
                found += fits
        return found

    async def _outputs(self, timing: Timing, tile: Tile, last: Sequence[int]) -> list[Timing]:
        """The timings, of those that differ in how the psum memory is read, with which a tile comes out right: one for
        each latency of ``last``, with the shortest wait for the output."""
        if not await self._stored(timing, tile):
            return []
        fits = []
        for latency, wait in itertools.product(last, range(LATEST_OUTPUT + 1)):
            candidate = dataclasses.replace(timing, pmem_to_acc=latency, output=wait)
            if any(fit.pmem_to_acc == latency for fit in fits):
                continue
            self.driver.timing = candidate
            outputs = await self.driver.read_outputs(tile)
            wanted = np.take_along_axis(tile.activations[None] @ tile.weights, tile.reads[:, :, None], 1).sum(0)
            if outputs is not None and not differs(outputs, wanted).any():
                fits.append(candidate)
        return fits

    async def _stored(self, timing: Timing, tile: Tile) -> bool:
        """Run a tile up to its psums; whether they are right as far as can be seen."""
        self.tried += 1
        self.progress(self.tried)
        driver = self.driver
        driver.timing = timing
        await driver.reset()
        await driver.write_activations(tile, tile.activations)
        driver.complaints.clear()
        for tap in range(tile.taps):
            await driver.load_weights(tile, tap, tile.weights[tap])
            await driver.execute(tile, tap)
        if driver.complaints:
            return False
        psums = await driver.read_psums(tile)
        return psums is None or not differs(psums, tile.activations[None] @ tile.weights).any()

    async def _right(self, timing: Timing, positions: int) -> bool:
        fits = await self._outputs(dataclasses.replace(timing, output=0), self._tile(positions), [timing.pmem_to_acc])
        return any(fit.output <= timing.output for fit in fits)

    async def _confirmed(self, fits: list[Timing]) -> bool:
        """Whether one of the timings passes with other data: the sets that fit by chance go."""
        kept = [fit for fit in fits if await self._right(fit, 5)]
        fits[:] = kept
        return bool(kept)

    async def waits(self, timing: Timing) -> Timing | None:
        """With the shortest waits after loading and before the OFIFO is read; None where further data do not pass."""
        for name in ("load", "drain"):
            low, high = 1, self.driver.across
            while low < high:
                middle = (low + high) // 2
                if await self._right(dataclasses.replace(timing, **{name: middle}), 5):
                    high = middle
                else:
                    low = middle + 1
            timing = dataclasses.replace(timing, **{name: high})
        most = self.adapter.can.positions or 16
        for positions in (most, *[min(most, 7)] * (CHECKS - 1)):
            if not await self._right(timing, positions):
                return None
        return timing

    def _tile(self, positions: int) -> Tile:
        """Two taps, an output for each position; positive sums, which a ReLU leaves alone."""
        can = self.adapter.can
        # Below half of the range: a core that takes them for signed ones can be calibrated too, and is told by its
        # self-test.
        most = limits(can.act_width, True)[1]
        activations = self.rng.integers(0, most + 1, (positions, can.inputs))
        weights = self.rng.integers(1, limits(can.wgt_bits)[1] + 1, (2, can.inputs, can.cols))
        reads = np.tile(np.arange(positions), (2, 1))
        return Tile(activations, weights, reads, True, True, False, False, None, {})
