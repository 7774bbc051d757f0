"""The one record of a layer's integers, which whatever captures, cuts, reads or runs a layer holds."""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model.configuration import Precision
from golden_model.requantise import Requantisation
from golden_model.tiling import ConvShape


@dataclasses.dataclass(frozen=True, eq=False)
class Operands:
    """A layer's operands, and what becomes of its sums. Arrays are of an integer dtype.

    The sums are the convolution of ``activation``, zero-padded, with ``weight``, then ``bias`` and ``residual`` are
    added. Outputs: ReLU where ``relu``, requantised where ``requant``, then the maximum of 2x2 where ``pool``.
    """

    weight: np.ndarray  # [OC, IC, KH, KW], WGT_BITS, signed
    activation: np.ndarray  # [IC, H, W], ACT_BITS (half of them in a2w4), two's complement where a_signed
    stride: int = 1
    padding: int = 0
    a_signed: bool = False
    precision: Precision = Precision.a4w4
    residual: np.ndarray | None = None  # [OC, OH, OW], psum scale
    bias: np.ndarray | None = None  # [OC], psum scale
    relu: bool = True
    requant: Requantisation | None = None
    pool: bool = False

    @property
    def shape(self) -> ConvShape:
        """Sizes; ValueError where weight and activation do not belong together."""
        return ConvShape.of(self.weight, self.activation, self.stride, self.padding)

    def with_bias_in_residual(self) -> Operands:
        """The same sums for a design that has no bias: it is added to the residual, or is one."""
        if self.bias is None:
            return self
        shape = self.shape
        bias = np.broadcast_to(np.asarray(self.bias, np.int64)[:, None, None], (shape.oc, shape.oh, shape.ow))
        return dataclasses.replace(self, bias=None, residual=bias if self.residual is None else self.residual + bias)

    @property
    def simd(self) -> bool:
        """Whether a row takes two channels at once."""
        return self.precision is Precision.a2w4
