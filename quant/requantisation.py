"""What lies between a layer's psums and the next layer's integers: BatchNorm, ReLU, max pooling, the next quantiser.

``output_stage(load_network("vgg16_digits"), "features.3")`` has scale and offset float64 [16], the step and bits of
features.7's activations, and ``pool``. The floats only: ``golden_model.requantise.fit`` makes the integers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from quant.capture import folded_norm, quantised_layers, refuse_unsupported, scale_beside_shortcut
from quant.errors import LayerError
from quant.models import MODELS, shortcut_of
from quant.network import Network


@dataclass(frozen=True)
class OutputStage:
    """The way of one layer's output to one quantiser.

    With the operands of ``quant.capture`` (its residual added, its signs turned) the activations of ``consumer`` are
    ``clamp(round((psum * scale[oc] + offset[oc]) / step), 0, 2^bits - 1)``, then, where ``pool``, their maximum in 2x2.
    The clamp at 0 is the ReLU: one on the psums themselves is wrong wherever offset is not 0 or scale is negative.
    """

    layer: str
    consumer: str  # the quantised convolution whose activations these become
    scale: np.ndarray  # float64 [OC], value of one integer of psum (+ residual) behind the BatchNorm; may be negative
    offset: np.ndarray  # float64 [OC], the BatchNorm's shift; 0 where a residual holds it
    step: float  # the consumer's x_delta
    bits: int  # the consumer's a_bits
    relu: bool  # the network has a ReLU there
    pool: bool  # a 2x2 max pooling of stride 2 follows


def consumers(network: Network, layer: str) -> list[str]:
    """The quantised convolutions that take the output of ``layer``, the main path's first.

    Two where a residual block with a downsampling shortcut follows: its conv1 and its downsample.0, each with a
    quantiser of its own. An identity shortcut, which takes the floats, does not count.
    NoConsumer where no quantiser takes the output, saying what does; LayerError where the layer does not exist.
    """
    return _follow(network, layer)[1]


def output_stage(network: Network, layer: str, consumer: str | None = None) -> OutputStage:
    """The stage behind ``layer`` of a VGG16 or ResNet20; ``consumer``: one of :func:`consumers`, by default the first.

    LayerError as in :func:`consumers`; for a ``consumer`` that is not one; for modules between that requantisation does
    not compute; for a layer that ``quant.capture`` refuses; and where the consumer's activations are signed.
    """
    between, takers = _follow(network, layer)
    consumer = takers[0] if consumer is None else consumer
    if consumer not in takers:
        raise LayerError(f"{layer} does not feed {consumer!r}; it feeds {', '.join(takers)}")
    modules = dict(network.model.named_modules())
    convolution, taker = modules[layer], modules[consumer]
    refuse_unsupported(layer, convolution)
    if taker.signed_act:
        raise LayerError(
            f"{consumer}, which {layer} feeds, takes signed activations: requantisation makes unsigned ones"
        )
    norm, relu, pool = _recognise(layer, between)
    scale, offset = folded_norm(norm, convolution.out_channels)
    scale = scale * (convolution.w_delta * convolution.x_delta)
    if (shortcut := shortcut_of(modules, layer)) is not None:
        # As captured: the weights carry the sign, the residual the shift.
        scale, offset = scale_beside_shortcut(convolution, shortcut.norm)[0], torch.zeros_like(offset)
    return OutputStage(layer, consumer, scale.numpy(), offset.numpy(), taker.x_delta, taker.a_bits, relu, pool)


def _follow(network: Network, layer: str) -> tuple[list[nn.Module], list[str]]:
    """The modules behind ``layer`` up to the next quantised convolutions, and the names of these."""
    model = network.model
    existing = quantised_layers(model)
    if layer not in existing:
        raise LayerError(f"{network.name} has no quantised layer {layer!r}; it has {', '.join(existing)}")
    return following(network, layer)


def following(network: Network, layer: str) -> tuple[list[nn.Module], list[str]]:
    """The modules behind any convolution up to the next quantised ones, and the names of these.

    NoConsumer where no quantiser takes the output; LayerError for a network of which it is not known what follows.
    """
    model = network.model
    kind = next((kind for kind in MODELS.values() if kind.follow and type(model) is kind.build), None)
    if kind is None:
        known = " and ".join(kind.build.__name__ for kind in MODELS.values() if kind.follow)
        raise LayerError(f"what follows {layer} is known for {known}, not for {type(model).__name__}")
    return kind.follow(model, layer)


def _recognise(layer: str, between: list[nn.Module]) -> tuple[nn.Module | None, bool, bool]:
    """The BatchNorm or None, whether there is a ReLU, and a 2x2 max pooling. They must come in this order."""
    norm, relu, pool = None, False, False
    for module in between:
        if _does_nothing(module):
            continue
        if isinstance(module, nn.BatchNorm2d) and norm is None and not (relu or pool):
            norm = module
        elif isinstance(module, nn.ReLU) and not (relu or pool):
            relu = True
        elif _is_2x2_pool(module) and not pool:
            pool = True
        else:
            raise LayerError(
                f"behind {layer} comes {module}: requantisation computes BatchNorm2d, ReLU and MaxPool2d(2, 2), each "
                "at most once and in this order"
            )
    return norm, relu, pool


def _does_nothing(module: nn.Module) -> bool:
    empty = isinstance(module, nn.Sequential) and not len(module)
    one = isinstance(module, nn.AvgPool2d) and module.kernel_size == module.stride == 1 and module.padding == 0
    return empty or one or isinstance(module, nn.Identity)


def _is_2x2_pool(module: nn.Module) -> bool:
    if not isinstance(module, nn.MaxPool2d) or module.ceil_mode:
        return False
    sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
    return all(size in (wanted, (wanted, wanted)) for size, wanted in zip(sizes, (2, 2, 0, 1), strict=True))
