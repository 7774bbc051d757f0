"""``make new-core``: what it reads from the Verilog of a team, and the adapter that it begins."""

import shutil

import pytest

from quant.errors import UserError
from tb.commands import new_core
from tb.foreign.adapter import AdapterError, read_adapter
from tb.foreign.target import foreign_target
from tb.foreign.verilog import Verilog

CORE = """`include "widths.vh"
module core #(parameter bw = 4, psum_bw = {psum}, col = {cols}, row = {rows}) (
    input clk, input {reset}, input [33:0] inst, input [bw*row-1:0] D_xmem, output ofifo_valid,
    output [psum_bw*col-1:0] sfp_out
);
    inner u_inner(.q(sfp_out[0]));
endmodule
"""


def begun(folder, out=None, **values):
    """The adapter of a core whose modules and headers lie in folders of their own."""
    for name in ("rtl/sub", "rtl/include"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    text = CORE.format(**{"psum": 16, "cols": 8, "rows": 8, "reset": "reset"} | values)
    (folder / "rtl/core.v").write_text(text)
    (folder / "rtl/sub/inner.v").write_text('`include "defs.vh"\nmodule inner(output q); assign q = `ONE; endmodule\n')
    (folder / "rtl/sub/defs.vh").write_text("`define ONE 1'b1\n")
    (folder / "rtl/include/widths.vh").write_text("`define WIDTHS\n")
    out = folder / (out or "rtl/core.toml")
    out.parent.mkdir(exist_ok=True)
    assert new_core.main(["--rtl", str(folder / "rtl"), "--out", str(out)]) == 0
    return read_adapter(out)


@pytest.mark.parametrize("out", ["rtl/core.toml", "adapters/core.toml"])
def test_headers_are_found_from_the_adapter(sim, tmp_path, out):
    adapter = begun(tmp_path, out)
    assert foreign_target(adapter).build(sim, adapter.configuration)


@pytest.mark.parametrize("values", [{"psum": 20}, {"cols": 4, "rows": 16}, {"psum": 24, "cols": 10, "rows": 3}])
def test_the_cores_own_parameters_are_its_capabilities(tmp_path, values):
    can = begun(tmp_path, **values).can
    wanted = {"psum": 16, "cols": 8, "rows": 8} | values
    assert (can.psum_bits, can.cols, can.rows) == tuple(wanted.values()) and can.act_bits == can.wgt_bits == 4


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("reset", 1), ("rst", 1), ("reset_in", 1), ("rst_in", 1), ("areset", 1), ("reset_n", 0), ("RST_N", 0),
        ("RESETN", 0), ("rstn", 0), ("nreset", 0), ("aresetn", 0), ("rst_n_i", 0), ("rst_b", 0),
    ],
)  # fmt: skip
def test_the_level_of_a_reset_by_its_name(tmp_path, name, level):
    assert new_core.active_low(name) == (level == 0)
    if name in ("RST_N", "reset_in"):
        assert begun(tmp_path, reset=name).course.reset_level == level


@pytest.mark.parametrize("suffix", [".toml", ".py"])
def test_nothing_half_written_stays(tmp_path, monkeypatch, suffix):
    (tmp_path / "top.v").write_text("module top(input clk, input go, output [7:0] q); assign q = 0; endmodule\n")
    words = ["--rtl", str(tmp_path), "--top", "top"]
    write = new_core.write_whole

    def full(path, content):
        if path.suffix == suffix:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(new_core, "write_whole", full)
    with pytest.raises(OSError):
        new_core.main(words)
    assert [path.name for path in tmp_path.iterdir()] == ["top.v"]
    monkeypatch.undo()
    assert new_core.main(words) == 0 and (tmp_path / "driver.py").exists()
    with pytest.raises(UserError, match="is there already"):
        new_core.main(words)


def test_what_the_core_does_not_need_may_be_there_twice(tmp_path):
    """Two benches of one name, copies that programs keep; of what is needed there is one."""
    begun(tmp_path)
    for name in ("bench1.v", "bench2.v"):
        (tmp_path / "rtl" / name).write_text("module core_tb; core u_core(); endmodule\n")
    for name in (".ipynb_checkpoints/core.v", "__MACOSX/core.v", "._core.v"):
        copy = tmp_path / "rtl" / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text("module core; endmodule\n")
    adapter = begun(tmp_path, "new/core.toml")
    assert sorted(path.name for path in adapter.sources) == ["core.v", "inner.v"]
    (tmp_path / "rtl/sub/again.v").write_text("module inner(output q); endmodule\n")
    with pytest.raises(AdapterError, match=r"module inner is in .*again.v and in .*inner.v; name the folder of one"):
        begun(tmp_path, "newer/core.toml")
    text = adapter.path.read_text().replace('"../rtl/sub/inner.v"', '"../rtl/sub/*.v"')
    adapter.path.write_text(text)
    with pytest.raises(AdapterError, match=r"module inner is in .*; leave one out of sources"):
        foreign_target(read_adapter(adapter.path)).build("icarus", adapter.configuration)


