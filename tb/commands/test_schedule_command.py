"""``make schedule`` as its user meets it."""

from __future__ import annotations

import pytest

from golden_model.configuration import ConfigurationError, Dataflow, configuration
from golden_model.throughput import scale_sim
from tb.commands import schedule
from tb.layers.networks import FULL_SIZE, network_layers


def test_table_and_picture(capsys, tmp_path):
    arrays = "net_8x8,net_16x16,net_32x32"
    assert schedule.main(["--network", "resnet20", "--config", arrays, "--plot", str(tmp_path / "a.png")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("40.8 M MACs") == 3 and "layer3.0.downsample.0" in shown and "OS twin" in shown
    assert "…" not in shown  # on 80 columns
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_hypothetical_array(capsys):
    assert schedule.main(["--network", "vgg16_w4a2", "--set", "ROWS=4", "--set", "COLS=16"]) == 0
    shown = capsys.readouterr().out
    assert "net_8x8 with ROWS=4, COLS=16" in shown and "WS a2" in shown
    assert "that takes IFIFO_DEPTH 18.\n" in shown
    assert schedule.main(["--set", "ROWS=16", "--set", "COLS=16"]) == 0
    assert "takes L0_DEPTH 18, IFIFO_DEPTH 18, OFIFO_DEPTH 52.\n" in capsys.readouterr().out


def test_refusals():
    with pytest.raises(schedule.UserError, match="FOO=1"):
        schedule.main(["--set", "FOO=1"])
    with pytest.raises(ConfigurationError, match="WGT_LANES must divide COLS = 25"):
        schedule.hypothetical(configuration("net_8x8"), ["COLS=25"])
    for changed, told in (("ACT_DEPTH=512", "2 to ACT_DEPTH = 512; it is 1024"), ("TWIN_DEPTH=1", "it is 1, COLS 32")):
        with pytest.raises(ConfigurationError, match=rf"TWIN_DEPTH must be 0, or with an even COLS .*{told}"):
            schedule.hypothetical(configuration("net_32x32"), [changed])
    with pytest.raises(schedule.UserError, match=r"features.0 cannot run on .*ACT_DEPTH = 4 "):
        schedule.main(["--set", "ACT_DEPTH=4"])


@pytest.mark.parametrize(
    ("name", "macs", "shares"),
    [("vgg16", 219_718_656, (87.3, 70.1, 49.9)), ("resnet20", 40_812_544, (93.6, 87.2, 54.5))],
)
def test_scale_sim_law_gives_its_published_utilisations(name, macs, shares):
    shapes = [layer.shape for layer in network_layers(FULL_SIZE[name])]
    assert sum(shape.macs for shape in shapes) == macs
    for tiles, share in zip((8, 16, 32), shares, strict=True):
        total = sum(scale_sim(shape, tiles, tiles, Dataflow.output_stationary) for shape in shapes)
        assert 100 * macs / (total * tiles**2) == pytest.approx(share, abs=0.05)
