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
from tb.mutation.plant import MUTANTS, Mutant, mutation_jobs, run_mutant

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus, whose builds take no time")


@pytest.fixture(scope="module")
def jobs(request):
    return mutation_jobs(configuration("course_8x8"), int(request.config.option_values["SEED"]))


@needs_icarus
@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{m.module}-{m.bug.replace(' ', '_')}" for m in MUTANTS])
def test_mutant(mutant, jobs):
    report = run_mutant(mutant, jobs)
    assert report is not None, f"{mutant.module}: {mutant.bug} went unseen"
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


def test_a_bug_that_could_not_be_tried_is_not_found():
    class Gone(engine.Farm):
        def run(self, tasks, told=None):
            yield from (engine.Done(task, None, engine.GONE) for task in tasks)

    with pytest.raises(UserError, match="bug 1 of 2 could not be tried: the cluster's scheduler"):
        list(mutate._in_order(Gone(), [engine.Task(str(number), run_mutant) for number in range(2)]))


def test_missing_reset_is_seen(sim, jobs):
    """On Verilator only because registers start at random there: at 0 the FIFO's indices would need no reset."""
    cleared = "wr_index_q <= {INDEX_BITS{1'b0}};\n            rd_index_q <= {INDEX_BITS{1'b0}};\n"
    report = run_mutant(Mutant("fifo", "indices without reset", cleared, ""), jobs, sim)
    assert report is not None and "building" not in report
