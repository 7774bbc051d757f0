"""Uniform quantisers with a learned clipping level and straight-through gradients.

Formulas: the course's weight and activation quantisers (seeds 001 to 003), which follow PACT (Choi et al., 2018) for
the clipping level and the weight normalisation of APoT (Li et al., 2020). With ``b`` bits:

=====================  =====================================  ===========================  =========================
operand                integer range                          scale of one step            clipping level
=====================  =====================================  ===========================  =========================
weight                 -(2^(b-1)-1) .. 2^(b-1)-1              alpha / (2^(b-1)-1)          +-alpha
activation, unsigned   0 .. 2^b-1                             alpha / (2^b-1)              alpha
activation, signed     -2^(b-1) .. 2^(b-1)-1                  alpha / (2^b-1)              range * scale
=====================  =====================================  ===========================  =========================

Example, b = 4: weights -7..7, activations 0..15, signed activations -8..7.
"""

import torch
from torch import Tensor, nn

MIN_BITS, MAX_BITS = 2, 8


def check_bits(bits: int, what: str) -> int:
    """Return ``bits`` if it is an integer in 2..8; otherwise raise ValueError that names ``what``."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"{what} must be an integer from {MIN_BITS} to {MAX_BITS}, got {bits!r}")
    return bits


def weight_levels(bits: int) -> int:
    """Largest weight integer: 2^(bits-1) - 1 (4 bits: 7; 2 bits: 1). The range is symmetric."""
    return 2 ** (bits - 1) - 1


def activation_levels(bits: int) -> int:
    """Number of steps from 0 to the clipping level: 2^bits - 1 (4 bits: 15)."""
    return 2**bits - 1


def activation_range(bits: int, signed: bool) -> tuple[int, int]:
    """Lowest and highest activation integer: (0, 2^bits-1), or (-2^(bits-1), 2^(bits-1)-1) in two's complement."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


class _WeightClipRound(torch.autograd.Function):
    """Normalised weights -> the nearest of the 2^b - 1 levels between -alpha and alpha."""

    @staticmethod
    def forward(ctx, weight: Tensor, alpha: Tensor, levels: int) -> Tensor:
        scaled = weight / alpha
        ctx.save_for_backward(scaled)
        clipped = scaled.clamp(-1, 1)
        # Magnitude first, then the sign: the course rounds |w|, and so do we, to share its levels exactly.
        return (clipped.abs() * levels).round().div(levels).mul(clipped.sign()).mul(alpha)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (scaled,) = ctx.saved_tensors
        clipped = scaled.abs() > 1
        grad_alpha = (grad_output * scaled.sign() * clipped).sum()
        return grad_output.masked_fill(clipped, 0), grad_alpha, None


class _ActivationClipRound(torch.autograd.Function):
    """Activations -> integer steps of alpha / (2^b - 1), clamped to [low, high] steps."""

    @staticmethod
    def forward(ctx, x: Tensor, alpha: Tensor, levels: int, low: int, high: int) -> Tensor:
        steps = x / alpha * levels
        ctx.save_for_backward(steps)
        ctx.levels, ctx.low, ctx.high = levels, low, high
        return steps.clamp(low, high).round().div(levels).mul(alpha)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (steps,) = ctx.saved_tensors
        above, below = steps > ctx.high, steps < ctx.low
        # A clipped output is (limit / levels) * alpha, hence this slope. Unsigned: 1 above, 0 below.
        slope = above * (ctx.high / ctx.levels) + below * (ctx.low / ctx.levels)
        return grad_output.masked_fill(above | below, 0), (grad_output * slope).sum(), None, None, None


def _learned_step_round(x: Tensor, alpha: Tensor, levels: int, low: int, high: int, count: int) -> Tensor:
    """The nearest of the steps ``low`` .. ``high`` of alpha / levels, with LSQ's gradients (Esser et al., 2020).

    The clipping level learns from the error of rounding too. LSQ divides the step's gradient by sqrt(count * high),
    with ``count`` the layer's weights or its inputs of one image, so that steps move as weights do; the level is
    ``levels`` steps, so that its gradient is levels^2 times as large for the same relative change.
    """
    scale = levels**2 * (count * high) ** -0.5
    alpha = alpha * scale + (alpha - alpha * scale).detach()
    steps = (x / alpha * levels).clamp(low, high)
    return (steps + (steps.round() - steps).detach()) * (alpha / levels)


class WeightQuantizer(nn.Module):
    """Normalise a weight tensor to mean 0 and standard deviation 1, clip it at a learned level, round it.

    The state dict holds ``wgt_alpha`` (scalar, initially 3.0, in units of the weights' standard deviation).
    """

    def __init__(self, bits: int):
        super().__init__()
        self.bits = check_bits(bits, "weight bits")
        self.wgt_alpha = nn.Parameter(torch.tensor(3.0))

    def forward(self, weight: Tensor, learn_steps: bool = False) -> Tensor:
        """Float weights of any shape -> float weights of that shape, multiples of ``delta`` within +-wgt_alpha.

        learn_steps: with LSQ's gradients in place of the course's.
        """
        # Mean and (unbiased) deviation are constants to the gradient, as in the course: hence detach().
        constant = weight.detach()
        normalised = (weight - constant.mean()) / constant.std()
        levels = weight_levels(self.bits)
        if learn_steps:
            return _learned_step_round(normalised, self.wgt_alpha, levels, -levels, levels, weight.numel())
        return _WeightClipRound.apply(normalised, self.wgt_alpha, levels)

    @property
    def delta(self) -> float:
        """Scale of one weight integer."""
        return self.wgt_alpha.item() / weight_levels(self.bits)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


def quantise_activation(x: Tensor, alpha: Tensor, bits: int, signed: bool = False, learn_steps: bool = False) -> Tensor:
    """Activations of any shape -> the same shape, rounded to integer multiples of alpha / (2^bits - 1).

    Unsigned: the course's quantiser, and also clamped at 0 from below, which changes nothing after a ReLU but makes
    the range 0..2^bits-1 hold for every input. Signed: clamped to two's complement of ``bits`` bits.
    learn_steps: with LSQ's gradients in place of the course's.
    """
    if x.dtype in (torch.float16, torch.bfloat16):  # of mixed precision: too coarse to find the nearest level in
        x = x.float()
    low, high = activation_range(bits, signed)
    if learn_steps:
        return _learned_step_round(x, alpha, activation_levels(bits), low, high, x[0].numel())
    return _ActivationClipRound.apply(x, alpha, activation_levels(bits), low, high)


def activation_to_int(x: Tensor, alpha: Tensor, bits: int, signed: bool = False) -> Tensor:
    """The int32 integers of :func:`quantise_activation`: output = integer * alpha / (2^bits - 1)."""
    low, high = activation_range(bits, signed)
    return (x / alpha * activation_levels(bits)).clamp(low, high).round().to(torch.int32)


def count_clipped(x: Tensor, alpha: Tensor, bits: int, signed: bool = False) -> int:
    """How many elements of ``x`` lie beyond the clipping levels of :func:`quantise_activation`."""
    low, high = activation_range(bits, signed)
    steps = x / alpha * activation_levels(bits)
    return int(((steps > high) | (steps < low)).sum().item())
