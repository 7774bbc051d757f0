"""What a golden set shows of a layer: all of it, one tile of its channels, a strip of its outputs, or one tile in OS.

Every excerpt is a convolution layer by itself, so that whatever reads a set can compute, and run, what it holds.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model import tiling
from golden_model.configuration import Precision
from golden_model.files.operands import Captured
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, tile_count


def whole(captured: Captured, *, residual: bool) -> Operands:
    """The layer, its residual (with its bias in it) only where the format has a place; its sums without ReLU."""
    operands = captured.operands.with_bias_in_residual()
    return dataclasses.replace(
        operands, residual=operands.residual if residual else None, precision=Precision.a4w4, relu=False
    )


def channel_tile(layer: Operands, rows: int, cols: int, ic_tile: int, oc_tile: int) -> Operands:
    """Input channels ``ic_tile`` and output channels ``oc_tile``: what the array computes for one pair of tiles.

    Its outputs are the sums over these input channels alone. The accumulators start from the residual, so ic_tile 0
    has it and the others have zeros: outputs of all ic tiles add up to the layer's.
    """
    ic, oc = slice(ic_tile * rows, (ic_tile + 1) * rows), slice(oc_tile * cols, (oc_tile + 1) * cols)
    residual = layer.residual
    if residual is not None:
        residual = residual[oc] if ic_tile == 0 else np.zeros_like(residual[oc])
    return dataclasses.replace(
        layer, weight=layer.weight[oc, ic], activation=layer.activation[ic], residual=residual
    )  # fmt: skip


def strip_count(shape: ConvShape, length: int) -> int:
    """Strips of up to ``length`` outputs that the output map is cut into; none goes over the end of a line."""
    return shape.oh * tile_count(shape.ow, length)


def output_strip(layer: Operands, length: int, o_tile: int) -> Operands:
    """Up to ``length`` neighbouring outputs of one line of the map, and the padded inputs that they read.

    Strips go along the lines of the output map, line after line. The excerpt has no padding of its own: zeros that the
    layer's padding adds are part of its activation. Example: strip 0 of 8 outputs, 3x3 kernel: a window of 3x10.
    """
    shape = layer.shape
    line, strip = divmod(o_tile, tile_count(shape.ow, length))
    first = strip * length
    n = min(length, shape.ow - first)
    top, left = line * shape.stride, first * shape.stride
    padded = tiling.pad(layer.activation, layer.padding)
    window = padded[:, top : top + shape.kh, left : left + (n - 1) * shape.stride + shape.kw]
    residual = layer.residual
    if residual is not None:
        residual = residual[:, line : line + 1, first : first + n]
    return dataclasses.replace(layer, activation=window, padding=0, residual=residual)


def os_tile(layer: Operands, rows: int, cols: int, o_tile: int, oc_tile: int) -> Operands:
    """The operands of one output-stationary tile as a 1x1 layer: K = IC*n_kij channels on ROWS positions, to COLS.

    Channel ``k = ic * n_kij + kij`` holds at position ``row`` what array row ``row`` is fed at time step ``k``.
    Positions and channels beyond the layer are zero.
    """
    activation = tiling.os_activation_tiles(layer.activation, layer.shape, rows)[o_tile]
    weight = tiling.os_weight_tiles(layer.weight, cols)[oc_tile]
    weight, activation = weight.T[:, :, None, None], activation[:, None, :]
    return dataclasses.replace(layer, weight=weight, activation=activation, stride=1, padding=0, residual=None)


def chosen_tiles(
    wanted: dict[str, int | None], counts: dict[str, int], layer: str, format: str, instead: str
) -> dict[str, int]:
    """The tile of each kind that the set shows; ``counts`` says how many there are of each.

    Raises ValueError for a tile that does not exist, one of a kind that the format does not choose from, and for a
    layer of several tiles of which none was chosen; ``instead`` is the format for it.
    """
    for name, tile in wanted.items():
        if tile is None:
            continue
        if name not in counts:
            choice = f"chooses {' and '.join(counts)}" if counts else "holds all tiles of a layer"
            raise ValueError(f"{name} {tile} was asked for, but format {format} {choice}")
        if not 0 <= tile < counts[name]:
            raise ValueError(f"{name} {tile} does not exist: {layer} has {name}s 0..{counts[name] - 1}")
    open_choice = [name for name, count in counts.items() if name != "o_tile" and count > 1 and wanted[name] is None]
    if open_choice and instead:
        several = " and ".join(f"{counts[name]} {name}s" for name in open_choice)
        settings = " and ".join(name.upper() for name in open_choice)
        raise ValueError(
            f"format {format} holds one tile; {layer} has {several}: use format {instead}, or choose with {settings}"
        )
    return {name: wanted[name] or 0 for name in counts}
