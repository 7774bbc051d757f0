"""Single modules of a foreign core: the example's pass, their bugs are found in the module that has them, ports may
have other names."""

import re
import shutil

import pytest

from tb import simulators
from tb.commands import check_core, command
from tb.foreign.parts import ROLES

COURSE = simulators.ROOT / "tb" / "examples" / "course"
BUGS = {
    "mac_tile": ("sign_extension", "stale_weights"), "mac_row": ("reversed_weights", "stale_weights"),
    "mac_array": ("sign_extension", "reversed_weights"), "l0": ("row_skew",), "ofifo": ("ofifo_early",),
    "sfp": ("relu_first", "not_cleared", "last_tap"),
}  # fmt: skip


def checked(sim, role, *words, core=COURSE / "core.toml"):
    return command.run(lambda: check_core.main(["--core", str(core), "--part", role, "--sim", sim, *words]))


@pytest.mark.parametrize("role", ROLES)
def test_parts_of_the_example(sim, role, capsys):
    assert checked(sim, role) == 0, capsys.readouterr()


@pytest.mark.parametrize(("role", "bug"), [(role, bug) for role, bugs in BUGS.items() for bug in bugs])
def test_bugs_are_found_in_their_module(sim, role, bug, capsys):
    if sim != "icarus":
        pytest.skip("planted once, where building is quick")
    assert checked(sim, role, "--bug", bug) == 1
    assert f"PART={role}" in capsys.readouterr().out


@pytest.mark.parametrize("role", ["mac_row", "mac_array"])
def test_a_valid_that_is_x_is_found(sim, role, tmp_path, capsys):
    if sim != "icarus":
        pytest.skip("Verilator has no X")
    core = tmp_path / "team"
    shutil.copytree(COURSE, core)
    row = (core / "mac_row.v").read_text()
    line = "assign valid[c] = inst[c+1][1];"
    assert line in row
    # X in place of 0, where nobody counts on it: as many cycles are high as before
    (core / "mac_row.v").write_text(row.replace(line, "assign valid[c] = inst[c+1][1] ? 1'b1 : 1'bx;"))
    assert checked(sim, role, core=core / "core.toml") == 1
    assert "valid of column 0 is X" in capsys.readouterr().out


def test_other_names_by_port_map(sim, tmp_path, capsys):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    core = tmp_path / "team"
    shutil.copytree(COURSE, core)
    text = (
        (core / "sfp.v")
        .read_text()
        .replace("module sfp", "module sfu")
        .replace("wire                   acc,", "wire sum_en, input wire mode,")
    )
    (core / "sfp.v").write_text(text.replace("= acc", "= sum_en & mode"))
    adapter = core / "core.toml"
    for more, told in (
        ("", "no module 'sfp'"), ('module = "sfu"', "sfu has no port acc"),
        ('module = "sfu"\nports = { acc = "sum_en" }', "input mode of sfu is driven by nothing"),
        ('module = "sfu"\nports = { accu = "sum_en" }', "'accu' is no port of a sfp"),
    ):  # fmt: skip
        adapter.write_text(f"[core]\n[parts.sfp]\n{more}\n")
        assert checked(sim, "sfp", core=adapter) == 2
        assert told in capsys.readouterr().err
    adapter.write_text('[core]\n[parts.sfp]\nmodule = "sfu"\nports = { acc = "sum_en" }\npins = { mode = 1 }\n')
    assert checked(sim, "sfp", core=adapter) == 0


def test_an_ofifo_whose_width_is_called_bw(sim, tmp_path, capsys):
    """As the class has it; the other modules' bw is that of an activation."""
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    core = tmp_path / "team"
    shutil.copytree(COURSE, core)
    text = (core / "ofifo.v").read_text()
    assert "psum_bw" in text
    (core / "ofifo.v").write_text(text.replace("psum_bw", "bw"))
    (core / "corelet.v").write_text((core / "corelet.v").read_text().replace("ofifo #(.psum_bw(", "ofifo #(.bw("))
    assert checked(sim, "ofifo", core=core / "core.toml") == 0, capsys.readouterr()


@pytest.mark.parametrize("role", ["mac_tile", "sfp"])
def test_a_reset_that_is_low(sim, role, tmp_path, capsys):
    """The core's reset level is its modules' too."""
    core = tmp_path / "team"
    shutil.copytree(COURSE, core)
    module = core / f"{role}.v"
    text, count = re.subn(r"\breset\b", "rst_n", module.read_text())
    assert count > 1
    module.write_text(text.replace("if (rst_n)", "if (!rst_n)"))
    (core / "core.toml").write_text(
        f'[capabilities]\nrelu = "always"\n[course]\nreset_level = 0\n[parts.{role}]\nports = {{ reset = "rst_n" }}\n'
    )
    assert checked(sim, role, core=core / "core.toml") == 0, capsys.readouterr()


@pytest.mark.parametrize("role", ["mac_tile", "sfp", "mac_array"])
@pytest.mark.parametrize("bits", [7, 9])
def test_psums_of_few_bits(sim, role, bits, tmp_path, capsys):
    """No more is asked of a module than its psums hold."""
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    core = tmp_path / "team"
    shutil.copytree(COURSE, core)
    (core / "core.toml").write_text(
        f'[core]\n[capabilities]\nact_bits = 2\nwgt_bits = 2\npsum_bits = {bits}\nrelu = "always"\n'
    )
    for seed in ("1", "2", "3"):
        assert checked(sim, role, "--seed", seed, core=core / "core.toml") == 0, capsys.readouterr()
