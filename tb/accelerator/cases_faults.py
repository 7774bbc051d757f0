"""cocotb tests of ``system``: reset and writes while a layer runs, descriptors that must be refused or broken off."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model.accelerator import registers
from golden_model.accelerator.golden import accelerator_golden
from golden_model.configuration import configuration
from golden_model.operands import Operands
from tb.accelerator.axi_rules import broken_rules
from tb.accelerator.checks import CONTROL, MEMORY_BEATS, LayerFailed
from tb.accelerator.command import compile_command
from tb.accelerator.prepared import planned, prepare
from tb.accelerator.system_bench import NOWHERE, AcceleratorBench
from tb.layers.random_layers import twin_tasks
from tb.layers.small_layers import OS, WS, bus_layers, small_layer
from tb.layers.task import LayerTask
from tb.parts.stimulus import generator, seed
from tb.parts.streams import read_bit, read_word

FAR = 0x4000_0000


class Bench(AcceleratorBench):
    """Fills all memory that a layer could reach, so that what it may not touch can be compared afterwards."""

    def fill(self, command) -> None:
        super().fill(command)
        beats = command.mem_bytes // self.beat
        with Path("memory.hex").open("ab") as file:
            file.write(f"@{beats:x}\n".encode() + (b"5a" * self.beat + b"\n") * 64)

    async def check_untouched(self, command) -> None:
        """AssertionError where memory outside the outputs is not what it was."""
        beats = command.mem_bytes // self.beat
        data = await self.memory(0, beats + 63)
        for region in command.regions:
            there = data[region.address : region.address + len(region.data)]
            assert np.array_equal(there, region.data), f"the memory at 0x{region.address:x} was overwritten"
        assert (data[command.mem_bytes :] == 0x5A).all(), "memory beyond mem_limit was overwritten"

    async def expect(self, error: int, command, golden, fields: dict[str, int], what: str) -> None:
        """The layer with ``fields`` changed must end with ``error``, break no rule and write nothing elsewhere."""
        changed = dataclasses.replace(command, fields={**command.fields, **fields})
        before = read_word(self.dut.bursts)
        try:
            await self.run_layer(changed, golden, title=what, slack=4)
        except LayerFailed as failed:
            named = registers.ERRORS[error]
            assert failed.error == error and named in str(failed), f"expected error {error}, {named}: {failed}"
        else:
            raise AssertionError(f"{what}: ran to its end")
        for _ in range(2000):
            if not (await self.status())["busy"]:
                break
        else:
            raise AssertionError(f"{what}: still busy long after it was broken off")
        broken = broken_rules(read_word(self.dut.broken))
        assert not broken, f"{what}: {broken}"
        self.traffic = read_word(self.dut.bursts) - before
        await self.check_untouched(command)


async def bench(dut, stalls: float = 0.0) -> Bench:
    tb = Bench(dut, configuration(os.environ["COSIM_CONFIGURATION"]))
    await tb.start(seed(), stalls)
    return tb


def rich_layer(tb, flow, salt):
    """A layer that reads with every reader: two oc_tiles, residual, bias."""
    task = small_layer(generator(salt), tb.configuration, flow, "a layer", residual=True, bias=True)
    return task, *prepare(tb.configuration, task)


def rich_twin(tb, salt):
    """The same on two tiles at once, with the channels that half of the columns take."""
    c = tb.configuration
    task = small_layer(generator(salt), c, OS, "two tiles at once", residual=True, bias=True, oc=c.cols // 2)
    command, golden = prepare(c, task)
    assert command.plan.twin
    return task, command, golden


@cocotb.test()
async def reset_during_layer(dut):
    """After a reset at any cycle of a layer, every layer is right and takes the cycles that it takes after power-up."""
    tb = await bench(dut)
    rng = generator("reset_during_layer")
    layers = [(task.title, *prepare(tb.configuration, task)) for task in bus_layers(tb.configuration, seed())]
    if tb.configuration.twin_depth:
        tasks = twin_tasks(seed(), tb.configuration, 3)
        layers = [*layers[::3], *((task.title, *prepare(tb.configuration, task)) for task in tasks)]
    fresh = []
    for title, command, golden in layers:
        await tb.reset()
        fresh.append((await tb.run_layer(command, golden, title=title)).cycles)
    for index, (title, command, _) in enumerate(layers):
        for _ in range(3):
            at = int(rng.integers(1, fresh[index] + 2))
            await tb.start_layer(command)
            await ClockCycles(dut.clk, at)
            await tb.reset()
            status = await tb.status()
            assert not any(status.values()), f"{status} after a reset"
            after = int(rng.integers(len(layers)))
            name, again, golden = layers[after]
            what = f"{name}, after a reset in cycle {at} of: {title}"
            run = await tb.run_layer(again, golden, title=what)
            assert run.cycles == fresh[after], f"{what}: {run.cycles} cycles, else {fresh[after]}"


@cocotb.test()
async def writes_while_busy(dut):
    """Starts and writes of every register while a layer runs change nothing."""
    tb = await bench(dut)
    rng = generator("writes_while_busy")
    for flow in (WS, OS):
        task, command, golden = rich_layer(tb, flow, "writes_while_busy")
        alone = await tb.run_layer(command, golden, title=task.title)

        async def meddle(command=command):
            for address in registers.encode(command.fields):
                if (await tb.status())["busy"]:
                    await tb.write(address, int(rng.integers(0, 1 << 32)) | 1)
                    await tb.write(CONTROL, 1)

        run = await tb.run_layer(command, golden, title=f"{task.title}, written to while busy", during=meddle)
        assert run == alone, f"{run}, undisturbed {alone}"


@cocotb.test()
async def write_right_after_start(dut):
    """The write that follows start at once is too late already."""
    tb = await bench(dut)
    task, command, golden = rich_layer(tb, WS, "write_right_after_start")
    alone = await tb.run_layer(command, golden, title=task.title)

    async def begin():
        dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 1
        for address, word in [(CONTROL, 1), (registers.address_of("input"), 0), (registers.address_of("output"), 0)]:
            dut.s_axil_awaddr.value, dut.s_axil_wdata.value = address, word
            await RisingEdge(dut.clk)
        dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 0
        await ClockCycles(dut.clk, 2)

    tb.begin = begin
    run = await tb.run_layer(command, golden, title=f"{task.title}, written to right after its start")
    assert run == alone, f"{run}, undisturbed {alone}"


def of_outputs(c, fields: dict[str, int], beat: int, end: int) -> list[tuple[int, dict[str, int]]]:
    """What may be wrong with how outputs are made and where they go, and the error; the same in both dataflows."""
    cases = [(1, {"pool": 1, "requant": 1, name: 1}) for name in ("ow", "band_rows", "last_rows")]
    second = {"second": 1, "requant": 1}
    places = {f"{prefix}{name}": 0 for prefix in ("out_", "second_") for name in ("base", "tile_stride", "row_stride")}
    cases += [(5, {"split": 1, "requant": 1, "out_phase_stride": 1})]
    cases += [(5, {**second, "second_split": 1, "second_unit_log2": 2, "second_phase_stride": 1})]
    cases += [(5, {**second, "second_unit_log2": 2, name: 1}) for name in places if name.startswith("second_")]
    cases += [(5, {**second, "second_base": end})]
    wide = beat.bit_length()  # a unit of two beats
    cases += [(6, {**places, "unit_log2": wide}), (6, {"part_log2": fields["unit_log2"] + 1})]
    cases += [(6, {"last_channels": c.cols + 1}), (6, {**second, **places, "second_unit_log2": wide})]
    cases += [(6, {**second, "second_part_log2": 1}), (6, {**second, "second_pool": 1, "ow": 130})]
    cases += [(1, {**second, "second_pool": 1, name: 1}) for name in ("ow", "band_rows", "last_rows")]
    cases += [(6, {"wgt_chunk_words": fields["wgt_pass_words"] + c.wgt_depth})]
    alike = ("pool", "pairs", "turned", "split")
    even = int(c.act_bits % 2 == 0)  # half of an odd number of bits is refused, too
    halves = {"pairs": {"half": even, "second_half": even}}
    cases += [(7, {"requant": 0, "flows": 0, name: 1, **halves.get(name, {})}) for name in ("second", "wide", *alike)]
    cases += [(7, {"requant": 1, "wide": 1, "flows": 0, name: 1, **halves.get(name, {})}) for name in alike]
    cases += [
        (7, {"requant": 1, **odd})
        for odd in ({"turned": 1, "split": 1, "flows": 0}, {"split": 1, "flows": 1}, {"pairs": 1}, {"negative": 1})
    ]
    cases += [(7, {**second, "second_wide": 1, f"second_{name}": 1, **halves.get(name, {})}) for name in alike]
    cases += [
        (7, {**second, **{f"second_{name}": 1 for name in odd}})
        for odd in (("turned", "split"), ("split", "flows"), ("pairs",), ("negative",))
    ]
    if not even:
        cases += [(7, {**second, "second_half": 1})]
    word = c.rows * c.act_bits
    if word % 8 or word & (word - 1) or c.cols & (c.cols - 1):  # then nothing can be turned
        cases += [(7, {"requant": 1, "turned": 1, "flows": 0}), (7, {**second, "second_turned": 1})]
    return cases


@cocotb.test()
async def refused_at_start(dut):
    """A descriptor that breaks a rule is refused with its code before any traffic; the next layer is right."""
    tb = await bench(dut)
    c = tb.configuration
    for flow in (WS, OS):
        task, command, golden = rich_layer(tb, flow, "refused_at_start")
        fields, end = command.fields, command.mem_bytes
        sizes = (
            "ih", "iw", "ow", "pitch", "bands", "oc_tiles", "band_rows", "last_rows", "positions", "last_positions",
            "ic_words", "slots", "block_words", "act_beats", "act_segments", "act_repeats", "wgt_pass_words",
            "wgt_beats", "out_words", "last_out_words", "last_channels",
            *(("o_tiles", "last_o_tiles") if flow is OS else ()),
        )  # fmt: skip
        bases = ("act_base", "wgt_base", "record_base", "residual_base", "out_base")
        strides = (
            "act_segment_stride", "act_tile_stride", "act_band_stride", "wgt_chunk_stride", "residual_tile_stride",
            "residual_band_stride", "out_tile_stride", "out_row_stride",
        )  # fmt: skip
        cases = [(1, {name: 0}) for name in sizes]
        cases += [(2, {"kernel": k}) for k in (0, 2, 5, 15)]
        cases += [(3, {"stride": s}) for s in (0, 3, 15)] + [(4, {"padding": p}) for p in (2, 15)]
        cases += [(5, {name: fields[name] + 1}) for name in (*bases, *strides)]
        cases += [(5, {name: value}) for name in bases for value in (end, 0xFFFF_FFFF // tb.beat * tb.beat)]
        cases += [(5, {"mem_limit": 0})]
        cases += [(6, {"slots": c.act_depth // fields["block_words"] + 1})]
        cases += [(6, {"block_words": 0xFFFF, "slots": 0xFFFF})]
        cases += [(6, {"wgt_chunk_words": fields["wgt_pass_words"] - 1}), (6, {"pool": 1, "requant": 1, "ow": 130})]
        if flow is WS:
            cases += [(6, {name: c.psum_depth + 1}) for name in ("positions", "last_positions")]
            cases += [(6, {"resident": 1, "slots": fields["ic_words"] - 1})] if fields["ic_words"] > 1 else []
        else:
            cases += [(6, {"wgt_chunk_words": c.wgt_depth + 1})]
        if flow is WS:
            cases += of_outputs(c, fields, tb.beat, end)
        cases += [(7, {"pool": 1, "requant": 0})]
        if not c.simd:
            cases += [(7, {"simd": 1})]
        if not c.twin_depth:
            cases += [(7, {"twin": 1})]
        if c.act_bits % 2:
            cases += [(7, {"half": 1})]
        for error, changed in cases:
            await tb.expect(error, command, golden, changed, f"{task.title}, {changed}")
            assert tb.traffic == 0, f"{task.title}, {changed}: {tb.traffic} bursts before it was refused"
        await tb.run_layer(command, golden, title=f"{task.title} after all that was refused")


@cocotb.test()
async def refused_twins(dut):
    """Two tiles at once need what the second set of banks and half of the columns take."""
    tb = await bench(dut)
    c = tb.configuration
    task = twin_tasks(1, c, 2)[1]
    command, golden = prepare(c, task)
    assert command.plan.twin
    for error, changed in (
        (7, {"dataflow": 0}), (7, {"oc_tiles": 2}), (7, {"last_channels": c.cols // 2 + 1}),
        (7, {"o_tiles": command.fields["o_tiles"] + 1}), (7, {"last_o_tiles": command.fields["last_o_tiles"] + 1}),
        (6, {"slots": c.twin_depth // command.fields["block_words"] + 1}),
    ):  # fmt: skip
        await tb.expect(error, command, golden, changed, f"{task.title}, {changed}")
        assert tb.traffic == 0, f"{task.title}, {changed}: {tb.traffic} bursts before it was refused"
    await tb.run_layer(command, golden, title=f"{task.title} after all that was refused")


@cocotb.test()
async def overflow_is_told(dut):
    """A sum beyond PSUM_BITS, wherever it arises, sets the bit; the largest that fits does not; a start clears it."""
    tb = await bench(dut)
    c = tb.configuration
    top = (1 << (c.psum_bits - 1)) - 1
    largest = ((1 << (c.wgt_bits - 1)) - 1) * ((1 << c.act_bits) - 1)
    one, wide = np.ones(1, int), c.cols + 1

    def layer(flow, weight, activation, bias, residual):
        """1x1, weight and activation [ic]: every output is their products' sum, plus bias and residual."""
        ic = len(activation)
        operands = Operands(
            np.broadcast_to(weight[:, None, None], (wide, ic, 1, 1)),
            np.broadcast_to(activation[:, None, None], (ic, 3, 2)), bias=np.full(wide, bias),
            residual=np.full((wide, 3, 2), residual), relu=False,
        )  # fmt: skip
        return planned(c, LayerTask("", flow, operands)), operands

    async def runs(*values, title):
        plan, operands = layer(*values)
        await tb.run_layer(compile_command(plan, operands), accelerator_golden(plan, operands), title=title)

    async def overflows(*values, title):
        """The layer must end, and tell that a sum left PSUM_BITS."""
        await tb.start_layer(compile_command(*layer(*values)))
        await tb.interrupt(20_000)
        status = await tb.status()
        assert status["done"] and status["overflow"], f"{title}: {status}"

    fits = [(one, top - 3, 2), (-one, -top + 3, -3)]  # weight, bias, residual; the activation is 1
    leaves = {
        "bias + residual": [(0 * one, top, 1), (0 * one, -top, -2)],
        "the psum on top of them": [(one, top - 3, 3), (-one, -top + 3, -4), (one, top, 0)],
    }
    for flow in (WS, OS):
        for weight, bias, residual in fits:
            await runs(flow, weight, one, bias, residual, title=f"{flow.name}: the largest sums that fit")
            for where, cases in leaves.items():
                for case in cases:
                    await overflows(flow, case[0], one, *case[1:], title=f"{flow.name}: {where}, {case}")
    # What a tile sums up by itself, longer than the sums of the rows that WS adds
    steps = top // largest + 1
    assert (2 * steps <= c.wgt_depth) == (c.name == "course_8x8")  # odd_3x5's psums are too wide for its memories
    if 2 * steps <= c.wgt_depth:
        weight, activation = (1 << (c.wgt_bits - 1)) - 1, (1 << c.act_bits) - 1
        long = np.full(steps, weight), np.full(steps, activation)
        await overflows(OS, *long, 0, 0, title=f"OS: {steps} times {largest}")
    await runs(WS, one, one, 5, 5, title="the layer after an overflow")


