"""A checkpoint as a network of integers alone: ``integer_network(load_network("resnet20_w4a4"))``.

Every quantised convolution keeps its integers; BatchNorm, ReLU and the next quantiser become one requantisation. What
the network leaves in float becomes integer too:

- a first convolution that is not quantised: weights and inputs of two digits of 4 bits; the image's pixels, which are
  known to lie in 0..1, take the whole range; and the classifier: weights of 8 bits, wide inputs;
- a residual block's shortcut: integers in the scale of the sums that it is added to, ``SHORTCUT_BITS`` wide;
- the global average: a sum, whose divisor is part of the classifier's scale.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from golden_model.network.digits import largest
from golden_model.network.graph import ConvStep, ImageStep, IntegerNetwork, Output, ScoreStep
from golden_model.requantise import SHORTCUT_BITS, WIDE_BITS, Requantisation, WideRequantisation, fit
from quant.capture import QUIET, bias_to_int, folded_norm, padding_of, quantised_layers, refuse_unsupported
from quant.errors import LayerError, NoConsumer
from quant.layers import QuantConv2d
from quant.models import shortcut_of
from quant.network import Network
from quant.quantizers import activation_levels, activation_range
from quant.requantisation import following

FLOAT_BITS = 8  # of weights and inputs of what the network leaves in float
FLOAT_MOST = largest(4, 2)  # largest magnitude of a convolution's: an array of 4 bits takes them as two digits
FINER = 8  # steps of the classifier's input to a step of the last sums
SILENT = 1 / 16  # of a step: sums that stay below it come to nothing beside a shortcut


def integer_network(network: Network) -> IntegerNetwork:
    """The integer steps of a VGG16 or ResNet20.

    A channel that a shortcut is added to and whose own sums come to nothing, since its BatchNorm multiplies them by
    about 0, gets weights of 0: its shortcut's integers would be as large as these sums are small.

    LayerError for a layer that the accelerator does not compute, for one behind which nothing is known, for scales that
    16 bits do not hold, and for a float network.
    """
    if not network.spec.quantised:
        raise LayerError(
            f"{network.path.name} is a float network, whose layers have no integers; name the quantised one made of it"
        )
    compiler = _Compiler(network)
    return compiler.network()


def input_of(layer: str) -> str:
    """The tensor that a convolution takes."""
    return f"{layer}.input"


def residual_of(layer: str) -> str:
    """The tensor that is added to a convolution's sums."""
    return f"{layer}.residual"


CLASSIFIER = "classifier.input"


