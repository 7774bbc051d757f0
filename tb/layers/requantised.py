"""Captured layers as the accelerator runs them: requantised, and pooled, for the layer that follows."""

from __future__ import annotations

import dataclasses

from golden_model.configuration import Configuration, Dataflow
from golden_model.requantise import fit
from quant.errors import NoConsumer
from quant.network import Network
from quant.requantisation import output_stage
from tb.accelerator.prepared import chosen
from tb.layers.captured import RealLayer
from tb.layers.task import LayerTask


def requantised(layer: RealLayer, network: Network, c: Configuration, dataflow: Dataflow | None = None) -> LayerTask:
    """A captured layer with its outputs requantised, and pooled, for the layer that follows, where one does.

    Where none does (the last convolution, a shortcut), or where it takes bits that the hardware has not, the psums
    after ReLU come out as they are. ``dataflow`` None: the one that needs fewer cycles. LayerError where it is not
    known what follows.
    """
    try:
        stage = output_stage(network, layer.name)
    except NoConsumer:
        stage = None
    changes = {}
    if stage is not None and stage.bits in (c.act_bits, c.act_bits / 2):
        requant = fit(stage.scale, stage.offset, stage.step, stage.bits)
        # The clamp at 0 is the ReLU of what is requantised.
        changes = {"requant": requant, "pool": stage.pool, "relu": False}
    operands = dataclasses.replace(layer.task.operands, **changes)
    return chosen(c, dataclasses.replace(layer.task, operands=operands), dataflow)
