"""The bench of ``bus``: the accelerator between a cocotbext-axi AXI4-Lite master and a cocotbext-axi memory.

Slower by far than ``tb.accelerator.system_bench``, but nothing of it was written for this accelerator: neither the host
nor the memory knows when it holds a channel, and the memory answers what it is asked.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiSlave, MemoryRegion

from golden_model.accelerator import registers
from golden_model.accelerator.golden import AcceleratorGolden
from golden_model.configuration import Configuration
from tb.accelerator.axi_rules import broken_rules
from tb.accelerator.checks import BREAK_OFF, CONTROL, COUNTERS, LayerFailed, miscounted, refusal
from tb.accelerator.command import Command, outputs_of
from tb.parts.clocking import PERIOD_NS, rise_or_limit
from tb.parts.scoreboard import Scoreboard
from tb.parts.streams import read_word

CHANNELS = ("ar", "r", "aw", "w", "b", "lite_aw", "lite_w", "lite_b", "lite_ar", "lite_r")
GUARD = 1024  # bytes beyond mem_limit that nobody may touch


class FailingMemory(MemoryRegion):
    """A memory that answers SLVERR to reads and writes of the addresses in ``bad_reads`` and ``bad_writes``."""

    bad_reads: range = range(0)
    bad_writes: range = range(0)

    async def _read(self, address, length, **kwargs):
        if address in self.bad_reads:
            raise OSError(f"no answer from 0x{address:x}")
        return await super()._read(address, length, **kwargs)

    async def _write(self, address, data, **kwargs):
        if address in self.bad_writes:
            raise OSError(f"0x{address:x} takes no data")
        await super()._write(address, data, **kwargs)


class AxiBench:
    """Owns clock, reset, master and memory of one ``bus``."""

    def __init__(self, dut, configuration: Configuration, size: int = 1 << 20):
        self.dut, self.configuration = dut, configuration
        self.memory = FailingMemory(size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.reset)
            self.slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.reset, target=self.memory)
        halves = (self.lite.write_if, self.lite.read_if, self.slave.write_if, self.slave.read_if)
        for half in halves:
            half.log.setLevel("ERROR")  # a line for each burst otherwise
        self.channels = {
            "ar": self.slave.read_if.ar_channel, "r": self.slave.read_if.r_channel,
            "aw": self.slave.write_if.aw_channel, "w": self.slave.write_if.w_channel,
            "b": self.slave.write_if.b_channel, "lite_aw": self.lite.write_if.aw_channel,
            "lite_w": self.lite.write_if.w_channel, "lite_b": self.lite.write_if.b_channel,
            "lite_ar": self.lite.read_if.ar_channel, "lite_r": self.lite.read_if.r_channel,
        }  # fmt: skip

    @classmethod
    async def started(cls, dut, configuration: Configuration) -> AxiBench:
        """Clock, reset, and then the bus models: before, they would look at outputs that are unknown."""
        dut.reset.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)
        await ClockCycles(dut.clk, 3)
        tb = cls(dut, configuration)
        await tb.reset()
        return tb

    async def reset(self) -> None:
        self.dut.reset.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.dut.reset.value = 0
        await ClockCycles(self.dut.clk, 2)

    def stall(self, probability: float, channels: tuple[str, ...], seed: int) -> None:
        """Let ``channels`` hold in a cycle with this probability, the others never."""
        for index, (name, channel) in enumerate(self.channels.items()):
            held = probability if name in channels else 0.0
            if held:
                draws = np.random.default_rng([seed, index]).random(4096) < held
                channel.set_pause_generator(itertools.cycle(draws.tolist()))
            else:
                channel.clear_pause_generator()
                channel.pause = False

    async def write(self, address: int, word: int) -> int:
        """One register; returns the response, 0: OKAY."""
        return int((await self.lite.write(address, word.to_bytes(4, "little"))).resp)

    async def read(self, address: int) -> tuple[int, int]:
        """Word and response of one register."""
        answer = await self.lite.read(address, 4)
        return int.from_bytes(answer.data, "little"), int(answer.resp)

    async def status(self) -> dict[str, int]:
        address = registers.address_of("status")
        return registers.decode({address: (await self.read(address))[0]})

    async def start_layer(self, command: Command) -> None:
        """Memory, descriptor, start."""
        for _ in range(BREAK_OFF):
            if not (await self.status())["busy"]:
                break
        else:
            raise LayerFailed("the layer before was never broken off: the accelerator stays busy")
        for region in command.regions:
            self.memory[region.address : region.address + len(region.data)] = region.data.tobytes()
        self.memory[command.out_base : command.mem_bytes] = b"\xa5" * command.out_bytes
        self.memory[command.mem_bytes : command.mem_bytes + GUARD] = b"\x5a" * GUARD
        for address, word in registers.encode(command.fields).items():
            assert await self.write(address, word) == 0, f"register 0x{address:02x} was answered with an error"
        await self.write(CONTROL, 2)
        await self.write(CONTROL, 1)

    async def run_layer(
        self, command: Command, golden: AcceleratorGolden, *, title: str, slack: int = 60
    ) -> dict[str, int]:
        """Run one layer and compare outputs, counters, and memory that was not to be written; returns the counters."""
        plan = command.plan
        limit = slack * sum(plan.passes(b) for b in range(plan.bands)) * plan.pass_cycles + 30_000
        await self.start_layer(command)
        await rise_or_limit(self.dut.irq, self.dut.clk, limit)
        status = await self.status()
        counters = {name: (await self.read(registers.address_of(name)))[0] for name in COUNTERS}
        if not status["done"]:
            raise refusal(title, status, limit, counters)
        notes = self.damage(command) + self.broken()
        notes += miscounted(counters, plan)
        if status["overflow"] or status["saturated"] != golden.saturated:
            notes.append(f"unexpected status {status}")
        data = np.frombuffer(self.memory[command.out_base : command.mem_bytes], np.uint8)
        scoreboard = Scoreboard(title)
        oc, oh, ow = golden.output.shape
        labels = np.stack([g.ravel() for g in np.meshgrid(np.arange(oc), np.arange(oh), indexing="ij")], axis=1)
        scoreboard.compare(
            "output", golden.output.reshape(-1, ow), outputs_of(command, data).reshape(-1, ow), names=("oc", "oi"),
            labels=labels, lane="oj",
        )  # fmt: skip
        scoreboard.check(*notes)
        return counters

    def damage(self, command: Command) -> list[str]:
        """Memory outside the outputs that is no longer what it was."""
        notes = []
        for region in command.regions:
            if self.memory[region.address : region.address + len(region.data)] != region.data.tobytes():
                notes.append(f"the memory at 0x{region.address:x} was overwritten")
        if self.memory[command.mem_bytes : command.mem_bytes + GUARD] != b"\x5a" * GUARD:
            notes.append("memory beyond mem_limit was overwritten")
        return notes

    def broken(self) -> list[str]:
        return [f"a rule of the bus was broken: {rule}" for rule in broken_rules(read_word(self.dut.broken))]
