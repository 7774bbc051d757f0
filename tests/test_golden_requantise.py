"""Requantisation: the formula against unbounded Python integers, its widths, max pooling, and how well ``fit`` fits."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from golden_model.requantise import (
    ACC_BITS,
    MULT_BITS,
    OFFSET_BITS,
    Requantisation,
    accumulator_bits,
    fit,
    max_pool,
    requantise,
)


def reference(psum, multiplier, offset, shift, bits):
    """One output, in Python's integers of any size: a division that rounds down in place of the shift."""
    rounding = 2 ** (shift - 1) if shift > 0 else 0
    return min(max((psum * multiplier + offset + rounding) // 2**shift, 0), 2**bits - 1)


def reference_map(psum, multiplier, offset, shift, bits):
    return [
        [[reference(int(p), int(m), int(b), shift, bits) for p in row] for row in plane]
        for plane, m, b in zip(psum, multiplier, offset, strict=True)
    ]


def extremes(bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return st.one_of(st.integers(low, high), st.sampled_from([low, low + 1, -1, 0, 1, high - 1, high]))


@st.composite
def cases(draw):
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = channels * height * width
    # 32-bit psums are the widest whose sums always fit ACC_BITS.
    psum = draw(st.lists(extremes(draw(st.sampled_from([5, 16, 24, 32]))), min_size=size, max_size=size))
    multiplier = draw(st.lists(extremes(MULT_BITS), min_size=channels, max_size=channels))
    offset = draw(st.lists(extremes(OFFSET_BITS), min_size=channels, max_size=channels))
    shift, bits = draw(st.integers(0, 31)), draw(st.integers(1, 8))
    return np.array(psum).reshape(channels, height, width), np.array(multiplier), np.array(offset), shift, bits


@settings(deadline=None)
@given(cases())
def test_formula_is_that_of_unbounded_integers(case):
    got = requantise(*case)
    assert got.dtype == np.int32
    assert got.tolist() == reference_map(*case)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shift", [0, 1, 15, 20, 31])
def test_formula_where_it_neither_saturates_nor_is_zero(shift, bits):
    """Random psums and M with B such that the outputs lie within the range, a step beyond it on both sides included."""
    generator = np.random.default_rng(shift * 10 + bits)
    multiplier = generator.integers(-(2**15), 2**15, 16)
    psum = generator.integers(-(2**23), 2**23, (16, 8, 8))
    room = max(1, 2 ** (shift + bits) // np.abs(multiplier).max())
    psum[:, ::2] %= min(room, 2**23)
    wanted = generator.integers(-(2**shift), 2 ** (shift + bits) + 2**shift, 16)
    offset = np.clip(wanted - multiplier * psum[:, 0, 0], -(2**39), 2**39 - 1)
    got = requantise(psum, multiplier, offset, shift, bits)
    assert got.tolist() == reference_map(psum, multiplier, offset, shift, bits)
    if shift >= 15:
        assert set(np.unique(got)) == set(range(2**bits))


def one(psum, multiplier, offset, shift, bits=4):
    return requantise(np.array([[[psum]]]), np.array([multiplier]), np.array([offset]), shift, bits).item()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((100, 20, 8, 8), 8),  # the docstring's: 7.84
        ((7, 1, 0, 0), 7),  # S = 0 rounds nothing
        ((7, 1, 0, 1), 4),  # 3.5: half up
        ((6, 1, 0, 1), 3),
        ((-1, 1, 0, 1), 0),  # -0.5: half up
        ((-3, -5, 0, 0), 15),
        ((-3, -5, 1, 0), 15),  # saturates above
        ((3, -5, 0, 0), 0),  # and below
        ((3, -5, 17, 0), 2),
        ((2**23 - 1, -(2**15), -(2**39), 0), 0),
        ((-(2**23), -(2**15), 2**39 - 1, 31), 15),
        ((-(2**23), -(2**15), -(2**38) + 2**34, 31), 8),  # the extreme product, brought back into range
    ],
)
def test_values_worked_by_hand(values, expected):
    assert one(*values) == expected


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint64, np.int64])
def test_narrow_and_unsigned_dtypes_do_not_wrap(dtype):
    psum = np.array([[[127, 100]]], dtype)
    assert requantise(psum, np.array([-30000], np.int16), np.array([3_900_000], np.int32), 16, 4).tolist() == [
        [[1, 14]]
    ]


