"""Running simulations: what is said when one fails, ends early, or cannot be built."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tb import simulators

CASES = """
import importlib.util, os, signal, sys
from importlib.metadata import version
import cocotb
from cocotb.triggers import Timer

def deeper(value):
    assert value == 4

@cocotb.test()
async def bare(dut):
    await Timer(1, "ns")
    deeper(3)

@cocotb.test()
async def told(dut):
    await Timer(1, "ns")
    assert False, "three, not four"

@cocotb.test()
async def broken(dut):
    await Timer(1, "ns")
    {}["x"]

@cocotb.test()
async def passes(dut):
    await Timer(1, "ns")

@cocotb.test()
async def light(dut):
    await Timer(1, "ns")
    assert importlib.util.find_spec("pytest") and sys.modules["pytest"].__file__.endswith("__init__.py")
    assert not [name for name in sys.modules if name.startswith(("_pytest.config", "_pytest.assertion"))]

@cocotb.test()
async def raises(dut):
    import pytest
    with pytest.raises(KeyError):
        {}["x"]
    assert sys.modules["pytest"].__version__ == version("pytest")
    assert 0.1 + 0.2 == pytest.approx(0.3) and "_pytest.config" in sys.modules
    await Timer(1, "ns")
    with pytest.raises(KeyError):
        pass

@cocotb.test(expect_fail=True)
async def fails_as_expected(dut):
    import pytest
    await Timer(1, "ns")
    with pytest.raises(KeyError):
        pass

@cocotb.test()
async def matches(dut):
    import pytest
    await Timer(1, "ns")
    with pytest.RaisesGroup(KeyError):
        raise ExceptionGroup("two", [KeyError("x"), ValueError("y")])

@cocotb.test()
async def endless(dut):
    while True:
        await Timer(1, "us")

@cocotb.test()
async def dies(dut):
    await Timer(1, "ns")
    os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))
    while True:
        await Timer(1, "us")
"""


@pytest.fixture
def run(sim, tmp_path, monkeypatch):
    (tmp_path / "cases_of_a_test.py").write_text(CASES)
    path = os.pathsep.join([str(tmp_path), str(simulators.ROOT)])
    built = simulators.build(sim, "sram", {"WIDTH": 5, "DEPTH": 3})

    def run(only, **options):
        environment = {"PYTHONPATH": path, **options.pop("environment", {})}
        return simulators.run(built, "cases_of_a_test", only=only, environment=environment, **options)

    return run


def test_failures_say_what_and_where(run):
    found = {outcome.name: outcome.failure for outcome in run("bare|told|broken|passes")}
    assert "assert value == 4" in found["bare"] and found["told"].startswith("three, not four")
    assert found["broken"].startswith("KeyError: 'x' (") and "cases_of_a_test.py:" in found["broken"]
    assert found["passes"] is None


def test_pytest_is_there_for_who_uses_it_alone(run):
    """Each simulation starts without it, a third sooner; a bench of the user's own may want it."""
    assert [outcome.failure for outcome in run("light")] == [None]
    found = {outcome.name: outcome.failure for outcome in run("raises|matches|fails_as_expected|passes")}
    assert "DID NOT RAISE" in found["raises"] and "did not match: 1 matched" in found["matches"]
    assert found["fails_as_expected"] is None and found["passes"] is None


def test_a_simulation_without_end_is_ended(run):
    began = time.perf_counter()
    with pytest.raises(simulators.SimulationError, match="took longer than 2 s"):
        run("endless", timeout=2.0)
    assert time.perf_counter() - began < 10


def test_what_a_thread_waits_for_ends_with_an_interrupt(tmp_path):
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ThreadPoolExecutor(1) as pool, simulators.ended_with():
        waits = pool.submit(simulators.tools.execute, ["sleep", "60"], tmp_path, os.environ, tmp_path / "log")
        time.sleep(0.5)
        raise KeyboardInterrupt
    assert waits.result() == -9 and time.monotonic() - began < 30


