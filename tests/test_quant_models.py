"""The networks have the geometry that the seeds print."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quant.layers import QuantConv2d
from quant.models import ModelSpec, resnet20_quant, vgg16_quant


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def convolutions(model: nn.Module) -> dict[str, tuple]:
    """name -> (in, out, kernel, stride, padding) of every quantised convolution."""
    return {
        name: (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], layer.padding[0])
        for name, layer in model.named_modules()
        if isinstance(layer, QuantConv2d)
    }


def test_vgg16_is_seed_002():
    model = vgg16_quant()
    plan = {
        0: (3, 64),
        3: (64, 64),
        7: (64, 128),
        10: (128, 128),
        14: (128, 256),
        17: (256, 256),
        20: (256, 256),
        24: (256, 8),
        27: (8, 8),
        29: (8, 512),
        33: (512, 512),
        36: (512, 512),
        39: (512, 512),
    }
    assert convolutions(model) == {f"features.{i}": (*channels, 3, 1, 1) for i, channels in plan.items()}
    assert len(model.features) == 44
    for index in (6, 13, 23, 32, 42):
        assert isinstance(model.features[index], nn.MaxPool2d)
    assert isinstance(model.features[25], nn.BatchNorm2d)
    assert isinstance(model.features[28], nn.ReLU)  # directly on features.27's psum
    assert isinstance(model.features[30], nn.BatchNorm2d)
    assert isinstance(model.features[43], nn.AvgPool2d)
    assert (model.classifier.in_features, model.classifier.out_features) == (512, 10)
    assert [name for name, layer in model.named_modules() if getattr(layer, "signed_act", False)] == ["features.0"]


def test_vgg16_with_identity_is_seed_003():
    model = vgg16_quant(squeeze=16, squeeze_identity=True, a_bits=2)
    found = convolutions(model)
    assert found["features.24"][:2] == (256, 16)
    assert found["features.27"][:2] == (16, 16)
    assert found["features.30"][:2] == (16, 512)
    assert isinstance(model.features[28], nn.Identity) and isinstance(model.features[29], nn.ReLU)
    assert isinstance(model.features[31], nn.BatchNorm2d) and isinstance(model.features[32], nn.ReLU)
    assert {layer.a_bits for layer in model.modules() if isinstance(layer, QuantConv2d)} == {2}


def test_vgg16_with_skip_block_is_seed_003s_option():
    model = ModelSpec(squeeze=16, skip_block=True, a_bits=2).build()
    found = convolutions(model)
    assert found["features.20.conv20"][:2] == (256, 256) and found["features.20.conv24"][:2] == (256, 16)
    assert found["features.20.conv27"][:2] == (16, 16) and found["features.20.conv30"][:2] == (16, 512)
    assert isinstance(model.features[20].bn28, nn.BatchNorm2d)  # what the seed hooks behind conv27
    assert all(isinstance(model.features[i], nn.Identity) for i in range(21, 33))
    assert isinstance(model.features[33], nn.MaxPool2d) and list(found)[-3:] == [f"features.{i}" for i in (34, 37, 40)]
    names = list(convolutions(vgg16_quant(squeeze=16, squeeze_identity=True)))
    assert list(found) == [n if n not in names[6:10] else n.replace("features.", "features.20.conv") for n in names]
    with pytest.raises(ValueError, match="squeeze must be a number"):
        ModelSpec(squeeze=None, skip_block=True)
    assert not ModelSpec(skip_block=True, squeeze_identity=True).squeeze_identity
    assert "skip_block" not in ModelSpec().to_dict()
    assert ModelSpec.from_dict(ModelSpec(skip_block=True).to_dict()).skip_block


def test_skip_block_by_hand():
    """The block's output is that of its convolutions with the chokepoint's own output added to it before ReLU."""
    torch.manual_seed(1)
    block = ModelSpec(width=0.125, squeeze=8, skip_block=True).build().eval().features[20]
    x = torch.rand(2, 32, 8, 8)
    y = torch.relu(block.bn25(block.conv24(block.pool23(torch.relu(block.bn21(block.conv20(x)))))))
    inside = torch.relu(block.bn28(block.conv27(y)) + y)
    torch.testing.assert_close(block(x), torch.relu(block.bn31(block.conv30(inside))))
    assert block(x).shape == (2, 64, 4, 4)


def test_plain_vgg16():
    found = convolutions(vgg16_quant(squeeze=None))
    assert [channels[1] for channels in found.values()] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert list(found)[-5:] == [f"features.{i}" for i in (27, 30, 34, 37, 40)]


def test_width_scales_all_but_the_squeeze():
    outs = [channels[1] for channels in convolutions(vgg16_quant(width=0.25)).values()]
    assert outs == [16, 16, 32, 32, 64, 64, 64, 8, 8, 128, 128, 128, 128]
    found = convolutions(resnet20_quant(width=0.5, first_stage=8))
    assert {found[f"layer{stage}.2.conv2"][1] for stage in (1, 2, 3)} == {8, 16, 32}


def test_resnet20_is_seed_001():
    model = resnet20_quant()
    found = convolutions(model)
    assert len(found) == 20  # 18 in the blocks and 2 shortcuts; conv1 is plain
    assert found["layer2.0.conv1"] == (16, 32, 3, 2, 1)
    assert found["layer3.0.downsample.0"] == (32, 64, 1, 2, 0)
    assert type(model.conv1) is nn.Conv2d
    assert isinstance(model.layer1[0].bn2, nn.BatchNorm2d)
    assert (model.fc.in_features, model.fc.out_features) == (64, 10)


def test_resnet20_with_8_channels_is_seed_000():
    model = resnet20_quant(first_stage=8)
    assert convolutions(model)["layer1.0.conv2"] == (8, 8, 3, 1, 1)
    assert convolutions(model)["layer2.0.conv1"] == (8, 32, 3, 2, 1)
    assert model.conv1.out_channels == 8
    assert isinstance(model.layer1[0].bn2, nn.Sequential) and len(model.layer1[0].bn2) == 0
    assert isinstance(model.layer1[1].bn2, nn.BatchNorm2d)
    assert not any(name.startswith("layer1.0.bn2") for name in model.state_dict())
    assert [name for name, _ in model.layer1[0].named_children()] == ["conv1", "conv2", "bn1", "relu", "bn2"]


def test_resnet20_can_quantise_the_image():
    model = resnet20_quant(width=0.5, quantise_image=True)
    assert model.conv1.signed_act
    assert not model.layer1[0].conv1.signed_act


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(width=0.125, num_classes=7),
        ModelSpec(width=0.125, squeeze=None),
        ModelSpec(width=0.125, squeeze=16, squeeze_identity=True),
        ModelSpec("resnet20", width=0.25, num_classes=7),
        ModelSpec("resnet20", width=0.25, first_stage=8, w_bits=2, a_bits=8),
    ],
    ids=["vgg16", "vgg16-plain", "vgg16-identity", "resnet20", "resnet20-8"],
)
def test_forward_backward_and_spec_round_trip(spec):
    model = spec.build()
    scores = model(torch.randn(2, 3, 32, 32))
    assert scores.shape == (2, spec.num_classes)
    scores.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert {(layer.w_bits, layer.a_bits) for layer in model.modules() if isinstance(layer, QuantConv2d)} == {
        (spec.w_bits, spec.a_bits)
    }
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "lenet"}, "'lenet'.*vgg16, resnet20"),
        ({"width": 0}, "width.*got 0"),
        ({"width": float("nan")}, "width.*got nan"),
        ({"w_bits": 1}, "w_bits.*got 1"),
        ({"a_bits": 9}, "a_bits.*got 9"),
        ({"squeeze": 0}, "squeeze.*got 0"),
    ],
)
def test_spec_quotes_what_is_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(**options)


def test_spec_refuses_options_it_does_not_know():
    with pytest.raises(ValueError, match="depth"):
        ModelSpec.from_dict({"name": "vgg16", "depth": 3})


@pytest.mark.parametrize("channels", [1, 3, 4, 7, 8, 12])
@pytest.mark.parametrize("side", [15, 16])
def test_a_thin_strided_layer_trains(channels, side):
    """In a layout in which oneDNN's own gradient ends the process on some processors."""
    torch.manual_seed(1)
    layer = QuantConv2d(channels, 8, 1, stride=2, bias=False).train()
    layer.floating = True
    x = torch.randn(16, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = x.detach().double().requires_grad_()
    made, wanted = layer(x), F.conv2d(plain, layer.weight.detach().double(), None, 2)
    made.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(made.double(), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x.grad.double(), plain.grad, rtol=1e-4, atol=1e-4)
