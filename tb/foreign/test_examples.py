"""The two example cores, and this project's own, through the contract for foreign ones: right as they are, and each of
their bugs found with a hint at the place. What is told of a bug comes from what was seen: BUG is a macro of the
Verilog."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from golden_model.convolution import convolve
from quant.errors import UserError
from tb import simulators
from tb.commands import check_core, command
from tb.foreign.adapter import Capabilities, read_adapter
from tb.foreign.selftest import self_tests
from tb.foreign.target import foreign_target, self_test_tasks
from tb.grading.checked import read_checked
from tb.layers.captured import real_layers
from tb.target import prepared, run_layers

EXAMPLES = simulators.ROOT / "tb" / "examples"
HINTS = {
    "course": {
        "last_tap": "the last tap (kij 8) is not added", "not_cleared": "sums are not cleared",
        "ofifo_early": "each psum is the one 1 position later", "psum_address": "addresses of the psum memory have "
        "8 bits",
        "psum_width": "psums lose their sign: bit 15", "relu_first": "ReLU before the sum",
        "reversed_weights": "columns in reverse order", "row_skew": "row 7 is one position ahead",
        "sign_extension": "negative weights taken as positive", "stale_weights": "all columns work with the "
        "weights of the first tap",
    },
    "stream_os": {
        "last_step": "the last step of each tile is not added", "not_cleared": "sums are not cleared",
        "psum_width": "psums lose their sign: bit 15", "read_early": "tiles more than 2 steps from the corner miss",
        "relu_first": "ReLU before the sum", "reversed_weights": "columns in reverse order",
        "row_address": "each row's sums are those of the next row", "row_skew": "row 7 is one step ahead",
        "sign_extension": "negative weights taken as positive", "stale_weights": "weights come one step late",
    },
}  # fmt: skip
CASES = [(example, bug) for example, hints in HINTS.items() for bug in hints]


def self_tested(path, sim, seed, *defines):
    adapter = read_adapter(path, defines)
    target, c = foreign_target(adapter), adapter.configuration
    tasks = self_test_tasks(adapter, seed)
    return run_layers(target, c, tasks, sim=sim, seed=seed, only="self_test", built=target.build(sim, c))


@pytest.mark.parametrize("example", ["course", "stream_os", "own"])
def test_self_test(sim, seed, example):
    ran = self_tested(EXAMPLES / example / "core.toml", sim, seed)
    assert ran.failure is None, ran.failure
    assert len(ran.results) == 10 + (example != "course")  # one adds over ic_tiles, one has ReLU as asked for


@pytest.mark.parametrize(("example", "bug"), CASES)
def test_bugs_are_found_and_named(sim, seed, example, bug):
    if sim != "icarus":
        pytest.skip("planted once, where building is quick")
    ran = self_tested(EXAMPLES / example / "core.toml", sim, seed, f"BUG_{bug.upper()}")
    assert ran.failure and f"looks like: {HINTS[example][bug]}" in ran.failure, ran.failure


def test_sums_over_ic_tiles_are_made_as_large_as_they_may_be():
    can = dataclasses.replace(Capabilities(), sums="ic_tile")
    largest = self_tests(can, 1)["largest sums of several ic_tiles"]
    assert 1 << 14 < np.abs(convolve(largest.weight, largest.activation, 1, 1)).max() < 1 << 15
    assert "largest sums of several ic_tiles" not in self_tests(Capabilities(), 1)


@pytest.mark.parametrize("psum_bits", [11, 16])
def test_a_running_sum_that_stops_anywhere_is_seen(psum_bits):
    """An accumulator that saturates far from the ends of its bits, on either side, behind a ReLU."""
    tests = self_tests(dataclasses.replace(Capabilities(), psum_bits=psum_bits), 1)
    layer = tests["largest sums of nine taps, both ways"]
    taps = np.stack([
        convolve(np.where(np.arange(9).reshape(3, 3) == tap, layer.weight, 0), layer.activation, 1, 1)
        for tap in range(9)
    ])  # fmt: skip
    running = np.cumsum(taps, axis=0)
    end = 1 << (psum_bits - 1)
    # Nine taps of a tile fall to 3,840, less than an eighth of 16 bits.
    for least, most in ((-end // 16, end), (-end, end // 16)):
        stopped = np.zeros_like(running[0])
        for tap in taps:
            stopped = np.clip(stopped + tap, least, most)
        assert (np.maximum(stopped, 0) != np.maximum(running[-1], 0)).any(), (least, most)


def test_relu_that_can_be_chosen_is_chosen_both_ways():
    asked = {one.relu for one in self_tests(Capabilities(relu="choice"), 1).values()}
    assert asked == {True, False}
    assert all(one.relu for one in self_tests(Capabilities(), 1).values())


@pytest.mark.parametrize("psum_bits", [11, 12, 16, 18, 24])
@pytest.mark.parametrize("bits", [4, 8])
def test_no_little_layer_is_too_large_for_a_core(bits, psum_bits):
    """Whose accumulator holds what its layers make, if not 9 taps of the largest of all numbers."""
    can = dataclasses.replace(Capabilities(), act_bits=bits, wgt_bits=bits, psum_bits=psum_bits)
    if 8 << (bits - 1) >= 1 << (psum_bits - 1):
        with pytest.raises(UserError, match="hold no sum of 8 products"):
            self_tests(can, 1)
        return
    assert self_tests(can, 1)["one weight: which row and column it is"].activation.max() == min(8, (1 << bits) - 1)
    for operands in self_tests(can, 1).values():
        most = np.abs(convolve(operands.weight, operands.activation, 1, operands.padding)).max()
        assert most < 1 << (psum_bits - 1)


def test_every_bug_of_the_examples_is_here():
    for example, hints in HINTS.items():
        text = "".join(path.read_text() for path in (EXAMPLES / example).glob("*.v"))
        assert all(f"`ifdef BUG_{bug.upper()}" in text or f"`ifndef BUG_{bug.upper()}" in text for bug in hints)


@pytest.mark.parametrize("example", ["course", "stream_os", "own"])
def test_layers(sim, seed, example):
    """A layer of one tile, one of many ic_tiles, one with signed activations in windows, a strided one, one with
    residual.

    All on Verilator; on Icarus the smallest. Those that are full size are run by ``make check-core``.
    """
    from quant.network import load_network

    adapter = read_adapter(EXAMPLES / example / "core.toml")
    target, c = foreign_target(adapter), adapter.configuration
    wanted = {
        "vgg16_digits": ["features.27", "features.24", "features.0"],
        "resnet20_digits": ["layer2.0.conv1", "layer3.2.conv2"],
    }
    if sim == "icarus":
        wanted = {"vgg16_digits": ["features.27"]}
    tasks = [
        layer.task for name, layers in wanted.items()
        for layer in real_layers(load_network(name), layers, 0, c, adapter.can.flow)
    ]  # fmt: skip
    made = prepared(target, c, tasks)
    ran = run_layers(target, c, tasks, sim=sim, seed=seed, built=target.build(sim, c), made=made)
    assert ran.failure is None, ran.failure
    for (_, passes), result in zip(made, ran.results, strict=True):
        s = passes.shape
        outputs = s.oc * s.n_o_nij
        assert result["compared"] >= 2 * outputs, "accumulated sums and outputs of the whole layer"


@pytest.mark.parametrize("example", ["course", "own"])
def test_stalls_change_nothing(sim, seed, example):
    adapter = read_adapter(EXAMPLES / example / "core.toml")
    target, c = foreign_target(adapter), adapter.configuration
    tasks = self_test_tasks(adapter, seed)
    ran = run_layers(target, c, tasks, sim=sim, seed=seed, only="self_test", stalls=0.4, built=target.build(sim, c))
    assert ran.failure is None, ran.failure


def test_a_driver_that_cannot_stall_makes_no_core_wrong(sim, tmp_path, capsys):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    core, result = EXAMPLES / "stream_os" / "core.toml", tmp_path / "result.json"
    words = ["--core", str(core), "--stalls", "0.4", "--result", str(result)]
    assert command.run(lambda: check_core.main(words)) == 2
    assert "STALLS=0.4: driver.py:StreamDriver cannot stall; leave STALLS away" in capsys.readouterr().err
    assert read_checked(result).undecided


def test_a_core_of_two_bits_gets_layers_of_two_bits():
    adapter = read_adapter(EXAMPLES / "own/core.toml")
    adapter = dataclasses.replace(adapter, can=dataclasses.replace(adapter.can, channels=2))
    settings = {"IMAGE": "0", "DATA": None, "LAYER": None, "CHECKPOINT": None, "GOLDEN": None, "SEED": "1"}
    layers = check_core.layers_of(settings, adapter.configuration, adapter)
    assert [layer.task.operands.activation.max() for layer in layers["vgg16_w4a2"]] == [3, 3]


@pytest.fixture
def changed(tmp_path):
    """The course example with words of one of its files exchanged."""

    def change(file, *pairs):
        folder = tmp_path / "team"
        shutil.copytree(EXAMPLES / "course", folder)
        text = (folder / file).read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        (folder / file).write_text(text)
        return folder / "core.toml"

    return change


REGISTERED = """
module core #(parameter bw = 4, psum_bw = 16, col = 8, row = 8) (
    input clk, input reset, input [33:0] inst, input [bw*row-1:0] D_xmem, output ofifo_valid,
    output [psum_bw*col-1:0] sfp_out
);
    reg [33:0] inst_q; reg [bw*row-1:0] d_q;
    always @(posedge clk or posedge reset)
        if (reset) begin inst_q <= {34{1'b0}} | 34'h1800C0000; d_q <= 0; end
        else begin inst_q <= inst; d_q <= D_xmem; end
    inner #(bw, psum_bw, col, row) u (clk, reset, inst_q, d_q, ofifo_valid, sfp_out);
endmodule
"""


def test_a_core_that_registers_its_instruction(sim, seed, changed):
    """A reset right behind the last write would take the write away."""
    path = changed("core.v", ("module core #", f"{REGISTERED}module inner #"))
    text = path.read_text().replace("u_pmem.memory", "u.u_pmem.memory").replace("output = 1", "output = 2")
    path.write_text(text.replace("drain = 11", "drain = 12"))
    ran = self_tested(path, sim, seed)
    assert ran.failure is None, ran.failure


MISTAKES = {
    "sums of 12 bits": (
        "sfp.v", [("reg  signed [psum_bw-1:0] sum_q", "reg  signed [11:0] sum_q"), ("sum_q[psum_bw-1]", "sum_q[11]")],
        "sums have 12 bits and wrap",
    ),
    "an accumulator that nothing clears": (
        "sfp.v", [("if (reset)     sum_q", "if (1'b0)     sum_q")], "psums are right and all outputs are unknown (X)",
    ),
    "read pointers that nothing resets": (
        "fifo.v", [("if (reset)", "if (1'b0)")], "psums are unknown (X)",
    ),
    # Neither is shown by a layer that is driven with fixed delays, or needs less of a memory than the core states
    "valid with the first column": ("ofifo.v", [("~|empty", "~&empty")], "position 0, column"),
    "half of the psum memory": (
        "core.v", [("a_pmem = inst[30:20]", "a_pmem = {2'b00, inst[28:20]}")],
        "addresses of the psum memory have 9 bits",
    ),
    "an OFIFO of 32 words": ("ofifo.v", [("depth   = 64", "depth   = 32")], "position 0 to 31"),
    "an L0 of 32 words": ("l0.v", [("depth = 64", "depth = 32")], "position 0 to 31"),
    "reset the other way round": ("corelet.v", [(".reset(reset)", ".reset(~reset)")], "ofifo_valid is 0 when the "
    "OFIFO is read"),
    "execute and load exchanged": (
        "corelet.v", [("inst_w(inst[1:0])", "inst_w({inst[0], inst[1]})")],
        "ofifo_valid is 1 after all psums",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_others(sim, seed, changed, mistake):
    """Mistakes that somebody else made in the example, most of which no bug of ours makes."""
    if sim != "icarus":
        pytest.skip("planted once, where building is quick")
    file, pairs, told = MISTAKES[mistake]
    ran = self_tested(changed(file, *pairs), sim, seed)
    said = "\n".join([ran.failure or "", *(one["failure"] or "" for one in ran.results)])
    assert ran.failure and told in said, said


def test_an_adapter_without_timing_is_told(changed, capsys, sim):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    core = changed("core.toml")
    core.write_text(core.read_text().split("[course.timing]")[0])
    assert command.run(lambda: check_core.main(["--core", str(core)])) == 1
    assert f"make calibrate CORE={core}" in "".join(capsys.readouterr().out.split("\n"))


def test_a_core_that_hangs_is_told_where(sim, tmp_path, capsys):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    folder = tmp_path / "core"
    shutil.copytree(EXAMPLES / "stream_os", folder)
    verilog = folder / "os_core.v"
    text = verilog.read_text()
    gives = "assign m_out_tvalid = state_q == GIVE;"
    assert gives in text
    gone = "m_out_tvalid & m_out_tready & m_out_tlast"
    count = f"reg [3:0] given_q = 0;\nalways @(posedge aclk) given_q <= given_q + ({gone});"
    verilog.write_text(text.replace(gives, f"assign m_out_tvalid = state_q == GIVE & given_q != 4;\n{count}"))
    assert command.run(lambda: check_core.main(["--core", str(folder / "core.toml"), "--sim", sim])) == 1
    printed = capsys.readouterr().out
    assert "  FAIL  " in printed.split("had not ended")[0]
    assert re.search(r"execute of kij 0, o_tile \d+, oc_tile \d+, k_chunk \d+ had not ended after \d+ cycles", printed)
