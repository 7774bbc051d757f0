"""cocotb tests of ``bus``: layers and registers through cocotbext-axi, with channels held at random."""

from __future__ import annotations

import itertools
import os

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from golden_model.accelerator import registers
from golden_model.configuration import configuration
from tb.accelerator.axi_bench import CHANNELS, AxiBench
from tb.accelerator.checks import CONTROL, LayerFailed
from tb.accelerator.prepared import prepare
from tb.layers.small_layers import OS, WS, bus_layers, small_layer
from tb.parts.stimulus import generator, seed

SLVERR = 2


async def bench(dut) -> AxiBench:
    return await AxiBench.started(dut, configuration(os.environ["COSIM_CONFIGURATION"]))


@cocotb.test()
async def without_stalls(dut):
    """Every small layer."""
    tb = await bench(dut)
    for task in bus_layers(tb.configuration, seed()):
        await tb.run_layer(*prepare(tb.configuration, task), title=task.title)


@cocotb.test()
async def each_channel_stalled(dut):
    """Each channel alone holds in half of the cycles; the layers go round."""
    tb = await bench(dut)
    layers = itertools.cycle(bus_layers(tb.configuration, seed()))
    for channel in CHANNELS:
        tb.stall(0.5, (channel,), seed())
        task = next(layers)
        await tb.run_layer(*prepare(tb.configuration, task), title=f"{task.title}, {channel} stalled")


@cocotb.test()
async def all_channels_stalled(dut):
    """All channels hold at random, rarely and mostly."""
    tb = await bench(dut)
    for task, probability in zip(bus_layers(tb.configuration, seed()), itertools.cycle((0.2, 0.6)), strict=False):
        tb.stall(probability, CHANNELS, seed())
        await tb.run_layer(*prepare(tb.configuration, task), title=f"{task.title}, all stalled {probability}")


@cocotb.test()
async def reset_during_layer(dut):
    """Reset in the middle of a layer whose channels are held: the next layer is right."""
    tb = await bench(dut)
    rng = generator("reset_during_layer")
    layers = [prepare(tb.configuration, task) for task in bus_layers(tb.configuration, seed())[:4]]
    tb.stall(0.3, CHANNELS[:5], seed())
    for index, (command, golden) in enumerate(layers):
        await tb.start_layer(command)
        await ClockCycles(dut.clk, int(rng.integers(1, 400)))
        await tb.reset()
        await tb.run_layer(command, golden, title=f"layer {index} after a reset")


@cocotb.test()
async def bus_errors(dut):
    """SLVERR on a read and on a write stops the layer, named; memory elsewhere is untouched; the next is right."""
    tb = await bench(dut)
    for flow in (WS, OS):
        task = small_layer(generator("bus_errors"), tb.configuration, flow, "a layer", residual=True, bias=True)
        command, golden = prepare(tb.configuration, task)
        tb.stall(0.3, CHANNELS[:5], seed())
        for kind, name in [*(("bad_reads", n) for n in ("act", "wgt", "record", "residual")), ("bad_writes", "out")]:
            address = command.fields[f"{name}_base"]
            setattr(tb.memory, kind, range(address, address + 1))
            try:
                await tb.run_layer(command, golden, title=task.title)
                raise AssertionError(f"SLVERR at {name}_base went unnoticed")
            except LayerFailed as failed:
                assert failed.error == 8 and registers.ERRORS[8] in str(failed), str(failed)
            setattr(tb.memory, kind, range(0))
            while (await tb.status())["busy"]:
                pass
            assert not (wrong := tb.damage(command) + tb.broken()), wrong
            await tb.run_layer(command, golden, title=f"{task.title} after SLVERR at {name}_base")


@cocotb.test()
async def registers_read_back(dut):
    """Every register the host writes gives back its fields, and nothing else; id and reset values are right."""
    tb = await bench(dut)
    rng, c = generator("registers"), tb.configuration
    tb.stall(0.3, CHANNELS[5:], seed())
    written = {}
    writable = [register for register in registers.register_map() if register.access in registers.WRITTEN]
    assert len(writable) > len(registers.layer_words({})), "a list holds more than the host writes"
    for register in writable:
        assert await tb.read(register.address) == (0, 0), f"{register.name} is not 0 after reset"
    for register in writable:
        word = int(rng.integers(0, 1 << 32))
        assert await tb.write(register.address, word) == 0
        written[register.name] = (register.address, word & ((1 << sum(bits for _, bits in register.fields)) - 1))
    for name, (address, word) in written.items():
        assert await tb.read(address) == (word, 0), f"{name} does not give back what was written"
    word, response = await tb.read(registers.address_of("id"))
    found = registers.decode({registers.address_of("id"): word})
    assert response == 0 and found == {
        "id_rows": c.rows, "id_cols": c.cols, "id_wgt_lanes": c.wgt_lanes, "id_act_bits": c.act_bits, "id_simd": c.simd,
        "id_twin": int(c.twin_depth > 0),
    }, found  # fmt: skip
    assert await tb.read(CONTROL) == (0, 0)


@cocotb.test()
async def registers_in_flight(dut):
    """Many requests at once, reads beside writes, while answers are hardly ever taken: each is answered, in order."""
    tb = await bench(dut)
    rng = generator("registers_in_flight")
    tb.stall(0.9, ("lite_b", "lite_r"), seed())
    writable = [register for register in registers.register_map() if register.access in registers.WRITTEN]
    wanted, asked = {}, []
    for _ in range(3):
        for register in rng.permutation(np.array(writable, dtype=object)):
            word = int(rng.integers(0, 1 << 32))
            wanted[register.address] = word & ((1 << sum(bits for _, bits in register.fields)) - 1)
            asked.append(tb.lite.init_write(register.address, word.to_bytes(4, "little")))
            asked.append(tb.lite.init_read(registers.address_of("id"), 4))
    for request in asked:
        await request.wait()
        assert int(request.data.resp) == 0
    for request in asked[1::2]:
        assert request.data.data == asked[1].data.data, "reads of id gave different words"
    tb.stall(0.0, (), seed())
    for address, word in wanted.items():
        assert await tb.read(address) == (word, 0), f"0x{address:02x} does not hold what was written last"
    assert not tb.broken()


@cocotb.test()
async def registers_refuse(dut):
    """Strobes other than all ones, and addresses beyond the map, are answered with SLVERR and write nothing."""
    tb = await bench(dut)
    address = registers.address_of("act_base")
    assert await tb.write(address, 0x12345678) == 0
    for offset, length in [(0, 1), (1, 1), (0, 2), (2, 2), (1, 3), (0, 3)]:
        answer = await tb.lite.write(address + offset, b"\xff" * length)
        assert int(answer.resp) == SLVERR, f"{length} bytes from {offset} were accepted"
    assert await tb.read(address) == (0x12345678, 0)
    last = registers.register_map()[-1].address
    for beyond in range(last + 4, 256, 4):
        assert await tb.write(beyond, 1) == SLVERR, f"0x{beyond:x} was written"
        assert (await tb.read(beyond))[1] == SLVERR, f"0x{beyond:x} was read"
    cycles = registers.address_of("cycles")
    assert await tb.write(cycles, 5) == 0 and await tb.read(cycles) == (0, 0)
    assert not tb.broken()
