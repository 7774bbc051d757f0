"""The main job's choice of networks, layers and images; none of it needs a file that is not packaged."""

import shlex
from collections import OrderedDict

import numpy as np
import pytest
import torch

from golden_model.configuration import configuration
from quant.capture import integer_psum, quantised_layers, recovery_error
from quant.checkpoints import SHIPPED
from quant.errors import CheckpointError, LayerError, UserError
from quant.layers import QuantConv2d
from quant.loose import Placement, loose_capture, loose_layers
from quant.models import ModelSpec
from quant.network import load_network
from tb import options
from tb.commands import cosim
from tb.layers.main_job import MAIN_JOB, default_layers
from tb.target import CannotRun

CORE = configuration("course_8x8")


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANT_DATA", str(tmp_path))


def chosen(**settings):
    """Checkpoint -> data set of the images, and names of the layers."""
    values = {setting.variable: setting.default for setting in options.SETTINGS} | settings
    found = cosim.collect(values, CORE)
    return {
        name: ({layer.data for layer in layers}, [layer.name for layer in layers]) for name, layers in found.items()
    }


def test_default():
    found = chosen()
    images = {name: data for name, (data, _) in found.items()}
    assert images == {"vgg16_w4a4": {"photos"}, "vgg16_w4a2": {"photos"}, "resnet20_w4a4": {"photos"}}
    for checkpoint, (_, layers) in found.items():
        assert layers == (MAIN_JOB[checkpoint] or default_layers(load_network(checkpoint)))


@pytest.mark.parametrize("checkpoint", SHIPPED)
def test_every_shipped_network_has_default_layers(checkpoint):
    network = load_network(checkpoint)
    layers = default_layers(network)
    assert len(layers) >= 3 and set(layers) < set(quantised_layers(network.model))
    assert chosen(CHECKPOINT=checkpoint) == {checkpoint: ({network.samples}, layers)}


def test_a_layer_alone_chooses_its_network():
    assert chosen(LAYER="features.27") == {"vgg16_w4a4": ({"photos"}, ["features.27"])}
    assert chosen(LAYER="layer3.0.conv1,layer3.0.conv2") == {
        "resnet20_w4a4": ({"photos"}, ["layer3.0.conv1", "layer3.0.conv2"])
    }


@pytest.mark.parametrize("layers", ["features.0,layer1.0.conv2", "conv1d", "fc"])
def test_layers_of_no_one_network_are_told(layers):
    with pytest.raises(LayerError, match=rf"no network has all of the layers {layers.replace(',', ', ')}; name one"):
        chosen(LAYER=layers)


def test_another_data_set_is_told():
    assert chosen(LAYER="layer3.0.conv1", DATA="digits") == {"resnet20_w4a4": ({"digits"}, ["layer3.0.conv1"])}


def own_network(path, width=8, first_bits=4):
    """A network of the course's layers that is neither a VGG16 nor a ResNet20."""
    torch.manual_seed(3)
    layers = [
        QuantConv2d(3, width, 3, padding=1, w_bits=first_bits),
        torch.nn.ReLU(),
        QuantConv2d(width, 9, 1, stride=2, bias=True),
    ]
    model = torch.nn.Sequential(OrderedDict(zip(("first", "relu", "second"), layers, strict=True)))
    torch.save({"state_dict": model.state_dict()}, path)
    return model


def test_a_layer_that_does_not_fit_costs_the_others_nothing(sim, tmp_path, capsys):
    """As a first layer of 8-bit weights; by name it is refused before anything is built."""
    path = tmp_path / "own.pth"
    model = own_network(path, first_bits=8)
    words = ["--sim", sim, "--checkpoint", str(path), "--config", CORE.name, "--jobs", "1"]
    assert cosim.main(words) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert f"FAIL own first seed 1: cannot run on {CORE.name}: weight" in shown
    assert "1 of 2 layers match" in shown and len(model) == 3
    with pytest.raises(CannotRun, match=f"first.* cannot run on {CORE.name}"):
        cosim.main([*words, "--layer", "first"])


