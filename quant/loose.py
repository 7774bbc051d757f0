"""Layers of a checkpoint whose network is not known: weights from its state dict, activations drawn at random.

What feeds a layer, its stride, its padding and its map stand in no state dict; so they are given, and the float result
that the integers must recover is this layer's own convolution.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from golden_model.operands import Operands
from quant.capture import CapturedLayer, bias_to_int, check_layers
from quant.checkpoints import resolve
from quant.errors import CheckpointError, LayerError
from quant.layers import QuantConv2d
from quant.network import refuse_contradiction
from quant.quantizers import activation_range
from quant.storage.checkpoint import read_checkpoint
from quant.storage.recognise import DEFAULT_A_BITS, DEFAULT_W_BITS, infer_w_bits

ALPHA = ".act_alpha"


@dataclass(frozen=True)
class Placement:
    """Where a layer stands: what its state dict does not say. padding None: as many zeros as keep the map's size."""

    stride: int = 1
    padding: int | None = None
    size: int = 8  # of the input map, both ways


def loose_layers(
    checkpoint: str | os.PathLike, placement: Placement, a_bits: int | None = None
) -> dict[str, QuantConv2d]:
    """The quantised convolutions of a checkpoint by name, each in one group: a state dict does not tell of more.

    a_bits: of their activations, 4 where it is None. CheckpointError where it has none, or none can be made.
    """
    path = resolve(checkpoint)
    state = read_checkpoint(path)["state_dict"]
    names = [name.removesuffix(ALPHA) for name in state if name.endswith(ALPHA)]
    found = {}
    for name in names:
        weight = state.get(f"{name}.weight")
        if weight is None or weight.ndim != 4:
            continue
        found[name] = _layer(path, name, state, weight, placement, a_bits or DEFAULT_A_BITS)
    if not found:
        raise CheckpointError(f"checkpoint {path} holds no quantised convolution (a 4-dimensional NAME.weight beside "
                              "NAME.act_alpha)")  # fmt: skip
    return found


def _layer(
    path: Path, name: str, state: dict[str, Tensor], weight: Tensor, placement: Placement, a_bits: int
) -> QuantConv2d:
    oc, ic, kh, kw = weight.shape
    padding = kh // 2 if placement.padding is None else placement.padding
    own = {key: value for key, value in state.items() if key.startswith(f"{name}.")}
    try:
        layer = QuantConv2d(
            ic, oc, (kh, kw), placement.stride, padding, bias=f"{name}.bias" in state,
            w_bits=infer_w_bits(own) or infer_w_bits(state) or DEFAULT_W_BITS, a_bits=a_bits,
        )  # fmt: skip
        stripped = {key.removeprefix(f"{name}."): value for key, value in own.items()}
        layer.load_state_dict({"weight_q": layer.weight_q, **stripped})
        layer.refresh_weight_q()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"checkpoint {path}: {name} is no quantised convolution of the course ({reason})"
        ) from error
    try:
        refuse_contradiction(name, layer, own, f"{name}.")
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None
    return layer.eval()


@torch.no_grad()
def loose_capture(
    layers: dict[str, QuantConv2d], names: list[str] | None, network: str, placement: Placement, seed: int
) -> dict[str, CapturedLayer]:
    """Operands of the named layers (None: all), activations uniform over their range. LayerError for other names.

    A layer's activations are the same whichever others are named.
    """
    chosen = list(layers) if names is None else names
    check_layers(network, list(layers), chosen)
    number = {name: index for index, name in enumerate(layers)}
    return {name: _captured(layers[name], name, network, placement, seed + number[name]) for name in chosen}


def _captured(layer: QuantConv2d, name: str, network: str, placement: Placement, seed: int) -> CapturedLayer:
    for kernel in layer.kernel_size:
        if placement.size + 2 * layer.padding[0] < kernel:
            raise LayerError(
                f"{name}: its kernel of {'x'.join(map(str, layer.kernel_size))} does not fit on a map of "
                f"{placement.size}x{placement.size} with padding {layer.padding[0]}; give a larger map, or more padding"
            )
    try:
        layer.check()
    except ValueError as error:
        raise LayerError(f"{name} has no integers, choose other layers: {error}") from error
    low, high = activation_range(layer.a_bits, layer.signed_act)
    shape = (layer.in_channels, placement.size, placement.size)
    activation = np.random.default_rng(seed).integers(low, high, endpoint=True, size=shape).astype(np.int32)
    delta = layer.w_delta * layer.x_delta
    psum_float = layer(torch.from_numpy(activation).float()[None] * layer.x_delta)[0]
    if layer.bias is not None:
        psum_float = psum_float - layer.bias[:, None, None]
    operands = Operands(
        layer.to_int().numpy(), activation, layer.stride[0], layer.padding[0], layer.signed_act, bias=bias_to_int(layer)
    )
    return CapturedLayer(
        operands, model=network, layer=name, image=seed, w_bits=layer.w_bits, a_bits=layer.a_bits,
        w_delta=layer.w_delta, x_delta=layer.x_delta, out_scale=np.full(layer.out_channels, delta),
        negated=np.zeros(layer.out_channels, bool), relu=True, psum_float=psum_float.numpy(), clipped=0,
    )  # fmt: skip