def test_all_shifts_of_a_value():
    for shift in range(32):
        assert one(-(2**20), -(2**14), -5, shift, 8) == reference(-(2**20), -(2**14), -5, shift, 8)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"psum": np.zeros((2, 1, 1))}, TypeError, "psum must be integers, not float64"),
        ({"psum": np.zeros((3, 1, 1), int)}, ValueError, r"psum must be \[2, OH, OW\], not of shape \[3, 1, 1\]"),
        ({"psum": np.zeros((2, 1), int)}, ValueError, r"psum must be \[2, OH, OW\], not of shape \[2, 1\]"),
        (
            {"psum": np.array([[[0, 0]], [[0, 2**47]]])},
            ValueError,
            r"psum\[1, 0, 1\] is 140737488355328, but ACC_BITS = 48 holds",
        ),
        (
            {"psum": np.array([[[-(2**63)]], [[0]]])},
            ValueError,
            r"psum\[0, 0, 0\] is -9223372036854775808, but ACC_BITS",
        ),
        ({"psum": np.array([[[2**64 - 1]], [[0]]], np.uint64)}, ValueError, r"psum\[0, 0, 0\] is 18446744073709551615"),
        (
            {"psum": np.array([[[0]], [[2**33]]]), "multiplier": np.array([1, 2**15 - 1])},
            ValueError,
            r"psum \* multiplier \+ offset \+ rounding, \[1, 0, 0\] is 281466386776\d+, but ACC_BITS = 48",
        ),
        (
            {"multiplier": np.array([0, 2**15])},
            ValueError,
            r"multiplier\[1\] is 32768, but MULT_BITS = 16 holds -32768",
        ),
        ({"multiplier": np.array([-(2**15) - 1, 0])}, ValueError, r"multiplier\[0\] is -32769, but MULT_BITS"),
        ({"multiplier": np.array([1.0, 2.0])}, TypeError, "multiplier must be integers, not float64"),
        ({"multiplier": np.array([1])}, ValueError, "multiplier has 1 channels, offset has 2"),
        ({"multiplier": np.zeros((2, 1), int)}, ValueError, r"multiplier must be \[OC\], not of shape \[2, 1\]"),
        ({"multiplier": np.zeros(0, int)}, ValueError, r"multiplier must be \[OC\], not of shape \[0\]"),
        ({"offset": np.array([0, 2**39])}, ValueError, r"offset\[1\] is 549755813888, but OFFSET_BITS = 40"),
        ({"offset": np.array([-(2**39) - 1, 0])}, ValueError, r"offset\[0\] is -549755813889, but OFFSET_BITS = 40"),
        ({"shift": -1}, ValueError, r"shift must be 0\.\.31, is -1"),
        ({"shift": 32}, ValueError, r"shift must be 0\.\.31, is 32"),
        ({"shift": 3.0}, TypeError, r"shift must be an integer, not 3\.0"),
        ({"bits": 0}, ValueError, r"bits must be 1\.\.8, is 0"),
        ({"bits": 9}, ValueError, r"bits must be 1\.\.8, is 9"),
        ({"bits": True}, TypeError, "bits must be an integer, not True"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, error, message):
    values = {
        "psum": np.zeros((2, 1, 1), int),
        "multiplier": np.array([1, 2]),
        "offset": np.array([3, 4]),
        "shift": 5,
        "bits": 4,
    }
    requantise(**values)
    with pytest.raises(error, match=message):
        requantise(**values | changes)


def test_the_widest_values_are_accepted():
    limits = Requantisation([-(2**15), 2**15 - 1], [-(2**39), 2**39 - 1], np.int64(31), 8)
    assert limits.channels == 2 and limits.multiplier.dtype == limits.offset.dtype == np.int64
    assert limits(np.array([[[-(2**31)]], [[2**31 - 1]]])).tolist() == [[[255]], [[255]]]


