"""Lint, synthesis, place and route of the Verilog, no simulation."""

import os
import shutil
import time
from collections import Counter

import pytest

from golden_model.configuration import configuration, configurations
from tb import simulators
from tb.commands import command, place, synthesis
from tb.commands import lint as hardware

needs_yosys = pytest.mark.skipif(
    shutil.which("yosys") is None, reason="Yosys is not installed (make synth installs it)"
)


@pytest.mark.parametrize("name", configurations())
def test_lint(name):
    hardware.lint(configuration(name))


def test_lint_finds_something(tmp_path, monkeypatch):
    """The check itself can fail: a width that does not match is reported."""
    broken = tmp_path / f"{hardware.TOP}.v"
    parameters = ", ".join(f"parameter {name} = 1" for name in configuration("course_8x8").parameters)
    broken.write_text(
        f"module {hardware.TOP} #({parameters}) (input wire [3:0] a, output wire [7:0] b);\nassign b = a;\nendmodule\n"
    )
    monkeypatch.setattr(simulators, "rtl_sources", lambda: [broken])
    with pytest.raises(hardware.HardwareError, match="WIDTH"):
        hardware.lint(configuration("course_8x8"))


@needs_yosys
def test_synthesis():
    c = configuration("odd_3x5")
    done = synthesis.synthesise(c)
    rows = {row.module: row for row in done.rows}
    whole, tiles, sram = (synthesis.figures(rows[name].cells) for name in (synthesis.TOP, "mac_tile", "sram"))
    assert rows["mac_tile"].instances == c.rows * c.cols and whole["DSP"] == 0  # products of 3x6 bits are LUTs
    # Every tile holds at least a product's operands, its accumulator and its hold register.
    assert whole["FF"] > tiles["FF"] > c.rows * c.cols * (c.act_bits + 3 * c.wgt_bits + 3 * c.psum_bits)
    assert whole["BRAM"] + whole["LUTRAM"] > 0
    words = {c.act_depth: c.rows * c.act_bits, c.wgt_depth: max(c.rows * c.wgt_lanes, c.cols) * c.wgt_field}
    words[c.psum_depth] = c.cols * c.psum_bits
    assert sram["memory bits"] == sum(depth * width for depth, width in words.items())
    assert whole["memory bits"] > sram["memory bits"]  # and the FIFOs


@needs_yosys
def test_tile_is_placed_and_routed():
    done = synthesis.synthesise(configuration("odd_3x5"), "mac_tile")
    placed = place.place_and_route(done.netlist, "mac_tile")
    cells = done.rows[0].cells
    assert placed.used["TRELLIS_FF"][0] == cells["TRELLIS_FF"]  # the ports' registers are not counted
    assert placed.used["MULT18X18D"] == (0, place.MULTIPLIERS)
    assert placed.used["TRELLIS_COMB"][0] >= cells["LUT4"]
    assert placed.fmax_mhz == pytest.approx(1000 / placed.path[-1][0], rel=0.01)
    assert max(len(line) for line in place.report(placed)) <= 80


@needs_yosys
def test_unknown_module_is_told():
    with pytest.raises(hardware.HardwareError, match=r"no module 'mac_tyle'; there are: .*mac_tile"):
        synthesis.synthesise(configuration("odd_3x5"), "mac_tyle")


@needs_yosys
def test_yosys_complaint_is_told(tmp_path, monkeypatch):
    broken = tmp_path / "fifo.v"
    broken.write_text("module fifo (input wire clk);\nwire [DEPTH-1:0] a;\nendmodule\n")
    monkeypatch.setattr(simulators, "rtl_sources", lambda: [broken])
    with pytest.raises(hardware.HardwareError, match=r"yosys, fifo of odd_3x5:\n.*fifo.v:2: ERROR"):
        synthesis.synthesise(configuration("odd_3x5"), "fifo")


