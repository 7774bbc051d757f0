"""Requantisation: a layer's psums to the next layer's activations, BatchNorm, ReLU and quantiser in one integer step.

    out = clamp((psum * M[oc] + B[oc] + 2^(S-1)) >> S, 0, 2^bits - 1)        S = 0: no rounding term

``>>`` is arithmetic, so the sum is rounded half up; the clamp at 0 is the ReLU. The values are the next layer's
activations (the output stage of ``rtl/README.md``). Everything but ``fit`` is integer, and bit-true.

Widths: M is signed MULT_BITS, B signed OFFSET_BITS, the sum signed ACC_BITS. With PSUM_BITS = 24 the sum stays within
2^38 + 2^39 + 2^30 and needs 41 bits (``accumulator_bits``); ACC_BITS hold it for every PSUM_BITS up to 32.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

MULT_BITS = 16
OFFSET_BITS = 40
ACC_BITS = 48
MAX_SHIFT = 31
MAX_BITS = 8
WIDE_BITS = 24
SHORTCUT_BITS = 16  # of the integers that are added to the sums of a later convolution


@dataclasses.dataclass(frozen=True)
class Requantisation:
    """M, B, S and the output width of one layer.

    Lists become arrays. Raises TypeError where M, B, S or bits are not integers, and ValueError for a shape that is not
    [OC], for lengths that disagree and for a value outside its width, naming the channel.
    """

    most_bits: ClassVar[int] = MAX_BITS

    multiplier: np.ndarray  # int64 [OC], -2^15 .. 2^15-1
    offset: np.ndarray  # int64 [OC], -2^39 .. 2^39-1
    shift: int  # 0 .. 31, one for all channels
    bits: int  # 1 .. 8, of the output, unsigned

    def __post_init__(self) -> None:
        for what, least, most in (("shift", 0, MAX_SHIFT), ("bits", 1, self.most_bits)):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{what} must be an integer, not {value!r}")
            if not least <= value <= most:
                raise ValueError(f"{what} must be {least}..{most}, is {value}")
            object.__setattr__(self, what, int(value))
        for what, width, name in (("multiplier", MULT_BITS, "MULT_BITS"), ("offset", OFFSET_BITS, "OFFSET_BITS")):
            values = np.asarray(getattr(self, what))
            _check_integer(what, values)
            if values.ndim != 1 or not values.size:
                raise ValueError(f"{what} must be [OC], not of shape {list(values.shape)}")
            _check_width(what, values, width, name)
            object.__setattr__(self, what, values.astype(np.int64))
        if self.multiplier.size != self.offset.size:
            raise ValueError(f"multiplier has {self.multiplier.size} channels, offset has {self.offset.size}")

    @property
    def channels(self) -> int:
        return self.multiplier.size

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        return 0, (1 << self.bits) - 1

    def __call__(self, psum: np.ndarray) -> np.ndarray:
        """psum [OC, OH, OW], residual included, of an integer dtype -> int32 of that shape in 0 .. 2^bits-1.

        Raises TypeError for another dtype; ValueError for another shape and where the sum leaves ACC_BITS.
        """
        _check_integer("psum", psum)
        if psum.ndim != 3 or psum.shape[0] != self.channels:
            raise ValueError(f"psum must be [{self.channels}, OH, OW], not of shape {list(psum.shape)}")
        return self.apply(psum, 0)

    def apply(self, psum: np.ndarray, axis: int) -> np.ndarray:
        """The same of any shape, whose channels are counted by ``axis``. ValueError where the sum leaves ACC_BITS."""
        total = self._scaled(psum, axis)
        return np.clip(total, *self.range, out=total).astype(np.int32)

    def saturates(self, psum: np.ndarray, axis: int) -> np.ndarray:
        """Where ``apply`` clamps, bool of psum's shape. What becomes 0 by ReLU is not clamped."""
        total, (low, high) = self._scaled(psum, axis), self.range
        return (total > high) | ((total < low) & (low < 0))

    def _scaled(self, psum: np.ndarray, axis: int) -> np.ndarray:
        """What is clamped, int64."""
        # |psum| < 2^47 keeps the product within 2^62, so int64 cannot wrap before the sum itself is checked.
        _check_width("psum", psum, ACC_BITS, "ACC_BITS")
        sizes = [1] * psum.ndim
        sizes[axis] = self.channels
        total = psum.astype(np.int64) * self.multiplier.reshape(sizes)
        total += self.offset.reshape(sizes)
        if self.shift:
            total += 1 << (self.shift - 1)
        _check_width("psum * multiplier + offset + rounding, ", total, ACC_BITS, "ACC_BITS")
        total >>= self.shift
        return total


@dataclasses.dataclass(frozen=True)
class WideRequantisation(Requantisation):
    """The same to wide integers in two's complement, as those of a shortcut or of a classifier's input: 1 to WIDE_BITS
    bits. signed: those below 0 stay; else they become 0, which is a ReLU."""

    most_bits: ClassVar[int] = WIDE_BITS

    signed: bool = False

    @property
    def range(self) -> tuple[int, int]:
        half = 1 << (self.bits - 1)
        return (-half if self.signed else 0, half - 1)


