"""The captured integers recover what the network computes, for every quantised layer of every shipped network."""

import numpy as np
import pytest
import torch
from torch import nn

from quant.capture import capture, integer_psum, quantised_layers, recovery_error
from quant.checkpoints import SHIPPED
from quant.data import load_data
from quant.errors import ImageError, LayerError
from quant.layers import QuantConv2d
from quant.models import BasicBlock, ModelSpec
from quant.network import load_network
from quant.quantizers import activation_range, weight_levels
from quant.requantisation import output_stage
from quant.storage.checkpoint import write_checkpoint
from quant.training.calibration import calibrate

IMAGES = (0, 7)
RESIDUAL_LAYERS = [f"layer{stage}.{block}.conv2" for stage in (1, 2, 3) for block in range(3)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def networks():
    return {name: load_network(name) for name in SHIPPED}


@pytest.fixture(scope="module")
def captured(networks):
    return {(name, image): capture(networks[name], None, image) for name in SHIPPED for image in IMAGES}


def forward_with_outputs(network, image: int, names: list[str]) -> dict[str, np.ndarray]:
    """Outputs of modules in one forward pass, hooked by the test itself."""
    outputs = {}

    def keep(name):
        return lambda _, __, output: outputs.__setitem__(name, output[0].detach().numpy().copy())

    modules = dict(network.model.named_modules())
    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    pixels, _ = load_data(network.samples).test_image(image)
    with torch.no_grad():
        network.model(torch.stack([pixels, pixels]))  # as capture does: another batch is rounded in another way
    for handle in handles:
        handle.remove()
    return outputs


@pytest.mark.parametrize("name", SHIPPED)
def test_every_layer_is_captured_and_recovers(networks, captured, name):
    count = {"vgg16": 13, "resnet20": 20}[networks[name].name]
    for image in IMAGES:
        layers = captured[name, image]
        assert list(layers) == quantised_layers(networks[name].model)
        assert len(layers) == count
        for layer, operands in layers.items():
            psum = integer_psum(operands.operands)
            mean_error, max_error = recovery_error(operands, psum)
            assert mean_error < 1e-4 and max_error < 1e-3, layer
            assert psum.any(), f"{layer} of image {image} is all zero"


@pytest.mark.parametrize("name", SHIPPED)
def test_psum_float_is_what_the_layer_put_out(networks, captured, name):
    image = IMAGES[0]
    outputs = forward_with_outputs(networks[name], image, quantised_layers(networks[name].model))
    for layer, operands in captured[name, image].items():
        sign = np.where(operands.negated, -1, 1)[:, None, None]
        np.testing.assert_array_equal(operands.psum_float * sign, outputs[layer])


@pytest.mark.parametrize("name", SHIPPED)
def test_shapes_types_and_ranges(networks, captured, name):
    modules = dict(networks[name].model.named_modules())
    for image in IMAGES:
        for layer, operands in captured[name, image].items():
            conv = modules[layer]
            top = weight_levels(operands.w_bits)
            low, high = activation_range(operands.a_bits, operands.operands.a_signed)
            assert operands.operands.weight.dtype == operands.operands.activation.dtype == np.int32
            assert operands.operands.weight.shape == tuple(conv.weight.shape)
            assert np.abs(operands.operands.weight).max() <= top
            assert low <= operands.operands.activation.min() and operands.operands.activation.max() <= high
            assert operands.psum_float.dtype == np.float32
            assert operands.out_scale.dtype == np.float64 and operands.out_scale.shape == (conv.out_channels,)
            assert operands.negated.dtype == bool and operands.negated.shape == (conv.out_channels,)
            assert (operands.model, operands.layer, operands.image) == (networks[name].name, layer, image)
            assert (operands.operands.stride, operands.operands.padding) == (conv.stride[0], conv.padding[0])
            assert operands.w_delta == pytest.approx(conv.weight_quant.wgt_alpha.item() / top)
            assert operands.x_delta == pytest.approx(conv.act_alpha.item() / (2**operands.a_bits - 1))
            if operands.operands.residual is None:
                assert not operands.negated.any()
                np.testing.assert_allclose(operands.out_scale, operands.w_delta * operands.x_delta)


def test_only_the_image_layer_is_signed(captured):
    layers = captured["vgg16_digits", IMAGES[0]]
    assert [layer for layer, operands in layers.items() if operands.operands.a_signed] == ["features.0"]
    assert layers["features.0"].operands.activation.min() < 0
    assert not any(operands.operands.a_signed for operands in captured["resnet20_digits", IMAGES[0]].values())


def test_relu_and_residual_flags(captured):
    vgg, resnet = captured["vgg16_digits", 0], captured["resnet20_digits", 0]
    assert [layer for layer, operands in vgg.items() if operands.relu] == ["features.27"]
    assert [layer for layer, operands in resnet.items() if operands.relu] == RESIDUAL_LAYERS
    assert [layer for layer, operands in resnet.items() if operands.operands.residual is not None] == RESIDUAL_LAYERS
    assert all(operands.operands.residual is None for operands in vgg.values())


def assert_residual_contract(network, operands, image):
    """relu(psum + residual) * out_scale is the block's output to half an integer step."""
    block = operands.layer.removesuffix(".conv2")
    output = forward_with_outputs(network, image, [block])[block]
    assert operands.operands.residual.dtype == np.int32 and operands.operands.residual.shape == output.shape
    scale = operands.out_scale[:, None, None]
    recovered = np.maximum(integer_psum(operands.operands) + operands.operands.residual, 0) * scale
    tolerance = scale / 2 + 1e-4 * max(1.0, np.abs(output).max())
    assert (np.abs(recovered - output) <= tolerance).all()
    assert output.any()


def skip_network(folder, **options):
    """A network with a SkipBlock, of random weights, with BatchNorm statistics and calibrated activations."""
    torch.manual_seed(5)
    spec = ModelSpec(width=0.125, squeeze=8, skip_block=True, **options)
    model = spec.build()
    images = torch.stack([load_data("digits").test_image(i)[0] for i in range(16)])
    model.train()(images)
    calibrate(model, images, "mse")
    content = {"state_dict": model.state_dict()}
    write_checkpoint(folder / "model_best.pth.tar", content)
    return load_network(folder / "model_best.pth.tar", dataset="digits", a_bits=spec.a_bits)


def test_skip_blocks_shortcut_is_a_residual(tmp_path):
    """relu(psum + residual) in psum scale is what conv30 sees; conv27 alone of the block's layers has one."""
    network = skip_network(tmp_path)
    assert network.spec.skip_block
    layers = capture(network, None, 3)
    assert [name for name, o in layers.items() if o.operands.residual is not None] == ["features.20.conv27"]
    assert [name for name, o in layers.items() if o.relu] == ["features.20.conv27"]
    operands = layers["features.20.conv27"]
    output = forward_with_outputs(network, 3, ["features.20.relu29"])["features.20.relu29"]
    scale = operands.out_scale[:, None, None]
    recovered = np.maximum(integer_psum(operands.operands) + operands.operands.residual, 0) * scale
    assert (np.abs(recovered - output) <= scale / 2 + 1e-4).all() and output.any()
    stage = output_stage(network, "features.20.conv27")
    assert stage.consumer == "features.20.conv30" and stage.relu and not stage.pool and not stage.offset.any()
    follows = {name: output_stage(network, name).consumer for name in list(layers)[:-1]}
    assert list(follows.values()) == list(layers)[1:]
    assert output_stage(network, "features.20.conv20").pool and output_stage(network, "features.20.conv30").pool


@pytest.mark.parametrize("layer", RESIDUAL_LAYERS)
def test_residual_contract(networks, captured, layer):
    for image in IMAGES:
        operands = captured["resnet20_digits", image][layer]
        assert operands.operands.residual.any()
        assert_residual_contract(networks["resnet20_digits"], operands, image)


def test_first_block_adds_the_shortcut_to_the_bare_psum(captured):
    operands = captured["resnet20_digits", 0]["layer1.0.conv2"]
    np.testing.assert_allclose(operands.out_scale, operands.w_delta * operands.x_delta)
    assert (operands.operands.residual >= 0).all()  # the shortcut comes from a ReLU and nothing is folded into it


def test_negative_norm_scales_turn_the_weights_sign(tmp_path):
    network = load_network("resnet20_digits")
    plain = capture(network, ["layer2.1.conv2"], 1)["layer2.1.conv2"]
    with torch.no_grad():
        network.model.layer2[1].bn2.weight[3].abs_().neg_()
        network.model.layer2[1].bn2.weight[5].abs_()
    operands = capture(network, ["layer2.1.conv2"], 1)["layer2.1.conv2"]
    assert operands.negated[3] and not operands.negated[5]
    assert (operands.out_scale > 0).all()
    stored = np.where(plain.negated, -1, 1)[:, None, None, None] * plain.operands.weight
    np.testing.assert_array_equal(operands.operands.weight[3], -stored[3])
    np.testing.assert_array_equal(operands.operands.weight[5], stored[5])
    assert recovery_error(operands, integer_psum(operands.operands))[0] < 1e-4
    assert_residual_contract(network, operands, 1)


@pytest.mark.parametrize("gain", [0.0, 1e-12, 1e-6])
def test_a_channel_that_its_norm_all_but_removes_is_its_shortcut_alone(gain):
    network = load_network("resnet20_digits")
    plain = capture(network, ["layer2.1.conv2"], 0)["layer2.1.conv2"]
    network.model.layer2[1].bn2.weight.data[3] *= gain
    dead = capture(network, ["layer2.1.conv2"], 0)["layer2.1.conv2"]
    assert not dead.operands.weight[3].any() and plain.operands.weight[3].any()
    others = np.arange(len(dead.out_scale)) != 3
    np.testing.assert_array_equal(dead.operands.weight[others], plain.operands.weight[others])
    np.testing.assert_array_equal(dead.operands.residual[others], plain.operands.residual[others])
    assert dead.out_scale[others].min() <= dead.out_scale[3] <= dead.out_scale[others].max()
    assert_residual_contract(network, dead, 0)


def test_features_27_is_the_course_tile(captured):
    for image in IMAGES:
        operands = captured["vgg16_digits", image]["features.27"]
        assert operands.operands.weight.shape == (8, 8, 3, 3) and operands.operands.activation.shape == (8, 4, 4)
        assert operands.psum_float.shape == (8, 4, 4)
        assert operands.operands.activation.any() and (integer_psum(operands.operands) > 0).any()


def test_subset_equals_full_capture_and_hooks_are_removed(networks, captured):
    network = networks["vgg16_digits"]
    one = capture(network, ["features.27"], 0)
    assert list(one) == ["features.27"]
    np.testing.assert_array_equal(
        one["features.27"].operands.activation, captured["vgg16_digits", 0]["features.27"].operands.activation
    )
    for module in network.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_clipped_counts_activations_beyond_alpha():
    network = load_network("vgg16_digits")
    with torch.no_grad():
        network.model.features[27].act_alpha.fill_(0.25)
    operands = capture(network, ["features.27"], 0)["features.27"]
    inputs = forward_with_outputs(network, 0, ["features.26"])["features.26"]
    assert operands.clipped == (inputs > 0.25).sum() > 0
    assert recovery_error(operands, integer_psum(operands.operands))[0] < 1e-4


def test_wrong_psum_does_not_recover(captured):
    operands = captured["vgg16_digits", 0]["features.27"]
    psum = integer_psum(operands.operands)
    psum[0, 0, 0] += 1
    assert recovery_error(operands, psum)[1] == pytest.approx(operands.w_delta * operands.x_delta, rel=1e-2)
    with pytest.raises(ValueError, match=r"features\.27.*\(8, 2, 4\)"):
        recovery_error(operands, psum[:, :2])


@pytest.mark.parametrize("a_bits, squeeze, identity", [(2, 16, True), (4, None, False)])
def test_other_geometries(tmp_path, a_bits, squeeze, identity):
    torch.manual_seed(0)
    spec = ModelSpec(width=0.125, a_bits=a_bits, squeeze=squeeze, squeeze_identity=identity)
    path = tmp_path / "model.pth"
    write_checkpoint(path, {"state_dict": spec.build().state_dict()})
    network = load_network(path, a_bits=a_bits, dataset="digits")
    layers = capture(network, None, 2)
    assert layers["features.27"].relu is (squeeze is not None)
    for operands in layers.values():
        assert recovery_error(operands, integer_psum(operands.operands))[0] < 1e-4
        assert operands.operands.activation.max() < 2**a_bits


def test_unknown_layer_lists_those_that_exist(networks):
    with pytest.raises(LayerError, match=r"no quantised layer 'features\.28'; it has features\.0, .*features\.39"):
        capture(networks["vgg16_digits"], ["features.28"], 0)


@pytest.mark.parametrize("image", [-1, 100000])
def test_image_out_of_range(networks, image):
    with pytest.raises(ImageError, match=rf"image {image} .*0\.\.\d+"):
        capture(networks["vgg16_digits"], ["features.27"], image)


@pytest.mark.parametrize(
    "options",
    [{"groups": 2}, {"dilation": 2, "padding": 2}, {"stride": (1, 2)}, {"padding": (1, 0)}],
    ids=lambda options: next(iter(options)),
)
def test_layers_the_core_cannot_compute_are_refused(options):
    network = load_network("vgg16_digits")
    network.model.features[27] = QuantConv2d(8, 8, 3, **{"padding": 1, **options})
    with pytest.raises(LayerError, match=rf"features\.27 has .*{next(iter(options))}"):
        capture(network, ["features.27"], 0)


@pytest.mark.parametrize("name", ["features.27", "layer2.1.conv2"])
def test_a_bias_is_captured_in_psum_scale(name):
    """Beside a residual, whose BatchNorm may turn a channel's sign, and where there is none."""
    network = load_network("vgg16_digits" if name.startswith("features") else "resnet20_digits")
    layer = network.model.get_submodule(name)
    plain = capture(network, [name], 0)[name]
    layer.bias = torch.nn.Parameter(torch.linspace(-0.3, 0.4, layer.out_channels))
    if name.startswith("layer"):
        with torch.no_grad():
            network.model.layer2[1].bn2.weight[3].abs_().neg_()
        plain = None
    operands = capture(network, [name], 0)[name]
    delta = operands.w_delta * operands.x_delta
    sign = np.where(operands.negated, -1, 1)
    np.testing.assert_allclose(
        operands.operands.bias * delta, sign * layer.bias.detach().numpy(), atol=delta / 2 + 1e-6
    )
    if plain is not None:
        np.testing.assert_array_equal(operands.operands.weight, plain.operands.weight)
        np.testing.assert_allclose(operands.psum_float, plain.psum_float, atol=1e-5)
    assert recovery_error(operands, integer_psum(operands.operands))[0] < 1e-4
    # What the block, or the layer with the ReLU behind it, passes on
    o = operands.operands
    psum = integer_psum(o) + o.bias[:, None, None] + (0 if o.residual is None else o.residual)
    behind = "features.28" if name.startswith("features") else "layer2.1"
    expected = forward_with_outputs(network, 0, [behind])[behind]
    error = np.abs(np.maximum(psum, 0) * operands.out_scale[:, None, None] - expected)
    assert (error <= 1.01 * operands.out_scale[:, None, None] + 1e-4).all()


@pytest.mark.parametrize(("padding", "same"), [("same", 1), ("valid", 0)])
def test_padding_by_name(padding, same):
    network = load_network("vgg16_digits")
    named, plain = QuantConv2d(8, 8, 3, padding=padding), QuantConv2d(8, 8, 3, padding=same)
    plain.load_state_dict(named.state_dict())
    found = []
    for layer in (named, plain):
        network.model.features = torch.nn.Sequential(*network.model.features[:27], layer)
        network.model.forward = network.model.features.forward
        found.append(capture(network, ["features.27"], 0)["features.27"])
    assert [layer.operands.padding for layer in found] == [same, same]
    np.testing.assert_array_equal(found[0].psum_float, found[1].psum_float)


def test_even_kernels_have_no_same_padding():
    network = load_network("vgg16_digits")
    network.model.features[27] = QuantConv2d(8, 8, 2, padding="same")
    with pytest.raises(LayerError, match=r"features\.27 has padding='same'"):
        capture(network, ["features.27"], 0)


def test_network_with_quantised_image_convolution(tmp_path):
    torch.manual_seed(0)
    model = ModelSpec("resnet20", width=0.25, quantise_image=True).build()
    write_checkpoint(tmp_path / "model.pth", {"state_dict": model.state_dict()})
    network = load_network(tmp_path / "model.pth", dataset="digits")
    operands = capture(network, ["conv1"], 0)["conv1"]
    assert operands.operands.a_signed and not operands.relu and operands.operands.activation.min() < 0
    assert isinstance(network.model.layer1[0], BasicBlock) and isinstance(network.model.conv1, nn.Conv2d)