def test_table_without_yosys(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert command.run(lambda: synthesis.main(["--pnr", "0"])) == 2
    assert "apt-get install -y yosys" in capsys.readouterr().err


def _module(*kinds, memories=None):
    cells = {f"cell{index}": {"type": kind} for index, kind in enumerate(kinds)}
    return {"attributes": {}, "cells": cells, "memories": memories or {}}


def test_hierarchy_counts_instances_and_what_is_inside():
    small, large = "$paramod$0f\\fifo", "$paramod\\fifo\\WIDTH=s32'00"
    modules = {
        "core": _module("LUT4", "lane", "lane", large),
        "lane": _module("TRELLIS_FF", small, small, small),
        small: _module("LUT4", "TRELLIS_FF"),
        large: _module("LUT4", "LUT4", "CCU2C"),
        "LUT4": {"attributes": {"blackbox": "1"}, "cells": {}},
    }
    memories = {small: _module(memories={"memory": {"width": 3, "size": 5}})}
    rows = synthesis.hierarchy(modules, memories, "core")
    assert [(row.module, row.level, row.instances) for row in rows] == [
        ("core", 0, 1), ("fifo", 1, 1), ("lane", 1, 2), ("fifo", 2, 6)
    ]  # fmt: skip
    assert [(row.cells["LUT4"], row.cells["TRELLIS_FF"]) for row in rows] == [(9, 8), (2, 0), (6, 8), (6, 6)]
    assert [row.cells["memory bits"] for row in rows] == [90, 0, 90, 90]
    assert synthesis.figures(Counter(CCU2C=4))["carry"] == 4


def test_table_fits_80_columns():
    from rich.console import Console

    cells = Counter({"LUT4": 83_640, "CCU2C": 9_999, "TRELLIS_FF": 83_640, "MULT18X18D": 156, "DP16KD": 208})
    cells.update({"TRELLIS_DPR16X4": 9_999, "memory bits": 9_999_999})
    row = synthesis.Row("skew_fifo", 2, 1024, cells)
    console = Console(width=200)
    with console.capture() as text:
        done = synthesis.Synthesis("core", [row], {})
        console.print(synthesis.table(configuration("net_16x16"), done))
    assert max(len(line.rstrip()) for line in text.get().splitlines()) <= 80


NETLIST = {
    "modules": {
        "thing": {
            "ports": {
                "clk": {"direction": "input", "bits": [2]},
                "a": {"direction": "input", "bits": [3, 4]},
                "b": {"direction": "output", "bits": [5, "0"]},
            },
            "netnames": {"inner": {"bits": [9, "x"]}},
            "cells": {},
        }
    }
}


def test_every_port_bit_gets_a_register():
    registered, count = place.with_port_registers(NETLIST, "thing")
    module = registered["modules"]["thing"]
    wiring = {name: (cell["connections"]["DI"], cell["connections"].get("Q")) for name, cell in module["cells"].items()}
    assert wiring == {"port a[0]": ([10], [3]), "port a[1]": ([3], [4]), "port b[0]": ([5], None)}
    assert count == 3 and set(module["ports"]) == {"clk", "pin"}
    assert not NETLIST["modules"]["thing"]["cells"]  # the original is left as it was


def test_design_without_a_clock_is_refused():
    netlist = {"modules": {"thing": {"ports": {}, "netnames": {}, "cells": {}}}}
    with pytest.raises(hardware.HardwareError, match="thing has no port clk"):
        place.with_port_registers(netlist, "thing")


def test_design_that_does_not_fit_is_told():
    """A real run of nextpnr: one multiplier more than the device has."""
    cells = {
        f"multiplier{index}": {
            "type": "MULT18X18D", "parameters": {}, "attributes": {}, "port_directions": {}, "connections": {},
        }
        for index in range(place.MULTIPLIERS + 1)
    }  # fmt: skip
    netlist = {"modules": {"thing": {**NETLIST["modules"]["thing"], "cells": cells}}}
    with pytest.raises(hardware.HardwareError, match=r"nextpnr, thing on LFE5U-85F-6:\n *ERROR.*MULT18X18D"):
        place.place_and_route(netlist, "thing")


def test_missing_nextpnr_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(place.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(hardware.HardwareError, match="make setup"):
        place.place_and_route(NETLIST, "thing")


def _step(kind, delay, start, end, net=None):
    (cell, port), (to_cell, to_port) = start.rsplit(".", 1), end.rsplit(".", 1)
    step = {
        "type": kind,
        "delay": delay,
        "from": {"cell": cell, "port": port},
        "to": {"cell": to_cell, "port": to_port},
    }
    return {**step, "net": net} if net else step


# Recorded from a run on core, shortened.
PATH = [
    _step("clk-to-q", 0.525, "u_l0.level_q_TRELLIS_FF_Q_2.Q", "u_l0.level_q_TRELLIS_FF_Q_2.Q"),
    _step("routing", 0.911, "u_l0.level_q_TRELLIS_FF_Q_2.Q", "u_l0.rd_LUT4_Z_D_LUT4_Z.B", "u_l0.level_q[2]"),
    _step("logic", 0.236, "u_l0.rd_LUT4_Z_D_LUT4_Z.B", "u_l0.rd_LUT4_Z_D_LUT4_Z.F"),
    _step("routing", 0.730, "u_l0.rd_LUT4_Z_D_LUT4_Z.F", "col[1].product_MULT18X18D_P0.A0", "u_l0.rd_LUT4_Z_D[3]"),
    _step("logic", 3.927, "col[1].product_MULT18X18D_P0.A0", "col[1].product_MULT18X18D_P0.P2"),
    _step("routing", 1.500, "col[1].product_MULT18X18D_P0.P2", "col[1].sum_LUT4_Z.A", "col[1].product[2]"),
    _step("logic", 0.236, "col[1].sum_LUT4_Z.A", "col[1].sum_LUT4_Z.F"),
    _step("routing", 0.758, "col[1].sum_LUT4_Z.F", "col[1].psum_s_TRELLIS_FF_Q_3.DI", "col[1].sum[7]"),
    _step("setup", 0.0, "col[1].psum_s_TRELLIS_FF_Q_3.DI", "col[1].psum_s_TRELLIS_FF_Q_3.DI"),
]
REPORT = {
    "fmax": {"$glbnet$clk": {"achieved": 107.26, "constraint": 100}},
    "utilization": {
        kind: {"used": 60, "available": 600} for kind in ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
    },
    "critical_paths": [
        {"from": "<async>", "to": "posedge $glbnet$clk", "path": [{**PATH[0], "delay": 99.0}]},
        {"from": "posedge $glbnet$clk", "to": "posedge $glbnet$clk", "path": PATH},
    ],
}


def test_report_is_read():
    placed = place.read_report(REPORT, registers=21)
    assert placed.fmax_mhz == 107.26
    assert placed.used["TRELLIS_FF"] == (39, 600) and placed.used["TRELLIS_COMB"] == (60, 600)
    assert (placed.logic, placed.multiplier, placed.routing) == pytest.approx((4.924, 3.927, 3.899))
    assert [(pytest.approx(at), name) for at, name in placed.path] == [
        (0.525, "u_l0.level_q[2]"), (6.329, "col[1].product[2]"),
        (8.065, "col[1].sum[7]"), (8.823, "col[1].psum_s")
    ]  # fmt: skip
    text = place.report(placed)
    assert text[0] == "Fmax 107.3 MHz, at least the 100 MHz aimed at"
    assert text[2] == "longest path 8.8 ns: logic 4.9, 3.9 of it a multiplier, routing 3.9"
    assert "below" in place.report(place.dataclasses.replace(placed, fmax_mhz=99.9))[0]


def test_path_from_a_port_into_a_memory():
    steps = [
        _step("clk-to-q", 0.5, "port a[3].Q", "port a[3].Q"),
        _step("routing", 1.0, "port a[3].Q", "u_sram.memory.0.1.ADA5", "a[3]"),
        _step("setup", 0.0, "u_sram.memory.0.1.ADA5", "u_sram.memory.0.1.ADA5"),
    ]
    assert place.signals(steps) == [(0.5, "port a[3]"), (1.5, "u_sram.memory.0.1.ADA5")]


def test_report_without_a_path_is_refused():
    with pytest.raises(hardware.HardwareError, match="no path from register to register"):
        place.read_report({**REPORT, "critical_paths": []}, 0)


def test_verilator_builds_without_a_command_python(monkeypatch, tmp_path):
    """Debian and Ubuntu have python3 only."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    source = tmp_path / "sram.v"
    source.write_text(
        f"{(simulators.rtl_source('sram')).read_text()}// {time.time_ns()}\n"
    )  # what was never built before
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    simulators.verilator_environment.cache_clear()
    try:
        built = simulators.build("verilator", "sram", {"WIDTH": 8, "DEPTH": 4}, sources=[source])
    finally:
        monkeypatch.undo()
        simulators.verilator_environment.cache_clear()
    simulators.discard(built)
