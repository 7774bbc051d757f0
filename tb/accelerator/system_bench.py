"""The bench of ``system``: the accelerator with a memory beside it, filled and read in bulk.

Python's share of a layer does not grow with its cycles: it writes the memory as a file, the descriptor over AXI4-Lite,
waits for the interrupt, and compares what the recorders and the memory hold as arrays.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, ValueChange

from golden_model.accelerator import registers
from golden_model.accelerator.golden import AcceleratorGolden
from golden_model.accelerator.plan import bus_bits
from golden_model.configuration import Dataflow
from tb.accelerator.axi_rules import broken_rules
from tb.accelerator.checks import BREAK_OFF, CONTROL, COUNTERS, LayerFailed, miscounted, refusal
from tb.accelerator.command import Command, Region, outputs_of
from tb.accelerator.hexfile import from_hex, write_memory
from tb.parts.clocking import PERIOD_NS
from tb.parts.scoreboard import Scoreboard
from tb.parts.streams import UnknownValue, read_bit, read_word

INPUTS = ("run", "run_cycles", "load", "dump", "dump_first", "dump_last", "record", "seed")
STALLS = ("ar", "r", "aw", "w", "b")
ANSWER = 1000  # cycles after which a register that does not answer is taken to be dead
NOWHERE = 0xFFFFFFFF  # a beat that no memory has


@dataclasses.dataclass(frozen=True)
class AcceleratorRun:
    """What one layer gave: the hardware's counters, values compared, mismatches."""

    cycles: int
    active: int
    fill: int
    stall_act: int
    stall_wgt: int
    stall_out: int
    passes: int
    utilisation: float
    compared: int
    mismatches: int


