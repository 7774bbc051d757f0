"""cocotb tests of a foreign core; what runs comes from the process that started the simulation."""

from __future__ import annotations

import dataclasses

import cocotb

from tb.foreign.bench import ForeignBench
from tb.layers.job import LayerJob, report
from tb.parts.scoreboard import Mismatch


async def started(dut, job: LayerJob) -> ForeignBench:
    bench = ForeignBench(dut, job.prepared[0][0])
    bench.driver.disturb(job.seed, job.stalls)
    await bench.start()
    report([])  # clock edges have passed
    return bench


@cocotb.test()
async def layers(dut):
    """Every layer of the job: all psums and outputs that can be seen equal the golden model."""
    job = LayerJob.load()
    bench, results = await started(dut, job), []
    for layer, (_, passes) in zip(job.layers, job.prepared, strict=True):
        try:
            run = await bench.run_layer(passes, layer.title)
        except Mismatch as mismatch:
            raise Mismatch("\n  ".join([str(mismatch), *(f"looks like: {hint}" for hint in bench.hints())])) from None
        results.append({"title": layer.title, "passes": passes.count, **dataclasses.asdict(run)})
        report(results)


@cocotb.test()
async def self_test(dut):
    """Every little layer, also after one has failed; what each says is in the results."""
    job = LayerJob.load()
    bench, results = await started(dut, job), []
    for layer, (_, passes) in zip(job.layers, job.prepared, strict=True):
        failure = None
        try:
            await bench.run_layer(passes, layer.title)
        except Mismatch as mismatch:
            failure = str(mismatch)
        results.append({"title": layer.title, "failure": failure})
        report(results)
    failed = sum(one["failure"] is not None for one in results)
    told = "".join(f"\n  looks like: {hint}" for hint in bench.hints()) if failed else ""
    assert not failed, f"{failed} of {len(results)} self-tests failed{told}"
