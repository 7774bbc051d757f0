"""First values for the clipping levels, and the bound that keeps them usable."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from quant.layers import QuantConv2d
from quant.quantizers import activation_levels, activation_range, weight_levels

CALIBRATIONS = ("quantile", "mse", "none")
QUANTILE = 0.999
FRACTIONS = 60  # clipping levels that 'mse' tries between 0 and the largest magnitude
SMALLEST_ALPHA = 1e-2
# torch.quantile takes at most 2^24 elements; a sample of this many is exact enough for a starting value.
SAMPLE = 1_000_000
FEW = 50_000  # for 'mse', which goes over them FRACTIONS times


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor, method: str = "quantile") -> None:
    """Set the clipping levels from the data that the layers see.

    'quantile': every ``act_alpha`` so that 99.9 % of the layer's inputs lie within the clipping levels.
    'mse': every ``act_alpha`` and ``wgt_alpha`` so that rounding and clipping together do the least mean square error,
        which matters with 2 bits: at the course's ``wgt_alpha`` of 3 seven of eight 2-bit weights would be 0.

    The learned level's gradient comes from clipped values alone, so it falls from the course's 8.0 only where
    weight decay pulls it. Starting from the data uses all integers from the first step on.
    """

    def set_alpha(layer: QuantConv2d, inputs: tuple[Tensor]) -> None:
        if method == "mse":
            low, high = activation_range(layer.a_bits, layer.signed_act)
            layer.act_alpha.fill_(_least_error(inputs[0], activation_levels(layer.a_bits), low, high))
            weight = (layer.weight - layer.weight.mean()) / layer.weight.std()
            levels = weight_levels(layer.w_bits)
            layer.weight_quant.wgt_alpha.fill_(_least_error(weight, levels, -levels, levels))
            return
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


def _least_error(values: Tensor, levels: int, low: int, high: int) -> float:
    """The alpha whose integers ``low`` .. ``high`` times alpha / levels are nearest to ``values`` in mean square."""
    values = values.flatten()
    values = values[:: 1 + values.numel() // FEW].float()
    top = values.abs().max().item() * levels / high
    alphas = [max(top * (i + 1) / FRACTIONS, SMALLEST_ALPHA) for i in range(FRACTIONS)]
    errors = [((values / a * levels).round().clamp(low, high) * (a / levels) - values).square().mean() for a in alphas]
    return alphas[int(torch.stack(errors).argmin())]


@torch.no_grad()
def keep_alphas_positive(model: nn.Module) -> None:
    """Clipping levels are scales: an optimiser step must not take them to 0 or below."""
    for layer in model.modules():
        if isinstance(layer, QuantConv2d):
            layer.act_alpha.clamp_(min=SMALLEST_ALPHA)
            layer.weight_quant.wgt_alpha.clamp_(min=SMALLEST_ALPHA)


@torch.no_grad()
def remeasure_statistics(model: nn.Module, batches: Iterable[Sequence[Tensor]], device: torch.device) -> None:
    """BatchNorm's means and variances anew: the mean of those of each of the ``batches``, in full precision.

    Weights that were averaged or rounded shift what BatchNorm sees; the running values trail behind.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    try:
        model.train()
        for images, *_ in batches:
            model(images.to(device, memory_format=torch.channels_last))
    finally:
        model.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
