"""Random layers on ``system`` while the memory holds its channels, and what watches them: counters and bus rules."""

import re

import pytest

from golden_model.configuration import configuration
from tb import simulation
from tb.jobs import LayerJob, read_results
from tb.random_layers import random_task
from tb.system_bench import COUNTERS, STALLS

SMALL = {"largest": 10, "channels": 18, "macs": 60_000}


@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
@pytest.mark.parametrize("stalled", [*STALLS, "all"])
def test_random_layers(simulate, seed, name, stalled):
    c = configuration(name)
    channels = STALLS if stalled == "all" else (stalled,)
    first = 1000 * seed + 10 * STALLS.index(channels[-1]) + len(channels)
    tasks = [random_task(first + i, c, **SMALL) for i in range(6 if stalled == "all" else 3)]
    job = LayerJob(c, tasks, seed, 0.3 if stalled == "all" else 0.6, channels)
    simulate.bus_top("system", c, "tb.cases_system", "layers", job=job)
    results = read_results(simulate.tmp_path / "job.npz")
    assert len(results) == len(tasks)
    for result in results:
        assert sum(result[name] for name in COUNTERS[1:-1]) == result["cycles"], result


@pytest.mark.parametrize("counter", ["act_q", "wgt_q", "out_q", "before_q"])
def test_counters_that_do_not_add_up_are_told(simulate, seed, tmp_path, counter):
    """A counter that stands still is found by the bench's sum."""
    if simulate.sim != "icarus":
        pytest.skip("planted once, where building is quick")
    text = (simulation.RTL / "counters.v").read_text()
    stuck = re.sub(rf"\b{counter}( +<= ){counter} \+ [^;]*;", rf"{counter}\1{counter};", text)
    assert stuck != text
    planted = tmp_path / "counters.v"
    planted.write_text(stuck)
    c = configuration("odd_3x5")
    job = LayerJob(c, [random_task(seed + i, c, **SMALL) for i in range(6)], seed, 0.5)
    sources = [planted if source.name == planted.name else source for source in simulation.system_sources()]
    built = simulation.build(simulate.sim, "system", c.parameters, sources=sources)
    environment = job.save(tmp_path / "job.npz")
    (outcome,) = simulation.run(built, "tb.cases_system", only="layers", seed=seed, environment=environment)
    assert outcome.failure and "the counters do not add up" in outcome.failure
