"""Lint and synthesis of the Verilog, no simulation."""

import shutil

import pytest

from golden_model.configuration import configuration, configurations
from tb import hardware


@pytest.mark.parametrize("name", configurations())
def test_lint(name):
    hardware.lint(configuration(name))


@pytest.mark.skipif(shutil.which("yosys") is None, reason="Yosys is not installed (make synth installs it)")
def test_synthesis():
    c = configuration("odd_3x5")
    figures = hardware.summary(hardware.synthesise(c))
    # Every tile holds at least a product's operands, its accumulator and its hold register.
    assert figures["flip-flops"] > c.rows * c.cols * (c.act_bits + 3 * c.wgt_bits + 3 * c.psum_bits)
    assert figures["block RAM"] + figures["LUT RAM"] > 0


def test_lint_finds_something(tmp_path, monkeypatch):
    """The check itself can fail: a width that does not match is reported."""
    from tb import simulation

    broken = tmp_path / "core.v"
    parameters = ", ".join(f"parameter {name} = 1" for name in configuration("course_8x8").parameters)
    broken.write_text(
        f"module core #({parameters}) (input wire [3:0] a, output wire [7:0] b);\nassign b = a;\nendmodule\n"
    )
    monkeypatch.setattr(simulation, "rtl_sources", lambda: [broken])
    with pytest.raises(hardware.HardwareError, match="WIDTH"):
        hardware.lint(configuration("course_8x8"))
