"""The output-stationary files of seed 002, for one tile of ROWS output positions and COLS output channels.

========================  ============================================================================================
``activation_os_ic{c}``   one line for each kij, a word for each row: what output position ``o_tile*ROWS + row`` reads
``weight_os_ic{c}``       one line for each kij, a word for each col
``out_os``                psums before ReLU: one line for each row (position), a word for each col
========================  ============================================================================================

The seed shows tile (0, 0) of a layer whose first eight outputs lie in one line of the map; here any tile of any layer
can be shown. Rows and columns beyond the layer are zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from golden_model import tiling
from golden_model.configuration import Configuration, Dataflow
from golden_model.layer import golden_layer
from golden_model.tiling import ConvShape
from golden_model.vectors import VectorFile, read_vectors, vector_header

if TYPE_CHECKING:
    from golden_model.golden_set import Operands

OUT_RELU = False
HAS_RESIDUAL = False


def files(operands: Operands, configuration: Configuration, meta: dict[str, Any]) -> list[VectorFile]:
    """All files of the tile that ``meta`` names. Raises ValueError for a tile that the layer does not have."""
    rows, cols = configuration.rows, configuration.cols
    golden = golden_layer(
        operands.weight,
        operands.activation,
        stride=operands.stride,
        padding=operands.padding,
        configuration=configuration,
        dataflow=Dataflow.output_stationary,
        relu=False,
        a_signed=operands.a_signed,
    )
    shape = golden.shape
    oc_tiles, o_tiles = golden.psums.shape[:2]
    for name, tiles in (("o_tile", o_tiles), ("oc_tile", oc_tiles)):
        if not 0 <= meta[name] < tiles:
            raise ValueError(f"{name} {meta[name]} does not exist: {operands.layer} has {name}s 0..{tiles - 1}")

    activation = tiling.os_activation_tiles(operands.activation, shape, rows)[meta["o_tile"]]
    weight = tiling.os_weight_tiles(operands.weight, cols)[meta["oc_tile"]]
    # The seed's third header line has another number of dots in different files.
    act_header = vector_header("time", "row", rows, dots=4)
    wgt_header = vector_header("col", "row", rows, dots=6)
    result = []
    for ic in range(shape.ic):
        steps = slice(ic * shape.n_kij, (ic + 1) * shape.n_kij)
        result.append(VectorFile(f"activation_os_ic{ic}.txt", activation[steps], configuration.act_bits, act_header))
        result.append(VectorFile(f"weight_os_ic{ic}.txt", weight[steps], configuration.wgt_bits, wgt_header))
    psums = golden.psums[meta["oc_tile"], meta["o_tile"]]
    header = vector_header("time", "col", cols, dots=4)
    result.append(VectorFile("out_os.txt", psums, configuration.psum_bits, header))
    return result


def read(directory: Path, shape: ConvShape, meta: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """The fields of a GoldenSet, from the files in ``directory``."""
    rows, cols = meta["rows"], meta["cols"]

    def operand(name: str, lanes: int, bits: int, signed: bool) -> np.ndarray:
        paths = [directory / f"{name}_os_ic{ic}.txt" for ic in range(shape.ic)]
        return np.concatenate([read_vectors(path, lanes, bits, signed, shape.n_kij) for path in paths])

    out = read_vectors(directory / "out_os.txt", cols, meta["psum_bits"], True, rows)
    return {
        "weight": operand("weight", cols, meta["wgt_bits"], True),
        "activation": operand("activation", rows, meta["act_bits"], meta["a_signed"]),
        "residual": None,
        "out_raw": out,
        "out": out,
    }
