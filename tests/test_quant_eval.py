"""The fidelity report: its figures, its width, its pictures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from golden_model.psum import ws_psums
from golden_model.sfp import ws_accumulation_range
from golden_model.tiling import ConvShape, activation_tiles, weight_tiles
from quant import eval
from quant.capture import capture
from quant.data import CIFAR_CLASSES, load_data
from quant.histogram import count, sparkline
from quant.models import ModelSpec
from quant.network import load_network


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small_data():
    digits = load_data("digits")
    return replace(digits, test=Subset(digits.test, range(32)))


def test_count():
    assert count(np.array([[-7, 0], [0, 7]]), -7, 7).tolist() == [1, *[0] * 6, 2, *[0] * 6, 1]
    assert count(np.array([], int), 0, 3).tolist() == [0] * 4
    with pytest.raises(ValueError, match=r"0 \.\. 9 lie outside 0 \.\. 7"):
        count(np.array([0, 9]), 0, 7)


def test_sparkline():
    assert sparkline(np.array([0, 1, 10_000])) == " ▁█"
    assert sparkline(np.array([100, 25, 0])) == "█▄ "
    assert sparkline(np.zeros(4, int)) == "    "
    wide = sparkline(np.arange(1, 256))
    assert len(wide) == 16 and wide[-1] == "█" and " " not in wide


def test_summary_of_a_layer():
    network = load_network("vgg16_digits")
    operands = [capture(network, ["features.0"], image)["features.0"] for image in (0, 1)]
    summary = eval.LayerSummary()
    for each in operands:
        summary.add(each)
    assert summary.weight_counts.sum() == operands[0].operands.weight.size
    assert summary.activation_counts.sum() == 2 * operands[0].operands.activation.size == summary.activations
    assert summary.activation_low == -8 and len(summary.activation_counts) == 16
    np.testing.assert_array_equal(
        summary.weight_counts, [(operands[0].operands.weight == level).sum() for level in range(-7, 8)]
    )
    # The most that any input of -8..7 makes of these weights, channel by channel.
    flat = operands[0].operands.weight.reshape(len(operands[0].operands.weight), -1)
    highest = max(sum(max(w * 7, w * -8, 0) for w in row) for row in flat.tolist())
    lowest = min(sum(min(w * 7, w * -8, 0) for w in row) for row in flat.tolist())
    assert (summary.lowest, summary.highest) == (lowest, highest)
    assert summary.lowest <= summary.low < summary.high <= summary.highest
    assert summary.least <= summary.low < summary.high <= summary.most
    assert summary.lowest <= summary.least and summary.most <= summary.highest
    assert summary.psum_bits <= summary.safe_bits


@pytest.mark.parametrize(("level", "told"), [(0.5, True), (8.0, False)])
def test_an_image_that_is_clipped_makes_another_network(tmp_path, capsys, level, told):
    state = ModelSpec(width=0.125).build().state_dict()
    state["features.0.act_alpha"].fill_(level)
    torch.save({"state_dict": state}, tmp_path / "own.pth.tar")
    eval.main(["--checkpoint", str(tmp_path / "own.pth.tar"), "--data", "digits", "--images", "1"])
    printed = capsys.readouterr().out
    assert ("features.0 clips " in printed and "those of the clipped network" in printed) == told
    assert "4-bit activations (assumed; --a-bits says otherwise)" in printed


@pytest.mark.parametrize(
    ("total", "other", "wrong", "close"),
    [(10_000, 140, 45, True), (10_000, 60, 60, False), (364, 9, 4, True), (364, 3, 3, True), (364, 40, 40, False)],
)
def test_what_integers_alone_may_cost(monkeypatch, total, other, wrong, close):
    """other: images that the two class differently; wrong: of them those that the integers lose."""
    truth = torch.zeros(total, dtype=torch.int64)
    classes = np.zeros(total, np.int64)
    classes[:wrong] = 1
    fake = torch.zeros(total, dtype=torch.int64)
    fake[wrong:other] = 2
    right = total - (other - wrong)
    monkeypatch.setattr("golden_model.network.run.scores", lambda _, images: np.eye(3)[classes])
    network = SimpleNamespace(model=lambda images: torch.eye(3)[fake])
    evaluation = SimpleNamespace(accuracy=100 * right / total)
    told = eval.integer_accuracy(None, network, [(torch.zeros(total, 1), truth)], evaluation)
    assert told.close == close
    assert ("points that integers alone may cost on so many images" in told.text) == (not close)


def test_running_sums_in_any_order():
    """The products of an output, worst order first, by hand; the order of weight-stationary passes stays within."""
    rng = np.random.default_rng(3)
    operands = capture(load_network("resnet20_digits"), ["layer1.0.conv2"], 0)["layer1.0.conv2"]
    weight, activation = rng.integers(-7, 8, (3, 5, 3, 3)), rng.integers(-8, 8, (5, 4, 4))
    residual = rng.integers(-50, 50, (3, 4, 4))
    drawn = replace(operands.operands, weight=weight, activation=activation, residual=residual, stride=1, padding=1)
    least, most = eval.running_sums(drawn, eval.integer_psum(drawn))
    padded = np.pad(activation, ((0, 0), (1, 1), (1, 1)))
    for oc, oi, oj in np.ndindex(3, 4, 4):
        products = [*(weight[oc] * padded[:, oi : oi + 3, oj : oj + 3]).ravel(), residual[oc, oi, oj]]
        assert most[oc, oi, oj] == sum(p for p in products if p > 0)
        assert least[oc, oi, oj] == sum(p for p in products if p < 0)
    shape = ConvShape.of(weight, activation, 1, 1)
    cube = ws_psums(activation_tiles(activation, shape, 2), weight_tiles(weight, 2, 2))
    reached = ws_accumulation_range(cube, shape, residual)
    assert least.min() <= reached.lowest.value and reached.highest.value <= most.max()


@pytest.mark.parametrize("name, layer", [("vgg16_digits", "features.27"), ("resnet20_digits", "layer3.0.downsample.0")])
def test_report_fits_80_columns(monkeypatch, capsys, tmp_path, small_data, name, layer):
    monkeypatch.setattr(eval, "load_data", lambda *_: small_data)
    assert eval.main(["--checkpoint", name, "--images", "1", "--plots", str(tmp_path / "plots")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("plots:")) <= 80
    assert sum(line.strip().startswith(layer) for line in lines) == 2  # recovery and histograms
    assert any("test accuracy" in line for line in lines)
    pictures = sorted((tmp_path / "plots").iterdir())
    assert [path.name for path in pictures] == ["activations.png", "psums.png", "weights.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_other_data_than_a_networks_own_are_no_mistake(capsys):
    """Its accuracy there is not the one that the checkpoint states, and need not be."""
    assert eval.main(["--checkpoint", "resnet20_w4a4", "--data", "digits", "--images", "0"]) == 0
    told = capsys.readouterr().out
    assert "(stored in the checkpoint: 89.80 %),\nwhich was measured on cifar10" in told
    assert "classes are taken in their order: digits's '0' as the network's 'airplane' ..." in told


def test_a_checkpoint_without_names_has_as_many_classes_as_scores(tmp_path):
    for classes, names in ((5, ("0", "1", "2", "3", "4")), (10, CIFAR_CLASSES)):
        model = ModelSpec(width=0.125, num_classes=classes).build()
        torch.save({"state_dict": model.state_dict()}, tmp_path / "own.pth")
        assert load_network(tmp_path / "own.pth").classes == names
