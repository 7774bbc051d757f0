"""cocotb tests of ``system``: whole networks; program and images come from the process that started it.

Each result has the seconds that the image took, the integer model's share included, the simulation's start not. An
image that went wrong is a result too, with what was wrong and where, and the next one runs, after a reset; a list that
stands still ends the test.
"""

from __future__ import annotations

import dataclasses
import time

import cocotb

from tb.layers.job import report
from tb.networks.bench import NetworkBench, WrongImage
from tb.networks.job import Check, NetworkJob

BATCH = 8  # images whose tensors the integer model computes at once


@cocotb.test()
async def images(dut):
    """Every image of the job; all that the layers wrote, or the class, equals the integer model's."""
    job = NetworkJob.load()
    tb, results, failures = NetworkBench(dut, job.program), [], []
    await tb.start(job.seed, job.stalls)
    await tb.load()
    for first in range(0, len(job.images), BATCH):
        begin = time.perf_counter()
        expected = job.program.expected(job.images[first : first + BATCH])
        share = (time.perf_counter() - begin) / len(expected)
        for index, number in enumerate(job.numbers[first : first + BATCH]):
            begin = time.perf_counter() - share
            if job.forced or job.layer is not None:
                counters, wrong = await tb.run_forced(number, expected[index], job.layer)
                results.append({"number": number, "layers": counters, "wrong": wrong})
            else:
                try:
                    activity = job.activity if number == job.numbers[0] else None
                    run = await tb.run_image(number, expected[index], job.check is Check.outputs, activity)
                    results.append({**dataclasses.asdict(run), "seconds": time.perf_counter() - begin})
                except WrongImage as error:
                    failures.append(error)
                    await tb.begin_anew()
                    results.append({
                        "number": number, "failure": str(error), "where": error.where,
                        "seconds": time.perf_counter() - begin,
                    })  # fmt: skip
            report(results)
    if failures:
        raise failures[0]
