"""Tiling against hand-computed positions and slow loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import tiling
from golden_model.tiling import ConvShape

shapes = st.builds(
    ConvShape,
    ic=st.integers(1, 20),
    ih=st.integers(3, 9),
    iw=st.integers(3, 9),
    oc=st.integers(1, 20),
    kh=st.sampled_from([1, 2, 3]),
    kw=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2, 3]),
    padding=st.sampled_from([0, 1, 2]),
)
tile_sizes = st.integers(1, 9)


def operands(shape: ConvShape) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values everywhere, so that no two operands can be mistaken for one another."""
    weight = np.arange(1, 1 + shape.oc * shape.ic * shape.n_kij).reshape(shape.oc, shape.ic, shape.kh, shape.kw)
    activation = np.arange(1, 1 + shape.ic * shape.ih * shape.iw).reshape(shape.ic, shape.ih, shape.iw)
    return weight.astype(np.int32), activation.astype(np.int32)


def test_sizes_of_features_27():
    shape = ConvShape(ic=8, ih=4, iw=4, oc=8, kh=3, kw=3, stride=1, padding=1)
    assert (shape.oh, shape.ow, shape.n_kij, shape.n_nij, shape.n_o_nij) == (4, 4, 9, 36, 16)
    assert shape.macs == 8 * 8 * 9 * 16


def test_nij_index_by_hand():
    """4x4 map, padding 1 (6x6 padded), 3x3 kernel: the seeds' formula worked out by hand."""
    index = tiling.nij_index(ConvShape(1, 4, 4, 1, 3, 3, stride=1, padding=1))
    assert index.dtype == np.int64 and index.shape == (9, 16)
    assert index[0].tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 15, 18, 19, 20, 21]
    assert index[:, 0].tolist() == [0, 1, 2, 6, 7, 8, 12, 13, 14]
    assert index[8, 15] == 35


def test_nij_index_by_hand_with_stride_on_an_oblong_map():
    """3x5 map, padding 1 (5x7 padded), 3x3 kernel, stride 2: outputs 2x3."""
    index = tiling.nij_index(ConvShape(1, 3, 5, 1, 3, 3, stride=2, padding=1))
    assert index[0].tolist() == [0, 2, 4, 14, 16, 18]
    assert index[5].tolist() == [9, 11, 13, 23, 25, 27]


@given(shapes)
def test_nij_index_equals_slow_loops(shape):
    expected = [
        [
            (oi * shape.stride + ki) * (shape.iw + 2 * shape.padding) + (oj * shape.stride + kj)
            for oi in range(shape.oh)
            for oj in range(shape.ow)
        ]
        for ki in range(shape.kh)
        for kj in range(shape.kw)
    ]
    assert tiling.nij_index(shape).tolist() == expected
    assert max(map(max, expected)) < shape.n_nij


def test_nij_index_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        tiling.nij_index(ConvShape(1, 4, 4, 1, 3, 3))[0, 0] = 1


