"""One layer through the golden model: tiles, psums, accumulation, residual, ReLU, checked against the core's widths."""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model import exact, psum, sfp, tiling
from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.convolution import convolve
from golden_model.operands import Operands
from golden_model.tiling import ConvShape


@dataclasses.dataclass(frozen=True)
class GoldenLayer:
    """What the core must give for one layer.

    ``psums``: in WS the cube int32 [ic_tile, oc_tile, kij, nij, col], in OS int32 [oc_tile, o_tile, row, col].
    ``accumulated``: int64 [OC, OH, OW], the residual added where there is one.
    ``output``: int64 [OC, OH, OW], ``accumulated`` after ReLU where the layer has one.
    """

    shape: ConvShape
    dataflow: Dataflow
    psums: np.ndarray
    accumulated: np.ndarray
    output: np.ndarray


def golden_layer(operands: Operands, configuration: Configuration, dataflow: Dataflow) -> GoldenLayer:
    """Golden values of a layer on the core.

    In a2w4 an activation has half of ACT_BITS, an ic_tile 2*ROWS channels, and a time step of OS takes two channels.
    Raises TypeError for a dtype that is not integer, ValueError for sizes that disagree, an operand outside ACT_BITS
    (unsigned, or two's complement where signed) or WGT_BITS, and for what the core has no place for (:func:`for_core`);
    ConfigurationError for a2w4 where SIMD is 0, and sfp.PsumOverflow for a layer whose sums, final or on the way, leave
    PSUM_BITS.
    """
    for_core(operands)
    weight, activation, residual, shape = operands.weight, operands.activation, operands.residual, operands.shape
    precision, a_signed = operands.precision, operands.a_signed
    wgt_limit = 1 << (configuration.wgt_bits - 1)
    _check_operand("weight", weight, (-wgt_limit, wgt_limit - 1), f"WGT_BITS = {configuration.wgt_bits}")
    kind = "signed" if a_signed else "unsigned"
    halved = "" if precision is Precision.a4w4 else f" / {precision.channels} in {precision.name}"
    limits = f"ACT_BITS = {configuration.act_bits}{halved}, {kind},"
    _check_operand("activation", activation, configuration.act_range(a_signed, precision), limits)
    if residual is not None:
        _check_integer("residual", residual)
        if residual.shape != (shape.oc, shape.oh, shape.ow):
            raise ValueError(f"residual must be {[shape.oc, shape.oh, shape.ow]}, not {list(residual.shape)}")
        sfp.check_psum_range(residual, configuration.psum_bits, "residual")

    rows, cols, psum_bits = configuration.rows, configuration.cols, configuration.psum_bits
    proven = _magnitude_bound(operands) < 1 << (psum_bits - 1)
    if dataflow is Dataflow.weight_stationary:
        channels = rows * precision.channels  # of an ic_tile
        psums = psum.ws_psums(
            tiling.activation_tiles(activation, shape, channels), tiling.weight_tiles(weight, channels, cols)
        )
        if not proven:
            sfp.ws_accumulation_range(psums, shape, residual).check(psum_bits)
        accumulated = sfp.accumulate(psums, shape)
    else:
        activations = tiling.os_activation_tiles(activation, shape, rows)
        weights = tiling.os_weight_tiles(weight, cols)
        psums = psum.os_psums(activations, weights)
        if not proven:
            sfp.os_accumulation_range(activations, weights, shape, residual, precision.channels).check(psum_bits)
        accumulated = sfp.from_os(psums, shape)
    if residual is not None:
        accumulated = sfp.add_residual(accumulated, residual)
    return GoldenLayer(shape, dataflow, psums, accumulated, sfp.relu(accumulated) if operands.relu else accumulated)


def for_core(operands: Operands) -> None:
    """Raise ValueError where a layer asks for more than the core's psums, residual and ReLU."""
    for name in ("bias", "requant"):
        if getattr(operands, name) is not None:
            raise ValueError(f"the core has no {name}; the accelerator has, or the residual can hold it")
    if operands.pool:
        raise ValueError("the core has no pooling; the accelerator has")


def _magnitude_bound(operands: Operands) -> int:
    """No running sum of the layer, in whatever order, exceeds this: a quick proof that spares the exact check."""
    weight, activation = (np.abs(values.astype(np.int32)) for values in (operands.weight, operands.activation))
    largest = int(convolve(weight, activation, operands.stride, operands.padding).max())
    return largest + (0 if operands.residual is None else exact.largest_magnitude(operands.residual))


def _check_integer(what: str, values: np.ndarray) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{what} must be integers, not {values.dtype}")


def _check_operand(what: str, values: np.ndarray, allowed: tuple[int, int], limits: str) -> None:
    _check_integer(what, values)
    outside = (values < allowed[0]) | (values > allowed[1])
    if outside.any():
        position = tuple(np.argwhere(outside)[0])
        raise ValueError(
            f"{what}{[int(i) for i in position]} is {values[position]}: {limits} holds {allowed[0]}..{allowed[1]}"
        )
