"""cocotb tests of single modules of the class's structure, each against a few lines of what it is to do."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from tb.foreign.parts import PREFIX
from tb.layers.job import LayerJob
from tb.parts.clocking import reset, start_clock
from tb.parts.lanes import pack_lanes
from tb.parts.scoreboard import Mismatch, Scoreboard
from tb.parts.stimulus import limits
from tb.parts.streams import read_lanes

LOAD, EXECUTE = 1, 2
LATEST = 4  # cycles that a read may take to show


class Part:
    """Ports of the module by the class's names, clock and reset, random operands."""

    def __init__(self, dut):
        adapter = LayerJob.load().prepared[0]
        self.dut, self.can = dut, adapter.can
        self.reset_level = adapter.course.reset_level if adapter.course else 1
        self.rng = np.random.default_rng(LayerJob.load().seed)
        self.edge = RisingEdge(getattr(dut, f"{PREFIX}clk"))
        c = self.can
        self.lanes = {
            "in_w": c.act_bits, "out_e": c.act_bits, "in_n": c.psum_bits, "out_s": c.psum_bits,
            "inst_w": 2, "inst_e": 2,
        }  # fmt: skip

    def port(self, name: str):
        return getattr(self.dut, f"{PREFIX}{name}", None)

    def drive(self, **values: int) -> None:
        for name, value in values.items():
            handle = self.port(name.rstrip("_"))
            if handle is not None:
                handle.value = value

    def read(self, name: str, lanes: int, bits: int) -> np.ma.MaskedArray:
        return read_lanes(self.port(name), lanes, bits)

    async def start(self, **idle: int) -> None:
        start_clock(self.dut, f"{PREFIX}clk")
        self.drive(**idle)
        await self.reset()

    async def reset(self) -> None:
        await reset(self.dut, clk=f"{PREFIX}clk", name=f"{PREFIX}reset", level=self.reset_level)

    def weights(self, *shape: int) -> np.ndarray:
        low, high = limits(self.can.wgt_bits)
        return self.rng.integers(low, high + 1, shape)

    def psums(self, most: int, others: np.ndarray) -> np.ndarray:
        """Random psums up to ``most``, of the shape of ``others``, so that their sums with these fit PSUM_BITS."""
        low, high = limits(self.can.psum_bits)
        values = self.rng.integers(-most, most, others.shape)
        return values.clip(low - others.clip(max=0), high - others.clip(min=0))

    def activations(self, *shape: int) -> np.ndarray:
        return self.rng.integers(0, limits(self.can.act_bits, False)[1] + 1, shape)


def check(name: str, wanted, seen: list, names=("cycle",), lane: str = "column", labels=None) -> None:
    """Compare [words, lanes]; unknown bits are mismatches."""
    board = Scoreboard()
    seen = np.ma.stack(seen) if seen else np.ma.MaskedArray(np.zeros((0, np.shape(wanted)[1]), np.int64))
    board.compare(
        name, wanted, seen.data, names=names, labels=labels, lane=lane, unknown=np.ma.getmaskarray(seen)
    )  # fmt: skip
    board.check()


@cocotb.test()
async def mac_tile(dut):
    """Takes one weight, passes later ones on; psum = psum from the north + activation * weight, a cycle later."""
    part = Part(dut)
    bits = part.can.psum_bits
    await part.start(in_w=0, inst_w=0, in_n=0)
    for _ in range(3):
        await part.reset()
        weight, other = map(int, part.weights(2))
        passed = []
        for value in (weight, other):
            part.drive(in_w=value % (1 << part.can.act_bits), inst_w=LOAD)
            await part.edge
            passed.append(part.read("inst_e", 1, 2))
        part.drive(inst_w=0)
        await part.edge
        passed.append(part.read("inst_e", 1, 2))
        # Passed on are the loads that come when the tile has its weight.
        check("inst_e while loading", np.array([[0], [1]]), [value & 1 for value in passed[1:]])
        act = part.activations(20)
        north = part.psums(500, act * weight)
        seen, east, inst = [], [], []
        for i in range(21):
            if i < 20:
                part.drive(in_w=int(act[i]), inst_w=EXECUTE, in_n=int(north[i]) % (1 << bits))
            else:
                part.drive(inst_w=0)
            await part.edge
            if i:
                seen.append(part.read("out_s", 1, bits))
                east.append(part.read("out_e", 1, part.can.act_bits + 1) & ((1 << part.can.act_bits) - 1))
                inst.append(part.read("inst_e", 1, 2) & 3)
        check("out_s", (north + act * weight)[:, None], seen)
        check("out_e", act[:, None], east)
        check("inst_e", np.full((20, 1), EXECUTE), inst)


