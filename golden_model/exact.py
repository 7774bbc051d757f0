"""When a float matrix product of integers is exact: the bound behind every BLAS call of the golden model."""

from __future__ import annotations

import numpy as np

_FLOAT32_EXACT = 1 << 24
INT32_LIMIT = 1 << 31


def largest_magnitude(values: np.ndarray) -> int:
    """max |value|, without the wrap that ``abs`` makes of the most negative int32; 0 for an empty array."""
    return max(int(values.max()), -int(values.min())) if values.size else 0


def float_type(left: np.ndarray, right: np.ndarray, terms: int) -> type[np.floating]:
    """The float type in which a sum of ``terms`` products of a ``left`` and a ``right`` value is exact.

    Every partial sum, in whatever order BLAS adds, is an integer of at most ``terms * max|left| * max|right|``. float32
    holds all integers to 2^24; beyond it float64 (2^53) is taken. Raises ValueError when the sum may not fit an int32.
    Example: 512 channels, 3x3, 4-bit operands: 4608 * 15 * 7 = 483,840 -> float32.
    """
    largest_left, largest_right = largest_magnitude(left), largest_magnitude(right)
    bound = terms * largest_left * largest_right
    if bound >= INT32_LIMIT:
        raise ValueError(
            f"a psum of {terms} products of up to {largest_left} * {largest_right} may reach {bound}: "
            "more than int32 holds"
        )
    return np.float32 if bound < _FLOAT32_EXACT else np.float64
