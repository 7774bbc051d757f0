"""cocotb tests of ``system``: whole layers; the operands come from the process that started it."""

from __future__ import annotations

import dataclasses

import cocotb

from tb.accelerator.system_bench import AcceleratorBench
from tb.layers.job import LayerJob, report, wrong_is_kept


@cocotb.test()
async def layers(dut):
    """Every layer of the job: psums where asked for, accumulated psums and outputs equal the golden model."""
    job = LayerJob.load()
    tb, results = AcceleratorBench(dut, job.configuration), []
    await tb.start(job.seed, job.stalls, job.stalled)
    for task, (command, golden) in zip(job.layers, job.prepared, strict=True):
        with wrong_is_kept():
            run = await tb.run_layer(command, golden, title=task.title, psums=task.psums)
        results.append({"title": task.title, **dataclasses.asdict(run)})
        report(results)
