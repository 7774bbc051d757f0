"""Whole networks in integers: against an independent way to compute them, and against the fake-quantised network."""

import dataclasses

import numpy as np
import pytest
import torch

from golden_model.convolution import convolve
from golden_model.network.digits import digits, digits_needed
from golden_model.network.graph import ConvStep, ImageStep, IntegerNetwork, Output, ScoreStep
from golden_model.network.run import scores
from golden_model.requantise import Requantisation, WideRequantisation, max_pool
from quant import eval as evaluation
from quant.capture import capture, folded_norm
from quant.data import load_data
from quant.errors import LayerError
from quant.integer import integer_network, residual_of
from quant.layers import QuantConv2d
from quant.models import ModelSpec, shortcut_of
from quant.network import load_network

SHIPPED = [
    "vgg16_digits",
    "vgg16_w4a2_digits",
    "resnet20_digits",
    "resnet20_w4a4",
    "resnet20_w2a4",
    "vgg16_w4a2",
    "vgg16_w4a2_image4",
]


def images_of(network, count):
    data = load_data(network.samples)
    return torch.stack([data.test_image(i)[0] for i in range(count)])


def one_by_one(network, image):
    """The scores of one image [C, H, W], each step by the golden model of a layer alone."""
    tensors = {network.image.tensor: network.image(image[None])[0]}
    for step in network.convolutions:
        sums = convolve(step.weight, tensors[step.source], step.stride, step.padding)
        if step.residual is not None:
            sums = sums + tensors[step.residual]
        for output in step.outputs:
            values = output.requant(sums)
            tensors[output.tensor] = max_pool(values) if output.pool else values
    score = network.score
    total = tensors[score.source].astype(np.int64).sum(axis=(1, 2))
    return [
        int(sum(int(w) * int(t) for w, t in zip(row, total, strict=True)) + b)
        for row, b in zip(score.weight, score.bias, strict=True)
    ], tensors


@pytest.mark.parametrize("name", SHIPPED)
def test_many_images_at_once_are_each_alone(name):
    loaded = load_network(name)
    network, images = integer_network(loaded), images_of(loaded, 3)
    seen = {}
    together = scores(network, images.numpy(), lambda tensor, values: seen.setdefault(tensor, values.copy()))
    for index, image in enumerate(images.numpy()):
        alone, tensors = one_by_one(network, image)
        assert together[index].tolist() == alone
        for tensor, values in seen.items():
            assert np.array_equal(values[index], tensors[tensor]), tensor


@pytest.mark.parametrize("name", SHIPPED)
def test_each_layer_makes_the_activations_of_the_network(name):
    """Given the fake-quantised network's own input, a layer gives the next one's: but for what lies on the border
    between two integers, by one."""
    loaded = load_network(name)
    network, captured = integer_network(loaded), capture(loaded, None, 0)
    modules = dict(loaded.model.named_modules())
    compared = 0
    for step in network.convolutions:
        if step.name in captured:
            known = captured[step.name]
            sums = convolve(step.weight, known.operands.activation, step.stride, step.padding)
            if step.residual is not None:  # the captured one has the BatchNorm's shift in it
                _, shift = folded_norm(shortcut_of(modules, step.name).norm, len(sums))
                sums = (
                    sums + known.operands.residual - np.rint(shift.numpy() / known.out_scale)[:, None, None].astype(int)
                )
            limit = 0.01 if step.residual is None else 0.02
        else:  # the first convolution, which the network computes in float
            image = load_data(loaded.samples).test_image(0)[0].numpy()[None]
            sums, limit = convolve(step.weight, network.image(image)[0], step.stride, step.padding), 0.05
        for output in step.outputs:
            taker = output.tensor.removesuffix(".input")
            if taker in captured and output.tensor.endswith(".input"):
                values = output.requant(sums)
                mine = max_pool(values) if output.pool else values
                difference = np.abs(mine - captured[taker].operands.activation)
                assert difference.max() <= 1 and (difference != 0).mean() < limit, (step.name, taker)
                compared += difference.size
    assert compared == sum(layer.operands.activation.size for layer in captured.values()) - (
        0 if "resnet" in name else captured["features.0"].operands.activation.size
    )


def test_digits_are_classified_as_by_the_network():
    for name, limit in (("vgg16_digits", 1.0), ("vgg16_w4a2_digits", 1.0), ("resnet20_digits", 0.97)):
        loaded = load_network(name)
        images = images_of(loaded, 60)
        with torch.no_grad():
            theirs = loaded.model(images).argmax(1).numpy()
        mine = scores(integer_network(loaded), images.numpy()).argmax(1)
        assert (mine == theirs).mean() >= limit, name