async def break_off(dut, stalls: float) -> None:
    tb = await bench(dut, stalls)
    for flow in (WS, OS):
        task, command, golden = rich_layer(tb, flow, "break_off")
        fields, beat = command.fields, tb.beat
        plane = fields["out_tile_stride"]
        cases = [(5, {name: FAR}, {}) for name in ("wgt_chunk_stride", "residual_tile_stride", "out_tile_stride")]
        cases += [(5, {"act_tile_stride": FAR} if flow is WS else {"act_base": command.mem_bytes - beat}, {})]
        cases += [(5, {"record_base": command.mem_bytes - beat}, {})]
        cases += [(5, {"mem_limit": fields["out_base"] + plane}, {}), (5, {"mem_limit": fields["out_base"] + beat}, {})]
        for name in ("act", "wgt", "record", "residual"):
            cases += [(8, {}, {"fail_read": fields[f"{name}_base"] // beat})]
        beyond = MEMORY_BEATS * beat  # where the memory has nothing: DECERR
        for name in ("act", "wgt", "record", "residual"):
            cases += [(8, {f"{name}_base": beyond, "mem_limit": 2 * beyond}, {})]
        for at in (0, plane - beat, 2 * plane - beat):
            cases += [(8, {}, {"fail_write": (fields["out_base"] + at) // beat})]
        for name in ("wgt_beats", "act_beats"):
            if fields[name] > 1:
                cases += [(9, {name: fields[name] - 1}, {})]
        # The last burst waits for beats that do not come, unless the outputs end where every burst ends.
        if command.mem_bytes // beat % 16:
            more = fields["last_out_words"] + 16 * (beat >> fields["unit_log2"])
            cases += [(9, {"last_out_words": more, "mem_limit": command.mem_bytes + 16 * beat}, {})]
        await break_each(tb, task, command, golden, cases)


async def break_each(tb, task, command, golden, cases) -> None:
    """Each of the cases (error, fields changed, ports) ends the layer with its error; the layer after it is right."""
    for error, changed, ports in cases:
        for name, value in ports.items():
            getattr(tb.dut, name).value = value
        what = f"{task.title}, {changed or ports}"
        await tb.expect(error, command, golden, changed, what)
        tb.dut.fail_read.value = tb.dut.fail_write.value = NOWHERE
        await tb.run_layer(command, golden, title=f"the layer after: {what}")


@cocotb.test()
async def broken_off_twins(dut):
    """The same with two tiles at once: what waits for the second is gone."""
    tb = await bench(dut, 0.2)
    task, command, golden = rich_twin(tb, "broken_off_twins")
    fields, beat = command.fields, tb.beat
    last = fields["out_tile_stride"] // beat - 1
    cases = [(8, {}, {"fail_read": fields[f"{name}_base"] // beat}) for name in ("act", "wgt", "record", "residual")]
    residuals = command.plan.positions(0)
    cases += [(8, {}, {"fail_read": fields["residual_base"] // beat + at}) for at in range(0, residuals, 5)]
    cases += [(8, {}, {"fail_write": fields["out_base"] // beat + at}) for at in (0, last // 2, last)]
    cases += [(5, {"mem_limit": fields["out_base"] + beat}, {})]
    await break_each(tb, task, command, golden, cases)


@cocotb.test()
async def broken_off(dut):
    """A walk beyond mem_limit, SLVERR, and contradictions stop a running layer; the next is right without a reset."""
    await break_off(dut, 0.0)


@cocotb.test()
async def broken_off_under_stalls(dut):
    """The same while every channel of the memory holds at random: open bursts end as the protocol wants it."""
    await break_off(dut, 0.5)


@cocotb.test()
async def broken_off_while_writing(dut):
    """SLVERR on a read while W beats wait: what is offered stays as it is until it is taken."""
    tb = Bench(dut, configuration(os.environ["COSIM_CONFIGURATION"]))
    await tb.start(seed(), 0.9, ("w", "aw"))
    rng = generator("broken_off_while_writing")
    for flow in (WS, OS):
        task = small_layer(rng, tb.configuration, flow, "many outputs", kernel=1, padding=0, residual=True)
        command, golden = prepare(tb.configuration, task)
        beats = command.regions[-1].data.size // tb.beat
        for beat in rng.choice(beats, min(beats, 15), replace=False):
            dut.fail_read.value = command.fields["residual_base"] // tb.beat + int(beat)
            await tb.expect(8, command, golden, {}, f"{task.title}, SLVERR at residual {beat}")
            dut.fail_read.value = NOWHERE
        await tb.run_layer(command, golden, title=f"{task.title} after SLVERR")


@cocotb.test()
async def limits_end_at_edges(dut):
    """After a wait that came to its limit the registers still answer: nothing that is driven then is lost."""
    tb = await bench(dut)
    for limit in [*range(1, 9), 100]:
        await tb.interrupt(limit)
        assert not read_bit(dut.irq)
        assert (await tb.status())["error"] == 0
        await tb.write(registers.address_of("input"), limit)
        assert await tb.read(registers.address_of("input")) == limit


@cocotb.test()
async def interrupt_is_told(dut):
    """It rises on done and on errors alike, with the status; not while it is not enabled; a clear ends it."""
    tb = await bench(dut)
    task, command, golden = rich_layer(tb, WS, "interrupt_is_told")
    refused = dataclasses.replace(command, fields={**command.fields, "kernel": 2})
    broken = dataclasses.replace(command, fields={**command.fields, "out_tile_stride": FAR})
    enable = registers.address_of("irq_enable")
    for what, error in ((command, 0), (refused, 2), (broken, 5)):
        await tb.start_layer(what)
        await tb.interrupt(20_000)
        status = await tb.status()
        assert read_bit(dut.irq), f"no interrupt, expected error {error}: {status}"
        expected = {"busy": 0, "done": int(not error), "error": error}
        assert {name: status[name] for name in expected} == expected, f"{status}, expected {expected}"
        await tb.write(enable, 0)
        await ClockCycles(dut.clk, 2)
        assert not read_bit(dut.irq), "the interrupt is not enabled"
        await tb.write(enable, 1)
        await ClockCycles(dut.clk, 2)
        assert read_bit(dut.irq), "the interrupt is enabled again"
        await tb.write(CONTROL, 2)
        await ClockCycles(dut.clk, 2)
        status = await tb.status()
        assert not read_bit(dut.irq) and not status["done"] and not status["error"], f"after a clear: {status}"
        # The same without the interrupt
        silent = dataclasses.replace(what, fields={**what.fields, "irq_enable": 0})
        await tb.start_layer(silent)
        for _ in range(20_000):
            status = await tb.status()
            assert not read_bit(dut.irq), f"the interrupt is not enabled: {status}"
            if not status["busy"] and (status["done"] or status["error"]):
                break
        assert status["error"] == error, f"{status}, expected error {error}"
    # A clear while what is open is still awaited hides nothing: the error has not been shown yet.
    dut.stall_b.value = 255
    await tb.start_layer(broken)
    for _ in range(2000):
        if (await tb.status())["error"]:
            break
    status = await tb.status()
    assert status["busy"] and status["error"] == 5, f"the write that is held keeps the layer busy: {status}"
    await tb.write(CONTROL, 2)
    dut.stall_b.value = 0
    await tb.interrupt(20_000)
    status = await tb.status()
    assert status["error"] == 5 and not status["busy"], f"after a clear while busy: {status}"
    run = await tb.run_layer(command, golden, title=f"{task.title} after all interrupts")
    assert run.mismatches == 0


@cocotb.test()
async def start_at_any_moment(dut):
    """A start that comes while busy is none, one that comes with the interrupt or later runs; clears change neither."""
    tb = await bench(dut)
    task, command, golden = rich_layer(tb, WS, "start_at_any_moment")
    await tb.start_layer(command)
    length = 0
    while not read_bit(dut.irq):
        await RisingEdge(dut.clk)
        length += 1
    for word in (1, 3):  # start, and start with irq_clear
        taken = []
        for delay in range(length - 6, length + 4):
            await tb.start_layer(command)
            await ClockCycles(dut.clk, delay)
            there = read_bit(dut.irq)
            await tb.write(CONTROL, word)
            rises, last = 0, there
            for _ in range(2 * length + 20):
                await RisingEdge(dut.clk)
                now = read_bit(dut.irq)
                rises, last = rises + (now and not last), now
            taken.append(rises + there - 1)
            assert taken[-1] or not there, f"the start after {delay} cycles was lost, with the interrupt there"
            status = await tb.status()
            assert status["done"] and not status["error"] and not status["busy"], f"{status} after {delay} cycles"
        assert taken == sorted(taken) and set(taken) == {0, 1}, f"second starts taken, by cycle: {taken}"
    # A clear in the cycles around the end ends the interrupt if it was there, and hides none that comes
    for delay in range(length - 6, length + 4):
        await tb.start_layer(command)
        await ClockCycles(dut.clk, delay)
        await tb.write(CONTROL, 2)
        await ClockCycles(dut.clk, 12)
        status = await tb.status()
        assert status["done"] == read_bit(dut.irq) and not status["busy"], f"{status}, cleared after {delay} cycles"
    await tb.run_layer(command, golden, title=f"{task.title} after all starts")


@cocotb.test()
async def memory_that_answers_again(dut):
    """An interrupt that is cleared while an abort still waits hides no error: what was broken off is never done."""
    tb = await bench(dut)
    for flow in (WS, OS):
        task, command, golden = rich_layer(tb, flow, "memory_that_answers_again")
        await tb.start_layer(command)
        await ClockCycles(dut.clk, 20)
        dut.stall_r.value = 255
        await tb.interrupt(40_000)
        dut.stall_r.value = 0  # a few beats come, and the abort goes on
        await ClockCycles(dut.clk, 2)
        dut.stall_r.value = 255
        await ClockCycles(dut.clk, 4)
        await tb.write(CONTROL, 2)
        status = await tb.status()
        assert status["busy"], f"{flow.name}: the abort ended before the interrupt was cleared"
        dut.stall_r.value = 0
        await tb.idle()
        status = await tb.status()
        assert status["error"] == 9 and not status["done"], f"{flow.name}: {status}"
        await tb.write(CONTROL, 2)
        await tb.run_layer(command, golden, title=f"{task.title} after an abort that took long")
        # The next one that is broken off interrupts when it has ended, as ever.
        dut.stall_b.value = 255
        await tb.start_layer(dataclasses.replace(command, fields={**command.fields, "out_tile_stride": FAR}))
        for _ in range(2000):
            status = await tb.status()
            assert not read_bit(dut.irq), f"{flow.name}: an interrupt while a write is held: {status}"
            if status["error"]:
                break
        await ClockCycles(dut.clk, 20)
        status = await tb.status()
        assert status["busy"] and status["error"] == 5, f"{flow.name}: the write that is held keeps it busy: {status}"
        assert not read_bit(dut.irq), f"{flow.name}: an interrupt while a write is held: {status}"
        dut.stall_b.value = 0
        await tb.interrupt(20_000)
        assert read_bit(dut.irq) and not (await tb.status())["busy"]
        await tb.write(CONTROL, 2)


@cocotb.test()
async def memory_that_stops_answering(dut):
    """The watchdog ends the layer, and tells when even the abort does not end; the next layer is right."""
    tb = await bench(dut)
    for channel in ("r", "b", "w", "aw", "ar"):
        for flow in (WS, OS):
            task, command, golden = rich_layer(tb, flow, "memory_that_stops_answering")
            hold = getattr(dut, f"stall_{channel}")
            if channel in ("ar", "aw"):  # addresses run ahead of their data
                hold.value = 255
            await tb.start_layer(command)
            await ClockCycles(dut.clk, 20)
            hold.value = 255
            await tb.interrupt(40_000)
            status = await tb.status()
            assert read_bit(dut.irq) and status["error"] == 9, f"{channel} held for ever, {flow.name}: {status}"
            await tb.write(CONTROL, 2)  # does not hide it
            await ClockCycles(dut.clk, 10)
            status = await tb.status()
            assert not status["busy"] or status["error"] == 9, f"{channel} held, cleared: {status}"
            hold.value = 0
            await tb.run_layer(command, golden, title=f"{task.title} after {channel} was held")
            broken = broken_rules(read_word(dut.broken))
            assert not broken, f"{channel} held: {broken}"
