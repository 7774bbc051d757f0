"""Every planted bug turns the run red, and the report says where."""

import re
import shutil
import subprocess
import sys

import pytest

from golden_model.configuration import configuration
from quant.errors import UserError
from tb import simulators
from tb.commands import mutate
from tb.farm import engine
from tb.foreign import mutants as foreign
from tb.foreign.adapter import read_adapter
from tb.layers.job import LayerJob
from tb.mutation import plant
from tb.mutation.plant import MUTANTS, Mutant, mutation_jobs, run_mutant

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus, whose builds take no time")


@pytest.fixture(scope="module")
def jobs(request):
    return mutation_jobs(configuration("course_8x8"), int(request.config.option_values["SEED"]))


@needs_icarus
@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{m.module}-{m.bug.replace(' ', '_')}" for m in MUTANTS])
def test_mutant(mutant, jobs):
    report = run_mutant(mutant, jobs)
    assert isinstance(report, str), f"{mutant.module}: {mutant.bug} went unseen, {report}"
    if mutant.bench == "core" and " mismatch: " in report:
        assert re.search(r"oc_tile \d+, .*o_nij -?\d+.*, column \d+: expected -?\d+, got (X|-?\d+)", report), report


@needs_icarus
def test_the_command_as_it_is_started():
    """As a program of its own: what it gives to other processes must be importable there."""
    number = sum(mutant.module in ("ofifo", "wgt_fetch") for mutant in MUTANTS)
    words = [sys.executable, "-m", "tb.commands.mutate", "--module", "ofifo,wgt_fetch"]
    done = subprocess.run(words, cwd=simulators.ROOT, capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert done.returncode == 0 and number and f"{number} of {number} bugs were found" in told, told
    assert told.count("red  ") == number and "cluster" not in told, told


def test_a_bug_that_could_not_be_tried_is_not_found(capsys):
    class Gone(engine.Farm):
        def run(self, tasks, told=None):
            yield from (engine.Done(task, None, engine.GONE) for task in tasks)

    lost = mutate._in_order(Gone(), [engine.Task(str(number), run_mutant) for number in range(2)])
    assert mutate._told(["a", "b"], lost) == 1
    told = capsys.readouterr().out
    assert "?     a" in told and engine.GONE in told and "0 of 0 bugs were found; 2 could not be tried" in told
    unbuilt = foreign.Untried("core.v:3: syntax error", refused=True)
    assert mutate._told(["a", "b"], iter(["seen", unbuilt])) == 0
    assert "1 of 1 bugs were found; 1 do not build" in capsys.readouterr().out
    assert mutate._told(["a"], iter([None])) == 1
    with pytest.raises(UserError, match="what could not be run without a bug"):
        list(mutate._after_green(iter([unbuilt]), ["what"]))


@needs_icarus
def test_what_is_red_by_itself_says_nothing_of_bugs(monkeypatch):
    """Of the project's benches, and of a core with a bug of its own."""
    wrong = plant.Bench("wgt_fetch", {"WIDTH": 32, "ADDR_BITS": 11}, "tb.modules.cases_act_fetch")
    monkeypatch.setitem(plant.BENCHES, "wgt_fetch", wrong)
    monkeypatch.setattr(mutate.os, "cpu_count", lambda: 1)  # in this process
    monkeypatch.setattr(mutate, "mutation_jobs", lambda c, seed: [LayerJob(c, [], seed)])
    planted = [mutant for mutant in MUTANTS if mutant.bench == "wgt_fetch"]
    with pytest.raises(UserError, match="without any bug, wgt_fetch is not green"):
        list(mutate.own_reports(planted, 1))
    adapter = read_adapter(simulators.ROOT / "tb/examples/course/core.toml", ["BUG_SIGN_EXTENSION"])
    with pytest.raises(UserError, match=r"without any bug, the core .* is not green"):
        list(mutate.foreign_reports(adapter, foreign.mutants(adapter, 1, 1), 1))


def test_missing_reset_is_seen(sim, jobs):
    """On Verilator only because registers start at random there: at 0 the FIFO's indices would need no reset."""
    cleared = "wr_index_q <= {INDEX_BITS{1'b0}};\n            rd_index_q <= {INDEX_BITS{1'b0}};\n"
    report = run_mutant(Mutant("fifo", "indices without reset", cleared, ""), jobs, sim)
    assert isinstance(report, str), report