KINDS = {
    "a shortcut around the chokepoint": ModelSpec("vgg16", width=0.125, skip_block=True),
    "the plain VGG16": ModelSpec("vgg16", width=0.125, squeeze=None),
    "Identity in the squeeze": ModelSpec("vgg16", width=0.125, squeeze=16, squeeze_identity=True, a_bits=2),
    "a quantised image": ModelSpec("resnet20", width=0.25, quantise_image=True),
    "no BatchNorm in the first block": ModelSpec("resnet20", width=0.25, first_stage=8),
    "weights of 2 bits": ModelSpec("resnet20", width=0.25, w_bits=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network(kind):
    """Random weights and BatchNorm of either sign: sums as float64 computes them from the same integers."""
    torch.manual_seed(1)
    spec = KINDS[kind]
    model = spec.build().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(-1.2, 1.2)
            module.bias.data.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, QuantConv2d):
            module.act_alpha.data.fill_(3.0)
    loaded = dataclasses.replace(load_network("vgg16_digits"), model=model, spec=spec)
    network = integer_network(loaded)
    images = images_of(loaded, 4)
    mine = scores(network, images.numpy())
    assert mine[0].tolist() == one_by_one(network, images[0].numpy())[0]
    with torch.no_grad():
        theirs = model(images).numpy()
    # The scale of the scores is the classifier's: compare after fitting it
    scale = (mine * theirs).sum() / (mine.astype(float) ** 2).sum()
    assert np.abs(mine * scale - theirs).mean() < 0.2 * np.abs(theirs - theirs.mean(1, keepdims=True)).mean() + 0.02


def test_multiplications_are_the_networks():
    network = integer_network(load_network("resnet20_w4a4"))
    names = [step.name for step in network.convolutions]
    assert names[0] == "conv1" and len(names) == 21 and network.convolutions[0].x_bits == 8
    assert names.index("layer2.0.downsample.0") < names.index("layer2.0.conv2")
    wide = [output for _, output in network.tensors() if isinstance(output.requant, WideRequantisation)]
    assert len(wide) == 10  # nine shortcuts and the classifier's input
    signed = {name for name, output in network.tensors() if getattr(output.requant, "signed", False)}
    assert signed == {"layer2.0.downsample.0", "layer3.0.downsample.0"}
    assert residual_of("layer1.0.conv2") in {output.tensor for output in network.convolutions[0].outputs}


def step(name, source, outputs, **more):
    weight = np.ones((2, 2, 1, 1), np.int32)
    return ConvStep(name, source, weight, 1, 0, 4, 4, False, tuple(outputs), **more)


def test_a_graph_that_does_not_hold_together():
    requant = Requantisation(np.ones(2, int), np.zeros(2, int), 0, 4)
    image = ImageStep(1.0, 15, 0, 15, "a")
    score = ScoreStep("fc", "b", np.ones((3, 2), int), np.zeros(3, int))
    good = step("one", "a", [Output("b", requant)])
    IntegerNetwork("n", image, (good,), score)
    with pytest.raises(ValueError, match="one takes x, which no step before it makes"):
        IntegerNetwork("n", image, (dataclasses.replace(good, source="x"),), score)
    with pytest.raises(ValueError, match="one takes r, which no step before it makes"):
        IntegerNetwork("n", image, (dataclasses.replace(good, residual="r"),), score)
    with pytest.raises(ValueError, match="two makes b, which is there already"):
        IntegerNetwork("n", image, (good, dataclasses.replace(good, name="two")), score)
    with pytest.raises(ValueError, match="fc takes c, which no step makes"):
        IntegerNetwork("n", image, (good,), dataclasses.replace(score, source="c"))


def test_wide_integers():
    wide = WideRequantisation(np.array([4, -4]), np.array([1, 0]), 1, 12, True)
    sums = np.array([[[1000, -5000]], [[1000, 2]]])
    assert wide(sums).tolist() == [[[2001, -2048]], [[-2000, -4]]]  # rounded half up, clamped to 12 bits
    assert WideRequantisation(np.array([1]), np.array([0]), 0, 24)(np.array([[[-3]]])).tolist() == [[[0]]]
    for bits in (0, 25):
        with pytest.raises(ValueError, match=r"bits must be 1\.\.24"):
            WideRequantisation(np.array([1]), np.array([0]), 0, bits)
    with pytest.raises(ValueError, match=r"bits must be 1\.\.8"):
        Requantisation(np.array([1]), np.array([0]), 0, 9)
    both = np.arange(-12, 12).reshape(2, 3, 4)
    one = Requantisation(np.array([3, 1]), np.array([5, 0]), 2, 4)
    assert np.array_equal(one.apply(both.transpose(1, 2, 0), -1).transpose(2, 0, 1), one(both))


def test_a_shortcut_is_not_cut_off_for_the_sake_of_small_sums():
    """Its integers have 16 bits: where the sums are worth so little that it could not reach what the next layer takes,
    they go."""
    loaded = load_network("resnet20_digits")
    loaded.model.layer1[1].bn2.weight.data[3] *= 1e-2
    network = integer_network(loaded)
    [step] = [step for step in network.convolutions if step.name == "layer1.1.conv2"]
    assert not step.weight[3].any() and all(step.weight[channel].any() for channel in range(8) if channel != 3)
    images = images_of(loaded, 60)
    with torch.no_grad():
        theirs = loaded.model(images).argmax(1).numpy()
    assert (scores(network, images.numpy()).argmax(1) == theirs).mean() >= 0.97


@pytest.mark.parametrize("gain", [0.0, 1e-9, 1e-3])
def test_a_channel_that_is_all_but_dead_behind_a_shortcut_costs_the_others_nothing(gain):
    """Its sums come to nothing beside its shortcut, whose scale must not become the others'."""
    loaded = load_network("resnet20_digits")
    names = ("layer1.1", "layer2.1", "layer3.2")
    for name in names:
        loaded.model.get_submodule(f"{name}.bn2").weight.data[3] *= gain
    whole = integer_network(load_network("resnet20_digits"))
    before = {output.tensor: output.requant for step in whole.convolutions for output in step.outputs}
    network = integer_network(loaded)
    others = [0, 1, 2, 4, 5]
    for step in network.convolutions:
        if step.name in [f"{name}.conv2" for name in names]:
            assert not step.weight[3].any() and step.weight[others].any()
        for output in step.outputs:
            new, old = output.requant, before[output.tensor]
            ratio = new.multiplier[others] / 2.0**new.shift / (old.multiplier[others] / 2.0**old.shift)
            assert np.allclose(ratio, 1, atol=1e-3), output.tensor
    images = images_of(loaded, 60)
    with torch.no_grad():
        theirs = loaded.model(images).argmax(1).numpy()
    assert (scores(network, images.numpy()).argmax(1) == theirs).mean() >= 0.97


def test_scales_that_no_integers_have_are_told():
    loaded = load_network("resnet20_digits")
    loaded.model.layer2[1].bn2.weight.data[3] *= 1e12
    with pytest.raises(LayerError, match=r"takes integers that its scales do not give: scale\[3\]"):
        integer_network(loaded)


def test_a_float_network_has_no_integers(tmp_path):
    spec = ModelSpec("resnet20", width=0.25, floating=True)
    loaded = dataclasses.replace(load_network("resnet20_digits"), model=spec.build().eval(), spec=spec)
    with pytest.raises(LayerError, match="is a float network, whose layers have no integers"):
        integer_network(loaded)


def test_a_digit_of_one_bit_holds_nothing():
    with pytest.raises(ValueError, match="a digit of 1 bit holds no positive value"):
        digits_needed(1, 1)


@pytest.mark.parametrize(
    "most, bits, count", [(0, 4, 1), (7, 4, 1), (8, 4, 2), (119, 4, 2), (120, 4, 3), (127, 4, 3), (7, 2, 3)]
)
def test_digits_hold_what_they_are_counted_for(most, bits, count):
    assert digits_needed(most, bits) == count
    values = np.arange(-most - 1, most + 1)
    each = digits(values, bits, count)
    assert np.array_equal(sum(digit << (bits * place) for place, digit in enumerate(each)), values)
    half = 1 << (bits - 1)
    assert all(-half <= digit.min() and digit.max() < half for digit in each)


def test_the_report(capsys):
    assert evaluation.main(["--checkpoint", "vgg16_w4a2_digits", "--images", "0", "--integer"]) == 0
    assert (
        "in integers alone: 98.63 % (359 of 364), +0.00 points; the same class in 100.00 %" in capsys.readouterr().out
    )
