"""What the accelerator must give for a layer, from the integer definition, in the order of its streams."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from golden_model import tiling
from golden_model.accelerator.plan import Plan
from golden_model.configuration import Dataflow
from golden_model.convolution import convolve
from golden_model.operands import Operands
from golden_model.requantise import max_pool
from golden_model.sfp import check_psum_range


@dataclasses.dataclass(frozen=True)
class AcceleratorGolden:
    """Golden values of one layer; ``output`` is [OC, OH, OW] as it lies in memory, requantised and pooled if asked."""

    plan: Plan
    weight: np.ndarray
    activation: np.ndarray
    accumulated: np.ndarray  # int64 [OC, OH, OW], bias and residual included, before ReLU
    output: np.ndarray
    saturated: bool

    @functools.cached_property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels (oc_tile, o_nij) and accumulated psums [words, cols], band by band."""
        plan, shape = self.plan, self.plan.shape
        tiles = tiling.by_tile(self.accumulated.reshape(shape.oc, -1), plan.oc_tiles, plan.configuration.cols)
        labels, values = [], []
        for band in range(plan.bands):
            first = band * plan.positions(0)
            o_nij = np.arange(first, first + plan.positions(band))
            for oc_tile in range(plan.oc_tiles):
                labels.append(np.stack([np.full(len(o_nij), oc_tile), o_nij], axis=1))
                values.append(tiles[oc_tile, o_nij])
        return np.concatenate(labels), np.concatenate(values)

    @functools.cached_property
    def psums(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and psums [words, cols] of every pass: a part of the channels and one tap (WS), a tile's rows (OS)."""
        plan, shape, c = self.plan, self.plan.shape, self.plan.configuration
        labels, values = [], []
        if plan.dataflow is Dataflow.weight_stationary:
            cube = {}
            per_tile = c.rows * plan.ic_group
            for ic_tile in range(plan.ic_tiles):
                part = slice(ic_tile * per_tile, (ic_tile + 1) * per_tile)
                for kij in range(shape.n_kij):
                    # One tap of some channels is a convolution of its own.
                    only = np.zeros_like(self.weight[:, part])
                    ki, kj = divmod(kij, shape.kw)
                    only[:, :, ki, kj] = self.weight[:, part, ki, kj]
                    psum = convolve(only, self.activation[part], shape.stride, shape.padding)
                    cube[ic_tile, kij] = tiling.by_tile(psum.reshape(shape.oc, -1), plan.oc_tiles, c.cols)
            for band in range(plan.bands):
                o_nij = np.arange(band * plan.positions(0), band * plan.positions(0) + plan.positions(band))
                for oc_tile in range(plan.oc_tiles):
                    for (ic_tile, kij), psum in cube.items():
                        where = np.broadcast_to([oc_tile, ic_tile, kij], (len(o_nij), 3))
                        labels.append(np.column_stack([where, o_nij]))
                        values.append(psum[oc_tile, o_nij])
            return np.concatenate(labels), np.concatenate(values)
        psum = convolve(self.weight, self.activation, shape.stride, shape.padding)
        tiles = tiling.by_tile(psum.reshape(shape.oc, -1), plan.oc_tiles, c.cols)
        for band in range(plan.bands):
            for oc_tile in range(plan.oc_tiles):
                for o_tile in range(plan.o_tiles(band)):
                    oi, oj = np.divmod(o_tile * c.rows + np.arange(c.rows), plan.pitch)
                    there = (oj < shape.ow) & (oi < plan.rows_of(band))
                    o_nij = np.where(there, (band * plan.band_rows + oi) * shape.ow + oj, -1)
                    where = np.column_stack([np.broadcast_to([oc_tile, o_tile], (c.rows, 2)), np.arange(c.rows), o_nij])
                    labels.append(where)
                    values.append(np.where(there[:, None], tiles[oc_tile, np.maximum(o_nij, 0)], 0))
        return np.concatenate(labels), np.concatenate(values)


def accelerator_golden(plan: Plan, operands: Operands) -> AcceleratorGolden:
    """Golden values; PsumOverflow where the final sums leave PSUM_BITS."""
    requant = operands.requant
    convolved = convolve(operands.weight, operands.activation, plan.shape.stride, plan.shape.padding)
    accumulated = convolved.astype(np.int64)
    if operands.bias is not None:
        accumulated = accumulated + np.asarray(operands.bias, np.int64)[:, None, None]
    if operands.residual is not None:
        accumulated = accumulated + operands.residual
    check_psum_range(accumulated, plan.configuration.psum_bits, "accumulated psum")
    output = np.maximum(accumulated, 0) if operands.relu else accumulated
    saturated = False
    if requant is not None:
        saturated = bool(requant.saturates(output, 0).any())
        output = requant(output).astype(np.int64)
    if plan.pool:
        output = max_pool(output)
    return AcceleratorGolden(plan, operands.weight, operands.activation, accumulated, output, saturated)
