"""Cores that never answer, never end, print without end, do not compile, or reach out of their folder: a line, and no
hang."""

import time

import pytest

from tb.commands import check_core, command
from tb.foreign.adapter import read_adapter
from tb.foreign.target import foreign_target

HEAD = """module core #(parameter bw = 4, psum_bw = 16, col = 8, row = 8) (
    input clk, input reset, input [33:0] inst, input [bw*row-1:0] D_xmem, output ofifo_valid,
    output [psum_bw*col-1:0] sfp_out
);
"""
SILENT = "    assign ofifo_valid = 1; assign sfp_out = 0;\n"
# What is in the core, and what is told of it
REFUSED = {
    "system": ('initial $system("touch x");', "core.v:6: $system is not among the system tasks"),
    "hidden by a macro": ("`define S $sys``tem\ninitial `S(\"ls\");", "$system is not among the system tasks"),
    "file by its path": ('integer f; initial f = $fopen("/tmp/x");', "core.v:6: $fopen of /tmp/x, outside of the "
    "folder"),
    "file above": ('integer f; initial f = $fopen("../../x", "w");', "$fopen of ../../x, outside of the folder"),
    "file of any name": ('reg [79:0] n; integer f; initial f = $fopen(n);', "$fopen of n: only a file that is named"),
    "memory from above": ('reg m [0:3]; initial $readmemh("../x", m);', "$readmemh of ../x, outside of the folder"),
    "dump elsewhere": ('initial $dumpfile("/tmp/x.vcd");', "$dumpfile of /tmp/x.vcd, outside of the folder"),
    "behind a comment": ('integer f; initial f = /* here */ $fopen("/tmp/x");', "$fopen of /tmp/x, outside of the "
    "folder"),
    "DPI": ('import "DPI-C" function int f(); ', "DPI imports run code outside of the simulator"),
    "VPI": ("initial $my_task(1);", "$my_task is not among the system tasks"),
    "include by its path": ('`include "/etc/hostname"', "/etc/hostname is included, outside of the folders given"),
    "include from the working folder": (
        '`include "../../../../../../../../../../../../etc/hostname"', "is included, outside of the folders given",
    ),
    "include from above": ('`include "../secret.vh"', "secret.vh is included, outside of the folders given"),
    "syntax": ("assign = 3;", "core.v:6: syntax error"),
    "end is missing": ("always @(posedge clk) begin", "the Verilog does not build with icarus"),
    "a module that is not there": ("other u(clk);", "other"),
}  # fmt: skip
BROKEN = {
    "never valid": ("assign ofifo_valid = 0; assign sfp_out = 0;", "ofifo_valid is 0 when the OFIFO is read"),
    "unknown": ("assign ofifo_valid = 1; reg [psum_bw*col-1:0] q; assign sfp_out = q;", "all outputs are unknown (X)"),
    "loops before the first edge": (SILENT + "initial while (1) begin end", "did not get to its first clock edge"),
    "loops at an edge": (SILENT + "always @(posedge clk) if (inst[1]) while (1) begin end", "took longer than"),
    "prints without end": (SILENT + 'always @(posedge clk) repeat (99999) $display("%m%m%m%m");', "printed more than"),
    "ends by itself": (SILENT + "always @(posedge clk) if (inst[0]) $finish;", "called $finish"),
    "takes all memory": (SILENT + "reg [1023:0] m [0:268435455]; always @(posedge clk) m[inst[27:0]] <= 1;", ""),
    "writes results of its own": (
        SILENT + 'integer f; initial begin f = $fopen("results.xml", "w"); $fwrite(f, "<testsuites><testsuite>'
        '<testcase '
        'name=\\"self_test\\"/></testsuite></testsuites>"); $fclose(f); #900 $finish; end', "called $finish",
    ),
    "always 0": (SILENT, "self-tests failed"),
    "reports an error": (
        SILENT + 'always @(posedge clk) if (inst[1]) $error("a word was lost");', "the design reports an error in "
    ),
}  # fmt: skip


