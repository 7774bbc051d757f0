"""SFP: residual, ReLU, and the range that PSUM_BITS must hold, transient sums included."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import psum, sfp, tiling
from golden_model.tiling import ConvShape


@pytest.mark.parametrize(
    ("values", "bits"),
    [([0], 1), ([-1], 1), ([1], 2), ([127], 8), ([128], 9), ([-128], 8), ([-129], 9), ([-5, 300], 10), ([483840], 20)],
)
def test_required_psum_bits(values, bits):
    assert sfp.required_psum_bits(np.array(values)) == bits


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.integers(2, 45))
def test_range_check_agrees_with_required_bits(values, bits):
    if sfp.required_psum_bits(values) <= bits:
        sfp.check_psum_range(np.array(values), bits, "psum")
    else:
        with pytest.raises(sfp.PsumOverflow):
            sfp.check_psum_range(np.array(values), bits, "psum")


def test_overflow_names_what_where_value_and_sufficient_bits():
    values = np.zeros((2, 3), np.int64)
    values[1, 2] = 70_000
    with pytest.raises(sfp.PsumOverflow) as caught:
        sfp.check_psum_range(values, 16, "answer")
    assert str(caught.value) == (
        "answer[1, 2] is 70000, but PSUM_BITS = 16 holds -32768..32767; PSUM_BITS = 18 would suffice"
    )


def test_residual_and_relu():
    psums, residual = np.array([[[-60, 8]]]), np.array([[[49, 0]]])  # the first values of seed 000
    answer = sfp.add_residual(psums, residual)
    assert answer.tolist() == [[[-11, 8]]]
    assert sfp.relu(answer).tolist() == [[[0, 8]]]
    with pytest.raises(ValueError, match=r"residual must be \[1, 1, 2\] like the psums, not \[1, 2\]"):
        sfp.add_residual(psums, residual[0])


def tiles_of(weight, activation, shape, rows, cols):
    return tiling.activation_tiles(activation, shape, rows), tiling.weight_tiles(weight, rows, cols)


def running_values(weight, activation, shape, rows, dataflow, residual):
    """Slow reference: every value an accumulator (or a WS pass's psum) takes, in the core's order."""
    padded = np.pad(activation, ((0, 0), (shape.padding,) * 2, (shape.padding,) * 2)).tolist()
    weight = weight.tolist()
    values = [0] if dataflow == "os" else []
    for oc, oi, oj in itertools.product(range(shape.oc), range(shape.oh), range(shape.ow)):
        taps = list(itertools.product(range(shape.kh), range(shape.kw)))

        def product(ic, ki, kj, oc=oc, oi=oi, oj=oj):
            return weight[oc][ic][ki][kj] * padded[ic][oi * shape.stride + ki][oj * shape.stride + kj]

        start = 0 if residual is None else int(residual[oc, oi, oj])
        if dataflow == "ws":
            total = start
            if residual is not None:
                values.append(total)
            for first in range(0, shape.ic, rows):
                for ki, kj in taps:
                    one_pass = sum(product(ic, ki, kj) for ic in range(first, min(first + rows, shape.ic)))
                    total += one_pass
                    values += [one_pass, total]
        else:
            total = 0
            for ic, (ki, kj) in itertools.product(range(shape.ic), taps):
                total += product(ic, ki, kj)
                values.append(total)
            values.append(total + start)
    return values


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["ws", "os"]),
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_accumulation_range_equals_slow_loops(dataflow, ic, oc, size, k, stride, seed, with_residual):
    shape = ConvShape(ic, size, size, oc, k, k, stride, padding=1)
    generator = np.random.default_rng(seed)
    weight = generator.integers(-7, 8, (oc, ic, k, k), dtype=np.int32)
    activation = generator.integers(0, 16, (ic, size, size), dtype=np.int32)
    # Full tiles only: the zeros of unused rows and columns would be running sums of their own.
    residual = generator.integers(-300, 300, (oc, shape.oh, shape.ow)) if with_residual else None
    if dataflow == "ws":
        cube = psum.ws_psums(*tiles_of(weight, activation, shape, 3, oc))
        got = sfp.ws_accumulation_range(cube, shape, residual)
    else:
        activations = tiling.os_activation_tiles(activation, shape, shape.n_o_nij)
        got = sfp.os_accumulation_range(activations, tiling.os_weight_tiles(weight, oc), shape, residual)
    values = running_values(weight, activation, shape, 3, dataflow, residual)
    if dataflow == "os":
        values = values[1:]
    assert (got.lowest.value, got.highest.value) == (min(values), max(values))


def test_location_of_the_extremes():
    """Two tiles that cancel: +840 after the first, 0 after the second."""
    weight = np.full((3, 16, 1, 1), 1, np.int32)
    weight[2, :8], weight[2, 8:] = 7, -7
    activation = np.zeros((16, 2, 2), np.int32)
    activation[:, 1, 0] = 15
    shape = ConvShape.of(weight, activation)
    ws = sfp.ws_accumulation_range(psum.ws_psums(*tiles_of(weight, activation, shape, 8, 8)), shape)
    assert ws.highest == sfp.RunningSum(840, oc=2, o_nij=2, step="after ic_tile 0, kij 0")
    assert ws.lowest == sfp.RunningSum(-840, oc=2, o_nij=2, step="of the pass ic_tile 1, kij 0 alone")

    tiles = tiling.os_activation_tiles(activation, shape, 8), tiling.os_weight_tiles(weight, 8)
    os = sfp.os_accumulation_range(*tiles, shape)
    assert os.highest == sfp.RunningSum(840, oc=2, o_nij=2, step="after ic 7, kij 0")
    assert os.lowest.value == 0
    os = sfp.os_accumulation_range(*tiles, shape, residual=np.full((3, 2, 2), -9))
    assert os.lowest == sfp.RunningSum(-9, oc=0, o_nij=0, step="after the residual")


def test_check_of_a_range():
    found = sfp.AccumulationRange(sfp.RunningSum(-600, 1, 2, "after ic 3, kij 4"), sfp.RunningSum(200, 0, 0, "x"))
    found.check(11)
    with pytest.raises(sfp.PsumOverflow) as caught:
        found.check(10)
    assert str(caught.value) == (
        "the psum of oc 1, o_nij 2 after ic 3, kij 4 is -600, but PSUM_BITS = 10 holds -512..511; "
        "PSUM_BITS = 11 would suffice"
    )
