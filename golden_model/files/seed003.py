"""The files of seed 003 (VGG16, 4a4w and 2a4w): a whole layer with the psums of each tap.

========================================  ============================================================================
``activation.txt``                        one line for each position of the map *without* padding, a word for each row
``weight_itile{i}_otile{o}_kij{k}.txt``   no header; a line for each col, the last first, a word for each row, 0 first
``psum.txt``                              accumulated psums: one line for each o_nij, a word for each col
``psum_relu.txt``                         ReLU of ``psum``
``psum_{k}.txt``                          no header; what tap k adds to ``psum``, lines as there
========================================  ============================================================================

The seed has one tile of channels. With several ic tiles there is an ``activation_itile{i}.txt`` for each, with several
oc tiles the psum files have ``_otile{o}`` before ``.txt``. The format has no place for a residual.

``psum.txt`` has two header lines, as the seed prints it, and labels its lanes as rows.

2a4w: where two activations fit the array's ACT_BITS, a row carries two channels, ``2*row`` in the lower bits and
``2*row + 1`` in the upper, so ROWS rows take 2*ROWS channels. A word of ``activation`` is the two activations, 2 bits
each, and a word of ``weight`` the weights of the two channels, upper first. The seed trains such a network and writes
no files of it; this packing is the array's a2w4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from golden_model import sfp, tiling
from golden_model.configuration import Configuration, Dataflow
from golden_model.files.excerpt import chosen_tiles, whole
from golden_model.files.operands import Captured
from golden_model.files.vectors import VectorFile, read_vectors
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, nij_index, tile_count

OUT_RELU = True


def excerpt(
    captured: Captured, configuration: Configuration, wanted: dict[str, int | None]
) -> tuple[Operands, dict[str, int]]:
    """The whole layer; there is no tile to choose."""
    return whole(captured, residual=False), chosen_tiles(wanted, {}, captured.layer, "seed003", instead="")


def channels_per_row(meta: dict[str, Any]) -> int:
    """2 where two activations fit ACT_BITS (2a4w), else 1."""
    return 2 if 2 * meta["a_bits"] <= meta["act_bits"] else 1


def files(shown: Operands, configuration: Configuration, meta: dict[str, Any]) -> list[VectorFile]:
    """All files of the set. Raises what ``golden_layer`` raises."""
    cols, psum_bits, packed = configuration.cols, configuration.psum_bits, channels_per_row(meta)
    lanes = configuration.rows * packed
    golden = golden_layer(shown, configuration, Dataflow.weight_stationary)
    shape = golden.shape
    act_bits = configuration.act_bits if packed == 1 else meta["a_bits"]

    result = []
    tiles = np.zeros((tile_count(shape.ic, lanes) * lanes, shape.ih * shape.iw), np.int64)
    tiles[: shape.ic] = shown.activation.reshape(shape.ic, -1)
    by_tile = tiles.reshape(-1, lanes, shape.ih * shape.iw)
    for suffix, tile in zip(_suffixes("itile", len(by_tile)), by_tile, strict=True):
        header = (*_header_lines(configuration.rows), "#.....#")
        name, axes = f"activation{suffix}.txt", ("position", "row")
        result.append(VectorFile(name, tile.T, act_bits, header, axes=axes, signed=shown.a_signed))
    weights = tiling.weight_tiles(shown.weight, lanes, cols)
    for ic_tile, oc_tile, kij in np.ndindex(weights.shape[:3]):
        lines = _turned(weights[ic_tile, oc_tile, kij].T, packed)
        result.append(VectorFile(_weight_name(ic_tile, oc_tile, kij), lines, configuration.wgt_bits, ()))

    first, _ = _header_lines(cols)
    maps: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {
        "psum": (golden.accumulated, (first, "#.....#")),
        "psum_relu": (sfp.relu(golden.accumulated), ("#ReLUed psum output", _relu_line(cols), "#.....#")),
    }
    positions = nij_index(shape)
    cube = golden.psums.sum(axis=0, dtype=np.int64)  # [oc_tile, kij, nij, col]
    for kij in range(shape.n_kij):
        by_channel = cube[:, kij, positions[kij]].swapaxes(1, 2).reshape(-1, shape.n_o_nij)[: shape.oc]
        sfp.check_psum_range(by_channel, psum_bits, f"psum of kij {kij} [oc, o_nij] = ")
        maps[f"psum_{kij}"] = (by_channel, ())
    suffixes = _suffixes("otile", tile_count(shape.oc, cols))
    for name, (values, lines_above) in maps.items():
        steps = np.zeros((len(suffixes) * cols, shape.n_o_nij), np.int64)
        steps[: shape.oc] = values.reshape(shape.oc, -1)
        for suffix, tile in zip(suffixes, steps.reshape(len(suffixes), cols, -1), strict=True):
            result.append(VectorFile(f"{name}{suffix}.txt", tile.T, psum_bits, lines_above, axes=("o_nij", "col")))
    return result


def read(directory: Path, shape: ConvShape, meta: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """The fields of a GoldenSet, from the files in ``directory``."""
    rows, cols, packed = meta["rows"], meta["cols"], channels_per_row(meta)
    lanes, act_bits = rows * packed, meta["act_bits"] if packed == 1 else meta["a_bits"]
    n_positions = shape.ih * shape.iw
    activation = [
        read_vectors(directory / f"activation{suffix}.txt", lanes, act_bits, meta["a_signed"], n_positions).T
        for suffix in _suffixes("itile", tile_count(shape.ic, lanes))
    ]
    weights = np.empty((len(activation), tile_count(shape.oc, cols), shape.n_kij, lanes, cols), np.int64)
    for ic_tile, oc_tile, kij in np.ndindex(weights.shape[:3]):
        path = directory / _weight_name(ic_tile, oc_tile, kij)
        lines = read_vectors(path, lanes, meta["wgt_bits"], True, cols, header_lines=0)
        weights[ic_tile, oc_tile, kij] = _turned(lines, packed).T

    def maps(name: str, header_lines: int) -> np.ndarray:
        steps = [
            read_vectors(
                directory / f"{name}{suffix}.txt", cols, meta["psum_bits"], True, shape.n_o_nij, header_lines
            ).T
            for suffix in _suffixes("otile", weights.shape[1])
        ]
        return np.concatenate(steps)[: shape.oc].reshape(shape.oc, shape.oh, shape.ow)

    return {
        "weight": tiling.weight_from_tiles(weights, shape),
        "activation": np.concatenate(activation)[: shape.ic].reshape(shape.ic, shape.ih, shape.iw),
        "residual": None,
        "out_raw": maps("psum", 2),
        "out": maps("psum_relu", 3),
    }


def _turned(lines: np.ndarray, packed: int) -> np.ndarray:
    """[col, channel] <-> the matrix whose written lines have the last col first and row 0 first; its own inverse.

    Writing puts the highest lane first, so the rows are turned round, and the channels within a row are not.
    """
    cols, lanes = lines.shape
    return lines.reshape(cols, lanes // packed, packed)[::-1, ::-1].reshape(cols, lanes)


def _weight_name(ic_tile: int, oc_tile: int, kij: int) -> str:
    return f"weight_itile{ic_tile}_otile{oc_tile}_kij{kij}.txt"


def _suffixes(kind: str, tiles: int) -> list[str]:
    return [""] if tiles == 1 else [f"_{kind}{tile}" for tile in range(tiles)]


def _header_lines(lanes: int) -> tuple[str, str]:
    """The seed's first two lines; unlike the other seeds it writes lsb in every word and no # at the end."""

    def line(time: int) -> str:
        words = [f"time{time}row{lane}[msb-lsb]" for lane in range(lanes - 1, -1, -1)]
        if lanes > 3:
            words[2:-1] = ["..."]
        return f"#{','.join(words)}"

    return line(0), line(1)


def _relu_line(lanes: int) -> str:
    """The second line of ``psum_relu``, where the seed shortens the last word and closes the line."""
    first, _ = _header_lines(lanes)
    *words, _ = first.split(",")
    return f"{','.join([*words, 'row0'])}#" if words else "#row0#"
