"""The weight-stationary files of seed 002, for one tile of input and output channels.

====================  ================================================================================================
``activation.txt``    one line for each nij of the padded map, a word for each row
``weight_kij{k}.txt`` one line for each col, a word for each row
``psum_kij{k}.txt``   one line for each nij, a word for each col
``out.txt``           accumulated psums before ReLU: one line for each o_nij, a word for each col
====================  ================================================================================================

``ic_tile`` and ``oc_tile`` choose the tile of a layer that has several (``excerpt.channel_tile``). The format has no
place for a residual.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from golden_model import sfp, tiling
from golden_model.configuration import Configuration, Dataflow
from golden_model.files.excerpt import channel_tile, chosen_tiles, whole
from golden_model.files.operands import Captured
from golden_model.files.vectors import VectorFile, read_vectors, vector_header
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, tile_count

OUT_RELU = False


def excerpt(
    captured: Captured, configuration: Configuration, wanted: dict[str, int | None]
) -> tuple[Operands, dict[str, int]]:
    """The tile of channels that the set shows, and which it is. Raises what ``chosen_tiles`` raises."""
    layer = whole(captured, residual=False)
    rows, cols = configuration.rows, configuration.cols
    counts = {"ic_tile": tile_count(layer.shape.ic, rows), "oc_tile": tile_count(layer.shape.oc, cols)}
    tiles = chosen_tiles(wanted, counts, captured.layer, "seed002", instead="seed004")
    return channel_tile(layer, rows, cols, **tiles), tiles


def files(shown: Operands, configuration: Configuration, meta: dict[str, Any]) -> list[VectorFile]:
    """All files of the set. Raises what ``golden_layer`` raises."""
    rows, cols, psum_bits = configuration.rows, configuration.cols, configuration.psum_bits
    golden = golden_layer(shown, configuration, Dataflow.weight_stationary)
    shape = golden.shape
    sfp.check_psum_range(golden.psums, psum_bits, "psum [ic_tile, oc_tile, kij, nij, col] = ")
    out = np.zeros((shape.n_o_nij, cols), np.int64)
    out[:, : shape.oc] = golden.accumulated.reshape(shape.oc, -1).T

    [activation] = tiling.activation_tiles(shown.activation, shape, rows)
    [[weights]] = tiling.weight_tiles(shown.weight, rows, cols)
    [[psums]] = golden.psums
    # The seed's third header line has another number of dots in different files.
    psum_header = vector_header("time", "col", cols, dots=4)
    row_header, wgt_header = vector_header("time", "row", rows), vector_header("col", "row", rows, dots=4)
    act_bits, signed = configuration.act_bits, shown.a_signed
    result = [VectorFile("activation.txt", activation.T, act_bits, row_header, axes=("nij", "row"), signed=signed)]
    for kij in range(shape.n_kij):
        name, weight = f"weight_kij{kij}.txt", weights[kij].T
        result.append(VectorFile(name, weight, configuration.wgt_bits, wgt_header, axes=("col", "row")))
        result.append(VectorFile(f"psum_kij{kij}.txt", psums[kij], psum_bits, psum_header, axes=("nij", "col")))
    result.append(VectorFile("out.txt", out, psum_bits, psum_header, axes=("o_nij", "col")))
    return result


def read(directory: Path, shape: ConvShape, meta: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """The fields of a GoldenSet, from the files in ``directory``."""
    rows, cols = meta["rows"], meta["cols"]
    activation = read_vectors(directory / "activation.txt", rows, meta["act_bits"], meta["a_signed"], shape.n_nij)
    weights = [
        read_vectors(directory / f"weight_kij{kij}.txt", rows, meta["wgt_bits"], True, cols).T
        for kij in range(shape.n_kij)
    ]
    out = read_vectors(directory / "out.txt", cols, meta["psum_bits"], True, shape.n_o_nij)
    out = out.T[: shape.oc].reshape(shape.oc, shape.oh, shape.ow)
    return {
        "weight": tiling.weight_from_tiles(np.stack(weights)[None, None], shape),
        "activation": tiling.activation_from_tiles(activation.T[None], shape),
        "residual": None,
        "out_raw": out,
        "out": out,
    }
