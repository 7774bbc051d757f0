"""cocotb tests of ``system``: lists of layers when things go wrong; the list after is right without a reset."""

from __future__ import annotations

import os

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from golden_model.accelerator import registers
from golden_model.configuration import Dataflow, configuration
from tb.accelerator.axi_rules import broken_rules
from tb.accelerator.checks import CONTROL, MEMORY_BEATS
from tb.accelerator.command import Region
from tb.accelerator.system_bench import NOWHERE
from tb.networks.bench import NetworkBench
from tb.networks.program import NetworkProgram, compile_network
from tb.networks.random_networks import random_network
from tb.parts.stimulus import generator, seed
from tb.parts.streams import read_word

BROKEN_OFF = 20_000  # cycles after which a list that was broken off has ended


class Bench(NetworkBench):
    """A small network, an image, and what must come of it."""

    def __init__(self, dut, program: NetworkProgram, image: np.ndarray):
        super().__init__(dut, program)
        self.expected = program.expected(image)[0]

    async def right(self, what: str) -> int:
        """Run the whole list and compare everything; returns its cycles."""
        run = await self.run_image(0, self.expected, check=True)
        assert run.scores == run.expected, what
        return run.cycles

    async def write_list(self, changes: dict[int, dict[str, int]]) -> None:
        """The list anew, with other fields of some layers."""
        p = self.program
        for index, layer in enumerate(p.layers):
            words = registers.layer_words({**layer.fields, **changes.get(index, {})})
            data = np.array(words, "<u4").view(np.uint8)
            await self._write_memory([Region(p.list_base + index * p.list_bytes, data)])

    async def ends(self, error: int, layer: int, what: str) -> None:
        """Start the list, which must end with ``error`` at ``layer``, and break no rule."""
        await self.write(CONTROL, 2)
        await self.begin()
        await self.interrupt(BROKEN_OFF)
        status = await self.status()
        at = await self.read(registers.address_of("layer"))
        assert (status["error"], status["done"], at) == (error, 0, layer), f"{what}: {status}, layer {at}"
        assert not status["busy"], what
        broken = broken_rules(read_word(self.dut.broken))
        assert not broken, f"{what}: {broken}"


async def bench(dut, stalls: float = 0.0) -> Bench:
    c = configuration(os.environ["COSIM_CONFIGURATION"])
    number = seed()
    while True:
        drawn = random_network(number, c, most=5, channels=8)
        program = compile_network(drawn.network, c, drawn.image.shape[2:])
        digits = any(layer.fields.get("residual_shift") for layer in program.layers)  # their sums need more bits
        if len(program.layers) >= 4 and not digits:
            break
        number += 1
    tb = Bench(dut, program, drawn.image)
    await tb.start(seed(), stalls)
    await tb.load()
    return tb


@cocotb.test()
async def small_networks(dut):
    """Networks of few cycles that together have every kind of output, one after the other without a reset."""
    c = configuration(os.environ["COSIM_CONFIGURATION"])
    clock = None
    for number in range(14):
        drawn = random_network(number, c, most=5, channels=9)
        program = compile_network(drawn.network, c, drawn.image.shape[2:], (None, *Dataflow)[number % 3])
        tb = Bench(dut, program, drawn.image)
        if clock is None:
            await tb.start(seed())
        clock = tb.clock = clock or tb.clock
        await tb.load()
        await tb.right(f"network {number}")


@cocotb.test()
async def illegal_layer(dut):
    """A list stops at a layer that is refused, or that breaks off, and says which; those before it have run."""
    tb = await bench(dut)
    p = tb.program
    await tb.right("at first")
    for index in range(len(p.layers)):
        for error, fields in (
            (2, {"kernel": 5}), (1, {"oc_tiles": 0}), (5, {"wgt_base": 1}), (5, {"out_base": 0x4000_0000}),
            (7, {"turned": 1, "split": 1, "requant": 1}),
            (5, {"wgt_chunk_stride": 0x4000_0000, "oc_tiles": 3}),
        ):  # fmt: skip
            await tb.write_list({index: fields})
            await tb.ends(error, index, f"layer {index}, {fields}")
        at = p.report_base // tb.beat
        if index:  # the counters of the layer before are there
            memory, _ = await tb._read_memory(at, (p.report_base + index * p.report_bytes) // tb.beat - 1)
            found = memory.reshape(index, -1)[-1, :32].view("<u4")
            assert found[-1] >> 16 == index - 1 and found[0] == found[1:6].sum(), found
        await tb.write_list({})
        await tb.right(f"the list after one that stopped at layer {index}")


@cocotb.test()
async def bad_lists(dut):
    """A list that lies nowhere, or that the bus refuses, ends with its error; so does one whose counters go nowhere."""
    tb = await bench(dut, 0.3)
    p = tb.program
    last = len(p.layers) - 1
    for error, layer, fields in (
        (5, 0, {"list_base": p.list_base + 4}), (5, 0, {"list_base": p.mem_bytes}), (5, 0, {"report_base": 2}),
        (5, 0, {"report_base": p.mem_bytes}),
        (5, 0, {"list_base": p.mem_bytes - tb.beat}),
        (8, 0, {"list_base": MEMORY_BEATS * tb.beat, "mem_limit": 1 << 30}),
    ):  # fmt: skip
        await tb._host(fields)
        await tb.ends(error, layer, str(fields))
        await tb._host({})
        await tb.right(f"after {fields}")
    await tb._host({"report_base": p.mem_bytes - p.report_bytes})  # room for those of one layer
    await tb.write(CONTROL, 2)
    await tb.begin()
    await tb.interrupt(BROKEN_OFF)
    assert (await tb.status())["error"] == 5
    await tb._host({})
    for index in range(len(p.layers)):
        dut.fail_read.value = (p.list_base + index * p.list_bytes) // tb.beat
        await tb.ends(8, max(0, index), f"the words of layer {index} cannot be read")
        dut.fail_read.value = NOWHERE
        await tb.right(f"after the words of layer {index} could not be read")
    dut.fail_write.value = p.tensors[p.layers[last].outputs[0]].address // tb.beat
    await tb.ends(8, last, "the last output cannot be written")
    dut.fail_write.value = NOWHERE
    await tb.right("after an output that could not be written")


@cocotb.test()
async def one_after_the_other(dut):
    """Lists without a reset between, a start in the middle, writes in the middle: each takes the same cycles."""
    tb = await bench(dut)
    rng = generator("one_after_the_other")
    cycles = [await tb.right(f"list {number}") for number in range(3)]
    assert len(set(cycles)) == 1, cycles
    wait = tb.interrupt

    async def meddled(limit: int) -> None:
        for address in rng.choice([r.address for r in registers.register_map() if r.access != "ro"], 12):
            await tb.write(int(address), int(rng.integers(0, 1 << 32)) & ~2 | 1)
        await wait(limit)

    tb.interrupt = meddled
    assert await tb.right("a list that is written to") == cycles[0]
    tb.interrupt = wait
    for _ in range(4):
        await tb.write(CONTROL, 2)
        await tb.begin()
        await ClockCycles(dut.clk, int(rng.integers(1, cycles[0])))
        await tb.reset()
        assert not any((await tb.status()).values())
        await tb._host({})
        assert await tb.right("the list after a reset in the middle of one") == cycles[0]