async def _load_row(part: Part, weights: np.ndarray) -> None:
    """A word a cycle into a row, column 0's first, and time to arrive."""
    for value in weights:
        part.drive(in_w=int(value) % (1 << part.can.act_bits), inst_w=LOAD)
        await part.edge
    part.drive(inst_w=0)
    for _ in range(len(weights) + 2):
        await part.edge


@cocotb.test()
async def mac_row(dut):
    """Takes a weight for each column, and shows each column's psums with its valid."""
    part = Part(dut)
    cols, bits = part.can.cols, part.can.psum_bits
    await part.start(in_w=0, inst_w=0, in_n=0)
    for _ in range(2):
        await part.reset()
        weights, act = part.weights(cols), part.activations(15)
        await _load_row(part, weights)
        seen = [[] for _ in range(cols)]
        for i in range(15 + cols + 4):
            part.drive(**({"in_w": int(act[i]), "inst_w": EXECUTE} if i < 15 else {"inst_w": 0}))
            await part.edge
            _gather(part, seen, cols, bits)
        _compare_columns(act[:, None] * weights, seen)


@cocotb.test()
async def mac_array(dut):
    """Takes skewed weights and activations, and shows each column's sums over the rows with its valid."""
    part = Part(dut)
    rows, cols, bits = part.can.rows, part.can.cols, part.can.psum_bits
    await part.start(in_w=0, inst_w=0, in_n=0)
    for _ in range(2):
        await part.reset()
        weights, act = part.weights(rows, cols), part.activations(15, rows)
        seen = [[] for _ in range(cols)]
        await _skewed(part, weights.T % (1 << part.can.act_bits), LOAD, None)
        for _ in range(rows + cols + 2):
            await part.edge
        await _skewed(part, act, EXECUTE, lambda seen=seen: _gather(part, seen, cols, bits))
        for _ in range(rows + cols + 4):
            await part.edge
            _gather(part, seen, cols, bits)
        _compare_columns(act @ weights, seen)


async def _skewed(part: Part, words: np.ndarray, instruction: int, each) -> None:
    """Words [time, row] with row r a cycle later than row r-1; the instruction goes with row 0."""
    count, rows = words.shape
    for cycle in range(count + rows):
        lanes = [int(words[cycle - row, row]) if 0 <= cycle - row < count else 0 for row in range(rows)]
        part.drive(in_w=pack_lanes(np.array(lanes), part.can.act_bits)[0], inst_w=instruction if cycle < count else 0)
        await part.edge
        if each:
            each()


def _gather(part: Part, seen: list[list], cols: int, bits: int) -> None:
    """Psums of the columns whose valid is high. Mismatch where one is X: an OFIFO behind it takes what it likes."""
    valid, psums = part.read("valid", cols, 1), part.read("out_s", cols, bits)
    unknown = np.ma.getmaskarray(valid)
    if unknown.any():
        col = int(unknown.argmax())
        raise Mismatch(
            f"valid of column {col} is X, after {len(seen[col])} psums that it was high for; is it reset, and driven "
            "in every cycle?"
        )
    for col in np.flatnonzero(valid.data):
        seen[col].append(psums[col])


def _compare_columns(wanted: np.ndarray, seen: list[list]) -> None:
    counts = [len(values) for values in seen]
    if odd := [col for col, count in enumerate(counts) if count != len(wanted)]:
        raise Mismatch(
            f"valid of column {odd[0]} was high in {counts[odd[0]]} cycles, {len(wanted)} activations were executed"
        )
    known = np.array([[np.ma.getdata(value) for value in values] for values in seen]).T
    unknown = np.array([[bool(np.ma.getmaskarray(value)) for value in values] for values in seen]).T
    board = Scoreboard()
    board.compare("psum", wanted, known, names=("activation",), unknown=unknown)
    board.check()