def requantise(psum: np.ndarray, multiplier: np.ndarray, offset: np.ndarray, shift: int, bits: int) -> np.ndarray:
    """psum [OC, OH, OW] -> int32 [OC, OH, OW] in 0 .. 2^bits-1; types, ranges and errors as in Requantisation.

    Example: psum 100, M = 20, B = 8, S = 8, bits 4: (2000 + 8 + 128) >> 8 = 8, the 7.84 of 2008 / 256 rounded.
    """
    return Requantisation(multiplier, offset, shift, bits)(psum)


def max_pool(values: np.ndarray) -> np.ndarray:
    """2x2 maximum, stride 2: [OC, H, W] -> [OC, H // 2, W // 2], dtype kept; an odd last row or column is dropped.

    Requantised values may be pooled in place of the float ones, since rounding and clamp keep their order.
    Raises ValueError for another number of axes and for maps smaller than 2x2.
    """
    if values.ndim != 3 or min(values.shape[1:]) < 2:
        raise ValueError(f"values must be [OC, H, W] with maps of at least 2x2, not of shape {list(values.shape)}")
    channels, height, width = values.shape
    even = values[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))


def fit(scale: np.ndarray, offset: np.ndarray, step: float, bits: int, mult_bits: int = MULT_BITS) -> Requantisation:
    """The integers that come closest to ``clamp(round((psum * scale[oc] + offset[oc]) / step), 0, 2^bits - 1)``.

    scale, offset: float [OC], of any sign; what one psum integer is worth after BatchNorm, and what is added to it.
    step: what one integer of the output is worth, the next layer's x_delta. mult_bits: 2..MULT_BITS.

    S is the largest for which every M = round(scale / step * 2^S) is of ``mult_bits`` and every
    B = round(offset / step * 2^S) of OFFSET_BITS. Each is then wrong by at most 1/2, so an output differs from the
    exact value, rounded half up, only where that lies within ``(|psum| + 1) / 2^(S+1)`` (and float64's own rounding) of
    a rounding boundary, and by no more than 1 while that is below 1.
    Example: scale 0.01, offset 1.5, step 0.1, bits 4: S = 18, M = 26214, B = 3932160.

    Raises ValueError for shapes that are not [OC], values that are not finite, a step that is not above 0, and for a
    channel whose scale or offset is too large even for S = 0.
    """
    if not 2 <= mult_bits <= MULT_BITS:
        raise ValueError(f"mult_bits must be 2..{MULT_BITS}, is {mult_bits}")
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"step must be finite and above 0, is {step}")
    scale, offset = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    if scale.ndim != 1 or not scale.size or scale.shape != offset.shape:
        raise ValueError(f"scale and offset must be [OC] alike, not {list(scale.shape)} and {list(offset.shape)}")
    limits = {"scale": 1 << (mult_bits - 1), "offset": 1 << (OFFSET_BITS - 1)}
    ratios = {}
    for what, values in (("scale", scale), ("offset", offset)):
        with np.errstate(over="ignore"):
            ratios[what] = values / float(step)
        # Also false for NaN.
        fits = (np.rint(ratios[what]) >= -limits[what]) & (np.rint(ratios[what]) < limits[what])
        if not fits.all():
            oc = int(np.argmin(fits))
            raise ValueError(
                f"{what}[{oc}] = {values[oc]:.6g} is {ratios[what][oc]:.6g} steps of {step:.6g}, which "
                f"{limits[what].bit_length()} bits do not hold"
            )
    for shift in range(MAX_SHIFT, -1, -1):
        integers = {what: np.rint(np.ldexp(ratio, shift)) for what, ratio in ratios.items()}
        if all((integers[what] >= -limits[what]).all() and (integers[what] < limits[what]).all() for what in limits):
            break
    return Requantisation(integers["scale"].astype(np.int64), integers["offset"].astype(np.int64), shift, bits)


def accumulator_bits(psum_bits: int, mult_bits: int = MULT_BITS, offset_bits: int = OFFSET_BITS) -> int:
    """The least width in which psum * M + B + 2^(S-1) is exact for all psums, M, B of these widths and every S.

    Example: 24, 16, 40: at most 2^38 + 2^39 - 1 + 2^30, at least -2^38 + 2^23 - 2^39: 41 bits.
    """
    highest = (1 << (psum_bits + mult_bits - 2)) + (1 << (offset_bits - 1)) - 1 + (1 << (MAX_SHIFT - 1))
    return 1 + highest.bit_length()  # the lowest is nearer to 0


def _check_integer(what: str, values: np.ndarray) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{what} must be integers, not {values.dtype}")


def _check_width(what: str, values: np.ndarray, bits: int, name: str) -> None:
    """ValueError where a value is not of ``bits`` in two's complement, naming the first one and its position."""
    limit = 1 << (bits - 1)
    if not values.size or (int(values.min()) >= -limit and int(values.max()) < limit):
        return
    position = tuple(np.argwhere((values < -limit) | (values >= limit))[0])
    raise ValueError(
        f"{what}{[int(i) for i in position]} is {values[position]}, but {name} = {bits} holds {-limit}..{limit - 1}"
    )
