"""Runs layers on a foreign core tile by tile, compares what can be seen, and adds what the core does not add."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
from collections.abc import Coroutine
from typing import Any

import cocotb.triggers
import numpy as np
from cocotb.utils import get_sim_time

from golden_model.configuration import Dataflow
from tb.foreign.adapter import Adapter, AdapterError
from tb.foreign.contract import Driver, Tile
from tb.foreign.course import CourseDriver
from tb.foreign.diagnose import hints
from tb.foreign.passes import Expected, Passes, finished
from tb.foreign.record import Record, Rules
from tb.parts.clocking import CLOCK_STEPS, PERIOD_NS
from tb.parts.scoreboard import Mismatch, Scoreboard

BAD_TILES = 3  # wrong tiles that are looked at before a layer is given up
KEPT = 3  # tiles before the first wrong one that are kept, for what they may have left behind


class Stuck(AssertionError):
    """A step of a driver that did not end."""


@dataclasses.dataclass(frozen=True)
class ForeignRun:
    """What a layer gave; cycles from the first write to the last read, the writing of memories included."""

    cycles: int
    utilisation: float  # multiplications of the layer / (cycles * rows * cols)
    compared: int
    mismatches: int
    psums: bool  # whether every psum was seen
    sums: str  # who added what the outputs are made of: core, suite, or tiles: only sums of single tiles could be seen


def driver_of(dut, adapter: Adapter) -> Driver:
    """The driver that the adapter names. AdapterError where its file has no such class."""
    if adapter.course is not None:
        return CourseDriver(dut, adapter)
    assert adapter.driver is not None
    name, wanted = adapter.driver.split(":")
    spec = importlib.util.spec_from_file_location("foreign_driver", adapter.folder / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kind = getattr(module, wanted, None)
    if not (inspect.isclass(kind) and issubclass(kind, Driver)):
        raise AdapterError(f"{adapter.folder / name} has no class {wanted} that is a tb.foreign.Driver")
    return kind(dut, adapter)


class ForeignBench:
    """Owns the driver of one foreign core.

    bench = ForeignBench(dut, adapter)
    await bench.start()
    run = await bench.run_layer(passes, "vgg16 features.27")
    """

    def __init__(self, dut, adapter: Adapter):
        self.adapter, self.can = adapter, adapter.can
        self.driver = driver_of(dut, adapter)
        self.history: list[list[Record]] = []  # the last tiles of each layer that ran
        self.place = ""  # of the tile that runs, in words
        self.rules = Rules(self.can.inputs, self.can.cols, self.can.act_width, self.can.wgt_bits, self.can.psum_bits)

    async def start(self) -> None:
        await self._step(self.driver.start(), 10_000, "start")

    async def run_layer(self, passes: Passes, title: str) -> ForeignRun:
        """Run all tiles of a layer. Mismatch tells where it is wrong, and what that looks like."""
        self.place = ""
        await self._step(self.driver.reset(), 10_000, "reset")
        records: list[Record] = []
        self.history.append(records)
        sums = _Sums(passes)
        begin, compared, before = get_sim_time("step"), 0, None
        for tile, expected in passes.tiles():
            record = await self._run_tile(tile, expected, before)
            compared += record.compared
            before = tile
            if not record.wrong and not any(one.wrong for one in records):
                del records[: -KEPT + 1]
                records.append(record)
                sums.add(record)
                continue
            records.append(record)
            if sum(one.wrong for one in records) >= BAD_TILES:
                break
        if any(record.wrong for record in records):
            raise Mismatch("\n  ".join([title, *told(passes, records)]))
        cycles = (get_sim_time("step") - begin) // CLOCK_STEPS
        compared += sums.check(title)
        multipliers = self.can.inputs * self.can.cols
        psums = records[-1].psums is not None
        return ForeignRun(cycles, passes.shape.macs / (cycles * multipliers), compared, 0, psums, sums.by)

    async def _run_tile(self, tile: Tile, expected: Expected, before: Tile | None) -> Record:
        """Bring operands in, work, read what can be seen."""
        d, work = self.driver, 40 * (tile.positions + self.can.rows + self.can.cols) + 5_000
        self.place = "".join(f", {name} {number}" for name, number in tile.labels.items())
        if not (d.keeps_activations and before and np.array_equal(before.activations, tile.activations)):
            await self._step(d.write_activations(tile, tile.activations), work, "write_activations")
        for tap in range(tile.taps):
            await self._step(d.load_weights(tile, tap, tile.weights[tap]), work, f"load_weights of kij {tap}")
            await self._step(d.execute(tile, tap), work, f"execute of kij {tap}")
        psums = await self._step(d.read_psums(tile), work * tile.taps, "read_psums")
        outputs = None
        if tile.last and self.can.sums != "none":
            many = tile.outputs or self.can.rows
            outputs = await self._step(d.read_outputs(tile), work * (1 + many // 8), "read_outputs")
        relu = self.can.relu == "always" or (self.can.relu == "choice" and tile.relu)
        psums = _checked(psums, expected.psums, "read_psums")
        outputs = _checked(outputs, expected.sums, "read_outputs")
        complaints = tuple(dict.fromkeys(d.complaints))
        d.complaints.clear()
        record = Record(tile, expected, psums, outputs, relu, self.can.psum_bits, complaints)
        if not record.compared and tile.last:
            raise AdapterError("neither read_psums nor read_outputs gave anything to compare")
        return record

    async def _step(self, step: Coroutine[Any, Any, Any], cycles: int, name: str) -> Any:
        try:
            return await cocotb.triggers.with_timeout(step, cycles * PERIOD_NS, "ns")
        except cocotb.triggers.SimTimeoutError:
            told = f"{name}{self.place} had not ended after {cycles} cycles: the core does not answer"
            raise Stuck(told) from None

    def hints(self) -> list[str]:
        """What all that went wrong in the layers that ran looks like."""
        records = [record for layer in self.history for record in layer]
        if not any(record.differs for record in records):
            return []
        with contextlib.suppress(ArithmeticError, IndexError, ValueError, AssertionError):  # the report matters more
            return hints(records, self.rules, self.can.flow is Dataflow.weight_stationary)
        return []


def told(passes: Passes, records: list[Record]) -> list[str]:
    """The report: the first wrong values, then what they look like."""
    wrong = [record for record in records if record.wrong]
    first = wrong[0]
    scoreboard = Scoreboard()
    labels = first.tile.labels
    if first.psums is not None and first.expected.psums is not None:
        nij = passes.windows[labels["window"]].nij
        taps, _, cols = first.psums.shape
        at = np.array([[labels["ic_tile"], labels["oc_tile"], tap, place] for tap in range(taps) for place in nij])
        # What need not be there is shown as if it were right.
        seen = np.where(first.forgiven, first.expected.psums, first.psums.data)
        unknown = np.ma.getmaskarray(first.psums) & ~first.forgiven
        scoreboard.compare(
            "psum", first.expected.psums.reshape(-1, cols), seen.reshape(-1, cols),
            names=("ic_tile", "oc_tile", "kij", "nij"), labels=at, unknown=unknown.reshape(-1, cols),
        )  # fmt: skip
    if first.outputs is not None:
        o_nij, _ = passes.places(first.tile)
        part = "ic_tile" if "ic_tile" in labels else "k_chunk"
        names, tiles = (part, "oc_tile", "o_nij"), (labels[part], labels["oc_tile"])
        at = np.array([[*tiles, place] for place in o_nij])
        scoreboard.compare(
            "output" if first.relu else "sum", first.wanted, first.outputs.data, names=names, labels=at,
            unknown=first.outputs.mask,
        )  # fmt: skip
    counts = [f"{scoreboard.mismatches} of {first.compared} values of this tile are wrong"]
    return [*first.complaints, *(counts if scoreboard.mismatches else []), *scoreboard.report]


def _checked(values: Any, expected: np.ndarray | None, name: str) -> np.ma.MaskedArray | None:
    """What a driver returned, as a masked array of the expected shape."""
    if values is None or expected is None:
        return None
    array = np.ma.MaskedArray(np.ma.getdata(values), np.ma.getmaskarray(values))
    if array.shape != expected.shape:
        raise AdapterError(f"{name} gave an array of {list(array.shape)}, wanted is {list(expected.shape)}")
    return array


class _Sums:
    """The sums of a layer, added from what the core gave."""

    def __init__(self, passes: Passes):
        self.passes = passes
        s, can = passes.shape, passes.can
        self._sums = np.zeros((-(-s.oc // can.cols) * can.cols, s.n_o_nij + can.rows), np.int64)
        self._taken: dict[tuple[int, ...], np.ndarray] = {}
        self.complete = True
        self._by_suite = False

    def add(self, record: Record) -> None:
        tile, part = record.tile, record.plain_sums
        if not tile.last:
            return
        if part is None:
            self.complete = False
            return
        # The suite adds what lies in several tiles, and psums where the outputs are not what is wanted.
        several = tile.labels.get("k_chunk", 0) or (self.passes.can.sums != "ic_tile" and tile.labels.get("ic_tile", 0))
        self._by_suite |= (
            bool(several) or record.outputs is None or (record.relu_hides and not self.passes.operands.relu)
        )
        o_nij, oc = self.passes.places(tile)
        # Windows at the edge overlap their neighbours: an output is taken once for each ic_tile.
        key = tuple(value for name, value in tile.labels.items() if name not in ("window", "o_tile"))
        taken = self._taken.setdefault(key, np.zeros(self._sums.shape[1], bool))
        fresh = ~taken[o_nij]
        taken[o_nij] = True
        self._sums[np.ix_(oc, o_nij[fresh])] += part[fresh].T

    @property
    def by(self) -> str:
        if not self.complete:
            return "tiles"
        o = self.passes.operands
        return "suite" if self._by_suite or o.residual is not None or self.passes.shift else "core"

    def check(self, title: str) -> int:
        """Compare the finished layer, where it could be added up; number of values. Mismatch where it differs."""
        if not self.complete:
            return 0
        s = self.passes.shape
        sums = self._sums[: s.oc, : s.n_o_nij].reshape(s.oc, s.oh, s.ow)
        wanted, got = finished(self.passes, self.passes.sums), finished(self.passes, sums)
        scoreboard = Scoreboard(title)
        for name, one, other in zip(("accumulated psum", "output"), wanted, got, strict=True):
            scoreboard.compare(name, one.reshape(s.oc, -1), other.reshape(s.oc, -1), names=("oc",), lane="o_nij")
        scoreboard.check()
        return scoreboard.compared
