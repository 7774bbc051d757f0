"""Real layers for the core: captured live from a checkpoint, with the dataflow to run them in."""

from __future__ import annotations

import dataclasses

from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.convolution import convolve
from golden_model.tiling import ConvShape, tile_count
from quant.capture import LayerOperands, capture, quantised_layers, recovery_error
from quant.data import load_data
from quant.network import Network
from tb.layers.job import LayerTask


def ideal_cycles(
    shape: ConvShape, configuration: Configuration, dataflow: Dataflow, precision: Precision = Precision.a4w4
) -> int:
    """Cycles of the throughput contract without fill and drain: WS max(T, COLS/WGT_LANES), OS max(K, ROWS) a pass.

    In a2w4 a row takes two input channels at once: half as many ic_tiles (WS), or half the K (OS).
    """
    oc_tiles = tile_count(shape.oc, configuration.cols)
    if dataflow is Dataflow.weight_stationary:
        ic_tiles = tile_count(shape.ic, configuration.rows * precision.channels)
        return oc_tiles * ic_tiles * shape.n_kij * max(shape.n_o_nij, configuration.cols // configuration.wgt_lanes)
    o_tiles = tile_count(shape.n_o_nij, configuration.rows)
    return oc_tiles * o_tiles * max(tile_count(shape.ic, precision.channels) * shape.n_kij, configuration.rows)


def faster_dataflow(shape: ConvShape, configuration: Configuration, precision: Precision = Precision.a4w4) -> Dataflow:
    """The dataflow with fewer ideal cycles, weight-stationary where both need the same."""
    return min(Dataflow, key=lambda dataflow: ideal_cycles(shape, configuration, dataflow, precision))


@dataclasses.dataclass(frozen=True)
class RealLayer:
    """A layer, ready to run.

    operands: as captured from an image of the data set ``data``; both None where golden files gave the task.
    """

    network: str
    name: str
    task: LayerTask
    shape: ConvShape
    operands: LayerOperands | None = None
    data: str | None = None

    @property
    def recovery_error(self) -> float | None:
        """Mean absolute error of the recovered psum against the float reference; None without one."""
        o = self.operands
        return None if o is None else recovery_error(o, convolve(o.weight, o.activation, o.stride, o.padding))[0]


def real_layers(
    network: Network,
    names: list[str] | None,
    image: int,
    configuration: Configuration,
    dataflow: Dataflow | None = None,
    data: str | None = None,
) -> list[RealLayer]:
    """Capture the layers ``names`` (None: all quantised ones) for test image ``image`` in one forward pass.

    Layers with activations of half ACT_BITS or less run as a2w4 where the configuration has it.
    """
    captured = capture(network, names, image, None if data is None else load_data(data))
    result = []
    for name in names if names is not None else quantised_layers(network.model):
        operands = captured[name]
        shape = ConvShape.of(operands.weight, operands.activation, operands.stride, operands.padding)
        precision = configuration.precision_of(operands.a_bits)
        task = LayerTask(
            title=f"{network.name} {name} image {image}",
            dataflow=dataflow if dataflow is not None else faster_dataflow(shape, configuration, precision),
            weight=operands.weight,
            activation=operands.activation,
            stride=operands.stride,
            padding=operands.padding,
            a_signed=operands.a_signed,
            residual=operands.residual,
            precision=precision,
        )
        result.append(RealLayer(network.name, name, task, shape, operands, data or network.samples))
    return result