@cocotb.test()
async def l0(dut):
    """Words go in whole, and leave row by row, each row a cycle after the one above it; 0 to 3 cycles after rd."""
    part = Part(dut)
    rows, bits = part.can.rows, part.can.act_bits
    await part.start(in_=0, wr=0, rd=0)
    for _ in range(2):
        await part.reset()
        count = min(part.can.positions or 64, 64)
        words = part.activations(count, rows)
        for word in pack_lanes(words, bits):
            part.drive(in_=word, wr=1)
            await part.edge
        part.drive(wr=0)
        await part.edge
        rows_seen = []
        for cycle in range(count + rows + LATEST):
            part.drive(rd=int(cycle < count))
            await part.edge
            rows_seen.append(part.read("out", rows, bits) & ((1 << bits) - 1))
        boards = []
        for latency in range(LATEST):
            seen = [np.ma.stack([rows_seen[i + row + latency][row] for row in range(rows)]) for i in range(count)]
            board = Scoreboard()
            seen = np.ma.stack(seen)
            board.compare("word", words, seen.data, names=("word",), lane="row", unknown=np.ma.getmaskarray(seen))
            boards.append(board)
        min(boards, key=lambda board: board.mismatches).check()


@cocotb.test()
async def ofifo(dut):
    """Columns fill one after the other; o_valid says that each has a psum; rd takes one from all, 0 to 3 cycles
    later."""
    part = Part(dut)
    cols, bits = part.can.cols, part.can.psum_bits
    await part.start(in_=0, wr=0, rd=0)
    for _ in range(2):
        await part.reset()
        low, high = limits(bits)
        count = min(part.can.positions or 64, 64)
        words = part.rng.integers(low, high + 1, (count, cols))
        await part.edge
        check("o_valid of an empty OFIFO", np.array([[0]]), [part.read("o_valid", 1, 2) & 1])
        early = []
        for cycle in range(count + cols):
            active = [0 <= cycle - col < count for col in range(cols)]
            lanes = [int(words[cycle - col, col]) if active[col] else 0 for col in range(cols)]
            part.drive(in_=pack_lanes(np.array(lanes), bits)[0], wr=sum(bit << col for col, bit in enumerate(active)))
            await part.edge
            if cycle < cols:  # the last column's first word is written at the end of this cycle, or later
                early.append(part.read("o_valid", 1, 2) & 1)
        check("o_valid before the last column has a word", np.zeros((cols, 1), int), early)
        part.drive(wr=0)
        await part.edge
        check("o_valid of a filled OFIFO", np.array([[1]]), [part.read("o_valid", 1, 2) & 1])
        seen = []
        for cycle in range(count + LATEST):
            part.drive(rd=int(cycle < count))
            await part.edge
            seen.append(part.read("out", cols, bits))
        boards = []
        for latency in range(LATEST):
            board, those = Scoreboard(), np.ma.stack(seen[latency : latency + count])
            board.compare("word", words, those.data, names=("word",), unknown=np.ma.getmaskarray(those))
            boards.append(board)
        min(boards, key=lambda board: board.mismatches).check()


@cocotb.test()
async def sfp(dut):
    """Adds what comes with acc; a reset clears; ReLU, where the adapter says that the core has one."""
    part = Part(dut)
    cols, bits = part.can.cols, part.can.psum_bits
    await part.start(acc=0, in_=0)
    for _ in range(3):
        await part.reset()
        words = np.zeros((9, cols), np.int64)
        for index in range(len(words)):
            words[index] = part.psums(900, words.sum(0))
        for word in pack_lanes(words, bits):
            part.drive(in_=word, acc=1)
            await part.edge
        part.drive(acc=0)
        await part.edge
        sums = words.sum(0)
        wanted = np.maximum(sums, 0) if part.can.relu == "always" else sums
        check("sum", wanted[None], [part.read("out", cols, bits)], names=("output",))