def test_what_processes_take_from_each_other_counts(monkeypatch):
    """Of those that run at once the longest wait; one that has ended takes nothing back, a new one counts whole."""
    waited = {1: 5.0, 2: 300.0}
    monkeypatch.setattr(simulators.tools, "_waited", waited.get)
    held_up = simulators.tools.HeldUp()
    held_up.look([1, 2])
    assert held_up.seconds == 300.0
    waited |= {1: 5.5, 2: 301.0}
    assert held_up.look([1, 2]) == 1.0
    del waited[2]
    waited |= {1: 5.75, 3: 0.125}
    assert held_up.look([1, 2, 3]) == 0.25 and held_up.look([]) == 0.0 and held_up.look([1]) == 0.0
    assert held_up.seconds == 301.25


def test_time_in_which_others_had_the_processor_does_not_count(tmp_path):
    """A limit says something of the design; on a busy machine a good one would exceed it."""

    def python(text):
        return [sys.executable, "-c", f"import os, time; os.sched_setaffinity(0, [{cpu}]); {text}"]

    cpu = min(os.sched_getaffinity(0))
    others = [subprocess.Popen(python("\nwhile True: pass"), start_new_session=True) for _ in range(3)]
    try:
        began = time.monotonic()
        words = python("\nwhile time.process_time() < 0.5: pass")
        assert simulators.tools.execute(words, tmp_path, os.environ, tmp_path / "log", 1.2) == 0
        assert time.monotonic() - began > 1.2
        began = time.monotonic()
        parent = ["sh", "-c", f"{shlex.join(words)}; true"]  # as make waits for a compiler
        assert simulators.tools.execute(parent, tmp_path, os.environ, tmp_path / "log", 1.2) == 0
        assert time.monotonic() - began > 1.2
        for text in ("time.sleep(60)", "\nwhile True: pass"):
            assert simulators.tools.execute(python(text), tmp_path, os.environ, tmp_path / "log", 0.5) is None
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_simulator_that_is_killed_is_told_as_that(run, name):
    with pytest.raises(
        simulators.SimulationError, match=rf"was ended by {name}: killed|ended from outside \(SIGTERM\)"
    ) as raised:
        run("dies", environment={"SIGNAL": name})
    # A design can crash its simulator; that it is killed is not the design's doing.
    if name != "SIGTERM":  # which cocotb takes for the design's $finish
        assert isinstance(raised.value, simulators.EndedFromOutside) == (name == "SIGKILL")


def test_no_test_of_that_name(run):
    with pytest.raises(simulators.SimulationError, match="no test of cases_of_a_test matched 'nothing'"):
        run("nothing")


def test_builds_that_cannot_be_written_name_the_way_out(sim, monkeypatch):
    monkeypatch.setattr(importlib.import_module("tb.simulators.build"), "BUILD", Path("/proc/nowhere/sim"))
    with pytest.raises(
        simulators.SimulationError, match=r"/proc/nowhere, which cannot be written .*; COSIM_BUILD=folder"
    ):
        simulators.build(sim, "sram", {"WIDTH": 6, "DEPTH": 3})


def test_where_builds_go():
    """Relative to where the command was started, not to where a simulator runs; an empty setting is none."""
    code = "from tb import simulators; print(simulators.BUILD)"

    def told(value):
        environment = {**os.environ, "COSIM_BUILD": value, "PYTHONPATH": str(simulators.ROOT)}
        return subprocess.check_output([sys.executable, "-c", code], text=True, env=environment, cwd="/tmp").strip()

    assert told("out") == "/tmp/out/sim" and told("/tmp/out") == "/tmp/out/sim"
    assert told("") == str(simulators.ROOT / "build" / "sim")


def test_warnings_of_a_preprocessor_are_no_verilog(sim, tmp_path):
    """A macro that two files define otherwise, as often in courses."""
    for name, depth in (("a", 64), ("b", 32)):
        text = f"`define DEPTH {depth}\nmodule {name}(output [7:0] q); assign q = `DEPTH; endmodule\n"
        (tmp_path / f"{name}.v").write_text(text)
    sources = [tmp_path / "a.v", tmp_path / "b.v"]
    text, _ = simulators.preprocessed(sim, sources, [], {})
    assert "REDEF" not in text.read_text() and "assign q = 32;" in text.read_text()
    assert simulators.build(sim, "b", {}, sources=[text], foreign=simulators.Foreign())


