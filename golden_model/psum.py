"""The psums that leave the array, in both dataflows."""

from __future__ import annotations

import numpy as np

from golden_model import exact


def ws_psums(activation_tiles: np.ndarray, weight_tiles: np.ndarray) -> np.ndarray:
    """[ic_tile, row, nij], [ic_tile, oc_tile, kij, row, col] -> psum cube int32 [ic_tile, oc_tile, kij, nij, col].

    One entry is what one column gives for one position in one pass, the sum over the rows (seeds 002 and 004); all
    padded positions are there, those that no output reads included. The cube is a view whose fastest axis is ``nij``.
    Raises ValueError when a psum may not fit an int32.
    """
    ic_tiles, rows, n_nij = activation_tiles.shape
    _, oc_tiles, n_kij, _, cols = weight_tiles.shape
    kind = exact.float_type(activation_tiles, weight_tiles, rows)
    # The weights of all passes of an ic_tile are stacked: one product [oc_tile*kij*col, row] @ [row, nij] for each.
    n_stacked = oc_tiles * n_kij * cols
    weights = weight_tiles.swapaxes(-1, -2).astype(kind, order="C").reshape(ic_tiles, n_stacked, rows)
    activations = activation_tiles.astype(kind)
    cube = np.empty((ic_tiles, n_stacked, n_nij), np.int32)
    # A float cube beside the integer one would cost more in page faults than the products do.
    product = np.empty((n_stacked, n_nij), kind)
    for ic_tile in range(ic_tiles):
        np.matmul(weights[ic_tile], activations[ic_tile], out=product)
        cube[ic_tile] = product
    return cube.reshape(ic_tiles, oc_tiles, n_kij, cols, n_nij).swapaxes(-1, -2)


def os_psums(os_activation_tiles: np.ndarray, os_weight_tiles: np.ndarray) -> np.ndarray:
    """[o_tile, k, row], [oc_tile, k, col] -> int32 [oc_tile, o_tile, row, col]: each tile's sum over all ``k``.

    Raises ValueError when a psum may not fit an int32.
    """
    o_tiles, n_k, rows = os_activation_tiles.shape
    oc_tiles, _, cols = os_weight_tiles.shape
    kind = exact.float_type(os_activation_tiles, os_weight_tiles, n_k)
    activations = os_activation_tiles.swapaxes(1, 2).astype(kind).reshape(o_tiles * rows, n_k)
    weights = os_weight_tiles.swapaxes(0, 1).astype(kind).reshape(n_k, oc_tiles * cols)
    psums = (activations @ weights).astype(np.int32)
    return psums.reshape(o_tiles, rows, oc_tiles, cols).transpose(2, 0, 1, 3)
