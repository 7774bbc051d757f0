"""Convolution with quantised weights and activations."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quant.quantizers import (
    WeightQuantizer,
    activation_levels,
    activation_to_int,
    check_bits,
    count_clipped,
    quantise_activation,
    weight_levels,
)

SMALL_MAP = 4  # pixels a side, up to which oneDNN's bfloat16 convolutions with many channels lose to matrix products
FEW = 2  # images whose sums are computed in float64


class QuantConv2d(nn.Conv2d):
    """``nn.Conv2d`` whose weights and input are rounded to few-bit integers times a scale.

    Arguments are those of ``nn.Conv2d`` (bias off unless asked for), then:

    w_bits, a_bits: bits of weights and activations, 2..8.
    signed_act: the input may be negative (a layer fed by the image). Its integers are then two's complement
        of a_bits bits, so that float forward and integer core compute the same; otherwise 0..2^a_bits-1.

    State dict: ``weight``, ``weight_q`` (the weights as last quantised, same shape), ``act_alpha`` (scalar, first
    8.0), ``weight_quant.wgt_alpha`` (scalar, first 3.0): the course's names. ``weight_q`` is derived from ``weight``
    and is a buffer here, which no optimiser touches.

    Forward: float [N, IC, H, W] -> float [N, OC, OH, OW] = integer psum * w_delta * x_delta (+ bias).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        w_bits: int = 4,
        a_bits: int = 4,
        signed_act: bool = False,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        if self.weight.numel() < 2:
            raise ValueError(
                f"QuantConv2d normalises its weights by their standard deviation, which needs at least 2 of them; "
                f"shape {tuple(self.weight.shape)} has {self.weight.numel()}"
            )
        self.w_bits = check_bits(w_bits, "w_bits")
        self.a_bits = check_bits(a_bits, "a_bits")
        self.signed_act = bool(signed_act)
        self.floating = False  # compute with the float weights and inputs as they are
        self.learn_steps = False  # in training the clipping levels learn from rounding too, not from clipping alone
        self.small_maps_as_product = False  # in training; sums are rounded in another order
        self.weight_quant = WeightQuantizer(w_bits)
        self.act_alpha = nn.Parameter(torch.tensor(8.0))
        self.register_buffer("weight_q", torch.empty(self.weight.shape))
        if not self.weight.is_meta:  # where shapes alone are wanted; and there PyTorch loads its compiler for a mean
            self.refresh_weight_q()

    def forward(self, x: Tensor) -> Tensor:
        if self.floating:
            weight = self.weight
        else:
            learn_steps = self.learn_steps and self.training
            weight = self.weight_quant(self.weight, learn_steps)
            self.weight_q.copy_(weight.detach())
            x = quantise_activation(x, self.act_alpha, self.a_bits, self.signed_act, learn_steps)
        if self.small_maps_as_product and self.training and max(x.shape[2:]) <= SMALL_MAP and self._is_same:
            return _same_by_product(x, weight, self.bias)
        if self.training and self._is_thin_and_strided and x.device.type == "cpu":
            return F.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], weight, self.bias)
        if not (self.training or self.floating) and x.device.type == "cpu" and len(x) <= FEW:
            # What layers are captured from: processors round float32 sums of thousands by up to 1e-3, each in its way
            bias = None if self.bias is None else self.bias.double()
            placed = (self.stride, self.padding, self.dilation, self.groups)
            return F.conv2d(x.double(), weight.double(), bias, *placed).to(x.dtype)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    @property
    def _is_thin_and_strided(self) -> bool:
        """Whether it is a 1x1 convolution with a stride, of fewer than 8 channels: there oneDNN (PyTorch 2.13) writes
        behind the gradient of its input on processors with AVX2 and without AVX-512, and the process dies."""
        shape = (self.kernel_size, self.padding, self.groups)
        return shape == ((1, 1), (0, 0), 1) and max(self.stride) > 1 and self.in_channels < 8

    @property
    def _is_same(self) -> bool:
        """Whether it is a 3x3 convolution whose output has its input's size."""
        shape = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        return shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1)

    @torch.no_grad()
    def refresh_weight_q(self) -> None:
        """Bring ``weight_q`` up to date with ``weight``; forward does so by itself."""
        self.weight_q.copy_(self.weight_quant(self.weight))

    @property
    def w_delta(self) -> float:
        """Scale of one weight integer: wgt_alpha / (2^(w_bits-1) - 1)."""
        return self.weight_quant.delta

    @property
    def x_delta(self) -> float:
        """Scale of one activation integer: act_alpha / (2^a_bits - 1)."""
        return self.act_alpha.item() / activation_levels(self.a_bits)

    @torch.no_grad()
    def to_int(self) -> Tensor:
        """Weights as int32 [OC, IC/groups, KH, KW] in -(2^(w_bits-1)-1)..2^(w_bits-1)-1; weight = integer * w_delta.

        Raises ValueError where the weights are not finite or have no spread, since no integers exist then.
        """
        self._check_alpha("weight_quant.wgt_alpha", self.weight_quant.wgt_alpha)
        quantised = self.weight_quant(self.weight)
        if not torch.isfinite(quantised).all():
            raise ValueError(
                f"weights of shape {tuple(self.weight.shape)} have no integers: they must be finite and not all "
                f"equal, but their mean is {self.weight.mean().item()} and their deviation {self.weight.std().item()}"
            )
        step = self.weight_quant.wgt_alpha / weight_levels(self.w_bits)
        return (quantised / step).round().to(torch.int32)

    def check(self) -> None:
        """ValueError where its weights or its inputs have no integers."""
        self.to_int()
        self._check_alpha("act_alpha", self.act_alpha)

    @torch.no_grad()
    def input_to_int(self, x: Tensor) -> Tensor:
        """Input [.., IC, H, W] as int32 integers; quantised input = integer * x_delta. ValueError where not finite."""
        self._check_alpha("act_alpha", self.act_alpha)
        if not torch.isfinite(x).all():
            bad = x[~torch.isfinite(x)].flatten()[0].item()
            raise ValueError(f"input of shape {tuple(x.shape)} holds {bad}, which has no integer")
        return activation_to_int(x, self.act_alpha, self.a_bits, self.signed_act)

    @torch.no_grad()
    def clipped(self, x: Tensor) -> int:
        """How many elements of the input ``x`` the quantiser clips."""
        return count_clipped(x, self.act_alpha, self.a_bits, self.signed_act)

    @staticmethod
    def _check_alpha(name: str, alpha: Tensor) -> None:
        if not alpha.item() > 0:
            raise ValueError(f"{name} must be greater than 0 to give a scale, got {alpha.item()}")

    def extra_repr(self) -> str:
        signed = ", signed_act=True" if self.signed_act else ""
        return f"{super().extra_repr()}, w_bits={self.w_bits}, a_bits={self.a_bits}{signed}"


def _same_by_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """3x3 convolution with padding 1 as one matrix product: [N, IC, H, W] -> [N, OC, H, W], channels last."""
    if torch.is_autocast_enabled(x.device.type):  # rounded once, not nine times
        x = x.to(torch.get_autocast_dtype(x.device.type))
    count, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1)
    if height == width == 1:  # the other eight weights meet padding alone
        columns, taps = pixels.reshape(count, channels), weight[:, :, 1, 1]
    else:
        padded = F.pad(pixels, (0, 0, 1, 1, 1, 1))
        seen = [padded[:, kh : kh + height, kw : kw + width] for kh in range(3) for kw in range(3)]
        columns, taps = torch.cat(seen, 3).reshape(-1, 9 * channels), weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(columns, taps, bias).reshape(count, height, width, -1).permute(0, 3, 1, 2)
