"""The files of seed 004: a tiled weight-stationary layer, each file with a decimal twin ``viz/viz_<name>``.

========================================  ============================================================================
``activation_tile{t}.txt``                one line for each nij of the padded map, a word for each row
``weight_itile{i}_otile{o}_kij{k}.txt``   one line for each col, a word for each row
``out_raw.txt``                           accumulated psums: one line for each o_nij, a word for each col
``residual.txt``                          where the layer has one, lines as ``out_raw``
``out.txt``                               ReLU of ``out_raw`` (+ ``residual``)
``psum.txt``                              psums of ic_tile 0, oc_tile 0, kij 0: one line for each nij
========================================  ============================================================================

A layer of several oc tiles has ``out_raw_otile{o}.txt``, ``residual_otile{o}.txt`` and ``out_otile{o}.txt``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from golden_model import sfp, tiling
from golden_model.configuration import Configuration, Dataflow
from golden_model.files.excerpt import chosen_tiles, whole
from golden_model.files.operands import Captured
from golden_model.files.vectors import OPERAND_WIDTH, PSUM_WIDTH, VectorFile, read_vectors, vector_header
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, tile_count

OUT_RELU = True


def excerpt(
    captured: Captured, configuration: Configuration, wanted: dict[str, int | None]
) -> tuple[Operands, dict[str, int]]:
    """The whole layer; there is no tile to choose."""
    return whole(captured, residual=True), chosen_tiles(wanted, {}, captured.layer, "seed004", instead="")


def files(shown: Operands, configuration: Configuration, meta: dict[str, Any]) -> list[VectorFile]:
    """All files of the set. Raises what ``golden_layer`` raises."""
    rows, cols = configuration.rows, configuration.cols
    golden = golden_layer(dataclasses.replace(shown, relu=True), configuration, Dataflow.weight_stationary)
    shape, psum_bits = golden.shape, configuration.psum_bits
    out_raw = golden.accumulated if shown.residual is None else golden.accumulated - shown.residual
    psum = golden.psums[0, 0, 0]
    sfp.check_psum_range(out_raw, psum_bits, "out_raw [oc, row, col] = ")
    sfp.check_psum_range(psum, psum_bits, "psum of ic_tile 0, oc_tile 0, kij 0 [nij, col] = ")

    row_header = vector_header("time", "row", rows)
    out_header = vector_header("time", "col", cols, lane_above="co")
    result = []

    def operand(
        name: str, matrix: np.ndarray, bits: int, header: tuple[str, ...], time: str, signed: bool = True
    ) -> None:
        result.append(VectorFile(f"{name}.txt", matrix, bits, header, OPERAND_WIDTH, (time, "row"), signed))

    def output(name: str, matrix: np.ndarray, time: str = "o_nij") -> None:
        result.append(VectorFile(f"{name}.txt", matrix, psum_bits, out_header, PSUM_WIDTH, (time, "col")))

    for tile, steps in enumerate(tiling.activation_tiles(shown.activation, shape, rows).swapaxes(1, 2)):
        operand(f"activation_tile{tile}", steps, configuration.act_bits, row_header, "nij", shown.a_signed)
    weights = tiling.weight_tiles(shown.weight, rows, cols)
    for ic_tile, oc_tile, kij in np.ndindex(weights.shape[:3]):
        name = _weight_name(ic_tile, oc_tile, kij)
        header = vector_header("col", "row", rows)
        operand(name, weights[ic_tile, oc_tile, kij].T, configuration.wgt_bits, header, "col")
    maps = {"out_raw": out_raw, "residual": shown.residual, "out": golden.output}
    for name, values in maps.items():
        if values is not None:
            for suffix, steps in _by_oc_tile(values, shape, cols):
                output(f"{name}{suffix}", steps)
    output("psum", psum, "nij")
    return result


def read(directory: Path, shape: ConvShape, meta: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """The fields of a GoldenSet, from the files in ``directory``."""
    rows, cols = meta["rows"], meta["cols"]
    ic_tiles, oc_tiles = tile_count(shape.ic, rows), tile_count(shape.oc, cols)

    activation = np.empty((ic_tiles, rows, shape.n_nij), np.int64)
    for tile in range(ic_tiles):
        path = directory / f"activation_tile{tile}.txt"
        activation[tile] = read_vectors(path, rows, meta["act_bits"], meta["a_signed"], shape.n_nij).T

    weights = np.empty((ic_tiles, oc_tiles, shape.n_kij, rows, cols), np.int64)
    for ic_tile, oc_tile, kij in np.ndindex(weights.shape[:3]):
        path = directory / f"{_weight_name(ic_tile, oc_tile, kij)}.txt"
        weights[ic_tile, oc_tile, kij] = read_vectors(path, rows, meta["wgt_bits"], True, cols).T

    def maps(name: str) -> np.ndarray:
        paths = [directory / f"{name}{suffix}.txt" for suffix in _suffixes(oc_tiles)]
        steps = [read_vectors(path, cols, meta["psum_bits"], True, shape.n_o_nij) for path in paths]
        return np.concatenate(steps, axis=1).T[: shape.oc].reshape(shape.oc, shape.oh, shape.ow)

    return {
        "weight": tiling.weight_from_tiles(weights, shape),
        "activation": tiling.activation_from_tiles(activation, shape),
        "residual": maps("residual") if meta["residual"] else None,
        "out_raw": maps("out_raw"),
        "out": maps("out"),
    }


def _weight_name(ic_tile: int, oc_tile: int, kij: int) -> str:
    return f"weight_itile{ic_tile}_otile{oc_tile}_kij{kij}"


def _suffixes(oc_tiles: int) -> list[str]:
    return [""] if oc_tiles == 1 else [f"_otile{oc_tile}" for oc_tile in range(oc_tiles)]


def _by_oc_tile(values: np.ndarray, shape: ConvShape, cols: int) -> list[tuple[str, np.ndarray]]:
    """[OC, OH, OW] -> for each oc tile its file suffix and its [o_nij, col], channels beyond OC zero."""
    suffixes = _suffixes(tile_count(shape.oc, cols))
    lanes = np.zeros((len(suffixes) * cols, shape.n_o_nij), np.int64)
    lanes[: shape.oc] = values.reshape(shape.oc, shape.n_o_nij)
    return list(zip(suffixes, lanes.reshape(len(suffixes), cols, -1).swapaxes(1, 2), strict=True))