@pytest.mark.parametrize(
    ("code", "said", "outside"),
    [
        (-9, "", True), (1, "cc1plus: fatal error: Killed signal terminated program cc1plus", True),
        (1, "ld: final link failed: No space left on device", True), (1, "core.v:1: syntax error", False),
        (-11, "", False),
    ],
)  # fmt: skip
def test_a_build_that_is_killed_says_nothing_of_the_design(sim, tmp_path, monkeypatch, code, said, outside):
    """Neither of its parts does: the preprocessor, the compilers."""
    module = importlib.import_module("tb.simulators.build")
    monkeypatch.setattr(module, "BUILD", tmp_path)
    (tmp_path / "x.v").write_text("module x(input clk); endmodule\n")

    def execute(words, directory, environment, log, *more, errors=None):
        directory.mkdir(exist_ok=True)
        (errors or log).write_text(said)
        return code

    monkeypatch.setattr(module, "execute", execute)
    sources = [tmp_path / "x.v"]
    for what in (
        lambda: simulators.preprocessed(sim, sources, [], {}),
        lambda: simulators.build(sim, "x", {}, sources=sources, foreign=simulators.Foreign()),
        lambda: simulators.build(sim, "x", {}, sources=sources),
    ):
        with pytest.raises(simulators.SimulationError) as raised:
            what()
        assert isinstance(raised.value, simulators.EndedFromOutside) == outside, raised.value


def test_one_build_does_not_change_the_next(sim, tmp_path):
    """cocotb-test adds to the list of arguments that it is given; a name of another build's folder stayed in it."""
    made = [
        simulators.build(sim, "sram", {"WIDTH": 3, "DEPTH": depth}, sources=[simulators.rtl_source("sram")])
        for depth in (9, 10)
    ]
    words = [simulators.tools.command(sim, "sram", {}, [], one.directory, False).compile_args for one in made]
    assert not [word for word in words[1] if made[0].directory.name in str(word)]
    assert list(simulators.tools.OWN_ARGUMENTS[sim]) == [w for w in simulators.tools.OWN_ARGUMENTS[sim] if "/" not in w]


PLAIN = """
module tiny #(parameter N = 1) (input wire clk, output reg [7:0] q);
    always @(posedge clk) q <= q + N;
endmodule
"""
DELAYED = PLAIN.replace("always", "reg own = 0; always #1 own = ~own; always @(posedge own) q[0] <= own; always")


def test_what_verilator_builds_share_is_kept_for_each_kind(sim, tmp_path, monkeypatch):
    """A model with delays needs another part of Verilator's runtime, and its header read with coroutines."""
    if sim != "verilator":
        pytest.skip("Verilator's runtime")
    monkeypatch.setattr(importlib.import_module("tb.simulators.build"), "BUILD", tmp_path)
    logs = []
    for name, text, n in (("plain", PLAIN, 1), ("delayed", DELAYED, 1), ("delayed", DELAYED, 2)):
        source = tmp_path / name / "tiny.v"
        source.parent.mkdir(exist_ok=True)
        source.write_text(text)
        built = simulators.build(sim, "tiny", {"N": n}, sources=[source])
        logs.append((built.directory / "build.log").read_text())
    compiled = [
        [part in log for part in ("verilated.cpp", "verilated_vpi.cpp", "verilated_timing.cpp")] for log in logs
    ]
    assert compiled == [[True, True, False], [True, True, True], [False, False, False]]


def test_warnings_stay_as_they_were(tmp_path, sim):
    """Of what is deprecated: cocotb-test turns them all on, and PyTorch has many."""
    before = list(warnings.filters)
    simulators.tools.command(sim, "fifo", {}, [], tmp_path, False)
    assert warnings.filters == before