@pytest.mark.parametrize("psum_bits", [2, 16, 20, 24, 25, 26, 32, 33])
def test_accumulator_bits_are_enough_and_not_too_many(psum_bits):
    psums = -(1 << (psum_bits - 1)), (1 << (psum_bits - 1)) - 1
    products = [p * m for p in psums for m in (-(2**15), 2**15 - 1)]
    sums = [p + b + r for p in products for b in (-(2**39), 2**39 - 1) for r in (0, 2**30)]
    bits = accumulator_bits(psum_bits)

    def held(width):
        return -(1 << (width - 1)) <= min(sums) and max(sums) < 1 << (width - 1)

    assert held(bits) and not held(bits - 1)
    assert held(ACC_BITS) == (psum_bits <= 32)


def test_psums_of_24_bits_need_41():
    assert accumulator_bits(24) == 41


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 8, 6), (2, 5, 4), (2, 4, 7), (1, 3, 3)])
def test_max_pool_is_torchs(shape):
    values = np.random.default_rng(0).integers(-50, 50, shape)
    expected = F.max_pool2d(torch.from_numpy(values).double(), 2, 2).numpy()
    got = max_pool(values.astype(np.int32))
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.int32


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 4), (1, 4, 1), (1, 2, 2, 2)])
def test_max_pool_refuses_what_has_no_window(shape):
    with pytest.raises(ValueError, match=r"values must be \[OC, H, W\] with maps of at least 2x2"):
        max_pool(np.zeros(shape, int))


@settings(deadline=None)
@given(cases())
def test_pooling_and_requantising_commute_where_no_channel_is_negative(case):
    psum, multiplier, offset, shift, bits = case
    multiplier = np.abs(np.maximum(multiplier, -(2**15) + 1))
    psum = np.pad(psum, ((0, 0), (0, 1), (0, 1)), mode="edge")
    after = max_pool(requantise(psum, multiplier, offset, shift, bits))
    np.testing.assert_array_equal(after, requantise(max_pool(psum), multiplier, offset, shift, bits))


def exact_steps(psum, scale, offset, step):
    """The value to be rounded, without any rounding of its own."""
    return (psum * Fraction(scale) + Fraction(offset)) / Fraction(step)


def check_fit(psum, scale, offset, step, bits, mult_bits=MULT_BITS):
    """The contract of ``fit``; returns how many outputs differ from the exact ones."""
    found = fit(scale, offset, step, bits, mult_bits)
    got = found(psum)
    different = 0
    for oc, plane in enumerate(psum):
        for position, value in np.ndenumerate(plane):
            value = int(value)
            exact = exact_steps(value, scale[oc], offset[oc], step)
            rounded = min(max(floor(exact + Fraction(1, 2)), 0), 2**bits - 1)
            # float64 rounds scale / step and offset / step: up to 2^-14 of an integer at the widest B.
            distance = (Fraction(abs(value) + 1, 2) * (1 + Fraction(1, 2**30)) + Fraction(1, 2**10)) / 2**found.shift
            if got[oc][position] != rounded:
                different += 1
                if distance < 1:
                    assert abs(int(got[oc][position]) - rounded) == 1
                beyond = (exact + Fraction(1, 2)) % 1
                assert min(beyond, 1 - beyond) <= distance, (value, scale[oc], offset[oc], step, float(exact))
    return different