def test_layers_of_an_unknown_network(sim, tmp_path, monkeypatch, capsys):
    for name in ("CHECKPOINT", "DATA", "LAYER", "CONFIG", "DATAFLOW", "SEED"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "own.pth"
    model = own_network(path)
    words = ["--sim", sim, "--checkpoint", str(path), "--jobs", "1"]
    assert cosim.main(words) == 0
    shown = capsys.readouterr().out
    assert "3>8 3x3 @8" in shown and "8>9 1x1 @8" in shown
    assert "randomactivations(itsnetworkisnotknown)" in "".join(shown.split())  # the title is wrapped
    assert cosim.main([*words, "--layer", "second", "--stride", "2", "--padding", "1", "--map", "5"]) == 0
    assert "8>9 1x1/2" in capsys.readouterr().out
    placement = Placement(size=5)
    captured = loose_capture(loose_layers(path, placement), None, "own", placement, 1)
    for name, layer in captured.items():
        np.testing.assert_array_equal(layer.operands.weight, model.get_submodule(name).to_int().numpy())
        assert recovery_error(layer, integer_psum(layer.operands))[0] < 1e-4
    assert captured["second"].operands.bias is not None
    alone = loose_capture(loose_layers(path, placement), ["second"], "own", placement, 1)  # as its replay has it
    np.testing.assert_array_equal(alone["second"].operands.activation, captured["second"].operands.activation)
    with pytest.raises(LayerError, match="own has no quantised layer 'third'; it has first, second"):
        cosim.main([*words, "--layer", "third"])


def test_each_layer_of_an_unknown_network_has_its_own_weight_bits(tmp_path):
    path = tmp_path / "own.pth"
    kinds = {"first": (3, 2), "second": (8, 4), "third": (8, 8)}
    layers = {name: QuantConv2d(ic, 8, 3, w_bits=bits) for name, (ic, bits) in kinds.items()}
    model = torch.nn.Sequential(OrderedDict(layers))
    torch.save({"state_dict": model.state_dict()}, path)
    found = loose_layers(path, Placement())
    for name, layer in layers.items():
        assert found[name].w_bits == layer.w_bits
        assert torch.equal(found[name].to_int(), layer.to_int())
    state = model.state_dict()
    state["second.weight_q"].neg_()
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=r"own.pth: second.weight_q contradicts second.weight"):
        loose_layers(path, Placement())


def test_layers_of_an_unknown_network_that_cannot_run_are_named(tmp_path):
    path = tmp_path / "own.pth"
    model = own_network(path)
    with pytest.raises(LayerError, match=r"^first: its kernel of 3x3 does not fit on a map of 1x1 with padding 0"):
        loose_capture(loose_layers(path, Placement(size=1, padding=0)), None, "own", Placement(size=1), 1)
    changes = {
        "first.weight": lambda tensor: tensor.fill_(0.5),
        "first.act_alpha": lambda tensor: tensor.fill_(0),
        "first.weight_quant.wgt_alpha": lambda tensor: tensor.fill_(-1),
    }
    for name, change in changes.items():
        state = {key: value.clone() for key, value in model.state_dict().items()}
        change(state[name])
        torch.save({"state_dict": state}, path)
        layers = loose_layers(path, Placement())
        with pytest.raises(LayerError, match=r"^first has no integers, choose other layers: "):
            loose_capture(layers, None, "own", Placement(), 1)
        assert loose_capture(layers, ["second"], "own", Placement(), 1)


def test_a_vgg16_with_a_narrower_layer(tmp_path):
    spec = ModelSpec(width=0.125)
    model = spec.build()
    model.features[27] = QuantConv2d(8, 5, 3, padding=1)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "narrow.pth")
    found = chosen(CHECKPOINT=str(tmp_path / "narrow.pth"), LAYER="features.27")
    [(data, layers)] = found.values()
    assert layers == ["features.27"] and data == {cosim.RANDOM}


@pytest.mark.parametrize("known", [True, False])
def test_the_bits_of_activations_that_a_file_does_not_say(tmp_path, known):
    path = tmp_path / "two.pth.tar"
    state = ModelSpec(width=0.125, a_bits=2).build().state_dict()
    torch.save({"state_dict": state if known else {f"x.{name}": value for name, value in state.items()}}, path)
    layer = "features.3" if known else "x.features.3"
    for bits, most in ((None, 15), ("2", 3)):
        settings = {variable.variable: variable.default for variable in options.SETTINGS}
        settings |= {"CHECKPOINT": str(path), "LAYER": layer, "A_BITS": bits, "DATA": "digits"}
        [[made]] = cosim.collect(settings, configuration("course_8x8")).values()
        assert 1 << (most.bit_length() - 2) <= made.task.operands.activation.max() <= most
    with pytest.raises(UserError, match="A_BITS must be a whole number from 2 to 8"):
        options.check(settings | {"A_BITS": "9"})


def test_a_checkpoint_without_quantised_layers_is_refused(tmp_path):
    torch.save({"state_dict": torch.nn.Conv2d(3, 4, 3).state_dict()}, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="holds no quantised layer"):
        chosen(CHECKPOINT=str(tmp_path / "plain.pth"))


def test_a_command_is_split_as_it_was_put_together():
    """make gives COSIM_ARGS to its shell as they stand."""
    words = ["--ignore '*.md'", "--ignore 'my old/$x'"]
    told = options.again("", {}, words, arguments="COSIM_ARGS", more={})
    [given] = [word for word in shlex.split(told) if word.startswith("COSIM_ARGS=")]
    line = given.removeprefix("COSIM_ARGS=").replace("$$", "$")
    assert shlex.split(line) == ["--ignore", "*.md", "--ignore", "my old/$x"]
