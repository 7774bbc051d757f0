"""The tables of ``make bench``, each on as little as it takes to be made."""

from __future__ import annotations

import pytest
from rich.console import Console

from golden_model.configuration import configuration
from golden_model.tiling import ConvShape
from quant.network import load_network
from tb.commands import measure
from tb.layers.captured import real_layers
from tb.layers.networks import NetworkLayer


def shown(table) -> str:
    """As it is printed on 80 columns; nothing may be cut."""
    console = Console(width=80)
    with console.capture() as text:
        console.print(table)
    assert "…" not in text.get()
    return text.get()


@pytest.fixture
def small(monkeypatch):
    """Networks of two small layers, arrays that are built in seconds."""
    shapes = (ConvShape(3, 5, 5, 9, 3, 3, 1, 1), ConvShape(9, 5, 5, 8, 1, 1, 2, 0))
    layers = [NetworkLayer(f"conv{index}", shape, residual=bool(index)) for index, shape in enumerate(shapes)]
    monkeypatch.setattr(measure, "network_layers", lambda spec: layers)
    monkeypatch.setattr(measure, "ARRAYS", ("net_8x8",))


def test_layers_of_a_network():
    layers = real_layers(load_network("resnet20_digits"), ["layer2.0.downsample.0"], 0, configuration("course_8x8"))
    text = shown(measure.layer_table("resnet20_digits", layers, "verilator"))
    assert "layer2.0.downsample.0" in text and "all" in text


def test_whole_networks(small, tmp_path):
    runs = [measure.run_network(name, configuration("net_8x8")) for name in measure.NETWORKS]
    assert all(len(run.results) == 2 and run.utilisation > 0 for run in runs)
    assert shown(measure.array_table(runs)).count("8x8") == 2
    assert "stall_out" in shown(measure.lost_table(runs))
    measure.plot_utilisation(runs, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_speed_of_the_core(monkeypatch):
    monkeypatch.setattr(measure.simulators, "SIMULATORS", ("verilator",))
    layer = real_layers(load_network("vgg16_digits"), ["features.27"], 0, configuration("course_8x8"))[0]
    assert "verilator" in shown(measure.speed_table([layer]))


def test_golden_model_against_the_notebooks_loop():
    assert "notebooks' nested loop" in shown(measure.golden_table())


def test_images(monkeypatch):
    monkeypatch.setattr(measure, "IMAGES", {"vgg16_w4a2_digits": 2})
    monkeypatch.setattr(measure, "IMAGE_ARRAYS", ("net_8x8",))
    assert "vgg16_w4a2_digits 8x8       13" in shown(measure.image_table())


def test_the_command_counts_its_steps(small, monkeypatch, capsys):
    """Everything in its order, the long tables replaced by their names."""
    for name in ("golden_table", "accelerator_speed", "single_table", "image_table", "build_table", "training_table"):
        monkeypatch.setattr(measure, name, lambda name=name: f"<{name}>")
    monkeypatch.setattr(measure, "speed_table", lambda layers: f"<speed of {len(layers)}>")
    monkeypatch.setattr(measure, "layer_table", lambda name, layers, sim: f"<{name}>")
    monkeypatch.setattr(measure, "plot_utilisation", lambda runs, path: None)
    assert measure.main([]) == 0
    shown = capsys.readouterr().out
    order = ["<golden_table>", "<speed of ", "<vgg16_w4a4>", "<single_table>", "Full-size networks", "<training_table>"]
    places = [shown.index(word) for word in order]
    assert places == sorted(places) and "peak memory" in shown
