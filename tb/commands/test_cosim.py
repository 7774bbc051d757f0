"""The main job's choice of networks, layers and images; none of it needs a file that is not packaged."""

import pytest

from golden_model.configuration import configuration
from quant.capture import quantised_layers
from quant.checkpoints import SHIPPED
from quant.errors import LayerError
from quant.network import load_network
from tb import options
from tb.commands import cosim
from tb.layers.networks import MAIN_JOB, default_layers

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
