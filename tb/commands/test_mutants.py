"""Every planted bug turns the run red, and the report says where."""

import re
import shutil

import pytest

from golden_model.configuration import configuration
from tb.commands.mutate import MUTANTS, Mutant, mutation_jobs, run_mutant

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


def test_missing_reset_is_seen(sim, jobs):
    """On Verilator only because registers start at random there: at 0 the FIFO's indices would need no reset."""
    cleared = "wr_index_q <= {INDEX_BITS{1'b0}};\n            rd_index_q <= {INDEX_BITS{1'b0}};\n"
    report = run_mutant(Mutant("fifo", "indices without reset", cleared, ""), jobs, sim)
    assert report is not None and "building" not in report
