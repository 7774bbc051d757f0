"""One layer end to end in both dataflows, and every reason to refuse one."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import sfp
from golden_model.configuration import Dataflow, Precision, configuration, configurations
from golden_model.convolution import convolve
from golden_model.layer import golden_layer
from golden_model.operands import Operands

dataflows = pytest.mark.parametrize("dataflow", list(Dataflow), ids=lambda flow: flow.name)


def operands(configuration, ic=11, oc=13, size=5, signed=False, seed=0):
    generator = np.random.default_rng(seed)
    low, high = configuration.act_range(signed)
    limit = 1 << (configuration.wgt_bits - 1)
    weight = generator.integers(-limit, limit, (oc, ic, 3, 3), dtype=np.int32)
    return weight, generator.integers(low, high + 1, (ic, size, size), dtype=np.int32)


def run(weight, activation, dataflow, core, padding=1, **options):
    return golden_layer(Operands(weight, activation, padding=padding, **options), core, dataflow)


@dataflows
@pytest.mark.parametrize("core", configurations().values(), ids=configurations())
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_layer_with_residual_and_relu(core, dataflow, signed):
    weight, activation = operands(core, signed=signed)
    psums = convolve(weight, activation, 1, 1)
    residual = np.random.default_rng(1).integers(-500, 500, psums.shape, dtype=np.int32)
    got = run(weight, activation, dataflow, core, residual=residual, a_signed=signed)
    np.testing.assert_array_equal(got.accumulated, psums + residual)
    np.testing.assert_array_equal(got.output, np.maximum(psums + residual, 0))
    assert got.dataflow is dataflow and got.psums.dtype == np.int32
    plain = run(weight, activation, dataflow, core, relu=False, a_signed=signed)
    np.testing.assert_array_equal(plain.output, psums)


def test_shape_of_the_psums():
    core = configuration()
    weight, activation = operands(core)
    cube = run(weight, activation, Dataflow.weight_stationary, core).psums
    assert cube.shape == (2, 2, 9, 49, 8)  # ic_tile, oc_tile, kij, nij, col
    assert run(weight, activation, Dataflow.output_stationary, core).psums.shape == (2, 4, 8, 8)


@dataflows
def test_transient_overflow_is_found_though_the_result_fits(dataflow):
    core = dataclasses.replace(configuration(), psum_bits=11)
    weight = np.full((1, 32, 1, 1), 7, np.int32)
    weight[:, 16:] = -7
    activation = np.full((32, 2, 2), 15, np.int32)
    assert not convolve(weight, activation).any()
    with pytest.raises(sfp.PsumOverflow, match=r"oc 0, o_nij 0 after ic.* PSUM_BITS = 12 would suffice"):
        run(weight, activation, dataflow, core, padding=0)


@dataflows
def test_residual_can_overflow(dataflow):
    core = configuration()
    weight, activation = np.ones((1, 1, 1, 1), np.int32), np.ones((1, 1, 1), np.int32)
    for value, fits in ((2**15 - 2, True), (2**15 - 1, False)):
        residual = np.full((1, 1, 1), value, np.int32)
        layer = Operands(weight, activation, residual=residual)
        if fits:
            assert golden_layer(layer, core, dataflow).accumulated.item() == 2**15 - 1
        else:
            with pytest.raises(sfp.PsumOverflow, match=r"is 32768, but PSUM_BITS = 16.*PSUM_BITS = 17 would suffice"):
                golden_layer(layer, core, dataflow)


@dataflows
def test_residual_must_fit_itself(dataflow):
    """The core takes it as a word of PSUM_BITS, whatever the sum with it comes to."""
    weight, activation = np.full((1, 1, 1, 1), -1, np.int32), np.ones((1, 1, 1), np.int32)
    layer = Operands(weight, activation, residual=np.full((1, 1, 1), 2**15, np.int32))
    with pytest.raises(sfp.PsumOverflow, match=r"residual\[0, 0, 0\] is 32768.*PSUM_BITS = 17 would suffice"):
        golden_layer(layer, configuration(), dataflow)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(Dataflow), st.integers(11, 14), st.integers(0, 2**32 - 1))
def test_overflow_is_raised_exactly_when_a_running_sum_leaves_the_range(dataflow, psum_bits, seed):
    core = dataclasses.replace(configuration(), psum_bits=psum_bits)
    weight, activation = operands(core, ic=9, oc=3, size=2, seed=seed)
    wide = dataclasses.replace(core, psum_bits=40)
    layer = run(weight, activation, dataflow, wide)
    # The order of the core, written out: WS pass by pass, OS step by step.
    padded = np.pad(activation, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # [ic, oi, oj, ki, kj]
    products = np.einsum("cabij,ocij->oabcij", windows, weight).reshape(3, 2, 2, 9, 9)
    if dataflow is Dataflow.weight_stationary:
        passes = np.stack([products[..., :8, :].sum(axis=3), products[..., 8:, :].sum(axis=3)], axis=3)
        sums = np.concatenate([passes.reshape(12, 18), passes.reshape(12, 18).cumsum(axis=1)])
    else:
        sums = products.reshape(12, 81).cumsum(axis=1)
    if sfp.required_psum_bits(sums) > psum_bits:
        with pytest.raises(sfp.PsumOverflow):
            run(weight, activation, dataflow, core)
    else:
        np.testing.assert_array_equal(run(weight, activation, dataflow, core).accumulated, layer.accumulated)


@dataflows
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a2w4_layer_with_residual(dataflow, signed):
    """The sums of a2w4 are those of the plain convolution; the tiles have twice the channels."""
    core, generator = configuration(), np.random.default_rng(3)
    activation = generator.integers(0, 4, (19, 5, 5), dtype=np.int32) - 2 * signed
    weight = operands(core, ic=19)[0]
    residual = generator.integers(-500, 500, (13, 5, 5), dtype=np.int32)
    got = run(weight, activation, dataflow, core, residual=residual, a_signed=signed, precision=Precision.a2w4)
    np.testing.assert_array_equal(got.accumulated, convolve(weight, activation, 1, 1) + residual)
    if dataflow is Dataflow.weight_stationary:  # 19 channels are 2 tiles of 16
        assert got.psums.shape == (2, 2, 9, 49, 8)
        padded = np.pad(activation, ((0, 0), (1, 1), (1, 1)))
        expected = (padded[16:, 2, 3] * weight[5, 16:, 1, 0]).sum()
        assert got.psums[1, 0, 3, 2 * 7 + 3, 5] == expected
    else:
        full = run(weight, activation, dataflow, core, residual=residual, a_signed=signed)
        np.testing.assert_array_equal(got.psums, full.psums)


def test_a2w4_adds_two_channels_before_a_sum_exists():
    """49 channels of 21 leave 11 bits; where the 50th takes it back at once, only a4w4 has the sum between."""
    core, flow = dataclasses.replace(configuration(), psum_bits=11), Dataflow.output_stationary
    weight, activation = np.full((1, 50, 1, 1), 7, np.int32), np.full((50, 1, 1), 3, np.int32)
    weight[0, 49] = -7
    with pytest.raises(sfp.PsumOverflow, match="oc 0, o_nij 0 after ic 48, kij 0 is 1029"):
        run(weight, activation, flow, core, padding=0)
    assert run(weight, activation, flow, core, padding=0, precision=Precision.a2w4).accumulated.item() == 48 * 21
    weight[0, 49] = 7
    with pytest.raises(sfp.PsumOverflow, match="oc 0, o_nij 0 after ic 49, kij 0 is 1050"):
        run(weight, activation, flow, core, padding=0, precision=Precision.a2w4)


@dataflows
@pytest.mark.parametrize(("value", "signed", "held"), [(4, False, "0..3"), (-3, True, "-2..1")])
def test_a2w4_refuses_activations_beyond_two_bits(dataflow, value, signed, held):
    weight, activation = np.zeros((2, 3, 3, 3), np.int32), np.zeros((3, 4, 4), np.int32)
    activation[0, 1, 2] = value
    kind = "signed" if signed else "unsigned"
    message = re.escape(f"activation[0, 1, 2] is {value}: ACT_BITS = 4 / 2 in a2w4, {kind}, holds {held}")
    with pytest.raises(ValueError, match=message):
        run(weight, activation, dataflow, configuration(), a_signed=signed, precision=Precision.a2w4)


@dataflows
def test_a_512_channel_layer_needs_20_bits(dataflow):
    """The widest layer of VGG16: 9 * 512 * 15 * 7 = 483,840."""
    weight, activation = np.full((1, 512, 3, 3), 7, np.int32), np.full((512, 3, 3), 15, np.int32)
    with pytest.raises(sfp.PsumOverflow, match="PSUM_BITS = 20 would suffice"):
        run(weight, activation, dataflow, configuration("course_8x8"))
    assert run(weight, activation, dataflow, configuration("net_8x8")).output.max() == 483_840


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"activation": -1}, ValueError, r"activation\[0, 1, 2\] is -1: ACT_BITS = 4, unsigned, holds 0\.\.15"),
        ({"activation": 16}, ValueError, r"activation\[0, 1, 2\] is 16: ACT_BITS = 4, unsigned, holds 0\.\.15"),
        ({"activation": 8, "a_signed": True}, ValueError, r"is 8: ACT_BITS = 4, signed, holds -8\.\.7"),
        ({"weight": 8}, ValueError, r"weight\[0, 0, 1, 2\] is 8: WGT_BITS = 4 holds -8\.\.7"),
        ({"weight": -9}, ValueError, r"weight\[0, 0, 1, 2\] is -9: WGT_BITS = 4 holds -8\.\.7"),
        ({"residual": np.zeros((2, 4, 5), np.int32)}, ValueError, r"residual must be \[2, 4, 4\], not \[2, 4, 5\]"),
        ({"residual": np.zeros((2, 4, 4))}, TypeError, "residual must be integers, not float64"),
        ({"weight_dtype": np.float32}, TypeError, "weight must be integers, not float32"),
        ({"activation_dtype": np.float64}, TypeError, "activation must be integers, not float64"),
    ],
)
def test_operands_that_the_core_cannot_take_are_refused(change, error, message):
    weight, activation = np.zeros((2, 3, 3, 3), np.int32), np.zeros((3, 4, 4), np.int32)
    weight[0, 0, 1, 2] = change.pop("weight", 0)
    activation[0, 1, 2] = change.pop("activation", 0)
    weight = weight.astype(change.pop("weight_dtype", np.int32))
    activation = activation.astype(change.pop("activation_dtype", np.int32))
    with pytest.raises(error, match=message):
        run(weight, activation, Dataflow.weight_stationary, configuration(), **change)


@dataflows
def test_narrow_dtypes_do_not_wrap(dataflow):
    """|-128| does not fit an int8, nor the sum of a uint64 and an int64 an integer of numpy's."""
    core = dataclasses.replace(configuration(), act_bits=8, wgt_bits=8, psum_bits=24)
    weight, activation = np.full((1, 9, 3, 3), -128, np.int8), np.full((9, 4, 4), 255, np.uint8)
    residual = np.full((1, 4, 4), 7, np.uint64)
    got = run(weight, activation, dataflow, core, residual=residual)
    expected = convolve(weight.astype(np.int32), activation.astype(np.int32), 1, 1) + 7
    np.testing.assert_array_equal(got.accumulated, expected)
    assert got.accumulated.dtype == np.int64
