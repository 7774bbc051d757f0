"""Quantisers against values worked out by hand, and their integer ranges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quant.layers import SMALL_MAP, QuantConv2d
from quant.quantizers import (
    WeightQuantizer,
    activation_range,
    activation_to_int,
    check_bits,
    count_clipped,
    quantise_activation,
    weight_levels,
)

BITS = range(2, 9)


def quantised_with_gradients(x: list[float], alpha: float, bits: int, signed: bool, grad: list[float]):
    inputs = torch.tensor(x, requires_grad=True)
    level = torch.tensor(alpha, requires_grad=True)
    output = quantise_activation(inputs, level, bits, signed)
    output.backward(torch.tensor(grad))
    return output.tolist(), inputs.grad.tolist(), level.grad.item()


def test_unsigned_activation_by_hand():
    # 2 bits, alpha 3: levels 0 1 2 3, one step is 1.0.
    output, grad_x, grad_alpha = quantised_with_gradients(
        [-0.4, 0.4, 0.6, 2.6, 3.0, 3.2, 9.0], 3.0, 2, False, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    )
    assert output == pytest.approx([0, 0, 1, 3, 3, 3, 3])
    assert grad_x == [0, 2, 3, 4, 5, 0, 0]  # zero below 0 and above alpha, unscaled between
    assert grad_alpha == pytest.approx(6 + 7)  # clipped from above only


def test_signed_activation_by_hand():
    # 4 bits, alpha 15: one step is 1.0, range -8..7.
    output, grad_x, grad_alpha = quantised_with_gradients(
        [-20.0, -8.0, -0.6, 0.4, 7.0, 7.3, 30.0], 15.0, 4, True, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    )
    assert output == pytest.approx([-8, -8, -1, 0, 7, 7, 7])
    assert grad_x == [0, 2, 3, 4, 5, 0, 0]
    assert grad_alpha == pytest.approx(1 * -8 / 15 + (6 + 7) * 7 / 15)


def test_signed_alpha_gradient_is_the_slope_of_the_output():
    x = torch.tensor([-30.0, 30.0])
    low, high = (quantise_activation(x, torch.tensor(alpha), 4, True).sum() for alpha in (10.0, 11.0))
    _, _, grad_alpha = quantised_with_gradients(x.tolist(), 10.0, 4, True, [1.0, 1.0])
    assert grad_alpha == pytest.approx((high - low).item(), abs=1e-5)


def test_weight_by_hand():
    # Mean 0, unbiased deviation sqrt(20/3); 2 bits: levels -1 0 1 times alpha.
    weight = torch.tensor([-3.0, -1.0, 1.0, 3.0], requires_grad=True)
    quantiser = WeightQuantizer(2)
    quantiser.wgt_alpha.data.fill_(0.5)
    output = quantiser(weight)
    output.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    deviation = (20 / 3) ** 0.5  # normalised: -+1.16 (clipped at 0.5), -+0.387 (0.77 of alpha)
    assert output.tolist() == pytest.approx([-0.5, -0.5, 0.5, 0.5])
    assert weight.grad.tolist() == pytest.approx([0, 10 / deviation, 100 / deviation, 0])
    assert quantiser.wgt_alpha.grad.item() == pytest.approx(-1 + 1000)


def test_weight_mean_is_removed_without_gradient_through_it():
    weight = torch.tensor([10.0, 11.0, 12.0, 13.0], requires_grad=True)
    output = WeightQuantizer(8)(weight)
    assert output.sum().item() == pytest.approx(0, abs=1e-5)
    output.sum().backward()
    # Differentiating through mean and deviation would give 0 here.
    assert weight.grad.tolist() == pytest.approx([1 / weight.detach().std().item()] * 4)


@pytest.mark.parametrize("bits", BITS)
def test_weight_levels(bits):
    torch.manual_seed(bits)
    layer = QuantConv2d(32, 64, 3, w_bits=bits)
    layer.weight_quant.wgt_alpha.data.fill_(1.0)
    integers = layer.to_int()
    top = weight_levels(bits)
    assert integers.dtype == torch.int32
    assert set(integers.unique().tolist()) <= set(range(-top, top + 1))
    assert {-top, 0, top} <= set(integers.unique().tolist())
    layer.refresh_weight_q()
    torch.testing.assert_close(integers * layer.w_delta, layer.weight_q, rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    bits=st.integers(2, 8),
    signed=st.booleans(),
    alpha=st.floats(0.01, 100),
    x=st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=30),
)
def test_activation_integers_are_in_range_and_recover(bits, signed, alpha, x):
    x, alpha = torch.tensor(x), torch.tensor(alpha)
    integers = activation_to_int(x, alpha, bits, signed)
    low, high = activation_range(bits, signed)
    assert low <= integers.min() and integers.max() <= high
    step = alpha / (2**bits - 1)
    torch.testing.assert_close(quantise_activation(x, alpha, bits, signed), integers * step, rtol=1e-5, atol=1e-6)
    inside = (x >= low * step) & (x <= high * step)
    assert ((integers * step - x).abs()[inside] <= step / 2 * 1.001 + 1e-6).all()
    assert count_clipped(x, alpha, bits, signed) <= len(x)


def test_count_clipped():
    x = torch.tensor([-1.0, 0.0, 7.9, 8.0, 8.1])
    assert count_clipped(x, torch.tensor(8.0), 4) == 2  # -1 and 8.1
    assert count_clipped(x, torch.tensor(8.0), 4, signed=True) == 3  # the signed limit is 7/15 * 8 = 3.73


@pytest.mark.parametrize("bits", [1, 9, 4.0, True, None, "4"])
def test_bits_out_of_range_are_quoted(bits):
    with pytest.raises(ValueError, match=f"2 to 8, got {bits!r}"):
        check_bits(bits, "w_bits")


@pytest.mark.parametrize("option", ["w_bits", "a_bits"])
def test_layer_checks_bits(option):
    with pytest.raises(ValueError, match=f"{option}.*got 9"):
        QuantConv2d(8, 8, 3, **{option: 9})


def test_layer_state_dict_has_the_courses_names_and_values():
    state = QuantConv2d(4, 8, 3).state_dict()
    assert set(state) == {"weight", "weight_q", "act_alpha", "weight_quant.wgt_alpha"}
    assert state["weight_q"].shape == state["weight"].shape == (8, 4, 3, 3)
    assert state["act_alpha"].shape == () and state["act_alpha"] == 8.0
    assert state["weight_quant.wgt_alpha"].shape == () and state["weight_quant.wgt_alpha"] == 3.0


def test_weight_q_is_refreshed_by_forward_and_never_trained():
    layer = QuantConv2d(4, 8, 3)
    assert "weight_q" not in dict(layer.named_parameters())
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))
    stale = layer.weight_q.clone()
    layer(torch.rand(1, 4, 5, 5)).sum().backward()
    assert not torch.equal(stale, layer.weight_q)
    torch.testing.assert_close(layer.weight_q, layer.to_int() * layer.w_delta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("w_bits, a_bits", [(4, 4), (4, 2), (2, 2), (8, 8), (3, 5)])
def test_forward_is_the_integer_convolution(w_bits, a_bits, signed):
    torch.manual_seed(1)
    layer = QuantConv2d(5, 7, 3, stride=2, padding=1, w_bits=w_bits, a_bits=a_bits, signed_act=signed)
    layer.act_alpha.data.fill_(2.5)
    x = torch.randn(2, 5, 9, 9)
    psum = torch.nn.functional.conv2d(layer.input_to_int(x).double(), layer.to_int().double(), stride=2, padding=1)
    torch.testing.assert_close(layer(x).double(), psum * layer.w_delta * layer.x_delta, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_integers_from_numbers_that_are_not_finite(value):
    layer = QuantConv2d(4, 8, 3)
    x = torch.rand(4, 5, 5)
    x[0, 0, 0] = value
    with pytest.raises(ValueError, match=str(value)):
        layer.input_to_int(x)
    layer.weight.data[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match="must be finite"):
        layer.to_int()


def test_no_integers_without_spread_or_scale():
    layer = QuantConv2d(4, 8, 3)
    layer.act_alpha.data.fill_(-1.0)
    with pytest.raises(ValueError, match=r"act_alpha must be greater than 0.*-1.0"):
        layer.input_to_int(torch.rand(4, 5, 5))
    layer.weight.data.fill_(1.0)
    with pytest.raises(ValueError, match="not all equal"):
        layer.to_int()
    with pytest.raises(ValueError, match="at least 2"):
        QuantConv2d(1, 1, 1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2), (3, 4), (SMALL_MAP, SMALL_MAP), (SMALL_MAP + 1, 2)])
def test_small_maps_as_product_give_the_convolution(size, bias):
    layer = QuantConv2d(6, 5, 3, padding=1, bias=bias)
    layer.floating = True
    x = torch.randn(3, 6, *size, requires_grad=True)
    aim = torch.randn(3, 5, *size)
    found = []
    for layer.small_maps_as_product in (False, True):
        layer.zero_grad()
        out = layer(x)
        [slope] = torch.autograd.grad((out * aim).sum(), x, retain_graph=True)
        (out * aim).sum().backward(inputs=list(layer.parameters())[: 1 + bias])
        found.append([out.detach(), slope, layer.weight.grad.clone(), *([layer.bias.grad.clone()] if bias else [])])
    for plain, product in zip(*found, strict=True):
        torch.testing.assert_close(product, plain)


@pytest.mark.parametrize("options", [{"stride": 2, "padding": 1}, {}, {"padding": 2}, {"padding": 1, "groups": 2}])
def test_other_convolutions_are_no_products(options, monkeypatch):
    monkeypatch.setattr("quant.layers._same_by_product", None)
    layer = QuantConv2d(4, 4, 3, **options)
    layer.small_maps_as_product = True
    layer(torch.randn(2, 4, 4, 4))
    layer = QuantConv2d(4, 4, 3, padding=1).eval()  # what is tested is computed as ever
    layer.small_maps_as_product = True
    layer(torch.randn(2, 4, 4, 4))
