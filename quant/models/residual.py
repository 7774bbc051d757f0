"""Where a model adds a shortcut to the output of a convolution: the one place that knows the blocks that do."""

from dataclasses import dataclass

from torch import nn

from quant.models.resnet import BasicBlock
from quant.models.vgg import SkipBlock


@dataclass(frozen=True)
class Shortcut:
    """What is added to a convolution behind ``norm``: the output of module ``source``, or its input."""

    norm: nn.Module  # BatchNorm2d, or what does nothing
    source: str
    of_output: bool


def shortcut_of(modules: dict[str, nn.Module], name: str) -> Shortcut | None:
    """The shortcut that is added to the output of the convolution ``name``, if one is.

    modules: the model's ``named_modules``.
    """
    parent, _, attribute = name.rpartition(".")
    block = modules.get(parent)
    if isinstance(block, BasicBlock) and attribute == "conv2":
        if block.downsample is None:
            return Shortcut(block.bn2, parent, of_output=False)
        return Shortcut(block.bn2, f"{parent}.downsample", of_output=True)
    if isinstance(block, SkipBlock) and attribute == "conv27":
        return Shortcut(block.bn28, name, of_output=False)
    return None