class AcceleratorBench:
    """Owns clock, reset, register port and memory of one ``system``; files lie in the simulation's directory."""

    def __init__(self, dut, configuration):
        self.dut, self.configuration = dut, configuration
        self.beat = bus_bits(configuration) // 8

    async def start(self, seed: int = 1, stalls: float = 0.0, stalled: tuple[str, ...] | None = None) -> None:
        """Clock and reset; ``stalls`` is the probability that a memory channel holds in a cycle."""
        dut = self.dut
        for name in INPUTS:
            getattr(dut, name).value = 0
        dut.fail_read.value = dut.fail_write.value = NOWHERE
        dut.seed.value = (seed * 2654435761 + 12345) % 2**32
        for channel in STALLS:
            held = stalls if stalled is None or channel in stalled else 0.0
            getattr(dut, f"stall_{channel}").value = min(255, round(held * 256))
        for name in ("awvalid", "wvalid", "arvalid", "awaddr", "araddr", "wdata"):
            getattr(dut, f"s_axil_{name}").value = 0
        dut.s_axil_wstrb.value = 15
        dut.s_axil_bready.value = 1
        dut.s_axil_rready.value = 1
        self.clock = Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi")
        self.clock.start(start_high=False)
        await self.reset()

    async def reset(self) -> None:
        self.dut.reset.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.dut.reset.value = 0
        await RisingEdge(self.dut.clk)

    async def write(self, address: int, word: int) -> None:
        """One register over AXI4-Lite."""
        dut = self.dut
        dut.s_axil_awaddr.value, dut.s_axil_wdata.value = address, word
        dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 1
        await self._answered(dut.s_axil_awready, f"the write of register 0x{address:02x}")
        dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 0
        await RisingEdge(dut.clk)
        assert read_word(dut.s_axil_bresp) == 0, f"the write of register 0x{address:02x} was answered with an error"

    async def read(self, address: int) -> int:
        dut = self.dut
        dut.s_axil_araddr.value = address
        dut.s_axil_arvalid.value = 1
        await self._answered(dut.s_axil_arready, f"the read of register 0x{address:02x}")
        dut.s_axil_arvalid.value = 0
        await self._answered(dut.s_axil_rvalid, f"the read of register 0x{address:02x}")
        try:
            return read_word(dut.s_axil_rdata)
        except UnknownValue:
            found = dut.s_axil_rdata.value
            raise LayerFailed(f"register {registers.name_at(address)} has unknown bits (X): {found}") from None

    async def _answered(self, signal, what: str) -> None:
        """The first clock edge at which ``signal`` is high."""
        for _ in range(ANSWER):
            await RisingEdge(self.dut.clk)
            if read_bit(signal):
                return
        raise LayerFailed(f"{what} was not answered in {ANSWER} cycles")

    async def status(self) -> dict[str, int]:
        address = registers.address_of("status")
        return registers.decode({address: await self.read(address)})

    async def start_layer(self, command: Command) -> None:
        """Memory, descriptor, start."""
        await self.idle()  # else the descriptor is locked
        self.fill(command)
        await self._pulse(self.dut.load)
        for address, word in registers.encode(command.fields).items():
            await self.write(address, word)
        await self.write(CONTROL, 2)  # the interrupt of the layer before falls
        await self.begin()

    async def interrupt(self, limit: int) -> None:
        """Wait for the interrupt, at most ``limit`` cycles, which ``system`` makes itself; then it is a clock edge."""
        dut = self.dut
        await FallingEdge(dut.clk)
        self.clock.stop()
        dut.run_cycles.value, dut.run.value = limit, 1
        await ValueChange(dut.ran)
        dut.run.value = 0
        self.clock.start(start_high=False)
        await RisingEdge(dut.clk)

    async def idle(self) -> None:
        """Wait until a layer that is being broken off has ended."""
        for _ in range(BREAK_OFF):
            if not (await self.status())["busy"]:
                return
        raise LayerFailed("the layer before was never broken off: the accelerator stays busy")

    async def begin(self) -> None:
        await self.write(CONTROL, 1)

    async def _pulse(self, signal) -> None:
        signal.value = 1
        await ClockCycles(self.dut.clk, 3)
        signal.value = 0
        await ClockCycles(self.dut.clk, 3)

    def fill(self, command: Command) -> None:
        """memory.hex: the command's regions, beat by beat, and a pattern where the accelerator is to write."""
        blank = Region(command.out_base, np.full(command.out_bytes, 0xA5, np.uint8))
        write_memory(Path("memory.hex"), [*command.regions, blank], self.beat)

    async def memory(self, first: int, last: int) -> np.ndarray:
        """Beats first..last of the memory, uint8 [bytes]; what is unknown reads as 0."""
        self.dut.dump_first.value, self.dut.dump_last.value = first, last
        await self._pulse(self.dut.dump)
        return from_hex(Path("dump.hex"), self.beat, 8, signed=False)[0].astype(np.uint8).reshape(-1)

    async def run_layer(
        self,
        command: Command,
        golden: AcceleratorGolden,
        *,
        title: str,
        psums: bool = False,
        slack: int = 40,
        during=None,
    ) -> AcceleratorRun:
        """Run one layer and compare; Mismatch or LayerFailed tell what was wrong.

        psums: also every psum of every pass. during: awaited once the layer has been started. slack: the cycles
        allowed are ``slack`` times those of full flow, plus 20,000.
        """
        plan = command.plan
        limit = slack * sum(plan.passes(b) for b in range(plan.bands)) * plan.pass_cycles + 20_000
        await self.idle()  # what still leaves the layer before is not this one's
        self.dut.record.value = 3 if psums else 1
        await self.start_layer(command)
        if during is not None:
            await during()
        await self.interrupt(limit)
        status = await self.status()
        counters = {name: await self.read(registers.address_of(name)) for name in COUNTERS}
        self.dut.record.value = 0
        await ClockCycles(self.dut.clk, 3)
        if not status["done"]:
            raise refusal(title, status, limit, counters)
        first, last = command.out_base // self.beat, (command.out_base + command.out_bytes) // self.beat - 1
        self.dut.dump_first.value, self.dut.dump_last.value = first, last
        await self._pulse(self.dut.dump)
        scoreboard = self._compare(command, golden, title, psums)
        notes = []
        if status["overflow"]:
            notes.append(f"the overflow bit is set: a sum left PSUM_BITS = {self.configuration.psum_bits}")
        notes += miscounted(counters, plan)
        if status["saturated"] != golden.saturated:
            notes.append(f"the saturation bit is {status['saturated']}, expected {int(golden.saturated)}")
        notes += [f"a rule of the bus was broken: {rule}" for rule in broken_rules(read_word(self.dut.broken))]
        scoreboard.check(*notes)
        tiles = self.configuration.rows * self.configuration.cols * plan.ic_group
        return AcceleratorRun(
            **counters, utilisation=plan.shape.macs / (counters["cycles"] * tiles),
            compared=scoreboard.compared, mismatches=scoreboard.mismatches,
        )  # fmt: skip

    def _compare(self, command: Command, golden: AcceleratorGolden, title: str, psums: bool) -> Scoreboard:
        c, plan = self.configuration, command.plan
        scoreboard = Scoreboard(title)
        if psums:
            names = ("oc_tile", "ic_tile", "kij", "o_nij") if plan.dataflow is Dataflow.weight_stationary else (
                "oc_tile", "o_tile", "row", "o_nij")  # fmt: skip
            actual, unknown = from_hex(Path("psums.hex"), c.cols, c.psum_bits)
            labels, expected = golden.psums
            scoreboard.compare("psum", expected, actual, names=names, labels=labels, unknown=unknown)
        actual, unknown = from_hex(Path("sums.hex"), c.cols, c.psum_bits)
        labels, expected = golden.sums
        scoreboard.compare(
            "accumulated psum", expected, actual, names=("oc_tile", "o_nij"), labels=labels, unknown=unknown
        )
        raw, unknown = from_hex(Path("dump.hex"), self.beat, 8, signed=False)
        outputs = outputs_of(command, raw.astype(np.uint8).reshape(-1))
        marks = outputs_of(command, np.where(unknown, 255, 0).astype(np.uint8).reshape(-1)) != 0
        oc, oh, ow = golden.output.shape
        labels = np.stack([g.ravel() for g in np.meshgrid(np.arange(oc), np.arange(oh), indexing="ij")], axis=1)
        scoreboard.compare(
            "output", golden.output.reshape(-1, ow), outputs.reshape(-1, ow), names=("oc", "oi"), labels=labels,
            lane="oj", unknown=marks.reshape(-1, ow),
        )  # fmt: skip
        return scoreboard