@settings(max_examples=30)
@given(shapes, tile_sizes, tile_sizes)
def test_ws_tiles_hold_every_operand_once_and_zeros_elsewhere(shape, rows, cols):
    weight, activation = operands(shape)
    tiles = tiling.activation_tiles(activation, shape, rows)
    padded = np.pad(activation, ((0, 0), (shape.padding,) * 2, (shape.padding,) * 2)).reshape(shape.ic, -1)
    assert tiles.dtype == np.int32 and tiles.shape == (-(-shape.ic // rows), rows, shape.n_nij)
    for ic_tile, row in itertools.product(range(tiles.shape[0]), range(rows)):
        ic = ic_tile * rows + row
        assert (tiles[ic_tile, row] == (padded[ic] if ic < shape.ic else 0)).all()

    weights = tiling.weight_tiles(weight, rows, cols)
    assert weights.dtype == np.int32
    assert weights.shape == (-(-shape.ic // rows), -(-shape.oc // cols), shape.n_kij, rows, cols)
    for ic_tile, oc_tile, kij, row, col in np.ndindex(weights.shape):
        ic, oc = ic_tile * rows + row, oc_tile * cols + col
        held = weight[oc, ic, kij // shape.kw, kij % shape.kw] if ic < shape.ic and oc < shape.oc else 0
        assert weights[ic_tile, oc_tile, kij, row, col] == held

    assert (tiling.activation_from_tiles(tiles, shape) == activation).all()
    assert (tiling.weight_from_tiles(weights, shape) == weight).all()


@settings(max_examples=30)
@given(shapes, tile_sizes, tile_sizes)
def test_os_tiles_equal_slow_loops(shape, rows, cols):
    weight, activation = operands(shape)
    padded = np.pad(activation, ((0, 0), (shape.padding,) * 2, (shape.padding,) * 2))
    tiles = tiling.os_activation_tiles(activation, shape, rows)
    assert tiles.dtype == np.int32
    assert tiles.shape == (-(-shape.n_o_nij // rows), shape.ic * shape.n_kij, rows)
    for o_tile, k, row in np.ndindex(tiles.shape):
        o_nij, (ic, kij) = o_tile * rows + row, divmod(k, shape.n_kij)
        value = 0
        if o_nij < shape.n_o_nij:
            (oi, oj), (ki, kj) = divmod(o_nij, shape.ow), divmod(kij, shape.kw)
            value = padded[ic, oi * shape.stride + ki, oj * shape.stride + kj]
        assert tiles[o_tile, k, row] == value

    weights = tiling.os_weight_tiles(weight, cols)
    assert weights.dtype == np.int32 and weights.shape == (-(-shape.oc // cols), shape.ic * shape.n_kij, cols)
    flat = weight.reshape(shape.oc, -1)
    for oc_tile, k, col in np.ndindex(weights.shape):
        oc = oc_tile * cols + col
        assert weights[oc_tile, k, col] == (flat[oc, k] if oc < shape.oc else 0)


@settings(max_examples=30)
@given(shapes, tile_sizes, st.integers(1, 3))
def test_os_channel_groups_equal_slow_loops(shape, rows, channels):
    _, activation = operands(shape)
    tiles = tiling.os_activation_tiles(activation, shape, rows)
    grouped = tiling.os_channel_groups(tiles, shape.n_kij, channels)
    groups = -(-shape.ic // channels)
    assert grouped.dtype == np.int32 and grouped.shape == (len(tiles), groups * shape.n_kij, rows, channels)
    for tile, step, row, channel in np.ndindex(grouped.shape):
        group, kij = divmod(step, shape.n_kij)
        ic = group * channels + channel
        value = tiles[tile, ic * shape.n_kij + kij, row] if ic < shape.ic else 0
        assert grouped[tile, step, row, channel] == value


def test_os_time_steps_of_seed_002():
    """The seed prints, for tap (j, i), position 7-o_nij + i + (W+2)*j at word o_nij: row r reads r + i + (W+2)*j."""
    shape = ConvShape(ic=3, ih=32, iw=32, oc=64, kh=3, kw=3, padding=1)
    _, activation = operands(shape)
    padded = tiling.pad(activation, 1).reshape(3, -1)
    tile = tiling.os_activation_tiles(activation, shape, 8)[0].reshape(3, 9, 8)
    for ic, j, i, row in itertools.product(range(3), range(3), range(3), range(8)):
        assert tile[ic, 3 * j + i, row] == padded[ic, row + i + 34 * j]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ic": 0}, "ic = 0: must be at least 1"),
        ({"stride": 0}, "stride = 0: must be at least 1"),
        ({"padding": -1}, "padding = -1: must be at least 0"),
        ({"kh": 5}, "the 5x3 kernel does not fit the padded map of 4x4"),
    ],
)
def test_impossible_shapes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ConvShape(**({"ic": 8, "ih": 4, "iw": 4, "oc": 8, "kh": 3, "kw": 3} | changes))


@pytest.mark.parametrize(
    ("weight", "activation", "message"),
    [
        ((8, 3, 3, 3), (8, 4, 4), "weight takes 3 channels, activation has 8"),
        ((8, 8, 9), (8, 4, 4), r"weight must be \[OC, IC, KH, KW\], not of shape \[8, 8, 9\]"),
        ((8, 8, 3, 3), (1, 8, 4, 4), r"activation must be \[IC, H, W\], not of shape \[1, 8, 4, 4\]"),
    ],
)
def test_operands_that_do_not_belong_together_are_refused(weight, activation, message):
    with pytest.raises(ValueError, match=message):
        ConvShape.of(np.zeros(weight, np.int32), np.zeros(activation, np.int32), 1, 1)
