"""The convolution in one step, without tiles: the quick way to the values that the tiled model accumulates to."""

from __future__ import annotations

import numpy as np

from golden_model import exact
from golden_model.tiling import ConvShape, pad


def convolve(weight: np.ndarray, activation: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
    """[OC, IC, KH, KW] * [IC, H, W] -> int64 [OC, OH, OW], every psum the plain sum over ic and kij.

    The tests hold it equal to ``sfp.accumulate`` of the psum cube and to torch. Raises ValueError when the sizes do not
    agree or a psum may not fit an int32.
    """
    shape = ConvShape.of(weight, activation, stride, padding)
    n_k = shape.ic * shape.n_kij
    kind = exact.float_type(weight, activation, n_k)
    padded = pad(activation, padding).astype(kind)
    # Not by nij_index, which the tiles are cut with: this is their independent reference.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (shape.kh, shape.kw), axis=(1, 2))
    windows = windows[:, :: shape.stride, :: shape.stride].transpose(0, 3, 4, 1, 2).reshape(n_k, shape.n_o_nij)
    psums = weight.reshape(shape.oc, n_k).astype(kind) @ windows
    return psums.astype(np.int64).reshape(shape.oc, shape.oh, shape.ow)
