"""Small layers that together use every path between memory and array; for tests of the bus, where a cycle is dear."""

from __future__ import annotations

import itertools
import math

import numpy as np

from golden_model.accelerator.plan import PlanError, plans
from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.convolution import convolve
from golden_model.operands import Operands
from golden_model.requantise import Requantisation, fit
from golden_model.tiling import ConvShape
from tb.layers.task import LayerTask

WS, OS = Dataflow.weight_stationary, Dataflow.output_stationary


def bus_layers(c: Configuration, seed: int) -> list[LayerTask]:
    """For each dataflow: plain, stride 2 with residual, requantised and pooled, in bands; a2w4 where built."""
    rng = np.random.default_rng([seed, c.rows])
    tasks = []
    for flow in (WS, OS):
        tasks.append(small_layer(rng, c, flow, "plain", kernel=1, padding=0))
        tasks.append(small_layer(rng, c, flow, "stride 2, residual", stride=2, residual=True))
        tasks.append(small_layer(rng, c, flow, "requantised, pooled", bias=True, requant=True, pool=True))
        tasks.append(small_layer(rng, c, flow, "bands", bands=2, bias=True, residual=True))
        if c.simd:
            tasks.append(small_layer(rng, c, flow, "a2w4", simd=True, requant=True))
    return tasks


def clamped_layers(c: Configuration) -> list[LayerTask]:
    """Outputs up to the top of their range, none of which is clamped, and up to one above it."""
    ramp = np.arange(1 << c.act_bits).reshape(1, 1, -1)
    tasks = []
    for flow, (above, what) in itertools.product((WS, OS), enumerate(("up to the top", "one above the top"))):
        operands = Operands(np.ones((1, 1, 1, 1), int), ramp, requant=Requantisation([1], [above], 0, c.act_bits))
        tasks.append(LayerTask(f"{flow.name}, {what}", flow, operands))
    return tasks


def small_layer(
    rng: np.random.Generator, c: Configuration, flow: Dataflow, what: str, *, kernel: int = 3, stride: int = 1,
    padding: int = 1, simd: bool = False, residual: bool = False, bias: bool = False, requant: bool = False,
    pool: bool = False, bands: int = 1, oc: int | None = None,
) -> LayerTask:  # fmt: skip
    """More channels than a tile has, both ways, on a map of a few pixels; of as many bands as asked for, or more.

    oc: output channels, in place of more than a tile's.
    """
    bits = c.act_bits // 2 if simd else c.act_bits
    oc = c.cols + 1 if oc is None else oc
    options = {"simd": simd, "pool": pool, "requant": requant}
    sizes = sorted(((ih, iw) for ih in range(5, 13) for iw in range(3, 9)), key=math.prod)
    # The smallest map that can be cut so; with two channels where a block of more has no room for bands.
    for ic, (ih, iw) in itertools.product((c.rows + 2, 2), sizes):
        shape = ConvShape(ic, ih, iw, oc, kernel, kernel, stride, padding)
        try:
            found = [p for p in plans(shape, c, flow, **options) if p.bands >= bands]
        except PlanError:
            continue
        if found:
            break
    limit = 1 << (c.wgt_bits - 1)
    weight = rng.integers(-limit, limit, (oc, ic, kernel, kernel))
    activation = rng.integers(0, 1 << bits, (ic, ih, iw))
    psum = convolve(weight, activation, stride, padding)
    scale = None
    if requant:
        scale = fit(rng.uniform(0.5, 2, oc) * (1 << bits) / np.abs(psum).max(), rng.uniform(-1, 1, oc), 1.0, bits)
    operands = Operands(
        weight, activation, stride, padding, precision=Precision(simd), requant=scale, pool=pool, relu=not residual,
        residual=rng.integers(-500, 500, psum.shape) if residual else None,
        bias=rng.integers(-300, 300, oc) if bias else None,
    )  # fmt: skip
    return LayerTask(f"{flow.name}, {what}", flow, operands, band_rows=found[0].band_rows)