floats = st.floats(-(2.0**6), 2.0**6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(floats, floats), min_size=1, max_size=4),
    st.floats(2.0**-8, 2.0**8),
    st.integers(1, 8),
    st.integers(2, MULT_BITS),
    st.integers(5, 24),
    st.integers(0, 2**32 - 1),
)
@example([(0.0, 0.0)], 1.0, 4, 16, 24, 0)
@example([(0.0, 3.0), (1e-9, 0.0)], 1.0, 4, 16, 24, 0)
def test_fit_is_exact_but_near_rounding_boundaries(channels, step, bits, mult_bits, psum_bits, seed):
    scale, offset = (np.array(values) for values in zip(*channels, strict=True))
    assume(np.abs(scale).max() / step < 2 ** (mult_bits - 1) - 1)  # else refused: a test of its own
    limit = 1 << (psum_bits - 1)
    psum = np.random.default_rng(seed).integers(-limit, limit, (len(channels), 2, 4))
    check_fit(psum, scale, offset, step, bits, mult_bits)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_fit_on_layers_like_those_of_a_network(bits):
    """Scales of both signs an order of magnitude apart, psums that spread over the whole output range."""
    generator = np.random.default_rng(bits)
    different = total = 0
    for _ in range(10):
        step = generator.uniform(0.1, 1)
        scale = step * 2.0 ** generator.uniform(-7, -4, 8) * generator.choice([-1, 1], 8)
        offset = step * generator.normal(0, 3, 8)
        psum = np.rint(generator.normal(0, 2**bits, (8, 8, 8)) * (step / np.abs(scale))[:, None, None]).astype(int)
        different += check_fit(psum, scale, offset, step, bits)
        total += psum.size
    assert different <= total * 2e-3


def test_fit_takes_the_largest_shift():
    found = fit(np.array([0.01, -0.002, 0.0]), np.array([1.5, -1.5, 0.0]), 0.1, 4)
    assert (found.shift, found.bits) == (18, 4)
    assert found.multiplier.tolist() == [26214, -5243, 0]
    assert found.offset.tolist() == [3932160, -3932160, 0]
    assert fit(np.array([0.01]), np.array([1.5]), 0.1, 4, mult_bits=8).multiplier.tolist() == [102]
    assert fit(np.zeros(1), np.zeros(1), 1.0, 4).shift == 31


def test_fit_reaches_both_ends_of_the_multiplier():
    assert fit(np.array([-0.5]), np.zeros(1), 1.0, 4).multiplier.tolist() == [-(2**15)]
    assert fit(np.array([0.5]), np.zeros(1), 1.0, 4).multiplier.tolist() == [2**14]
    assert fit(np.array([32767.0]), np.zeros(1), 1.0, 4).multiplier.tolist() == [32767]


def test_a_large_offset_lowers_the_shift():
    found = fit(np.array([2.0**-17]), np.array([2.0**10]), 1.0, 4)
    assert (found.shift, found.offset.tolist(), found.multiplier.tolist()) == (28, [2**38], [2**11])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 4e4], [0, 0], 1.0, 4), r"scale\[1\] = 40000 is 40000 steps of 1, which 16 bits do not hold"),
        (([1.0, 600.0], [0, 0], 1.0, 4, 8), r"scale\[1\] = 600 is 600 steps of 1, which 8 bits do not hold"),
        (([1.0], [-6e11], 1.0, 4), r"offset\[0\] = -6e\+11 is .* which 40 bits do not hold"),
        (([1.0, np.nan], [0, 0], 1.0, 4), r"scale\[1\] = nan"),
        (([1.0], [np.inf], 1.0, 4), r"offset\[0\] = inf"),
        (([1e300], [0], 1e-300, 4), r"scale\[0\] = 1e\+300 is inf steps"),
        (([1.0], [0], 0.0, 4), r"step must be finite and above 0, is 0\.0"),
        (([1.0], [0], -1.0, 4), "step must be finite and above 0"),
        (([1.0], [0], np.nan, 4), "step must be finite and above 0"),
        (([1.0], [0, 1], 1.0, 4), r"scale and offset must be \[OC\] alike, not \[1\] and \[2\]"),
        (([], [], 1.0, 4), r"must be \[OC\] alike, not \[0\] and \[0\]"),
        (([1.0], [0], 1.0, 9), r"bits must be 1\.\.8, is 9"),
        (([1.0], [0], 1.0, 4, 17), r"mult_bits must be 2\.\.16, is 17"),
        (([1.0], [0], 1.0, 4, 1), r"mult_bits must be 2\.\.16, is 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, message):
    scale, offset, *rest = arguments
    with pytest.raises(ValueError, match=message):
        fit(np.array(scale, float), np.array(offset, float), *rest)
