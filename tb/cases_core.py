"""cocotb tests of ``core`` on layers; the operands come from the process that started the simulation."""

from __future__ import annotations

import dataclasses

import cocotb

from golden_model.layer import golden_layer
from tb.core_bench import CoreBench
from tb.jobs import LayerJob, report
from tb.program import compile_layer


@cocotb.test()
async def layers(dut):
    """Every layer of the job: psums, accumulated sums and outputs equal the golden model."""
    job = LayerJob.load()
    tb = CoreBench(dut, job.configuration)
    await tb.start()
    tb.set_stalls(job.seed, job.stalls)
    results = []
    for layer in job.layers:
        golden = golden_layer(
            layer.weight, layer.activation, stride=layer.stride, padding=layer.padding, configuration=job.configuration,
            dataflow=layer.dataflow, residual=layer.residual, relu=True, a_signed=layer.a_signed,
        )  # fmt: skip
        program = compile_layer(
            layer.weight, layer.activation, stride=layer.stride, padding=layer.padding, configuration=job.configuration,
            dataflow=layer.dataflow, residual=layer.residual,
        )  # fmt: skip
        run = await tb.run_layer(program, golden, title=layer.title, act_signed=layer.a_signed)
        results.append({"title": layer.title, "passes": program.passes, **dataclasses.asdict(run)})
        report(results)
