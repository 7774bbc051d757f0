"""First values for the activations' clipping levels, and the bound that keeps them usable."""

import torch
from torch import Tensor, nn

from quant.layers import QuantConv2d
from quant.quantizers import activation_levels, activation_range

QUANTILE = 0.999
SMALLEST_ALPHA = 1e-2
# torch.quantile takes at most 2^24 elements; a sample of this many is exact enough for a starting value.
SAMPLE = 1_000_000


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor) -> None:
    """Set every ``act_alpha`` so that 99.9 % of the layer's inputs lie within the clipping levels.

    The learned level's gradient comes from clipped activations alone, so it falls from the course's 8.0 only where
    weight decay pulls it. Starting from the data uses all integers from the first step on.
    """

    def set_alpha(layer: QuantConv2d, inputs: tuple[Tensor]) -> None:
        magnitudes = inputs[0].abs().flatten()
        magnitudes = magnitudes[:: 1 + magnitudes.numel() // SAMPLE].float()
        top = torch.quantile(magnitudes, QUANTILE).item()
        _, high = activation_range(layer.a_bits, layer.signed_act)
        layer.act_alpha.fill_(max(top * activation_levels(layer.a_bits) / high, SMALLEST_ALPHA))

    handles = [m.register_forward_pre_hook(set_alpha) for m in model.modules() if isinstance(m, QuantConv2d)]
    was_training = model.training
    try:
        model.train()(images)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()


@torch.no_grad()
def keep_alphas_positive(model: nn.Module) -> None:
    """Clipping levels are scales: an optimiser step must not take them to 0 or below."""
    for layer in model.modules():
        if isinstance(layer, QuantConv2d):
            layer.act_alpha.clamp_(min=SMALLEST_ALPHA)
            layer.weight_quant.wgt_alpha.clamp_(min=SMALLEST_ALPHA)
