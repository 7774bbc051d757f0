"""cocotb test that looks for a core's latencies; what it finds goes to the process that started the simulation."""

from __future__ import annotations

import dataclasses

import cocotb

from tb.foreign.calibrate import calibrate
from tb.layers.job import LayerJob, report


@cocotb.test()
async def latencies(dut):
    job = LayerJob.load()
    report([])
    found = await calibrate(dut, job.prepared[0], job.seed, progress=lambda tried: report([{"tried": tried}]))
    report([dataclasses.asdict(found)])
