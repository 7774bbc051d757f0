"""Which networks are run, and which of their layers, where none is named.

PyTorch is imported where it is needed: commands whose layers come from files start three times as fast without it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quant.errors import LayerError
from quant.training.recipes import named_recipe

if TYPE_CHECKING:
    from quant.network import Network

# The shipped networks that the main job takes its layers from, the best of each kind, and which of their layers; None:
# those that show each kind of convolution.
MAIN_JOB = {"vgg16_w4a4": None, "vgg16_w4a2": ["features.24"], "resnet20_w4a4": None}


def default_layers(network: Network) -> list[str]:
    """Quantised layers that show each kind of convolution of a network."""
    from quant.capture import quantised_layers
    from quant.models import MODELS

    there = quantised_layers(network.model)
    return [name for name in MODELS[network.name].default_layers if name in there]


def network_with(layers: Sequence[str]) -> str:
    """The main job's network that has layers of these names. LayerError where none has all."""
    from quant.models import MODELS

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
