"""The golden model's psums against torch's convolution, which shares no code with it: exactly equal, any shape."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golden_model import psum, sfp, tiling
from golden_model.convolution import convolve
from golden_model.tiling import ConvShape


@dataclasses.dataclass(frozen=True)
class Case:
    """One random layer on one random array."""

    ic: int
    oc: int
    ih: int
    iw: int
    k: int
    stride: int
    padding: int
    rows: int = 8
    cols: int = 8
    seed: int = 0

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(self.seed)
        weight = generator.integers(-8, 8, (self.oc, self.ic, self.k, self.k), dtype=np.int32)
        return weight, generator.integers(-8, 16, (self.ic, self.ih, self.iw), dtype=np.int32)


sizes = st.integers(1, 34)
channels = st.integers(1, 70)
cases = st.builds(
    Case,
    ic=channels,
    oc=channels,
    ih=sizes,
    iw=sizes,
    k=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1]),
    rows=st.sampled_from([1, 3, 8, 16]),
    cols=st.sampled_from([1, 5, 8, 16]),
    seed=st.integers(0, 2**32 - 1),
).filter(lambda case: case.k <= min(case.ih, case.iw) + 2 * case.padding)


def torch_convolution(weight: np.ndarray, activation: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """float64 holds these integers exactly (below 2^53)."""
    out = torch.nn.functional.conv2d(
        torch.from_numpy(activation).double()[None], torch.from_numpy(weight).double(), stride=stride, padding=padding
    )
    return out[0].to(torch.int64).numpy()


def weight_stationary(weight, activation, shape: ConvShape, rows: int, cols: int) -> np.ndarray:
    cube = psum.ws_psums(tiling.activation_tiles(activation, shape, rows), tiling.weight_tiles(weight, rows, cols))
    assert cube.dtype == np.int32
    return sfp.accumulate(cube, shape)


def output_stationary(weight, activation, shape: ConvShape, rows: int, cols: int) -> np.ndarray:
    psums = psum.os_psums(tiling.os_activation_tiles(activation, shape, rows), tiling.os_weight_tiles(weight, cols))
    assert psums.dtype == np.int32
    return sfp.from_os(psums, shape)


@settings(max_examples=120, deadline=None)
@given(cases)
@example(Case(ic=70, oc=70, ih=34, iw=34, k=3, stride=1, padding=1))
@example(Case(ic=1, oc=1, ih=1, iw=1, k=1, stride=2, padding=0))
@example(Case(ic=1, oc=1, ih=1, iw=1, k=3, stride=1, padding=1))
@example(Case(ic=3, oc=64, ih=32, iw=32, k=3, stride=1, padding=1))
@example(Case(ic=9, oc=9, ih=1, iw=34, k=3, stride=2, padding=1, rows=3, cols=5))
def test_both_dataflows_and_the_direct_convolution_equal_torch(case):
    weight, activation = case.operands()
    expected = torch_convolution(weight, activation, case.stride, case.padding)
    shape = ConvShape.of(weight, activation, case.stride, case.padding)
    assert expected.shape == (shape.oc, shape.oh, shape.ow)
    for dataflow in (weight_stationary, output_stationary):
        got = dataflow(weight, activation, shape, case.rows, case.cols)
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, expected, err_msg=dataflow.__name__)
    np.testing.assert_array_equal(convolve(weight, activation, case.stride, case.padding), expected)


small = st.integers(3, 9)
small_cases = st.builds(
    Case, ic=small, oc=small, ih=small, iw=small, k=st.sampled_from([1, 3]), stride=st.just(1),
    padding=st.integers(0, 1), rows=st.integers(1, 9), cols=st.integers(1, 9), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(small_cases)
def test_every_entry_of_the_psum_cube_is_its_definition(case):
    weight, activation = case.operands()
    shape = ConvShape.of(weight, activation, case.stride, case.padding)
    activations = tiling.activation_tiles(activation, shape, case.rows)
    weights = tiling.weight_tiles(weight, case.rows, case.cols)
    expected = np.einsum("irn,iokrc->ioknc", activations.astype(np.int64), weights.astype(np.int64))
    np.testing.assert_array_equal(psum.ws_psums(activations, weights), expected)


@pytest.mark.parametrize("low", [-128, 127])
@pytest.mark.parametrize("high", [0, 255])
def test_extreme_values_of_8_bit_operands(low, high):
    """512 channels, 3x3: sums beyond 2^24, where float32 would no longer be exact."""
    weight, activation = np.full((2, 512, 3, 3), low, np.int32), np.full((512, 4, 3), high, np.int32)
    weight[0, 0, 0, 0] += 1  # an odd sum, which float32 cannot hold above 2^24
    expected = torch_convolution(weight, activation, 1, 1)
    shape = ConvShape.of(weight, activation, 1, 1)
    assert abs(expected).max() == 0 or abs(expected).max() > 1 << 24
    np.testing.assert_array_equal(weight_stationary(weight, activation, shape, 8, 8), expected)
    np.testing.assert_array_equal(output_stationary(weight, activation, shape, 8, 8), expected)
    np.testing.assert_array_equal(convolve(weight, activation, 1, 1), expected)


def test_accumulation_beyond_int32_does_not_wrap():
    """Psums near the int32 limit add up beyond it; they are summed in int64."""
    cube = np.full((3, 1, 1, 1, 1), 2**31 - 1, np.int32)
    assert sfp.accumulate(cube, ConvShape(3, 1, 1, 1, 1, 1)).item() == 3 * (2**31 - 1)


def test_psums_that_int32_might_not_hold_are_refused():
    weight, activation = np.full((1, 8, 1, 1), -(2**31), np.int32), np.ones((8, 1, 1), np.int32)
    with pytest.raises(ValueError, match="8 products of up to 1 \\* 2147483648 may reach 17179869184"):
        output_stationary(weight, activation, ConvShape.of(weight, activation), 8, 8)
