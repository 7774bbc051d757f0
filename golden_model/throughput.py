"""Cycles that a layer needs at best: the throughput contract, and SCALE-Sim's laws for comparison."""

from __future__ import annotations

from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.tiling import ConvShape, tile_count


def scale_sim(shape: ConvShape, rows: int, cols: int, dataflow: Dataflow) -> int:
    """Cycles of the layer by SCALE-Sim 3's law (Samajdar et al., 2018 and 2020), which counts no memory.

    K = IC * n_kij, M = outputs of a channel.

    OS, the drain left out: ceil(M / rows) * ceil(OC / cols) * (K + rows + cols - 2) - 1.
    WS: ceil(K / rows) * ceil(OC / cols) * (M + 2 * rows + cols - 2) - 1.
    """
    k, m = shape.ic * shape.n_kij, shape.n_o_nij
    if dataflow is Dataflow.output_stationary:
        return tile_count(m, rows) * tile_count(shape.oc, cols) * (k + rows + cols - 2) - 1
    return tile_count(k, rows) * tile_count(shape.oc, cols) * (m + 2 * rows + cols - 2) - 1


def ideal_cycles(
    shape: ConvShape, configuration: Configuration, dataflow: Dataflow, precision: Precision = Precision.a4w4
) -> int:
    """Cycles of the throughput contract without fill and drain: WS max(T, words of weights), OS max(K, ROWS) a pass.

    The weights of a pass are COLS / WGT_LANES words, or half of them in packed a4w4. In a2w4 a row takes two input
    channels at once: half as many ic_tiles (WS), or half the K (OS). Twin (plan.py) is not in it.
    """
    oc_tiles = tile_count(shape.oc, configuration.cols)
    if dataflow is Dataflow.weight_stationary:
        ic_tiles = tile_count(shape.ic, configuration.rows * precision.channels)
        return oc_tiles * ic_tiles * shape.n_kij * max(shape.n_o_nij, configuration.load_words(precision))
    o_tiles = tile_count(shape.n_o_nij, configuration.rows)
    return oc_tiles * o_tiles * max(tile_count(shape.ic, precision.channels) * shape.n_kij, configuration.rows)


def faster_dataflow(shape: ConvShape, configuration: Configuration, precision: Precision = Precision.a4w4) -> Dataflow:
    """The dataflow with fewer ideal cycles, weight-stationary where both need the same."""
    return min(Dataflow, key=lambda dataflow: ideal_cycles(shape, configuration, dataflow, precision))
