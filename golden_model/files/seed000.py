"""The files of seed 000 (ResNet): a strip of ROWS outputs with its residual, for one tile of channels.

===================  =================================================================================================
``activation.txt``   one line for each nij of the window that the strip reads, a word for each row
``w{k}.txt``         one line for each col, a word for each row
``output.txt``       accumulated psums: one line for each output of the strip, a word for each col
``residual.txt``     lines as ``output``; zeros where the layer has none
``answer.txt``       ``output`` + ``residual``, before ReLU
``acc_address.txt``  no header: one line for each output and, within it, each kij: the psum's 11-bit address
===================  =================================================================================================

The seed shows the first eight outputs of line 0 of the map, which read a window of 3x10 inputs, padding included. Here
``o_tile`` chooses any such strip (``excerpt.output_strip``), of ROWS outputs at most; 0 is the seed's. ``ic_tile`` and
``oc_tile`` choose the tile of a layer that has several (``excerpt.channel_tile``). The seed's residual is never
negative; with a BatchNorm folded into it, it is two's complement.

The seed reads the addresses from a file made by hand. Their definition here: the passes write their psums one after the
other, so the psum of tap ``kij`` at window position ``nij`` has address ``kij * n_nij + nij``, and an output adds those
at ``nij_index[kij, o_nij]``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from golden_model import sfp, tiling
from golden_model.configuration import Configuration, Dataflow
from golden_model.files.excerpt import channel_tile, chosen_tiles, output_strip, strip_count, whole
from golden_model.files.operands import Captured
from golden_model.files.vectors import VectorFile, VectorFileError, read_vectors, vector_header
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, nij_index, tile_count

OUT_RELU = False
ADDRESS_BITS = 11
_ADDRESSES = "acc_address.txt"


def excerpt(
    captured: Captured, configuration: Configuration, wanted: dict[str, int | None]
) -> tuple[Operands, dict[str, int]]:
    """The strip that the set shows, and which tiles it is. Raises what ``chosen_tiles`` raises."""
    layer = whole(captured, residual=True)
    shape, rows, cols = layer.shape, configuration.rows, configuration.cols
    counts = {
        "ic_tile": tile_count(shape.ic, rows), "oc_tile": tile_count(shape.oc, cols),
        "o_tile": strip_count(shape, rows),
    }  # fmt: skip
    tiles = chosen_tiles(wanted, counts, captured.layer, "seed000", instead="seed004")
    if layer.residual is None:
        layer = dataclasses.replace(layer, residual=np.zeros((shape.oc, shape.oh, shape.ow), np.int64))
    tile = channel_tile(layer, rows, cols, tiles["ic_tile"], tiles["oc_tile"])
    return output_strip(tile, rows, tiles["o_tile"]), tiles


def addresses(shape: ConvShape) -> np.ndarray:
    """int64 [n_o_nij * n_kij]: the address of each psum that an output adds, output by output, kij by kij.

    Raises ValueError for a window whose psums do not fit ADDRESS_BITS.
    """
    if shape.n_kij * shape.n_nij > 1 << ADDRESS_BITS:
        raise ValueError(
            f"format seed000 has {ADDRESS_BITS}-bit addresses, for {1 << ADDRESS_BITS} psums; a strip of this layer "
            f"has {shape.n_kij} kij of {shape.n_nij} positions, {shape.n_kij * shape.n_nij} psums: use format seed004"
        )
    return (np.arange(shape.n_kij)[:, None] * shape.n_nij + nij_index(shape)).T.reshape(-1)


def files(shown: Operands, configuration: Configuration, meta: dict[str, Any]) -> list[VectorFile]:
    """All files of the set. Raises what ``addresses`` and ``golden_layer`` raise."""
    rows, cols, psum_bits = configuration.rows, configuration.cols, configuration.psum_bits
    golden = golden_layer(shown, configuration, Dataflow.weight_stationary)
    shape = golden.shape
    address = addresses(shape)
    if shown.residual is None:
        raise ValueError("format seed000 has a residual, which may be zeros; this layer has none")
    output = golden.accumulated - shown.residual
    sfp.check_psum_range(output, psum_bits, "output [oc, row, col] = ")

    def lanes(values: np.ndarray) -> np.ndarray:
        steps = np.zeros((shape.n_o_nij, cols), np.int64)
        steps[:, : shape.oc] = values.reshape(shape.oc, -1).T
        return steps

    [activation] = tiling.activation_tiles(shown.activation, shape, rows)
    [[weights]] = tiling.weight_tiles(shown.weight, rows, cols)
    # The seed's third header line has another number of dots in different files, and its residual's lanes are rows.
    row_header, out_header = vector_header("time", "row", rows), vector_header("time", "col", cols)
    residual_header = vector_header("time", "row", cols, dots=4)
    act_bits, signed = configuration.act_bits, shown.a_signed
    result = [VectorFile("activation.txt", activation.T, act_bits, row_header, axes=("nij", "row"), signed=signed)]
    for kij in range(shape.n_kij):
        header = vector_header("col", "row", rows, dots=4)
        result.append(VectorFile(f"w{kij}.txt", weights[kij].T, configuration.wgt_bits, header, axes=("col", "row")))
    result += [
        VectorFile("output.txt", lanes(output), psum_bits, out_header, axes=("o_nij", "col")),
        VectorFile("residual.txt", lanes(shown.residual), psum_bits, residual_header, axes=("o_nij", "col")),
        VectorFile("answer.txt", lanes(golden.accumulated), psum_bits, out_header, axes=("o_nij", "col")),
        VectorFile(_ADDRESSES, address[:, None], ADDRESS_BITS, (), signed=False),
    ]
    return result


def read(directory: Path, shape: ConvShape, meta: dict[str, Any]) -> dict[str, np.ndarray | None]:
    """The fields of a GoldenSet, from the files in ``directory``."""
    rows, cols = meta["rows"], meta["cols"]
    activation = read_vectors(directory / "activation.txt", rows, meta["act_bits"], meta["a_signed"], shape.n_nij)
    weights = [
        read_vectors(directory / f"w{kij}.txt", rows, meta["wgt_bits"], True, cols).T for kij in range(shape.n_kij)
    ]

    def outputs(name: str) -> np.ndarray:
        steps = read_vectors(directory / name, cols, meta["psum_bits"], True, shape.n_o_nij)
        return steps.T[: shape.oc].reshape(shape.oc, shape.oh, shape.ow)

    expected = addresses(shape)
    found = read_vectors(directory / _ADDRESSES, 1, ADDRESS_BITS, False, len(expected), header_lines=0)[:, 0]
    for line in np.flatnonzero(found != expected)[:1]:
        o_nij, kij = divmod(int(line), shape.n_kij)
        problem = f"address {found[line]} for output {o_nij}, kij {kij}, whose psum is at {expected[line]}"
        raise VectorFileError(directory / _ADDRESSES, int(line) + 1, 1, problem)
    return {
        "weight": tiling.weight_from_tiles(np.stack(weights)[None, None], shape),
        "activation": tiling.activation_from_tiles(activation.T[None], shape),
        "residual": outputs("residual.txt"),
        "out_raw": outputs("output.txt"),
        "out": outputs("answer.txt"),
    }
