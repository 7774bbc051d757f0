"""The full-size networks' convolutions, with the geometries of the seeds."""

from __future__ import annotations

import dataclasses

from golden_model.tiling import ConvShape
from quant.models import ModelSpec, shortcut_of
from quant.training.recipes import named_recipe

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
