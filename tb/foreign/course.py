"""The class's interface: one instruction word a cycle moves everything, in the phases of the class's bench.

For each tap: reset, weights into xmem, xmem to L0, load; activations to L0, execute, OFIFO to the psum memory. Then for
each output: reset, the psums of its taps out of the psum memory with acc, sfp_out. How many cycles lie between one
control and the next differs from core to core (``adapter.Timing``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tb.foreign.adapter import Adapter, AdapterError, Course, Timing
from tb.foreign.contract import Driver, Tile
from tb.parts.clocking import start_clock
from tb.parts.lanes import pack_lanes, unpack_lanes
from tb.parts.streams import random_pauses, read_bits


@dataclasses.dataclass
class Cycle:
    """One cycle: fields of the instruction, the word at the data port, and what to read at its end."""

    fields: dict[str, int]
    data: int = 0
    read: Callable[[], None] | None = None


class CourseDriver(Driver):
    """Drives a core of the class's interface as its adapter says."""

    keeps_activations = True

    def __init__(self, dut, adapter: Adapter):
        assert adapter.course is not None
        super().__init__(dut, adapter)
        self.course: Course = adapter.course
        self.timing: Timing = self.course.timing
        self.reset_name, self.reset_level = self.course.reset, self.course.reset_level
        self.inst, self.data = getattr(dut, self.course.instruction), getattr(dut, self.course.data)
        self.output = getattr(dut, self.course.output)
        self.valid = getattr(dut, self.course.valid) if self.course.valid else None
        self.psum = dut.foreign_psum if self.course.psum_path else None
        self._low = set(self.course.active_low)
        self._place = {name: self.course.place(name) for name in self.course.bits}
        self._idle: dict[str, int] = {}
        self._shown: dict[object, int] = {}
        self._peeks: list[tuple[int, int]] = []  # address and index of psums to look at while other things go on
        self._seen: dict[int, tuple[int, int]] = {}
        self._pauses: Iterator[bool] | None = None

    def disturb(self, seed: int, probability: float) -> None:
        self._pauses = random_pauses(seed, probability) if probability else None

    async def start(self) -> None:
        start_clock(self.dut, self.adapter.clock)
        for name, value in self.course.pins.items():
            getattr(self.dut, name).value = value
        if self.psum is not None:
            self.dut.foreign_peek.value = 0
        await self.reset()

    async def reset(self) -> None:
        self._shown.clear()
        self._peeks.clear()
        await self._play(self._reset(3))

    # What each phase is, cycle by cycle

    def word(self, phase: str, fields: dict[str, int]) -> int:
        """The instruction with these fields, active ones given as 1 whatever their level is; what the adapter sets for
        the phase counts as it stands."""
        if phase not in self._idle:
            self._idle[phase] = sum(
                self.course.set.get(phase, {}).get(name, int(name in self._low)) << self._place[name][0]
                for name in self.course.bits
            )
        word, fixed = self._idle[phase], self.course.set.get(phase, {})
        for name, value in fields.items():
            if name not in fixed:
                low, bits = self._place[name]
                if value >> bits:
                    raise AdapterError(f"{self.adapter.path}: {name} has {bits} bits, which {value} does not fit")
                word = word & ~(((1 << bits) - 1) << low) | (value ^ (name in self._low)) << low
        return word

    def _reset(self, cycles: int = 1) -> list[tuple[str, Cycle]]:
        return [("reset", Cycle({}))] * cycles + [("idle", Cycle({}))]

    def _write(self, address: int, words: Sequence[int]) -> list[tuple[str, Cycle]]:
        return [
            ("write", Cycle({"CEN_xmem": 1, "WEN_xmem": 1, "A_xmem": address + i}, word))
            for i, word in enumerate(words)
        ]

    def _fetch(self, address: int, count: int) -> list[tuple[str, Cycle]]:
        """From xmem to L0."""
        first = [{"CEN_xmem": 1, "A_xmem": address + i} for i in range(count)]
        return _overlaid("fetch", first, [{"l0_wr": 1}] * count, self.timing.xmem_to_l0)

    def _feed(self, what: str, count: int, wait: int) -> list[tuple[str, Cycle]]:
        """From L0 into the array, and time for it to get there."""
        fed = _overlaid(what, [{"l0_rd": 1}] * count, [{what: 1}] * count, self.timing.l0_to_array)
        return fed + [("idle", Cycle({}))] * wait

    def _store(self, tile: Tile, tap: int) -> list[tuple[str, Cycle]]:
        """From the OFIFO to the psum memory."""
        count, base = tile.positions, self.course.address.psums
        if self.course.accumulate == "in_place":
            writes = self._in_place(tile, tap)
        else:
            writes = [{"CEN_pmem": 1, "WEN_pmem": 1, "A_pmem": base + tap * count + i} for i in range(count)]
        cycles = _overlaid("store", [{"ofifo_rd": 1}] * count, writes, self.timing.ofifo_to_pmem)
        cycles += [("idle", Cycle({}))] * 2
        if self.valid is not None:
            cycles[0] = (cycles[0][0], dataclasses.replace(cycles[0][1], read=self._must_be_valid))
            empty = Cycle({}, read=lambda: self._must_be_empty("after all psums were read"))
            cycles[-1] = ("idle", empty)
        return cycles

    def _in_place(self, tile: Tile, tap: int) -> list[dict[str, int]]:
        """Each psum that an output reads is added to the output's sum in the memory; ``passthrough`` begins one."""
        assert tile.reads is not None
        output = dict(zip(tile.reads[tap].tolist(), range(tile.outputs), strict=True))
        first = tap == 0 and tile.first
        write = {"CEN_pmem": 1, "WEN_pmem": 1}
        write |= self._where_there({"REN_pmem": 1, "passthrough": int(first), "acc": int(not first)})
        return [
            write | {"A_pmem": self.course.address.psums + output[i]} if i in output else {}
            for i in range(tile.positions)
        ]

    def _where_there(self, fields: dict[str, int]) -> dict[str, int]:
        """Those of the bits that this core has."""
        return {name: value for name, value in fields.items() if name in self.course.bits}

    def _accumulate(self, tile: Tile, index: int, read: Callable[[], None]) -> list[tuple[str, Cycle]]:
        """The psums of an output out of the psum memory and into the SFP, and its sum."""
        base, t = self.course.address.psums, self.timing
        relu = {"relu": int(tile.relu or self.can.relu == "always")} if "relu" in self.course.bits else {}
        if self.course.accumulate == "in_place":
            address = {"CEN_pmem": 1, "A_pmem": base + index, **self._where_there({"REN_pmem": 1})}
            cycles = [("output", Cycle(address | relu)) for _ in range(t.pmem_to_acc + t.output + 1)]
        else:
            assert tile.reads is not None
            reads = [
                {"CEN_pmem": 1, "A_pmem": base + tap * tile.positions + int(at)}
                for tap, at in enumerate(tile.reads[:, index])
            ]
            cycles = self._reset() if self.course.reset_each_output else []
            cycles = cycles + _overlaid("accumulate", reads, [{"acc": 1}] * tile.taps, t.pmem_to_acc)
            hold = {"acc": 1} if self.course.hold_acc else {}
            cycles += [("output", Cycle(hold | relu)) for _ in range(t.output)]
        phase, last = cycles[-1]
        cycles[-1] = (phase, dataclasses.replace(last, read=read))
        return cycles

    # The contract

    async def write_activations(self, tile: Tile, activations: np.ndarray) -> None:
        words = self._words(activations, self.can.act_width)
        # Idle before the reset that may follow: a core that registers the instruction would lose the last word
        await self._play(self._write(self.course.address.activations, words) + [("idle", Cycle({}))] * 2)

    async def load_weights(self, tile: Tile, tap: int, weights: np.ndarray) -> None:
        # A word of xmem has the weights of a column, row r in the place that row r's activations have; with two
        # channels to a row, there is a word for each.
        by_channel = weights.T.reshape(self.can.cols, self.can.rows, self.can.channels).swapaxes(1, 2)
        words = self._words(by_channel.reshape(-1, self.can.rows) % (1 << self.can.wgt_bits), self.can.act_bits)
        base = self.course.address.weights
        cycles = self._reset() if self.course.reset_each_tap else []
        cycles = cycles + self._write(base, words) + self._fetch(base, len(words))
        await self._play(cycles + self._feed("load", len(words), self.timing.load or self.across))

    async def execute(self, tile: Tile, tap: int) -> None:
        fetched = self._fetch(self.course.address.activations, tile.positions)
        if self.valid is not None:
            empty = Cycle(fetched[0][1].fields, read=lambda: self._must_be_empty("before anything was executed"))
            fetched[0] = (fetched[0][0], empty)
        wait = self.timing.drain or self.across
        if self.valid is not None and tile.positions == 1:
            # Not after the drain, but as soon as the core says that every column has a psum
            await self._play(fetched + self._feed("execute", tile.positions, 0))
            await self._until_valid(max(wait, self.across))
            await self._play(self._store(tile, tap))
        else:
            await self._play(fetched + self._feed("execute", tile.positions, wait) + self._store(tile, tap))
        if self.psum is not None and self.course.accumulate == "per_output":
            first = tap * tile.positions
            self._peeks += [(self.course.address.psums + first + i, first + i) for i in range(tile.positions)]

    async def read_psums(self, tile: Tile) -> np.ma.MaskedArray | None:
        if self.psum is None or self.course.accumulate != "per_output":
            return None
        await self._play([("idle", Cycle({}))] * len(self._peeks))
        values = self._lanes([self._seen[i] for i in range(tile.taps * tile.positions)])
        self._seen.clear()
        return values.reshape(tile.taps, tile.positions, self.can.cols)

    async def read_outputs(self, tile: Tile) -> np.ma.MaskedArray | None:
        seen: list[tuple[int, int]] = []
        for index in range(tile.outputs):
            await self._play(self._accumulate(tile, index, lambda: seen.append(read_bits(self.output))))
        return self._lanes(seen)

    # Words and cycles

    @property
    def across(self) -> int:
        """Enough cycles for anything to cross the array."""
        return 2 * (self.can.rows + self.can.cols) + 8

    def _words(self, values: np.ndarray, bits: int) -> list[int]:
        """Words of all rows [words, lanes of bits], row 0's lanes where the adapter has them."""
        if self.can.first_row == "high":
            rows = values.reshape(len(values), self.can.rows, -1)
            values = rows[:, ::-1].reshape(values.shape)
        return pack_lanes(values, bits)

    def _lanes(self, seen: list[tuple[int, int]]) -> np.ma.MaskedArray:
        """Values and marks of unknown ones [words, cols] from the bits of words."""
        cols, bits = self.can.cols, self.can.psum_bits
        values = unpack_lanes([word for word, _ in seen], cols, bits)
        unknown = unpack_lanes([mask for _, mask in seen], cols, bits, signed=False) != 0
        array = np.ma.MaskedArray(values, unknown)
        return array if self.can.first_col == "low" else array[:, ::-1]

    def _must_be_valid(self) -> None:
        value = str(self.valid.value)[-1]
        if value != "1":
            waited = self.timing.drain or self.across
            self.complaints.append(
                f"{self.course.valid} is {value} when the OFIFO is read, {waited} cycles after the last activation "
                f"left L0: no psum came out of every column"
            )

    async def _until_valid(self, most: int) -> None:
        """Idle until the OFIFO says that it can be read, as long as may be."""
        seen: list[str] = []
        for _ in range(most):
            await self._play([("idle", Cycle({}, read=lambda: seen.append(str(self.valid.value)[-1])))])
            if seen[-1] == "1":
                return

    def _must_be_empty(self, when: str) -> None:
        if str(self.valid.value)[-1] != "0":
            self.complaints.append(
                f"{self.course.valid} is {str(self.valid.value)[-1]} {when}, when the OFIFO should be empty; where "
                f'the port means something else, say valid = "" in [course]'
            )

    async def _play(self, cycles: Sequence[tuple[str, Cycle]]) -> None:
        """Drive the cycles one after the other; what is read in a cycle is read at the edge that ends it.

        Stalls are idle cycles in front of a phase: within one, the controls' distances are the core's own.
        """
        before = None
        for phase, cycle in cycles:
            while phase != before and self._pauses is not None and next(self._pauses):
                await self._cycle("idle", Cycle({}))
            before = phase
            await self._cycle(phase, cycle)

    async def _cycle(self, phase: str, cycle: Cycle) -> None:
        self._drive(self.inst, self.word(phase, cycle.fields))
        self._drive(self.data, cycle.data)
        self._drive(getattr(self.dut, self.reset_name), self.reset_level if phase == "reset" else 1 - self.reset_level)
        for name in self.course.pins:
            self._drive(getattr(self.dut, name), self.course.set.get(phase, {}).get(name, self.course.pins[name]))
        peek = self._peeks.pop(0) if self._peeks else None
        if peek:
            self._drive(self.dut.foreign_peek, peek[0])
        await self.edge
        if peek:
            self._seen[peek[1]] = read_bits(self.psum)
        if cycle.read:
            cycle.read()

    def _drive(self, handle, value: int) -> None:
        if self._shown.get(handle) != value:  # a write costs more than the comparison
            handle.value = self._shown[handle] = value


def _overlaid(
    phase: str, first: list[dict[str, int]], second: list[dict[str, int]], later: int
) -> list[tuple[str, Cycle]]:
    """Two controls a cycle each, the second ``later`` cycles behind the first."""
    cycles: list[dict[str, int]] = [{} for _ in range(max(len(first), len(second) + later))]
    for i, fields in enumerate(first):
        cycles[i] = cycles[i] | fields
    for i, fields in enumerate(second):
        cycles[i + later] = cycles[i + later] | fields
    return [(phase, Cycle(fields)) for fields in cycles]
