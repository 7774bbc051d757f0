"""The core, every cycle driven by cocotb."""

from __future__ import annotations

import numpy as np

from golden_model.configuration import Configuration
from golden_model.convolution import convolve
from golden_model.layer import GoldenLayer, golden_layer
from golden_model.throughput import ideal_cycles
from tb import simulators
from tb.core.program import Program, compile_layer
from tb.layers.task import LayerTask
from tb.target import Target


def prepare(c: Configuration, task: LayerTask) -> tuple[Program, GoldenLayer]:
    """The layer's micro-operations and its golden values, the latter held against the plain convolution."""
    o = task.operands.with_bias_in_residual()
    golden = golden_layer(o, c, task.dataflow)
    # The tiles are cut by the same functions for both; the plain convolution knows nothing of tiles.
    expected = convolve(o.weight, o.activation, o.stride, o.padding)
    if o.residual is not None:
        expected = expected + o.residual
    assert np.array_equal(golden.accumulated, expected), f"{task.title}: the tiled golden model is not the convolution"
    return compile_layer(o, c, task.dataflow), golden


def _least_cycles(c: Configuration, task: LayerTask) -> int:
    return ideal_cycles(task.shape, c, task.dataflow, task.operands.precision)


TARGET = Target("core", "core", simulators.rtl_sources, "tb.core.cases_core", prepare, _least_cycles)
