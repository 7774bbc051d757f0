"""cocotb test of calibration on the sets of latencies that the cores of ``rows/`` can have, in one simulation."""

from __future__ import annotations

import dataclasses
import itertools

import cocotb

from tb.foreign.calibrate import LATENCIES, calibrate
from tb.foreign.course import CourseDriver
from tb.layers.job import LayerJob

ALL = 9  # seeds that together run all sets


@cocotb.test()
async def latencies_are_found(dut):
    """With each seed the sets of one orthogonal array: each pair of values, in each pair of places."""
    job = LayerJob.load()
    adapter = job.prepared[0]
    places = LATENCIES if adapter.course.accumulate == "per_output" else LATENCIES[:3]
    shift = divmod(job.seed % ALL, 3)
    await CourseDriver(dut, adapter).start()
    for first, second in itertools.product(range(3), repeat=2):
        latencies = (first, second, (first + second + shift[0]) % 3, (first + 2 * second + shift[1]) % 3)[: len(places)]
        code = sum(latency << (2 * place) for place, latency in enumerate(latencies))
        pins = adapter.course.pins | {"latency": code}
        core = dataclasses.replace(adapter, course=dataclasses.replace(adapter.course, pins=pins))
        dut.latency.value = code
        found = await calibrate(dut, core, job.seed + code, running=True)
        fits = [tuple(getattr(fit, name) for name in places) for fit in found.fits]
        assert fits == [latencies], f"latencies {latencies} of {', '.join(places)}: found {fits}"
