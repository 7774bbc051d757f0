"""Starting a network from another one's weights where they fit (seed 003's way from w4a4 to w4a2)."""

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quant.errors import QuantError
from quant.layers import QuantConv2d
from quant.network import Network


def _places(model: nn.Module) -> dict[str, str]:
    """Module name -> place: number of the convolution, and the module's kind, of every module that has a state.

    Names shift where one VGG16 has an Identity that another lacks (seeds 002 and 003); places do not.
    """
    places: dict[str, str] = {}
    convolutions, seen = 0, Counter()
    for name, module in model.named_modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if not own or (name.endswith("weight_quant")):
            continue
        if isinstance(module, nn.Conv2d):
            convolutions += 1
        kind = "conv" if isinstance(module, nn.Conv2d) else type(module).__name__
        seen[convolutions, kind] += 1
        places[name] = f"{convolutions} {kind} {seen[convolutions, kind]}"
    return places


@torch.no_grad()
def warm_start(model: nn.Module, source: nn.Module) -> list[str]:
    """Copy the state of ``source``'s modules to those of ``model`` at the same place; returns what was skipped.

    Each line names a module of ``model`` that keeps its random start, and why.
    """
    there = {place: name for name, place in _places(source).items()}
    skipped = []
    for name, place in _places(model).items():
        target = model.get_submodule(name)
        if place not in there:
            skipped.append(f"{name}: the source has no such layer")
            continue
        state = source.get_submodule(there[place]).state_dict()
        own = target.state_dict()
        other = [key for key in own if key in state and own[key].shape != state[key].shape]
        if other or own.keys() != state.keys():
            skipped.append(f"{name}: {_reason(own, state, other)}")
            continue
        target.load_state_dict(state)
    for layer in model.modules():
        if isinstance(layer, QuantConv2d):
            layer.refresh_weight_q()
    return skipped


@torch.no_grad()
def mean_of(networks: Sequence[Network]) -> nn.Module:
    """A network whose state is the mean of those of ``networks``, which may be named more than once to weigh more.

    Networks of a common origin may have a mean that is better than each (Izmailov et al., 2018; Shin et al., 2020).
    The quantiser takes no notice of how large a layer's weights are: each network's are first brought to the deviation
    of the first one's. BatchNorm's statistics are wrong until they are measured anew. QuantError where the networks are
    not of one kind, or see their images in other ways.
    """
    first, *others = networks
    for network in others:
        here, there = (
            one.spec.to_dict() | {"classes": one.classes, "mean": one.mean, "std": one.std} for one in (first, network)
        )
        different = [key for key in {**here, **there} if here.get(key) != there.get(key)]
        if different:
            values = ", ".join(f"{key} {here.get(key)} and {there.get(key)}" for key in different)
            raise QuantError(f"no mean of {first.path} and {network.path}: they have {values}")
    if not others:
        return first.model
    states = [network.model.state_dict() for network in networks]
    for name, layer in first.model.named_modules():
        if isinstance(layer, QuantConv2d) and not layer.floating:
            key = f"{name}.weight"
            for state in states:
                state[key] = state[key] * (states[0][key].std() / state[key].std())
    mean = copy.deepcopy(first.model)
    mean.load_state_dict(
        {
            key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
            for key, value in states[0].items()
        }
    )
    return mean


def _reason(own: dict[str, Tensor], state: dict[str, Tensor], other: list[str]) -> str:
    if not other:
        return f"it holds {sorted(own)}, the source's {sorted(state)}"
    return f"{other[0]} is {tuple(own[other[0]].shape)} here, {tuple(state[other[0]].shape)} in the source"