def test_of_old_copies_the_nearest_is_taken(tmp_path, capsys):
    """Teams keep what they had before beside what they have."""
    for name in ("old/inner.v", "step1/verilog/inner.v"):
        path = tmp_path / "rtl" / name
        path.parent.mkdir(parents=True)
        path.write_text("module inner(output q); old_cell u(); endmodule\n")
    (tmp_path / "rtl/sfu_tb.sv").write_text("program bench; endprogram\nclass driver; endclass\n")
    adapter = begun(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in adapter.sources) == [
        "rtl/core.v",
        "rtl/sub/inner.v",
    ]
    assert "not taken: old/inner.v" in capsys.readouterr().out
    assert "are nearer: old/inner.v, step1/verilog/inner.v\n" in adapter.path.read_text()


def test_what_is_called_old_is_a_word(tmp_path):
    """And what has a package is no bench, whatever else is in it."""
    begun(tmp_path)
    (tmp_path / "rtl/scaffold").mkdir()
    (tmp_path / "rtl/sub/inner.v").rename(tmp_path / "rtl/scaffold/inner.v")
    (tmp_path / "rtl/sub/defs.vh").rename(tmp_path / "rtl/scaffold/defs.vh")
    shutil.copytree(tmp_path / "rtl/scaffold", tmp_path / "rtl/zz/more")
    shutil.copy(tmp_path / "rtl/scaffold/inner.v", tmp_path / "rtl/scaffold/inner_old.v")
    (tmp_path / "rtl/p.sv").write_text("package p; parameter W = 4; endpackage\nprogram bench; endprogram\n")
    out = tmp_path / "rtl/new.toml"
    assert new_core.main(["--rtl", str(tmp_path / "rtl"), "--out", str(out)]) == 0
    names = sorted(path.relative_to(tmp_path / "rtl").as_posix() for path in read_adapter(out).sources)
    assert names == ["core.v", "p.sv", "scaffold/inner.v"]


def test_two_that_include_what_is_no_source(tmp_path):
    (tmp_path / "mac.vh").write_text("module mac(output q); assign q = 1'b1; endmodule\n")
    for name, top in (("other", "other"), ("with_top", "top")):
        text = f'`include "mac.vh"\nmodule {top}(output q); mac u(.q(q)); endmodule\n'
        (tmp_path / f"{name}.v").write_text(text)
    sources = [tmp_path / "other.v", tmp_path / "with_top.v"]
    assert [path.name for path in Verilog(sources, [tmp_path]).used("top")] == ["with_top.v"]


@pytest.mark.parametrize("included", ["a_cell.v", "z_cell.v"])
@pytest.mark.parametrize("guard", [True, False])
def test_sources_that_include_one_another(sim, tmp_path, included, guard):
    """As some teams write them: a file of modules that others include, beside them."""
    for name in ("core.v", "inner.v"):
        begun(tmp_path, f"{name}.toml")
    body = "module cell_of(output q); assign q = 1'b1; endmodule\n"
    guarded = f"`ifndef CELL\n`define CELL\n{body}`endif\n" if guard else body
    (tmp_path / "rtl/sub" / included).write_text(guarded)
    users = ("inner.v", "other.v") if guard else ("inner.v",)
    for name in users:
        text = f'`include "{included}"\nmodule {name[:-2]}(output q); cell_of u(.q(q)); endmodule\n'
        (tmp_path / "rtl/sub" / name).write_text(text)
    core = tmp_path / "rtl/core.v"
    core.write_text(core.read_text().replace("endmodule", "other u_other();\nendmodule") if guard else core.read_text())
    out = tmp_path / "rtl/core.toml"
    assert new_core.main(["--rtl", str(tmp_path / "rtl"), "--out", str(out)]) == 0
    adapter = read_adapter(out)
    assert included not in [path.name for path in adapter.sources]
    assert foreign_target(adapter).build(sim, adapter.configuration)
    # Named by hand, it comes once too
    out.write_text(out.read_text().replace("sources = [", f'sources = ["sub/{included}", '))
    adapter = read_adapter(out)
    assert foreign_target(adapter).build(sim, adapter.configuration)
