"""The output-stationary files of seed 002, for one tile of ROWS output positions and COLS output channels.

========================  ============================================================================================
``activation_os_ic{c}``   one line for each kij, a word for each row: what output position ``o_tile*ROWS + row`` reads
``weight_os_ic{c}``       one line for each kij, a word for each col
``out_os``                psums before ReLU: one line for each row (position), a word for each col
========================  ============================================================================================

The seed shows tile (0, 0) of a layer whose first eight outputs lie in one line of the map; here any tile of any layer
can be shown (``excerpt.os_tile``). Rows and columns beyond the layer are zero. The format has no place for a residual.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from golden_model.configuration import Configuration, Dataflow
from golden_model.files.excerpt import chosen_tiles, os_tile, whole
from golden_model.files.operands import Captured
from golden_model.files.vectors import VectorFile, read_vectors, vector_header
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, tile_count

OUT_RELU = False


def excerpt(
    captured: Captured, configuration: Configuration, wanted: dict[str, int | None]
) -> tuple[Operands, dict[str, int]]:
    """The tile that the set shows as a 1x1 layer, and which it is. Raises what ``chosen_tiles`` raises."""
    layer = whole(captured, residual=False)
    rows, cols = configuration.rows, configuration.cols
    counts = {"o_tile": tile_count(layer.shape.n_o_nij, rows), "oc_tile": tile_count(layer.shape.oc, cols)}
    tiles = chosen_tiles(wanted, counts, captured.layer, "seed002", instead="")
    return os_tile(layer, rows, cols, **tiles), tiles


def files(shown: Operands, configuration: Configuration, meta: dict[str, Any]) -> list[VectorFile]:
    """All files of the tile. Raises what ``golden_layer`` raises."""
    rows, cols = configuration.rows, configuration.cols
    [[psums]] = golden_layer(shown, configuration, Dataflow.output_stationary).psums
    activation, weight = shown.activation[:, 0], shown.weight[:, :, 0, 0].T
    # The seed's third header line has another number of dots in different files.
    act_header = vector_header("time", "row", rows, dots=4)
    wgt_header = vector_header("col", "row", rows, dots=6)
    act_bits, wgt_bits, signed = configuration.act_bits, configuration.wgt_bits, shown.a_signed
    result = []
    layer = ConvShape(**meta["layer_shape"])
    for ic in range(layer.ic):
        steps = slice(ic * layer.n_kij, (ic + 1) * layer.n_kij)
        act_name, wgt_name = f"activation_os_ic{ic}.txt", f"weight_os_ic{ic}.txt"
        result.append(VectorFile(act_name, activation[steps], act_bits, act_header, axes=("kij", "row"), signed=signed))
        result.append(VectorFile(wgt_name, weight[steps], wgt_bits, wgt_header, axes=("kij", "col")))
    header = vector_header("time", "col", cols, dots=4)
    result.append(VectorFile("out_os.txt", psums, configuration.psum_bits, header, axes=("row", "col")))
    return result


def read(directory: Path, shape: ConvShape, meta: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """The fields of a GoldenSet, from the files in ``directory``."""
    rows, cols, layer = meta["rows"], meta["cols"], ConvShape(**meta["layer_shape"])

    def operand(name: str, lanes: int, bits: int, signed: bool) -> np.ndarray:
        paths = [directory / f"{name}_os_ic{ic}.txt" for ic in range(layer.ic)]
        return np.concatenate([read_vectors(path, lanes, bits, signed, layer.n_kij) for path in paths])

    out = read_vectors(directory / "out_os.txt", cols, meta["psum_bits"], True, rows).T[:, None]
    return {
        "weight": operand("weight", cols, meta["wgt_bits"], True).T[:, :, None, None],
        "activation": operand("activation", rows, meta["act_bits"], meta["a_signed"])[:, None],
        "residual": None,
        "out_raw": out,
        "out": out,
    }
