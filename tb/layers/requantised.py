"""Layers for the accelerator's sequencer: those of a trained network, and the shapes of the full-size networks."""

from __future__ import annotations

import dataclasses

from golden_model.accelerator import schedule
from golden_model.configuration import Configuration, Dataflow
from golden_model.requantise import fit
from quant.errors import LayerError
from quant.network import Network
from quant.requantisation import output_stage
from tb.layers.captured import RealLayer
from tb.layers.task import SystemTask


def system_task(layer: RealLayer, network: Network, c: Configuration, dataflow: Dataflow | None = None) -> SystemTask:
    """A captured layer as the sequencer runs it: requantised, and pooled, for the layer that follows, where one does.

    Where none does (the last convolution, a shortcut) the psums after ReLU come out as they are.
    ``dataflow`` None: the one that needs fewer cycles.
    """
    task = layer.task
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
    requant, pool = None, False
    try:
        stage = output_stage(network, layer.name)
        if stage.bits in (c.act_bits, c.act_bits / 2):
            requant, pool = fit(stage.scale, stage.offset, stage.step, stage.bits), stage.pool
    except LayerError:
        pass  # its output goes elsewhere than into a quantiser
    fields |= {"pool": pool, "relu": requant is None}  # the clamp at 0 is the ReLU of what is requantised
    if requant is not None:
        fields |= {
            "multiplier": requant.multiplier, "offset": requant.offset, "shift": requant.shift, "bits": requant.bits
        }  # fmt: skip
    return chosen(SystemTask(**fields), c, dataflow)


def chosen(task: SystemTask, c: Configuration, dataflow: Dataflow | None = None) -> SystemTask:
    """The task with ``dataflow``, or the one that the cycle model finds faster; PlanError where none can run it."""
    shape = task.shape
    best = schedule.choose(
        shape, c, dataflow=dataflow, simd=task.simd, pool=task.pool, requant=task.multiplier is not None,
        residual=task.residual is not None,
    )  # fmt: skip
    return dataclasses.replace(task, dataflow=best.dataflow, band_rows=best.band_rows)