class _Compiler:
    def __init__(self, network: Network):
        self.source = network
        self.modules = dict(network.model.named_modules())
        self.layers = quantised_layers(network.model)
        convolutions = [name for name, module in self.modules.items() if isinstance(module, nn.Conv2d)]
        self.first = convolutions[0]
        self.shortcuts = {name: found for name in self.layers if (found := shortcut_of(self.modules, name)) is not None}
        self.stages: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def network(self) -> IntegerNetwork:
        image = self._image()
        steps = [] if self.first in self.layers else [self._float_convolution()]
        steps += [self._convolution(name) for name in self._order()]
        return IntegerNetwork(self.source.name, image, tuple(steps), self._score(steps[-1]))

    def _order(self) -> list[str]:
        """Quantised layers, a shortcut's own convolution before the sums that it is added to."""
        order = []
        for name in self.layers:
            if name in order:
                continue
            shortcut = self.shortcuts.get(name)
            if shortcut is not None and shortcut.of_output:
                order.append(f"{shortcut.source}.0")
            order.append(name)
        return order

    def _image(self) -> ImageStep:
        layer = self.modules[self.first]
        if isinstance(layer, QuantConv2d) and not layer.floating:
            low, high = activation_range(layer.a_bits, layer.signed_act)
            levels = activation_levels(layer.a_bits)
            return ImageStep(layer.act_alpha.item(), levels, low, high, input_of(self.first))
        return ImageStep(self._brightest(), FLOAT_MOST, -FLOAT_MOST, FLOAT_MOST, input_of(self.first))

    def _brightest(self) -> float:
        """The largest magnitude of a normalised pixel."""
        ends = [(end - m) / s for m, s in zip(self.source.mean, self.source.std, strict=True) for end in (0.0, 1.0)]
        return max(abs(end) for end in ends)

    def _float_convolution(self) -> ConvStep:
        """The first convolution, in 8 bits."""
        layer = self.modules[self.first]
        weight = layer.weight.detach().double()
        step = weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / FLOAT_MOST
        integers = torch.round(weight / step[:, None, None, None]).to(torch.int32).numpy()
        between, _ = self._behind(self.first)
        norm = next((module for module in between if isinstance(module, nn.BatchNorm2d)), None)
        scale, offset = folded_norm(norm, layer.out_channels)
        delta = step * (self._brightest() / FLOAT_MOST)
        if layer.bias is not None:
            offset = offset + scale * layer.bias.detach().double()
        outputs = self._outputs(self.first, (scale * delta).numpy(), offset.numpy())
        return ConvStep(
            self.first, input_of(self.first), integers, layer.stride[0], padding_of(layer), FLOAT_BITS, FLOAT_BITS,
            True, outputs,
        )  # fmt: skip

    def _convolution(self, name: str) -> ConvStep:
        layer = self.modules[name]
        refuse_unsupported(name, layer)
        scale, offset, sign = self._stage(name)
        weight = layer.to_int().numpy() * sign[:, None, None, None]
        bias = bias_to_int(layer)
        if bias is not None:
            offset = offset + scale * bias * sign
        residual = residual_of(name) if name in self.shortcuts else None
        return ConvStep(
            name, input_of(name), weight.astype(np.int32), layer.stride[0], padding_of(layer), layer.w_bits,
            layer.a_bits, layer.signed_act, self._outputs(name, scale, offset), residual,
        )  # fmt: skip

    def _stage(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What one integer of a layer's sums is worth, what is added, float64 [OC], and the sign its weights take.

        Sums that a shortcut is added to have a positive scale, as the shortcut's integers have; where they come to
        nothing, the others' scale and the sign 0.
        """
        if name not in self.stages:
            self.stages[name] = self._made_stage(name)
        return self.stages[name]

    def _made_stage(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layer = self.modules[name]
        if name in self.shortcuts:
            norm: nn.Module | None = self.shortcuts[name].norm
        elif name.endswith(".downsample.0"):
            norm = self.modules[f"{name.removesuffix('0')}1"]
        else:
            norm = next((m for m in self._behind(name)[0] if isinstance(m, nn.BatchNorm2d)), None)
        folded, shift = (values.numpy() for values in folded_norm(norm, layer.out_channels))
        sign = np.where((folded < 0) & (name in self.shortcuts), -1, 1).astype(np.int32)
        scale = folded * sign * (layer.w_delta * layer.x_delta)
        if name in self.shortcuts:
            heard = self._reach(name) * scale >= SILENT * self._finest(name, scale)
            usual = np.median(scale[heard]) if heard.any() else self._finest(name, scale)
            least = self._loudest(name) / 2 / ((1 << (SHORTCUT_BITS - 1)) - 1)
            heard &= scale >= max(QUIET * usual, least)
            usual = max(usual, least)
            scale, sign = np.where(heard, scale, usual), np.where(heard, sign, 0).astype(np.int32)
        return scale, shift, sign

    def _reach(self, name: str) -> np.ndarray:
        """The largest magnitude that each channel's sums can have, bias included, float64 [OC]."""
        layer = self.modules[name]
        low, high = activation_range(layer.a_bits, layer.signed_act)
        most = np.abs(layer.to_int().numpy()).reshape(layer.out_channels, -1).sum(1) * float(max(-low, high))
        bias = bias_to_int(layer)
        return most if bias is None else most + np.abs(bias)

    def _finest(self, name: str, scale: np.ndarray) -> float:
        """The least that one integer is worth of what a layer's sums become."""
        takers = self._behind(name)[1]
        return min((self.modules[taker].x_delta for taker in takers), default=float(scale.max()) / FINER)

    def _loudest(self, name: str) -> float:
        """The most that is taken of what a layer's sums become; 0 where no quantiser takes it. A shortcut that could
        not reach half of it, since its integers end before, is worth more than the sums."""
        takers = [self.modules[taker] for taker in self._behind(name)[1]]
        return max((taker.x_delta * activation_levels(taker.a_bits) for taker in takers), default=0.0)

    def _behind(self, name: str) -> tuple[list[nn.Module], list[str]]:
        """The modules behind a convolution, and the quantised convolutions that take what they make."""
        try:
            return following(self.source, name)
        except NoConsumer as end:
            return list(end.between), []

    def _outputs(self, name: str, scale: np.ndarray, offset: np.ndarray) -> tuple[Output, ...]:
        """Everything that a convolution's sums become."""
        outputs = []
        added_to = [
            conv for conv, shortcut in self.shortcuts.items() if shortcut.of_output and name == f"{shortcut.source}.0"
        ]
        if added_to:  # the convolution of a shortcut: no ReLU
            return tuple(self._residual(conv, scale, offset, signed=True) for conv in added_to)
        between, takers = self._behind(name)
        pool = any(isinstance(module, nn.MaxPool2d) for module in between)
        for taker in takers:
            layer = self.modules[taker]
            if layer.signed_act:
                raise LayerError(f"{taker} takes signed activations, and {name} in front of it makes unsigned ones")
            outputs.append(Output(input_of(taker), _fit(taker, scale, offset, layer.x_delta, layer.a_bits), pool))
        for conv, shortcut in self.shortcuts.items():
            entry = conv if shortcut.source == conv else f"{shortcut.source}.conv1"
            if not shortcut.of_output and entry in takers:
                outputs.append(self._residual(conv, scale, offset, signed=False))
        if not takers:
            step = float(np.abs(scale).max()) / FINER
            requant = _fit("the classifier", scale, offset, step, Requantisation.most_bits)
            outputs.append(Output(CLASSIFIER, _wide(requant, WIDE_BITS), pool))
            self.step = step
        return tuple(outputs)

    def _residual(self, conv: str, scale: np.ndarray, offset: np.ndarray, *, signed: bool) -> Output:
        """A shortcut's integers, in the scale of the sums of ``conv``."""
        worth, _, _ = self._stage(conv)
        requant = _fit(f"the shortcut of {conv}", scale / worth, offset / worth, 1.0, Requantisation.most_bits)
        return Output(residual_of(conv), _wide(requant, SHORTCUT_BITS, signed=signed))

    def _score(self, last: ConvStep) -> ScoreStep:
        name, layer = next((n, m) for n, m in self.modules.items() if isinstance(m, nn.Linear))
        weight = layer.weight.detach().double().numpy()
        step = float(np.abs(weight).max()) / (2 ** (FLOAT_BITS - 1) - 1)
        bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()
        positions = self.positions(last)
        bias = np.rint(bias * positions / (step * self.step)).astype(np.int64)
        return ScoreStep(name, CLASSIFIER, np.rint(weight / step).astype(np.int32), bias)

    def positions(self, last: ConvStep) -> int:
        """Positions of the map that the classifier's input is averaged over."""
        pool = getattr(self.source.model, "avgpool", None)
        return 1 if pool is None else int(pool.kernel_size) ** 2


def _fit(what: str, scale: np.ndarray, offset: np.ndarray, step: float, bits: int) -> Requantisation:
    """:func:`~golden_model.requantise.fit` to the integers that ``what`` takes. LayerError where there are none."""
    try:
        return fit(scale, offset, step, bits)
    except ValueError as error:
        raise LayerError(f"{what} takes integers that its scales do not give: {error}") from error


def _wide(requant: Requantisation, bits: int, *, signed: bool = False) -> WideRequantisation:
    return WideRequantisation(requant.multiplier, requant.offset, requant.shift, bits, signed)
