"""The networks that are run, and which of their layers where none is named."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from golden_model.tiling import ConvShape
from quant.capture import quantised_layers
from quant.errors import LayerError
from quant.models import MODELS, ModelSpec, shortcut_of
from quant.network import Network
from quant.training.recipes import named_recipe

# The shipped networks that the main job takes its layers from, the best of each kind, and which of their layers; None:
# those that show each kind of convolution.
MAIN_JOB = {"vgg16_w4a4": None, "vgg16_w4a2": ["features.24"], "resnet20_w4a4": None}


def default_layers(network: Network) -> list[str]:
    """Quantised layers that show each kind of convolution of a network."""
    there = quantised_layers(network.model)
    return [name for name in MODELS[network.name].default_layers if name in there]


def network_with(layers: Sequence[str]) -> str:
    """The main job's network that has layers of these names. LayerError where none has all."""
    kinds = {name: named_recipe(name)[1]["name"] for name in MAIN_JOB}
    for checkpoint, kind in kinds.items():
        if all(re.match(MODELS[kind].layer_names, layer) for layer in layers):
            return checkpoint
    called = ", ".join(
        f"those of {kind} like {MODELS[kind].default_layers[0]}" for kind in dict.fromkeys(kinds.values())
    )
    raise LayerError(
        f"no network has all of the layers {', '.join(layers)}; name one with CHECKPOINT. Layers are called: {called}"
    )


# The geometries of the seeds, by the names that benches and tests have for them
FULL_SIZE = {
    name: ModelSpec(**named_recipe(recipe)[1])
    for name, recipe in {"vgg16": "vgg16_w4a4", "vgg16_w4a2": "vgg16_w4a2", "resnet20": "resnet20_w4a4"}.items()
}


@dataclasses.dataclass(frozen=True)
class NetworkLayer:
    """One convolution of a full-size network."""

    name: str
    shape: ConvShape
    residual: bool = False


def network_layers(spec: ModelSpec, size: int = 32) -> list[NetworkLayer]:
    """All convolutions of a model, the unquantised ones too, for an image of size x size.

    Read off one pass of an image through the model.
    """
    import torch

    model = spec.build().eval()
    modules = dict(model.named_modules())
    names = [name for name, module in modules.items() if isinstance(module, torch.nn.Conv2d)]
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        modules[name].register_forward_pre_hook(lambda _, inputs, name=name: sizes.update({name: inputs[0].shape[2:]}))
        for name in names
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    result = []
    for name in names:
        conv = modules[name]
        ih, iw = sizes[name]
        shape = ConvShape(
            conv.in_channels, ih, iw, conv.out_channels, *conv.kernel_size, conv.stride[0], conv.padding[0]
        )
        result.append(NetworkLayer(name, shape, residual=shortcut_of(modules, name) is not None))
    return result