@pytest.fixture
def checked(tmp_path, monkeypatch, capfd):
    """Gives what is told of a core. seconds: that its self-test may take."""

    def check(verilog: str, sim: str, more: str = "", seconds: float = 8.0) -> str:
        monkeypatch.setattr(check_core, "SELF_TEST_TIME", seconds)
        folder = tmp_path / "team"
        folder.mkdir()
        (tmp_path / "secret.vh").write_text("secret")
        (folder / "core.v").write_text(verilog)
        (folder / "core.toml").write_text(f"[core]\n{more}")
        began = time.monotonic()
        code = command.run(lambda: check_core.main(["--core", str(folder / "core.toml"), "--sim", sim]))
        assert time.monotonic() - began < 90
        shown = capfd.readouterr()
        said = " ".join((shown.out + shown.err).split())
        assert code not in (0, None), said
        assert "Traceback" not in said
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["core.toml", "core.v", "secret.vh", "team"]
        return said

    return check


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_it_runs(checked, sim, case):
    if sim != "icarus":
        pytest.skip("nothing is simulated")
    body, told = REFUSED[case]
    said = checked(f"{HEAD}{SILENT}{body}\nendmodule\n", sim)
    assert told in said and "self-test" not in said, said


def test_cpp_in_verilog_is_refused(checked, sim):
    if sim != "verilator":
        pytest.skip("of Verilator alone")
    assert "$c is not among" in checked(
        f'{HEAD}{SILENT}`ifdef VERILATOR\ninitial $c("exit(0);");\n`endif\nendmodule\n', sim
    )


@pytest.mark.parametrize("case", BROKEN)
def test_broken(checked, sim, case):
    if sim != "icarus" and case not in ("prints without end", "always 0", "reports an error"):
        pytest.skip("Icarus runs all")
    body, told = BROKEN[case]
    endless = case.startswith("loops") or case == "takes all memory"
    assert told in checked(f"{HEAD}{body}\nendmodule\n", sim, seconds=3.0 if endless else 8.0)


def test_width_that_is_not_the_adapter_s(checked, sim):
    if sim != "icarus":
        pytest.skip("nothing is simulated")
    told = "port sfp_out of core has 64 bits, needed are 128 for 8 columns of 16 bits"
    assert told in checked((HEAD + SILENT + "endmodule\n").replace("[psum_bw*col-1:0] sfp_out", "[63:0] sfp_out"), sim)


def test_warnings_stop_only_where_asked(checked, sim):
    body = "    wire [3:0] narrow = 8'hff;\n" if sim == "verilator" else "    reg [3:0] n; always @* n[7] = 0;\n"
    assert "warns" in checked(HEAD + SILENT + body + "endmodule\n", sim, 'warnings = "stop"\n')


def test_an_escaped_port_is_refused(checked, sim):
    if sim != "icarus":
        pytest.skip("nothing is simulated")
    text = HEAD.replace("input clk,", 'input clk, input \\x);initial/**/$display("here"); ,')
    assert "has an escaped name" in checked(text + SILENT + "endmodule\n", sim)


def test_what_is_no_verilog_is_refused(checked, sim):
    assert "core.toml is no Verilog" in checked(
        HEAD + SILENT + "endmodule\n", sim, 'sources = ["core.v", "core.toml"]\n'
    )


def test_what_is_included_is_compiled_anew(tmp_path, sim):
    """Macros go from file to file, and a change of an included file is a change."""
    (tmp_path / "inc").mkdir()
    (tmp_path / "a.v").write_text('`include "inc/p.vh"\n')
    (tmp_path / "core.v").write_text(HEAD.replace("[33:0]", "[`W-1:0]") + SILENT + "endmodule\n")
    (tmp_path / "core.toml").write_text('[core]\nsources = ["a.v", "core.v"]\n')
    built = []
    for width in (34, 35):
        (tmp_path / "inc" / "p.vh").write_text(f"`define W {width}\n")
        adapter = read_adapter(tmp_path / "core.toml")
        built.append(foreign_target(adapter).build(sim, adapter.configuration).directory)
    assert built[0] != built[1]
