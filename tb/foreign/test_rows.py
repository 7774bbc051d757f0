"""Cores of each of the interfaces that teams' cores were found to have: described by TOML alone, calibrated,
checked."""

import dataclasses
import re
import shutil

import pytest

from tb import simulators
from tb.commands import calibrate, command
from tb.foreign.adapter import Adapter, Timing, read_adapter
from tb.foreign.target import foreign_target, self_test_tasks
from tb.layers.job import LayerJob
from tb.target import CannotRun, prepared, run_layers

ROWS = simulators.ROOT / "tb" / "foreign" / "rows"
CLASS_ROWS = "abcdefgh"


def failure_of_self_test(adapter: Adapter, sim: str, seed: int) -> str | None:
    target, c = foreign_target(adapter), adapter.configuration
    tasks = self_test_tasks(adapter, seed)
    return run_layers(target, c, tasks, sim=sim, seed=seed, only="self_test", built=target.build(sim, c)).failure


@pytest.mark.parametrize("row", [*CLASS_ROWS, "f2", "j"])
def test_row(sim, seed, row):
    adapter = read_adapter(ROWS / f"{row}.toml")
    assert (adapter.driver is None) == (row != "j")
    if sim == "verilator" and row not in "cj":
        pytest.skip("the same modules in another order; Icarus runs all")
    failure = failure_of_self_test(adapter, sim, seed)
    assert failure is None, failure


def test_a_memory_without_a_read_enable(sim, seed, tmp_path):
    """Of a core that adds up in place: the memory gives what its address says in every cycle."""
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    for name in ("examples/course", "foreign/rows"):
        shutil.copytree(simulators.ROOT / "tb" / name, tmp_path / name)
    for name, old, new in (("rows.v", "inst[35] ?", "1'b1 ?"), ("c.toml", "REN_pmem = 35\n", "")):
        path = tmp_path / "foreign/rows" / name
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
    failure = failure_of_self_test(read_adapter(tmp_path / "foreign/rows/c.toml"), sim, seed)
    assert failure is None, failure


def test_a_bit_that_is_always_set(sim, seed, tmp_path):
    """Also while the core drains, waits and is reset."""
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    for name in ("examples/course", "foreign/rows"):
        shutil.copytree(simulators.ROOT / "tb" / name, tmp_path / name)
    source, toml = tmp_path / "foreign/rows/rows.v", tmp_path / "foreign/rows/c.toml"
    stored = "wire [psum_bw*col-1:0] stored = inst[35]"
    assert source.read_text().count(stored) == 1
    watch = "reg began = 1'b0; always @(posedge clk) begin if (reset) began <= 1'b1; " \
            "if (began & inst[35] !== 1'b1) $error(\"the mode changes\"); end\n"  # fmt: skip
    source.write_text(source.read_text().replace(stored, watch + stored))
    for more, told in (("", "the mode changes"), ("[course.set.always]\nREN_pmem = 1\n", None)):
        toml.write_text(toml.read_text() + more)
        failure = failure_of_self_test(read_adapter(toml), sim, seed)
        assert failure is None if told is None else told in failure, failure


def test_two_channels_to_a_row(sim, seed):
    """A layer of 2-bit activations; one of 4 bits is refused."""
    from quant.network import load_network
    from tb.layers.captured import real_layers

    if sim != "icarus":
        pytest.skip("Icarus is enough")
    adapter = read_adapter(ROWS / "f2.toml")
    target, c = foreign_target(adapter), adapter.configuration
    task = real_layers(load_network("vgg16_w4a2_digits"), ["features.27"], 0, c, adapter.can.flow)[0].task
    ran = run_layers(target, c, [task], sim=sim, seed=seed, built=target.build(sim, c))
    assert ran.failure is None and ran.results[0]["psums"], ran.failure
    wide = real_layers(load_network("vgg16_digits"), ["features.27"], 0, c, adapter.can.flow)[0].task
    with pytest.raises(CannotRun, match="its activations have more than the 2 bits"):
        prepared(target, c, [wide])


def test_a_driver_in_python_is_short():
    lines = [line for line in (ROWS / "driver_j.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40


def small(row: str):
    adapter = read_adapter(ROWS / f"{row}.toml")
    return dataclasses.replace(adapter, can=dataclasses.replace(adapter.can, rows=2, cols=2, positions=8))


@pytest.mark.parametrize("row", ["c", "d", "g"])
def test_latencies_are_found(sim, seed, row, tmp_path):
    """Sets of 0 to 2 cycles in each place: with each seed a ninth of them, which has all pairs of places' values."""
    if sim == "icarus" and row != "c":
        pytest.skip("Verilator runs all")
    adapter = small(row)
    built = foreign_target(adapter).build(sim, adapter.configuration)
    job = LayerJob(adapter.configuration, [], seed, prepared=[adapter]).save(tmp_path / "job.pickle")
    (outcome,) = simulators.run(built, "tb.foreign.cases_rows", seed=seed, environment=job)
    assert outcome.failure is None, outcome.failure


@pytest.fixture
def copied(tmp_path):
    """Row d where it may be written."""
    for name in ("examples/course", "foreign/rows"):
        shutil.copytree(simulators.ROOT / "tb" / name, tmp_path / name)
    return tmp_path / "foreign" / "rows" / "d.toml"


def test_calibrate_writes_what_it_found(copied, capsys, sim):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    right = read_adapter(copied).course.timing
    text = copied.read_text()
    copied.write_text(re.sub(r"(?s)\[course\.timing\].*", "", text))
    assert read_adapter(copied).course.timing == Timing() != right
    assert command.run(lambda: calibrate.main(["--core", str(copied)])) == 0
    assert read_adapter(copied).course.timing == right
    assert copied.read_text().startswith("# Row d"), "the rest of the file has changed"
    assert "written to" in capsys.readouterr().out


def test_calibrate_refuses_where_none_fits(copied, capsys, sim):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    text = copied.read_text().replace("[course.pins]", "[course.bits]\nexecute = 0\nload = 1\n[course.pins]")
    copied.write_text(text)
    assert command.run(lambda: calibrate.main(["--core", str(copied)])) == 2
    assert "none of" in capsys.readouterr().err and copied.read_text() == text


def test_calibrate_tells_a_reversed_order(copied, capsys, sim):
    if sim != "icarus":
        pytest.skip("Icarus is enough")
    text = copied.read_text().replace("[capabilities]", '[capabilities]\nfirst_col = "high"')
    copied.write_text(text)
    assert command.run(lambda: calibrate.main(["--core", str(copied)])) == 2
    assert 'first_col = "low"; write that into [capabilities]' in capsys.readouterr().err and copied.read_text() == text


def test_several_that_differ_are_refused():
    adapter = read_adapter(ROWS / "d.toml")
    fits = [dataclasses.asdict(Timing(xmem_to_l0=latency)) for latency in (1, 2)]
    found = {"fits": fits, "tried": 64, "hold_acc": False, "first_col": "low"}
    with pytest.raises(ValueError, match=r"several sets of latencies give right sums(?s:.*)xmem_to_l0 = 2"):
        calibrate.chosen(adapter, found)
