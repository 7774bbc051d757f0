"""cocotb tests of ``system``: whole layers run by the sequencer; the operands come from the process that started it."""

from __future__ import annotations

import dataclasses

import cocotb

from golden_model.accelerator.golden import system_golden
from tb.accelerator.command import compile_command
from tb.accelerator.system_bench import SystemBench
from tb.layers.job import LayerJob, SystemTask, report


def prepare(job: LayerJob, task: SystemTask):
    """The layer's command and golden values."""
    plan = task.plan(job.configuration)
    operands = {
        "relu": task.relu, "bias": task.bias, "residual": task.residual, "requant": task.requant,
    }  # fmt: skip
    command = compile_command(plan, task.weight, task.activation, a_signed=task.a_signed, **operands)
    return command, system_golden(plan, task.weight, task.activation, **operands)


@cocotb.test()
async def layers(dut):
    """Every layer of the job: psums where asked for, accumulated psums and outputs equal the golden model."""
    job = LayerJob.load()
    tb, results = SystemBench(dut, job.configuration), []
    await tb.start(job.seed, job.stalls, job.stalled)
    for task in job.layers:
        command, golden = prepare(job, task)
        run = await tb.run_layer(command, golden, title=task.title, psums=task.psums)
        results.append({"title": task.title, **dataclasses.asdict(run)})
        report(results)
