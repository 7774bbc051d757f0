"""What an integer network computes, for many images at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from golden_model import exact
from golden_model.network.graph import IntegerNetwork, Output, ScoreStep

Watch = Callable[[str, np.ndarray], None]


def scores(
    network: IntegerNetwork, images: np.ndarray, watch: Watch | None = None, watch_sums: Watch | None = None
) -> np.ndarray:
    """Normalised images float32 [N, C, H, W] -> int64 [N, classes]; the largest score is the class.

    watch: called with the name of each tensor and its values [N, C, H, W] as it is made, the image's first. watch_sums:
    likewise with the name of each convolution and its sums, residual included.
    Raises what ``Requantisation`` raises, and ValueError where sums may not fit an int32.
    """
    # Channels last, so that a window of all channels lies together.
    tensors = {network.image.tensor: np.ascontiguousarray(network.image(images).transpose(0, 2, 3, 1))}
    if watch is not None:
        watch(network.image.tensor, tensors[network.image.tensor].transpose(0, 3, 1, 2))
    uses = network.last_uses()
    for step in network.convolutions:
        sums = convolve_all(step.weight, step.stride, step.padding, tensors[step.source])
        if step.residual is not None:
            sums += tensors[step.residual]
        if watch_sums is not None:
            watch_sums(step.name, sums.transpose(0, 3, 1, 2))
        for output in step.outputs:
            tensors[output.tensor] = made(output, sums)
            if watch is not None:
                watch(output.tensor, tensors[output.tensor].transpose(0, 3, 1, 2))
        for tensor in [name for name in tensors if uses.get(name, step.name) == step.name]:
            del tensors[tensor]
    return score(network.score, tensors[network.score.source])


def made(output: Output, sums: np.ndarray) -> np.ndarray:
    """The tensor that becomes of sums [N, OH, OW, OC]."""
    values = output.requant.apply(sums, -1)
    return _pooled(values) if output.pool else values


def convolve_all(weight: np.ndarray, stride: int, padding: int, values: np.ndarray) -> np.ndarray:
    """Weights int [OC, IC, KH, KW], int [N, H, W, IC] -> the sums int64 [N, OH, OW, OC]."""
    oc, ic, kh, kw = weight.shape
    kind = exact.float_type(weight, values, ic * kh * kw)
    p, s = padding, stride
    padded = np.pad(values.astype(kind), ((0, 0), (p, p), (p, p), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))[:, ::s, ::s]
    n, oh, ow = windows.shape[:3]
    matrix = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * oh * ow, kh * kw * ic)
    columns = weight.astype(kind).transpose(2, 3, 1, 0).reshape(kh * kw * ic, oc)
    return (matrix @ columns).astype(np.int64).reshape(n, oh, ow, oc)


def _pooled(values: np.ndarray) -> np.ndarray:
    """The maximum of 2x2, [N, H, W, C]; an odd last row or column is dropped, as ``requantise.max_pool`` does."""
    n, h, w, c = values.shape
    even = values[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return even.max(axis=(2, 4))


def score(step: ScoreStep, values: np.ndarray) -> np.ndarray:
    """[N, H, W, C] -> int64 [N, classes]."""
    sums = values.astype(np.int64).sum(axis=(1, 2))
    result: np.ndarray = sums @ step.weight.T.astype(np.int64) + step.bias
    return result
