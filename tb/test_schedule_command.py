"""``make schedule`` as its user meets it."""

from __future__ import annotations

import pytest

from golden_model.configuration import ConfigurationError, configuration
from tb import schedule


def test_table_and_picture(capsys, tmp_path):
    assert (
        schedule.main(["--network", "resnet20", "--config", "net_8x8,net_16x16", "--plot", str(tmp_path / "a.png")])
        == 0
    )
    shown = capsys.readouterr().out
    assert shown.count("40.8 M MACs") == 2 and "layer3.0.downsample.0" in shown
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_hypothetical_array(capsys):
    assert schedule.main(["--network", "vgg16_w4a2", "--set", "ROWS=4", "--set", "COLS=16"]) == 0
    shown = capsys.readouterr().out
    assert "net_8x8 with ROWS=4, COLS=16" in shown and "WS a2" in shown


def test_refusals():
    with pytest.raises(schedule.UserError, match="FOO=1"):
        schedule.main(["--set", "FOO=1"])
    with pytest.raises(ConfigurationError, match="WGT_LANES must divide COLS = 25"):
        schedule.hypothetical(configuration("net_8x8"), ["COLS=25"])
    with pytest.raises(schedule.UserError, match=r"features.0 cannot run on .*ACT_DEPTH = 4 "):
        schedule.main(["--set", "ACT_DEPTH=4"])
