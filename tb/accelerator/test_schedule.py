"""The cycle model against the hardware's own counters."""

from __future__ import annotations

from golden_model.configuration import configuration
from tb.accelerator.prepared import predicted
from tb.layers.random_layers import random_task


def test_cycles_of_random_layers_are_near(run_accelerator, seed, sim):
    """Small layers, where filling and waiting mix: mostly within 1 % or 2 cycles, nearly all within 5 % or 16."""
    c = configuration("net_8x8")
    count, largest = (100, 400_000) if sim == "verilator" else (10, 30_000)
    tasks = [random_task(5000 * seed + number, c, macs=largest) for number in range(count)]
    errors = [
        (abs(predicted(c, task) - measured["cycles"]), measured["cycles"])
        for task, measured in zip(tasks, run_accelerator(c, tasks), strict=True)
    ]
    assert sum(error <= max(2, 0.01 * total) for error, total in errors) >= 0.85 * count
    assert sum(error <= max(16, 0.05 * total) for error, total in errors) >= 0.9 * count
