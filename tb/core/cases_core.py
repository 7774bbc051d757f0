"""cocotb tests of ``core`` on layers; the operands come from the process that started the simulation."""

from __future__ import annotations

import dataclasses

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden_model.layer import golden_layer
from tb.core.core_bench import CoreBench
from tb.core.program import compile_layer
from tb.layers.job import LayerJob, report, wrong_is_kept
from tb.parts.scoreboard import Mismatch
from tb.parts.streams import read_bit


async def started(dut, job: LayerJob) -> CoreBench:
    tb = CoreBench(dut, job.configuration)
    await tb.start()
    tb.set_stalls(job.seed, job.stalls, job.stalled)
    return tb


@cocotb.test()
async def layers(dut):
    """Every layer of the job: psums, accumulated sums and outputs equal the golden model."""
    job = LayerJob.load()
    tb, results = await started(dut, job), []
    for layer, (program, golden) in zip(job.layers, job.prepared, strict=True):
        with wrong_is_kept():
            run = await tb.run_layer(program, golden, title=layer.title, act_signed=layer.operands.a_signed)
        results.append({"title": layer.title, "passes": program.passes, **dataclasses.asdict(run)})
        report(results)


@cocotb.test()
async def reset_during_layer(dut):
    """A reset at any moment of a layer leaves a core that runs the next layers right."""
    job = LayerJob.load()
    tb, rng, results = await started(dut, job), np.random.default_rng(job.seed), []
    for layer, (program, golden) in zip(job.layers, job.prepared, strict=True):
        for _ in range(3):
            tb.load(program, layer.operands.a_signed)
            for _ in range(int(rng.integers(5, program.operations + 40))):
                await RisingEdge(dut.clk)
            await tb.reset()
            assert not read_bit(dut.busy), "busy after a reset"
            run = await tb.run_layer(
                program, golden, title=f"{layer.title} after a reset", act_signed=layer.operands.a_signed
            )
        results.append(dataclasses.asdict(run))
        report(results)


@cocotb.test()
async def overflow_is_seen(dut):
    """A layer whose sums leave PSUM_BITS sets the sticky bit, and the bench fails on it though all else is right."""
    job = LayerJob.load()
    tb = await started(dut, job)
    low, high = job.configuration.psum_range

    def wrapped(values):
        return (values.astype(np.int64) - low) % (high - low + 1) + low

    for layer in job.layers:
        # The golden model refuses such a layer; what the core does with it is the definition, wrapped.
        wide = dataclasses.replace(job.configuration, psum_bits=32)
        golden = golden_layer(layer.operands, wide, layer.dataflow)
        sums = wrapped(golden.accumulated)
        golden = dataclasses.replace(golden, psums=wrapped(golden.psums), accumulated=sums, output=np.maximum(sums, 0))
        program = compile_layer(layer.operands, job.configuration, layer.dataflow)
        try:
            await tb.run_layer(program, golden, title=layer.title)
        except Mismatch as mismatch:
            assert "overflow bit is set" in str(mismatch) and not mismatch.places, mismatch
        else:
            raise AssertionError("an overflowing layer passed")
        await tb.reset()
        assert not read_bit(dut.overflow)
