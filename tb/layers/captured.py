"""Real layers for the core: captured live from a checkpoint, with the dataflow to run them in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from golden_model.configuration import Configuration, Dataflow
from golden_model.convolution import convolve
from golden_model.throughput import faster_dataflow
from golden_model.tiling import ConvShape
from tb.layers.task import LayerTask

if TYPE_CHECKING:  # PyTorch is imported where something is captured
    from quant.capture import CapturedLayer
    from quant.network import Network


@dataclasses.dataclass(frozen=True)
class RealLayer:
    """A layer, ready to run.

    captured: from an image of the data set ``data``; both None where golden files gave the task.
    """

    network: str
    name: str
    task: LayerTask
    captured: CapturedLayer | None = None
    data: str | None = None

    @property
    def shape(self) -> ConvShape:
        return self.task.shape

    @property
    def recovery_error(self) -> float | None:
        """Mean absolute error of the recovered psum against the float reference; None without one."""
        if self.captured is None:
            return None
        from quant.capture import recovery_error

        o = self.captured.operands
        return recovery_error(self.captured, convolve(o.weight, o.activation, o.stride, o.padding))[0]


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
    from quant.capture import capture, quantised_layers
    from quant.data import load_data

    captured = capture(network, names, image, None if data is None else load_data(data))
    ordered = {name: captured[name] for name in (names if names is not None else quantised_layers(network.model))}
    return as_tasks(ordered, network.name, configuration, dataflow, data or network.samples, f"image {image}")


def as_tasks(
    captured: dict[str, CapturedLayer],
    network: str,
    configuration: Configuration,
    dataflow: Dataflow | None,
    data: str,
    operands_of: str,
) -> list[RealLayer]:
    """Captured layers as tasks, in the dataflow with fewer cycles unless one is given."""
    result = []
    for name, layer in captured.items():
        operands = dataclasses.replace(layer.operands, precision=configuration.precision_of(layer.a_bits))
        flow = dataflow or faster_dataflow(operands.shape, configuration, operands.precision)
        task = LayerTask(f"{network} {name} {operands_of}", flow, operands)
        result.append(RealLayer(network, name, task, layer, data))
    return result
