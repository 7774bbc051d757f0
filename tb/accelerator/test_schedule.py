"""The cycle model against the hardware's own counters."""

from __future__ import annotations

from golden_model.configuration import configuration
from tb.accelerator.prepared import predicted
from tb.layers.random_layers import random_task


def test_cycles_of_random_layers_are_near(run_accelerator, seed, sim):
    """Small layers, where filling and waiting mix: mostly within 1 % or 4 cycles, nearly all 10 % or 32."""
    c = configuration("net_8x8")
    count, largest = (100, 400_000) if sim == "verilator" else (10, 30_000)
    tasks = [random_task(5000 * seed + number, c, macs=largest) for number in range(count)]
    errors = [
        (abs(predicted(c, task) - measured["cycles"]), measured["cycles"])
        for task, measured in zip(tasks, run_accelerator(c, tasks), strict=True)
    ]
    assert sum(error <= max(4, 0.01 * total) for error, total in errors) >= 0.7 * count
    assert sum(error <= max(32, 0.1 * total) for error, total in errors) >= 0.9 * count
